"""Functions and types of resources that Python gives to components."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import wasmtime
import wasmtime.component as wc
from wasmtime import _ffi as ffi

from wizer.checks import shown
from wizer.engine.callbacks import callbacks_of, error_for


def define_function(
    store: wasmtime.Store, instance: wc.LinkerInstance, name: str, function: Callable[..., Any]
) -> None:
    """Define a function of the host's, which is given the store and the arguments.

    The package's own way lets exceptions into the engine; see `wizer.engine.callbacks`.
    """
    callbacks = callbacks_of(store)
    kind = ffi.wasmtime_component_func_callback_t
    callback = callbacks.c_function(kind, partial(_call_host, callbacks.functions), error_for)
    utf8 = name.encode()
    error = ffi.wasmtime_component_linker_instance_add_func(
        instance.ptr(), _chars(utf8), len(utf8), callback, callbacks.add(function), _NO_FINALIZER
    )
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)


def define_resource(
    store: wasmtime.Store,
    instance: wc.LinkerInstance,
    name: str,
    resource: wc.ResourceType,
    destructor: Callable[[Any, int], object],
) -> None:
    """Define a type of resources; ``destructor`` is given the store and the number of one that is dropped."""
    callbacks = callbacks_of(store)
    kind = ffi.wasmtime_component_resource_destructor_t
    callback = callbacks.c_function(kind, partial(_call_destructor, callbacks.functions), error_for)
    utf8 = name.encode()
    error = ffi.wasmtime_component_linker_instance_add_resource(
        instance.ptr(),
        _chars(utf8),
        len(utf8),
        resource.ptr(),
        callback,
        callbacks.add(destructor),
        _NO_FINALIZER,
    )
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)


_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()  # the store's callbacks go with the store


def _chars(utf8: bytes) -> Any:
    return ctypes.cast(ctypes.c_char_p(utf8), ctypes.POINTER(ctypes.c_char))


def _call_host(
    functions: Mapping[int, Any],
    number: int,
    context: int,
    functype: int,
    args: int,
    nargs: int,
    results: int,
    _nresults: int,
) -> None:
    """Call a Python function from the guest, with values as the engine's package has them."""
    with _store(context) as store:
        pointer = ctypes.cast(functype, ctypes.POINTER(ffi.wasmtime_component_func_type_t))
        described = wc.FuncType._from_ptr(pointer, owner=store)
        raw = (ffi.wasmtime_component_val_t * nargs).from_address(args or 1)
        given = [kind.convert_from_c(raw[at]) for at, (_, kind) in enumerate(described.params)]
        returned = functions[number](store, *given)
        if described.result is not None:
            out = ctypes.cast(results, ctypes.POINTER(ffi.wasmtime_component_val_t))
            described.result.convert_to_c(store, returned, out)
        elif returned is not None:
            raise TypeError(f"the function has no result, and returned {shown(returned)}")


def _call_destructor(functions: Mapping[int, Any], number: int, context: int, rep: int) -> None:
    with _store(context) as store:
        functions[number](store, rep)


@contextmanager
def _store(context: int) -> Iterator[wasmtime.StoreContext]:
    """Return the store as a host function has it, good until the function returns."""
    store = wasmtime.StoreContext(ctypes.cast(context, ctypes.POINTER(ffi.wasmtime_context_t)))
    try:
        yield store
    finally:
        store._invalidate()
