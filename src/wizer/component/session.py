"""A session with a component: called with Python values or text, and frozen at any moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, TypeAlias

from wizer.binary.assemble import Chunk
from wizer.binary.module import Module
from wizer.binary.sections import CODE
from wizer.component.adapter import without_handles
from wizer.component.capture import capture_component
from wizer.component.freeze import find_path, freeze, refuse_renames
from wizer.component.instances import evaluate
from wizer.component.instrument import instrument_component
from wizer.component.live import LiveComponent, find_live, probed_frames
from wizer.component.parse import parse_component
from wizer.component.wave import format_value, parse_args, split_call
from wizer.core.instrument import needs_cranelift
from wizer.core.rewrite import dropped_custom_sections
from wizer.core.state import State
from wizer.engine.component import RunningComponent
from wizer.engine.config import EngineConfig
from wizer.engine.deterministic import Deterministic
from wizer.engine.link import UnknownImports
from wizer.engine.text import Wasm, to_binary
from wizer.engine.trace import Trace
from wizer.engine.wasi import Wasi
from wizer.engine.watchdog import Limits
from wizer.errors import OptionError
from wizer.output import write_path, write_stream

Imports: TypeAlias = "Mapping[str, Any]"
OpenHandles: TypeAlias = Literal["error", "drop"]


class ComponentSession:
    """A live instance of a component that can be called and frozen at any moment.

    Args:
        wasm: the component: bytes (binary or text format), a string (text format) or the path of a file.
        imports: by name, Python functions, or for an instance a mapping of them; also ``wasmtime.Module``
            and ``wasmtime.component.ResourceType``, alone or with a destructor.
        wasi: what the guest may see of the host through WASI 0.2; None: nothing.
        preload: must be empty: a component's imports are not modules.
        unknown_imports: what nobody gives traps when it is called ("trap") or is an "error" at once.
        limits: bounds on time, fuel and memory.
        engine: how to compile.
        max_data_segments: how many data segments each module in a snapshot may have.
        open_handles: whether handles that are open when it is frozen are an "error", or the snapshot does
            without them ("drop").
        hard_exit: ends the process when a limit is met inside a host function, where no guest code runs.
        deterministic: how chance, time and directories are made up; None: they are the host's.
        trace: is told of every imported function that is called.

    Raises:
        ParseError, InvalidError: the component is malformed or invalid.
        StateError: it is made of what cannot be frozen: imported modules or components, values.
        OptionError: an option makes no sense for components.
        LinkError: an import is missing or of another type.
        TrapError, ExitError, LimitError: a start function inside did not return.

    Attributes:
        store: the ``wasmtime.Store`` that everything lives in.
        results: the calls made so far and their results.
    """

    def __init__(
        self,
        wasm: Wasm,
        *,
        imports: Imports | None = None,
        wasi: Wasi | None = None,
        preload: Mapping[str, Wasm] | None = None,
        unknown_imports: UnknownImports = "trap",
        limits: Limits | None = None,
        engine: EngineConfig | None = None,
        max_data_segments: int = 10_000,
        open_handles: OpenHandles = "error",
        hard_exit: Callable[[BaseException], None] | None = None,
        deterministic: Deterministic | None = None,
        trace: Trace | None = None,
    ) -> None:
        if preload:
            raise OptionError("components do not support preloading modules; give `imports`")
        binary = to_binary(wasm)
        self.results: list[tuple[str, tuple[Any, ...]]] = []
        self._max_data_segments = max_data_segments
        self._open_handles: OpenHandles = open_handles
        self._instances = evaluate(parse_component(binary))
        self._instrumented = instrument_component(self._instances)
        modules = self._instances.modules.values()
        self._run = RunningComponent(
            binary,
            self._instrumented.wasm,
            simple=not any(map(needs_cranelift, modules)),
            code=sum(_code_size(module) for module in modules),
            added=1 + len(probed_frames(self._instances)),
            cores=[core.module for core in self._instances.cores],
            config=engine or EngineConfig(),
            limits=limits or Limits(),
            hard_exit=hard_exit,
            deterministic=deterministic,
            trace=trace,
        )
        self.store = self._run.shell.store
        try:
            self._run.instantiate(imports or {}, wasi, unknown_imports)
        except BaseException:
            self.close()
            raise

    @property
    def initialized(self) -> bool:
        """Whether opening the session ran an initialisation function of its own: components have none."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the instance go."""
        self._run.shell.close()

    def dropped_sections(self) -> list[str]:
        """Return the names of the custom sections that the modules of a snapshot do not have."""
        names = (name for core in self._instances.cores for name in dropped_custom_sections(core.module))
        return [*dict.fromkeys(names)]

    def call(self, name: str, *args: Any) -> Any:
        """Call an exported function with Python values as ``wasmtime.component`` has them.

        Args:
            name: the function, or a function of an exported instance: ``my:pkg/setup@1.0.0.boot``.
            args: the arguments.

        Raises:
            OptionError: there is no such function, or the arguments do not fit it.
            TrapError, ExitError, LimitError: it did not return; what a Python function raised is the cause.
        """
        path = find_path(self._run.functions, name)
        params = self._run.functype(path).params
        if len(args) != len(params):
            raise OptionError(f"the `{name}` function takes {len(params)} arguments, not {len(args)}")
        results = self._run.call(path, args)
        self.results.append((name, results))
        return results[0] if results else None

    def call_text(self, text: str) -> Any:
        """Call a function given as text: ``boot`` or, in WAVE notation, ``setup.boot("x", {n: 1})``."""
        name, arguments = split_call(text)
        path = find_path(self._run.functions, name)
        functype = self._run.functype(path)
        return self.call(name, *parse_args(arguments or "", functype, text))

    def has_run(self, _: str) -> bool:
        """Whether opening the session made this call: nothing is called then."""
        return False

    def shown(self, name: str, results: tuple[Any, ...]) -> str:
        """Return the results of a call of ``name`` in WAVE notation; nothing where there are none."""
        functype = self._run.functype(find_path(self._run.functions, name))
        return format_value(results[0], functype.result) if results and functype.result else ""

    def chunks(
        self,
        *,
        rename: Mapping[str, str] | None = None,
        remove: Collection[str] = (),
        keep: Collection[str] = (),
    ) -> list[Chunk]:
        """Return the snapshot in pieces; those of memory contents are views on the live memory."""
        refuse_renames(rename)
        functions = self._run.functions
        removed = {find_path(functions, name) for name in remove} - {
            find_path(functions, name) for name in keep
        }
        with self._run.shell.own_code():
            live, limit = self._live(), self._max_data_segments
            return freeze(self._instances, self._instrumented, live, removed, limit, self._open_handles)

    def _live(self) -> LiveComponent:
        return find_live(self.store, self._run.instance, self._instances, self._instrumented)

    def states(self) -> list[tuple[str, Module, State]]:
        """Return the state of each core instance as it is frozen, with what to call it and its module."""
        with self._run.shell.own_code():
            states = capture_component(self._instances, self._instrumented, self._live().cores)
        cores = self._instances.cores
        return [
            (core.label, core.module, without_handles(core.module, state))
            for core, state in zip(cores, states, strict=True)
        ]

    def snapshot(
        self,
        *,
        rename: Mapping[str, str] | None = None,
        remove: Collection[str] = (),
        keep: Collection[str] = (),
    ) -> bytes:
        """Freeze the instance as it is now; the session goes on.

        Args:
            rename: must be empty: what a component exports is part of its type.
            remove: exported functions that the snapshot does not have.
            keep: those that it has all the same.

        Returns:
            The component in the binary format.

        Raises:
            OptionError: a name is not an export, or the limit of data segments is too small.
            StateError: a core instance inside holds what no module can express, or a component instance open
                handles.
        """
        return b"".join(self.chunks(rename=rename, remove=remove, keep=keep))

    def write(
        self,
        output: str | os.PathLike[str] | BinaryIO,
        *,
        rename: Mapping[str, str] | None = None,
        remove: Collection[str] = (),
        keep: Collection[str] = (),
    ) -> int:
        """Freeze the instance into a file or stream, without a copy of its memory; return the bytes written.

        Raises:
            OutputError: the file could not be written; an old one is untouched.
            OptionError, StateError: as for `snapshot`.
        """
        chunks = self.chunks(rename=rename, remove=remove, keep=keep)
        if isinstance(output, str | os.PathLike):
            return write_path(chunks, output)
        return write_stream(chunks, output)


def _code_size(module: Module) -> int:
    section = module.section(CODE)
    return section.end - section.start if section else 0
