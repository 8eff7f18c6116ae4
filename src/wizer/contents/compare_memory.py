"""Where two memories differ, compared page by page where either of them holds something."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from wizer.contents.changes import RangeChange, RegionChange
from wizer.contents.image import Image
from wizer.contents.statistics import MOST_BUCKETS, bucket_size, nonzero
from wizer.records import record

if TYPE_CHECKING:
    from wizer.contents.image import Ints

_PAGE: Final = 4096  # bytes that are compared at least
_PIECE: Final = 1024  # pages that are compared at once
_GAP: Final = 7  # equal bytes between two that differ: they are of one word, or close
_MOST: Final = 20_000  # ranges that are told apart
_SHOWN: Final = 16  # bytes of a range
_TEXT: Final = 3  # bytes: fewer that are printable are so by chance


@record
class Differing:
    """Which bytes of two memories differ.

    Attributes:
        starts, ends: ranges of addresses, ascending, with no more than ``gap`` equal bytes in a row.
        gap: these.
        pages: the numbers of the pages that have some, ascending.
        totals: how many bytes differ in all pages before each of these, and in all.
    """

    starts: Ints
    ends: Ints
    gap: int
    pages: Ints
    totals: Ints

    def size(self) -> int:
        """Return how many bytes differ."""
        return int(self.totals[-1])


def differing(first: Image, second: Image) -> Differing:
    """Return which bytes of two memories differ."""
    starts, ends, pages, counts = [], [], [], []
    for low, high in _pieces(first, second):
        unequal = first.array(low, high) != second.array(low, high)
        each = np.count_nonzero(unequal.reshape(-1, _PAGE), axis=1)
        held = np.flatnonzero(each)
        if len(held):
            pages.append(held + low // _PAGE)
            counts.append(each[held])
            edges = np.flatnonzero(np.diff(unequal, prepend=False, append=False)) + low
            one, other = _merged(edges[::2], edges[1::2], _GAP)
            starts.append(one)
            ends.append(other)
    none = [np.zeros(0, np.int64)]
    lows, highs = np.concatenate(starts or none), np.concatenate(ends or none)
    gap = _GAP
    lows, highs = _merged(lows, highs, gap)
    if len(lows) > _MOST:
        gaps = np.sort(lows[1:] - highs[:-1])
        gap = int(gaps[len(gaps) - _MOST])
        lows, highs = _merged(lows, highs, gap)
    totals = np.concatenate([[0], np.cumsum(np.concatenate(counts or none))])
    return Differing(lows, highs, gap, np.concatenate(pages or none), totals)


def _pieces(first: Image, second: Image) -> Iterator[tuple[int, int]]:
    """Yield ranges of whole pages, ascending and apart, in which either memory holds something."""
    starts = np.concatenate([first.starts, second.starts]) // _PAGE
    ends = -(-np.concatenate([first.ends, second.ends]) // _PAGE)
    order = np.argsort(starts, kind="stable")
    lows, highs = _merged(starts[order], np.maximum.accumulate(ends[order]) if len(order) else ends, 0)
    for low, high in zip(lows.tolist(), highs.tolist(), strict=True):
        for page in range(low, high, _PIECE):
            yield page * _PAGE, min(page + _PIECE, high) * _PAGE


def _merged(starts: Ints, ends: Ints, gap: int) -> tuple[Ints, Ints]:
    """Join ascending ranges over gaps of up to ``gap``."""
    if not len(starts):
        return starts, ends
    apart = np.flatnonzero(starts[1:] - ends[:-1] > gap)
    return starts[np.concatenate([[0], apart + 1])], ends[np.concatenate([apart, [len(ends) - 1]])]


def density(found: Differing, size: int) -> tuple[int, tuple[int, ...]]:
    """Return the bytes of a bucket, and for each bucket of a memory how many bytes of it differ."""
    last = (int(found.pages[-1]) + 1) * _PAGE if len(found.pages) else 0
    bucket = bucket_size(max(size, last))
    totals = np.zeros(min(-(-last // bucket), MOST_BUCKETS), np.int64)
    np.add.at(totals, found.pages // (bucket // _PAGE), np.diff(found.totals))
    return bucket, tuple(totals.tolist())


def region_changes(
    found: Differing, first: Image, second: Image, parts: Sequence[tuple[int, int, str]]
) -> Iterator[RegionChange]:
    """Yield what differs in each region of a memory."""
    for start, end, name in parts:
        held, other = first.part(start, end), second.part(start, end)
        count = _below(found, first, second, end) - _below(found, first, second, start)
        yield RegionChange(name, start, end, count, nonzero(held), nonzero(other), len(held), len(other))


def _below(found: Differing, first: Image, second: Image, address: int) -> int:
    """Return how many bytes below an address differ."""
    page = address // _PAGE
    number = int(np.searchsorted(found.pages, page))
    count = int(found.totals[number])
    if number < len(found.pages) and int(found.pages[number]) == page and address % _PAGE:
        low = page * _PAGE
        count += int(np.count_nonzero(first.array(low, address) != second.array(low, address)))
    return count


def range_changes(
    found: Differing, first: Image, second: Image, place: Callable[[int], str]
) -> Iterator[RangeChange]:
    """Yield the ranges that differ, with what both memories hold there."""
    for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True):
        held, other = (image.array(start, min(end, start + _SHOWN)) for image in (first, second))
        if end - start <= _SHOWN:
            count = int(np.count_nonzero(held != other))
        else:
            count = _below(found, first, second, end) - _below(found, first, second, start)
        one, two = held.tobytes(), other.tobytes()
        cut = " …" if end - start > _SHOWN else ""
        yield RangeChange(
            start, end, count, place(start), one.hex(" ") + cut, two.hex(" ") + cut, _text(one), _text(two)
        )


def _text(data: bytes) -> str:
    """Return bytes as text, where they are some, perhaps with zeros behind it."""
    shown = data.rstrip(b"\0")
    readable = len(shown) >= _TEXT and shown.isascii() and shown.decode("ascii").isprintable()
    return shown.decode("ascii") if readable else ""
