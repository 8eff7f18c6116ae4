"""A session: the pipeline held open in the middle, between running and capturing."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self, TypeAlias, Unpack

from wizer.binary.assemble import Chunk
from wizer.binary.sections import is_component
from wizer.checks import PATH, TEXT, expect, instance_kind, or_none, refuse, sequence_kind, shown
from wizer.core.state import State
from wizer.engine.text import Wasm, to_binary
from wizer.errors import LimitError, OptionError, OutputError, asking_for_numpy
from wizer.notices import warn
from wizer.options import (
    INIT_FUNC,
    OLD_INIT_FUNC,
    ExportChanges,
    Imports,
    Options,
    SessionOptions,
    check_changes,
    explains,
    session_options,
)
from wizer.output import write_path, write_stream
from wizer.progress import PROGRESS
from wizer.records import replace
from wizer.units import written_size

if TYPE_CHECKING:
    from wizer.binary.module import Module
    from wizer.core.externs import Extern
    from wizer.core.guest import CoreStates, Guest, Results
    from wizer.core.typed import Elements, ElementType, TypedMemory
    from wizer.engine.original import Original
    from wizer.engine.types import Store

Initialize: TypeAlias = "Callable[[Session], object]"

_RECORD: Final = instance_kind("an `Options`", Options)
_RESULTS: Final = instance_kind("a tuple", tuple)
_STATES: Final = sequence_kind("a sequence of states", instance_kind("a state", State))


@explains(SessionOptions)
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
        options: as follows.

    Raises:
        ParseError, InvalidError: the input is malformed or invalid.
        OptionError: an option makes no sense for this input.
        LinkError: an import is missing or of another type.
        StateError: a component is made of what cannot be frozen.
        TrapError, ExitError, LimitError: a start function or ``_initialize`` did not return.

    Attributes:
        results: the last 1,000 calls, ``_initialize`` included, and their results.
    """

    results: Results

    def __init__(
        self, wasm: Wasm, *, imports: Imports | None = None, **options: Unpack[SessionOptions]
    ) -> None:
        self._open(wasm, session_options(options, imports))

    @classmethod
    def of(cls, wasm: Wasm, options: Options, original: Original | None = None) -> Self:
        """Open a session with options that are a record; ``original``: what is known of ``wasm`` already."""
        expect("options", options, _RECORD)
        session = cls.__new__(cls)
        session._open(wasm, options, original)
        return session

    def _open(self, wasm: Wasm, options: Options, original: Original | None = None) -> None:
        if options.isolate:
            raise OptionError(
                "a session is not isolated: it lives in this process; `wizen` and `Wizer.run` can be"
            )
        PROGRESS.begin()
        self._options = options
        binary = to_binary(wasm)
        if original is not None and original.wasm is not binary:  # it is of the text
            original = None
        self._opened: Guest | None = _guest(binary, options, original)
        self.results = self._opened.results

    def __repr__(self) -> str:
        return f"<Session: {', '.join(f'{name} {value}' for name, value in self._facts())}>"

    def _repr_html_(self) -> str:
        from wizer.markup import html_table

        return html_table("Session", self._facts())

    def _facts(self) -> Iterator[tuple[str, object]]:
        """Yield what is known without asking the instance, which another thread may be using."""
        if self._opened is None:
            yield "is", "closed"
            return
        yield "of a", "component" if self.is_component else "module"
        yield "exports:", len(self._opened.exports)
        yield "imports:", len(self._opened.imports)
        yield "calls:", len(self.results)
        if self.results:
            yield "last:", shown(self.results[-1][0])

    def beside(self, snapshot: bytes) -> Session:
        """Open a snapshot of this session with the same options, except that it prints nothing.

        What initialises is not run: the snapshot is initialised.
        """
        wasi = self._options.wasi
        if wasi is not None:
            wasi = replace(wasi, stdin="null", stdout="null", stderr="null")
        return Session.of(snapshot, self._options.changed(wasi=wasi, trace=None, initialize=False))

    def initialize(self, calls: Iterable[str]) -> None:
        """Make calls that initialise, given as text.

        ``_initialize`` has run when the session was opened, and does not run again.
        """
        if isinstance(calls, str) or not isinstance(calls, Iterable):
            refuse("calls", calls, "a sequence of calls")
        for text in calls:
            if not self.has_run(text):
                self.call_text(text)

    def calls(self, options: Options) -> tuple[str, ...]:
        """Return the calls that initialise here: those of the options or, where none were named, the default.

        That is ``wizer-initialize``, and where there is only what the standalone tool called it up to version
        10, ``wizer.initialize``.
        """
        if options.init_func is not None or self.is_component:
            return options.init_funcs
        exports = self.module.exports_by_name
        return (OLD_INIT_FUNC,) if OLD_INIT_FUNC in exports and INIT_FUNC not in exports else (INIT_FUNC,)

    def called_name(self, text: str) -> str:
        """Return the export that a call given as text calls.

        Raises:
            OptionError: the text is no call.
        """
        return self._guest.called_name(text)

    @property
    def store(self) -> Store:
        """The ``wasmtime.Store`` that everything lives in."""
        return self._guest.store

    @property
    def module(self) -> Module:
        """The parsed module; raises `OptionError` for a component."""
        return self._guest.module

    @property
    def is_component(self) -> bool:
        """Whether this is a component's session, and no module's."""
        return self._guest.is_component

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _guest(self) -> Guest:
        if self._opened is None:
            raise OptionError("the session is closed")
        return self._opened

    def close(self) -> None:
        """Let the instance go; where there are views of its memory, as soon as they are gone.

        Raises:
            OptionError: another thread uses the session, or one of its functions is running.
        """
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
        expect("name", name, TEXT)
        return self._guest.call(name, *args)

    def call_text(self, text: str) -> Any:
        """Call a function given as text: ``setup`` or ``setup(3, 0x10)``, with WAVE values for a component.

        Raises:
            OptionError, TrapError, ExitError, LimitError: as for `call`.
        """
        expect("text", text, TEXT)
        return self._guest.call_text(text)

    def has_run(self, text: str) -> bool:
        """Whether opening the session made this call: ``_initialize`` of a module."""
        expect("text", text, TEXT)
        return self._guest.has_run(text)

    def shown(self, name: str, results: tuple[Any, ...]) -> str:
        """Return the results of a call of ``name`` as text, in WAVE notation for a component."""
        expect("name", name, TEXT)
        expect("results", results, _RESULTS)
        return self._guest.shown(name, results)

    def dropped_sections(self) -> list[str]:
        """Return the names of the custom sections that a snapshot lacks: they describe an object file."""
        return self._guest.dropped_sections()

    @asking_for_numpy()
    def state(self) -> State:
        """Return the state of a module as it is now; its memories are views on what is live."""
        return self._guest.state()

    @asking_for_numpy()
    def states(self) -> CoreStates:
        """Return the state of a module, or of each core instance of a component with what to call it."""
        return self._guest.states()

    def memory(self, name: str | None = None) -> memoryview:
        """Return a writable view of bytes on a memory: the export ``name``, or the module's first memory.

        It has the size that the memory has now: take a new one after each call. Where memory may move when it
        grows (64-bit ones beyond 1 TiB, and where `EngineConfig.memory_reservation` or no limit on memory was
        asked for), no guest code runs as long as there are views.

        Raises:
            OptionError: there is no such memory, or this is a component.
        """
        expect("name", name, or_none(TEXT))
        return self._guest.memory(name)

    def read_string(
        self, address: int, size: int | None = None, *, encoding: str = "utf-8", memory: str | None = None
    ) -> str:
        """Return text in a memory: of ``size`` bytes, or up to the first byte that is zero.

        Args:
            address: where it begins.
            size: how many bytes it has; None: it ends before a zero.
            encoding: how they are read.
            memory: the export; None: the module's first memory.

        Raises:
            OptionError: there is no such memory, range or text, or this is a component.
        """
        return self._typed(memory).read_string(address, size, encoding)

    def unpack(self, format: str, address: int, *, memory: str | None = None) -> tuple[Any, ...]:
        """Return the values that stand at an address, in a format of the ``struct`` module: ``"IHd"``.

        A memory is little-endian, and there are no gaps but those of the format (``x``).

        Raises:
            OptionError: there is no such memory, range or format, or this is a component.
        """
        return self._typed(memory).unpack(format, address)

    def pack(self, format: str, address: int, *values: Any, memory: str | None = None) -> None:
        """Write values to an address, in a format as of `unpack`.

        Raises:
            OptionError: as for `unpack`, or the values do not fit.
        """
        self._typed(memory).pack(format, address, values)

    @asking_for_numpy()
    def array(self, dtype: ElementType, address: int, count: int, *, memory: str | None = None) -> Elements:
        """Return elements of a memory as a NumPy array, which is a writable view as that of `memory` is.

        Args:
            dtype: the type of an element: ``"u4"``, ``np.float64``; little-endian unless it says otherwise.
            address: where the first one begins.
            count: how many there are.
            memory: the export; None: the module's first memory.

        Raises:
            OptionError: there is no such memory, range or type, or this is a component.
        """
        return self._typed(memory).array(dtype, address, count)

    def _typed(self, name: str | None) -> TypedMemory:
        from wizer.core.typed import TypedMemory

        view = self.memory(name)
        index = 0 if name is None else self.module.exports_by_name[name].index
        return TypedMemory(view, self.module.describe("memory", index))

    @property
    def exports(self) -> Mapping[str, Extern]:
        """The exports by name, with kind and type: of a component, its functions, also those of instances."""
        return {extern.name: extern for extern in self._guest.exports}

    @property
    def imports(self) -> tuple[Extern, ...]:
        """The imports in their order, with kind and type: of a component, also the functions of instances."""
        return tuple(self._guest.imports)

    @property
    def globals(self) -> MutableMapping[str, Any]:
        """The exported globals of a module, by name; mutable ones can be set."""
        return self._guest.globals

    def snapshot(self, **changes: Unpack[ExportChanges]) -> bytes:
        """Freeze the instance as it is now; the session goes on.

        Custom sections stay, but for `linking` and `reloc.…`, which describe a relocatable object.

        Args:
            changes: ``rename``, new export name to old export name, not for components; ``remove``, exports
                that the snapshot does not have (a module's ``_initialize`` is one of them); ``keep``,
                exports that it has all the same.

        Returns:
            The module or component in the binary format.

        Raises:
            OptionError: a name is not an export, or the limit of data segments is too small.
            LimitError: the snapshot is larger than it may be.
            StateError: the instance holds what no module can express.
        """
        return b"".join(self.chunks(**changes))

    def write(self, output: str | os.PathLike[str] | BinaryIO, **changes: Unpack[ExportChanges]) -> int:
        """Freeze the instance into a file or stream, without a copy of its memory; return the bytes written.

        Args:
            output: the file's path, or the stream.
            changes: as for `snapshot`.

        Raises:
            OutputError: the file could not be written; an old one is untouched.
            OptionError, LimitError, StateError: as for `snapshot`.
        """
        return write_chunks(self.chunks(**changes), output)

    def precompile(self, path: str | os.PathLike[str], **changes: Unpack[ExportChanges]) -> int:
        """Freeze the instance into a file of machine code for `wizer.load`; return the bytes written.

        Args:
            path: the file's path.
            changes: as for `snapshot`.

        Raises:
            OutputError: the file could not be written; an old one is untouched.
            OptionError, LimitError, StateError: as for `snapshot`.
        """
        expect("path", path, PATH)
        return _write_compiled(self.snapshot(**changes), self._options, path)

    @asking_for_numpy()
    def chunks(self, **changes: Unpack[ExportChanges]) -> list[Chunk]:
        """Return the snapshot in pieces; those of memory contents are views on the live memory.

        Where a limit refused the guest more memory, there is a `WizerWarning`: it may have gone on without.
        """
        check_changes(changes)
        for text in self._guest.refused_growth():
            warn(text)
        return self._bounded(self._guest.chunks(**changes))

    @asking_for_numpy()
    def rebuilt(self, states: Sequence[State], **changes: Unpack[ExportChanges]) -> list[Chunk]:
        """Return what `chunks` would be with other states, in the order of `states`."""
        expect("states", states, _STATES)
        check_changes(changes)
        try:
            return self._bounded(self._guest.rebuilt(states, **changes))
        except (LookupError, TypeError, AttributeError, AssertionError) as error:
            raise OptionError("the states are not of this module or component") from error

    def _bounded(self, chunks: list[Chunk]) -> list[Chunk]:
        size, most = sum(map(len, chunks)), self._options.max_output
        if most is not None and size > most:
            raise LimitError(f"the output of {size} bytes exceeds the limit of {most} bytes")
        return chunks


