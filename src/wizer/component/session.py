"""A session with a component: called with Python values or text, and frozen at any moment."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Unpack

from wizer.binary.assemble import Chunk
from wizer.binary.module import Module
from wizer.component.freeze import captured, find_path, forget, freeze, refuse_renames, rewritten
from wizer.component.instances import evaluate
from wizer.component.instrument import instrument_component
from wizer.component.items import Component, Import
from wizer.component.live import LiveComponent, added_instances, find_live
from wizer.component.parse import parse_component
from wizer.component.removal import Path
from wizer.component.wave import format_value, parse_args, split_call
from wizer.core.calls import explained, remember
from wizer.core.growth import refused_growth
from wizer.core.instrument import needs_cranelift
from wizer.core.rewrite import dropped_custom_sections
from wizer.core.session import import_ahead, validator
from wizer.core.state import State
from wizer.engine.component import RunningComponent
from wizer.engine.forks import import_on_thread
from wizer.engine.given import warn_of_unused_names
from wizer.engine.original import Original
from wizer.errors import OptionError
from wizer.options import ExportChanges, Options
from wizer.progress import PROGRESS
from wizer.units import written_size

if TYPE_CHECKING:
    from wizer.core.externs import Extern
    from wizer.core.guest import CoreStates, Results
    from wizer.engine.component_types import FunctionType
    from wizer.engine.types import Store


class ComponentSession:
    """A live component, in the binary format: the `Guest` of a session.

    Raises:
        StateError: it is made of what cannot be frozen: imported modules or components, values.
        OptionError: an option makes no sense for components.

    Attributes:
        store: the ``wasmtime.Store`` that everything lives in.
        results: the last calls and their results.
    """

    is_component = True

    def __init__(self, wasm: bytes, options: Options, original: Original | None = None) -> None:
        if options.preload:
            raise OptionError("components do not support preloading modules; give `imports`")
        self.results: Results = []
        self._options = options
        original = original or Original(wasm)
        if options.config.cache is True:
            original.begin(options.cache_settings)
        self._validator = validator(options, original)
        self._instances = evaluate(parse_component(wasm))
        warn_of_unused_names(options.imports or (), _import_names(self._instances.root.component))
        modules = self._instances.modules.values()
        import_on_thread(import_ahead, modules)
        PROGRESS.at("instrumenting")
        self._instrumented = instrument_component(self._instances, notes_growth=options.bounds_growth)
        PROGRESS.at("compiling", written_size(len(wasm)))
        self._run = RunningComponent(
            self._instrumented.chunks,
            original,
            simple=not any(map(needs_cranelift, modules)),
            added=added_instances(self._instances, self._instrumented),
            cores=[core.module for core in self._instances.cores],
            config=options.config,
            limits=options.bounds,
            hard_exit=options.hard_exit,
            deterministic=options.world,
            trace=options.trace,
        )
        self.store: Store = self._run.shell.store
        try:
            self._run.instantiate(options.imports or {}, options.wasi, options.unknown_imports)
            # Whoever traps closes the component: what is inside is to be found before that.
            self._found: LiveComponent | None = None
            if any(accessors.growing for accessors in self._instrumented.accessors.values()):
                with self._run.shell.own_code():
                    self._found = self._live()
        except BaseException:
            self.close()
            raise

    @property
    def module(self) -> Module:
        """What only a module has: raises `OptionError`."""
        _refuse("parsed module")

    @property
    def exports(self) -> list[Extern]:
        """The functions that are exported, also those of instances."""
        from wizer.core.externs import Extern

        found = []
        for path in self._functions:
            try:
                type_: FunctionType | None = self._run.functype(path)
            except OptionError:
                type_ = None
            found.append(Extern(".".join(path), "func", type_))
        return found

    @property
    def imports(self) -> list[Extern]:
        """The imports, in their order; of instances, their functions."""
        from wizer.core.externs import Extern

        functions = self._run.imported
        found = []
        for item in self._instances.root.component.items:
            if isinstance(item.definition, Import):
                name = item.definition.name
                own = [(path, type_) for path, type_ in functions.items() if path[0] == name]
                found += [Extern(path[-1], "func", type_, ".".join(path[:-1])) for path, type_ in own]
                if not own:
                    found.append(Extern(name, item.sort or "", None))
        return found

    @property
    def globals(self) -> MutableMapping[str, Any]:
        """What only a module has: raises `OptionError`."""
        _refuse("globals")

    def memory(self, _: str | None = None) -> memoryview:
        """Raise `OptionError`: only a module has one."""
        _refuse("memory")

    def state(self) -> State:
        """Raise `OptionError`: only a module has one."""
        _refuse("state of a module")

    def close(self) -> None:
        """Let the instance go."""
        self._run.shell.close()

    def dropped_sections(self) -> list[str]:
        """Return the names of the custom sections that the modules of a snapshot do not have."""
        names = (name for core in self._instances.cores for name in dropped_custom_sections(core.module))
        return [*dict.fromkeys(names)]

    @property
    def _functions(self) -> list[Path]:
        """The functions that the original exports."""
        return [path for path in self._run.functions if path != (self._instrumented.mark,)]

    def call(self, name: str, *args: Any) -> Any:
        """Call an exported function with Python values as ``wasmtime.component`` has them.

        Args:
            name: the function, or a function of an exported instance: ``my:pkg/setup@1.0.0.boot``.
            args: the arguments.

        Raises:
            OptionError: there is no such function, or the arguments do not fit it.
            TrapError, ExitError, LimitError: it did not return; what a Python function raised is the cause.
        """
        path = find_path(self._functions, name)
        params = self._run.functype(path).params
        if len(args) != len(params):
            raise OptionError(f"the `{name}` function takes {len(params)} arguments, not {len(args)}")
        with explained(self.refused_growth):
            results = self._run.call(path, args)
        remember(self.results, name, results)
        return results[0] if results else None

    def refused_growth(self) -> list[str]:
        """Return what to say of memories and tables that were to grow, and by a limit did not."""
        if self._found is None:
            return []
        limits, said = self._options.bounds, list[str]()
        with self._run.shell.held():
            for core, live in zip(self._instances.cores, self._found.cores, strict=True):
                added = self._instrumented.accessors[core.site.item.start]
                texts = refused_growth(core.module, added.growing, added.prefix, live, limits)
                said += (f"{core.label}: {text}" for text in texts)
        return said

    def call_text(self, text: str) -> Any:
        """Call a function given as text: ``boot`` or, in WAVE notation, ``setup.boot("x", {n: 1})``."""
        name, arguments = split_call(text)
        path = find_path(self._functions, name)
        functype = self._run.functype(path)
        return self.call(name, *parse_args(arguments or "", functype, text))

    def called_name(self, text: str) -> str:
        """Return the export that a call given as text calls."""
        return split_call(text)[0]

    def has_run(self, _: str) -> bool:
        """Whether opening the session made this call: nothing is called then."""
        return False

    def shown(self, name: str, results: tuple[Any, ...]) -> str:
        """Return the results of a call of ``name`` in WAVE notation; nothing where there are none."""
        functype = self._run.functype(find_path(self._functions, name))
        return format_value(results[0], functype.result) if results and functype.result else ""

    def chunks(self, **changes: Unpack[ExportChanges]) -> list[Chunk]:
        """Return the snapshot in pieces; those of memory contents are views on the live memory."""
        removed = self._removed(**changes)
        with self._run.shell.own_code():
            return freeze(
                self._instances, self._instrumented, self._live(), removed, self._options, self._validator
            )

    def rebuilt(self, states: Sequence[State], **changes: Unpack[ExportChanges]) -> list[Chunk]:
        """Return the snapshot of other states, one for each core instance."""
        cores = self._instances.own_cores
        if len(states) != len(cores):
            raise OptionError(f"there are {len(cores)} core instances, not {len(states)}")
        removed = self._removed(**changes)
        by_number = {core.number: state for core, state in zip(cores, states, strict=True)}
        with self._run.shell.own_code():
            _, handles = captured(
                self._instances, self._instrumented, self._live(), self._options.open_handles
            )
        return rewritten(self._instances, by_number, handles, removed, self._options, self._validator)

    def _removed(self, **changes: Unpack[ExportChanges]) -> set[Path]:
        refuse_renames(changes.get("rename"))
        functions = self._functions
        removed = {find_path(functions, name) for name in changes.get("remove", ())}
        return removed - {find_path(functions, name) for name in changes.get("keep", ())}

    def _live(self) -> LiveComponent:
        self._run.shell.check_idle()
        return find_live(self.store, self._run.instance, self._instances, self._instrumented)

    def states(self) -> CoreStates:
        """Return the state of each core instance as it is frozen, with what to call it and its module."""
        with self._run.shell.own_code():
            live = self._live()
            if not self._options.keep_libc_state:
                forget(self._instances, self._instrumented, live)
            states, _ = captured(self._instances, self._instrumented, live, "drop")
        return [(core.label, core.module, states[core.number]) for core in self._instances.own_cores]


def _refuse(what: str) -> NoReturn:
    raise OptionError(f"a component has no {what} to get at from outside")


def _import_names(component: Component) -> list[str]:
    items = (item for section in component.sections for item in section.items)
    return [item.definition.name for item in items if isinstance(item.definition, Import)]
