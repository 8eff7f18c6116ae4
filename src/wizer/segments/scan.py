"""Find the non-zero ranges of a memory, in plain Python: for memories of which little was touched.

Ranges come out joined across the gaps that never pay for a segment of their own: those not longer than the
header of the segment that would start after them (:func:`~.encoding.header_size`). A split there adds that
header, and never makes the length fields shorter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .encoding import header_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from . import MemoryImage

_SHORTEST_HEADER = 4
_ZERO_RUN = re.compile(rb"\0{%d,}" % (_SHORTEST_HEADER + 1))


def scan(image: MemoryImage, most: int) -> list[tuple[int, int]] | None:
    """Return the non-zero ranges of ``image`` (start and end, in bytes), ascending; None if over ``most``."""
    offsets, sizes = header_steps(image.memidx, image.is64)
    ranges: list[tuple[int, int]] = []
    step, limit = 0, offsets[1]
    for start, end in _spans(image.view, touched_parts(image)):
        while start >= limit:
            step += 1
            limit = offsets[step + 1] if step + 1 < len(offsets) else 1 << 64
        if ranges and start - ranges[-1][1] <= sizes[step]:
            ranges[-1] = ranges[-1][0], end
        elif len(ranges) < most:
            ranges.append((start, end))
        else:
            return None
    return ranges


def touched_parts(image: MemoryImage) -> Sequence[tuple[int, int]]:
    """Return the byte ranges to look at."""
    return [(0, len(image.view))] if image.touched is None else image.touched


def _spans(view: memoryview, parts: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what lies between the longer zero runs of each part, without zeros at its ends."""
    for first, last in parts:
        at = first
        part = view[first:last]
        for run in _ZERO_RUN.finditer(part):
            yield from _trimmed(view, at, first + run.start())
            at = first + run.end()
        yield from _trimmed(view, at, last)


def _trimmed(view: memoryview, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Take the zeros off both ends: a few at most, where a part begins or ends in a short run."""
    while start < end and not view[start]:
        start += 1
    while start < end and not view[end - 1]:
        end -= 1
    if start < end:
        yield start, end
