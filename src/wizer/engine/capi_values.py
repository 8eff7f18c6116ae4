"""Values between Python and the engine: numbers, vectors, references, functions.

The package's own classes know numbers, funcrefs and externrefs; here are the others, what keeps references
alive, and what lets go of Python objects that the guest has forgotten. See `wizer.engine.capi`.
"""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime._value import SLAB, Val, _intern

from wizer.binary.types import SubType, ValType, hierarchy
from wizer.binary.values import Number
from wizer.checks import shown
from wizer.errors import OptionError

# The kinds of `wasmtime_val_t`, of which the package names the first seven.
I32, I64, F32, F64, V128, FUNCREF, EXTERNREF, ANYREF, EXNREF = range(9)
_NUMBER_KINDS = {"i32": I32, "i64": I64, "f32": F32, "f64": F64, "v128": V128}
_REFERENCE_KINDS = {"func": FUNCREF, "extern": EXTERNREF, "any": ANYREF, "exn": EXNREF}


def is_in_store(store: wasmtime.Store, handle: Any) -> bool:
    """Whether a handle of the engine's (``wasmtime_instance_t`` and the like) is one of a store.

    With one of another store, the engine ends the process.
    """
    known = store.__dict__.get("_wizer_id")
    if known is None:
        i32 = wasmtime.ValType.i32()
        probe = wasmtime.Global(store, wasmtime.GlobalType(i32, False), wasmtime.Val.i32(0))
        known = store.__dict__["_wizer_id"] = probe._global.store_id
    return bool(handle.store_id == known)


class GuestFunction(wasmtime.Func):
    """A function of a guest's. With another store than its own, the engine would end the process."""

    def type(self, store: Any) -> wasmtime.FuncType:
        """Return the type; raise `OptionError` where ``store`` is another one. Calls ask for it."""
        if not is_in_store(store, self._func):
            raise OptionError("the function is of another session's store")
        return super().type(store)


class Owner:
    """What owns something of the engine's, and lets it go: there must not be a second one of it."""

    __slots__ = ()

    def __reduce_ex__(self, _: object) -> NoReturn:
        """Refuse to be copied or pickled."""
        raise TypeError(f"{type(self).__name__}: what the engine has cannot be copied or pickled")


class Reference(Owner):
    """A value of the guest's that Python can only hand back: an object, a scalar, an exception.

    It keeps what it refers to alive.
    """

    __slots__ = ("_store", "_value")

    def __init__(self, store: wasmtime.Store, value: ffi.wasmtime_val_t) -> None:
        self._store = store
        self._value = ffi.wasmtime_val_t()
        ffi.wasmtime_val_clone(ctypes.byref(value), ctypes.byref(self._value))

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # or this module's names may be gone
            ffi.wasmtime_val_unroot(ctypes.byref(self._value))


def to_engine(store: wasmtime.Store, kind: int, value: object) -> ffi.wasmtime_val_t:
    """Convert a Python value; raise `TypeError` or `OverflowError` where it is not one of this kind."""
    raw = ffi.wasmtime_val_t(kind=kind)
    if isinstance(value, Reference):
        if value._store is not store:  # the engine would end the process
            raise TypeError("a reference of another session")
        ffi.wasmtime_val_clone(ctypes.byref(value._value), ctypes.byref(raw))
    elif kind in (I32, I64):
        _set_integer(raw, 32 if kind == I32 else 64, value)
    elif kind in (F32, F64):
        _set_float(raw, kind, value)
    elif kind == V128:
        ctypes.memmove(ctypes.addressof(raw.of), _vector_bytes(value), 16)
    elif kind == FUNCREF and not isinstance(value, wasmtime.Func | None):
        raise TypeError(f"expected None or a wasmtime.Func, not {shown(value)}")
    elif kind == FUNCREF:
        raw = Val(ctypes.c_uint8(kind), value)._new_raw(store)
    elif kind == EXTERNREF:
        _refer(store, value, raw)
    elif value is not None:
        raise TypeError(f"expected None or a reference that the guest gave, not {shown(value)}")
    return raw


_unreferenced: deque[int] = deque()

# The engine calls it when it has collected a reference, in the middle of that: no code of anybody's may run
# then, which could use the store. A method of C's own is not interrupted, either.
_note_unreferenced: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_unreferenced.append)


def _refer(store: wasmtime.Store, value: object, raw: ffi.wasmtime_val_t) -> None:
    """Make an externref to a Python object, which lives until `release_objects`."""
    if value is None:
        return
    number = _intern(value)
    made = ffi.wasmtime_externref_new(
        store._context(), number, _note_unreferenced, ctypes.byref(raw.of.externref)
    )
    if not made:
        SLAB.deallocate(number - 1)
        raise TypeError("the guest's heap has no room for a reference to it")


def release_objects() -> None:
    """Let the Python objects go that no guest refers to any more; what they do then, they do here."""
    while _unreferenced:
        SLAB.deallocate(_unreferenced.popleft() - 1)


def _set_integer(raw: ffi.wasmtime_val_t, bits: int, value: object) -> None:
    if not isinstance(value, int):
        raise TypeError(f"expected an integer, not {shown(value)}")
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise OverflowError(f"{shown(value)} does not fit in {bits} bits")
    raw.of.i64 = value if value < 1 << bits - 1 else value - (1 << bits)


def _set_float(raw: ffi.wasmtime_val_t, kind: int, value: object) -> None:
    if isinstance(value, Number):
        raw.of.i64 = value.bits
    elif not isinstance(value, int | float):
        raise TypeError(f"expected a number, not {shown(value)}")
    elif kind == F32:
        raw.of.f32 = value
    else:
        raw.of.f64 = value


def _vector_bytes(value: object) -> bytes:
    if isinstance(value, bytes) and len(value) == 16:
        return value
    if isinstance(value, int) and 0 <= value < 1 << 128:
        return value.to_bytes(16, "little")
    raise TypeError(f"expected 16 bytes, or an unsigned integer of 128 bits, not {shown(value)}")


def from_engine(store: wasmtime.Store, raw: ffi.wasmtime_val_t) -> object:
    """Convert a value of the engine's: an int, a float, 16 bytes, a `wasmtime.Func`, None, a `Reference`."""
    kind: Any = raw.kind  # an int, whatever its annotation says
    if kind == I32:
        return raw.of.i32
    if kind == I64:
        return raw.of.i64
    if kind == F32:
        return raw.of.f32
    if kind == F64:
        return raw.of.f64
    if kind == V128:
        return ctypes.string_at(ctypes.addressof(raw.of), 16)
    if kind == FUNCREF:
        return GuestFunction._from_raw(raw.of.funcref) if raw.of.funcref.store_id else None
    if kind == EXTERNREF:
        return _external(store, raw)
    return Reference(store, raw) if raw.of.anyref.store_id else None


def _external(store: wasmtime.Store, raw: ffi.wasmtime_val_t) -> object:
    """Return the Python object of an externref, or a `Reference` where it is an object of the guest's."""
    if not raw.of.externref.store_id:
        return None
    if ffi.wasmtime_externref_data(store._context(), ctypes.byref(raw.of.externref)):
        return Val._from_raw(store, raw, owned=False).value
    return Reference(store, raw)


def value_kind(valtype: ValType, types: Sequence[SubType]) -> int:
    """Return the kind of `wasmtime_val_t` that holds values of this type."""
    if isinstance(valtype, str):
        return _NUMBER_KINDS[valtype]
    return _REFERENCE_KINDS[hierarchy(valtype.heap, types)]
