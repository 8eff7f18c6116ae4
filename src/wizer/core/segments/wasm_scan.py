"""Find the non-zero ranges of memories in WebAssembly, and lay one out: as :mod:`.scan` and `.layout` do.

That is for what takes longer in plain Python than to start the engine's scanner does, and less than to import
numpy does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wizer.engine.scanner import scanner
from wizer.kept import kept

from .encoding import header_steps
from .found import Found, check_limit, joined
from .layout import MOST_ADDED, PRICE
from .scan import parts_by_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wizer.engine.scanner import Scanner
    from wizer.options import Layout

    from . import MemoryImage

    Ranges = list[tuple[int, int]]


def laid_out(
    image: MemoryImage, most: int, layout: Layout, beside: int, room: int
) -> tuple[Ranges, int] | None:
    """Return the segments of a memory before it is made dense, and how many ranges hold something.

    Args:
        image: the memory.
        most: the most segments there may be.
        layout: how they are laid out.
        beside: how many bytes the output has beside what is in segments.
        room: how many ranges are laid out here.

    Returns:
        None: there is no scanner here, or there are more ranges, or such as it does not tell apart.

    Raises:
        OptionError: no segment is allowed.
    """
    with_scanner = kept("scanner", scanner)
    count = None if with_scanner is None else _scan(with_scanner, image, room)
    if with_scanner is None or count is None:
        return None
    check_limit([range(count)], most)
    saved = with_scanner.worth()
    if count > most and not with_scanner.limit(most):
        return None
    with_scanner.join()
    ranges = with_scanner.ranges()
    if layout != "small" and ranges:
        size = beside + ranges[-1][1] - ranges[0][0] - saved
        with_scanner.fill(PRICE, size // MOST_ADDED - saved)
        ranges = with_scanner.ranges()
    return ranges, count


def find(images: Sequence[MemoryImage], most: int, few: int) -> Found | None:
    """Return the non-zero ranges of memories, joined where that is needed for ``most`` in all.

    Args:
        images: the memories.
        most: the most ranges there may be.
        few: so many ranges are joined in plain Python.

    Returns:
        What was found; None: there is no scanner here, or more is there.

    Raises:
        OptionError: more memories hold something than segments are allowed.
    """
    with_scanner = kept("scanner", scanner)
    if with_scanner is None:
        return None
    ranges: list[Ranges] = []
    for image in images:
        count = _scan(with_scanner, image, few)
        if count is None:
            return None
        few -= count
        ranges.append(with_scanner.ranges())
    return joined(images, ranges, most)


def _scan(with_scanner: Scanner, image: MemoryImage, most: int) -> int | None:
    headers = header_steps(image.memidx, image.is64)
    return with_scanner.scan(image.view, parts_by_header(image), headers, most)
