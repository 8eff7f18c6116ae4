"""What Wizer needs of the engine beyond the public classes of its Python package.

The package's own value classes know numbers, funcrefs and externrefs; for vectors and objects of the
garbage-collected heap they raise, and some of its type classes end the whole process. This file calls the C
API that the package is built on, with raw values: 16 bytes each, numbers as their bits, a reference to an
object as its place in the heap, a funcref as an address. ``capi_values.py`` has what stands for them in
Python, ``capi_config.py`` does the same for configurations, ``core_instances.py`` for components;
``tests/engine/test_capi.py`` names what is missing when an upgrade moves something.

https://docs.wasmtime.dev/c-api/
"""

from __future__ import annotations

import ctypes
import gc
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime._extern import get_extern_ptr, wrap_extern

from wizer.binary.types import FuncType, SubType
from wizer.engine.capi_values import from_engine, release_objects, to_engine, value_kind
from wizer.engine.interrupts import raising
from wizer.errors import OptionError
from wizer.records import record

Extern: TypeAlias = (
    wasmtime.Func | wasmtime.Global | wasmtime.Table | wasmtime.Memory | wasmtime.SharedMemory | wasmtime.Tag
)


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


def is_open(store: wasmtime.Store) -> bool:
    """Whether a store has not been closed."""
    try:
        store.ptr()
    except ValueError:
        return False
    return True


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


class _View:
    """Goes when the last view goes that is made of a view of a memory; keeps the store until then."""

    __slots__ = ("__weakref__", "_store")

    def __init__(self, store: wasmtime.Store) -> None:
        self._store = store


def memory_view(store: wasmtime.Store, memory: wasmtime.Memory | wasmtime.SharedMemory) -> memoryview:
    """Return a writable view of bytes on a live memory, of the size that it has; see `check_views`.

    The store stays as long as the view, and what is made of it: see `has_views`.
    """
    if isinstance(memory, wasmtime.SharedMemory):
        size, pointer = memory.data_len(), memory.data_ptr()
    else:
        size, pointer = memory.data_len(store), memory.data_ptr(store)
    if size == 0:
        return memoryview(bytearray())
    array: Any = (ctypes.c_ubyte * size).from_address(ctypes.addressof(pointer.contents))
    array.view = _View(store)
    views: weakref.WeakSet[_View] = store.__dict__.setdefault("_wizer_views", weakref.WeakSet())
    views.add(array.view)
    return memoryview(array).cast("B")


def has_views(store: wasmtime.Store) -> bool:
    """Whether there are views of the store's memories: it must not be closed, and goes when they do."""
    return bool(store.__dict__.get("_wizer_views"))


def set_moves(store: wasmtime.Store, moves: bool) -> None:
    """Note whether a memory of the store may move when it grows."""
    store.__dict__["_wizer_moves"] = moves


def check_views(store: wasmtime.Store) -> None:
    """Raise `OptionError` where the guest may move a memory that there are views of."""
    if not store.__dict__.get("_wizer_moves") or not has_views(store):
        return
    gc.collect()  # views that nobody can reach
    if has_views(store):
        raise OptionError(
            "there is a view of the guest's memory, which may move when it grows: release views before "
            "guest code runs, or reserve address space for it (`EngineConfig.memory_reservation`)"
        )


def function_identities(addresses: Iterable[int]) -> list[tuple[int, int]]:
    """Return, for each funcref, what it has in common with others to the same function.

    An instance that imports a function refers to it by a record of its own, so the addresses of two such
    records differ; the code and the instance that they name (`VMFuncRef.array_call` and `.vmctx`, the first
    and the last of its four words) do not.
    """
    at = (ctypes.c_uint64 * 4).from_address
    return [(words[0], words[3]) for words in map(at, addresses)]


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
    if not (error or trap):
        return
    from wizer.engine.callbacks import raise_host_exception

    raise_host_exception()
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    raise wasmtime.Trap._from_ptr(trap)


@record
class _HostFunction:
    function: Callable[..., object]
    store: weakref.ref[wasmtime.Store]
    result_kinds: tuple[int, ...]
    wants_caller: bool