def initialized(wasm: Wasm, options: Options, initialize: Initialize | None = None) -> Session:
    """Open a session and initialise in it: with what ``options`` name, unless a function does it."""
    session = Session.of(wasm, options)
    try:
        if initialize is None:
            session.initialize(session.calls(options))
        else:
            initialize(session)
    except BaseException:
        session.close()
        raise
    return session


def export_changes(session: Session, options: Options) -> ExportChanges:
    """Return how the exports change in the snapshot of a session that was initialised by ``options``."""
    rename = options.rename or {}
    names = {session.called_name(text) for text in session.calls(options)} - set(rename.values())
    if options.keep_init_func:
        return {"rename": rename, "keep": names}
    return {"rename": rename, "remove": names}


def write_chunks(chunks: Iterable[Chunk], output: str | os.PathLike[str] | BinaryIO) -> int:
    """Write to a file, which appears whole or not at all, or to a stream; return the number of bytes."""
    if isinstance(output, str | os.PathLike):
        return write_path(chunks, output)
    if isinstance(output, io.TextIOBase) or not callable(getattr(output, "write", None)):
        refuse("output", output, "a path or a stream of bytes")
    try:
        return write_stream(chunks, output)
    except (OSError, TypeError, ValueError) as error:  # it is full, or closed
        raise OutputError("the stream does not take the output", [str(error)]) from error


