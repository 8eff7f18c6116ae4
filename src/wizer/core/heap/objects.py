"""The array in which the restore function keeps many objects by their numbers, until all are made.

An appended global has it meanwhile::

    (type $objects (array (mut anyref)))
    (global $objects (mut (ref null $objects)) (ref.null $objects))

An array and not a table: engines go through all elements of all tables whenever they look for garbage, and
the more there is to make, the more often they look. In wasmtime 50, making a million objects takes 9 s with a
table and 0.1 s with an array.
"""

from __future__ import annotations

from wizer.binary import code
from wizer.binary.additions import MAX_TABLES
from wizer.binary.appended import AppendedTypes
from wizer.binary.expr import END, encode_const, encode_null
from wizer.binary.externs import GlobalType, SizeLimits, TableType, encode_globaltype, encode_tabletype
from wizer.binary.module import Module
from wizer.binary.types import FieldType, RefType
from wizer.records import record

ANYREF = RefType(nullable=True, heap="any")


@record
class Table:
    """A table in which the restore function keeps references by their numbers.

    Attributes:
        tableidx: its index; it is appended.
        reftype: the type of the references.
    """

    tableidx: int
    reftype: RefType

    def entry(self, size: int) -> bytes:
        """Return the table for so many numbers, as it is appended to the table section."""
        return encode_tabletype(TableType(self.reftype, SizeLimits(size)))

    def get(self, number: bytes) -> bytes:
        """Return the code for a reference, given that for its number."""
        return number + code.table_get(self.tableidx)

    def set(self, number: bytes, value: bytes) -> bytes:
        """Return the code that keeps a reference under a number, given the code for both."""
        return number + value + code.table_set(self.tableidx)

    def clear(self, size: int) -> bytes:
        """Return the code that makes all of so many places null."""
        everything = encode_const("i32", 0) + encode_null(self.reftype.heap) + encode_const("i32", size)
        return everything + code.table_fill(self.tableidx)


@record
class Objects:
    """An array of references; that of number 0 is null.

    Attributes:
        globalidx: the global that has it while the restore function runs.
        typeidx: its type.
    """

    globalidx: int
    typeidx: int

    @property
    def entry(self) -> bytes:
        """The global, as it is appended to the global section."""
        globaltype = GlobalType(RefType(nullable=True, heap=self.typeidx), mutable=True)
        return encode_globaltype(globaltype) + encode_null(self.typeidx) + END

    def make(self, size: int) -> bytes:
        """Return the code that makes the array, for so many numbers."""
        made = encode_const("i32", size) + code.array_new_default(self.typeidx)
        return made + code.global_set(self.globalidx)

    def get(self, number: bytes) -> bytes:
        """Return the code for a reference, given that for its number."""
        return code.global_get(self.globalidx) + number + code.array_get(self.typeidx)

    def set(self, number: bytes, value: bytes) -> bytes:
        """Return the code that keeps a reference under a number, given the code for both."""
        return code.global_get(self.globalidx) + number + value + code.array_set(self.typeidx)

    def make_of(self, elemidx: int, size: int) -> bytes:
        """Return the code that makes the array of all elements of a passive segment."""
        made = encode_const("i32", 0) + encode_const("i32", size)
        return made + code.array_new_elem(self.typeidx, elemidx) + code.global_set(self.globalidx)

    def clear(self) -> bytes:
        """Return the code that lets the array go."""
        return encode_null(self.typeidx) + code.global_set(self.globalidx)


def array_of(reftype: RefType, types: AppendedTypes, globalidx: int) -> Objects:
    """Return an array of references with its type, which is appended unless the module has it."""
    return Objects(globalidx, types.of(FieldType(reftype, mutable=True)))


def table_or_array(module: Module, reftype: RefType, types: AppendedTypes, globalidx: int) -> Table | Objects:
    """Return a table, where engines take one more, or an array in an appended global."""
    if len(module.tables) < MAX_TABLES:
        return Table(len(module.tables), reftype)
    return array_of(reftype, types, globalidx)
