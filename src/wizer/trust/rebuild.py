"""A snapshot has to be what its own state makes of the original, byte for byte.

An original and the state that a snapshot of it has when it is instantiated determine the snapshot: writing is
a function of the two. So the snapshot is written again, and where its bytes are others, something is in it
that no snapshot has: a changed constant, an item too many, a function that somebody else appended::

    snapshot ──instantiate, capture──→ state in the snapshot's terms
             ──`restated`──→ state in the original's terms ──rewrite──→ bytes, which must be the snapshot's
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from wizer.binary import sections as sec
from wizer.binary.module import Global, Module, Table
from wizer.binary.sections import Section
from wizer.core.instrument import makes_objects
from wizer.core.state import NULL, Array, Exn, FuncRef, HeapObject, Ref, State, Struct, TableState, Value
from wizer.core.tables import initial_element, initial_elements
from wizer.trust.differences import Difference, segment_elements, segment_places, table_elements

_SHOWN: Final = 16  # bytes shown of what differs


def restated(original: Module, snapshot: Module, state: State) -> State | None:
    """Return the state of a snapshot in the terms of its original; None: it speaks of what that lacks.

    Both modules are without what an earlier snapshot appended. The original's types are the first ones of
    the snapshot.
    """
    dropped_data = _dropped(_data(original), _data(snapshot), state.dropped_data)
    places = segment_places(original, snapshot)
    dropped_elements = frozenset(_dropped_elements(original, snapshot, state, places))
    tables = [index for index in state.tables if index < len(original.tables)]
    memories = [index for index in state.memories if index < len(original.memories)]
    found = State(
        globals={index: value for index, value in state.globals.items() if index < len(original.globals)},
        memories={index: state.memories[index] for index in memories},
        tables={index: _table(original, snapshot, state, index) for index in tables},
        dropped_data=frozenset(dropped_data),
        dropped_elements=dropped_elements,
        elements=dict(_elements(original, snapshot, state, dropped_elements, places)),
        imported=state.imported,
        heap=state.heap,
        borrowed=state.borrowed,
    )
    return found if _is_within(original, found) else None


def _table(original: Module, snapshot: Module, state: State, tableidx: int) -> TableState:
    """Return a table's state against what the original's segments make of it."""
    size = state.tables[tableidx].size
    elements = dict(sorted(table_elements(snapshot, state, tableidx).items()))
    default = initial_element(original, tableidx)
    same_size = size == original.tables[tableidx].type.limits.minimum
    if same_size and default is not None and elements == initial_elements(original, tableidx):
        return TableState(size)
    return TableState(size, elements)


def _dropped(original: Sequence[bool], snapshot: Sequence[bool], dropped: frozenset[int]) -> Iterator[int]:
    """Yield the segments that hold something in the original and of which the snapshot has nothing left."""
    for index, holds in enumerate(original):
        if holds and (index >= len(snapshot) or not snapshot[index] or index in dropped):
            yield index


def _data(module: Module) -> list[bool]:
    """Return for each data segment whether it is passive and holds something."""
    return [segment.mode == "passive" and segment.end > segment.start for segment in module.data]


def _dropped_elements(
    original: Module, snapshot: Module, state: State, places: Mapping[int, int]
) -> Iterator[int]:
    for elemidx, element in enumerate(original.elements):
        if element.mode == "passive" and element.items:
            place = places.get(elemidx)
            if place is None or not segment_elements(snapshot, state, place):
                yield elemidx


def _elements(
    original: Module,
    snapshot: Module,
    state: State,
    dropped: frozenset[int],
    places: Mapping[int, int],
) -> Iterator[tuple[int, Sequence[Ref]]]:
    """Yield the elements of the passive segments that are captured in the original."""
    for elemidx, element in enumerate(original.elements):
        if element.mode == "passive" and makes_objects(original, element) and elemidx not in dropped:
            refs = segment_elements(snapshot, state, places[elemidx])
            yield elemidx, [NULL if isinstance(ref, bytes) else ref for ref in refs]


def _is_within(original: Module, state: State) -> bool:
    """Whether a state only speaks of functions, types and tags of the original."""
    held = [*state.globals.values(), *state.imported.values()]
    for table in state.tables.values():
        held += (table.changed or {}).values()
    for refs in state.elements.values():
        held += refs
    return all(_is_known(original, object_) for object_ in state.heap) and _are_known(original, held)


def _is_known(original: Module, object_: HeapObject) -> bool:
    match object_:
        case Exn():
            return object_.tagidx < len(original.tags) and _are_known(original, object_.fields)
        case Struct():
            return object_.typeidx < len(original.types) and _are_known(original, object_.fields)
        case Array():
            return object_.typeidx < len(original.types) and _are_known(original, object_.elements)


def _are_known(original: Module, values: Sequence[Value]) -> bool:
    return all(value.funcidx < len(original.funcs) for value in values if isinstance(value, FuncRef))


def item_differences(expected: Module, found: Module) -> Iterator[Difference]:
    """Yield where two modules differ, item by item; something always where their bytes do."""
    count = 0
    for kind, items, others in _spaces(expected, found):
        for index in range(max(len(items), len(others))):
            left, right = (each[index] if index < len(each) else None for each in (items, others))
            if left != right:
                count += 1
                yield Difference(kind, index, f"{kind} {index}", _shown(left, right), _shown(right, left))
    if not count and expected.wasm != found.wasm:
        at = first_difference(expected.wasm, found.wasm)
        left, right = (_hex(module.wasm[at:]) for module in (expected, found))
        yield Difference("bytes", at, f"{_section_at(found, at)} byte {at:#x}", left, right)


def first_difference(first: bytes, second: bytes) -> int:
    """Return the first position at which two strings differ."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _spaces(expected: Module, found: Module) -> Iterator[tuple[str, Sequence[object], Sequence[object]]]:
    yield "type", expected.types, found.types
    yield "import", expected.imports, found.imports
    yield "function", expected.funcs, found.funcs
    yield "table", expected.tables, found.tables
    yield "memory", expected.memories, found.memories
    yield "tag", expected.tags, found.tags
    yield "global", expected.globals, found.globals
    yield "export", expected.exports, found.exports
    yield "start function", [expected.start], [found.start]
    yield "element segment", [e.code for e in expected.elements], [e.code for e in found.elements]
    yield "data segment", list(_segments(expected)), list(_segments(found))
    yield "body", list(bodies_of(expected)), list(bodies_of(found))
    yield "custom section", list(_custom(expected)), list(_custom(found))