def compiled_ahead(chunks: list[Chunk], options: Options) -> list[Chunk]:
    """Write a snapshot compiled where ``options`` ask for that; return its chunks.

    Raises:
        InvalidError: the engine cannot compile it; OutputError: the file could not be written.
    """
    if options.precompile is None:
        return chunks
    snapshot = b"".join(chunks)
    _write_compiled(snapshot, options, options.precompile)
    return [snapshot]


def _write_compiled(snapshot: bytes, options: Options, path: str | os.PathLike[str]) -> int:
    code = machine_code(snapshot, options)
    PROGRESS.at("writing")
    return write_path([memoryview(code)], path)


def machine_code(snapshot: bytes, options: Options) -> bytes | bytearray:
    """Return a snapshot compiled as ``options`` say."""
    from wizer.engine.ahead import compile_ahead
    from wizer.engine.config import EngineConfig

    PROGRESS.at("compiling", written_size(len(snapshot)))
    return compile_ahead(snapshot, options.engine or EngineConfig())


def _guest(binary: bytes, options: Options, original: Original | None) -> Guest:
    """Open what drives a binary; what components need is only imported for them."""
    if is_component(binary):
        from wizer.component.session import ComponentSession

        return ComponentSession(binary, options, original)
    from wizer.core.session import ModuleSession

    return ModuleSession(binary, options, original)
