"""Which gaps a segment keeps: the rules of :mod:`.layout`, vectorised, for very many ranges."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from .bulk_scan import header_sizes, top_first
from .encoding import uleb_size
from .layout import MOST_ADDED, PRICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wizer.options import Layout

    from . import MemoryImage

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

_OTHER_MEMORY: Final = 1 << 62  # the gain of a split that has to be: more than any memory holds


def limited(images: Sequence[MemoryImage], ranges: Sequence[Ints], most: int) -> list[Ints]:
    """Return the ranges of each memory (start and end, in bytes), joined until there are ``most`` in all.

    Args:
        images: the memories.
        ranges: for each of them its ranges, ascending: shape (count, 2).
        most: the limit, at least the number of memories that have ranges.
    """
    if sum(map(len, ranges)) <= most:
        return list(ranges)
    gains = np.concatenate([_gains(image, rows) for image, rows in zip(images, ranges, strict=True)])
    return _all_joined(ranges, top_first(gains, most))


def lay_out(
    images: Sequence[MemoryImage], ranges: Sequence[Ints], layout: Layout, beside: int, saved: int
) -> list[Ints]:
    """Return each memory's segments as :func:`.layout.lay_out` does."""
    small = [_joined(rows, _without_losses(image, rows)) for image, rows in zip(images, ranges, strict=True)]
    if layout == "small" or not sum(map(len, small)):
        return small
    size = beside + sum(int(rows[-1, 1] - rows[0, 0]) for rows in small if len(rows)) - saved
    gains = np.concatenate([_gains(image, rows) for image, rows in zip(images, small, strict=True)])
    saves = np.concatenate([_saves(image, rows) for image, rows in zip(images, small, strict=True)])
    order = len(gains) - 1 - np.argsort(gains[::-1], kind="stable")  # of equals, the last is filled first
    order = order[: np.searchsorted(gains[order], PRICE, side="right")]
    budget = size // MOST_ADDED - saved + int(saves[gains < _OTHER_MEMORY].sum())
    opens = np.ones(len(gains), dtype=np.bool_)
    opens[order[: np.searchsorted(np.cumsum(saves[order]), budget, side="right")]] = False
    return _all_joined(small, opens)


def _without_losses(image: MemoryImage, rows: Ints) -> Bools:
    """Say where segments start if neighbours are joined, from left to right, where a split gains nothing.

    Length fields come to no more than that of the right one: a gap beyond that is split in any case.
    """
    opens = np.ones(len(rows), dtype=np.bool_)
    saves = _saves(image, rows)
    joinable = np.flatnonzero(saves <= _uleb_sizes(rows[:, 1] - rows[:, 0]))
    starts, ends, over = rows[:, 0].tolist(), rows[:, 1].tolist(), saves.tolist()
    begin = before = -1  # where the segment starts that may be joined to; the range that it ends with
    for place in joinable.tolist():
        if place == 0:
            continue
        if before != place - 1:
            begin = place - 1
        first, gap_start, gap_end, last = starts[begin], ends[place - 1], starts[place], ends[place]
        lengths = uleb_size(gap_start - first) + uleb_size(last - gap_end) - uleb_size(last - first)
        if over[place] <= lengths:
            opens[place] = False
        else:
            begin = place
        before = place
    return opens


def _saves(image: MemoryImage, rows: Ints) -> Ints:
    """Return what starting a segment at each range saves before length fields count, in bytes; 0 first."""
    starts, ends = rows[:, 0], rows[:, 1]
    saves = np.zeros(len(rows), dtype=np.int64)
    saves[1:] = starts[1:] - ends[:-1] - header_sizes(image.memidx, image.is64, starts[1:])
    return saves


def _gains(image: MemoryImage, rows: Ints) -> Ints:
    """Return what starting a segment at each range gains, in bytes; the first has to start one."""
    starts, ends = rows[:, 0], rows[:, 1]
    lengths = _uleb_sizes(ends - starts)
    gains = _saves(image, rows)
    gains[:1] = _OTHER_MEMORY
    gains[1:] -= lengths[1:] + lengths[:-1] - _uleb_sizes(ends[1:] - starts[:-1])
    return gains


def _all_joined(ranges: Sequence[Ints], opens: Bools) -> list[Ints]:
    """Join the ranges of each memory to segments, one of which starts at each that ``opens``."""
    borders = [0, *np.cumsum([len(rows) for rows in ranges]).tolist()]
    return [
        _joined(rows, opens[low:high]) for rows, (low, high) in zip(ranges, pairwise(borders), strict=True)
    ]


def _joined(rows: Ints, opens: Bools) -> Ints:
    """Join ranges to segments, one of which starts at each that ``opens``."""
    first = np.flatnonzero(opens)
    last = np.concatenate((first[1:], [len(rows)])) - 1
    return np.column_stack((rows[first, 0], rows[last, 1])) if len(first) else rows


def _uleb_sizes(values: Ints) -> Ints:
    """Return the size of the unsigned LEB128 of each value, in bytes."""
    size = np.ones(len(values), dtype=np.int64)
    bound = 1 << 7
    top = int(values.max(initial=0))
    while bound <= top:
        size += values >= bound
        bound <<= 7
    return size
