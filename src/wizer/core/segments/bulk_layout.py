"""Keep to a limit on the number of segments: :func:`.layout.limited`, vectorised, for very many ranges."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from .bulk_scan import header_sizes, top_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from . import MemoryImage

    Ints = NDArray[np.int64]

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
    opens = top_first(gains, most)
    borders = [0, *np.cumsum([len(rows) for rows in ranges]).tolist()]
    return [
        _joined(rows, opens[low:high]) for rows, (low, high) in zip(ranges, pairwise(borders), strict=True)
    ]


def _gains(image: MemoryImage, rows: Ints) -> Ints:
    """Return what starting a segment at each range gains, in bytes; the first has to start one."""
    starts, ends = rows[:, 0], rows[:, 1]
    lengths = _uleb_sizes(ends - starts)
    gains = np.full(len(rows), _OTHER_MEMORY, dtype=np.int64)
    gains[1:] = starts[1:] - ends[:-1] - header_sizes(image.memidx, image.is64, starts[1:])
    gains[1:] -= lengths[1:] + lengths[:-1] - _uleb_sizes(ends[1:] - starts[:-1])
    return gains


def _joined(rows: Ints, opens: NDArray[np.bool_]) -> Ints:
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
