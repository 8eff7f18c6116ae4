"""Active data segments go to memory here: the engine would copy those of a large module twice to compile it.

What an engine does when it instantiates a module without a start function is to write its segments, one
after another, and nothing runs in between. So a module whose segments are empty, and the bytes of the
segments written to its memories before anything is called, come to the same instance::

    (data (i32.const 16) "…256 MiB…")  →  (data (i32.const 16) "")

Modules that differ in their data alone are one module then, which is compiled once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from wizer.binary.assemble import Chunk, vector
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.sections import DATA
from wizer.binary.segments import DataSegment

MUCH: Final = 16 << 20
"""Bytes that are copied twice in the time that the engine takes to compile anything."""


def movable_data(module: Module, least: int) -> tuple[DataSegment, ...]:
    """Return the active segments of a module to write here, in their order: all of them, or none.

    Args:
        module: the module.
        least: how many bytes they have to hold together.

    None where something else could see or change a memory meanwhile, where only a run tells where a segment
    goes, and where one does not fit: the engine says so.
    """
    active = tuple(segment for segment in module.data if segment.mode == "active")
    if module.start is not None or sum(segment.end - segment.start for segment in active) < least:
        return ()
    return active if all(fits(module, segment) for segment in active) else ()


def fits(module: Module, segment: DataSegment) -> bool:
    """Whether a segment is sure to be within a memory that the module makes."""
    offset = segment.constant_offset
    if offset is None:
        return False
    memory = module.memories[segment.memidx]
    end = offset + segment.end - segment.start
    return not module.imported("memory", segment.memidx) and end <= memory.limits.minimum * memory.page_size


def emptied(module: Module, moved: Sequence[DataSegment]) -> list[Chunk] | None:
    """Return the contents of a data section in which the segments of ``moved`` hold nothing."""
    places = {segment.code_start for segment in moved}
    wasm = memoryview(module.wasm)
    return vector(
        [
            empty(segment) if segment.code_start in places else wasm[segment.code_start : segment.end]
            for segment in module.data
        ]
    )


def without_data(module: Module, data: Sequence[Chunk] | None) -> list[Chunk]:
    """Return a module with other contents of its data section, in pieces: equal for those that are alike."""
    section = module.section(DATA)
    if section is None or data is None:
        return [module.wasm]
    wasm = memoryview(module.wasm)
    return [wasm[: section.start], *data, wasm[section.end :]]


def empty(segment: DataSegment) -> bytes:
    """Return a segment without bytes; its offset as it stands, which may be invalid where it is."""
    flags = b"\x00" if segment.memidx == 0 else b"\x02" + encode_unsigned(segment.memidx)
    return flags + (b"" if segment.offset is None else segment.offset.code) + b"\x00"


def fill(module: Module, moved: Sequence[DataSegment], memory: Callable[[int], memoryview]) -> None:
    """Write segments to the memories of an instance that has just been made; ``memory`` returns a view."""
    wasm = memoryview(module.wasm)
    for segment in moved:
        offset = segment.constant_offset
        assert offset is not None
        size = segment.end - segment.start
        memory(segment.memidx)[offset : offset + size] = wasm[segment.start : segment.end]
