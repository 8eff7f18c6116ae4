"""Choose segments among many ranges, or under a limit on their number: vectorised, no loop over ranges.

The rule of Wizer's original is to merge across small gaps, and, above the limit, across the smallest. Here
is what decides exactly, with an example that has three ranges and 8-byte gaps far from address 0, where a
header takes 7 bytes::

    AAAA........BBBB........CCCC      split:  3 * (7 + 1) + 12 = 36 bytes
                                      merged: 7 + 1 + 28       = 36 bytes, and one segment instead of three

A split at a gap *gains* the gap's bytes less the header that it adds, here 8 - 7 = 1, and costs what the
length fields grow by: u(A) + u(B) - u(A + gap + B), where u is the size of the LEB128. That cost hangs on
the other splits, so gaps cannot be decided one by one. But u has few values, and levels separate them. On
level k = 1, 2, ... all ranges left have lengths with u >= k, and:

1. A gap with gain <= min(k - 1, 2k - 1 - u(gap)) is merged: whatever is chosen on either side, the lengths
   A and B have u >= k, and the merged one is at most one class above the largest of A, gap and B.
   Afterwards every gap with u(gap) <= k gains at least k.
2. A range of u = k that is not beside a gap with u(gap) > k is only ever a segment of its own, or inside a
   longer one. For taking it off the end of a segment costs k and gains at least k. So it leaves the problem
   and the two gaps beside it become one, with gain' = gain + gain - k.

Longer ranges and gaps are exponentially rarer, so the levels together take linear time, and after the level
of the longest possible length nothing is left: the choice is optimal, without a search.

A limit on the number of segments adds a price to every header. The optimum at a price is the optimum for
its number of segments, and a higher price never gives more of them; so the least price is found that keeps
the limit, and the part of memory up to some gap is taken from the solution at that price less one, the rest
from the solution at that price, so that the number is met.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .bulk_scan import header_sizes
from .encoding import MAX_LENGTH_CLASS, uleb_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from . import MemoryImage

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

_OTHER_MEMORY = 1 << 48  # the gain of a split that has to be: more than any memory holds


@dataclass(frozen=True, slots=True)
class _Problem:
    """The ranges of all memories, one after the other.

    Attributes:
        start, end: of each range, in bytes.
        header: what a segment that starts at the range takes before its length, in bytes.
        gain: for each range but the first: what a split before it gains, before length fields count.
    """

    start: Ints
    end: Ints
    header: Ints
    gain: Ints

    def cost(self, split: Bools) -> int:
        """Return the encoded size of the segments between the splits, in bytes."""
        first, last = _segments(split)
        length = self.end[last] - self.start[first]
        return int((self.header[first] + _uleb_sizes(length) + length).sum())


def choose_within(
    images: Sequence[MemoryImage], ranges: Sequence[Ints | list[tuple[int, int]]], max_segments: int
) -> list[list[tuple[int, int]]]:
    """Return each memory's segments (start and end, in bytes): the smallest of at most ``max_segments``.

    Args:
        images: the memories.
        ranges: for each of them its ranges, ascending, as pairs or an array of shape (count, 2).
        max_segments: the limit, at least the number of memories that have ranges.
    """
    arrays = [np.array(rows, dtype=np.int64).reshape(-1, 2) for rows in ranges]
    problem = _problem(images, arrays)
    first, last = _segments(_best_split(problem, max_segments))
    starts, ends = problem.start[first].tolist(), problem.end[last].tolist()
    memories = np.repeat(np.arange(len(images)), [len(rows) for rows in arrays])[first]
    bounds = np.searchsorted(memories, np.arange(len(images) + 1)).tolist()
    segments = list(zip(starts, ends, strict=True))
    return [segments[low:high] for low, high in pairwise(bounds)]


def _problem(images: Sequence[MemoryImage], ranges: Sequence[Ints]) -> _Problem:
    header = np.concatenate(
        [
            header_sizes(image.memidx, image.is64, rows[:, 0])
            for image, rows in zip(images, ranges, strict=True)
        ]
    )
    start, end = np.concatenate(ranges).T.copy()
    gain = start[1:] - end[:-1] - header[1:]
    borders = np.cumsum([len(rows) for rows in ranges])[:-1]
    gain[borders[(borders > 0) & (borders < len(start))] - 1] = _OTHER_MEMORY
    return _Problem(start, end, header, gain)


def _best_split(problem: _Problem, max_segments: int) -> Bools:
    """Find where to split: the best there is, or the best under the limit."""
    split = _best_at_price(problem, 0)
    if np.count_nonzero(split) < max_segments:
        return _without_ties(problem, split)
    low, low_split = 0, split
    high = max(1, int(np.partition(problem.gain, -max_segments)[-max_segments]))
    step = 1
    while np.count_nonzero(high_split := _best_at_price(problem, high)) >= max_segments:
        low, low_split = high, high_split
        high, step = high + step, 2 * step
    step = 1
    while high - low > 1:
        price = max(high - step, (low + high) // 2)
        split = _best_at_price(problem, price)
        if np.count_nonzero(split) >= max_segments:
            low, low_split = price, split
        else:
            high, high_split, step = price, split, 2 * step
    return _mixed(problem, low_split, high_split, max_segments)


def _best_at_price(problem: _Problem, price: int) -> Bools:
    """Solve without a limit, every header ``price`` bytes dearer: the levels of the module's description.

    Returns:
        For each range but the first whether there is a split before it.
    """
    start, end, gain = problem.start, problem.end, problem.gain - price
    first = last = np.arange(len(start))
    depth = np.zeros(len(start), dtype=np.int8)  # its running sum: how many merges of some level cover a gap
    for level in range(1, MAX_LENGTH_CLASS + 1):
        if len(start) < 2:
            break
        # 1. Merge the gaps that no choice elsewhere could make worth a split.
        gap_class = _uleb_sizes(start[1:] - end[:-1])
        cut = np.flatnonzero(gain > np.minimum(level - 1, 2 * level - 1 - gap_class))
        heads, tails = np.concatenate(([0], cut + 1)), np.concatenate((cut, [len(start) - 1]))
        start, end, first, last = start[heads], end[tails], first[heads], last[tails]
        gain, gap_class = gain[cut], gap_class[cut]
        merged = np.flatnonzero(first < last)
        depth[first[merged]] += 1
        depth[last[merged]] -= 1
        # 2. Drop the ranges of this level's class, unless they are beside a longer gap.
        keep = end - start >= 1 << (7 * level)
        keep[:-1] |= gap_class > level
        keep[1:] |= gap_class > level
        kept = np.flatnonzero(keep)
        total = np.concatenate(([0], np.cumsum(gain - level)))[kept]
        gain = total[1:] - total[:-1] + level
        start, end, first, last = start[kept], end[kept], first[kept], last[kept]
    split: Bools = np.cumsum(depth[:-1]) == 0
    return split


def _mixed(problem: _Problem, more: Bools, fewer: Bools, max_segments: int) -> Bools:
    """Take splits from ``more`` up to some gap and from ``fewer`` behind it, so as to meet the limit."""
    taken = np.concatenate(([0], np.cumsum(more)))
    left_over = np.count_nonzero(fewer) - np.concatenate(([0], np.cumsum(fewer)))
    meeting = np.flatnonzero(taken + left_over + 1 == max_segments)
    candidates = [np.concatenate((more[:gap], fewer[gap:])) for gap in (meeting[0], meeting[-1])]
    return min(candidates, key=problem.cost)


def _without_ties(problem: _Problem, split: Bools) -> Bools:
    """Merge neighbours where that costs nothing, from the left: fewer segments of the same total size."""
    first, last = _segments(split)
    starts, ends = problem.start[first].tolist(), problem.end[last].tolist()
    gains = problem.gain[first[1:] - 1].tolist()
    dropped = []
    start, size = starts[0], uleb_size(ends[0] - starts[0])
    for index, gain in enumerate(gains):
        next_size = uleb_size(ends[index + 1] - starts[index + 1])
        merged_size = uleb_size(max(ends[index + 1] - start, 0))
        if gain == size + next_size - merged_size:
            dropped.append(index)
            size = merged_size
        else:
            start, size = starts[index + 1], next_size
    split = split.copy()
    split[first[1:][dropped] - 1] = False
    return split


def _segments(split: Bools) -> tuple[Ints, Ints]:
    """Return the first and the last range of each segment."""
    places = np.flatnonzero(split)
    return np.concatenate(([0], places + 1)), np.concatenate((places, [len(split)]))


def _uleb_sizes(values: Ints) -> Ints:
    """Return the size of the unsigned LEB128 of each value, in bytes."""
    size = np.ones(len(values), dtype=np.int64)
    bound = 1 << 7
    top = int(values.max(initial=0))
    while bound <= top:
        size += values >= bound
        bound <<= 7
    return size
