"""Checks: a snapshot refuses to start where it is given another number than it was made for.

Before, with 1024 given for the import::

    (import "env" "__memory_base" (global $base i32))
    (data (global.get $base) "…")

After::

    (import "env" "__memory_base" (global $base i32))
    (data (i32.const 1024) "…")
    (func $restore (if (i32.ne (global.get $base) (i32.const 1024)) (then unreachable)))
    (start $restore)

What initialisation worked out from an immutable number is all over the state. References are no concern here:
they are written as what the next host gives.
"""

from __future__ import annotations

from collections.abc import Iterator

from wizer.binary import code
from wizer.binary.expr import END, encode_const
from wizer.binary.module import Module
from wizer.binary.values import Number
from wizer.core.heap.heapcode import HeapCode
from wizer.core.restore import before_restore
from wizer.core.state import State

_I32_NE, _I64_NE = b"\x47", b"\x52"
_I32_REINTERPRET_F32, _I64_REINTERPRET_F64 = b"\xbc", b"\xbd"
_V128_XOR, _V128_ANY_TRUE = b"\xfd\x51", b"\xfd\x53"


def with_checks(module: Module, state: State, heap: HeapCode) -> HeapCode:
    """Return ``heap`` with a restore function that checks the imports, where there is something to check."""
    body = b"".join(_checks(state))
    return before_restore(module, heap, body) if body else heap


def _checks(state: State) -> Iterator[bytes]:
    """Yield the code that traps where an imported immutable global holds another number."""
    for globalidx, value in sorted(state.imported.items()):
        if isinstance(value, Number):
            differs = code.global_get(globalidx) + _differs(value)
            yield differs + code.IF + code.UNREACHABLE + END


def _differs(number: Number) -> bytes:
    """Encode whether the bits of the number on the stack are others."""
    match number.type:
        case "f32":
            return _I32_REINTERPRET_F32 + encode_const("i32", number.bits) + _I32_NE
        case "f64":
            return _I64_REINTERPRET_F64 + encode_const("i64", number.bits) + _I64_NE
        case "v128":
            return encode_const("v128", number.bits) + _V128_XOR + _V128_ANY_TRUE
        case "i64":
            return encode_const("i64", number.bits) + _I64_NE
    return encode_const("i32", number.bits) + _I32_NE
