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
from wizer.binary.appended import AppendedTypes
from wizer.binary.expr import END, encode_const, encode_null
from wizer.binary.externs import GlobalType, encode_globaltype
from wizer.binary.types import FieldType, RefType
from wizer.records import record

ANYREF = RefType(nullable=True, heap="any")


@record
class TableOfObjects:
    """A table in which the restore function keeps few objects."""

    tableidx: int

    def get(self, number: bytes) -> bytes:
        """Return the code for an object, given that for its number."""
        return number + code.table_get(self.tableidx)

    def set(self, number: bytes, value: bytes) -> bytes:
        """Return the code that keeps an object under a number, given the code for both."""
        return number + value + code.table_set(self.tableidx)


@record
class Objects:
    """The array of objects; the object of number 0 is null.

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
        """Return the code for an object, given that for its number."""
        return code.global_get(self.globalidx) + number + code.array_get(self.typeidx)

    def set(self, number: bytes, value: bytes) -> bytes:
        """Return the code that keeps an object under a number, given the code for both."""
        return code.global_get(self.globalidx) + number + value + code.array_set(self.typeidx)

    def clear(self) -> bytes:
        """Return the code that lets the array go."""
        return encode_null(self.typeidx) + code.global_set(self.globalidx)


def array_of_objects(types: AppendedTypes, globalidx: int) -> Objects:
    """Return the array with its type, which is appended unless the module has it."""
    return Objects(globalidx, types.refs(FieldType(ANYREF, mutable=True)))
