"""Functions that make objects and set their slots, many of a kind at a time.

For nodes of which each has a value and the next node, both in columns::

    (func $make (param $number i32) (param $end i32) …
      (loop $next …
        (array.set $objects (global.get $objects) (local.get $number)
          (struct.new $node (array.get_u $i8s …) (ref.cast (ref null $node) (call $object (…)))))
        …))

Where next nodes come later than those that hold them, nodes start with null, and a second function does::

        (struct.set $node 1
          (ref.cast (ref $node) (call $object (local.get $number)))
          (ref.cast (ref null $node) (call $object (…))))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from wizer.binary import code
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.expr import encode_const
from wizer.binary.types import ArrayType, FieldType, RefType, StorageType
from wizer.core.heap.bulk_groups import Group, slot_types
from wizer.core.heap.bulk_loop import NUMBER, Loop, advance
from wizer.core.heap.bulk_rows import Data
from wizer.core.heap.bulk_values import Values
from wizer.core.heap.graph import WIDTHS, Graph, number_at
from wizer.core.heap.objects import Objects
from wizer.core.state import Array, Value
from wizer.records import record


@record
class Slots:
    """One slot of every object of a group: a field, or the element of arrays.

    Attributes:
        index: the field, or the element of an array of fixed length.
        type: its type.
        values: what the objects hold, the made ones first.
        later: whether it is set once everything exists.
    """

    index: int
    type: FieldType
    values: Sequence[Value]
    later: bool


@record
class Maker:
    """What the functions of all groups have in common.

    Attributes:
        graph: the objects.
        values: encodes their contents.
        types, data, dataidx: as `Loop` has them.
        objects: the array of objects.
        placeholder: returns the code for some value of a type.
    """

    graph: Graph
    values: Values
    types: AppendedTypes
    data: Data
    dataidx: int
    objects: Objects
    placeholder: Callable[[RefType], bytes]

    def make(self, group: Group, slots: Sequence[Slots]) -> Function:
        """Return the function that makes the objects of a group."""
        loop = self.loop(group.first, len(group.made))
        made = b"".join(self._initial(loop, slot, len(group.made)) for slot in slots)
        if group.form == "struct":
            made += code.struct_new(group.typeidx)
        elif group.form == "fixed":
            made += code.array_new_fixed(group.typeidx, group.length)
        elif group.form == "data":
            made += self._from_data(loop, group)
        else:
            made += self._repeated(loop, group)
        return loop.function(self.objects.set(code.local_get(NUMBER), made))

    def loop(self, first: int, count: int) -> Loop:
        """Return a function in the making, for ``count`` numbers from ``first`` on."""
        return Loop(self.types, self.data, self.dataidx, first, count)

    def _initial(self, loop: Loop, slot: Slots, count: int) -> bytes:
        storage = slot.type.storage
        if not slot.later:
            return self.values.operand(loop, storage, slot.values[:count])
        assert isinstance(storage, RefType)
        return self._start(loop, storage)

    def _start(self, loop: Loop, reftype: RefType) -> bytes:
        """Return the code for what a slot holds until it is set."""
        start = self.placeholder(reftype)
        return start if reftype.nullable else loop.once(start, reftype)

    def _arrays(self, nodes: Iterable[int]) -> list[Array]:
        return [array for node in nodes if isinstance(array := self.graph.heap[node], Array)]

    def _element(self, group: Group) -> StorageType:
        comp = self.graph.module.types[group.typeidx].comp
        assert isinstance(comp, ArrayType)
        return comp.element.storage

    def _width(self, group: Group) -> int:
        storage = self._element(group)
        assert isinstance(storage, str)
        return WIDTHS[storage]

    def _from_data(self, loop: Loop, group: Group) -> bytes:
        arrays = self._arrays(group.made)
        width = self._width(group)
        starts = loop.column([self.data.add(array.data) for array in arrays], 4)
        lengths = loop.column([len(array.data) // width for array in arrays], 4)
        return starts + lengths + code.array_new_data(group.typeidx, self.dataidx)

    def _repeated(self, loop: Loop, group: Group) -> bytes:
        """Return the code for an array of equal elements; one of them is on the stack."""
        if isinstance(self._element(group), RefType):
            lengths = [len(array.elements) for array in self._arrays(group.made)]
        else:
            width = self._width(group)
            lengths = [len(array.data) // width for array in self._arrays(group.made)]
        return loop.column(lengths, 4) + code.array_new(group.typeidx)

    def fill(self, group: Group, slots: Sequence[Slots]) -> Function:
        """Return the function that sets the slots of a group that are set later."""
        loop = self.loop(group.first, len(group.nodes))
        own = loop.local(RefType(nullable=True, heap=group.typeidx))
        body = self.objects.get(code.local_get(NUMBER))
        body += code.ref_cast(group.typeidx) + code.local_set(own)
        if group.form == "filled":
            return loop.function(body + self._elements(loop, group, own))
        for slot in slots:
            if slot.later:
                body += code.local_get(own)
                if group.form == "same":
                    body += encode_const("i32", 0)
                body += self.values.operand(loop, slot.type.storage, slot.values)
                body += self._set(group, slot, own)
        return loop.function(body)

    def _set(self, group: Group, slot: Slots, own: int) -> bytes:
        if group.form == "same":
            return code.local_get(own) + code.ARRAY_LEN + code.array_fill(group.typeidx)
        return code.struct_set(group.typeidx, slot.index)

    def _elements(self, loop: Loop, group: Group, own: int) -> bytes:
        """Return the code that sets all the elements of the array in a local."""
        reftype = self._element(group)
        assert isinstance(reftype, RefType)
        elements = [element for array in self._arrays(group.nodes) for element in array.elements]
        codes, scalars = self.values.codes(reftype, elements)

        def store(index: bytes, number: bytes) -> bytes:
            value = number + self.values.decoded(reftype, scalars)
            return code.local_get(own) + index + value + code.array_set(group.typeidx)

        return each(loop, codes, code.local_get(own) + code.ARRAY_LEN, store)


def each(loop: Loop, numbers: Sequence[int], length: bytes, store: Callable[[bytes, bytes], bytes]) -> bytes:
    """Return the code of an inner loop that stores the next ``length`` of some numbers.

    ``store`` gets the code for an index from 0 on and that for a number.
    """
    index, stop, number = loop.local("i32"), loop.local("i32"), loop.local("i32")
    read = loop.stream(numbers) + code.local_set(number)
    start = encode_const("i32", 0) + code.local_set(index) + length + code.local_set(stop)
    finished = code.local_get(index) + code.local_get(stop) + code.I32_GE_U + code.br_if(1)
    stored = store(code.local_get(index), code.local_get(number))
    step = advance(index, encode_const("i32", 1)) + code.br(0)
    return start + code.BLOCK + code.LOOP + finished + read + stored + step + code.END + code.END


def columns_of(graph: Graph, group: Group) -> list[list[Value]]:
    """Return the values of the slots with which objects of a group are made; `slot_types` has their types."""
    if group.form == "struct":
        return [list(column) for column in zip(*map(graph.contents, group.nodes), strict=True)]
    arrays = [object_ for node in group.nodes if isinstance(object_ := graph.heap[node], Array)]
    types = slot_types(graph, group)
    if types and isinstance(storage := types[0].storage, str):
        return [[number_at(array.data, 0, storage) for array in arrays]]
    return [[array.elements[index] for array in arrays] for index in range(len(types))]
