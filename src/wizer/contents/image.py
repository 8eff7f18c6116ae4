r"""A memory as its active data segments make it: only the ranges that they cover, in order of address.

::

    (data (i32.const 1024) "hello")  (data (i32.const 9000) "\2a")

    starts  1024  9000        ends  1029  9001        at  0  5  6        data  h e l l o 2a

A memory of 4 GiB with a byte here and there is as small as its segments. Where segments overlap, the later
one has the last word, as when they are copied one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from wizer.binary.module import Module
from wizer.records import record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]

HIGHEST: Final = 1 << 62
"""Addresses from here on are in no memory that anybody has room for, and do not fit what they are kept in."""


@record
class Image:
    """What is in a memory.

    Attributes:
        size: the bytes of the memory.
        starts, ends: the ranges of addresses that hold something, ascending and apart.
        at: for each range, where its bytes are in ``data``; and where the last one's end.
        data: the bytes of all ranges.
    """

    size: int
    starts: Ints
    ends: Ints
    at: Ints
    data: Bytes

    def where(self, address: int) -> int:
        """Return where the first byte at ``address`` or after it is in ``data``."""
        if address >= HIGHEST:
            return len(self.data)
        number = int(np.searchsorted(self.ends, address, side="right"))
        if number == len(self.ends):
            return len(self.data)
        return int(self.at[number]) + max(address - int(self.starts[number]), 0)

    def address(self, position: int) -> int:
        """Return the address of the byte at a position in ``data``."""
        number = int(np.searchsorted(self.at, position, side="right")) - 1
        return int(self.starts[number]) + position - int(self.at[number])

    def part(self, start: int, end: int) -> Bytes:
        """Return those bytes of ``data`` that are in a range of addresses."""
        return self.data[self.where(start) : self.where(end)]

    def array(self, start: int, end: int) -> Bytes:
        """Return the contents of a range of addresses, zeros where nothing is said of them."""
        found = np.zeros(end - start, np.uint8)
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.starts, end, side="left"))
        for number in range(first, last):
            low, high = max(int(self.starts[number]), start), min(int(self.ends[number]), end)
            at = int(self.at[number]) + low - int(self.starts[number])
            found[low - start : high - start] = self.data[at : at + high - low]
        return found


def image_of(module: Module, memidx: int) -> Image:
    """Return what the active segments of a memory make of it, those whose place is known."""
    memory = module.memories[memidx]
    size = memory.limits.minimum * memory.page_size
    placed = [
        (start, start + segment.end - segment.start, segment.start)
        for segment in module.data
        if segment.mode == "active"
        and segment.memidx == memidx
        and segment.end > segment.start
        and (start := segment.constant_offset) is not None
        and start + segment.end - segment.start <= HIGHEST
    ]
    ranges = np.array(_apart(placed), np.int64).reshape(-1, 3)
    starts, ends, sources = ranges[:, 0], ranges[:, 1], ranges[:, 2]
    lengths = ends - starts
    at = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    file = np.frombuffer(module.wasm, np.uint8)
    pieces = [file[s : s + n] for s, n in zip(sources.tolist(), lengths.tolist(), strict=True)]
    return Image(size, starts, ends, at, np.concatenate(pieces) if pieces else file[:0])


def _apart(segments: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return segments (start, end, where their bytes are) in order of address, cut where they overlap."""
    ordered = sorted(segments)
    if all(one[1] <= other[0] for one, other in pairwise(ordered)):
        return ordered
    return sorted(_last_words(segments))


def _last_words(segments: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield what is left of each segment once those after it have been copied."""
    from bisect import bisect_left, bisect_right

    lows: list[int] = []  # what later segments cover, ascending and apart
    highs: list[int] = []
    for start, end, source in reversed(segments):
        first, last = bisect_right(highs, start), bisect_left(lows, end)
        position = start
        for low, high in zip(lows[first:last], highs[first:last], strict=True):
            if position < low:
                yield position, low, source + position - start
            position = high
        if position < end:
            yield position, end, source + position - start
        covered = lows[first:last], highs[first:last]
        lows[first:last] = [min([start, *covered[0][:1]])]
        highs[first:last] = [max([end, *covered[1][-1:]])]
