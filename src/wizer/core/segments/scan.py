"""Find the non-zero ranges of a memory, in plain Python: for memories of which little was touched.

Ranges come out joined across the gaps that no layout splits: those not longer than the header of the segment
that would start after them (:func:`~.encoding.header_size`). A split there adds that header and never makes
the length fields shorter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .encoding import header_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from . import MemoryImage


def scan(image: MemoryImage, most: int) -> list[tuple[int, int]] | None:
    """Return the non-zero ranges of ``image`` (start and end, in bytes), ascending; None if over ``most``."""
    ranges: list[tuple[int, int]] = []
    for low, high, header in parts_by_header(image):
        for start, end in _spans(image.view, low, high, header):
            if ranges and start - ranges[-1][1] <= header:
                ranges[-1] = ranges[-1][0], end
            elif len(ranges) < most:
                ranges.append((start, end))
            else:
                return None
    return ranges


def touched_parts(image: MemoryImage) -> Sequence[tuple[int, int]]:
    """Return the byte ranges to look at."""
    return [(0, len(image.view))] if image.touched is None else image.touched


def parts_by_header(image: MemoryImage) -> Iterator[tuple[int, int, int]]:
    """Yield the touched parts, cut where the header's size changes, and that size (all in bytes)."""
    offsets, sizes = header_steps(image.memidx, image.is64)
    steps = [*zip(offsets, (*offsets[1:], 1 << 64), sizes, strict=True)]
    for first, last in touched_parts(image):
        for low, high, header in steps:
            if low < last and first < high:
                yield max(first, low), min(last, high), header


def _spans(view: memoryview, first: int, last: int, header: int) -> Iterator[tuple[int, int]]:
    """Yield what lies between the zero runs longer than ``header``, without zeros at its ends."""
    at = first
    for run in re.finditer(rb"\0{%d,}" % (header + 1), view[first:last]):
        start, end = run.span()
        if start:
            yield at if view[at] else _first_nonzero(view, at), first + start
        at = first + end
    while last > at and not view[last - 1]:
        last -= 1
    if at < last:
        yield at if view[at] else _first_nonzero(view, at), last


def _first_nonzero(view: memoryview, at: int) -> int:
    """Return where the zeros at ``at`` end: a few at most, where a part begins in a short run."""
    while not view[at]:
        at += 1
    return at
