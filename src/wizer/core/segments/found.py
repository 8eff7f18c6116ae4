"""What a scan of memories finds, in plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wizer.errors import OptionError
from wizer.records import record

from .layout import limited, worth

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized

    from . import MemoryImage

    Segments = Sequence[tuple[int, int]]


@record
class Found:
    """The non-zero ranges of memories.

    Attributes:
        ranges: for each memory, start and end of its ranges, ascending; no more than are allowed.
        count: how many there were in all before some were joined for that.
        saved: what splits at all gaps between those save together, in bytes and before length fields count.
    """

    ranges: Sequence[Segments]
    count: int
    saved: int


def joined(images: Sequence[MemoryImage], ranges: Sequence[Segments], most: int) -> Found:
    """Return ranges as they were found, joined where that is needed for ``most`` in all.

    Raises:
        OptionError: more memories hold something than segments are allowed.
    """
    check_limit(ranges, most)
    count, saved = sum(map(len, ranges)), sum(map(worth, images, ranges))
    return Found(limited(images, ranges, most), count, saved)


def check_limit(ranges: Sequence[Sized], most: int) -> None:
    """Raise `OptionError` if not even a segment for each memory is allowed."""
    needed = sum(len(of_one) > 0 for of_one in ranges)
    if needed > most:
        raise OptionError(
            f"{needed} memories hold data and each needs a data segment, but the limit is {most}"
        )
