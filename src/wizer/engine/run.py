"""Running a module: compile, link, instantiate, call; what the engine says becomes our own error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import wasmtime

from wizer.binary.externs import INITIALIZE, ExternKind
from wizer.binary.module import Module, parse_module
from wizer.binary.types import FuncType, ValType
from wizer.engine import capi
from wizer.engine.compile import Compiled, compile_module, compile_with, validate_features
from wizer.engine.config import EngineConfig
from wizer.engine.deterministic import Deterministic, World
from wizer.engine.link import Item, Linked, Linker, UnknownImports
from wizer.engine.preview1 import Preview1
from wizer.engine.reader import LiveInstance
from wizer.engine.sizes import check_sizes, shared_out
from wizer.engine.streams import Streams
from wizer.engine.trace import Trace
from wizer.engine.wasi import Wasi, configure
from wizer.engine.watchdog import Limits, Watchdog, causes
from wizer.errors import ExitError, InvalidError, LinkError, OptionError, TrapError
from wizer.records import replace


class Run:
    """One instance of an instrumented module, and the store it lives in.

    Attributes:
        store: the store.
        live: the instance as capture reads it, once it is instantiated.
        kept: imported memories, tables and globals whose state belongs to others.
    """

    live: LiveInstance
    kept: frozenset[Item]

    def __init__(
        self,
        module: Module,
        instrumented: bytes,
        *,
        simple: bool,
        config: EngineConfig,
        limits: Limits,
        hard_exit: Callable[[BaseException], None] | None = None,
    ) -> None:
        check_sizes(module, limits)
        if config.restricts:
            validate_features(module.wasm, config)
        config = _without_faults(config, module)
        self._module = module
        self._instrumented = instrumented
        self._config = config
        self._limits = limits
        self._hard_exit = hard_exit
        self._open(self._compile(config, simple=simple))

    def _compile(self, config: EngineConfig, *, simple: bool) -> Compiled:
        wasm, limits = self._instrumented, self._limits
        return compile_module(wasm, config, simple=simple, limits=limits, original=self._module.wasm)

    def _open(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self.store = wasmtime.Store(compiled.engine)
        self._streams = Streams()
        self._watchdog = Watchdog(self.store, self._limits, hard_exit=self._hard_exit)

    def close(self) -> None:
        """End the store."""
        self._watchdog.close()
        self.store.close()
        self._streams.close()

    def own_code(self) -> AbstractContextManager[None]:
        """Read the instance in here: what that takes is not the guest's."""
        return self._watchdog.own_code()

    def link(
        self,
        given: Mapping[str, Mapping[str, Any] | bytes],
        wasi: Wasi | None,
        unknown: UnknownImports,
        *,
        deterministic: Deterministic | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Find the imports; modules among them are instantiated here.

        Raises:
            LinkError, InvalidError, TrapError: an import is missing, or a module for one does not work.
        """
        preloads = {name: wasm for name, wasm in given.items() if isinstance(wasm, bytes)}
        modules = self._compile_preloads(preloads)
        every = [self._module, *map(parse_module, preloads.values())]
        self._watchdog.bound(shared_out(every, self._limits, preloads))
        functions = self._wasi(wasi, deterministic, trace)
        linker = Linker(self.store, wasi=functions, unknown=unknown, trace=trace)
        for name, items in given.items():
            if not isinstance(items, bytes):
                linker.supply(name, items)
        for name, compiled in modules.items():
            linker.supply(name, self._preload(name, preloads[name], compiled, linker))
        self._linked: Linked = linker.link(self._module, self._compiled.module)
        self.kept = frozenset(_kept_imports(self._module, self._linked))
        self._instrumented = b""  # as large as a snapshot's data, and not needed again

    def _compile_preloads(self, preloads: Mapping[str, bytes]) -> dict[str, wasmtime.Module]:
        """Compile modules to preload with the engine; where it is not the one for them, start over."""
        config = self._config
        for wasm in preloads.values():
            config = _without_faults(config, parse_module(wasm))
        if config is not self._config:
            self.close()
            self._config = config
            self._open(self._compile(config, simple=False))
        try:
            return {name: compile_with(self._compiled, wasm) for name, wasm in preloads.items()}
        except InvalidError:
            if self._compiled.compiler != "winch" or self._config.compiler == "winch":
                raise
        self.close()
        config = replace(self._config, compiler="cranelift")
        self._open(self._compile(config, simple=False))
        return {name: compile_with(self._compiled, wasm) for name, wasm in preloads.items()}

    def _wasi(
        self, wasi: Wasi | None, deterministic: Deterministic | None, trace: Trace | None
    ) -> Preview1 | None:
        if wasi is None:
            return None
        self._streams = configure(wasi, self.store, self._watchdog.stop)
        linker = wasmtime.Linker(self._compiled.engine)
        linker.define_wasi()
        world = None if deterministic is None else World(deterministic)
        return Preview1(self.store, linker, world, trace)

    def _preload(
        self, name: str, wasm: bytes, compiled: wasmtime.Module, linker: Linker
    ) -> dict[str, capi.Extern]:
        """Instantiate a module for others to import from; return its exports."""
        module = parse_module(wasm)
        linked = linker.link(module, compiled)
        with self._errors(f"the preloaded module `{name}` could not be instantiated"):
            instance = capi.instantiate(self.store, compiled, linked.externs)
        exports = {}
        for export in module.exports:
            extern = capi.export_of(self.store, instance, export.name)
            if extern is not None:
                exports[export.name] = extern
        initialize = exports.get(INITIALIZE)
        if isinstance(initialize, wasmtime.Func):
            with self._errors(f"`{INITIALIZE}` of the preloaded module `{name}` trapped"):
                capi.call_function(self.store, initialize, (), (), 0)
        return exports

    def instantiate(self) -> None:
        """Instantiate the module; its start function runs.

        Raises:
            LinkError: an import is of another type, or a memory or table cannot be allocated.
            TrapError, ExitError, LimitError: the start function did not return.
        """
        with self._errors("failed to instantiate the module"):
            self._instance = capi.instantiate(self.store, self._compiled.module, self._linked.externs)
        self.live = LiveInstance(self.store, self._instance)

    def call(self, name: str, functype: FuncType, args: Sequence[object]) -> tuple[object, ...]:
        """Call an exported function with Python values."""
        function = capi.export_of(self.store, self._instance, name)
        assert isinstance(function, wasmtime.Func)
        kinds = [capi.value_kind(param, self._module.types) for param in functype.params]
        with self._errors(f"the `{name}` function trapped"):
            try:
                return capi.call_function(self.store, function, kinds, args, len(functype.results))
            except (TypeError, OverflowError) as error:
                raise OptionError(f"the arguments of `{name}` do not fit: {error}") from None
            except wasmtime.WasmtimeError as error:
                if isinstance(error, wasmtime.ExitTrap) or _ran(error):
                    raise
                raise OptionError(f"the arguments of `{name}` do not fit", causes(error)) from None

    def global_value(self, name: str) -> object:
        """Return the value of an exported global."""
        global_ = capi.export_of(self.store, self._instance, name)
        assert isinstance(global_, wasmtime.Global)
        return capi.global_value(self.store, global_)

    def set_global_value(self, name: str, valtype: ValType, value: object) -> None:
        """Set an exported global; raise `OptionError` where the value does not fit."""
        global_ = capi.export_of(self.store, self._instance, name)
        assert isinstance(global_, wasmtime.Global)
        kind = capi.value_kind(valtype, self._module.types)
        try:
            capi.set_global_value(self.store, global_, kind, value)
        except (TypeError, OverflowError, wasmtime.WasmtimeError) as error:
            raise OptionError(f"the global `{name}` cannot be set to {value!r}: {error}") from None

    @contextmanager
    def _errors(self, message: str) -> Iterator[None]:
        """Guard guest code, and say in our own errors what the engine says."""
        try:
            with self._watchdog.guard():
                try:
                    yield
                except capi.HostError as error:
                    if isinstance(error.__cause__, wasmtime.Trap | wasmtime.WasmtimeError):
                        raise error.__cause__ from None  # the engine's own, come through a function of ours
                    raise
                finally:
                    self._streams.drain()
        except capi.HostError as error:
            cause = error.__cause__
            if not isinstance(cause, Exception):
                raise (cause or error) from None
            raise TrapError(message, [f"a host function raised {type(cause).__name__}: {cause}"]) from cause
        except wasmtime.ExitTrap as error:
            raise ExitError(message, error.code, causes(error)) from None
        except wasmtime.Trap as error:
            raise TrapError(message, causes(error)) from None
        except wasmtime.WasmtimeError as error:
            raise (TrapError if _ran(error) else LinkError)(message, causes(error)) from None


def _ran(error: wasmtime.WasmtimeError) -> bool:
    """Whether the engine speaks of guest code that ran, and not of what kept it from running."""
    return "wasm backtrace" in str(error) or "wasm trap" in str(error)


def _kept_imports(module: Module, linked: Linked) -> Iterator[Item]:
    kinds: tuple[ExternKind, ...] = ("memory", "table", "global")
    for kind in kinds:
        for index in range(module.import_counts.get(kind, 0)):
            if (kind, index) not in linked.made:
                yield kind, index


def _without_faults(config: EngineConfig, module: Module) -> EngineConfig:
    """Have accesses checked in code where a shared memory may come to be in the store more than once.

    Each import of one makes it known to the store again. The engine aborts the process on a fault at an
    address that it then finds in two memories.
    """
    exported = {export.index for export in module.exports if export.kind == "memory"}
    if not any(
        memory.limits.shared and (module.imported("memory", index) or index in exported)
        for index, memory in enumerate(module.memories)
    ):
        return config
    if config.compiler == "winch":
        raise InvalidError(
            "the module imports or exports a shared memory, which needs checks that the Winch compiler does "
            "not make; use `cranelift`"
        )
    return config if config.signals_based_traps is False else replace(config, signals_based_traps=False)
