"""Find the non-zero ranges of memories in WebAssembly: the rules of :mod:`.scan` and :func:`.layout.limited`.

That is for what takes longer in plain Python than to start the engine's scanner does, and less than to import
numpy does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wizer.engine.scanner import compiled, scanner

from .encoding import header_steps
from .found import Found, joined
from .scan import parts_by_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from . import MemoryImage


def prepare() -> None:
    """Compile the scanner, which takes as long as to look through some MiB."""
    compiled()


def find(images: Sequence[MemoryImage], most: int, few: int) -> Found | None:
    """Return the non-zero ranges of memories, joined where that is needed for ``most`` in all.

    Args:
        images: the memories.
        most: the most ranges there may be.
        few: so many ranges of more than one memory are joined in plain Python.

    Returns:
        What was found; None: there is no scanner here, or more is there than it has room for.
    """
    with_scanner = scanner()
    if with_scanner is None:
        return None
    ranges: list[list[tuple[int, int]]] = []
    for image in images:
        count = with_scanner.scan(image.view, parts_by_header(image))
        if count is None:
            return None
        if len(images) == 1 and count > most > 0:
            saved = with_scanner.limit(most, header_steps(image.memidx, image.is64))
            return None if saved is None else Found([with_scanner.ranges()], count, saved)
        few -= count
        if few < 0:
            return None
        ranges.append(with_scanner.ranges())
    return joined(images, ranges, most)
