"""The object graph of a state: which object refers to which, and from where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from wizer.binary.module import Module
from wizer.binary.types import ArrayType, FieldType, RefType, StorageType, StructType, hierarchy
from wizer.binary.values import Number
from wizer.core.state import Array, Exn, HeapObject, ObjectRef, Ref, State, Struct, Value
from wizer.records import record

# The most operands of `array.new_fixed` that engines take: the JavaScript API's limit.
# https://webassembly.github.io/spec/js-api/index.html#limits
MAX_ARRAY_NEW_FIXED = 10_000


@record
class Slot:
    """A place for a reference inside an object.

    Attributes:
        index: the field or element.
        value: what it holds.
        reftype: its type.
        mutable: whether it can be set once the object exists.
    """

    index: int
    value: Ref
    reftype: RefType
    mutable: bool


class Graph:
    """The objects of a state as nodes, by their index in `State.heap`."""

    def __init__(self, module: Module, state: State, heap: Sequence[HeapObject]) -> None:
        self.module = module
        self.heap = heap
        self._state = state
        self._uniform: dict[int, bool] = {}

    @property
    def nodes(self) -> range:
        """All objects."""
        return range(len(self.heap))

    @cached_property
    def uses(self) -> list[int]:
        """How many places refer to each object."""
        uses = [0] * len(self.heap)
        for values in (_roots(self._state), *map(self.contents, range(len(self.heap)))):
            for value in values:
                if isinstance(value, ObjectRef):
                    uses[value.object] += 1
        return uses

    def contents(self, node: int) -> Sequence[Value]:
        """Return what an object holds; nothing for an array of numbers."""
        object_ = self.heap[node]
        return object_.elements if isinstance(object_, Array) else object_.fields

    def field_types(self, object_: Struct) -> tuple[FieldType, ...]:
        """Return the types of a structure's fields."""
        comp = self.module.types[object_.typeidx].comp
        assert isinstance(comp, StructType)
        return comp.fields

    def element_type(self, object_: Array) -> FieldType:
        """Return the type of an array's elements."""
        comp = self.module.types[object_.typeidx].comp
        assert isinstance(comp, ArrayType)
        return comp.element

    def length(self, array: Array) -> int:
        """Return how many elements an array has."""
        storage = self.element_type(array).storage
        return len(array.data) // WIDTHS[storage] if isinstance(storage, str) else len(array.elements)

    def slot_type(self, node: int, index: int) -> StorageType:
        """Return the type of a field or element of an object that is no exception."""
        object_ = self.heap[node]
        if isinstance(object_, Array):
            return self.element_type(object_).storage
        assert isinstance(object_, Struct)
        return self.field_types(object_)[index].storage

    def slots(self, node: int) -> Iterator[Slot]:
        """Yield the slots of an object that hold an object."""
        object_ = self.heap[node]
        if isinstance(object_, Struct):
            types = self.field_types(object_)
            for index, value in enumerate(object_.fields):
                if isinstance(value, ObjectRef):
                    storage = types[index].storage
                    assert isinstance(storage, RefType)
                    yield Slot(index, value, storage, types[index].mutable)
        elif isinstance(object_, Array):
            element = self.element_type(object_)
            if isinstance(element.storage, RefType):
                for index, ref in enumerate(object_.elements):
                    if isinstance(ref, ObjectRef):
                        yield Slot(index, ref, element.storage, element.mutable)
        else:
            payload = self.module.type_as_func(self.module.tags[object_.tagidx]).params
            for index, value in enumerate(object_.fields):
                if isinstance(value, ObjectRef) and isinstance(reftype := payload[index], RefType):
                    yield Slot(index, value, reftype, mutable=False)

    def cycles(self) -> list[int]:
        """Return for each object a number that it shares with those that it is on a cycle with.

        Tarjan's strongly connected components, as a loop.
        """
        low = [0] * len(self.heap)  # the place of an object in the search, then the lowest one it reaches
        component = [-1] * len(self.heap)
        path: list[int] = []
        counter = 0
        for start in range(len(self.heap)):
            if low[start]:
                continue
            counter += 1
            low[start] = counter
            path.append(start)
            search = [(start, counter, self.slots(start))]
            while search:
                node, place, slots = search[-1]
                for slot in slots:
                    child = slot.value.object if isinstance(slot.value, ObjectRef) else node
                    if not low[child]:
                        counter += 1
                        low[child] = counter
                        path.append(child)
                        search.append((child, counter, self.slots(child)))
                        break
                    if component[child] < 0:
                        low[node] = min(low[node], low[child])
                else:
                    search.pop()
                    if search:
                        low[search[-1][0]] = min(low[search[-1][0]], low[node])
                    while low[node] == place and component[node] < 0:
                        component[path.pop()] = node
        return component

    def top(self, reftype: RefType) -> str:
        """Return the top of the hierarchy of a reference type."""
        return hierarchy(reftype.heap, self.module.types)

    def is_large(self, node: int) -> bool:
        """Whether an object is an array of more differing elements than one expression can list."""
        object_ = self.heap[node]
        if not isinstance(object_, Array):
            return False
        if self.length(object_) <= MAX_ARRAY_NEW_FIXED:
            return False
        if isinstance(storage := self.element_type(object_).storage, RefType):
            return uniform_ref(object_.elements) is None
        return not is_uniform(object_.data, WIDTHS[storage])

    def is_uniform(self, node: int) -> bool:
        """Whether an object is an array of references that are all the same."""
        found = self._uniform.get(node)
        if found is None:
            object_ = self.heap[node]
            found = isinstance(object_, Array) and uniform_ref(object_.elements) is not None
            self._uniform[node] = found
        return found

    def needs_code(self, node: int) -> bool:
        """Whether no constant expression makes an object, nor an empty one that could be filled."""
        object_ = self.heap[node]
        if isinstance(object_, Array):
            return self.is_large(node) and not self.element_type(object_).mutable
        return isinstance(object_, Exn)

    def is_exception(self, node: int) -> bool:
        """Whether an object is an exception, which no constant expression makes."""
        return isinstance(self.heap[node], Exn)


WIDTHS = {"i8": 1, "i16": 2, "i32": 4, "i64": 8, "f32": 4, "f64": 8, "v128": 16}


def is_uniform(data: bytes, width: int) -> bool:
    """Whether packed elements are all the same."""
    return data == data[:width] * (len(data) // width)


def uniform_ref(elements: Sequence[Ref]) -> Ref | None:
    """Return what all elements of an array are, or None where they differ or there are none."""
    if not elements or any(element != elements[0] for element in elements):
        return None
    return elements[0]


def number_at(data: bytes, index: int, storage: str) -> Number:
    """Return one element of packed ones."""
    width = WIDTHS[storage]
    return Number(storage, int.from_bytes(data[index * width : (index + 1) * width], "little"))


def _roots(state: State) -> Iterator[Value]:
    yield from state.globals.values()
    yield from state.imported.values()
    for table in state.tables.values():
        yield from (table.changed or {}).values()
    for elements in state.elements.values():
        yield from elements
