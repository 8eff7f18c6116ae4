"""What it takes that an engine maps a memory when it instantiates, and does not copy it.

Wasmtime lays the data segments of a memory out in an image when it compiles, and maps the image copy-on-write
into every instance, in microseconds however large it is. It does so where the image is worth its space: where
the range from the first byte of data to the last is smaller than 16 MiB, or smaller than twice the bytes in
segments. Otherwise every instance copies all segments anew, in milliseconds. A single memory that cannot be
mapped is enough that none of the module is: one that is too sparse, one that is imported, one whose pages are
smaller than the host's.

Zeros count as bytes in segments. So a memory is made dense by filling gaps, those that are smallest first,
because each of them takes a segment with it; the last one is filled as far as is needed::

    AA..BB...CC...............DD      28 bytes from first to last, 8 of them in segments
    AA00BB000CC00.............DD      7 more: 15 of 28

https://github.com/bytecodealliance/wasmtime, crates/environ: `try_static_init`
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    Segments = Sequence[tuple[int, int]]

ALWAYS_MAPPED: Final = 16 << 20
"""Bytes from which on an image has to be dense: the engine's ``memory_guaranteed_dense_image_size``."""


def dense(segments: Segments) -> Segments:
    """Return the segments of one memory with as many gaps filled as it takes to be mapped."""
    missing = _missing(segments)
    gaps = sorted((start - end, place) for place, ((_, end), (start, _)) in enumerate(pairwise(segments)))
    filled: dict[int, int] = {}
    for gap, place in gaps:
        if missing <= 0:
            break
        filled[place] = min(gap, missing)
        missing -= gap
    result: list[tuple[int, int]] = []
    for place, (start, end) in enumerate(segments):
        grown = end + filled.get(place, 0)
        if result and result[-1][1] == start:
            result[-1] = result[-1][0], grown
        else:
            result.append((start, grown))
    return result


def is_dense(segments: Segments) -> bool:
    """Whether segments are dense enough to be mapped."""
    return _missing(segments) <= 0


def size_of(segments: Segments) -> int:
    """Return the bytes in segments."""
    return sum(end - start for start, end in segments)


def _missing(segments: Segments) -> int:
    """Return how many bytes more it takes to be mapped; 0 or less where it is."""
    if not segments:
        return 0
    extent = segments[-1][1] - segments[0][0]
    return 0 if extent < ALWAYS_MAPPED else extent // 2 + 1 - size_of(segments)
