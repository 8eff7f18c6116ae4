"""What a component imports: functions, resources and modules of the caller's, and WASI."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import wasmtime
import wasmtime.component as wc
from wasmtime import _ffi as ffi

from wizer.engine.callbacks import callbacks_of, error_for
from wizer.engine.compile import Compiled
from wizer.engine.messages import causes
from wizer.engine.trace import Trace
from wizer.engine.wasi import Wasi
from wizer.errors import LinkError, OptionError

if TYPE_CHECKING:
    from wizer.engine.preview2 import Preview2

Imports: TypeAlias = "Mapping[str, Any]"


def make_linker(
    store: wasmtime.Store,
    compiled: Compiled[wc.Component],
    imports: Imports,
    *,
    wasi: Wasi | None,
    unknown_imports: str,
    preview2: Preview2 | None = None,
    trace: Trace | None = None,
) -> wc.Linker:
    """Return a linker with what the component may import.

    Args:
        store: where the component is to live.
        compiled: the component.
        imports: by name, functions, `wasmtime.Module`, `wasmtime.component.ResourceType` (alone or with a
            destructor), or for an instance a mapping of them. A function is called with the arguments.
        wasi: what the guest may see of the host; None: WASI is not there.
        unknown_imports: "trap": what else it imports traps when called, and says its name.
        preview2: goes before the engine's WASI.
        trace: is told of the calls of ``imports``.

    Raises:
        LinkError: an import cannot be defined.
        OptionError: ``unknown_imports`` asks for what components cannot have.
    """
    if unknown_imports == "default":
        raise OptionError(
            "unknown imports of components cannot return default values: not every type has one; "
            "let them trap, or give functions for them"
        )
    linker = wc.Linker(compiled.engine)
    linker.allow_shadowing = True
    try:
        if wasi is not None:
            linker.add_wasip2()
            if wasi.http:
                linker.add_wasi_http()
        with linker.root() as root:
            if preview2 is not None:
                preview2.define(store, root)
            _define(store, root, imports, trace)
        if unknown_imports == "trap":
            linker.define_unknown_imports_as_traps(compiled.code)
    except wasmtime.WasmtimeError as error:
        raise LinkError("the component's imports cannot be defined", causes(error)) from None
    return linker


def _define(
    store: wasmtime.Store,
    instance: wc.LinkerInstance,
    imports: Imports,
    trace: Trace | None,
    module: str = "",
) -> None:
    for name, value in imports.items():
        if isinstance(value, Mapping):
            with instance.add_instance(name) as inner:
                _define(store, inner, value, trace, name)
        elif isinstance(value, wasmtime.Module):
            instance.add_module(name, value)
        elif isinstance(value, wc.ResourceType):
            define_resource(store, instance, name, value, _no_destructor)
        elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], wc.ResourceType):
            define_resource(store, instance, name, *value)
        elif callable(value):
            function = value if trace is None else trace.traced(module, name, value)
            define_function(store, instance, name, _without_store(function))
        else:
            raise LinkError(f"the import `{name}` cannot be made of {value!r}")


def _no_destructor(_store: object, _rep: int) -> None:
    """Do nothing."""


def _without_store(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function, which is given the store first."""
    return lambda _store, *args: function(*args)


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
            raise TypeError(f"the function has no result, and returned {returned!r}")


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
