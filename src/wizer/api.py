"""The library: pre-initialise a module in one call, or instrument it for an engine of your own."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from wizer.binary.externs import ExternKind
from wizer.binary.module import Module, parse_module
from wizer.calls import parse_call
from wizer.capture import capture
from wizer.engine.config import EngineConfig
from wizer.engine.text import Wasm, to_binary
from wizer.engine.wasi import Wasi
from wizer.engine.watchdog import Limits
from wizer.exports import INITIALIZE, final_exports
from wizer.instrument import Accessors, instrument
from wizer.rewrite import rewrite
from wizer.session import Imports, Session, UnknownImports

if TYPE_CHECKING:
    import wasmtime


class Wizer:
    """A pre-initialiser with its options; it may run on any number of modules.

    Args:
        init_func: the exported function that initialises, by name or as a call (``"setup(3, 0x10)"``), or
            several, which run in this order.
        keep_init_func: whether the snapshot still exports them.
        rename: new export name to old export name.
        max_data_segments: how many data segments a snapshot may have; some platforms allow 1,024.
        wasi, preload, unknown_imports, limits, engine: see `Session`.
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
    ) -> None:
        self.init_funcs = (init_func,) if isinstance(init_func, str) else tuple(init_func)
        self.keep_init_func = keep_init_func
        self.rename = dict(rename or {})
        self._session_options: dict[str, Any] = {
            "max_data_segments": max_data_segments,
            "wasi": wasi,
            "preload": preload,
            "unknown_imports": unknown_imports,
            "limits": limits,
            "engine": engine,
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

    def run(self, wasm: Wasm, imports: Imports | None = None) -> bytes:
        """Pre-initialise ``wasm`` and return the snapshot.

        Raises:
            WizerError: see `Session`, `Session.call` and `Session.snapshot`.
        """
        with self.session(wasm, imports) as session:
            self.initialize(session)
            return session.snapshot(**self.export_changes())

    def write(
        self, wasm: Wasm, output: str | os.PathLike[str] | BinaryIO, imports: Imports | None = None
    ) -> int:
        """Pre-initialise ``wasm`` into a file or stream; return the number of bytes written.

        Raises:
            WizerError: as for `run`; OutputError: the file could not be written.
        """
        with self.session(wasm, imports) as session:
            self.initialize(session)
            return session.write(output, **self.export_changes())

    def instrument(self, wasm: Wasm) -> Instrumented:
        """Prepare ``wasm`` for callers who own the engine.

        Raises:
            ParseError, InvalidError: the module is malformed.
        """
        return Instrumented(
            to_binary(wasm), rename=self.rename, max_data_segments=self._session_options["max_data_segments"]
        )


class Instrumented:
    """A module to instantiate in an engine of one's own, and to freeze at any moment, as often as one likes.

    Attributes:
        wasm: the module to instantiate, in the binary format: the original with exports added.
        module: the original, parsed.
        prefix: what the names of the added exports begin with.
    """

    def __init__(
        self, wasm: bytes, *, rename: Mapping[str, str] | None = None, max_data_segments: int = 10_000
    ) -> None:
        self.module: Module = parse_module(wasm)
        self._accessors: Accessors
        self.wasm, self._accessors = instrument(self.module)
        self.prefix = self._accessors.prefix
        self._rename = dict(rename or {})
        self._max_data_segments = max_data_segments

    def snapshot(
        self,
        store: wasmtime.Store,
        instance: wasmtime.Instance,
        *,
        rename: Mapping[str, str] | None = None,
        remove: Collection[str] = (),
        keep: Collection[str] = (INITIALIZE,),
        capture_imports: Collection[tuple[ExternKind, int]] = (),
    ) -> bytes:
        """Freeze ``instance``, an instance of `wasm` in ``store``.

        Args:
            store: the store of the instance.
            instance: the instance.
            rename: new export name to old export name.
            remove: exports that the snapshot does not have.
            keep: exports that it has all the same; ``_initialize`` by default, for only the caller knows
                whether it ran.
            capture_imports: imported memories, tables and globals, as ``("memory", 0)``, whose state the
                snapshot carries. The state of the others stays with their owner.

        Raises:
            OptionError: the instance is not one of `wasm`, or a name is not an export.
            StateError: the instance holds what no module can express.
        """
        from wizer.engine.reader import LiveInstance

        keep = [name for name in keep if name in self.module.exports_by_name]
        renames = {**self._rename, **(rename or {})}
        exports = final_exports(self.module, rename=renames, remove=remove, keep=keep)
        imported = {
            (kind, index)
            for kind, count in self.module.import_counts.items()
            for index in range(count)
            if kind in ("memory", "table", "global")
        }
        kept = frozenset(imported - set(capture_imports))
        state = capture(self.module, self._accessors, LiveInstance(store, instance), kept)
        return b"".join(rewrite(self.module, state, exports, self._max_data_segments))


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
