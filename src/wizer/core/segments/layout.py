"""Which gaps between non-zero ranges a segment keeps as zeros: one rule, a price for a segment.

A split at a gap leaves its bytes out and adds a header and a length field. What it *gains* is the difference,
and a gap is split where that is more than the price of another segment. Far from address 0, where a header
takes seven bytes, and the length field of a few bytes one::

    AAAA..........BBBB.........CCCC     gaps of 10 and 9 bytes gain 2 and 1

    price 0     (data "AAAA") (data "BBBB") (data "CCCC")
    price 1     (data "AAAA") (data "BBBB.........CCCC")
    price 2     (data "AAAA..........BBBB.........CCCC")

Every layout fills the gaps that gain least first, and they differ in where they stop:

1. `small` fills those that gain nothing. While there are more segments than allowed it goes on: a limit is a
   higher price.
2. `balanced` goes on from there up to :data:`PRICE`, as long as all that it fills makes the output no larger
   than by a fiftieth of what it would have without a limit.
3. `instant` goes on from there in each memory until an engine can map it (:mod:`.dense`).

Length fields tie neighbours together: what one gains depends on what is filled beside it. Here the gains are
those beside ranges as they were found, which is within a few bytes in a hundred thousand of an exact optimum.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from .encoding import header_sizes, uleb_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wizer.options import Layout

    from . import MemoryImage

    Segments = Sequence[tuple[int, int]]
    Gap = tuple[int, int]  # what a split there gains and saves

PRICE: Final = 250
"""What a segment costs beyond its encoding, in bytes of zeros: those who send, compile and load the snapshot
lose more by it than they do by so many. See RATIONALE.md."""

MOST_ADDED: Final = 50
"""`balanced` adds up to one part in so many."""

_SURELY_GAINS: Final = 40  # bytes of a gap: more than any header and length field
_SHORT: Final = 1 << 7  # bytes whose length field takes one


def worth(image: MemoryImage, ranges: Segments) -> int:
    """Return what splits at all gaps save together, in bytes and before length fields count."""
    gaps = sum(start for start, _ in ranges[1:]) - sum(end for _, end in ranges[:-1])
    return gaps - sum(header_sizes(image.memidx, image.is64, ranges)[1:])


def limited(images: Sequence[MemoryImage], ranges: Sequence[Segments], most: int) -> list[Segments]:
    """Return the ranges of each memory (start and end, in bytes), joined until there are ``most`` in all."""
    excess = max(sum(map(len, ranges)) - most, 0)
    return _filled(images, ranges, lambda _: excess) if excess else list(ranges)


def lay_out(
    images: Sequence[MemoryImage], ranges: Sequence[Segments], layout: Layout, beside: int, saved: int
) -> list[Segments]:
    """Return each memory's segments (start and end, in bytes), before any is made dense.

    Args:
        images: the memories.
        ranges: for each of them, ascending, the segments that the limit leaves.
        layout: how they are laid out.
        beside: how many bytes the output has beside what is in segments.
        saved: what splits at all gaps saved together, without a limit: :func:`worth`.
    """
    small = [_without_losses(image, of_one) for image, of_one in zip(images, ranges, strict=True)]
    if layout == "small":
        return small
    size = beside + sum(of_one[-1][1] - of_one[0][0] for of_one in small if of_one) - saved
    return _filled(images, small, lambda gaps: _affordable(gaps, size // MOST_ADDED - saved))


def _filled(
    images: Sequence[MemoryImage], segments: Sequence[Segments], count: Callable[[Sequence[Gap]], int]
) -> list[Segments]:
    """Fill so many of the gaps that gain least as ``count`` says of all, in this order."""
    gaps = [gap for image, of_one in zip(images, segments, strict=True) for gap in _gaps(image, of_one)]
    # Of those that gain the same, the last is filled first: bulk_layout does so too.
    order = sorted(range(len(gaps) - 1, -1, -1), key=lambda place: gaps[place][0])
    filled = set(order[: count([gaps[place] for place in order])])
    places = iter(range(len(gaps)))
    result: list[Segments] = []
    for of_one in segments:
        joined = list(of_one[:1])
        for start, end in of_one[1:]:
            if next(places) in filled:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((start, end))
        result.append(joined)
    return result


def _gaps(image: MemoryImage, segments: Segments) -> list[Gap]:
    """Return what a split at each gap gains, and what it saves before length fields count, in bytes."""
    headers = header_sizes(image.memidx, image.is64, segments)
    gaps = []
    for (start, end), (next_start, next_end), header in zip(
        segments, segments[1:], headers[1:], strict=False
    ):
        saved = next_start - end - header
        gaps.append((saved - _lengths(end - start, next_end - next_start, next_end - start), saved))
    return gaps


def _lengths(one: int, other: int, both: int) -> int:
    """Return what the length fields of two neighbours take more than that of the two as one, in bytes."""
    return 1 if both < _SHORT else uleb_size(one) + uleb_size(other) - uleb_size(both)


def _affordable(gaps: Sequence[Gap], grown: int) -> int:
    """Return how many of the gaps, those that gain least first, are within the price and the budget.

    The budget is ``grown`` and what splits at the gaps save, before any of them is filled.
    """
    budget = grown + sum(saved for _, saved in gaps)
    within_price = bisect_right([gain for gain, _ in gaps], PRICE)
    return bisect_right(list(accumulate(saved for _, saved in gaps[:within_price])), budget)


def _without_losses(image: MemoryImage, segments: Segments) -> Segments:
    """Join neighbours, from left to right, where the split gains nothing."""
    if not segments:
        return segments
    joined = []
    (start, end), *others = segments
    headers = header_sizes(image.memidx, image.is64, segments)[1:]
    for (next_start, next_end), header in zip(others, headers, strict=True):
        gap = next_start - end
        if gap < _SURELY_GAINS and gap - header <= _lengths(
            end - start, next_end - next_start, next_end - start
        ):
            end = next_end
        else:
            joined.append((start, end))
            start, end = next_start, next_end
    joined.append((start, end))
    return joined
