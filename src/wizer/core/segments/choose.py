"""Choose the segments of one memory when there are few ranges and no limit binds: dynamic programming.

Let ``best[j]`` be the least that the first ``j`` ranges cost. The last segment starts at some range ``i``::

    best[j] = min over i < j of  best[i] + header(start[i]) + uleb_size(length) + length
              where length = end[j - 1] - start[i]

The length field is what couples neighbours: without it every gap could be decided alone. It takes at most
ten values, its *class*, and a class is a window on ``i``: ``start[i] > end[j - 1] - 2**(7 * class)``. The
rest of the cost falls apart into a term of ``i`` and one of ``j``, so one sliding-window minimum for each
class gives ``best`` in linear time. Ties go to fewer segments.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from .encoding import uleb_size

if TYPE_CHECKING:
    from collections.abc import Sequence

_ONE_BYTE = 1 << 32  # costs are counted as bytes * _ONE_BYTE + segments


def choose(ranges: Sequence[Sequence[int]], headers: Sequence[int]) -> list[int]:
    """Return the ranges at which a segment starts, so that all encode smallest with the fewest segments.

    Args:
        ranges: what the segments must cover, as pairs of start and end in bytes, ascending.
        headers: for each range, what a segment that starts there takes before its length, in bytes.
    """
    if not ranges:
        return []
    most = uleb_size(max(end for _, end in ranges))  # what a split adds to length fields, at most
    splits = [
        index
        for index in range(1, len(ranges))
        if ranges[index][0] - ranges[index - 1][1] - headers[index] > most
    ]
    opens: list[int] = []
    for first, after in pairwise((0, *splits, len(ranges))):
        if after == first + 1:
            opens.append(first)
        else:
            opens += (first + index for index in _choose_in_block(ranges[first:after], headers[first:after]))
    return opens


def _choose_in_block(ranges: Sequence[Sequence[int]], headers: Sequence[int]) -> list[int]:
    """Choose among ranges no gap of which is sure to be split."""
    classes = range(1, uleb_size(ranges[-1][1] - ranges[0][0]) + 1)
    windows = [_Window(size) for size in classes]
    best, opened_by = 0, []
    for index, ((start, end), header) in enumerate(zip(ranges, headers, strict=True)):
        opening = best + (header - start) * _ONE_BYTE + 1
        options = []
        for size, window in zip(classes, windows, strict=True):
            window.push(opening, start, index)
            least, first = window.least(end)
            options.append((least + (end + size) * _ONE_BYTE, first))
        best, first = min(options)
        opened_by.append(first)
    return _traced(opened_by)


def _traced(opened_by: Sequence[int]) -> list[int]:
    """Walk back from the last range; ``opened_by[j]`` starts the segment that ends with range ``j``."""
    opens = []
    after = len(opened_by)
    while after:
        after = opened_by[after - 1]
        opens.append(after)
    return opens[::-1]


class _Window:
    """The least opening cost among the ranges within reach of one length class."""

    def __init__(self, size: int) -> None:
        self._reach = 1 << (7 * size)
        self._ascending: deque[tuple[int, int, int]] = deque()

    def push(self, opening: int, start: int, index: int) -> None:
        while self._ascending and self._ascending[-1][0] > opening:
            self._ascending.pop()
        self._ascending.append((opening, start, index))

    def least(self, end: int) -> tuple[int, int]:
        """Return the least cost for a segment up to ``end`` and its range; a vast cost if none is near."""
        while self._ascending and end - self._ascending[0][1] >= self._reach:
            self._ascending.popleft()
        if not self._ascending:
            return 1 << 200, 0
        return self._ascending[0][0], self._ascending[0][2]
