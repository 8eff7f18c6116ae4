"""Values as numbers in columns, and the code that turns them back.

A reference in a column is the number under which an array has the object (`objects`); 0 is null::

    (ref.cast (ref null $node) (call $object (column)))

Where scalars are among them, the lowest bit tells, and an appended function decodes it::

    (func $ref (param $code i32) (result anyref)
      (if (result anyref) (i32.and (local.get $code) (i32.const 1))
        (then (ref.i31 (i32.shr_u (local.get $code) (i32.const 1))))
        (else (call $object (i32.shr_u (local.get $code) (i32.const 1))))))

Functions have numbers of their own, in an appended table.
"""

from __future__ import annotations

from collections.abc import Sequence

from wizer.binary import code
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.expr import encode_const, encode_null
from wizer.binary.module import Module
from wizer.binary.types import FuncType, RefType, StorageType, encode_valtype, hierarchy, unpacked
from wizer.binary.values import Number
from wizer.core.heap.bulk_loop import Loop
from wizer.core.heap.graph import WIDTHS
from wizer.core.heap.objects import ANYREF, Objects
from wizer.core.state import I31, NULL, FuncRef, GlobalRef, ObjectRef, Ref, Value


class Values:
    """Numbers objects and functions as they are referred to, and encodes columns of values.

    Attributes:
        numbers: for each object its number; 0 where it has none yet.
        existing: what exists already and is kept under numbers from ``first_existing`` on: objects by their
            index, and imported globals.
        funcs: the functions that are referred to: own and imported ones by their index, imported globals.

    Args:
        module: the original module.
        objects: the array of objects.
        functable: the table of functions.
        decode: the index that the function ``$ref`` would have.
    """

    def __init__(
        self,
        module: Module,
        numbers: list[int],
        first_existing: int,
        objects: Objects,
        functable: int,
        decode: int,
    ) -> None:
        self.numbers = numbers
        self.existing: list[int | GlobalRef] = []
        self.funcs: list[FuncRef | GlobalRef] = []
        self._module = module
        self._first_existing = first_existing
        self._objects = objects
        self._functable = functable
        self._decode = decode
        self._global_numbers: dict[GlobalRef, int] = {}
        self._func_numbers: dict[Ref, int] = {NULL: 0}

    @property
    def size(self) -> int:
        """How many numbers there are, that of null among them."""
        return self._first_existing + len(self.existing)

    def operand(self, loop: Loop, storage: StorageType, values: Sequence[Value]) -> bytes:
        """Return the code for a value in a place of a type, of which there is one in each row of ``loop``."""
        if isinstance(storage, RefType):
            return self._reference(loop, storage, values)
        bits = [value.bits for value in values if isinstance(value, Number)]
        operand = unpacked(storage)
        if bits.count(bits[0]) == len(bits):
            return encode_const(operand, bits[0])
        reinterpret = {"f32": code.F32_REINTERPRET_I32, "f64": code.F64_REINTERPRET_I64}.get(storage, b"")
        return loop.column(bits, max(4, WIDTHS[storage])) + reinterpret

    def _reference(self, loop: Loop, reftype: RefType, values: Sequence[Value]) -> bytes:
        codes, scalars = self.codes(reftype, values)
        if codes.count(codes[0]) < len(codes):
            return loop.column(codes, 4) + self.decoded(reftype, scalars)
        if codes[0] == 0:
            return encode_null(reftype.heap)
        return loop.once(encode_const("i32", codes[0]) + self.decoded(reftype, scalars), reftype)

    def codes(self, reftype: RefType, values: Sequence[Value]) -> tuple[list[int], bool]:
        """Return references as numbers, and whether scalars are among them."""
        if hierarchy(reftype.heap, self._module.types) == "func":
            return [self._func_number(value) for value in values], False
        numbers = self.numbers
        if not any(type(value) is I31 for value in values):
            return [
                (numbers[v.object] if type(v) is ObjectRef else 0) or self._number(v) for v in values
            ], False
        return [
            value.bits << 1 | 1 if type(value) is I31 else self._number(value) << 1 for value in values
        ], True

    def _number(self, value: Value) -> int:
        if type(value) is ObjectRef:
            return self.numbers[value.object] or self._keep(value.object)
        if isinstance(value, GlobalRef):
            if value not in self._global_numbers:
                self._global_numbers[value] = self.size
                self.existing.append(value)
            return self._global_numbers[value]
        return 0

    def _keep(self, node: int) -> int:
        """Give an object that exists already a number."""
        self.numbers[node] = self.size
        self.existing.append(node)
        return self.numbers[node]

    def _func_number(self, value: Value) -> int:
        assert not isinstance(value, Number)
        number = self._func_numbers.setdefault(value, len(self._func_numbers))
        if number > len(self.funcs):
            assert isinstance(value, FuncRef | GlobalRef)
            self.funcs.append(value)
        return number

    def decoded(self, reftype: RefType, scalars: bool) -> bytes:
        """Return the code that turns the number on the stack into a reference of a type."""
        if hierarchy(reftype.heap, self._module.types) == "func":
            return code.table_get(self._functable) + _narrowed(reftype, "func")
        found = code.call(self._decode) if scalars else self._objects.get(b"")
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
