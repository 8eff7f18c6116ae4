"""The state of an instance as plain data: what capture reads and rewrite writes.

Nothing here holds a handle of an engine, with one exception for size: the contents of a memory stay a view
on the live memory until they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from wizer.binary.externs import ExternKind
from wizer.binary.values import Number
from wizer.records import field, record


@record
class Null:
    """A null reference; its type is that of the place it is in."""


@record
class FuncRef:
    """A reference to a function of the module, own or imported."""

    funcidx: int


@record
class GlobalRef:
    """A reference that an imported immutable global holds, where the module cannot name it in another way."""

    globalidx: int


@record
class I31:
    """An unboxed scalar, as an unsigned integer of 31 bits."""

    bits: int


@record
class ObjectRef:
    """A reference to an object of the heap: an index into `State.heap`.

    In a place of the extern hierarchy it is the object converted by ``extern.convert_any``.
    """

    object: int


Ref: TypeAlias = "Null | FuncRef | GlobalRef | I31 | ObjectRef"
Value: TypeAlias = "Number | Ref"

NULL = Null()


@record
class Struct:
    """A structure."""

    typeidx: int
    fields: tuple[Value, ...]


@record
class Array:
    """An array.

    Attributes:
        typeidx: its type.
        elements: the elements of an array of references, otherwise none.
        data: the elements of an array of numbers, packed in little-endian order.
    """

    typeidx: int
    elements: Sequence[Ref] = ()
    data: bytes = b""


@record
class Exn:
    """An exception: its tag and payload."""

    tagidx: int
    fields: tuple[Value, ...]


HeapObject: TypeAlias = "Struct | Array | Exn"


@record
class MemoryState:
    """A memory.

    Attributes:
        pages: its size in pages of its own page size.
        view: its contents, a view of bytes on the live memory.
        touched: byte ranges outside of which all is zero; None where that is not known.
    """

    pages: int
    view: memoryview
    touched: Sequence[tuple[int, int]] | None = None


@record
class TableState:
    """A table.

    Attributes:
        size: its size in elements.
        changed: the elements that differ from the table's initial element, by index in ascending order. What
            active segments wrote is among them, for those segments are replaced. None where the table still
            is as its active segments left it.
    """

    size: int
    changed: Mapping[int, Ref] | None = None


@record
class State:
    """What initialisation left behind. Keys are indices of the module's index spaces.

    Attributes:
        globals: the values of the globals that may differ from their initialisers.
        memories, tables: the memories and tables whose state the module owns.
        dropped_data, dropped_elements: passive segments that were dropped.
        elements: for passive segments whose elements are objects, the elements.
        imported: the values of imported immutable globals: their objects are not the module's own, and the
            state is good for these numbers only.
        heap: the objects that are reachable.
        borrowed: imported memories, tables and globals, as ``(kind, index)``, whose state stays with their
            owner.
    """

    globals: Mapping[int, Value] = field(default_factory=dict)
    memories: Mapping[int, MemoryState] = field(default_factory=dict)
    tables: Mapping[int, TableState] = field(default_factory=dict)
    dropped_data: frozenset[int] = frozenset()
    dropped_elements: frozenset[int] = frozenset()
    elements: Mapping[int, Sequence[Ref]] = field(default_factory=dict)
    imported: Mapping[int, Value] = field(default_factory=dict)
    heap: Sequence[HeapObject] = ()
    borrowed: frozenset[tuple[ExternKind, int]] = frozenset()

    def __repr__(self) -> str:
        return f"<State: {', '.join(f'{name} {value}' for name, value in self._facts()) or 'nothing'}>"

    def _repr_html_(self) -> str:
        from wizer.markup import html_table

        return html_table("State", self._facts())

    def _facts(self) -> Iterator[tuple[str, object]]:
        """Yield what there is and how many or how much of it."""
        for memidx, memory in self.memories.items():
            yield f"memory {memidx}:", f"{memory.pages} pages"
        for tableidx, table in self.tables.items():
            yield f"table {tableidx}:", f"{table.size} elements"
        counts = {
            "globals:": len(self.globals),
            "objects:": len(self.heap),
            "dropped segments:": len(self.dropped_data) + len(self.dropped_elements),
        }
        yield from ((name, count) for name, count in counts.items() if count)
