"""Choose segments among many ranges, or under a limit on their number: vectorised, no loop over ranges.

The rule of Wizer's original is to merge across small gaps, and, above the limit, across the smallest. Here
is what decides exactly, with an example that has three ranges and 8-byte gaps far from address 0, where a
header takes 7 bytes::

    AAAA........BBBB........CCCC      split:  3 * (7 + 1) + 12 = 36 bytes
                                      merged: 7 + 1 + 28       = 36 bytes, and one segment instead of three

A split at a gap *gains* the gap's bytes less the header that it adds, here 8 - 7 = 1. It costs what the
length fields grow by: u(A) + u(B) - u(A + gap + B), where u is the size of the LEB128 and A and B are the
lengths on both sides. So it hangs on the other splits; but u has few values, and two rules settle nearly
all. Between two neighbouring ranges with u = a and u = b:

1. A gap with a gain below min(a, b, a + b - u(gap)) is merged. Whatever is chosen on either side, it only
   makes A and B longer, and the merged length is at most one class above the longest of A, gap and B.
2. A range of u = a between two gaps that each gain a or more is either a segment of its own or inside a
   longer one, never at the end of one: to take it off costs a and gains at least a. So it leaves the
   problem, and the gaps beside it become one with gain' = gain + gain - a.

Where no gap is long (u(gap) <= max(a, b)), one of the rules applies to every range that is no longer than
its neighbours, so that a few rounds leave nothing: the choice is optimal, without a search. A few gaps,
long ones whose gain is about nil, can resist; dynamic programming (:mod:`.choose`) decides those.

A limit on the number of segments puts a price on every header. The optimum at a price is the optimum for
its number of segments, and a higher price never gives more of them. So the least price is found that keeps
the limit, and the solutions at that price and at one less are combined so as to meet the limit. On random
inputs that is within a byte or two of the optimum.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from wizer.records import record

from .bulk_scan import header_sizes, nth_gain
from .choose import choose
from .encoding import uleb_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from . import MemoryImage

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

_OTHER_MEMORY = 1 << 48  # the gain of a split that has to be: more than any memory holds
_MOST_LOOPS = 1 << 14  # segments or stretches that a Python loop may go through


@record
class _Problem:
    """The ranges of all memories, one after the other.

    A solution is an array of booleans: whether a segment starts at each range.

    Attributes:
        start, end: of each range, in bytes.
        header: what a segment that starts at the range takes before its length, in bytes.
        gain: what starting a segment at each range but the first gains, before length fields count.
    """

    start: Ints
    end: Ints
    header: Ints
    gain: Ints

    def costs(self, first: Ints, last: Ints) -> Ints:
        """Return the encoded sizes of segments from the first to the last range of each, in bytes."""
        length = self.end[last] - self.start[first]
        return self.header[first] + _uleb_sizes(length) + length

    def cost(self, opens: Bools) -> int:
        """Return the encoded size of all segments, in bytes."""
        return int(self.costs(*_segments(opens)).sum())


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
    first, last = _segments(_best(problem, max_segments))
    segments = list(zip(problem.start[first].tolist(), problem.end[last].tolist(), strict=True))
    borders = np.cumsum([0, *map(len, arrays)])
    return [segments[low:high] for low, high in pairwise(np.searchsorted(first, borders).tolist())]


def _problem(images: Sequence[MemoryImage], ranges: Sequence[Ints]) -> _Problem:
    header = np.concatenate(
        [
            header_sizes(image.memidx, image.is64, rows[:, 0])
            for image, rows in zip(images, ranges, strict=True)
        ]
    )
    start, end = np.concatenate(ranges).T.copy()
    gain = start[1:] - end[:-1] - header[1:]
    borders = np.cumsum([len(rows) for rows in ranges])
    gain[borders[(borders > 0) & (borders < len(start))] - 1] = _OTHER_MEMORY
    return _Problem(start, end, header, gain)


def _best(problem: _Problem, max_segments: int) -> Bools:
    """Return the best solution, or if it has too many segments the best that the description leads to."""
    low, more = 0, _best_at_price(problem, 0)
    if np.count_nonzero(more) <= max_segments:
        return _without_ties(problem, more, 0, 0)
    high, step = max(1, nth_gain(problem.gain, max_segments)), 1
    while np.count_nonzero(fewer := _best_at_price(problem, high)) > max_segments:
        low, more = high, fewer
        high, step = high + step, 2 * step
    step = 1
    while high - low > 1:
        price = max(high - step, (low + high) // 2)
        opens = _best_at_price(problem, price)
        if np.count_nonzero(opens) > max_segments:
            low, more = price, opens
        else:
            high, fewer, step = price, opens, 2 * step
    more = _without_ties(problem, more, low, max_segments)
    return more if np.count_nonzero(more) <= max_segments else _mixed(problem, more, fewer, max_segments)


def _best_at_price(problem: _Problem, price: int) -> Bools:
    """Solve without a limit, every header ``price`` bytes dearer, as the module's description says."""
    depth = np.zeros(len(problem.start) + 1, dtype=np.int16)  # its running sum: the merges across each gap
    core = _Core(problem.start, problem.end, problem.gain - price, *2 * (np.arange(len(problem.start)),))
    while len(core.start) > 1:
        size = len(core.start)
        core = core.merged(core.surely_merged(), depth).without_loners()
        if len(core.start) == size:
            core.merged(core.chosen(), depth)
            break
    opens: Bools = np.cumsum(depth[:-1]) == 0
    return opens


