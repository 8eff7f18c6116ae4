"""What a component imports: functions, resources and modules of the caller's, and WASI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import wasmtime
import wasmtime.component as wc

from wizer.checks import shown
from wizer.engine.compile import Compiled
from wizer.engine.component_host import define_function, define_resource
from wizer.engine.interrupts import raising
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
            raise LinkError(f"the import `{name}` cannot be made of {shown(value)}")


def _no_destructor(_store: object, _rep: int) -> None:
    """Do nothing."""


def _without_store(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function of the caller's, for the engine, which gives it the store first."""

    def call(_store: object, *args: Any) -> Any:
        with raising():
            return function(*args)

    return call
