r"""Choose the active data segments that say what linear memory holds, in the fewest bytes.

Before, live memory; after, what the output's data section will cover::

    ..., 0, 0, "hello", 0, 0, "world", 0, 0, ..., 0, 0, 0x2a, 0, 0, ...

    (data (memory 0) (i32.const 1048) "hello\00\00world")
    (data (memory 0) (i32.const 9000) "\2a")

A gap of two zero bytes costs less than another segment, a gap of thousands costs more. :mod:`.scan` finds
the non-zero ranges, :mod:`.choose` decides which gaps to keep. Both come twice: in plain Python for the
little that small programs touch, and vectorised (``bulk_…``), because importing numpy takes longer than
planning for most small programs does.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from wizer.errors import OptionError
from wizer.records import record

from .choose import choose
from .encoding import encoded_overhead, header_size
from .scan import scan, touched_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["DataRange", "MemoryImage", "encoded_overhead", "plan"]

_SMALL_SCAN = 4 << 20  # bytes: less time than the import of numpy takes
_SMALL_SCAN_WITH_NUMPY = 1 << 16  # bytes, if that is imported
_SMALL_CHOICE = 20_000  # ranges: likewise
_GAPS_HELD = 1 << 17  # at least, for each memory
_GAPS_HELD_A_SEGMENT = 8  # at least, for each segment allowed


@record
class MemoryImage:
    """The live contents of one memory.

    Attributes:
        memidx: its index in the output.
        is64: whether its offsets are ``i64``.
        view: its bytes (format ``B``), never copied whole.
        touched: byte ranges outside of which all is zero, ascending and not overlapping
            None: look everywhere.
    """

    memidx: int
    is64: bool
    view: memoryview
    touched: Sequence[tuple[int, int]] | None = None


@record
class DataRange:
    """One active segment: bytes ``start`` to ``end`` of memory ``memidx``."""

    memidx: int
    is64: bool
    start: int
    end: int


def plan(images: Sequence[MemoryImage], max_segments: int) -> list[DataRange]:
    """Choose the segments that encode smallest, of at most ``max_segments``.

    No other choice encodes smaller if the limit does not bind; where it does, the choice is within a few
    bytes in all of the best one (:mod:`.limit`, :mod:`.bulk_choose`).

    Returns:
        The segments, ordered by memory and start. None starts or ends with a zero byte, and all non-zero
        bytes are covered. The same contents give the same segments, whatever ``touched`` says.

    Raises:
        OptionError: more memories hold something than segments are allowed.
    """
    images = sorted(images, key=lambda image: image.memidx)
    ranges = _scan(images, max_segments)
    needed = sum(len(of_one) > 0 for of_one in ranges)
    if needed > max_segments:
        raise OptionError(
            f"{needed} memories hold data and each needs a data segment, but the limit is {max_segments}"
        )
    if sum(map(len, ranges)) <= _SMALL_CHOICE:
        chosen = [_choose(image, rows) for image, rows in zip(images, ranges, strict=True)]
        if sum(map(len, chosen)) > max_segments:
            from .limit import merge_to_limit

            chosen = merge_to_limit(images, chosen, max_segments)
    else:
        from .bulk_choose import choose_within

        chosen = choose_within(images, ranges, max_segments)
    return [
        DataRange(image.memidx, image.is64, start, end)
        for image, segments in zip(images, chosen, strict=True)
        for start, end in segments
    ]


def _choose(image: MemoryImage, ranges: list[tuple[int, int]] | Ints) -> list[tuple[int, int]]:
    """Return the segments of one memory when no limit binds."""
    rows = ranges if isinstance(ranges, list) else ranges.tolist()
    opens = choose(rows, [header_size(image.memidx, image.is64, start) for start, _ in rows])
    return [(rows[first][0], rows[after - 1][1]) for first, after in pairwise((*opens, len(rows)))]


def _scan(images: Sequence[MemoryImage], max_segments: int) -> Sequence[list[tuple[int, int]] | Ints]:
    """Return the non-zero ranges of each memory."""
    touched = sum(end - start for image in images for start, end in touched_parts(image))
    if touched <= (_SMALL_SCAN_WITH_NUMPY if "numpy" in sys.modules else _SMALL_SCAN):
        few = _scan_for_few(images)
        if few is not None:
            return few
    from .bulk_scan import scan as bulk_scan

    keep = max(_GAPS_HELD, _GAPS_HELD_A_SEGMENT * max_segments)
    return [bulk_scan(image, keep) for image in images]


def _scan_for_few(images: Sequence[MemoryImage]) -> list[list[tuple[int, int]]] | None:
    """Return the non-zero ranges of each memory unless there are many in all."""
    ranges: list[list[tuple[int, int]]] = []
    for image in images:
        found = scan(image, _SMALL_CHOICE - sum(map(len, ranges)))
        if found is None:
            return None
        ranges.append(found)
    return ranges
