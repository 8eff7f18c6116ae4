r"""Choose the active data segments that say what linear memory holds, so that a snapshot starts fast.

Before, live memory; after, what the output's data section will cover::

    ..., 0, 0, "hello", 0, 0, "world", 0, 0, ..., 0, 0, 0x2a, 0, 0, ...

    (data (memory 0) (i32.const 1048) "hello\00\00world")
    (data (memory 0) (i32.const 9000) "\2a")

A gap of two zero bytes costs less than another segment, a gap of thousands costs more. The scan finds the
non-zero ranges, :mod:`.layout` decides which gaps to keep, and :mod:`.dense` which more it takes to be
mapped. The scan comes three times: in plain Python for the little that small programs touch (:mod:`.scan`),
in WebAssembly for most (:mod:`.wasm_scan`), and vectorised for what is large or in very many pieces
(:mod:`.bulk_scan`): importing numpy takes longer than most programs' scan does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from wizer.records import record

from .found import Found, check_limit, joined
from .layout import lay_out
from .scan import scan, touched_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wizer.options import Layout

    Segments = Sequence[tuple[int, int]]

__all__ = ["DataRange", "MemoryImage", "Plan", "plan", "prepare"]

_SMALL_SCAN = 1 << 16  # bytes: plain Python takes less time than to begin with anything else
_LARGE_SCAN = 128 << 20  # bytes: the engine's scanner takes as long as the import of numpy
_LARGE_SCAN_WITH_NUMPY = 16 << 20  # bytes: as long as numpy, if that is imported
_SMALL_SCAN_ALONE = 4 << 20  # bytes: plain Python does
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
        obstacle: why no layout can get an engine to map it; empty where one can.
    """

    memidx: int
    is64: bool
    view: memoryview
    touched: Sequence[tuple[int, int]] | None = None
    obstacle: str = ""


@record
class DataRange:
    """One active segment: bytes ``start`` to ``end`` of memory ``memidx``."""

    memidx: int
    is64: bool
    start: int
    end: int


@record
class Plan:
    """The segments of all memories.

    Attributes:
        ranges: the segments, ordered by memory and start.
        note: why `instant` could not do what it is for; empty otherwise.
        joined: how many ranges hold something, where the limit is why there are fewer segments; otherwise 0.
    """

    ranges: list[DataRange]
    note: str = ""
    joined: int = 0


_MUCH_MEMORY = 64 << 20  # bytes: what asks for so much is likely to use so much that numpy pays


def prepare(size: int) -> None:
    """Import or compile ahead what `plan` is likely to take for memories that begin with ``size`` bytes."""
    if size >= _MUCH_MEMORY:
        from . import bulk_layout  # noqa: F401
    elif size > _SMALL_SCAN:
        from wizer.engine.scanner import compiled

        compiled()


def plan(
    images: Sequence[MemoryImage],
    max_segments: int,
    layout: Layout = "balanced",
    *,
    beside: int = 0,
    max_bytes: int | None = None,
) -> Plan:
    """Choose at most ``max_segments`` segments.

    Args:
        images: the memories.
        max_segments: how many segments there may be.
        layout: what they are chosen for (:mod:`.layout`).
        beside: how many bytes the output has beside what is in segments.
        max_bytes: how many bytes in segments `instant` may come to; None: as many as it takes.

    Returns:
        The plan. All non-zero bytes are covered; no segment starts with a zero byte, and none ends with one
        but under `instant`. The same contents give the same segments, whatever ``touched`` says.

    Raises:
        OptionError: more memories hold something than segments are allowed.
    """
    images = sorted(images, key=lambda image: image.memidx)
    segments, found = _laid_out(images, max_segments, layout, beside)
    note = ""
    if layout == "instant":
        segments, note = _made_dense(images, segments, max_bytes)
    return Plan(
        [
            DataRange(image.memidx, image.is64, start, end)
            for image, of_one in zip(images, segments, strict=True)
            for start, end in of_one
        ],
        note,
        found if sum(map(len, segments)) >= max_segments else 0,
    )


