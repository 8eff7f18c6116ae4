"""A session: the pipeline held open in the middle, between running and capturing."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, TypeAlias

from wizer.binary.assemble import Chunk
from wizer.binary.externs import Export, ExternKind
from wizer.binary.module import Module, parse_module
from wizer.binary.types import FuncType
from wizer.calls import Call, convert_args, parse_call
from wizer.capture import capture
from wizer.engine.config import EngineConfig
from wizer.engine.text import Wasm, to_binary
from wizer.engine.wasi import Wasi
from wizer.engine.watchdog import Limits
from wizer.errors import OptionError
from wizer.exports import INITIALIZE, final_exports
from wizer.instrument import instrument, needs_cranelift
from wizer.output import write_path, write_stream
from wizer.rewrite import rewrite

Imports: TypeAlias = "Mapping[str, Mapping[str, Any] | Wasm]"
UnknownImports: TypeAlias = Literal["trap", "error", "default"]


class Session:
    """A live instance of a module that can be called, written to, and frozen at any moment.

    Opening it instantiates the module: its start function runs, and then ``_initialize`` where it is
    exported. Use it as a context manager, or call `close`.

    Args:
        wasm: the module: bytes (binary or text format), a string (text format) or the path of a file.
        imports: by module name, either a mapping from names to Python functions and ``wasmtime`` externs of
            `store`, or another module, which is instantiated. What a memory, table or global given here
            holds stays with its owner; what nobody gives is made by Wizer, and its state is frozen.
        wasi: what the guest may see of the host through WASI preview 1; None: nothing.
        preload: modules to instantiate first, by the name that they are imported under.
        unknown_imports: functions that nobody gives "trap" when they are called, are an "error" at once, or
            return the "default" values of their types.
        limits: bounds on time, fuel and memory.
        engine: how to compile.
        max_data_segments: how many data segments a snapshot may have.
        hard_exit: ends the process when a limit is met inside a host function, where no guest code runs.

    Raises:
        ParseError, InvalidError: the module is malformed or invalid.
        OptionError: an option makes no sense for this module.
        LinkError: an import is missing or of another type.
        TrapError, ExitError, LimitError: the start function or ``_initialize`` did not return.

    Attributes:
        module: the parsed module.
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
        hard_exit: Callable[[BaseException], None] | None = None,
    ) -> None:
        from wizer.engine.run import Run

        binary = to_binary(wasm)
        self.module: Module = parse_module(binary)
        self.results: list[tuple[str, tuple[object, ...]]] = []
        self._max_data_segments = max_data_segments
        instrumented, self._accessors = instrument(self.module)
        self._run = Run(
            self.module,
            instrumented,
            simple=not needs_cranelift(self.module),
            config=engine or EngineConfig(),
            limits=limits or Limits(),
            hard_exit=hard_exit,
        )
        self.store = self._run.store
        try:
            self._run.link(
                {name: _given(items) for name, items in {**(preload or {}), **(imports or {})}.items()},
                wasi,
                unknown_imports,
            )
            self._run.instantiate()
            if self.initialized:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        results = self._run.call(name, functype, args)
        self.results.append((name, results))
        return None if not results else results[0] if len(results) == 1 else results

    def call_text(self, text: str) -> Any:
        """Call a function given as text: ``setup`` or ``setup(3, 0x10)``."""
        call: Call = parse_call(text)
        functype = self.module.functype(self._function(call.name).index)
        return self.call(call.name, *convert_args(call, [str(param) for param in functype.params]))

    def _function(self, name: str) -> Export:
        export = self.module.exports_by_name.get(name)
        if export is None:
            raise OptionError(f"the Wasm module does not have a `{name}` export")
        if export.kind != "func":
            raise OptionError(f"the Wasm module's `{name}` export is not a function")
        return export

    def memory(self, name: str | None = None) -> memoryview:
        """Return a writable view of bytes on a memory: the export ``name``, or the module's first memory.

        The view is good until the memory grows or the session ends: take a new one after each call.

        Raises:
            OptionError: there is no such memory.
        """
        index = 0 if name is None else self._index(name, "memory")
        if index >= len(self.module.memories):
            raise OptionError("the Wasm module has no memory")
        return self._run.live.memory(f"{self._accessors.prefix}memory{index}")[0]

    @property
    def globals(self) -> MutableMapping[str, Any]:
        """The exported globals, by name; mutable ones can be set."""
        return _Globals(self)

    def _index(self, name: str, kind: ExternKind) -> int:
        export = self.module.exports_by_name.get(name)
        if export is None or export.kind != kind:
            raise OptionError(f"the Wasm module does not have a {kind} export `{name}`")
        return export.index

    def chunks(
        self,
        *,
        rename: Mapping[str, str] | None = None,
        remove: Collection[str] = (),
        keep: Collection[str] = (),
    ) -> list[Chunk]:
        """Return the snapshot in pieces; those of memory contents are views on the live memory."""
        exports = final_exports(self.module, rename=rename or {}, remove=remove, keep=keep)
        state = capture(self.module, self._accessors, self._run.live, self._run.kept)
        return rewrite(self.module, state, exports, self._max_data_segments)

    def snapshot(
        self,
        *,
        rename: Mapping[str, str] | None = None,
        remove: Collection[str] = (),
        keep: Collection[str] = (),
    ) -> bytes:
        """Freeze the instance as it is now; the session goes on.

        Args:
            rename: new export name to old export name.
            remove: exports that the snapshot does not have; ``_initialize`` is one of them.
            keep: exports that it has all the same.

        Returns:
            The module in the binary format.

        Raises:
            OptionError: a name is not an export, or the limit of data segments is too small.
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
            OptionError, StateError: as for `snapshot`.
        """
        chunks = self.chunks(rename=rename, remove=remove, keep=keep)
        if isinstance(output, str | os.PathLike):
            return write_path(chunks, output)
        return write_stream(chunks, output)


def _given(items: Any) -> Mapping[str, Any] | bytes:
    """Return what an import module name stands for: items, or another module in the binary format."""
    if isinstance(items, Mapping):
        return items
    return to_binary(items)


class _Globals(MutableMapping[str, Any]):
    """The exported globals of a session."""

    def __init__(self, session: Session) -> None:
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

    def _check(self, name: str) -> int:
        export = self._session.module.exports_by_name.get(name)
        if export is None or export.kind != "global":
            raise KeyError(name)
        return export.index
