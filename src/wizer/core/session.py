"""A live module: what a session does with it."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack

from wizer.binary.assemble import Chunk
from wizer.binary.externs import INITIALIZE, Export, ExternKind, ExternType, FuncIndex
from wizer.binary.module import Module, parse_module
from wizer.binary.types import FuncType
from wizer.checks import refuse
from wizer.core.calls import Call, convert_args, explained, parse_call, remember
from wizer.core.exports import final_exports, missing_export
from wizer.core.instrument import Accessors, instrument, needs_cranelift
from wizer.engine.forks import import_on_thread
from wizer.engine.module import RunningModule
from wizer.engine.original import Original
from wizer.engine.reader import LiveInstance
from wizer.engine.text import WASM, to_binary
from wizer.errors import OptionError
from wizer.kept import alone, expects_alike, kept_like, kept_of
from wizer.options import ExportChanges, Options
from wizer.progress import PROGRESS
from wizer.records import replace
from wizer.units import written_size

if TYPE_CHECKING:
    from wizer.binary.segments import DataSegment
    from wizer.core.externs import Extern
    from wizer.core.guest import CoreStates, Results
    from wizer.core.rewrite import Check
    from wizer.core.state import State
    from wizer.engine.types import Instance, Store
    from wizer.engine.validate import Validator


class ModuleSession:
    """A live module, in the binary format: the `Guest` of a session.

    Attributes:
        module: the parsed module.
        store: the ``wasmtime.Store`` that everything lives in.
        results: the last calls and their results.
    """

    is_component = False

    def __init__(self, wasm: bytes, options: Options, original: Original | None = None) -> None:
        self.results: Results = []
        self._options = options
        original = original or kept_of(wasm, "original", lambda: Original(wasm))
        if options.config.cache is True:
            original.begin(options.cache_settings)
        self._check = _check(options, original)
        self.module: Module
        growth = options.bounds_growth
        self.module, instrumented, self._accessors, moved = kept_of(
            wasm, ("instrumented", growth), lambda: _instrumented(wasm, notes_growth=growth)
        )
        PROGRESS.at("compiling", written_size(sum(map(len, instrumented))))
        given, preloads = _given(options)
        self._run = RunningModule(
            self.module,
            instrumented,
            original,
            preloads,
            simple=not needs_cranelift(self.module),
            config=options.config,
            limits=options.bounds,
            hard_exit=options.hard_exit,
        )
        del instrumented
        self.store: Store = self._run.shell.store
        try:
            self._run.link(
                given,
                options.wasi,
                options.unknown_imports,
                deterministic=options.world,
                trace=options.trace,
            )
            self._run.instantiate()
            if moved:
                from wizer.core.moved_data import fill

                fill(self.module, moved, self._memory)
            self._run.can_be_woken(f"{self._accessors.prefix}memory")
            if options.initialize and self.initialized:
                self.call(INITIALIZE)
        except BaseException:
            self.close()
            raise

    @property
    def initialized(self) -> bool:
        """Whether opening the session ran ``_initialize``: a function without parameters and results."""
        export = self.module.exports_by_name.get(INITIALIZE)
        return (
            export is not None
            and export.kind == "func"
            and self.module.functype(export.index) == FuncType((), ())
        )

    def close(self) -> None:
        """Let the instance go. Views of its memory must not be used any more."""
        self._run.close()

    def call(self, name: str, *args: object) -> Any:
        """Call an exported function.

        Args:
            name: the export.
            args: numbers as int and float, vectors as 16 bytes or an int, references as None, a Python object
                (externref), a ``wasmtime.Func``, or what an earlier call returned.

        Returns:
            None, the one result, or a tuple of them.

        Raises:
            OptionError: there is no such function, or the arguments do not fit it.
            TrapError, ExitError, LimitError: it did not return; what a Python function raised is the cause.
        """
        export = self._function(name)
        functype = self.module.functype(export.index)
        if len(args) != len(functype.params):
            raise OptionError(
                f"the `{name}` function has type `{functype}` and takes {len(functype.params)} arguments, "
                f"not {len(args)}"
            )
        with explained(self.refused_growth):
            results = self._run.call(name, functype, args)
        remember(self.results, name, results)
        return None if not results else results[0] if len(results) == 1 else results

    def refused_growth(self) -> list[str]:
        """Return what to say of memories and tables that were to grow, and by a limit did not."""
        if not self._accessors.growing:
            return []
        from wizer.core.growth import refused_growth

        with self._run.shell.held():
            limits = self._options.bounds
            added = self._accessors
            return [*refused_growth(self.module, added.growing, added.prefix, self._run.live, limits)]

    def call_text(self, text: str) -> Any:
        """Call a function given as text: ``setup`` or ``setup(3, 0x10)``."""
        call = self._call(text)
        functype = self.module.functype(self._function(call.name).index)
        return self.call(call.name, *convert_args(call, [str(param) for param in functype.params]))

    def _call(self, text: str) -> Call:
        """Read a call; an export of exactly that name is called, whatever its characters."""
        return Call(text) if text in self.module.exports_by_name else parse_call(text)

    def called_name(self, text: str) -> str:
        """Return the export that a call given as text calls."""
        return self._call(text).name

    def has_run(self, text: str) -> bool:
        """Whether opening the session made this call: ``_initialize``."""
        return self.initialized and self._call(text).name == INITIALIZE

    def shown(self, _: str, results: tuple[object, ...]) -> str:
        """Return results as text."""
        texts = [f"0x{value[::-1].hex()}" if isinstance(value, bytes) else str(value) for value in results]
        return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"

    def dropped_sections(self) -> list[str]:
        """Return the names of the custom sections that a snapshot does not have."""
        from wizer.core.rewrite import dropped_custom_sections

        return dropped_custom_sections(self.module)

    def _function(self, name: str) -> Export:
        export = self.module.exports_by_name.get(name)
        if export is None:
            raise missing_export(self.module, name)
        if export.kind != "func":
            raise OptionError(f"the Wasm module's `{name}` export is not a function")
        return export

    def memory(self, name: str | None = None) -> memoryview:
        """Return a writable view of bytes on a memory: the export ``name``, or the module's first memory.

        See `Session.memory`.

        Raises:
            OptionError: there is no such memory.
        """
        index = 0 if name is None else self._index(name, "memory")
        if index >= len(self.module.memories):
            raise OptionError("the Wasm module has no memory")
        return self._memory(index)

    def _memory(self, memidx: int) -> memoryview:
        return self._run.memory(f"{self._accessors.prefix}memory{memidx}")

    @property
    def exports(self) -> list[Extern]:
        """The exports, in their order."""
        spaces: dict[ExternKind, Sequence[ExternType]] = {
            "table": [table.type for table in self.module.tables],
            "memory": self.module.memories,
            "global": [global_.type for global_ in self.module.globals],
            "func": [FuncIndex(typeidx) for typeidx in self.module.funcs],
            "tag": [FuncIndex(typeidx) for typeidx in self.module.tags],
        }
        return [
            self._extern(export.name, export.kind, spaces[export.kind][export.index])
            for export in self.module.exports
        ]

    @property
    def imports(self) -> list[Extern]:
        """The imports, in their order."""
        return [self._extern(i.name, i.kind, i.type, i.module) for i in self.module.imports]

    def _extern(self, name: str, kind: ExternKind, type_: ExternType, module: str = "") -> Extern:
        from wizer.core.externs import Extern

        if isinstance(type_, FuncIndex):
            return Extern(name, kind, self.module.type_as_func(type_.typeidx), module)
        return Extern(name, kind, type_, module)

    @property
    def globals(self) -> MutableMapping[str, Any]:
        """The exported globals, by name; mutable ones can be set."""
        return _Globals(self)

    def _index(self, name: str, kind: ExternKind) -> int:
        export = self.module.exports_by_name.get(name)
        if export is None or export.kind != kind:
            raise OptionError(f"the Wasm module does not have a {kind} export `{name}`")
        return export.index

    def chunks(self, **changes: Unpack[ExportChanges]) -> list[Chunk]:
        """Return the snapshot in pieces; those of memory contents are views on the live memory."""
        with _no_collections():
            return self.rebuilt([self.state()], **changes)

    def rebuilt(self, states: Sequence[State], **changes: Unpack[ExportChanges]) -> list[Chunk]:
        """Return the snapshot of another state, the only one of ``states``."""
        from wizer.core.rewrite import rewrite

        if len(states) != 1:
            raise OptionError(f"a module has one state, not {len(states)}")
        (state,) = states
        exports = final_exports(self.module, **changes)
        with _no_collections():
            written = {
                index: value
                for index, value in state.globals.items()
                if value != self._run.given.get(index)  # what did not change is for the next host to say
            }
            PROGRESS.at("writing")
            data_options = self._options.data_options(self.module)
            return rewrite(
                self.module, replace(state, globals=written), exports, **data_options, check=self._check
            )

    def state(self) -> State:
        """Return the state as it is now; memories are views. What libc knows of the host is forgotten."""
        from wizer.core.capture import capture

        self._run.shell.check_idle()
        if not self._options.keep_libc_state:
            for what in self._accessors.forget:
                self._run.call(f"{self._accessors.prefix}forget.{what}", FuncType((), ()), ())
        PROGRESS.at("capturing")
        with self._run.shell.own_code():
            return capture(self.module, self._accessors, self._run.live, self._run.borrowed)

    def states(self) -> CoreStates:
        """Return the state with what to call it, which is nothing, and the module."""
        return [("", self.module, self.state())]


_MUCH_DATA = 4 << 20  # bytes: fewer are compiled as quickly as they are written


def _instrumented(
    wasm: bytes, *, notes_growth: bool
) -> tuple[Module, list[Chunk], Accessors, Sequence[DataSegment]]:
    """Return a module parsed, and instrumented, and the segments that are empty in it, but hold something.

    What comes after the run is imported meanwhile.
    """
    module = parse_module(wasm)
    if alone():
        import_on_thread(import_ahead, [module])
    PROGRESS.at("instrumenting")
    if not (expects_alike() or len(wasm) >= _MUCH_DATA):
        return module, *instrument(module, notes_growth=notes_growth), ()
    from wizer.core.moved_data import MUCH, emptied, movable_data, without_data

    moved = movable_data(module, 0 if expects_alike() else MUCH)
    data = emptied(module, moved) if moved else None

    def instrumented() -> tuple[list[Chunk], Accessors]:
        return instrument(module, notes_growth=notes_growth, data=data)

    if not expects_alike():
        return module, *instrumented(), moved
    return module, *kept_like(without_data(module, data), ("instrumented", notes_growth), instrumented), moved


def import_ahead(modules: Iterable[Module]) -> None:
    """Import what comes after the run, on a thread: compiler and guest run without the interpreter."""
    import wizer.core.capture
    import wizer.core.rewrite  # noqa: F401

    memories = 0
    for module in modules:
        memories += sum(memory.limits.minimum * memory.page_size for memory in module.memories)
    if memories:
        from wizer.core.segments import prepare

        prepare(memories)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Hold Python's cyclic garbage collector off what makes millions of objects and no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class ModuleInstrumented:
    """An instrumented module: the `InstrumentedGuest` of `wizer.Instrumented`.

    Attributes:
        wasm: the instrumented module.
        module: the original, parsed.
        prefix: what the names of the added exports begin with.
    """

    def __init__(self, wasm: bytes, options: Options) -> None:
        import hashlib

        self.module: Module = parse_module(wasm)
        if options.validate:  # what is appended may be what an invalid module refers to
            from wizer.engine.compile import validate_features

            validate_features(wasm, options.config)
        self.wasm: bytes
        self._identity = f"module {hashlib.blake2b(wasm, digest_size=16).hexdigest()}"
        chunks, self._accessors = instrument(self.module, self._identity)
        self.wasm = b"".join(chunks)
        self.prefix: str = self._accessors.prefix
        self._options = options
        self._check = _check(options, Original(wasm))

    def chunks(
        self,
        store: Store,
        instance: Instance,
        capture_imports: Collection[tuple[ExternKind, int]],
        **changes: Unpack[ExportChanges],
    ) -> list[Chunk]:
        """Freeze an instance; see `wizer.Instrumented.snapshot`."""
        from wizer.core.capture import capture
        from wizer.core.rewrite import rewrite

        live = LiveInstance(store, instance)
        live.check(self.prefix + self._identity)
        changes["keep"] = [name for name in changes.get("keep", ()) if name in self.module.exports_by_name]
        exports = final_exports(self.module, **changes)
        imported = {
            (kind, index)
            for kind, count in self.module.import_counts.items()
            for index in range(count)
            if kind in ("memory", "table", "global")
        }
        kept = frozenset(imported - set(capture_imports))
        if not self._options.keep_libc_state:
            for what in self._accessors.forget:
                live.accessor(f"{self._accessors.prefix}forget.{what}", 0)()
        state = capture(self.module, self._accessors, live, kept)
        data_options = self._options.data_options(self.module)
        return rewrite(self.module, state, exports, **data_options, check=self._check)


def _check(options: Options, original: Original) -> Check | None:
    """Return what checks a module that is handed out; None: nothing has to."""
    found = validator(options, original)
    return None if found is None else found.module


def validator(options: Options, original: Original) -> Validator | None:
    """Return what checks a snapshot that is handed out; None: nothing has to."""
    if not options.validate:
        return None
    from wizer.engine.validate import Validator

    return Validator(options.config, original)


def _given(options: Options) -> tuple[dict[str, Mapping[str, Any]], dict[str, bytes]]:
    """Return what import module names stand for: items, and modules in the binary format; or both.

    Raises:
        OptionError: two modules are given under one name.
    """
    imports = options.imports or {}
    items = {name: given for name, given in imports.items() if isinstance(given, Mapping)}
    modules = {name: to_binary(wasm) for name, wasm in (options.preload or {}).items()}
    for name, given in imports.items():
        if name not in items:
            if name in modules:
                raise OptionError(f"two modules are given as `{name}`: one preloaded, one among the imports")
            if not WASM.holds(given):
                refuse("imports", given, f"a mapping from names, or a module, for `{name}`")
            modules[name] = to_binary(given)
    return items, modules


class _Globals(MutableMapping[str, Any]):
    """The exported globals of a module."""

    def __init__(self, session: ModuleSession) -> None:
        self._session = session

    def __getitem__(self, name: str) -> Any:
        self._check(name)
        return self._session._run.global_value(name)

    def __setitem__(self, name: str, value: object) -> None:
        globaltype = self._session.module.globals[self._check(name)].type
        if not globaltype.mutable:
            raise OptionError(f"the global `{name}` is immutable")
        self._session._run.set_global_value(name, globaltype.valtype, value)

    def __delitem__(self, name: str) -> None:
        raise OptionError("a global cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        return (export.name for export in self._session.module.exports if export.kind == "global")

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _check(self, name: object) -> int:
        export = self._session.module.exports_by_name.get(name) if isinstance(name, str) else None
        if export is None or export.kind != "global":
            raise KeyError(name)
        return export.index
