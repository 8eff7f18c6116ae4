"""The library: pre-initialise a module in one call, or instrument it for an engine of your own."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from wizer.binary.assemble import Chunk
from wizer.binary.externs import INITIALIZE, ExternKind
from wizer.binary.sections import is_component
from wizer.core.calls import parse_call
from wizer.engine.config import EngineConfig
from wizer.engine.deterministic import Deterministic, DeterministicOption, as_deterministic
from wizer.engine.text import Wasm, to_binary
from wizer.engine.wasi import Wasi
from wizer.engine.watchdog import Limits
from wizer.errors import OptionError
from wizer.session import MAX_OUTPUT, Imports, OpenHandles, Session, UnknownImports, write_chunks

if TYPE_CHECKING:
    import wasmtime
    import wasmtime.component

    from wizer.binary.module import Module
    from wizer.component.freeze import ComponentInstrumented
    from wizer.core.session import ModuleInstrumented
    from wizer.trust.audit import Audit


class Wizer:
    """A pre-initialiser with its options; it may run on any number of modules.

    Args:
        init_func: the exported function that initialises, by name or as a call (``"setup(3, 0x10)"``), or
            several, which run in this order.
        keep_init_func: whether the snapshot still exports them.
        rename: new export name to old export name.
        max_data_segments: how many data segments a snapshot may have; some platforms allow 1,024.
        verify: check each snapshot against what it was made from, before it is handed out.
        wasi, preload, unknown_imports, limits, engine, deterministic, max_output, open_handles: see
            `Session`.
    """

    def __init__(
        self,
        *,
        init_func: str | Sequence[str] = "wizer-initialize",
        keep_init_func: bool = False,
        rename: Mapping[str, str] | None = None,
        max_data_segments: int = 10_000,
        wasi: Wasi | None = None,
        preload: Mapping[str, Wasm] | None = None,
        unknown_imports: UnknownImports = "trap",
        limits: Limits | None = None,
        engine: EngineConfig | None = None,
        deterministic: DeterministicOption = False,
        max_output: int | None = MAX_OUTPUT,
        open_handles: OpenHandles = "error",
        verify: bool = False,
    ) -> None:
        self.init_funcs = (init_func,) if isinstance(init_func, str) else tuple(init_func)
        self.keep_init_func = keep_init_func
        self.rename = dict(rename or {})
        self.verify = verify
        self.wasi = wasi
        self._session_options: dict[str, Any] = {
            "max_data_segments": max_data_segments,
            "wasi": wasi,
            "preload": preload,
            "unknown_imports": unknown_imports,
            "limits": limits,
            "engine": engine,
            "deterministic": deterministic,
            "max_output": max_output,
            "open_handles": open_handles,
        }

    def session(self, wasm: Wasm, imports: Imports | None = None, **options: Any) -> Session:
        """Open a session with these options; the initialisation functions have not run."""
        return Session(wasm, imports=imports, **{**self._session_options, **options})

    def initialize(self, session: Session) -> None:
        """Run the initialisation functions in ``session``.

        ``_initialize`` has run when the session was opened, and does not run again.
        """
        for text in self.init_funcs:
            if not session.has_run(text):
                session.call_text(text)

    def export_changes(self) -> dict[str, Any]:
        """Return the arguments for `Session.snapshot` and `Session.write` that these options come to."""
        names = {parse_call(text).name for text in self.init_funcs} - set(self.rename.values())
        key = "keep" if self.keep_init_func else "remove"
        return {"rename": self.rename, key: names}

    def freeze(self, session: Session, changes: Mapping[str, Any]) -> list[Chunk]:
        """Return the snapshot of ``session`` in pieces, verified where that is asked for.

        Raises:
            VerificationError: it is not what it was made from.
            OptionError, StateError: as for `Session.snapshot`.
        """
        chunks = session.chunks(**changes)
        if not self.verify:
            return chunks
        from wizer.trust.verify import verify_session

        snapshot = b"".join(chunks)
        verify_session(session, snapshot, **changes)
        return [snapshot]

    def run(self, wasm: Wasm, imports: Imports | None = None) -> bytes:
        """Pre-initialise ``wasm`` and return the snapshot.

        Raises:
            WizerError: see `Session`, `Session.call` and `Session.snapshot`.
        """
        with self.session(wasm, imports) as session:
            self.initialize(session)
            return b"".join(self.freeze(session, self.export_changes()))

    def check(self, original: Wasm, snapshot: Wasm, imports: Imports | None = None, **options: Any) -> None:
        """Initialise ``original`` and check that ``snapshot`` is a snapshot of it made with these options.

        Raises:
            VerificationError: it is not; the first difference is named.
            WizerError: a module is invalid, or initialisation failed.
        """
        from wizer.trust.verify import VerificationError, verify_session, without_own

        binary = to_binary(snapshot)
        with self.session(original, imports, **options) as session:
            self.initialize(session)
            try:
                verify_session(session, binary, **self.export_changes())
            except VerificationError as error:
                if as_deterministic(self._session_options["deterministic"]) is not None:
                    raise
                elsewhere = Deterministic(
                    network=True, seed="elsewhere", start=123_456_789_012_345_678, step=1_234_567
                )
                with self.session(original, imports, deterministic=elsewhere, **options) as another:
                    self.initialize(another)
                    raise without_own(error, session, another) from None

    def write(
        self, wasm: Wasm, output: str | os.PathLike[str] | BinaryIO, imports: Imports | None = None
    ) -> int:
        """Pre-initialise ``wasm`` into a file or stream; return the number of bytes written.

        Raises:
            WizerError: as for `run`; OutputError: the file could not be written.
        """
        with self.session(wasm, imports) as session:
            self.initialize(session)
            return write_chunks(self.freeze(session, self.export_changes()), output)

    def instrument(self, wasm: Wasm) -> Instrumented:
        """Prepare a module or component for callers who own the engine.

        Raises:
            ParseError, InvalidError: it is malformed.
        """
        options = {name: self._session_options[name] for name in ("max_data_segments", "open_handles")}
        return Instrumented(to_binary(wasm), rename=self.rename, **options)


class Instrumented:
    """A module or component to instantiate in an engine of one's own, and to freeze at any moment.

    Attributes:
        wasm: what to instantiate, in the binary format: the original with exports added.
        prefix: what the names of the added exports begin with.
    """

    def __init__(
        self,
        wasm: bytes,
        *,
        rename: Mapping[str, str] | None = None,
        max_data_segments: int = 10_000,
        open_handles: OpenHandles = "error",
    ) -> None:
        self._source = _instrumented(wasm, max_data_segments, open_handles)
        self.wasm = self._source.wasm
        self.prefix = self._source.prefix
        self._rename = dict(rename or {})

    @property
    def module(self) -> Module:
        """The original module, parsed; raises `OptionError` for a component."""
        from wizer.core.session import ModuleInstrumented

        if not isinstance(self._source, ModuleInstrumented):
            raise OptionError("a component is not one module")
        return self._source.module

    def snapshot(
        self,
        store: wasmtime.Store,
        instance: wasmtime.Instance | wasmtime.component.Instance,
        *,
        rename: Mapping[str, str] | None = None,
        remove: Collection[str] = (),
        keep: Collection[str] = (INITIALIZE,),
        capture_imports: Collection[tuple[ExternKind, int]] = (),
    ) -> bytes:
        """Freeze ``instance``, an instance of `wasm` in ``store``, as often as you like.

        Args:
            store: the store of the instance.
            instance: the instance.
            rename: new export name to old export name; not for components.
            remove: exports that the snapshot does not have.
            keep: exports that it has all the same; a module's ``_initialize`` by default, for only the
                caller knows whether it ran.
            capture_imports: a module's imported memories, tables and globals, as ``("memory", 0)``, whose
                state the snapshot carries. The state of the others stays with their owner.

        Raises:
            OptionError: the instance is not one of `wasm`, or a name is not an export.
            StateError: the instance holds what no module can express.
            LimitError: the store's epoch deadline has passed; its fuel does not matter and is left as it is.
        """
        from wizer.engine.watchdog import own_code

        source: Any = self._source  # the caller pairs a module's instance with a module
        with own_code(store):
            frozen: bytes = source.snapshot(
                store,
                instance,
                rename={**self._rename, **(rename or {})},
                remove=remove,
                keep=keep,
                capture_imports=capture_imports,
            )
        return frozen


def _instrumented(
    wasm: bytes, max_data_segments: int, open_handles: OpenHandles
) -> ModuleInstrumented | ComponentInstrumented:
    """Instrument a binary; what components need is only imported for them."""
    if is_component(wasm):
        from wizer.component.freeze import ComponentInstrumented

        return ComponentInstrumented(wasm, max_data_segments=max_data_segments, open_handles=open_handles)
    from wizer.core.session import ModuleInstrumented

    return ModuleInstrumented(wasm, max_data_segments=max_data_segments)


def verify(original: Wasm, snapshot: Wasm, imports: Imports | None = None, **options: Any) -> None:
    """Initialise ``original`` and check that ``snapshot`` is a snapshot of it.

    Args:
        original: the module.
        snapshot: the module that was made of it.
        imports: what the module imports; see `Session`.
        options: those that the snapshot was made with; see `Wizer`.

    Raises:
        VerificationError: it is not; the first difference is named.
        WizerError: a module is invalid, or initialisation failed.
    """
    Wizer(**options).check(original, snapshot, imports)


def wizen(wasm: Wasm, imports: Imports | None = None, **options: Any) -> bytes:
    """Pre-initialise a module: run its initialisation and return a module that starts after it.

    Args:
        wasm: the module: bytes (binary or text format), a string (text format) or the path of a file.
        imports: what it imports; see `Session`.
        options: see `Wizer`.

    Raises:
        WizerError: something is wrong; the message names it.
    """
    return Wizer(**options).run(wasm, imports)


def audit(wasm: Wasm, imports: Mapping[str, Any] | None = None, **options: Any) -> Audit:
    """Find out what of chance, time, environment and files initialisation leaves in a snapshot.

    Args:
        wasm: the module.
        imports: what it imports; see `Session`.
        options: see `Wizer`; ``deterministic`` has no effect here.

    Raises:
        WizerError: as for `Wizer.run`; only the first run's failure is an error.
    """
    from wizer.trust.audit import audit_with

    return audit_with(Wizer(**options), wasm, imports)
