"""What Wizer needs of the engine beyond the public classes of its Python package.

The package's own value classes know numbers, funcrefs and externrefs; for vectors and objects of the
garbage-collected heap they raise, and some of its type classes end the whole process. This file calls the C
API that the package is built on, with raw values: 16 bytes each, numbers as their bits, a reference to an
object as its place in the heap, a funcref as an address. ``capi_config.py`` does so for configurations,
``component.py`` for components; ``tests/engine/test_capi.py`` names what is missing when an upgrade moves
something.

https://docs.wasmtime.dev/c-api/
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime._extern import get_extern_ptr, wrap_extern
from wasmtime._func import maybe_raise_last_exn
from wasmtime._value import Val

from wizer.binary.types import FuncType, SubType, ValType, hierarchy
from wizer.binary.values import Number
from wizer.records import record

Extern: TypeAlias = (
    wasmtime.Func | wasmtime.Global | wasmtime.Table | wasmtime.Memory | wasmtime.SharedMemory | wasmtime.Tag
)

# The kinds of `wasmtime_val_t`, of which the package names the first seven.
I32, I64, F32, F64, V128, FUNCREF, EXTERNREF, ANYREF, EXNREF = range(9)
_NUMBER_KINDS = {"i32": I32, "i64": I64, "f32": F32, "f64": F64, "v128": V128}
_REFERENCE_KINDS = {"func": FUNCREF, "extern": EXTERNREF, "any": ANYREF, "exn": EXNREF}


class RawFunction:
    """A function of an instance, called with raw values.

    Attributes:
        buffer: parameters before a call and results after it, a raw value each.
    """

    __slots__ = ("_arguments", "_context", "_function", "_slots", "_trap", "buffer")

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func, slots: int) -> None:
        self._context = store._context()
        self._function = function
        self._slots = slots
        self.buffer: ctypes.Array[ctypes.c_uint64] = (ctypes.c_uint64 * (2 * max(slots, 1)))()
        self._prepare()

    def _prepare(self) -> None:
        """Make the arguments of the call, once for millions of calls."""
        self._trap = ctypes.POINTER(ffi.wasm_trap_t)()
        self._arguments = (
            self._context,
            ctypes.byref(self._function._func),
            ctypes.cast(self.buffer, ctypes.POINTER(ffi.wasmtime_val_raw_t)),
            self._slots,
            ctypes.byref(self._trap),
        )

    def __call__(self) -> None:
        """Call the function; raise `wasmtime.Trap` or `wasmtime.WasmtimeError`."""
        error = ffi.wasmtime_func_call_unchecked(*self._arguments)
        if error:
            _raise(error, None)
        if trap := self._trap:
            self._prepare()
            _raise(None, trap)


class _Kept(threading.local):
    """What host functions raised on this thread; sessions on others have their own."""

    def __init__(self) -> None:
        self.exceptions: list[BaseException] = []


_KEPT = _Kept()


def keep_host_exception(exception: BaseException) -> None:
    """Note what a Python function raised, for `raise_host_exception`: nothing unwinds through the engine."""
    _KEPT.exceptions.append(exception)


def raise_host_exception() -> None:
    """Raise the exception that a Python function called by the guest ended with, if there is one."""
    if _KEPT.exceptions:
        exception = _KEPT.exceptions[0]
        _KEPT.exceptions.clear()
        raise HostError(exception) from exception
    try:
        maybe_raise_last_exn()
    except Exception as exception:
        raise HostError(exception) from exception


def failed_in_python(exception: BaseException) -> wasmtime.WasmtimeError:
    """Return what to raise into the engine for what Python raised, which comes out again after it."""
    keep_host_exception(exception)
    return wasmtime.WasmtimeError(f"host function raised {type(exception).__name__}: {exception}")


def export_of(store: wasmtime.Store, instance: wasmtime.Instance, name: str) -> Extern | None:
    """Look up one export, without the list of all that the package would make."""
    item = ffi.wasmtime_extern_t()
    utf8 = name.encode("utf-8")
    found = ffi.wasmtime_instance_export_get(
        store._context(), ctypes.byref(instance._instance), utf8, len(utf8), ctypes.byref(item)
    )
    return wrap_extern(item) if found else None


def instantiate(
    store: wasmtime.Store, module: wasmtime.Module, externs: Sequence[Extern]
) -> wasmtime.Instance:
    """Instantiate a module. The package's own way cannot hand over a shared memory.

    Raises:
        wasmtime.Trap, wasmtime.WasmtimeError: as the engine has it; what a host function raised as it is.
    """
    imports = (ffi.wasmtime_extern_t * len(externs))()
    for i, extern in enumerate(externs):
        imports[i] = _as_extern(extern)
    out = ffi.wasmtime_instance_t()
    trap = ctypes.POINTER(ffi.wasm_trap_t)()
    error = ffi.wasmtime_instance_new(
        store._context(), module.ptr(), imports, len(externs), ctypes.byref(out), ctypes.byref(trap)
    )
    _raise(error, trap)
    return wasmtime.Instance._from_raw(out)


def _as_extern(extern: Extern) -> ffi.wasmtime_extern_t:
    if isinstance(extern, wasmtime.SharedMemory):
        union = ffi.wasmtime_extern_union(sharedmemory=extern.ptr())
        return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)
    return get_extern_ptr(extern)


def memory_view(store: wasmtime.Store, memory: wasmtime.Memory | wasmtime.SharedMemory) -> memoryview:
    """Return a writable view of bytes on a live memory. It is good until the memory grows."""
    if isinstance(memory, wasmtime.SharedMemory):
        size, pointer = memory.data_len(), memory.data_ptr()
    else:
        size, pointer = memory.data_len(store), memory.data_ptr(store)
    if size == 0:
        return memoryview(bytearray())
    array = (ctypes.c_ubyte * size).from_address(ctypes.addressof(pointer.contents))
    return memoryview(array).cast("B")


def function_identity(address: int) -> tuple[int, int]:
    """Return what two funcrefs have in common where they are to the same function.

    An instance that imports a function refers to it by a record of its own, so the addresses of two such
    records differ; the code and the instance that they name (`VMFuncRef.array_call` and `.vmctx`, the first
    and the last of its four words) do not.
    """
    words = (ctypes.c_uint64 * 4).from_address(address)
    return words[0], words[3]


class Reference:
    """A value of the guest's that Python can only hand back: an object, a scalar, an exception.

    It keeps what it refers to alive.
    """

    __slots__ = ("_store", "_value")

    def __init__(self, store: wasmtime.Store, value: ffi.wasmtime_val_t) -> None:
        self._store = store
        self._value = ffi.wasmtime_val_t()
        ffi.wasmtime_val_clone(ctypes.byref(value), ctypes.byref(self._value))

    def __del__(self) -> None:
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
        raise TypeError(f"expected None or a wasmtime.Func, not {value!r}")
    elif kind in (FUNCREF, EXTERNREF):
        raw = Val(ctypes.c_uint8(kind), value)._new_raw(store)
    elif value is not None:
        raise TypeError(f"expected None or a reference that the guest gave, not {value!r}")
    return raw


def _set_integer(raw: ffi.wasmtime_val_t, bits: int, value: object) -> None:
    if not isinstance(value, int):
        raise TypeError(f"expected an integer, not {value!r}")
    if not -(1 << bits - 1) <= value < 1 << bits:
        raise OverflowError(f"{value} does not fit in {bits} bits")
    raw.of.i64 = value if value < 1 << bits - 1 else value - (1 << bits)


def _set_float(raw: ffi.wasmtime_val_t, kind: int, value: object) -> None:
    if isinstance(value, Number):
        raw.of.i64 = value.bits
    elif not isinstance(value, int | float):
        raise TypeError(f"expected a number, not {value!r}")
    elif kind == F32:
        raw.of.f32 = value
    else:
        raw.of.f64 = value


def _vector_bytes(value: object) -> bytes:
    if isinstance(value, bytes) and len(value) == 16:
        return value
    if isinstance(value, int) and 0 <= value < 1 << 128:
        return value.to_bytes(16, "little")
    raise TypeError(f"expected 16 bytes, or an unsigned integer of 128 bits, not {value!r}")


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
        return wasmtime.Func._from_raw(raw.of.funcref) if raw.of.funcref.store_id else None
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


def call_function(
    store: wasmtime.Store, function: wasmtime.Func, kinds: Sequence[int], args: Sequence[object], results: int
) -> tuple[object, ...]:
    """Call a function with Python values.

    Args:
        store: the store of the function.
        function: the function.
        kinds: the kinds of its parameters.
        args: their values.
        results: how many results it has.

    Raises:
        TypeError, OverflowError: an argument is no value of its parameter's type.
        wasmtime.Trap, wasmtime.WasmtimeError: as the engine has it; what a host function raised as it is.
    """
    parameters = (ffi.wasmtime_val_t * len(kinds))()
    values = (ffi.wasmtime_val_t * results)()
    trap = ctypes.POINTER(ffi.wasm_trap_t)()
    try:
        for i, (kind, arg) in enumerate(zip(kinds, args, strict=True)):
            parameters[i] = to_engine(store, kind, arg)
        error = ffi.wasmtime_func_call(
            store._context(),
            ctypes.byref(function._func),
            parameters,
            len(kinds),
            values,
            results,
            ctypes.byref(trap),
        )
    finally:
        for i in range(len(kinds)):
            ffi.wasmtime_val_unroot(ctypes.byref(parameters[i]))
    _raise(error, trap)
    out = tuple(from_engine(store, value) for value in values)
    for i in range(results):
        ffi.wasmtime_val_unroot(ctypes.byref(values[i]))
    return out


def _raise(error: Any, trap: Any) -> None:
    if error:
        raise_host_exception()
        raise wasmtime.WasmtimeError._from_ptr(error)
    if trap:
        raise_host_exception()
        raise wasmtime.Trap._from_ptr(trap)


@record
class _HostFunction:
    function: Callable[..., object]
    store: wasmtime.Store
    result_kinds: tuple[int, ...]


class HostError(Exception):
    """A Python function that the guest called raised; its exception is the cause."""


class GuestTrap(Exception):  # noqa: N818  it is the guest's trap, and no error of the host's
    """Raised by a host function to end the guest with a trap of this message, and with its backtrace."""


_HOST_FUNCTIONS: dict[int, _HostFunction] = {}


@ffi.wasmtime_func_callback_t  # type: ignore[untyped-decorator]
def _call_host(
    key: int | None, _caller: Any, args: Any, nargs: int, results: Any, nresults: int
) -> int | None:
    """Call a Python function from the guest: what it raises becomes a trap, and is raised after it."""
    host = _HOST_FUNCTIONS[key or 0]
    try:
        returned = host.function(*(from_engine(host.store, args[i]) for i in range(nargs)))
        values = (returned,) if nresults == 1 else () if returned is None else tuple(returned)  # type: ignore[arg-type]
        for i, (kind, value) in enumerate(zip(host.result_kinds, values, strict=True)):
            results[i] = to_engine(host.store, kind, value)
    except GuestTrap as exception:
        trap = wasmtime.Trap(str(exception))
        return ctypes.cast(trap._consume(), ctypes.c_void_p).value
    except BaseException as exception:  # nothing may unwind through the engine
        keep_host_exception(exception)
        trap = wasmtime.Trap(f"host function raised {type(exception).__name__}: {exception}")
        return ctypes.cast(trap._consume(), ctypes.c_void_p).value
    return 0


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # type: ignore[untyped-decorator]
def _forget_host(key: int | None) -> None:
    if _HOST_FUNCTIONS is not None:  # it is at the end of the interpreter, which takes names away first
        _HOST_FUNCTIONS.pop(key or 0, None)


_KEYS = itertools.count(1)


def host_function(
    store: wasmtime.Store,
    module: wasmtime.Module,
    number: int,
    functype: FuncType,
    types: Sequence[SubType],
    function: Callable[..., object],
) -> wasmtime.Func:
    """Return a function of the host's for the import ``number`` of ``module``, which has that type.

    The engine's own type object is used, since the package cannot make one for every function type.
    """
    imports = ffi.wasm_importtype_vec_t(0, None)
    ffi.wasmtime_module_imports(module.ptr(), ctypes.byref(imports))
    key = next(_KEYS)
    kinds = tuple(value_kind(result, types) for result in functype.results)
    _HOST_FUNCTIONS[key] = _HostFunction(function, store, kinds)
    out = ffi.wasmtime_func_t()
    try:
        externtype = ffi.wasm_importtype_type(imports.data[number])
        ffi.wasmtime_func_new(
            store._context(),
            ffi.wasm_externtype_as_functype_const(externtype),
            _call_host,
            key,
            _forget_host,
            ctypes.byref(out),
        )
    finally:
        ffi.wasm_importtype_vec_delete(ctypes.byref(imports))
    return wasmtime.Func._from_raw(out)


def global_value(store: wasmtime.Store, global_: wasmtime.Global) -> object:
    """Return the value of a global as a Python value."""
    raw = ffi.wasmtime_val_t()
    ffi.wasmtime_global_get(store._context(), ctypes.byref(global_._global), ctypes.byref(raw))
    value = from_engine(store, raw)
    ffi.wasmtime_val_unroot(ctypes.byref(raw))
    return value


def set_global_value(store: wasmtime.Store, global_: wasmtime.Global, kind: int, value: object) -> None:
    """Set a global; raise `TypeError`, `OverflowError`, or `wasmtime.WasmtimeError` where it is immutable."""
    raw = to_engine(store, kind, value)
    error = ffi.wasmtime_global_set(store._context(), ctypes.byref(global_._global), ctypes.byref(raw))
    ffi.wasmtime_val_unroot(ctypes.byref(raw))
    _raise(error, None)
