"""Keep to a limit on the number of segments when there are few: merge the neighbours that it costs least to.

What a merge costs is the gap, less the header of the second segment, and what the length fields come to::

    cost(A, B) = gap - header(B) + u(A + gap + B) - u(A) - u(B)

where u is the size of the LEB128 of a length. Only ``u`` ties one merge to the next, so taking the cheapest
again and again is within a few bytes of the best choice, and nearly always is the best.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING

from .encoding import header_size, uleb_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from . import MemoryImage

    Segments = list[tuple[int, int]]


def merge_to_limit(
    images: Sequence[MemoryImage], segments: Sequence[Segments], max_segments: int
) -> list[Segments]:
    """Return each memory's segments (start and end, in bytes), merged so that there are ``max_segments``.

    Args:
        images: the memories.
        segments: for each of them, the segments that it would have without a limit, ascending.
        max_segments: the limit, at least the number of memories that have segments.
    """
    line = _Line(images, segments)
    line.merge(sum(map(len, segments)) - max_segments)
    return line.segments()


class _Line:
    """The segments of all memories, one after the other; each knows those that are left beside it."""

    def __init__(self, images: Sequence[MemoryImage], segments: Sequence[Segments]) -> None:
        self._memories = len(images)
        self._flat = [(number, start, end) for number, of_one in enumerate(segments) for start, end in of_one]
        self._starts = [start for _, start, _ in self._flat]
        self._ends = [end for _, _, end in self._flat]
        self._headers = [
            header_size(images[number].memidx, images[number].is64, start) for number, start, _ in self._flat
        ]
        self._before = list(range(-1, len(self._flat) - 1))
        self._after = list(range(1, len(self._flat) + 1))

    def merge(self, excess: int) -> None:
        """Merge so many pairs of neighbours; of those that cost the same, the first."""
        queue = [
            (self._cost(first, second), first, second)
            for first, second in pairwise(range(len(self._flat)))
            if self._flat[first][0] == self._flat[second][0]
        ]
        heapify(queue)
        while excess > 0:
            cost, first, second = heappop(queue)
            if self._after[first] != second or cost != self._cost(first, second):
                continue  # one of the two has been merged since, and stands in the queue anew
            excess -= 1
            self._join(first, second)
            for pair in ((self._before[first], first), (first, self._after[first])):
                if self._are_neighbours(*pair):
                    heappush(queue, (self._cost(*pair), *pair))

    def segments(self) -> list[Segments]:
        """Return what is left, for each memory."""
        left: list[Segments] = [[] for _ in range(self._memories)]
        at = 0
        while at < len(self._flat):
            left[self._flat[at][0]].append((self._starts[at], self._ends[at]))
            at = self._after[at]
        return left

    def _are_neighbours(self, first: int, second: int) -> bool:
        inside = first >= 0 and second < len(self._flat)
        return inside and self._flat[first][0] == self._flat[second][0]

    def _cost(self, first: int, second: int) -> int:
        """Return what merging two neighbours costs, in bytes."""
        lengths = self._ends[first] - self._starts[first], self._ends[second] - self._starts[second]
        merged = self._ends[second] - self._starts[first]
        sizes = uleb_size(merged) - uleb_size(lengths[0]) - uleb_size(lengths[1])
        return merged - sum(lengths) - self._headers[second] + sizes

    def _join(self, first: int, second: int) -> None:
        self._ends[first] = self._ends[second]
        self._after[first] = self._after[second]
        self._after[second] = -1
        if self._after[first] < len(self._flat):
            self._before[self._after[first]] = first
