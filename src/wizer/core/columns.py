"""Objects by type, in columns: what `wizer.core.walk` reads and `wizer.core.heap` writes.

Two points (type 0) of which the first one is held by an array (type 1)::

    Group("struct", 0, nodes=[0, 2], storages=("i32", "i32"), columns=[[1, 3], [2, 4]])
    Group("array", 1, nodes=[1], storages=(None,), columns=[[4, 0]], starts=[0, 2])

References are codes, so that a column of them is numbers, too. Columns are lists where objects are few, which
spares the import of numpy, and its arrays where they are many.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, Literal, TypeAlias

from wizer.binary.module import Module
from wizer.binary.types import StorageType, ValType
from wizer.binary.values import BITS, Number
from wizer.core.state import (
    I31,
    NULL,
    Array,
    Exn,
    FuncRef,
    GlobalRef,
    HeapObject,
    Null,
    ObjectRef,
    Ref,
    Struct,
    Value,
)
from wizer.records import record

# A list of integers, or an array of numpy; vectors of 128 bits are two columns of an array of two dimensions.
Column: TypeAlias = Any

# From this many references or objects on, importing numpy pays.
MANY = 10_000

# What the lowest two bits of the code of a reference say; those above are the index of an object plus 1, of a
# function or of a global, or the bits of a scalar. Null is 0.
OBJECT: Final = 0
FUNC: Final = 1
SCALAR: Final = 2
GLOBAL: Final = 3


def listed(column: Column) -> list[int]:
    """Return a column as a list."""
    found: list[int] = column if isinstance(column, list) else column.tolist()
    return found


def code_of(value: Value) -> int:
    """Return the code of a reference."""
    match value:
        case ObjectRef(node):
            return (node + 1) << 2
        case FuncRef(funcidx):
            return funcidx << 2 | FUNC
        case I31(bits):
            return bits << 2 | SCALAR
        case GlobalRef(globalidx):
            return globalidx << 2 | GLOBAL
    assert isinstance(value, Null)
    return 0


def ref_of(code: int) -> Ref:
    """Return the reference with a code."""
    code = int(code)
    if code == 0:
        return NULL
    number = code >> 2
    match code & 3:
        case 0:
            return ObjectRef(number - 1)
        case 1:
            return FuncRef(number)
        case 2:
            return I31(number)
    return GlobalRef(number)


class Refs(Sequence[Ref]):
    """References by their codes."""

    def __init__(self, codes: Column) -> None:
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Any:
        return Refs(self.codes[index]) if isinstance(index, slice) else ref_of(self.codes[index])

    def __iter__(self) -> Iterator[Ref]:
        return map(ref_of, listed(self.codes))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(list(self))


class Elements(Mapping[int, Ref]):
    """Elements of a table by their positions, which ascend."""

    def __init__(self, positions: Column, codes: Column) -> None:
        self.positions = positions
        self.codes = codes

    @classmethod
    def of(cls, elements: Mapping[int, Ref]) -> Elements:
        """Return elements as columns."""
        if isinstance(elements, Elements):
            return elements
        positions = sorted(elements)
        return cls(positions, [code_of(elements[position]) for position in positions])

    def _chosen(self, chosen: Callable[[Column], Column]) -> Elements:
        if isinstance(self.codes, list):
            rows = [row for row, code in enumerate(self.codes) if chosen(code)]
            positions = [self.positions[row] for row in rows]
            return Elements(positions, [self.codes[row] for row in rows])
        is_chosen = chosen(self.codes)
        return self if is_chosen.all() else Elements(self.positions[is_chosen], self.codes[is_chosen])

    def nulls(self) -> Elements:
        """Return the elements that are null."""
        return self._chosen(lambda codes: codes == 0)

    def without(self, code: int) -> Elements:
        """Return the elements that have another code."""
        return self._chosen(lambda codes: codes != code)

    def functions(self, *, others: bool = False) -> Elements:
        """Return the elements that are functions of the module, or the others."""
        return self._chosen(lambda codes: (codes & 3 == FUNC) != others)

    def runs(self, gap: int) -> list[tuple[int, int]]:
        """Return ranges of rows whose positions have gaps of up to ``gap`` elements only."""
        positions, count = self.positions, len(self.positions)
        if isinstance(positions, list):
            edges = [row for row in range(1, count) if positions[row] - positions[row - 1] > gap + 1]
        else:
            edges = ((positions[1:] - positions[:-1] > gap + 1).nonzero()[0] + 1).tolist()
        return [*pairwise([0, *edges, count])] if count else []

    @property
    def count(self) -> int:
        """How many elements are not null."""
        return (
            len(self.codes) - listed(self.codes).count(0)
            if isinstance(self.codes, list)
            else int((self.codes != 0).sum())
        )

    @property
    def has_objects(self) -> bool:
        """Whether elements are neither null nor functions of the module."""
        return bool(self.objects())

    def objects(self) -> list[tuple[int, Ref]]:
        """Return the elements that are neither null nor functions of the module."""
        if hasattr(self.codes, "tolist"):
            rows = ((self.codes != 0) & (self.codes & 3 != FUNC)).nonzero()[0]
            return [*zip(self.positions[rows].tolist(), Refs(self.codes[rows]), strict=True)]
        pairs = zip(self.positions, self.codes, strict=True)
        return [(place, ref_of(code)) for place, code in pairs if code and code & 3 != FUNC]

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[int]:
        return iter(listed(self.positions))

    def __getitem__(self, position: int) -> Ref:
        row = bisect_left(self.positions, position)
        if row == len(self.positions) or self.positions[row] != position:
            raise KeyError(position)
        return ref_of(self.codes[row])

    def items(self) -> Any:
        """Return positions and references."""
        return zip(self, Refs(self.codes), strict=True)

    def values(self) -> Any:
        """Return the references."""
        return Refs(self.codes)

    def __repr__(self) -> str:
        return repr(dict(self.items()))


@record
class Group:
    """Objects of one type.

    Attributes:
        kind: what they are.
        index: their type, or the tag of exceptions.
        nodes: their indices in the heap, ascending.
        storages: the types of the slots, None for references: fields, or the elements of arrays.
        columns: what the slots hold: of arrays, all elements one after the other, numbers packed in
            little-endian order.
        starts: of arrays, where the elements of each begin, and at last the number of all; otherwise empty.
    """

    kind: Literal["struct", "array", "exn"]
    index: int
    nodes: Column
    storages: tuple[str | None, ...]
    columns: Sequence[Column]
    starts: Column = ()

    def object(self, row: int) -> HeapObject:
        """Return one object."""
        if self.kind == "array":
            start, end = int(self.starts[row]), int(self.starts[row + 1])
            storage = self.storages[0]
            if storage is None:
                return Array(self.index, Refs(self.columns[0][start:end]))
            width = BITS[storage] // 8
            return Array(self.index, data=bytes(self.columns[0][start * width : end * width]))
        values = tuple(
            ref_of(column[row]) if storage is None else Number(storage, number_in(column, row))
            for storage, column in zip(self.storages, self.columns, strict=True)
        )
        return Struct(self.index, values) if self.kind == "struct" else Exn(self.index, values)


def number_in(column: Column, row: int) -> int:
    """Return the bits of a number in a column."""
    held = column[row]
    return int(held) if getattr(held, "ndim", 0) == 0 else int(held[0]) | int(held[1]) << 64


class Heap(Sequence[HeapObject]):
    """The objects of a state.

    Attributes:
        groups: the objects by type.
        many: whether columns are arrays of numpy.
    """

    def __init__(self, groups: Sequence[Group], *, many: bool = False) -> None:
        self.groups = groups
        self.many = many
        self._size = sum(len(group.nodes) for group in groups)
        self._places: tuple[Column, Column] | None = None

    @classmethod
    def of(cls, module: Module, objects: Sequence[HeapObject]) -> Heap:
        """Return objects of a module as columns."""
        if isinstance(objects, Heap):
            return objects
        from wizer.core.layout import slot_types

        rows: dict[tuple[type, int], list[int]] = {}
        for node, object_ in enumerate(objects):
            index = object_.tagidx if isinstance(object_, Exn) else object_.typeidx
            rows.setdefault((type(object_), index), []).append(node)
        groups = []
        for (kind, index), nodes in rows.items():
            types = payload(module, index) if kind is Exn else slot_types(module, index)
            groups.append(_group(kind, index, storages(types), [objects[node] for node in nodes], nodes))
        return cls(groups)

    @property
    def places(self) -> tuple[Column, Column]:
        """For each object the number of its group, and its row there."""
        if self._places is None:
            self._places = self._find_places()
        return self._places

    def _find_places(self) -> tuple[Column, Column]:
        groups: Column
        rows: Column
        if self.many:
            import numpy as np

            groups, rows = np.zeros(self._size, np.int32), np.zeros(self._size, np.int32)
            for number, group in enumerate(self.groups):
                groups[group.nodes] = number
                rows[group.nodes] = np.arange(len(group.nodes), dtype=np.int32)
            return groups, rows
        groups, rows = [0] * self._size, [0] * self._size
        for number, group in enumerate(self.groups):
            for row, node in enumerate(group.nodes):
                groups[node], rows[node] = number, row
        return groups, rows

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, node: Any) -> Any:
        if isinstance(node, slice):
            return [self[index] for index in range(*node.indices(self._size))]
        groups, rows = self.places
        return self.groups[groups[node]].object(int(rows[node]))


def storages(types: Sequence[StorageType]) -> tuple[str | None, ...]:
    """Return the types of slots as a `Group` has them."""
    return tuple(type_ if isinstance(type_, str) else None for type_ in types)


def payload(module: Module, tagidx: int) -> tuple[ValType, ...]:
    """Return the types of what exceptions with a tag hold."""
    return module.type_as_func(module.tags[tagidx]).params


def _group(
    kind: type, index: int, types: tuple[str | None, ...], objects: Sequence[HeapObject], nodes: list[int]
) -> Group:
    if kind is not Array:
        rows = [object_.fields for object_ in objects if not isinstance(object_, Array)]
        columns = [
            [value.bits if isinstance(value, Number) else code_of(value) for value in column]
            for column in zip(*rows, strict=True)
        ]
        return Group("exn" if kind is Exn else "struct", index, nodes, types, columns)
    arrays = [object_ for object_ in objects if isinstance(object_, Array)]
    elements: Column = [code_of(ref) for array in arrays for ref in array.elements]
    lengths = [len(array.elements) for array in arrays]
    if types[0] is not None:
        elements = b"".join(array.data for array in arrays)
        lengths = [len(array.data) * 8 // BITS[types[0]] for array in arrays]
    return Group("array", index, nodes, types, [elements], [0, *accumulate(lengths)])
