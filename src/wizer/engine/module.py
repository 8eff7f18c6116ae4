"""A running module: its imports linked, instantiated, called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import wasmtime

from wizer.binary.assemble import Chunk
from wizer.binary.externs import INITIALIZE, ExternKind
from wizer.binary.module import Module, parse_module
from wizer.binary.types import FuncType, ValType
from wizer.binary.values import Number
from wizer.checks import shown
from wizer.engine import capi, capi_values
from wizer.engine.compile import Compiled, compile_module, compile_with, validate_features
from wizer.engine.config import EngineConfig, UnknownImports, guest_stack
from wizer.engine.deterministic import Deterministic, World
from wizer.engine.limits import Limits
from wizer.engine.link import Item, Linked, Linker
from wizer.engine.reader import LiveInstance
from wizer.engine.shell import Shell
from wizer.engine.sizes import check_sizes, shared_out
from wizer.engine.versions import check_modules
from wizer.engine.wasi import Wasi
from wizer.errors import InvalidError, OptionError
from wizer.kept import kept
from wizer.progress import PROGRESS
from wizer.records import replace

if TYPE_CHECKING:
    from wizer.engine.original import Original
    from wizer.engine.preview1 import Preview1
    from wizer.engine.trace import Trace


_FIRST_PREOPEN = 3  # after standard input, output and error


class RunningModule:
    """One instance of an instrumented module, and of the modules that it imports from.

    Attributes:
        shell: the store that they live in, and what watches over it.
        live: the instance as capture reads it, once it is instantiated.
    """

    live: LiveInstance

    def __init__(
        self,
        module: Module,
        instrumented: Sequence[Chunk],
        original: Original,
        preloads: Mapping[str, bytes],
        *,
        simple: bool,
        config: EngineConfig,
        limits: Limits,
        hard_exit: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Compile; ``preloads`` are modules to instantiate for others to import from, by name."""
        check_sizes(module, limits)
        if config.restricts:
            validate_features(module.wasm, config)
        self._module = module
        self._preloads = {name: parse_module(wasm) for name, wasm in preloads.items()}
        modules = [module, *self._preloads.values()]
        check_modules(modules)
        for each in modules:
            config = _without_faults(config, each)

        bounds = shared_out(modules, limits, preloads)
        moves = False
        if any(each.memories for each in modules):
            from wizer.engine.room import with_room

            config, moves = with_room(config, modules, bounds.max_memory)

        def compiled(config: EngineConfig) -> Compiled[wasmtime.Module]:
            return compile_module(
                instrumented,
                config,
                simple=simple,
                code=module.code_size,
                limits=limits,
                original=original,
            )

        self._compiled = compiled(config)
        try:
            self._compiled_preloads = self._compile_preloads()
        except InvalidError:
            if self._compiled.compiler != "winch" or config.compiler == "winch":
                raise
            self._compiled = compiled(replace(config, compiler="cranelift"))
            self._compiled_preloads = self._compile_preloads()
        self._takes_fuel = limits.fuel is not None
        self.shell: Shell = Shell(self._compiled.engine, limits, guest_stack(config), hard_exit)
        self.shell.bound(bounds)
        capi.set_moves(self.shell.store, moves)

    def _compile_preloads(self) -> dict[str, wasmtime.Module]:
        return {name: compile_with(self._compiled, module.wasm) for name, module in self._preloads.items()}

    def link(
        self,
        given: Mapping[str, Mapping[str, Any]],
        wasi: Wasi | None,
        unknown: UnknownImports,
        *,
        deterministic: Deterministic | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Find the imports; the modules that are preloaded are instantiated here.

        Raises:
            LinkError, TrapError, ExitError, LimitError: an import is missing, or a module for one does not
                work.
        """
        PROGRESS.at("linking")
        store = self.shell.store
        functions = self._wasi(wasi, deterministic, trace)
        linker = Linker(store, wasi=functions, unknown=unknown, trace=trace)
        for name, items in given.items():
            linker.supply(name, items)
        for name, module in self._preloads.items():
            exports = self._preload(name, module, linker)
            for twice in exports.keys() & given.get(name, {}).keys():
                raise OptionError(
                    f"`{name}.{twice}` is given twice: by the imports, and by the module that is preloaded "
                    f"as `{name}`"
                )
            linker.supply(name, exports)
        self._linked: Linked = linker.link(self._module, self._compiled.code)
        self._borrowed = frozenset(_borrowed_imports(self._module, self._linked))
        if given or self._preloads:
            from wizer.engine.given import warn_of_unused

            warn_of_unused(given, self._preloads, [self._module, *self._preloads.values()])

    @property
    def borrowed(self) -> frozenset[Item]:
        """The imported memories, tables and globals whose state belongs to others.

        A mutable global that was given a reference and still holds it is among them.
        """
        given = self._linked.globals.items()
        unchanged: set[Item] = {("global", i) for i, value in given if value.holds(self.shell.store)}
        return self._borrowed | unchanged

    @property
    def given(self) -> Mapping[int, Number]:
        """The numbers that mutable imported globals were given."""
        given = self._linked.globals.items()
        return {index: number for index, value in given if (number := value.number) is not None}

    def _wasi(
        self, wasi: Wasi | None, deterministic: Deterministic | None, trace: Trace | None
    ) -> Preview1 | None:
        if wasi is None:
            return None
        from wizer.engine.preview1 import Preview1

        self.shell.allow(wasi)
        engine = self._compiled.engine
        linker = kept(("wasi", engine), lambda: _wasi_linker(engine))
        if trace is not None:
            trace.preopens.update(enumerate(wasi.directories, _FIRST_PREOPEN))
        world = None if deterministic is None else World(deterministic)
        return Preview1(self.shell.store, linker, world, trace)

    def _preload(self, name: str, module: Module, linker: Linker) -> dict[str, capi.Extern]:
        """Instantiate a module for others to import from; return its exports."""
        store, compiled = self.shell.store, self._compiled_preloads[name]
        linked = linker.link(module, compiled)
        message = f"the preloaded module `{name}` could not be instantiated"
        instance = self.shell.run(message, lambda: capi.instantiate(store, compiled, linked.externs))
        exports = {}
        for export in module.exports:
            extern = capi.export_of(store, instance, export.name)
            if extern is not None:
                exports[export.name] = extern
        initialize = exports.get(INITIALIZE)
        if isinstance(initialize, wasmtime.Func):
            message = f"`{INITIALIZE}` of the preloaded module `{name}` trapped"
            self.shell.run(message, lambda: capi.call_function(store, initialize, (), (), 0))
        return exports

    def close(self) -> None:
        """Let the instance go; see `Shell.close`."""
        self.shell.close()
        self._compiled.use.seconds += self.shell.seconds

    def instantiate(self) -> None:
        """Instantiate the module; its start function runs.

        Raises:
            LinkError: an import is of another type, or a memory or table cannot be allocated.
            TrapError, ExitError, LimitError: the start function did not return.
        """
        store, compiled, externs = self.shell.store, self._compiled.code, self._linked.externs
        message = "failed to instantiate the module"
        self._instance = self.shell.run(message, lambda: capi.instantiate(store, compiled, externs))
        self.live = LiveInstance(store, self._instance)

    def can_be_woken(self, prefix: str) -> None:
        """Have the guest woken where it is to stop and waits for another thread.

        ``prefix``, with the index of a memory, is the export by which it is known.
        """
        shared = []
        for memidx, memory in enumerate(self._module.memories):
            if memory.limits.shared:
                found = capi.export_of(self.shell.store, self._instance, f"{prefix}{memidx}")
                assert isinstance(found, wasmtime.SharedMemory)
                shared.append((memory, found))
        if shared:
            from wizer.engine.waking import wakes

            self.shell.wake_with(wakes(self._compiled.engine, shared, fuel=self._takes_fuel))

    def call(self, name: str, functype: FuncType, args: Sequence[object]) -> tuple[object, ...]:
        """Call an exported function with Python values."""
        store = self.shell.store
        kinds = [capi_values.value_kind(param, self._module.types) for param in functype.params]

        def work() -> tuple[object, ...]:
            function = capi.export_of(store, self._instance, name)
            assert isinstance(function, wasmtime.Func)
            try:
                return capi.call_function(store, function, kinds, args, len(functype.results))
            except (TypeError, OverflowError) as error:
                raise OptionError(f"the arguments of `{name}` do not fit: {error}") from None
            except wasmtime.WasmtimeError as error:
                from wizer.engine.messages import causes, is_trap

                if isinstance(error, wasmtime.ExitTrap) or is_trap(error):
                    raise
                raise OptionError(f"the arguments of `{name}` do not fit", causes(error)) from None

        return self.shell.run(f"the `{name}` function trapped", work, name)

    def memory(self, name: str) -> memoryview:
        """Return a view of an exported memory."""
        with self.shell.held():
            return self.live.memory(name)[0]

    def global_value(self, name: str) -> object:
        """Return the value of an exported global."""
        with self.shell.held():
            return capi.global_value(self.shell.store, self._global(name))

    def set_global_value(self, name: str, valtype: ValType, value: object) -> None:
        """Set an exported global; raise `OptionError` where the value does not fit."""
        kind = capi_values.value_kind(valtype, self._module.types)
        try:
            with self.shell.held():
                capi.set_global_value(self.shell.store, self._global(name), kind, value)
        except (TypeError, OverflowError, wasmtime.WasmtimeError) as error:
            raise OptionError(f"the global `{name}` cannot be set to {shown(value)}: {error}") from None

    def _global(self, name: str) -> wasmtime.Global:
        found = capi.export_of(self.shell.store, self._instance, name)
        assert isinstance(found, wasmtime.Global)
        return found


def _wasi_linker(engine: wasmtime.Engine) -> wasmtime.Linker:
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    return linker


def _borrowed_imports(module: Module, linked: Linked) -> Iterator[Item]:
    kinds: tuple[ExternKind, ...] = ("memory", "table", "global")
    for kind in kinds:
        for index in range(module.import_counts[kind]):
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