@record
class _Core:
    """What is left to decide.

    Attributes:
        start, end: of each stretch of ranges that is left, in bytes.
        gain: of a split between each two stretches; what is settled in between is taken into account.
        first, last: the ranges at both ends of each stretch.
    """

    start: Ints
    end: Ints
    gain: Ints
    first: Ints
    last: Ints

    def surely_merged(self) -> Bools:
        """Find the gaps that no choice elsewhere could make worth a split (rule 1)."""
        size = _uleb_sizes(self.end - self.start)
        gap_size = _uleb_sizes(self.start[1:] - self.end[:-1])
        least = np.minimum(size[1:], size[:-1])
        merged: Bools = self.gain < np.minimum(least, size[1:] + size[:-1] - gap_size)
        return merged

    def merged(self, across: Bools, depth: NDArray[np.int16]) -> _Core:
        """Merge across gaps and note it in ``depth``."""
        cut = np.flatnonzero(~across)
        heads, tails = np.concatenate(([0], cut + 1)), np.concatenate((cut, [len(across)]))
        first, last = self.first[heads], self.last[tails]
        grown = np.flatnonzero(heads < tails)
        depth[first[grown] + 1] += 1
        depth[last[grown] + 1] -= 1
        return _Core(self.start[heads], self.end[tails], self.gain[cut], first, last)

    def without_loners(self) -> _Core:
        """Leave out the stretches that end no longer segment (rule 2)."""
        size = _uleb_sizes(self.end - self.start)
        keep = np.zeros(len(size), dtype=bool)
        keep[1:] |= self.gain < size[1:]
        keep[:-1] |= self.gain < size[:-1]
        kept = np.flatnonzero(keep)
        total = np.concatenate(([0], np.cumsum(self.gain - size[1:])))[kept]
        gain = total[1:] - total[:-1] + size[kept[1:]]
        return _Core(self.start[kept], self.end[kept], gain, self.first[kept], self.last[kept])

    def chosen(self) -> Bools:
        """Find the gaps to merge across where the rules have no answer."""
        gap = self.start[1:] - self.end[:-1]
        if len(self.start) > _MOST_LOOPS:  # so many are level only where gaps are alike: decide each alone
            sizes = _uleb_sizes(self.end - self.start)
            merged: Bools = self.gain < sizes[1:] + sizes[:-1] - _uleb_sizes(self.end[1:] - self.start[:-1])
            return merged
        header = [0, *(gap - self.gain).tolist()]
        ranges = list(zip(self.start.tolist(), self.end.tolist(), strict=True))
        across = np.ones(len(gap), dtype=bool)
        across[np.array(choose(ranges, header)[1:], dtype=np.int64) - 1] = False
        return across


