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

from typing import Final

from wizer.binary import code
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.expr import encode_const
from wizer.binary.types import FuncType, RefType, ValType
from wizer.core.columns import Column
from wizer.core.heap.operations import Vectors
from wizer.records import record

NUMBER: Final = 0
END: Final = 1
_PARAMS: Final = 2
_STORAGE: Final = {1: "i8", 2: "i16", 4: "i32", 8: "i64", 16: "v128"}


@record
class Place:
    """Where a column is among those of its width.

    Attributes:
        width: the bytes of an entry: 1, 2, 4, 8 or 16.
        position: which of the columns of this width it is.
        signed: whether its entries stand for numbers with a sign.
    """

    width: int
    position: int
    signed: bool


class Rows:
    """Columns of equal length as rows of bytes, each column as narrow as its numbers allow.

    The columns 1, 2, 3 and 70, 80, 90 (one byte each) and 1000, 2000, 3000 (two) of three objects become two
    arrays, row by row, so that some rows are always one slice::

        of bytes:   1 70 2 80 3 90
        of halves:  1000 2000 3000
    """

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._columns: dict[int, list[Column]] = {}

    def add(self, numbers: Column, size: int) -> Place:
        """Add a column of numbers of ``size`` bytes (4, 8 or 16), given as unsigned."""
        width, signed = self._vectors.narrowest(numbers, size)
        columns = self._columns.setdefault(width, [])
        columns.append(numbers)
        return Place(width, len(columns) - 1, signed)

    @property
    def widths(self) -> list[int]:
        """The widths of the columns."""
        return sorted(self._columns)

    def stride(self, width: int) -> int:
        """Return how many columns of a width there are."""
        return len(self._columns[width])

    def packed(self, width: int) -> bytes:
        """Return the rows of the columns of a width."""
        return self._vectors.packed(self._columns[width], width)


class Data:
    """The contents of a data segment; equal pieces are there once."""

    def __init__(self) -> None:
        self._pieces: dict[bytes, int] = {}
        self._size = 0

    def add(self, piece: bytes) -> int:
        """Return where a piece begins, in bytes."""
        start = self._pieces.setdefault(piece, self._size)
        if start == self._size:
            self._size += len(piece)
        return start

    def contents(self) -> bytes:
        """Return all the bytes."""
        return b"".join(self._pieces)


class Loop:
    """A function ``(param $number i32) (param $end i32)`` in the making; it is called with number < end.

    Args:
        vectors: what columns are.
        types: where types are found.
        data: where columns go.
        dataidx: the segment that has `data`.
        first: the number that the first row is for.
    """

    def __init__(self, vectors: Vectors, types: AppendedTypes, data: Data, dataidx: int, first: int) -> None:
        self._vectors = vectors
        self._types = types
        self._data = data
        self._dataidx = dataidx
        self._first = first
        self._rows = Rows(vectors)
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

    def column(self, numbers: Column, size: int) -> bytes:
        """Return the code for the entry of this row in a column of numbers of ``size`` bytes (4, 8 or 16)."""
        column = self._rows.add(numbers, size)
        if column.width not in self._arrays:
            self._arrays[column.width] = self._array(column.width), self.local("i32")
        array, row = self._arrays[column.width]
        at = code.local_get(row)
        if column.position:
            at += encode_const("i32", column.position) + code.I32_ADD
        return code.local_get(array) + at + self._get(column, size)

    def stream(self, numbers: Column) -> bytes:
        """Return the code for the next one of some numbers of 4 bytes, of which a row may take many."""
        rows = Rows(self._vectors)
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

    def _get(self, column: Place, size: int) -> bytes:
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
