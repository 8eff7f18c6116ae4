"""Functions that make objects and set their slots, many of a kind at a time.

For nodes of which each has a value and the next node, both in columns::

    (func $make (param $number i32) (param $end i32) …
      (loop $next …
        (array.set $objects (global.get $objects) (local.get $number)
          (struct.new $node (array.get_u $i8s …) (ref.cast (ref null $node) (array.get $objects … (…)))))
        …))

Where next nodes come later than those that hold them, nodes start with null, and a second function does::

        (struct.set $node 1
          (ref.cast (ref $node) (array.get $objects … (local.get $number)))
          (ref.cast (ref null $node) (array.get $objects … (…))))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wizer.binary import code
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.expr import encode_const
from wizer.binary.types import FieldType, RefType
from wizer.binary.values import BITS
from wizer.core.columns import Column, listed
from wizer.core.heap.groups import Batch
from wizer.core.heap.loop import NUMBER, Data, Loop, advance
from wizer.core.heap.objects import Objects
from wizer.core.heap.operations import Vectors
from wizer.core.heap.values import Values
from wizer.records import record


@record
class Slot:
    """One slot of every object of a batch: a field, or the element of arrays.

    Attributes:
        index: the field, or the element of an array of fixed length.
        type: its type.
        later: whether it is set once everything exists.
    """

    index: int
    type: FieldType
    later: bool


@record
class Maker:
    """What the functions of all batches have in common.

    Attributes:
        vectors: what columns are.
        values: encodes their contents.
        types, data, dataidx: as `Loop` has them.
        objects: the array of objects.
        placeholder: returns the code for some value of a type.
    """

    vectors: Vectors
    values: Values
    types: AppendedTypes
    data: Data
    dataidx: int
    objects: Objects
    placeholder: Callable[[RefType], bytes]

    def make(self, batch: Batch, slots: Sequence[Slot]) -> Function:
        """Return the function that makes the objects of a batch."""
        loop, typeidx = self.loop(batch.first), batch.group.index
        made = b"".join(self._initial(loop, batch, slot) for slot in slots)
        if batch.form == "struct":
            made += code.struct_new(typeidx)
        elif batch.form == "fixed":
            made += code.array_new_fixed(typeidx, batch.length)
        else:
            lengths = self.vectors.lengths(batch.group, batch.rows)
            if batch.form == "data":
                made += loop.column(self._starts(batch), 4)
            made += loop.column(lengths, 4)
            made += (
                code.array_new_data(typeidx, self.dataidx)
                if batch.form == "data"
                else code.array_new(typeidx)
            )
        return loop.function(self.objects.set(code.local_get(NUMBER), made))

    def loop(self, first: int) -> Loop:
        """Return a function in the making, for numbers from ``first`` on."""
        return Loop(self.vectors, self.types, self.data, self.dataidx, first)

    def _initial(self, loop: Loop, batch: Batch, slot: Slot) -> bytes:
        storage = slot.type.storage
        if not slot.later:
            return self.values.operand(loop, storage, batch.column(slot.index, batch.rows))
        assert isinstance(storage, RefType)
        start = self.placeholder(storage)
        return start if storage.nullable else loop.once(start, storage)

    def _starts(self, batch: Batch) -> Column:
        """Return where the data of arrays of numbers begin."""
        group, storage = batch.group, batch.group.storages[0]
        assert storage is not None
        width = BITS[storage] // 8
        elements = memoryview(group.columns[0])
        begins = self.vectors.take(group.starts, batch.rows)
        lengths = self.vectors.lengths(group, batch.rows)
        starts = self.vectors.zeros(len(batch.rows))
        spans = zip(listed(begins), listed(lengths), strict=True)
        found = [self.data.add(bytes(elements[s * width : (s + count) * width])) for s, count in spans]
        self.vectors.put(starts, range(len(found)), found)
        return starts

    def fill(self, batch: Batch, slots: Sequence[Slot]) -> Function:
        """Return the function that sets the slots of a batch that are set later."""
        loop, typeidx = self.loop(batch.first), batch.group.index
        own = loop.local(RefType(nullable=True, heap=typeidx))
        body = self.objects.get(code.local_get(NUMBER)) + code.ref_cast(typeidx) + code.local_set(own)
        if batch.form == "filled":
            return loop.function(body + self._elements(loop, batch, own))
        for slot in slots:
            if slot.later:
                same = batch.form == "same"
                body += code.local_get(own) + (encode_const("i32", 0) if same else b"")
                column = batch.column(slot.index, batch.all_rows)
                body += self.values.operand(loop, slot.type.storage, column)
                body += (
                    code.local_get(own) + code.ARRAY_LEN + code.array_fill(typeidx)
                    if same
                    else code.struct_set(typeidx, slot.index)
                )
        return loop.function(body)

    def _elements(self, loop: Loop, batch: Batch, own: int) -> bytes:
        """Return the code that sets all the elements of the array in a local."""
        reftype = batch.slots[0].storage
        assert isinstance(reftype, RefType)
        codes, scalars = self.values.codes(reftype, self.vectors.elements(batch.group, batch.all_rows))

        def store(index: bytes, number: bytes) -> bytes:
            value = self.values.decoded(reftype, scalars, number)
            return code.local_get(own) + index + value + code.array_set(batch.group.index)

        return each(loop, codes, code.local_get(own) + code.ARRAY_LEN, store)


def each(loop: Loop, numbers: Column, length: bytes, store: Callable[[bytes, bytes], bytes]) -> bytes:
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
