"""A value of a type, for a place whose own value comes later."""

from __future__ import annotations

from wizer.binary.code import (
    END,
    EXTERN_CONVERT_ANY,
    REF_AS_NON_NULL,
    REF_I31,
    TRY_TABLE,
    UNREACHABLE,
    array_new_fixed,
    block,
    struct_new,
    throw,
)
from wizer.binary.expr import encode_const, encode_default, encode_null, encode_ref_func
from wizer.binary.module import Module
from wizer.binary.types import (
    ArrayType,
    FuncType,
    RefType,
    StorageType,
    StructType,
    encode_valtype,
    hierarchy,
    matches,
    unpacked,
)

_MAX_DEPTH = 8
_EXNREF = RefType(nullable=True, heap="exn")


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
        case int(typeidx) if not isinstance(module.types[typeidx].comp, FuncType):
            return _object(module, typeidx, depth)
    funcidx = some_function(module, reftype)
    return None if funcidx is None else encode_ref_func(funcidx)


def some_function(module: Module, reftype: RefType) -> int | None:
    """Return a function of a type; None where there is none, or where the type is not one of functions."""
    if hierarchy(reftype.heap, module.types) != "func":
        return None
    own_types = enumerate(module.funcs)
    return next((i for i, t in own_types if matches(RefType(False, t), reftype, module.types)), None)


def functions_in(module: Module) -> frozenset[int]:
    """Return the functions that a placeholder may refer to: one for each type that is not null."""
    found = {
        some_function(module, reftype)
        for subtype in module.types
        if isinstance(subtype.comp, StructType)
        for field in subtype.comp.fields
        if isinstance(reftype := field.storage, RefType) and not reftype.nullable
    }
    return frozenset(funcidx for funcidx in found if funcidx is not None)


def exception_placeholder(module: Module) -> bytes | None:
    """Return code, not a constant expression, for some exception; None where no tag can be thrown."""
    for tagidx, typeidx in enumerate(module.tags):
        payload = [_field(module, valtype, 0) for valtype in module.type_as_func(typeidx).params]
        known = [value for value in payload if value is not None]
        if len(known) == len(payload):
            return thrown(tagidx, b"".join(known))
    return None


def thrown(tagidx: int, payload: bytes) -> bytes:
    """Return code that makes an exception, the only way there is: ``throw`` it and catch it."""
    catch_all_ref = b"\x01\x03\x00"  # one clause, to label 0
    attempt = TRY_TABLE + catch_all_ref + payload + throw(tagidx) + END + UNREACHABLE
    return block(encode_valtype(_EXNREF)) + attempt + END + REF_AS_NON_NULL


def _object(module: Module, typeidx: int, depth: int) -> bytes | None:
    comp = module.types[typeidx].comp
    if isinstance(comp, ArrayType):
        return array_new_fixed(typeidx, 0)
    if not isinstance(comp, StructType):
        return None
    fields = [_field(module, field.storage, depth) for field in comp.fields]
    known = [field for field in fields if field is not None]
    if len(known) < len(fields):
        return None
    return b"".join(known) + struct_new(typeidx)


def _field(module: Module, storage: StorageType, depth: int) -> bytes | None:
    if isinstance(storage, RefType):
        return placeholder(module, storage, depth + 1)
    return encode_default(unpacked(storage))
