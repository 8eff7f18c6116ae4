"""Modules and states made by hand: what `rewrite` takes, without an engine that has run anything.

The engine's package is the assembler here, and nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence

from support.engine import binary
from support.tools import complaint, wasm_tools
from wizer.binary.externs import Export
from wizer.binary.module import Module, parse_module
from wizer.core.rewrite import rewrite
from wizer.core.state import Array, Exn, HeapObject, MemoryState, Ref, State, Struct, TableState, Value
from wizer.records import replace


def module_of(wat: str) -> Module:
    """A parsed module."""
    return parse_module(binary(wat))


def memory(contents: bytes | bytearray = b"", pages: int = 1, page_size: int = 1 << 16) -> MemoryState:
    """A memory that begins with ``contents`` and is zero behind them."""
    return MemoryState(pages, memoryview(bytes(contents) + bytes(pages * page_size - len(contents))))


def initial(module: Module) -> State:
    """The state of an instance in which all that the module owns is as large as declared and untouched.

    Memories are empty: what active segments would write was cleared.
    """
    return State(
        memories={
            memidx: memory(b"", type_.limits.minimum, type_.page_size)
            for memidx, type_ in enumerate(module.memories)
            if not module.imported("memory", memidx)
        },
        tables={
            tableidx: TableState(table.type.limits.minimum)
            for tableidx, table in enumerate(module.tables)
            if not module.imported("table", tableidx)
        },
    )


def struct(typeidx: int, *fields: Value) -> HeapObject:
    """A structure, to be put into a state by `with_objects`."""
    return Struct(typeidx, fields)


def array(typeidx: int, elements: Sequence[Ref] = (), data: bytes = b"") -> HeapObject:
    """An array of references or of numbers."""
    return Array(typeidx, elements, data)


def exception(tagidx: int, *fields: Value) -> HeapObject:
    """An exception."""
    return Exn(tagidx, fields)


def with_objects(state: State, *objects: HeapObject) -> State:
    """A state with a heap of these objects, which ``ObjectRef`` numbers from 0 on."""
    return replace(state, heap=objects)


def rewritten(
    module: Module, state: State, exports: Sequence[Export] | None = None, max_data_segments: int = 10_000
) -> Module:
    """The module that starts in a state, parsed; it keeps its exports unless others are given."""
    chunks = rewrite(module, state, module.exports if exports is None else exports, max_data_segments)
    wasm = b"".join(chunks)
    if wasm_tools() is not None:
        problem = complaint(wasm)
        assert not problem, problem
    return parse_module(wasm)


def contents(module: Module, section_id: int) -> bytes | None:
    """The contents of a section, or None where it is missing."""
    section = module.section(section_id)
    return None if section is None else module.wasm[section.start : section.end]


def data(module: Module) -> list[tuple[str, int, bytes | None, bytes]]:
    """Data segments: mode, memory, the code of the offset, and bytes."""
    return [
        (s.mode, s.memidx, None if s.offset is None else s.offset.code, module.wasm[s.start : s.end])
        for s in module.data
    ]


def inits(module: Module) -> dict[int, bytes]:
    """The initialisers of globals, by index."""
    return {i: item.init.code for i, item in enumerate(module.globals) if item.init is not None}
