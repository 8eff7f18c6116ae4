"""Types: value types, composite types, and the type section.

https://webassembly.github.io/spec/core/binary/types.html

A number or vector type is its name (``"i32"``, ``"v128"``); packed storage types are ``"i8"`` and ``"i16"``.
A heap type is the name of an abstract one (``"func"``, ``"any"``) or the type index of a concrete one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from wizer.binary.leb128 import encode_signed
from wizer.binary.reader import Reader
from wizer.binary.vectors import encode_vector
from wizer.records import record

HeapType: TypeAlias = "str | int"

NUMBER_CODES = {"i32": 0x7F, "i64": 0x7E, "f32": 0x7D, "f64": 0x7C, "v128": 0x7B}
PACKED_CODES = {"i8": 0x78, "i16": 0x77}
HEAP_CODES = {
    "nocont": 0x75,
    "noexn": 0x74,
    "nofunc": 0x73,
    "noextern": 0x72,
    "none": 0x71,
    "func": 0x70,
    "extern": 0x6F,
    "any": 0x6E,
    "eq": 0x6D,
    "i31": 0x6C,
    "struct": 0x6B,
    "array": 0x6A,
    "exn": 0x69,
    "cont": 0x68,
}
_NUMBERS = {code: name for name, code in NUMBER_CODES.items()}
_PACKED = {code: name for name, code in PACKED_CODES.items()}
_HEAPS = {code: name for name, code in HEAP_CODES.items()}

# The top of the hierarchy that each abstract heap type belongs to.
# https://webassembly.github.io/spec/core/valid/matching.html#heap-types
HIERARCHIES = {
    **dict.fromkeys(("func", "nofunc"), "func"),
    **dict.fromkeys(("extern", "noextern"), "extern"),
    **dict.fromkeys(("any", "eq", "i31", "struct", "array", "none"), "any"),
    **dict.fromkeys(("exn", "noexn"), "exn"),
    **dict.fromkeys(("cont", "nocont"), "cont"),
}


@record
class RefType:
    """A reference type: ``(ref heap)`` or ``(ref null heap)``."""

    nullable: bool
    heap: HeapType

    def __str__(self) -> str:
        return f"(ref {'null ' if self.nullable else ''}{self.heap})"


def unpacked(storage: str) -> str:
    """Return the type of number or vector that a place of this storage type is read as.

    https://webassembly.github.io/spec/core/syntax/types.html#composite-types
    """
    return "i32" if storage in PACKED_CODES else storage


ValType: TypeAlias = "str | RefType"
StorageType: TypeAlias = "str | RefType"

FUNCREF = RefType(nullable=True, heap="func")
FUNCREF_NON_NULL = RefType(nullable=False, heap="func")


@record
class FuncType:
    """A function type, also the type of a tag."""

    params: tuple[ValType, ...]
    results: tuple[ValType, ...]

    def __str__(self) -> str:
        return f"[{' '.join(map(str, self.params))}] -> [{' '.join(map(str, self.results))}]"


@record
class FieldType:
    """A field of a structure, or the element of an array."""

    storage: StorageType
    mutable: bool


@record
class StructType:
    """A structure type."""

    fields: tuple[FieldType, ...]


@record
class ArrayType:
    """An array type."""

    element: FieldType


@record
class ContType:
    """A continuation type (stack switching); only its being one matters here."""

    typeidx: int


CompType: TypeAlias = "FuncType | StructType | ArrayType | ContType"


@record
class SubType:
    """An entry of the type index space."""

    comp: CompType
    supertypes: tuple[int, ...] = ()
    final: bool = True


def hierarchy(heap: HeapType, types: Sequence[SubType]) -> str:
    """Return the top of the hierarchy of ``heap``: func, extern, any, exn or cont."""
    if isinstance(heap, str):
        return HIERARCHIES[heap]
    match types[heap].comp:
        case FuncType():
            return "func"
        case ContType():
            return "cont"
        case _:
            return "any"


_ABSTRACT_SUPERTYPES = {
    "nocont": ("cont",),
    "noexn": ("exn",),
    "nofunc": ("func",),
    "noextern": ("extern",),
    "none": ("i31", "struct", "array", "eq", "any"),
    "i31": ("eq", "any"),
    "struct": ("eq", "any"),
    "array": ("eq", "any"),
    "eq": ("any",),
}


def matches(sub: RefType, super_: RefType, types: Sequence[SubType]) -> bool:
    """Whether ``sub`` is a subtype of ``super_``; types of equal structure count by their indices only.

    https://webassembly.github.io/spec/core/valid/matching.html#reference-types
    """
    return (super_.nullable or not sub.nullable) and _heap_matches(sub.heap, super_.heap, types)


def _heap_matches(sub: HeapType, super_: HeapType, types: Sequence[SubType]) -> bool:
    if sub == super_:
        return True
    if isinstance(sub, str):
        if isinstance(super_, str):
            return super_ in _ABSTRACT_SUPERTYPES.get(sub, ())
        bottoms = {"func": "nofunc", "any": "none", "cont": "nocont"}
        return sub == bottoms.get(hierarchy(super_, types))
    if isinstance(super_, int):
        return any(_heap_matches(parent, super_, types) for parent in types[sub].supertypes)
    kind = {FuncType: "func", StructType: "struct", ArrayType: "array", ContType: "cont"}[
        type(types[sub].comp)
    ]
    return _heap_matches(kind, super_, types)


def read_heaptype(reader: Reader) -> HeapType:
    """Read a heap type."""
    start = reader.pos
    value = reader.s33()
    if value >= 0:
        return value
    name = _HEAPS.get(value & 0x7F) if value >= -0x40 else None
    if name is None:
        raise reader.fail("unknown heap type", start)
    return name


def read_reftype(reader: Reader) -> RefType:
    """Read a reference type."""
    code = reader.byte()
    if code in (0x63, 0x64):
        return RefType(nullable=code == 0x63, heap=read_heaptype(reader))
    if code in _HEAPS:
        return RefType(nullable=True, heap=_HEAPS[code])
    raise reader.fail(f"unknown reference type {code:#04x}", reader.pos - 1)


def read_valtype(reader: Reader) -> ValType:
    """Read a value type."""
    code = reader.byte()
    if code in _NUMBERS:
        return _NUMBERS[code]
    reader.pos -= 1
    return read_reftype(reader)


def _read_fieldtype(reader: Reader) -> FieldType:
    code = reader.byte()
    if code in _PACKED:
        storage: StorageType = _PACKED[code]
    else:
        reader.pos -= 1
        storage = read_valtype(reader)
    return FieldType(storage, read_mutability(reader))


def read_mutability(reader: Reader) -> bool:
    """Read whether a global or field is mutable."""
    flag = reader.byte()
    if flag > 1:
        raise reader.fail(f"malformed mutability {flag:#04x}", reader.pos - 1)
    return flag == 1


def _read_comptype(reader: Reader) -> CompType:
    code = reader.byte()
    if code == 0x60:
        return FuncType(reader.vector(read_valtype), reader.vector(read_valtype))
    if code == 0x5F:
        return StructType(reader.vector(_read_fieldtype))
    if code == 0x5E:
        return ArrayType(_read_fieldtype(reader))
    if code == 0x5D:
        return ContType(reader.s33())
    raise reader.fail(f"unknown type form {code:#04x}", reader.pos - 1)


def _read_subtype(reader: Reader) -> SubType:
    if reader.peek() in (0x50, 0x4F):
        final = reader.byte() == 0x4F
        supertypes = reader.vector(Reader.u32)
        return SubType(_read_comptype(reader), supertypes, final)
    return SubType(_read_comptype(reader))


def read_type_section(reader: Reader) -> tuple[SubType, ...]:
    """Read the type section: the types of all its recursion groups."""
    types: list[SubType] = []
    for _ in range(reader.count()):
        if reader.peek() == 0x4E:
            reader.byte()
            types.extend(reader.vector(_read_subtype))
        else:
            types.append(_read_subtype(reader))
    return tuple(types)


def encode_heaptype(heap: HeapType) -> bytes:
    """Encode a heap type."""
    return encode_signed(heap) if isinstance(heap, int) else bytes((HEAP_CODES[heap],))


def encode_valtype(valtype: ValType) -> bytes:
    """Encode a value type, nullable references to abstract heap types in their short form."""
    if isinstance(valtype, str):
        return bytes((NUMBER_CODES[valtype],))
    if valtype.nullable and isinstance(valtype.heap, str):
        return bytes((HEAP_CODES[valtype.heap],))
    return bytes((0x63 if valtype.nullable else 0x64,)) + encode_heaptype(valtype.heap)


def encode_functype(functype: FuncType) -> bytes:
    """Encode a function type, a recursion group of its own."""
    params, results = (list(map(encode_valtype, side)) for side in (functype.params, functype.results))
    return b"\x60" + encode_vector(params) + encode_vector(results)
