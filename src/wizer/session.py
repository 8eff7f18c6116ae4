"""A session: the pipeline held open in the middle, between running and capturing."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, Self, TypeAlias, get_args

from wizer.binary.assemble import Chunk
from wizer.binary.sections import is_component
from wizer.engine.config import EngineConfig, check_word
from wizer.engine.deterministic import Deterministic, DeterministicOption, as_deterministic
from wizer.engine.text import Wasm, to_binary
from wizer.engine.wasi import Wasi
from wizer.engine.watchdog import Limits
from wizer.errors import LimitError, OptionError
from wizer.output import write_path, write_stream
from wizer.records import replace

if TYPE_CHECKING:
    import wasmtime

    from wizer.binary.module import Module
    from wizer.component.session import ComponentSession
    from wizer.core.session import ModuleSession
    from wizer.core.state import State
    from wizer.engine.trace import Trace

Imports: TypeAlias = "Mapping[str, Any]"
UnknownImports: TypeAlias = Literal["trap", "error", "default"]
OpenHandles: TypeAlias = Literal["error", "drop"]

DEFAULT_LIMITS: Final = Limits(
    timeout=600,
    max_memory=1 << 34,
    max_table_elements=10_000_000,
    max_instances=10_000,
    max_tables=10_000,
    max_memories=10_000,
)
"""The bounds of a run that is given none: what a browser allows a module with a 64-bit memory, ten minutes,
and as many instances, tables and memories as the engine allows a store.
https://webassembly.github.io/spec/js-api/#limits"""

MAX_OUTPUT: Final = 1 << 30
"""Bytes of output by default. No browser loads a larger module:
https://webassembly.github.io/spec/js-api/#limits"""


