"""Values of the scripts and values of the engine.

A script writes a number as the decimal digits of its bits, a float too, so no value passes through a
Python float; a v128 is a list of lanes. A reference is `null`, the number of a host object, or, among
expected values, nothing but a kind. The engine's own value classes abort the process on v128 and
references of GC types, so values cross as the C API's structures.
"""

from __future__ import annotations

import ctypes
from ctypes import byref
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi

Json = dict[str, Any]
Value = Any  # ffi.wasmtime_val_t; its fields are not what their annotations say

_LANES = {"i8": 8, "i16": 16, "i32": 32, "i64": 64, "f32": 32, "f64": 64}
# https://webassembly.github.io/spec/core/syntax/values.html#floating-point
_SIGN = {32: 1 << 31, 64: 1 << 63}
_CANONICAL_NAN = {32: 0x7FC0_0000, 64: 0x7FF8_0000_0000_0000}

# wasmtime/val.h; the Python package names only the first seven.
I32, I64, F32, F64, V128, FUNCREF, EXTERNREF, ANYREF, EXNREF = range(9)
_NUMBERS = {"i32": (I32, 32), "i64": (I64, 64), "f32": (F32, 32), "f64": (F64, 64)}
_REFERENCES = {FUNCREF: "funcref", EXTERNREF: "externref", ANYREF: "anyref", EXNREF: "exnref"}
_KIND_OF_NULL = {
    "funcref": FUNCREF,
    "nullfuncref": FUNCREF,
    "externref": EXTERNREF,
    "nullexternref": EXTERNREF,
    "anyref": ANYREF,
    "nullref": ANYREF,
    "exnref": EXNREF,
    "nullexnref": EXNREF,
}


def _is_i31(context: Any, anyref: Any) -> bool:
    """Whether a reference is a scalar; the engine's `wasmtime_anyref_is_i31` says so of objects, too."""
    return bool(ffi.wasmtime_anyref_i31_get_u(context, anyref, byref(ctypes.c_uint32())))


_GC_KINDS = {
    "eqref": ffi.wasmtime_anyref_is_eqref,
    "i31ref": _is_i31,
    "structref": ffi.wasmtime_anyref_is_struct,
    "arrayref": ffi.wasmtime_anyref_is_array,
}

_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(0)


def encode(store: wasmtime.Store, value: Json) -> Value:
    """Make the engine's value of a script's argument; the caller unroots it.

    Raises:
        ValueError: arguments of this type are not known to this harness.
    """
    kind, text = value["type"], value["value"]
    result: Value = ffi.wasmtime_val_t()
    if kind in _NUMBERS:
        result.kind, bits = _NUMBERS[kind]
        result.of.i64 = int(text) & ((1 << bits) - 1)
    elif kind == "v128":
        bits = _LANES[value["lane_type"]]
        lanes = b"".join((int(x) & ((1 << bits) - 1)).to_bytes(bits // 8, "little") for x in text)
        result.kind = V128
        result.of.v128[:] = lanes
    elif text == "null":
        result.kind = _KIND_OF_NULL[kind]
    elif kind == "externref":
        result.kind = EXTERNREF
        # A null pointer as the host's data would read as a null reference.
        data = ctypes.c_void_p(int(text) + 1)
        if not ffi.wasmtime_externref_new(store._context(), data, _NO_FINALIZER, byref(result.of.externref)):
            raise MemoryError("the engine's heap has no room for a host reference")
    else:
        raise ValueError(f"an argument of type {kind} with the value {text!r}")
    return result


def matches(store: wasmtime.Store, expected: Json, actual: Value) -> bool:
    """Whether a result is what the script expects.

    Host objects of type anyref are not handled here: the caller turns them into externrefs first.

    Raises:
        ValueError: results of this type are not known to this harness.
    """
    kind = expected["type"]
    if kind == "either":
        return any(matches(store, one, actual) for one in expected["values"])
    if kind in _NUMBERS:
        wanted, bits = _NUMBERS[kind]
        return actual.kind == wanted and _bits_match(expected["value"], actual.of.i64, bits)
    if kind == "v128":
        return actual.kind == V128 and _lanes_match(expected, bytes(actual.of.v128))
    return _reference_matches(store, kind, expected.get("value"), actual)


def _bits_match(expected: str, actual: int, bits: int) -> bool:
    """Compare numbers of ``bits`` bits; a NaN pattern stands for the NaNs of one class."""
    actual &= (1 << bits) - 1
    if expected == "nan:canonical":
        return actual & ~_SIGN[bits] == _CANONICAL_NAN[bits]
    if expected == "nan:arithmetic":
        return actual & _CANONICAL_NAN[bits] == _CANONICAL_NAN[bits]
    return actual == int(expected) & ((1 << bits) - 1)


def _lanes_match(expected: Json, actual: bytes) -> bool:
    bits = _LANES[expected["lane_type"]]
    width = bits // 8
    lanes = [int.from_bytes(actual[i : i + width], "little") for i in range(0, 16, width)]
    return all(_bits_match(text, lane, bits) for text, lane in zip(expected["value"], lanes, strict=True))


def _reference_matches(store: wasmtime.Store, kind: str, wanted: str | None, actual: Value) -> bool:
    if kind == "refnull":
        return actual.kind in _REFERENCES and is_null(actual)
    if wanted == "null" or kind.startswith("null"):
        return bool(actual.kind == _KIND_OF_NULL[kind]) and is_null(actual)
    if is_null(actual):
        return False
    if kind in _GC_KINDS:
        is_kind = _GC_KINDS[kind]
        return actual.kind == ANYREF and bool(is_kind(store._context(), byref(actual.of.anyref)))
    if kind not in _REFERENCES.values():
        raise ValueError(f"a result of type {kind} with the value {wanted!r}")
    same_number = wanted is None or host_number(store, actual) == int(wanted)
    return _REFERENCES.get(actual.kind) == kind and same_number


def is_null(value: Value) -> bool:
    """Whether a reference is null: all references of the C API begin with the store's number."""
    return bool(value.of.anyref.store_id == 0)


def host_number(store: wasmtime.Store, value: Value) -> int | None:
    """The number of the host object in a non-null externref, or ``None`` if a guest made it."""
    data = ffi.wasmtime_externref_data(store._context(), byref(value.of.externref))
    return None if data is None else int(data) - 1


def is_host_number(value: Json) -> bool:
    """Whether a script's value is an object of the host."""
    return value["type"] in ("externref", "anyref") and value.get("value") not in (None, "null")


def describe(value: Value) -> str:
    """A result in a message: numbers in hexadecimal."""
    if value.kind == V128:
        return f"v128 {bytes(value.of.v128).hex(' ')}"
    for name, (kind, bits) in _NUMBERS.items():
        if kind == value.kind:
            return f"{name} {value.of.i64 & ((1 << bits) - 1):#x}"
    return f"{'null' if is_null(value) else 'non-null'} {_REFERENCES.get(value.kind, value.kind)}"
