"""What differs between two states of a module: every place, by name.

::

    memory 0 at 0x1234..0x1238: 61 62 63 64, and 00 00 00 00
    table 1 ("handlers") element 7: function 3 ("on_click"), and null
    global 3 ("seed"): i32 7 (0x7), and i32 0 (0x0)
    global 5 ("cache") field 2 element 0: i31 4, and i31 5

Objects have no names and no addresses, so the two heaps are walked side by side from the places that hold
them: they are equal where the walk finds the same everywhere and never meets one object of a heap as two of
the other. Memories are compared piece by piece where they may be other than zero, without a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import pack, unpack
from typing import TYPE_CHECKING, TypeAlias

from wizer.binary.externs import ExternKind
from wizer.binary.module import Module
from wizer.binary.values import Number
from wizer.core.elements import refers_to_segments
from wizer.core.state import (
    I31,
    NULL,
    Array,
    Exn,
    FuncRef,
    GlobalRef,
    HeapObject,
    MemoryState,
    Null,
    ObjectRef,
    Ref,
    State,
    Struct,
    Value,
)
from wizer.core.tables import initial_element, initial_elements
from wizer.progress import PROGRESS
from wizer.records import record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ranges: TypeAlias = NDArray[np.int64]  # of shape (n, 2): where each begins, and where it ends

_PIECE = 1 << 20  # bytes of memory compared at once
_SHOWN = 8  # bytes or steps shown of a long difference
_TEXT = 3  # bytes: fewer that are printable are so by chance


@record
class Difference:
    """One place where two states differ.

    Attributes:
        kind: what differs: ``"memory"``, ``"table"``, ``"global"``, ``"heap"``, ``"segment"``, or for modules
            ``"type"``, ``"import"``, ``"export"``, ``"body"``, ``"custom section"`` and the like.
        index: of the memory, table, global or segment in its index space; for an object, of the one that
            leads to it.
        place: what to call the place.
        first, second: what the one and the other state have there.
        span: for a memory, the range of bytes, otherwise None.
    """

    kind: str
    index: int
    place: str
    first: str
    second: str
    span: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.first}, and {self.second}"


# A place is where a walk began, the step that led here, and the place it was taken from.
_Path: TypeAlias = "tuple[_Path | None, str]"
_Where: TypeAlias = "tuple[str, int, _Path]"


def differences(first: tuple[Module, State], second: tuple[Module, State]) -> Iterator[Difference]:
    """Yield what differs between the states of two modules, the second of which may be longer.

    Only what the first module has is compared: a snapshot's index spaces may have grown at their ends.
    """
    module = first[0]
    for memidx, held, other in memory_pairs(first, second):
        name = module.describe("memory", memidx)
        for start, end in differing_ranges(held, other).tolist():
            place = f"{name} at {start:#x}" + (f"..{end:#x}" if end - start > 1 else "")
            texts = _bytes(held.view, start, end), _bytes(other.view, start, end)
            yield Difference("memory", memidx, place, *texts, (start, end))
    yield from differences_but_bytes(first, second)


def memory_pairs(
    first: tuple[Module, State], second: tuple[Module, State]
) -> Iterator[tuple[int, MemoryState, MemoryState]]:
    """Yield the index of each memory that two states have, and what both hold."""
    for memidx, memory in first[1].memories.items():
        if memidx in second[1].memories:
            yield memidx, memory, second[1].memories[memidx]


def differences_but_bytes(first: tuple[Module, State], second: tuple[Module, State]) -> Iterator[Difference]:
    """Yield what `differences` does, without the bytes of memories."""
    PROGRESS.at("comparing")
    comparison = _Comparison(first, second)
    yield from comparison.sizes()
    yield from comparison.globals()
    yield from comparison.tables()
    yield from comparison.segments()
    yield from comparison.heap()


class _Comparison:
    """A comparison of two states; it learns which objects correspond."""

    def __init__(self, first: tuple[Module, State], second: tuple[Module, State]) -> None:
        self.module, self.state = first
        self.other_module, self.other = second
        self._pairs: dict[int, int] = {}
        self._inverse: dict[int, int] = {}
        self._pending: list[tuple[int, int, _Where]] = []

    def sizes(self) -> Iterator[Difference]:
        """Yield the memories and tables of which only one is there, and those whose sizes differ."""
        memories = ((index, memory.pages) for index, memory in self.state.memories.items())
        tables = ((index, table.size) for index, table in self.state.tables.items())
        others = {index: memory.pages for index, memory in self.other.memories.items()}
        yield from self._sizes("memory", "pages", memories, others)
        others = {index: table.size for index, table in self.other.tables.items()}
        yield from self._sizes("table", "elements", tables, others)

    def _sizes(
        self, kind: ExternKind, unit: str, sizes: Iterable[tuple[int, int]], others: Mapping[int, int]
    ) -> Iterator[Difference]:
        for index, size in sizes:
            name, other = self.module.describe(kind, index), others.get(index)
            if other is None:
                yield Difference(kind, index, name, "is there", "is not")
            elif size != other:
                yield Difference(kind, index, f"size of {name}", f"{size} {unit}", f"{other} {unit}")

    def globals(self) -> Iterator[Difference]:
        """Yield the differences of globals, and note the objects in them.

        What is in an imported immutable global belongs to others, who may hold anything in its fields.
        """
        for space, others in (
            (self.state.imported, self.other.imported),
            (self.state.globals, self.other.globals),
        ):
            for index, value in space.items():
                if index in others:
                    where = ("global", index, (None, self.module.describe("global", index)))
                    yield from self._values(value, others[index], where)
                elif ("global", index) not in self.other.borrowed and index not in self.other.imported:
                    name = self.module.describe("global", index)
                    yield Difference("global", index, name, "is there", "is not")
            if space is self.state.imported:
                self._pending.clear()

    def tables(self) -> Iterator[Difference]:
        """Yield the differences of tables, and note the objects in them."""
        for tableidx, table in self.state.tables.items():
            name = self.module.describe("table", tableidx)
            other = self.other.tables.get(tableidx)
            if other is None:
                continue
            elements = table_elements(self.module, self.state, tableidx)
            others = table_elements(self.other_module, self.other, tableidx)
            default = initial_element(self.module, tableidx) or NULL
            other_default = initial_element(self.other_module, tableidx) or NULL
            for position in sorted({*elements, *others}):
                if position < min(table.size, other.size):
                    yield from self._values(
                        elements.get(position, default),
                        others.get(position, other_default),
                        ("table", tableidx, ((None, name), f"element {position}")),
                    )

    def segments(self) -> Iterator[Difference]:
        """Yield the differences of what is left of passive segments, and note the objects in them."""
        if self.module.data_count is not None:
            for dataidx in range(len(self.module.data)):
                held = _data(self.module, self.state, dataidx)
                other_held = _data(self.other_module, self.other, dataidx)
                if held != other_held:
                    left, right = _length(held, "bytes"), _length(other_held, "bytes")
                    if left == right:
                        right = "others"
                    yield Difference("segment", dataidx, f"data segment {dataidx}", left, right)
        for elemidx, other_elemidx in segment_places(self.module, self.other_module).items():
            items = segment_elements(self.module, self.state, elemidx)
            others = segment_elements(self.other_module, self.other, other_elemidx)
            name = f"element segment {elemidx}"
            if len(items) != len(others):
                left, right = _length(items, "elements"), _length(others, "elements")
                yield Difference("segment", elemidx, name, left, right)
                continue
            for position, (item, other_item) in enumerate(zip(items, others, strict=True)):
                where = ("segment", elemidx, ((None, name), f"element {position}"))
                if isinstance(item, bytes) or isinstance(other_item, bytes):
                    if item != other_item:
                        yield Difference("segment", elemidx, _name(where[2]), "an expression", "another one")
                else:
                    yield from self._values(item, other_item, where)

    def heap(self) -> Iterator[Difference]:
        """Yield the differences of objects reachable from the places looked at before."""
        while self._pending:
            pending, self._pending = self._pending, []
            for index, other_index, where in pending:
                yield from self._objects(self.state.heap[index], self.other.heap[other_index], where)

    def _objects(self, held: HeapObject, other: HeapObject, where: _Where) -> Iterator[Difference]:
        if _type(held) != _type(other):
            yield self._difference(_type(held), _type(other), where)
        elif isinstance(held, Array) and isinstance(other, Array):
            yield from self._arrays(held, other, where)
        elif isinstance(held, Struct | Exn) and isinstance(other, Struct | Exn):
            for number, (value, other_value) in enumerate(zip(held.fields, other.fields, strict=True)):
                yield from self._values(value, other_value, _step(where, self._field(held, number)))

    def _field(self, held: Struct | Exn, number: int) -> str:
        name = self.module.field_names.get((held.typeidx, number)) if isinstance(held, Struct) else None
        return f"field {number}" + ("" if name is None else f' ("{name}")')

    def _arrays(self, held: Array, other: Array, where: _Where) -> Iterator[Difference]:
        length, other_length = (len(array.data) or len(array.elements) for array in (held, other))
        if length != other_length:
            unit = "bytes" if held.data or other.data else "elements"
            yield self._difference(
                f"an array of {length} {unit}", f"an array of {other_length} {unit}", where
            )
        elif held.data != other.data:
            for start, end in _ranges_of_bytes(held.data, other.data):
                left, right = (_bytes(data, start, end) for data in (held.data, other.data))
                yield self._difference(left, right, _step(where, f"bytes {start}..{end}"))
        for number, (ref, other_ref) in enumerate(zip(held.elements, other.elements, strict=False)):
            yield from self._values(ref, other_ref, _step(where, f"element {number}"))

    def _values(self, value: Value, other: Value, where: _Where) -> Iterator[Difference]:
        if not isinstance(value, ObjectRef) or not isinstance(other, ObjectRef):
            if value != other:
                yield self._difference(self._shown(value), self._shown(other), where)
            return
        known, inverse = self._pairs.get(value.object), self._inverse.get(other.object)
        if known is None and inverse is None:
            self._pairs[value.object] = other.object
            self._inverse[other.object] = value.object
            self._pending.append((value.object, other.object, where))
        elif known != other.object:
            shared, own = "an object also found elsewhere", "an object of its own"
            yield self._difference(
                shared if known is not None else own, shared if inverse is not None else own, where
            )

    def _difference(self, first: str, second: str, where: _Where) -> Difference:
        kind, index, path = where
        return Difference(kind, index, _name(path), first, second)

    def _shown(self, value: Value) -> str:
        match value:
            case Number():
                return _number(value)
            case Null():
                return "null"
            case FuncRef(funcidx):
                return self.module.describe("func", funcidx).replace("func", "function", 1)
            case GlobalRef(globalidx):
                return f"what {self.module.describe('global', globalidx)} holds"
            case I31(bits):
                return f"i31 {bits}"
            case ObjectRef():
                return "an object"


def segment_places(module: Module, other: Module) -> dict[int, int]:
    """Return where the element segments of a module are in a snapshot of it, by index."""
    if refers_to_segments(module):
        return {elemidx: elemidx for elemidx in range(min(len(module.elements), len(other.elements)))}
    return dict(zip(_passive(module), _passive(other), strict=False))


def _passive(module: Module) -> list[int]:
    elements = enumerate(module.elements)
    return [elemidx for elemidx, element in elements if element.mode == "passive" and element.items]


def table_elements(module: Module, state: State, tableidx: int) -> Mapping[int, Ref]:
    """Return the elements of a table that differ from its initial element."""
    changed = state.tables[tableidx].changed
    return (initial_elements(module, tableidx) or {}) if changed is None else changed


def differing_ranges(first: MemoryState, second: MemoryState) -> Ranges:
    """Return the ranges of bytes in which two memories differ; sizes are not compared."""
    size = min(len(first.view), len(second.view))
    found: list[Ranges] = []
    for start, end in _touched(first, second, size):
        for piece in range(start, end, _PIECE):
            stop = min(piece + _PIECE, end)
            held, other = bytes(first.view[piece:stop]), bytes(second.view[piece:stop])
            if held != other:
                found.append(_ranges_of_bytes(held, other) + piece)
    return joined(found)


def _touched(first: MemoryState, second: MemoryState, size: int) -> Iterator[tuple[int, int]]:
    """Yield the byte ranges below ``size`` where one of two memories may be other than zero, ascending."""
    if first.touched is None or second.touched is None:
        yield 0, size
        return
    position = 0
    for start, end in sorted([*first.touched, *second.touched]):
        low, high = max(start, position), min(end, size)
        if low < high:
            yield low, high
            position = high


def _ranges_of_bytes(first: bytes, second: bytes) -> Ranges:
    """Return the ranges in which strings of the same length differ."""
    import numpy as np

    unequal = np.frombuffer(first, np.uint8) != np.frombuffer(second, np.uint8)
    edges = np.flatnonzero(np.diff(unequal, prepend=False, append=False))
    return edges.reshape(-1, 2).astype(np.int64, copy=False)


def joined(ranges: Sequence[Ranges], gap: int = 0) -> Ranges:
    """Return ranges as one array, ascending and apart; those up to ``gap`` bytes from each other are one."""
    import numpy as np

    if not ranges:
        return np.empty((0, 2), np.int64)
    every = np.concatenate(ranges)
    every = every[np.argsort(every[:, 0], kind="stable")]
    ends = np.maximum.accumulate(every[:, 1])
    first = np.ones(len(every), np.bool_)
    first[1:] = every[1:, 0] - ends[:-1] > gap
    last = np.append(first[1:], True)
    return np.stack([every[first, 0], ends[last]], axis=1)


def _data(module: Module, state: State, dataidx: int) -> memoryview:
    """Return what ``memory.init`` finds in a data segment."""
    if dataidx >= len(module.data) or module.data[dataidx].mode == "active" or dataidx in state.dropped_data:
        return memoryview(b"")
    segment = module.data[dataidx]
    return memoryview(module.wasm)[segment.start : segment.end]


def segment_elements(module: Module, state: State, elemidx: int) -> Sequence[Ref | bytes]:
    """Return what ``table.init`` finds in an element segment: references, or expressions nobody evaluated."""
    segment = module.elements[elemidx]
    if segment.mode != "passive" or elemidx in state.dropped_elements:
        return ()
    if elemidx in state.elements:
        return state.elements[elemidx]
    held = (_element(item if isinstance(item, int) else item.value or item.code) for item in segment.items)
    return [_value(state, ref) if isinstance(ref, GlobalRef) else ref for ref in held]


def _value(state: State, ref: GlobalRef) -> Ref:
    """Return what a global holds, which may be an object; itself where that belongs to others."""
    value = state.globals.get(ref.globalidx, state.imported.get(ref.globalidx, ref))
    return ref if isinstance(value, Number) else value


def _element(item: int | bytes | tuple[str, int | None]) -> Ref | bytes:
    match item:
        case int() | ("func", int()):
            return FuncRef(item if isinstance(item, int) else item[1] or 0)
        case ("null", _):
            return NULL
        case ("global", int(globalidx)):
            return GlobalRef(globalidx)
    return item if isinstance(item, bytes) else repr(item).encode()


def _type(held: HeapObject) -> str:
    match held:
        case Struct():
            return f"a structure of type {held.typeidx}"
        case Array():
            return f"an array of type {held.typeidx}"
        case Exn():
            return f"an exception of tag {held.tagidx}"


def _step(where: _Where, step: str) -> _Where:
    _, index, path = where
    return "heap", index, (path, step)


def _name(path: _Path) -> str:
    """Return what to call a place; of a long way there, the middle is left out."""
    steps = []
    here: _Path | None = path
    while here is not None:
        steps.append(here[1])
        here = here[0]
    steps.reverse()
    if len(steps) > 2 * _SHOWN:
        steps[_SHOWN:-_SHOWN] = [f"… {len(steps) - 2 * _SHOWN} objects further …"]
    return " ".join(steps)


def _number(value: Number) -> str:
    bits = value.bits
    if value.type in ("f32", "f64"):
        integer, real = ("<I", "<f") if value.type == "f32" else ("<Q", "<d")
        return f"{value.type} {unpack(real, pack(integer, bits))[0]!r} ({bits:#x})"
    width = {"i8": 8, "i16": 16, "i32": 32, "i64": 64}.get(value.type)
    if width is None:
        return f"{value.type} {bits:#x}"
    return f"{value.type} {bits - (bits >> width - 1 << width)} ({bits:#x})"


def _bytes(view: memoryview | bytes, start: int, end: int) -> str:
    data = bytes(view[start : min(end, start + _SHOWN)])
    shown = data.hex(" ") + ("" if end - start <= _SHOWN else " …")
    return f"{shown} ({data.decode('ascii')!r})" if len(data) >= _TEXT and _is_text(data) else shown


def _is_text(data: bytes) -> bool:
    return data.isascii() and data.decode("ascii").isprintable()


def _length(held: Sequence[object] | memoryview, unit: str) -> str:
    return f"{len(held)} {unit}" if len(held) else "dropped or empty"
