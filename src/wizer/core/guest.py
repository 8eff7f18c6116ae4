"""What a session asks of what it drives: modules and components alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, MutableMapping, Sequence
from typing import Any, Protocol, TypeAlias, Unpack

from wizer.binary.assemble import Chunk
from wizer.binary.externs import ExternKind
from wizer.binary.module import Module
from wizer.core.externs import Extern
from wizer.core.state import State
from wizer.engine.types import Store
from wizer.options import ExportChanges

Results: TypeAlias = "list[tuple[str, tuple[Any, ...]]]"
CoreStates: TypeAlias = "list[tuple[str, Module, State]]"


class Guest(Protocol):
    """A live module or component.

    Members that only a module has raise `OptionError` for a component.

    Attributes:
        store: the ``wasmtime.Store`` that everything lives in.
        results: the last calls (see `wizer.core.calls.MOST_RESULTS`) and their results.
        is_component: whether it is a component.
    """

    store: Store
    results: Results
    is_component: bool

    @property
    def module(self) -> Module:
        """The parsed module."""
        ...

    @property
    def exports(self) -> list[Extern]:
        """The exports, in their order; a component's functions."""
        ...

    @property
    def imports(self) -> list[Extern]:
        """The imports, in their order."""
        ...

    @property
    def globals(self) -> MutableMapping[str, Any]:
        """The exported globals, by name; mutable ones can be set."""
        ...

    def memory(self, name: str | None = None) -> memoryview:
        """Return a writable view of bytes on a memory: the export ``name``, or the first memory."""
        ...

    def state(self) -> State:
        """Return the module's state as it is now; memories are views."""
        ...

    def states(self) -> CoreStates:
        """Return the state of each core instance as it is frozen, with what to call it and its module."""
        ...

    def call(self, name: str, *args: object) -> Any:
        """Call an exported function."""
        ...

    def call_text(self, text: str) -> Any:
        """Call a function given as text, with its arguments."""
        ...

    def refused_growth(self) -> list[str]:
        """Return what to say of memories and tables that were to grow, and by a limit did not."""
        ...

    def called_name(self, text: str) -> str:
        """Return the export that a call given as text calls."""
        ...

    def has_run(self, text: str) -> bool:
        """Whether opening it made this call."""
        ...

    def shown(self, name: str, results: tuple[Any, ...]) -> str:
        """Return the results of a call of ``name`` as text."""
        ...

    def dropped_sections(self) -> list[str]:
        """Return the names of the custom sections that a snapshot does not have."""
        ...

    def chunks(self, **changes: Unpack[ExportChanges]) -> list[Chunk]:
        """Return the snapshot in pieces; those of memory contents are views on the live memory."""
        ...

    def rebuilt(self, states: Sequence[State], **changes: Unpack[ExportChanges]) -> list[Chunk]:
        """Return what `chunks` would be with other states, in the order of `states`."""
        ...

    def close(self) -> None:
        """Let the instance go. Views of its memory must not be used any more."""
        ...


class InstrumentedGuest(Protocol):
    """A module or component to instantiate in an engine of one's own, and to freeze at any moment.

    Attributes:
        wasm: what to instantiate: the original with exports added.
        prefix: what the names of the added exports begin with.
    """

    wasm: bytes
    prefix: str

    @property
    def module(self) -> Module:
        """The original module, parsed; raises `OptionError` for a component."""
        ...

    def chunks(
        self,
        store: Store,
        instance: Any,
        capture_imports: Collection[tuple[ExternKind, int]],
        **changes: Unpack[ExportChanges],
    ) -> Iterable[Chunk]:
        """Freeze an instance of `wasm`; see `wizer.Instrumented.snapshot`."""
        ...
