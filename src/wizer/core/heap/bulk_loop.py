"""Functions that go through a range of numbers, with a row of columns for each.

A column of bytes, of which the function does something with one for each number from $number to $end::

    (func (param $number i32) (param $end i32) (local $bytes (ref null $i8s)) (local $at i32)
      (local.set $bytes (array.new_data $i8s $data
        (i32.add (i32.mul (i32.sub (local.get $number) (i32.const 1)) (i32.const 1)) (i32.const 4096))
        (i32.sub (local.get $end) (local.get $number))))
      (loop $next
        … (array.get_u $i8s (local.get $bytes) (local.get $at)) …
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next
          (i32.lt_u (local.tee $number (i32.add (local.get $number) (i32.const 1))) (local.get $end)))))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wizer.binary import code
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.expr import encode_const
from wizer.binary.types import FuncType, RefType, ValType
from wizer.core.heap.bulk_rows import Column, Data, Rows

NUMBER: Final = 0
END: Final = 1
_PARAMS: Final = 2
_STORAGE: Final = {1: "i8", 2: "i16", 4: "i32", 8: "i64", 16: "v128"}


class Loop:
    """A function ``(param $number i32) (param $end i32)`` in the making; it is called with number < end.

    Args:
        types: where types are found.
        data: where columns go.
        dataidx: the segment that has `data`.
        first: the number that the first row is for.
        count: how many rows there are.
    """

    def __init__(self, types: AppendedTypes, data: Data, dataidx: int, first: int, count: int) -> None:
        self._types = types
        self._data = data
        self._dataidx = dataidx
        self._first = first
        self._rows = Rows(count)
        self._locals: list[ValType] = []
        self._before = b""
        self._after = b""
        self._arrays: dict[int, tuple[int, int]] = {}

    def local(self, valtype: ValType) -> int:
        """Return a new local."""
        self._locals.append(valtype)
        return _PARAMS + len(self._locals) - 1

    def once(self, value: bytes, reftype: RefType) -> bytes:
        """Return the code for a reference that is the same every time, which ``value`` makes."""
        localidx = self.local(RefType(nullable=True, heap=reftype.heap))
        self._before += value + code.local_set(localidx)
        return code.local_get(localidx) + (b"" if reftype.nullable else code.REF_AS_NON_NULL)

    def column(self, numbers: Sequence[int], size: int) -> bytes:
        """Return the code for the entry of this row in a column of numbers of ``size`` bytes (4, 8 or 16)."""
        column = self._rows.add(numbers, size)
        if column.width not in self._arrays:
            self._arrays[column.width] = self._array(column.width), self.local("i32")
        array, row = self._arrays[column.width]
        at = code.local_get(row)
        if column.position:
            at += encode_const("i32", column.position) + code.I32_ADD
        return code.local_get(array) + at + self._get(column, size)

    def stream(self, numbers: Sequence[int]) -> bytes:
        """Return the code for the next one of some numbers of 4 bytes, of which a row may take many."""
        rows = Rows(len(numbers))
        column = rows.add(numbers, 4)
        array, position = self._array(column.width), self.local("i32")
        start = self._data.add(rows.packed(column.width))
        load = encode_const("i32", start) + encode_const("i32", len(numbers))
        self._before += load + self._new_data(column.width) + code.local_set(array)
        entry = code.local_get(array) + code.local_get(position) + self._get(column, 4)
        return entry + advance(position, encode_const("i32", 1))

    def _array(self, width: int) -> int:
        return self.local(RefType(nullable=True, heap=self._types.array(_STORAGE[width])))

    def _new_data(self, width: int) -> bytes:
        return code.array_new_data(self._types.array(_STORAGE[width]), self._dataidx)

    def _get(self, column: Column, size: int) -> bytes:
        """Return ``array.get``, and what makes the entry a number of ``size`` bytes."""
        get = code.array_get
        if column.width < 4:
            get = code.array_get_s if column.signed else code.array_get_u
        widened = b""
        if size == 8 and column.width < 8:
            widened = code.I64_EXTEND_I32_S if column.signed else code.I64_EXTEND_I32_U
        return get(self._types.array(_STORAGE[column.width])) + widened

    def function(self, body: bytes) -> Function:
        """Return the function that does ``body`` for every number; `NUMBER` is the local that has it."""
        load = b"".join(self._load(width) for width in self._rows.widths)
        following = advance(NUMBER, encode_const("i32", 1)) + code.local_get(NUMBER)
        again = following + code.local_get(END) + code.I32_LT_U + code.br_if(0)
        functype = self._types.func(FuncType(("i32", "i32"), ()))
        whole = self._before + load + code.LOOP + body + self._after + again + code.END
        return Function(functype, self._locals, whole)

    def _load(self, width: int) -> bytes:
        """Return the code that loads the rows of a width, from that for the first number on."""
        array, row = self._arrays[width]
        stride = self._rows.stride(width)
        start = self._data.add(self._rows.packed(width))
        skipped = code.local_get(NUMBER) + encode_const("i32", self._first) + code.I32_SUB
        skipped += encode_const("i32", stride * width) + code.I32_MUL
        offset = skipped + encode_const("i32", start) + code.I32_ADD
        count = code.local_get(END) + code.local_get(NUMBER) + code.I32_SUB
        count += encode_const("i32", stride) + code.I32_MUL
        self._after += advance(row, encode_const("i32", stride))
        return offset + count + self._new_data(width) + code.local_set(array)


def advance(localidx: int, step: bytes) -> bytes:
    """Return the code that adds to a local of type i32."""
    return code.local_get(localidx) + step + code.I32_ADD + code.local_set(localidx)
