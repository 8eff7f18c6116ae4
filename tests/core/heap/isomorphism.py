"""Whether two states are the same but for the numbers of their objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import wasmtime

from support.engine import engine
from wizer.binary.expr import Expr
from wizer.binary.module import Module, parse_module
from wizer.core.capture import capture
from wizer.core.instrument import instrument
from wizer.core.state import NULL, Array, FuncRef, HeapObject, ObjectRef, Ref, State, Value
from wizer.core.tables import initial_element, initial_elements
from wizer.engine import capi
from wizer.engine.reader import LiveInstance


@dataclass(frozen=True)
class Roots:
    """What a state holds, in full: tables element by element."""

    globals: Mapping[int, Value]
    tables: Mapping[int, Sequence[Value]]
    elements: Mapping[int, Sequence[Value]]
    heap: Sequence[HeapObject]


@dataclass(frozen=True)
class Captured:
    """A module, and the state of an instance of it."""

    module: Module
    state: State

    @property
    def roots(self) -> Roots:
        """What the state holds; passive segments by their order: what no code refers to may have moved."""
        passive = [i for i, element in enumerate(self.module.elements) if element.mode == "passive"]
        tables = {tableidx: self._table(tableidx) for tableidx in self.state.tables}
        elements = {number: self._segment(elemidx) for number, elemidx in enumerate(passive)}
        return Roots(self.state.globals, tables, elements, self.state.heap)

    def _segment(self, elemidx: int) -> Sequence[Value]:
        """The elements of a segment; one that only refers to globals is not read, for it stays as it is."""
        if elemidx in self.state.elements:
            return self.state.elements[elemidx]
        values: list[Value] = []
        for item in self.module.elements[elemidx].items:
            assert isinstance(item, Expr)
            match item.value:
                case ("null", _):
                    values.append(NULL)
                case ("func", int(funcidx)):
                    values.append(FuncRef(funcidx))
                case ("global", int(globalidx)):
                    values.append(self.state.globals[globalidx])
                case _:
                    raise AssertionError(item)
        return values

    def _table(self, tableidx: int) -> Sequence[Value]:
        table = self.state.tables[tableidx]
        changed: Mapping[int, Ref] | None = table.changed
        if changed is None:
            changed = initial_elements(self.module, tableidx)
        assert changed is not None
        default = initial_element(self.module, tableidx)
        elements = []
        for index in range(table.size):
            element = changed.get(index, default)
            assert element is not None
            elements.append(element)
        return elements


def run_and_capture(wasm: bytes, init: str | None) -> Captured:
    """Instantiate a module, call ``init`` if it is given, and capture the state."""
    module = parse_module(wasm)
    chunks, accessors = instrument(module)
    store = wasmtime.Store(engine())
    instance = capi.instantiate(store, wasmtime.Module(engine(), b"".join(chunks)), ())
    if init is not None:
        function = capi.export_of(store, instance, init)
        assert isinstance(function, wasmtime.Func)
        capi.call_function(store, function, (), (), 0)
    return Captured(module, capture(module, accessors, LiveInstance(store, instance), frozenset()))


def difference(left: Roots, right: Roots) -> str | None:
    """Say where two states differ; None where they are the same.

    ``right`` may have more globals, tables and segments. Objects correspond one to one: what is one object
    on one side is one object on the other, and what is two is two.
    """
    return _Comparison(left, right).run()


class _Comparison:
    def __init__(self, left: Roots, right: Roots) -> None:
        self.left, self.right = left, right
        self.to_right: dict[int, int] = {}
        self.to_left: dict[int, int] = {}
        self.pending: list[tuple[int, int, str]] = []

    def run(self) -> str | None:
        pairs: list[tuple[str, Sequence[Value], Sequence[Value]]] = []
        for index, value in self.left.globals.items():
            pairs.append((f"global {index}", [value], [self.right.globals[index]]))
        for index, elements in self.left.tables.items():
            pairs.append((f"table {index}", elements, self.right.tables[index]))
        for index, elements in self.left.elements.items():
            pairs.append((f"segment {index}", elements, self.right.elements[index]))
        for place, left, right in pairs:
            found = self._values(left, right, place)
            if found:
                return found
        while self.pending:
            left_node, right_node, place = self.pending.pop()
            found = self._objects(self.left.heap[left_node], self.right.heap[right_node], place)
            if found:
                return found
        return None

    def _values(self, left: Sequence[Value], right: Sequence[Value], place: str) -> str | None:
        if len(left) != len(right):
            return f"{place}: {len(left)} values against {len(right)}"
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            here = f"{place}.{number}"
            if isinstance(one, ObjectRef) and isinstance(other, ObjectRef):
                new = one.object not in self.to_right
                if self.to_right.setdefault(one.object, other.object) != other.object:
                    return f"{here}: one object has become two"
                if self.to_left.setdefault(other.object, one.object) != one.object:
                    return f"{here}: two objects have become one"
                if new:
                    self.pending.append((one.object, other.object, here))
            elif one != other:
                return f"{here}: {one} against {other}"
        return None

    def _objects(self, left: HeapObject, right: HeapObject, place: str) -> str | None:
        if isinstance(left, Array) and isinstance(right, Array):
            if (left.typeidx, left.data) != (right.typeidx, right.data):
                return f"{place}: {left} against {right}"
            return self._values(left.elements, right.elements, place)
        if isinstance(left, Array) or isinstance(right, Array) or type(left) is not type(right):
            return f"{place}: {left} against {right}"
        if getattr(left, "typeidx", None) != getattr(right, "typeidx", None):
            return f"{place}: {left} against {right}"
        return self._values(left.fields, right.fields, place)