def _mixed(problem: _Problem, more: Bools, fewer: Bools, max_segments: int) -> Bools:
    """Combine two solutions, one on each side of the limit, so as to meet it.

    Where both start a segment, what lies before and behind is independent. So of the blocks in between,
    those are taken from ``more`` in which it saves most for each segment that it adds. In the block in
    which the limit is met, the two change over at some range.
    """
    bounds = np.flatnonzero(more & fewer)
    added, costs = _totals(problem, more, bounds) - _totals(problem, fewer, bounds)
    order = np.argsort(costs / np.maximum(added, 1), kind="stable")
    room = max_segments - np.count_nonzero(fewer) - np.cumsum(added[order])
    whole = int(np.argmax(room < 0))
    ends = np.append(bounds[1:], len(more))
    taken = np.zeros(len(bounds), dtype=bool)
    taken[order[:whole]] = True
    mixed = np.where(np.repeat(taken, ends - bounds), more, fewer)
    low, high = bounds[order[whole]], ends[order[whole]]
    ahead = np.cumsum(more[low:high].astype(np.int64) - fewer[low:high])
    missing = max_segments - np.count_nonzero(mixed)
    before = low + 1 + np.flatnonzero(ahead == missing)
    behind = low + 1 + np.flatnonzero(ahead[-1] - ahead == missing)
    candidates = [np.concatenate((mixed[:low], more[low:at], mixed[at:])) for at in before[[0, -1]]]
    candidates += [np.concatenate((mixed[:at], more[at:high], mixed[high:])) for at in behind[[0, -1]]]
    return min(candidates, key=problem.cost)


def _totals(problem: _Problem, opens: Bools, bounds: Ints) -> Ints:
    """Return how many segments each block of ranges has and what they cost: shape (2, blocks)."""
    first, last = _segments(opens)
    blocks = np.searchsorted(first, bounds)
    return np.array((np.diff(blocks, append=len(first)), np.add.reduceat(problem.costs(first, last), blocks)))


def _without_ties(problem: _Problem, opens: Bools, price: int, enough: int) -> Bools:
    """Merge neighbours where that costs nothing, from the left, until few enough segments are left.

    Only where there are no more than :data:`_MOST_LOOPS` to begin with.
    """
    first, last = _segments(opens)
    if len(first) > _MOST_LOOPS:
        return opens
    starts, ends = problem.start[first].tolist(), problem.end[last].tolist()
    gains = (problem.gain[first[1:] - 1] - price).tolist()
    merged: list[int] = []
    start, size = starts[0], uleb_size(ends[0] - starts[0])
    for index, gain in enumerate(gains, 1):
        next_size = uleb_size(ends[index] - starts[index])
        merged_size = uleb_size(max(ends[index] - start, 0))
        if gain == size + next_size - merged_size and len(first) - len(merged) > enough:
            merged.append(index)
            size = merged_size
        else:
            start, size = starts[index], next_size
    opens = opens.copy()
    opens[first[merged]] = False
    return opens


def _segments(opens: Bools) -> tuple[Ints, Ints]:
    """Return the first and the last range of each segment."""
    first = np.flatnonzero(opens)
    return first, np.concatenate((first[1:], [len(opens)])) - 1


def _uleb_sizes(values: Ints) -> Ints:
    """Return the size of the unsigned LEB128 of each value, in bytes."""
    size = np.ones(len(values), dtype=np.int64)
    bound = 1 << 7
    top = int(values.max(initial=0))
    while bound <= top:
        size += values >= bound
        bound <<= 7
    return size