def _segments(module: Module) -> Iterator[bytes]:
    for segment in module.data:
        yield module.wasm[segment.code_start : segment.end]


def bodies_of(module: Module) -> Iterator[bytes]:
    """Yield the bodies of the functions that a module defines."""
    section = module.section(sec.CODE)
    if section is None:
        return
    reader = section.reader(module.wasm)
    for _ in range(reader.count()):
        yield reader.raw(reader.u32())


def _custom(module: Module) -> Iterator[tuple[str, bytes, int]]:
    """Yield the name of each custom section, its contents, and what it follows."""
    before = -1
    for section in module.sections:
        if section.id == sec.CUSTOM:
            yield section.name, module.wasm[section.start : section.end], before
        else:
            before = section.id


def _section_at(module: Module, at: int) -> str:
    section: Section | None = next((section for section in module.sections if at < section.end), None)
    return f"{sec.TITLES[section.id]} section," if section is not None else "end,"


def _shown(item: object, other: object) -> str:
    """Say what an item is; of long strings, where they begin to differ."""
    if item is None:
        return "none"
    if isinstance(item, tuple) and len(item) == 3 and isinstance(item[1], bytes):
        return f"`{item[0]}` of {len(item[1])} bytes"
    if isinstance(item, Global | Table):
        init = "" if item.init is None else f", {item.init.value or item.init.code.hex(' ')}"
        return f"{item.type}{init}"
    if not isinstance(item, bytes):
        text = str(item)
        return text if len(text) < 200 else f"{text[:200]}…"
    at = first_difference(item, other) if isinstance(other, bytes) else 0
    return f"{len(item)} bytes" + (f", from {at:#x} on {_hex(item[at:])}" if at < len(item) else "")


def _hex(data: bytes) -> str:
    return data[:_SHOWN].hex(" ") + (" …" if len(data) > _SHOWN else "")
