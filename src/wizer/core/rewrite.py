"""Rewrite: a module and a state become the module that starts in that state.

Before::

    (module
      (memory 1)
      (global $g (mut i32) (i32.const 0))
      (func $init (export "wizer-initialize") …)
      (start $s))

After, where memory holds "hello" at 1024 and has grown to three pages::

    (module
      (memory 3)
      (global $g (mut i32) (i32.const 7))
      (func $init …)
      (data (i32.const 1024) "hello"))

Pure: it needs no engine. Bodies keep their bytes, index spaces only grow at their end, and sections that say
nothing of state are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from wizer.binary import sections as sec
from wizer.binary.additions import MAX_TABLE_SIZE
from wizer.binary.assemble import Chunk, assemble, extended, vector, with_bodies
from wizer.binary.expr import END
from wizer.binary.externs import (
    Export,
    Import,
    MemoryType,
    TableType,
    encode_export,
    encode_globaltype,
    encode_import,
    encode_memorytype,
    encode_tabletype,
    numbered,
)
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.sections import Section
from wizer.core.data import data_contents, data_outline
from wizer.core.elements import element_contents
from wizer.core.heap.encode import encode
from wizer.core.heap.heapcode import HeapCode
from wizer.core.previous import Appended, checked_contents, is_marker, marker, without_previous
from wizer.core.state import State
from wizer.errors import StateError
from wizer.records import replace

if TYPE_CHECKING:
    from wizer.options import Layout

T = TypeVar("T", TableType, MemoryType)

Check: TypeAlias = "Callable[[Sequence[Chunk]], Callable[[], None]]"


def rewrite(
    module: Module,
    state: State,
    exports: Sequence[Export],
    max_data_segments: int,
    layout: Layout = "balanced",
    max_output: int | None = None,
    stamp: str | None = None,
    check: Check | None = None,
) -> list[Chunk]:
    """Return the chunks of the snapshot; those of memory contents are views on the live memory.

    Args:
        module: the original module.
        state: the state of its instance.
        exports: the exports of the snapshot.
        max_data_segments: how many data segments the snapshot may have.
        layout: what they are chosen for.
        max_output: how many bytes the snapshot may have; None: as many as it takes.
        stamp: the version and options that its producers section says it was made with; None: nothing.
        check: is given the snapshot in pieces, without its data, which says nothing of whether it is valid,
            and returns what waits until that is known; what this raises comes out.

    Raises:
        OptionError: the limit leaves no segment for a memory that needs one.
        StateError: the state cannot be expressed.
    """
    unstripped, custom = module, _stamped(module, stamp)
    if not custom and state == State() and _has_no_state(module) and list(exports) == list(module.exports):
        return [module.binary]
    module, state = without_previous(module, state)
    state, heap = _beyond_constants(module, state, encode(module, state), max_data_segments)
    contents: dict[int, Sequence[Chunk] | None] = {sec.START: None}
    contents.update(_imports(module, state))
    contents[sec.MEMORY] = _memories(module, state)
    contents[sec.GLOBAL] = _globals(module, heap)
    if module is not unstripped or list(exports) != list(module.exports):
        contents[sec.EXPORT] = vector([encode_export(export) for export in exports])
    contents[sec.TABLE] = _tables(module, state, heap)
    contents[sec.ELEMENT] = element_contents(module, state, exports, heap)
    if heap.functions or module is not unstripped:
        contents.update(_functions(module, heap))
    counted = module.data_count is not None or bool(heap.passive_data)
    contents[sec.DATA] = contents[sec.DATA_COUNT] = None
    beside = sum(map(len, assemble(module, contents, partial(_keeps, module), custom)))
    # Looking for what memory holds takes as long as validating does.
    wait = check(_outline(module, contents, heap, counted=counted)) if check is not None else None
    data = data_contents(
        module,
        state,
        heap.passive_data,
        max_data_segments,
        layout=layout,
        beside=beside,
        max_bytes=None if max_output is None else max(max_output - beside, 0),
    )
    contents[sec.DATA] = data.contents
    contents[sec.DATA_COUNT] = [encode_unsigned(data.count)] if counted else None
    chunks = assemble(module, contents, partial(_keeps, module), custom)
    if heap.functions or heap.globals:
        chunks.append(_marker(module, heap, contents))
    if wait is not None:
        wait()
    return chunks


def _has_no_state(module: Module) -> bool:
    """Whether an instance holds nothing that can change, so that its snapshot is the original."""
    own = module.memories, module.tables, module.globals, module.elements, module.data, module.tags
    kept = all(section.id != sec.CUSTOM or _keeps(module, section) for section in module.sections)
    return kept and module.start is None and not any(own)


def _stamped(module: Module, stamp: str | None) -> dict[Section, bytes]:
    """Return the new contents of the producers section, for those modules that have one."""
    if not any(section.id == sec.CUSTOM and section.name == "producers" for section in module.sections):
        return {}
    from wizer.core.producers import stamped

    return stamped(module, stamp)


def _beyond_constants(
    module: Module, state: State, heap: HeapCode, max_data_segments: int
) -> tuple[State, HeapCode]:
    """Have the restore function do what imports ask for; what does it is only imported where some ask."""
    if any(
        module.memories[memidx].limits.shared and module.imported("memory", memidx)
        for memidx in state.memories
    ):
        from wizer.core.shared import with_shared

        state, heap = with_shared(module, state, heap, max_data_segments)
    if state.imported:
        from wizer.core.checks import with_checks

        heap = with_checks(module, state, heap)
    return state, heap


def _outline(
    module: Module, contents: Mapping[int, Sequence[Chunk] | None], heap: HeapCode, *, counted: bool
) -> list[Chunk]:
    """Return the chunks of the snapshot without data and custom sections."""
    data, count = data_outline(module, heap.passive_data)
    empty = {sec.DATA: data, sec.DATA_COUNT: [encode_unsigned(count)] if counted else None}
    return assemble(module, {**contents, **empty}, keep_custom=lambda _: False)


def _keeps(module: Module, section: Section) -> bool:
    """Whether a custom section stays; our own is written anew."""
    return not is_marker(module, section) and not _describes_relocations(section)


def _describes_relocations(section: Section) -> bool:
    """Whether a custom section describes the original as a relocatable object, which a snapshot is not.

    https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md
    """
    return section.name == "linking" or section.name.startswith("reloc.")


def dropped_custom_sections(module: Module) -> list[str]:
    """Return the names of the custom sections that a snapshot does not have."""
    return [s.name for s in module.sections if s.id == sec.CUSTOM and _describes_relocations(s)]


def grown(type_: T, size: int) -> T:
    """Return a type whose minimum is what initialisation left: a size in pages or elements."""
    return replace(type_, limits=replace(type_.limits, minimum=size))


def _imports(module: Module, state: State) -> dict[int, list[Chunk] | None]:
    """Raise the minimum of captured imports, which are written to up to their present size."""
    if not (module.import_counts["table"] or module.import_counts["memory"]):
        return {}
    imports = [_captured(imported, index, state) for index, imported in numbered(module.imports)]
    if imports == list(module.imports):
        return {}
    return {sec.IMPORT: vector([encode_import(imported) for imported in imports])}


def _captured(imported: Import, index: int, state: State) -> Import:
    match imported.type:
        case TableType() as table if index in state.tables:
            return replace(imported, type=grown(table, state.tables[index].size))
        case MemoryType() as memory if index in state.memories:
            return replace(imported, type=grown(memory, state.memories[index].pages))
    return imported


def _tables(module: Module, state: State, heap: HeapCode) -> list[Chunk] | None:
    items = []
    for tableidx, table in enumerate(module.tables):
        if not module.imported("table", tableidx):
            size = state.tables[tableidx].size
            if size > max(MAX_TABLE_SIZE, table.type.limits.minimum):
                raise StateError(
                    f"{module.describe('table', tableidx)} has grown to {size} elements, and engines take "
                    f"{MAX_TABLE_SIZE}"
                )
            encoded = encode_tabletype(grown(table.type, size))
            items.append(encoded if table.init is None else b"\x40\x00" + encoded + table.init.code)
    return vector([*items, *heap.tables])


def _memories(module: Module, state: State) -> list[Chunk] | None:
    return vector(
        [
            encode_memorytype(grown(memory, state.memories[memidx].pages))
            for memidx, memory in enumerate(module.memories)
            if not module.imported("memory", memidx)
        ]
    )


def _globals(module: Module, heap: HeapCode) -> list[Chunk] | None:
    items = []
    for globalidx, global_ in enumerate(module.globals):
        if global_.init is None:
            continue
        init = heap.initialisers.get(globalidx)
        code_ = global_.init.code if init is None else init + END
        items.append(encode_globaltype(global_.type) + code_)
    return vector([*items, *heap.globals])


def _functions(module: Module, heap: HeapCode) -> dict[int, Sequence[Chunk] | None]:
    """Append what restores the rest of the state: the last function is the start function."""
    defined = module.funcs[module.import_counts["func"] :]
    typeidxs = [*defined, *(function.typeidx for function in heap.functions)]
    contents: dict[int, Sequence[Chunk] | None] = {
        sec.FUNCTION: vector([encode_unsigned(typeidx) for typeidx in typeidxs]),
        sec.CODE: with_bodies(module, [function.body for function in heap.functions]) if typeidxs else None,
    }
    if heap.functions:
        contents[sec.START] = [encode_unsigned(len(module.funcs) + len(heap.functions) - 1)]
    if heap.types:
        contents[sec.TYPE] = extended(module, sec.TYPE, heap.types)
    return contents


def _marker(module: Module, heap: HeapCode, contents: Mapping[int, Sequence[Chunk] | None]) -> bytes:
    """Say what a snapshot of the snapshot does not need."""
    appended = Appended(
        funcs=len(heap.functions),
        tables=len(heap.tables),
        globals=len(heap.globals),
        first_element=len(module.elements) if heap.passive_elements else 0,
        elements=len(heap.passive_elements),
        first_data=len(module.data) if module.data_count is not None and heap.passive_data else 0,
        data=len(heap.passive_data),
        data_count=int(module.data_count is None and bool(heap.passive_data)),
    )
    return marker(appended, checked_contents(module, contents))
