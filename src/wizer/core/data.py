"""The data section of the snapshot: what memory holds, and the segments that code refers to by index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from wizer.binary.assemble import Chunk
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.segments import encode_data_header, encode_passive_data
from wizer.core.state import State
from wizer.records import record

if TYPE_CHECKING:
    from wizer.core.segments import DataRange

_EMPTY_PASSIVE = encode_passive_data(b"")


@record
class DataContents:
    """The contents of a data section, None where there are no segments, and their number."""

    contents: list[Chunk] | None
    count: int


def data_contents(
    module: Module, state: State, appended: Sequence[bytes], max_data_segments: int
) -> DataContents:
    """Return the data section.

    Without a DataCount section no code refers to a segment, and the old ones go. With one, indices stay:
    passive segments as they are or, once dropped, empty; the place of an old active segment, which is empty
    after instantiation, is taken by a new one.

    Args:
        module: the original module.
        state: the state of its instance.
        appended: passive segments that the restore function needs; they follow the old ones.
        max_data_segments: how many segments there may be in all.
    """
    old = module.data if module.data_count is not None else ()
    fixed = sum(segment.mode == "passive" for segment in old) + len(appended)
    wasm = memoryview(module.wasm)
    ranges = _ranges(module, state, max(max_data_segments - fixed, 1))
    segments: list[list[Chunk]] = []
    for dataidx, segment in enumerate(old):
        if segment.mode == "passive":
            kept = dataidx not in state.dropped_data
            segments.append([wasm[segment.code_start : segment.end] if kept else _EMPTY_PASSIVE])
        else:
            range_ = next(ranges, None)
            segments.append([_EMPTY_PASSIVE] if range_ is None else _active(state, range_))
    segments += [[segment] for segment in appended]
    segments += [_active(state, range_) for range_ in ranges]
    if not segments:
        return DataContents(None, 0)
    chunks: list[Chunk] = [encode_unsigned(len(segments))]
    for parts in segments:
        chunks += parts
    return DataContents(chunks, len(segments))


def _ranges(module: Module, state: State, most: int) -> Iterator[DataRange]:
    """Return what of memory becomes an active segment each; without memory, nothing is imported for it."""
    if not state.memories:
        return iter(())
    from wizer.core.segments import MemoryImage, plan

    images = [
        MemoryImage(memidx, module.memories[memidx].limits.is64, memory.view, memory.touched)
        for memidx, memory in state.memories.items()
    ]
    return iter(plan(images, most))


def _active(state: State, range_: DataRange) -> list[Chunk]:
    header = encode_data_header(range_.memidx, range_.start, range_.end - range_.start, range_.is64)
    return [header, state.memories[range_.memidx].view[range_.start : range_.end]]