def _made_dense(
    images: Sequence[MemoryImage], segments: list[Segments], max_bytes: int | None
) -> tuple[list[Segments], str]:
    """Return segments with which all memories are mapped, or what stands in the way."""
    from .dense import dense, size_of

    for image, of_one in zip(images, segments, strict=True):
        if image.obstacle and of_one:
            return segments, image.obstacle
    filled = [dense(of_one) for of_one in segments]
    size = sum(map(size_of, filled))
    if max_bytes is None or size <= max_bytes or size == sum(map(size_of, segments)):
        return filled, ""
    _, largest = max((size_of(of_one), image.memidx) for image, of_one in zip(images, filled, strict=True))
    return segments, (
        f"memory {largest} is too sparse: it takes {size} bytes of data to be mapped, more than the "
        f"{max_bytes} bytes of the limit for the output"
    )


def _laid_out(
    images: Sequence[MemoryImage], most: int, layout: Layout, beside: int
) -> tuple[list[Segments], int]:
    """Return the segments of each memory, before any is made dense, ``most`` in all.

    And how many ranges hold something where they are more, otherwise 0.
    """
    laid_out = _laid_out_without_numpy(images, most, layout, beside)
    segments, count = _laid_out_in_bulk(images, most, layout, beside) if laid_out is None else laid_out
    return segments, count if count > most else 0


def _laid_out_without_numpy(
    images: Sequence[MemoryImage], most: int, layout: Layout, beside: int
) -> tuple[list[Segments], int] | None:
    """Return the segments of each memory, and how many ranges hold something.

    None: so much was touched, or is there, that it takes numpy.
    """
    touched = sum(end - start for image in images for start, end in touched_parts(image))
    found: Found | None = None
    # Without the engine, what is scanned is no live memory; then it is not worth to import that.
    large = _LARGE_SCAN_WITH_NUMPY if "numpy" in sys.modules else _LARGE_SCAN
    if touched > _SMALL_SCAN and _has_engine() and (touched <= large or not _has_numpy()):
        from . import wasm_scan

        if len(images) == 1:
            alone = wasm_scan.laid_out(images[0], most, layout, beside, _held(most))
            if alone is not None:
                segments, count = alone
                return [segments], count
        else:
            found = wasm_scan.find(images, most, _SMALL_CHOICE)
    if found is None and touched <= (_SMALL_SCAN if "numpy" in sys.modules else _SMALL_SCAN_ALONE):
        few = _scan_for_few(images)
        found = None if few is None else joined(images, few, most)
    if found is None:
        return None
    return lay_out(images, found.ranges, layout, beside, found.saved), found.count


def _laid_out_in_bulk(
    images: Sequence[MemoryImage], most: int, layout: Layout, beside: int
) -> tuple[list[Segments], int]:
    """Return the segments of each memory, and how many ranges hold something, with numpy."""
    from . import bulk_layout
    from .bulk_scan import scan as bulk_scan

    scanned = [bulk_scan(image, _held(most)) for image in images]
    many = [rows for rows, _ in scanned]
    check_limit(many, most)
    kept = bulk_layout.limited(images, many, most)
    rows = bulk_layout.lay_out(images, kept, layout, beside, sum(saved for _, saved in scanned))
    return [[(start, end) for start, end in of_one.tolist()] for of_one in rows], sum(map(len, many))


def _held(most: int) -> int:
    """Return how many gaps are held: with more ranges, not all ways to look for them find the same."""
    return max(_GAPS_HELD, _GAPS_HELD_A_SEGMENT * most)


def _has_engine() -> bool:
    return sys.modules.get("wasmtime") is not None


def _has_numpy() -> bool:
    from importlib.util import find_spec

    return find_spec("numpy") is not None


def _scan_for_few(images: Sequence[MemoryImage]) -> list[list[tuple[int, int]]] | None:
    """Return the non-zero ranges of each memory unless there are many in all."""
    ranges: list[list[tuple[int, int]]] = []
    for image in images:
        found = scan(image, _SMALL_CHOICE - sum(map(len, ranges)))
        if found is None:
            return None
        ranges.append(found)
    return ranges