class Caller:
    """The instance that calls a host function, as long as it does."""

    __slots__ = ("_address",)

    def __init__(self, address: int) -> None:
        self._address = address

    def export(self, name: str) -> Extern | None:
        """Return an export of the instance; it need not be one that others can see."""
        item = ffi.wasmtime_extern_t()
        utf8 = name.encode()
        caller = ctypes.cast(self._address, ctypes.POINTER(ffi.wasmtime_caller_t))
        found = ffi.wasmtime_caller_export_get(caller, utf8, len(utf8), ctypes.byref(item))
        return wrap_extern(item) if found else None


def _call_host(
    functions: Mapping[int, Any], number: int, caller: int, args: int, nargs: int, results: int, nresults: int
) -> None:
    """Call a Python function from the guest."""
    host: _HostFunction = functions[number]
    store = host.store()
    assert store is not None
    given = [from_engine(store, raw) for raw in (ffi.wasmtime_val_t * nargs).from_address(args or 1)]
    if host.wants_caller:
        returned = host.function(Caller(caller), *given)
    else:
        with raising():
            returned = host.function(*given)
            release_objects()
        check_views(store)
    values = (returned,) if nresults == 1 else () if returned is None else tuple(returned)  # type: ignore[arg-type]
    out = (ffi.wasmtime_val_t * nresults).from_address(results or 1)
    for i, (kind, value) in enumerate(zip(host.result_kinds, values, strict=True)):
        out[i] = to_engine(store, kind, value)


class ImportTypes:
    """The types of a module's imports, all of which the engine hands out at once."""

    def __init__(self, module: wasmtime.Module) -> None:
        self._types = ffi.wasm_importtype_vec_t(0, None)
        ffi.wasmtime_module_imports(module.ptr(), ctypes.byref(self._types))

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():
            ffi.wasm_importtype_vec_delete(ctypes.byref(self._types))

    def host_function(
        self,
        store: wasmtime.Store,
        number: int,
        functype: FuncType,
        types: Sequence[SubType],
        function: Callable[..., object],
    ) -> wasmtime.Func:
        """Return a function of the host's for the import ``number``, which has that type.

        The engine's own type object is used, since the package cannot make one for every function type.
        """
        kinds = tuple(value_kind(result, types) for result in functype.results)
        externtype = ffi.wasm_importtype_type(self._types.data[number])
        return new_function(store, ffi.wasm_externtype_as_functype_const(externtype), kinds, function)

    def new_global(self, store: wasmtime.Store, number: int, kind: int, value: object) -> wasmtime.Global:
        """Return a global with a value for the import ``number``, which has that type.

        Raises:
            TypeError, OverflowError, wasmtime.WasmtimeError: it is no value of the global's type.
        """
        raw = to_engine(store, kind, value)
        out = ffi.wasmtime_global_t()
        globaltype = ffi.wasm_externtype_as_globaltype_const(
            ffi.wasm_importtype_type(self._types.data[number])
        )
        error = ffi.wasmtime_global_new(store._context(), globaltype, ctypes.byref(raw), ctypes.byref(out))
        ffi.wasmtime_val_unroot(ctypes.byref(raw))
        _raise(error, None)
        return wasmtime.Global._from_raw(out)


def new_function(
    store: wasmtime.Store,
    engine_type: Any,
    result_kinds: tuple[int, ...],
    function: Callable[..., object],
    *,
    wants_caller: bool = False,
) -> wasmtime.Func:
    """Return a function of the host's of a type of the engine's.

    Args:
        store: where it is to live.
        engine_type: a pointer to the type.
        result_kinds: the kinds of its results.
        function: called with Python values; None for no results, one, or several.
        wants_caller: whether its first argument is a `Caller`. It is one of ours then, and signals wait.
    """
    from wizer.engine.callbacks import callbacks_of, trap_for

    callbacks = callbacks_of(store)
    host = _HostFunction(function, weakref.ref(store), result_kinds, wants_caller)
    call = partial(_call_host, callbacks.functions)
    out = ffi.wasmtime_func_t()
    ffi.wasmtime_func_new(
        store._context(),
        engine_type,
        callbacks.c_function(ffi.wasmtime_func_callback_t, call, trap_for),
        callbacks.add(host),
        _NO_FINALIZER,
        ctypes.byref(out),
    )
    return wasmtime.Func._from_raw(out)


_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()  # the store's callbacks go with the store


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
