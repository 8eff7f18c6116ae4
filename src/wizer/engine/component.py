"""A running component: its imports linked, instantiated, called."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import wasmtime
import wasmtime.component as wc
from wasmtime import _ffi as ffi

from wizer.binary.assemble import Chunk
from wizer.binary.module import Module
from wizer.checks import shown
from wizer.engine import capi
from wizer.engine.callbacks import raise_host_exception
from wizer.engine.compile import Compiled, compile_component, validate_component_features
from wizer.engine.component_link import Imports, make_linker
from wizer.engine.component_types import FunctionType, describe_function
from wizer.engine.config import EngineConfig, guest_stack
from wizer.engine.deterministic import Deterministic, World
from wizer.engine.limits import Limits
from wizer.engine.room import with_room
from wizer.engine.shell import Shell
from wizer.engine.sizes import check_sizes, shared_out
from wizer.engine.trace import Trace
from wizer.engine.versions import check_modules, component_item
from wizer.engine.wasi import Wasi
from wizer.errors import WASI_IS_OFF, LinkError, OptionError, TrapError
from wizer.records import replace

if TYPE_CHECKING:
    from wizer.engine.original import Original
    from wizer.engine.preview2 import Preview2

Path: TypeAlias = "tuple[str, ...]"
T = TypeVar("T")

_POLL: Final = 0.001
"""Seconds between two looks at an asynchronous call that waits for the host."""


class RunningComponent:
    """One instance of an instrumented component.

    Attributes:
        shell: the store that it lives in, and what watches over it.
        instance: the instance, once there is one.
    """

    instance: wc.Instance

    def __init__(
        self,
        instrumented: Sequence[Chunk],
        original: Original,
        *,
        simple: bool,
        added: tuple[int, int],
        cores: Sequence[Module],
        config: EngineConfig,
        limits: Limits,
        hard_exit: Callable[[BaseException], None] | None = None,
        deterministic: Deterministic | None = None,
        trace: Trace | None = None,
    ) -> None:
        for module in cores:
            check_sizes(module, limits)
        check_modules(cores)
        if config.restricts:
            validate_component_features(original.wasm, config)
        self._deterministic = deterministic
        self._trace = trace
        limits = _with_own(limits, *added)
        if deterministic is not None or trace is not None:
            from wizer.engine.relay import INSTANCES, MEMORIES

            limits = _with_own(limits, INSTANCES, MEMORIES)
        bounds = shared_out(cores, limits)
        config, moves = with_room(config, cores, bounds.max_memory)
        modules = {module.origin: module for module in cores}.values()
        self._compiled = compile_component(
            instrumented,
            config,
            simple=simple,
            code=sum(module.code_size for module in modules),
            limits=limits,
            original=original,
            modules=[module.binary for module in modules],
        )
        self._functions = exported_functions(self._compiled)
        self.shell: Shell = Shell(self._compiled.engine, limits, guest_stack(config), hard_exit)
        self.shell.bound(bounds)
        capi.set_moves(self.shell.store, moves)

    @property
    def imported(self) -> dict[Path, FunctionType | None]:
        """The functions that it imports, by their paths; None: a type that is not supported."""
        return {path: _described(functype) for path, functype in imported_functions(self._compiled).items()}

    @property
    def functions(self) -> Collection[Path]:
        """The functions that it exports, by their paths."""
        return self._functions

    def functype(self, path: Path) -> FunctionType:
        """Return the type of an exported function; raise `OptionError` where it is not supported."""
        return describe_function(self._functions[path])

    def instantiate(self, imports: Imports, wasi: Wasi | None, unknown_imports: str) -> None:
        """Link and instantiate the component; start functions of modules inside run.

        Raises:
            LinkError: an import is missing or of another type, or a memory or table cannot be allocated.
            TrapError, ExitError, LimitError: a start function did not return.
        """
        self._has_wasi = wasi is not None
        if wasi is not None:
            self.shell.allow(wasi)

        def work() -> None:
            preview2 = None if wasi is None else self._preview2(wasi)
            try:
                # Without traps first: a trap of the exact name would go before WASI of a compatible version.
                unknown = "error" if wasi is not None and unknown_imports == "trap" else unknown_imports
                self._instantiate(imports, wasi, unknown, preview2)
            except wasmtime.WasmtimeError as error:
                if unknown == unknown_imports or "in the linker" not in str(error):
                    raise
                self._instantiate(imports, wasi, unknown_imports, preview2)

        self._run_guest("failed to instantiate the component", work)

    def _preview2(self, wasi: Wasi) -> Preview2 | None:
        """Return what goes before the engine's WASI, None where nothing has to."""
        settings = self._deterministic
        if settings is None and self._trace is None:
            return None
        from wizer.engine.preview2 import Preview2

        network = wasi.network or wasi.name_lookup or wasi.http
        if settings is not None and network and not settings.network:
            raise OptionError(
                "what a component gets from the network is not the same on every run: deterministic "
                "initialisation goes without network, name lookup and HTTP"
            )
        world = None if settings is None else World(settings)
        engine, component = self._compiled.engine, self._compiled.code
        return Preview2(self.shell.store, engine, component, world, self._trace, http=wasi.http)

    def _instantiate(
        self, imports: Imports, wasi: Wasi | None, unknown_imports: str, preview2: Preview2 | None
    ) -> None:
        linker = make_linker(
            self.shell.store,
            self._compiled,
            imports,
            wasi=wasi,
            unknown_imports=unknown_imports,
            preview2=preview2,
            trace=self._trace,
        )
        try:
            self.instance = linker.instantiate(self.shell.store, self._compiled.code)
        except wasmtime.WasmtimeError:
            raise_host_exception()
            raise

    def call(self, path: Path, args: Sequence[Any]) -> tuple[Any, ...]:
        """Call an exported function with Python values, as the engine's package has them.

        Raises:
            OptionError: an argument is no value of its parameter's type.
            TrapError, ExitError, LimitError: it did not return.
        """

        def work() -> tuple[Any, ...]:
            function = find_function(self.shell.store, self.instance, path)
            return call_component(self.shell.store, function, self._functions[path], args)

        name = ".".join(path)
        return self._run_guest(f"the `{name}` function trapped", work, name)

    def _run_guest(self, message: str, work: Callable[[], T], function: str = "") -> T:
        """Run guest code; where it lacks something of WASI, the error says what provides it."""
        try:
            return self.shell.run(message, work, function)
        except (LinkError, TrapError) as error:
            if not self._has_wasi:
                error.causes = tuple(map(_with_way_out, error.causes))
            raise


