"""A value of a type, for a place whose own value comes later."""

from __future__ import annotations

from wizer.binary.code import EXTERN_CONVERT_ANY, REF_I31, op
from wizer.binary.expr import encode_const, encode_default, encode_null
from wizer.binary.module import Module
from wizer.binary.types import ArrayType, RefType, StorageType, StructType

_MAX_DEPTH = 8


def placeholder(module: Module, reftype: RefType, depth: int = 0) -> bytes | None:
    """Return a constant expression, without ``end``, for some value of a type; None where none is found."""
    if reftype.nullable:
        return encode_null(reftype.heap)
    if depth > _MAX_DEPTH:
        return None
    scalar = encode_const("i32", 0) + REF_I31
    match reftype.heap:
        case "any" | "eq" | "i31":
            return scalar
        case "extern":
            return scalar + EXTERN_CONVERT_ANY
        case "struct" | "array" as heap:
            wanted = StructType if heap == "struct" else ArrayType
            for typeidx, subtype in enumerate(module.types):
                if isinstance(subtype.comp, wanted):
                    found = _object(module, typeidx, depth)
                    if found is not None:
                        return found
        case int(typeidx):
            return _object(module, typeidx, depth)
    return None


def _object(module: Module, typeidx: int, depth: int) -> bytes | None:
    comp = module.types[typeidx].comp
    if isinstance(comp, ArrayType):
        return op(b"\xfb\x08", typeidx, 0)
    if not isinstance(comp, StructType):
        return None
    fields = [_field(module, field.storage, depth) for field in comp.fields]
    known = [field for field in fields if field is not None]
    if len(known) < len(fields):
        return None
    return b"".join(known) + op(b"\xfb\x00", typeidx)


def _field(module: Module, storage: StorageType, depth: int) -> bytes | None:
    if isinstance(storage, RefType):
        return placeholder(module, storage, depth + 1)
    return encode_default("i32" if storage in ("i8", "i16") else storage)
