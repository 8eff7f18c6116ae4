"""The library: pre-initialise a module in one call, or instrument it for an engine of your own."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar, Unpack

from wizer.binary.assemble import Chunk
from wizer.binary.externs import INITIALIZE, ExternKind
from wizer.binary.sections import is_component
from wizer.checks import collection_kind, expect, instance_kind, shown
from wizer.engine.text import Wasm, to_binary
from wizer.errors import OptionError, asking_for_numpy
from wizer.options import (
    ExportChanges,
    Imports,
    Options,
    SessionOptions,
    SnapshotOptions,
    WizerOptions,
    check_changes,
    explains,
    snapshot_options,
    wizer_options,
)
from wizer.output import write_path, write_stream
from wizer.progress import PROGRESS
from wizer.records import field_defaults, replace
from wizer.session import Session, compiled_ahead, export_changes, initialized, machine_code, write_chunks

if TYPE_CHECKING:
    from wizer.binary.module import Module
    from wizer.core.guest import InstrumentedGuest
    from wizer.engine.types import ComponentInstance, Instance, Store
    from wizer.trust.findings import Audit

_T = TypeVar("_T")

_BINARY: Final = instance_kind("bytes in the binary format", bytes, bytearray, memoryview)
_ITEMS: Final = collection_kind(
    "a collection of items, each of them like `('memory', 0)`", instance_kind("an item", tuple)
)


@explains(WizerOptions)
class Wizer:
    """A pre-initialiser with its options; it may run on any number of modules.

    Args:
        options: as follows.

    Attributes:
        options: all options, those that were not given with their defaults.
    """

    def __init__(self, **options: Unpack[WizerOptions]) -> None:
        self.options: Options = wizer_options(options)

    def __repr__(self) -> str:
        return f"Wizer({', '.join(f'{name}={value}' for name, value in self._given())})"

    def _repr_html_(self) -> str:
        from wizer.markup import html_table

        return html_table("Wizer", self._given())

    def _given(self) -> Iterator[tuple[str, str]]:
        """Yield the options that are not as they are by default, with the beginning of their values."""
        for name, default in field_defaults(Options).items():
            if (value := getattr(self.options, name)) != default:
                yield name, shown(value)

    def session(
        self, wasm: Wasm, imports: Imports | None = None, **options: Unpack[SessionOptions]
    ) -> Session:
        """Open a session with these options and others; the initialisation functions have not run."""
        return Session.of(wasm, self.options.changed(imports=imports, **options))

    def run(self, wasm: Wasm, imports: Imports | None = None) -> bytes:
        """Pre-initialise ``wasm`` and return the snapshot.

        Raises:
            WizerError: see `Session`, `Session.call` and `Session.snapshot`.
        """
        return wizen_with(wasm, self.options.changed(imports=imports))

    def check(self, original: Wasm, snapshot: Wasm, imports: Imports | None = None) -> None:
        """Initialise ``original`` and check that ``snapshot`` is a snapshot of it made with these options.

        Raises:
            VerificationError: it is not; the first difference is named.
            WizerError: a module is invalid, or initialisation failed.
        """
        _verify(self.options.changed(imports=imports), original, snapshot)

    def write(
        self, wasm: Wasm, output: str | os.PathLike[str] | BinaryIO, imports: Imports | None = None
    ) -> int:
        """Pre-initialise ``wasm`` into a file or stream; return the number of bytes written.

        Raises:
            WizerError: as for `run`; OutputError: the file could not be written.
        """
        options = self.options.changed(imports=imports)
        if options.isolate:
            with _frozen_apart(wasm, options) as frozen:
                return write_chunks([frozen], output)
        with initialized(wasm, options) as session:
            return write_chunks(freeze(session, options), output)

    def instrument(self, wasm: Wasm) -> Instrumented:
        """Prepare a module or component for callers who own the engine.

        Raises:
            ParseError, InvalidError: it is malformed.
        """
        return Instrumented(
            to_binary(wasm),
            rename=self.options.rename,
            layout=self.options.layout,
            max_data_segments=self.options.max_data_segments,
            open_handles=self.options.open_handles,
            validate=self.options.validate,
            keep_libc_state=self.options.keep_libc_state,
            producers=self.options.producers,
        )


def wizen_with(wasm: Wasm, options: Options) -> bytes:
    """Return the snapshot that ``options`` make of a module; see `wizen`."""
    if options.isolate:
        with _frozen_apart(wasm, options) as frozen:
            return bytes(frozen)
    with initialized(wasm, options) as session:
        return b"".join(freeze(session, options))


def freeze(session: Session, options: Options) -> list[Chunk]:
    """Return the snapshot of an initialised session in pieces, verified and compiled as ``options`` ask.

    Raises:
        WizerError: as for `Wizer.run`.
    """
    changes = export_changes(session, options)
    if not options.verify:
        return compiled_ahead(session.chunks(**changes), options)
    from wizer.trust.verify import verified

    return compiled_ahead(verified(session, **changes), options)


@contextmanager
def _frozen_apart(wasm: Wasm, options: Options) -> Iterator[memoryview]:
    """Return the snapshot that a worker makes; where it is to be compiled, another one does that."""
    inner = replace(options, isolate=False, precompile=None)
    with _written_apart(_freeze_into, inner, _sendable(wasm)) as frozen:
        if options.precompile is not None:
            with _written_apart(_compile_into, inner, bytes(frozen)) as code:
                write_path([code], options.precompile)
        yield frozen


@contextmanager
def _written_apart(job: Callable[..., None], options: Options, wasm: Wasm) -> Iterator[memoryview]:
    """Return what a worker writes, in a file that has no name and goes with the view."""
    import mmap
    from tempfile import TemporaryFile

    from wizer.isolation.parent import isolated

    with TemporaryFile() as file:
        isolated(job, (options, wasm), options.bounds, file)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
            yield view


def _freeze_into(file: BinaryIO, options: Options, wasm: Wasm) -> None:
    with initialized(wasm, options) as session:
        write_stream(freeze(session, options), file)


def _compile_into(file: BinaryIO, options: Options, snapshot: bytes) -> None:
    PROGRESS.begin()
    code = machine_code(snapshot, options)
    PROGRESS.at("writing")
    write_stream([memoryview(code)], file)


def _apart(job: Callable[..., _T], options: Options, *modules: Wasm) -> _T:
    """Have a worker do what takes options and modules."""
    from wizer.isolation.parent import isolated

    return isolated(job, (replace(options, isolate=False), *map(_sendable, modules)), options.bounds)


def _sendable(wasm: Wasm) -> Wasm:
    return bytes(wasm) if isinstance(wasm, memoryview) else wasm


def _verify(options: Options, original: Wasm, snapshot: Wasm) -> None:
    from wizer.trust.verify import verify_with

    if options.isolate:
        _apart(verify_with, options, original, snapshot)
    else:
        verify_with(options, original, snapshot)


@explains(SnapshotOptions)
class Instrumented:
    """A module or component to instantiate in an engine of one's own, and to freeze at any moment.

    Args:
        wasm: the original, in the binary format.
        rename: new export name to old export name, for all snapshots.
        options: as follows.

    Attributes:
        wasm: what to instantiate, in the binary format: the original with exports added.
        prefix: what the names of the added exports begin with.
    """

    def __init__(
        self, wasm: bytes, *, rename: Mapping[str, str] | None = None, **options: Unpack[SnapshotOptions]
    ) -> None:
        expect("wasm", wasm, _BINARY)
        self._source = _instrumented(bytes(wasm), snapshot_options(options, rename))
        self.wasm: bytes = self._source.wasm
        self.prefix: str = self._source.prefix
        self._rename = dict(rename or {})

    def __repr__(self) -> str:
        return f"<Instrumented: {', '.join(f'{name} {value}' for name, value in self._facts())}>"

    def _repr_html_(self) -> str:
        from wizer.markup import html_table

        return html_table("Instrumented", self._facts())

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "what:", "component" if is_component(self.wasm) else "module"
        yield "bytes:", str(len(self.wasm))
        yield "prefix:", shown(self.prefix)

    @property
    def module(self) -> Module:
        """The original module, parsed; raises `OptionError` for a component."""
        return self._source.module

    @asking_for_numpy()
    def snapshot(
        self,
        store: Store,
        instance: Instance | ComponentInstance,
        *,
        capture_imports: Collection[tuple[ExternKind, int]] = (),
        **changes: Unpack[ExportChanges],
    ) -> bytes:
        """Freeze ``instance``, an instance of `wasm` in ``store``, as often as you like.

        Args:
            store: the store of the instance.
            instance: the instance.
            capture_imports: a module's imported memories, tables and globals, as ``("memory", 0)``, whose
                state the snapshot carries. The state of the others stays with their owner.
            changes: ``rename``, new export name to old export name, not for components; ``remove``, exports
                that the snapshot does not have; ``keep``, exports that it has all the same: a module's
                ``_initialize`` by default, for only the caller knows whether it ran.

        Raises:
            OptionError: the instance is not one of `wasm`, or a name is not an export.
            StateError: the instance holds what no module can express.
            LimitError: the store's epoch deadline has passed; its fuel does not matter and is left as it is.
        """
        from wizer.engine.watchdog import own_code

        expect("capture_imports", capture_imports, _ITEMS)
        check_changes(changes)
        every: ExportChanges = {
            "keep": (INITIALIZE,),
            **changes,
            "rename": {**self._rename, **(changes.get("rename") or {})},
        }
        with own_code(store):
            return b"".join(self._source.chunks(store, instance, capture_imports, **every))


def _instrumented(wasm: bytes, options: Options) -> InstrumentedGuest:
    """Instrument a binary; what components need is only imported for them."""
    if is_component(wasm):
        from wizer.component.freeze import ComponentInstrumented

        return ComponentInstrumented(wasm, options)
    from wizer.core.session import ModuleInstrumented

    return ModuleInstrumented(wasm, options)


@explains(WizerOptions)
def verify(
    original: Wasm, snapshot: Wasm, imports: Imports | None = None, **options: Unpack[WizerOptions]
) -> None:
    """Initialise ``original`` and check that ``snapshot`` is a snapshot of it.

    Args:
        original: the module.
        snapshot: the module that was made of it.
        imports: what the module imports; see `Session`.
        options: those that the snapshot was made with, as follows.

    Raises:
        VerificationError: it is not; the first difference is named.
        OptionError: an option asks for a file (``precompile``): nothing is written here.
        WizerError: a module is invalid, or initialisation failed.
    """
    _verify(_writing_nothing(wizer_options(options, imports)), original, snapshot)


@explains(WizerOptions)
def wizen(wasm: Wasm, imports: Imports | None = None, **options: Unpack[WizerOptions]) -> bytes:
    """Pre-initialise a module: run its initialisation and return a module that starts after it.

    Args:
        wasm: the module: bytes (binary or text format), a string (text format) or the path of a file.
        imports: what it imports; see `Session`.
        options: as follows.

    Raises:
        WizerError: something is wrong; the message names it.
    """
    return wizen_with(wasm, wizer_options(options, imports))


@explains(WizerOptions)
def audit(wasm: Wasm, imports: Imports | None = None, **options: Unpack[WizerOptions]) -> Audit:
    """Find out what of chance, time, environment and files initialisation leaves in a snapshot.

    Args:
        wasm: the module.
        imports: what it imports; see `Session`.
        options: as follows; ``deterministic`` has no effect here.

    Raises:
        WizerError: as for `Wizer.run`; only the first run's failure is an error.
    """
    from wizer.trust.audit import audit_with

    given = _writing_nothing(wizer_options(options, imports))
    return _apart(audit_with, given, wasm) if given.isolate else audit_with(given, wasm)


def _writing_nothing(options: Options) -> Options:
    """Return options for what writes nothing; raise `OptionError` where they ask for a file."""
    if options.precompile is not None:
        raise OptionError("nothing is written here, so that there is no effect of the option `precompile`")
    return options
