"""Values as numbers in columns, and the code that turns them back.

A reference in a column is the number under which an array has the object (`objects`); 0 is null::

    (ref.cast (ref null $node) (array.get $objects … (column)))

Where scalars are among them, the lowest bit tells, and an appended function decodes it::

    (func $ref (param $code i32) (result anyref)
      (if (result anyref) (i32.and (local.get $code) (i32.const 1))
        (then (ref.i31 (i32.shr_u (local.get $code) (i32.const 1))))
        (else (array.get $objects … (i32.shr_u (local.get $code) (i32.const 1))))))

Functions have numbers of their own, in an appended table.
"""

from __future__ import annotations

from wizer.binary import code
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.expr import encode_const, encode_null
from wizer.binary.module import Module
from wizer.binary.types import FuncType, RefType, StorageType, encode_valtype, hierarchy, unpacked
from wizer.binary.values import BITS
from wizer.core.columns import OBJECT, SCALAR, Column
from wizer.core.heap.loop import Loop
from wizer.core.heap.objects import ANYREF, Objects, Table
from wizer.core.heap.operations import Vectors


class Values:
    """Numbers objects and functions as they are referred to, and encodes columns of values.

    Attributes:
        numbers: for each object its number, 0 where it has none yet; the first entry stands for null.
        existing: what exists already and is kept under numbers from ``first_existing`` on: codes of objects
            and of imported globals.
        funcs: the functions that are referred to, by their codes: own and imported ones, and what imported
            globals hold.

    Args:
        module: the original module.
        vectors: what columns are.
        numbers: those of the objects that are made.
        first_existing: the number after them.
        objects: the array of objects.
        functions: the functions by their numbers.
        decode: the index that the function ``$ref`` would have.
    """

    def __init__(
        self,
        module: Module,
        vectors: Vectors,
        numbers: Column,
        first_existing: int,
        objects: Objects,
        functions: Objects | Table,
        decode: int,
    ) -> None:
        self.numbers = numbers
        self.existing: list[int] = []
        self.funcs: list[int] = []
        self._module = module
        self._vectors = vectors
        self._first_existing = first_existing
        self._objects = objects
        self._functions = functions
        self._decode = decode
        self._global_numbers: dict[int, int] = {}
        self._func_numbers: dict[int, int] = {0: 0}

    @property
    def size(self) -> int:
        """How many numbers there are, that of null among them."""
        return self._first_existing + len(self.existing)

    def operand(self, loop: Loop, storage: StorageType, column: Column) -> bytes:
        """Return the code for a value in a place of a type, of which there is one in each row of ``loop``."""
        if isinstance(storage, RefType):
            return self._reference(loop, storage, column)
        same = self._vectors.equal(column)
        if same is not None:
            return encode_const(unpacked(storage), same)
        reinterpret = {"f32": code.F32_REINTERPRET_I32, "f64": code.F64_REINTERPRET_I64}.get(storage, b"")
        return loop.column(column, max(4, BITS[storage] // 8)) + reinterpret

    def _reference(self, loop: Loop, reftype: RefType, column: Column) -> bytes:
        numbers, scalars = self.codes(reftype, column)
        same = self._vectors.equal(numbers)
        if same is None:
            return self.decoded(reftype, scalars, loop.column(numbers, 4))
        if same == 0:
            return encode_null(reftype.heap)
        return loop.once(self.decoded(reftype, scalars, encode_const("i32", same)), reftype)

    def codes(self, reftype: RefType, column: Column) -> tuple[Column, bool]:
        """Return references as numbers, and whether scalars are among them."""
        vectors = self._vectors
        if hierarchy(reftype.heap, self._module.types) == "func":
            for func in vectors.distinct(column):
                if self._func_numbers.setdefault(func, len(self._func_numbers)) > len(self.funcs):
                    self.funcs.append(func)
            return vectors.translated(column, self._func_numbers), False
        numbers = vectors.numbered(column, self.numbers)
        if unnumbered := vectors.unnumbered(column, numbers):
            for held in unnumbered:
                self._keep(held)
            numbers = vectors.numbered(column, self.numbers)
            for held, number in self._global_numbers.items():
                vectors.fill(numbers, column, held, number)
        if SCALAR in vectors.kinds(column):
            return vectors.shifted(numbers, column), True
        return numbers, False

    def _keep(self, held: int) -> None:
        """Give what exists already a number."""
        if held & 3 == OBJECT:
            self.numbers[held >> 2] = self.size
            self.existing.append(held)
        elif held not in self._global_numbers:
            self._global_numbers[held] = self.size
            self.existing.append(held)

    def decoded(self, reftype: RefType, scalars: bool, number: bytes) -> bytes:
        """Return the code for a reference of a type, given that for its number."""
        if hierarchy(reftype.heap, self._module.types) == "func":
            return self._functions.get(number) + _narrowed(reftype, "func")
        found = number + code.call(self._decode) if scalars else self._objects.get(number)
        if reftype.heap == "extern":
            return found + (b"" if reftype.nullable else code.REF_AS_NON_NULL) + code.EXTERN_CONVERT_ANY
        return found + _narrowed(reftype, "any")

    def decoder(self, types: AppendedTypes) -> Function:
        """Return the function ``$ref``."""
        shifted = code.local_get(0) + encode_const("i32", 1) + code.I32_SHR_U
        test = code.local_get(0) + encode_const("i32", 1) + code.I32_AND
        choice = code.if_(encode_valtype(ANYREF)) + shifted + code.REF_I31
        choice += code.ELSE + self._objects.get(shifted) + code.END
        return Function(types.func(FuncType(("i32",), (ANYREF,))), (), test + choice)


def _narrowed(reftype: RefType, top: str) -> bytes:
    """Return what makes a nullable reference to the top of a hierarchy one of a type."""
    if reftype.heap == top:
        return b"" if reftype.nullable else code.REF_AS_NON_NULL
    return code.ref_cast(reftype.heap, nullable=reftype.nullable)