class Session:
    """A live instance of a module or component that can be called, written to, and frozen at any moment.

    Opening it instantiates: start functions run, and then a module's ``_initialize`` where it is exported.
    Use it as a context manager, or call `close`.

    Args:
        wasm: a module or component: bytes (binary or text format), a string (text format) or the path of a
            file.
        imports: for a module, by module name, either a mapping from names to Python functions and
            ``wasmtime`` externs of `store`, or another module, which is instantiated. What a memory, table
            or global given here holds stays with its owner; what nobody gives is made by Wizer, and its
            state is frozen. For a component, by name, Python functions, or for an instance a mapping of them.
        wasi: what the guest may see of the host through WASI (preview 1 for modules, 0.2 for components);
            None: nothing.
        preload: modules to instantiate first, by the name that they are imported under.
        unknown_imports: functions that nobody gives "trap" when they are called, are an "error" at once, or
            return the "default" values of their types.
        limits: bounds on time, fuel and memory; None: ten minutes, 16 GiB of memory, ten million
            elements of tables. ``Limits()`` has none.
        engine: how to compile.
        max_data_segments: how many data segments a module in the snapshot may have.
        max_output: how many bytes a snapshot may have; None: as many as it takes.
        open_handles: for a component, whether handles (to streams, files and other resources) that are open
            when it is frozen are an "error", or the snapshot does without them ("drop").
        hard_exit: ends the process when a limit is met inside a host function, where no guest code runs.
        deterministic: what WASI shows of chance and time is made up, the same on every run: a seed, True for
            the default one, or a `Deterministic`; relaxed vector instructions are deterministic too.
        trace: is told of every imported function that is called.
        initialize: whether ``_initialize`` runs.

    Raises:
        ParseError, InvalidError: the input is malformed or invalid.
        OptionError: an option makes no sense for this input.
        LinkError: an import is missing or of another type.
        StateError: a component is made of what cannot be frozen.
        TrapError, ExitError, LimitError: a start function or ``_initialize`` did not return.

    Attributes:
        results: the calls made so far, ``_initialize`` included, and their results.
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
        max_output: int | None = MAX_OUTPUT,
        open_handles: OpenHandles = "error",
        hard_exit: Callable[[BaseException], None] | None = None,
        deterministic: DeterministicOption = False,
        trace: Trace | None = None,
        initialize: bool = True,
    ) -> None:
        check_word("unknown_imports", unknown_imports, get_args(UnknownImports))
        check_word("open_handles", open_handles, get_args(OpenHandles))
        binary = to_binary(wasm)
        world = as_deterministic(deterministic)
        if world is not None:
            engine = replace(
                engine or EngineConfig(), nan_canonicalization=True, relaxed_simd_deterministic=True
            )
        options: dict[str, Any] = {
            "imports": imports,
            "wasi": wasi,
            "preload": preload,
            "unknown_imports": unknown_imports,
            "limits": DEFAULT_LIMITS if limits is None else limits,
            "engine": engine,
            "max_data_segments": max_data_segments,
            "hard_exit": hard_exit,
        }
        self._max_output = max_output
        self._options: dict[str, Any] = {
            **options,
            "deterministic": deterministic,
            "max_output": max_output,
            "open_handles": open_handles,
        }
        self._opened: ModuleSession | ComponentSession | None = _open(
            binary, options, world, trace, initialize=initialize, open_handles=open_handles
        )
        self.results: list[tuple[str, tuple[Any, ...]]] = self._opened.results

    def beside(self, snapshot: bytes) -> Session:
        """Open a snapshot of this session with the same options, except that it prints nothing.

        What initialises is not run: the snapshot is initialised.
        """
        options = dict(self._options)
        if isinstance(wasi := options["wasi"], Wasi):
            options["wasi"] = replace(wasi, stdin="null", stdout="null", stderr="null")
        return Session(snapshot, initialize=False, **options)

    @property
    def store(self) -> wasmtime.Store:
        """The ``wasmtime.Store`` that everything lives in."""
        return self._guest.store

    @property
    def module(self) -> Module:
        """The parsed module; raises `OptionError` for a component."""
        return self._module_session("parsed module").module

    @property
    def is_component(self) -> bool:
        """Whether this is a component's session, and no module's."""
        from wizer.core.session import ModuleSession

        return not isinstance(self._guest, ModuleSession)

    def _module_session(self, what: str) -> ModuleSession:
        from wizer.core.session import ModuleSession

        if not isinstance(self._guest, ModuleSession):
            raise OptionError(f"a component has no {what} to get at from outside")
        return self._guest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _guest(self) -> ModuleSession | ComponentSession:
        if self._opened is None:
            raise OptionError("the session is closed")
        return self._opened

    def close(self) -> None:
        """Let the instance go. Views of its memory must not be used any more."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def call(self, name: str, *args: Any) -> Any:
        """Call an exported function.

        Args:
            name: the export; for a component also a function of an exported instance, ``wasi:cli/run.run``.
            args: for a module, numbers as int and float, vectors as 16 bytes or an int, references as None,
                a Python object (externref), a ``wasmtime.Func``, or what an earlier call returned; for a
                component, values as ``wasmtime.component`` has them.

        Returns:
            None, the one result, or a tuple of them.

        Raises:
            OptionError: there is no such function, or the arguments do not fit it.
            TrapError, ExitError, LimitError: it did not return; what a Python function raised is the cause.
        """
        return self._guest.call(name, *args)

    def call_text(self, text: str) -> Any:
        """Call a function given as text: ``setup`` or ``setup(3, 0x10)``, with WAVE values for a component.

        Raises:
            OptionError, TrapError, ExitError, LimitError: as for `call`.
        """
        return self._guest.call_text(text)

    def has_run(self, text: str) -> bool:
        """Whether opening the session made this call: ``_initialize`` of a module."""
        return self._guest.has_run(text)

    def shown(self, name: str, results: tuple[Any, ...]) -> str:
        """Return the results of a call of ``name`` as text, in WAVE notation for a component."""
        return self._guest.shown(name, results)

    def dropped_sections(self) -> list[str]:
        """Return the names of the custom sections that a snapshot lacks: they describe an object file."""
        return self._guest.dropped_sections()

    def state(self) -> State:
        """Return the state of a module as it is now; its memories are views, good until the next call."""
        return self._module_session("state of a module").state()

    def states(self) -> list[tuple[str, Module, State]]:
        """Return the state of a module, or of each core instance of a component with what to call it."""
        if not self.is_component:
            return [("", self.module, self.state())]
        from wizer.component.session import ComponentSession

        assert isinstance(self._guest, ComponentSession)
        return self._guest.states()

    def memory(self, name: str | None = None) -> memoryview:
        """Return a writable view of bytes on a memory: the export ``name``, or the module's first memory.

        The view is good until the memory grows or the session ends: take a new one after each call.

        Raises:
            OptionError: there is no such memory, or this is a component.
        """
        return self._module_session("memory").memory(name)

    @property
    def globals(self) -> MutableMapping[str, Any]:
        """The exported globals of a module, by name; mutable ones can be set."""
        return self._module_session("globals").globals

    def snapshot(
        self,
        *,
        rename: Mapping[str, str] | None = None,
        remove: Collection[str] = (),
        keep: Collection[str] = (),
    ) -> bytes:
        """Freeze the instance as it is now; the session goes on.

        Custom sections stay, but for `linking` and `reloc.…`, which describe a relocatable object.

        Args:
            rename: new export name to old export name; not for components.
            remove: exports that the snapshot does not have; a module's ``_initialize`` is one of them.
            keep: exports that it has all the same.

        Returns:
            The module or component in the binary format.

        Raises:
            OptionError: a name is not an export, or the limit of data segments is too small.
            LimitError: the snapshot is larger than it may be.
            StateError: the instance holds what no module can express.
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
            OptionError, LimitError, StateError: as for `snapshot`.
        """
        return write_chunks(self.chunks(rename=rename, remove=remove, keep=keep), output)

    def chunks(
        self,
        *,
        rename: Mapping[str, str] | None = None,
        remove: Collection[str] = (),
        keep: Collection[str] = (),
    ) -> list[Chunk]:
        """Return the snapshot in pieces; those of memory contents are views on the live memory."""
        chunks = self._guest.chunks(rename=rename, remove=remove, keep=keep)
        size = sum(map(len, chunks))
        if self._max_output is not None and size > self._max_output:
            raise LimitError(f"the output of {size} bytes exceeds the limit of {self._max_output} bytes")
        return chunks


def write_chunks(chunks: Iterable[Chunk], output: str | os.PathLike[str] | BinaryIO) -> int:
    """Write to a file, which appears whole or not at all, or to a stream; return the number of bytes."""
    if isinstance(output, str | os.PathLike):
        return write_path(chunks, output)
    return write_stream(chunks, output)


def _open(
    binary: bytes,
    options: Mapping[str, Any],
    world: Deterministic | None,
    trace: Trace | None,
    *,
    initialize: bool,
    open_handles: OpenHandles,
) -> ModuleSession | ComponentSession:
    """Open what drives a binary; what components need is only imported for them."""
    if not is_component(binary):
        from wizer.core.session import ModuleSession

        return ModuleSession(binary, deterministic=world, trace=trace, initialize=initialize, **options)
    from wizer.component.session import ComponentSession

    return ComponentSession(binary, open_handles=open_handles, deterministic=world, trace=trace, **options)
