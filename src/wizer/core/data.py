"""The data section of the snapshot: what memory holds, and the segments that code refers to by index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from wizer.binary.assemble import Chunk, vector
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.segments import DataSegment, encode_data_header, encode_passive_data
from wizer.core.state import State
from wizer.errors import OptionError
from wizer.progress import PROGRESS
from wizer.records import record

if TYPE_CHECKING:
    from wizer.core.segments import DataRange
    from wizer.options import Layout

# The most data segments that engines take: https://webassembly.github.io/spec/js-api/index.html#limits
_MOST_SEGMENTS: Final = 100_000

_EMPTY_PASSIVE: Final = encode_passive_data(b"")

_LEAST_PAGE = 4096
"""Bytes of a page of the smallest kind that hosts have."""


@record
class DataContents:
    """The contents of a data section, None where there are no segments, and their number."""

    contents: list[Chunk] | None
    count: int


def data_contents(
    module: Module,
    state: State,
    appended: Sequence[bytes],
    max_data_segments: int,
    *,
    layout: Layout = "balanced",
    beside: int = 0,
    max_bytes: int | None = None,
) -> DataContents:
    """Return the data section.

    Without a DataCount section no code refers to a segment, and the old ones go. With one, indices stay, and
    so do the passive segments that hold something. The place of another one, which is as empty as an active
    segment is after instantiation, is taken by a new active segment, as long as there are any.

    Args:
        module: the original module.
        state: the state of its instance.
        appended: passive segments that the restore function needs; they follow the old ones.
        max_data_segments: how many segments there may be in all, places that stay empty not counted.
        layout: what those of memories are chosen for.
        beside: the bytes of all other sections.
        max_bytes: how many bytes may be in the segments of memories; None: as many as it takes.

    Raises:
        OptionError: so few segments cannot hold what memories hold.
    """
    old = module.data if module.data_count is not None else ()
    stays = [_holds_something(segment, state, dataidx) for dataidx, segment in enumerate(old)]
    fixed = sum(stays) + len(appended)
    wasm = memoryview(module.wasm)
    most = min(max_data_segments, _MOST_SEGMENTS) - fixed
    ranges = _ranges(module, state, max(most, 1), layout, beside, max_bytes)
    if ranges and not max_data_segments:
        raise OptionError("memory holds data, which needs a data segment, but the limit is 0")
    places = _places(old, stays)[: len(ranges)]
    taken = dict(zip(sorted(places), ranges, strict=False))
    views = {memidx: memory.view for memidx, memory in state.memories.items()}
    chunks: list[Chunk] = []
    for dataidx, segment in enumerate(old):
        if stays[dataidx]:
            chunks.append(wasm[segment.code_start : segment.end])
        else:
            chunks += _active(views, taken[dataidx]) if dataidx in taken else (_EMPTY_PASSIVE,)
    chunks += appended
    for range_ in ranges[len(places) :]:
        chunks += _active(views, range_)
    count = len(old) + len(appended) + len(ranges) - len(places)
    return DataContents([encode_unsigned(count), *chunks] if count else None, count)


def data_outline(module: Module, appended: Sequence[bytes]) -> tuple[list[Chunk] | None, int]:
    """Return a data section with all segments that code may refer to, none of which holds anything."""
    old = module.data if module.data_count is not None else ()
    count = len(old) + len(appended)
    return vector([_EMPTY_PASSIVE] * count), count


def _places(old: Sequence[DataSegment], stays: Sequence[bool]) -> list[int]:
    """Return the places for new segments: those of active ones before those that are empty already.

    So a snapshot of a snapshot, taken at once, finds the same places.
    """
    free = [dataidx for dataidx, stay in enumerate(stays) if not stay]
    return sorted(free, key=lambda dataidx: old[dataidx].mode != "active")


def _holds_something(segment: DataSegment, state: State, dataidx: int) -> bool:
    return segment.mode == "passive" and segment.end > segment.start and dataidx not in state.dropped_data


def _ranges(
    module: Module, state: State, most: int, layout: Layout, beside: int, max_bytes: int | None
) -> list[DataRange]:
    """Return what of memory becomes an active segment each; without memory, nothing is imported for it."""
    if not state.memories:
        return []
    from wizer.core.segments import MemoryImage, plan

    images = [
        MemoryImage(
            memidx,
            module.memories[memidx].limits.is64,
            memory.view,
            memory.touched,
            unmappable(module, memidx) if layout == "instant" else "",
        )
        for memidx, memory in state.memories.items()
    ]
    PROGRESS.at("scanning")
    chosen = plan(images, most, layout, beside=beside, max_bytes=max_bytes)
    PROGRESS.at("writing")
    if chosen.joined:
        PROGRESS.note(
            f"the limit of data segments leaves room for {most}: {chosen.joined} ranges of memory hold "
            "something, and zeros between them were filled in (max_data_segments)"
        )
    if chosen.note:
        from wizer.notices import warn

        warn(f"layout `instant`: {chosen.note}, so instances copy their memory, as with `balanced`")
    return chosen.ranges


def unmappable(module: Module, memidx: int) -> str:
    """Say why no layout could get an engine to map a memory; see :mod:`.segments.dense`."""
    size = module.memories[memidx].page_size
    if module.imported("memory", memidx):
        return f"memory {memidx} is imported"
    if size < _LEAST_PAGE:
        return f"memory {memidx} has pages of {size} byte{'s' * (size > 1)}, and hosts have larger ones"
    return ""


def _active(views: Mapping[int, memoryview], range_: DataRange) -> tuple[Chunk, Chunk]:
    memidx, start, end = range_.memidx, range_.start, range_.end
    return encode_data_header(memidx, start, end - start, range_.is64), views[memidx][start:end]