def _with_way_out(cause: str) -> str:
    return f"{cause}; {WASI_IS_OFF}" if _OF_WASI.match(cause) else cause


_OF_WASI: Final = re.compile("unknown import: `wasi:|component imports [a-z]+ `wasi:")


def _with_own(limits: Limits, instances: int, memories: int) -> Limits:
    """Return limits with room for what is Wizer's own, and not the guest's."""
    if limits.max_instances is not None:
        limits = replace(limits, max_instances=limits.max_instances + instances)
    if limits.max_memories is not None:
        limits = replace(limits, max_memories=limits.max_memories + memories)
    return limits


def call_component(
    store: wasmtime.Store, function: wc.Func, functype: wc.FuncType, args: Sequence[Any]
) -> tuple[Any, ...]:
    """Call a function; unlike the package's own way, an argument that does not fit is told from a trap."""
    params, result = functype.params, functype.result
    values = (ffi.wasmtime_component_val_t * max(len(params), 1))()
    converted = 0
    returned = ffi.wasmtime_component_val_t()
    try:
        for (name, valtype), arg in zip(params, args, strict=True):
            try:
                valtype.convert_to_c(store, arg, ctypes.pointer(values[converted]))
            except (TypeError, ValueError, AttributeError, ctypes.ArgumentError) as error:
                raise OptionError(f"the argument `{name}` cannot be {shown(arg)}: {error}") from None
            converted += 1
        arguments = (
            ctypes.byref(function._func),
            store._context(),
            values,
            len(params),
            None if result is None else ctypes.byref(returned),
            0 if result is None else 1,
        )
        if ffi.wasmtime_component_func_type_async(functype.ptr()):
            failure = _finished(arguments)
        else:
            failure = ffi.wasmtime_component_func_call(*arguments)
    finally:
        for i in range(converted):
            ffi.wasmtime_component_val_delete(ctypes.byref(values[i]))
    if failure:
        raise_host_exception()
        raise wasmtime.WasmtimeError._from_ptr(failure)
    return () if result is None else (result.convert_from_c(returned),)


def _finished(arguments: tuple[Any, Any, Any, int, Any, int]) -> Any:
    """Call a function of the asynchronous ABI, wait until it has returned, and return the error or null.

    It runs on a stack of its own, while the future is polled; between two polls nothing is waited for, since
    what the host provides here blocks.
    """
    failure = ctypes.POINTER(ffi.wasmtime_error_t)()
    future = ffi.wasmtime_component_func_call_async(*arguments, ctypes.byref(failure))
    try:
        while not ffi.wasmtime_call_future_poll(future):
            time.sleep(_POLL)
    finally:
        ffi.wasmtime_call_future_delete(future)
    return failure


def exported_functions(compiled: Compiled[wc.Component]) -> dict[Path, wc.FuncType]:
    """Return the functions that a component exports, by their paths."""
    found: dict[Path, wc.FuncType] = {}
    _collect(compiled.code.type.exports(compiled.engine), compiled.engine, (), found)
    return found


def _described(functype: wc.FuncType) -> FunctionType | None:
    try:
        return describe_function(functype)
    except OptionError:
        return None


def imported_functions(compiled: Compiled[wc.Component]) -> dict[Path, wc.FuncType]:
    """Return the functions that a component imports, by their paths."""
    found: dict[Path, wc.FuncType] = {}
    _collect(compiled.code.type.imports(compiled.engine), compiled.engine, (), found)
    return found


def _collect(
    exports: Mapping[str, Any], engine: wasmtime.Engine, path: Path, found: dict[Path, wc.FuncType]
) -> None:
    for name, extern in exports.items():
        item = component_item(extern)
        if isinstance(item, wc.FuncType):
            found[*path, name] = item
        elif isinstance(item, wc.ComponentInstanceType):
            _collect(item.exports(engine), engine, (*path, name), found)


def find_function(store: wasmtime.Store, instance: wc.Instance, path: Path) -> wc.Func:
    """Return an exported function; raise `OptionError` where there is none."""
    index = None
    for name in path:
        index = instance.get_export_index(store, name, index)
        if index is None:
            break
    function = None if index is None else instance.get_func(store, index)
    if function is None:
        raise OptionError(f"the component does not export a function `{'.'.join(path)}`")
    return function
