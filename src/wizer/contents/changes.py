"""Where two files differ: the records that `diff` returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from wizer.contents.records import Json, Problem, as_json
from wizer.records import field, record


@record
class SectionChange:
    """A section whose bytes are not the same in both files.

    Attributes:
        title, name: what it is, as in a `SectionInfo`; further ones of the same name are ``"name (2)"``.
        first, second: its size in the one and the other file; None where it is not there.
    """

    title: str
    name: str
    first: int | None
    second: int | None


@record
class Change:
    """An item that is not the same in both files.

    Attributes:
        kind: ``"type"``, ``"import"``, ``"export"``, ``"function"``, ``"table"``, ``"element"`` of a table,
            ``"memory"``, ``"tag"``, ``"global"``, ``"element segment"``, ``"data segment"``, ``"start"``,
            ``"custom section"``, ``"core module"`` or ``"component"``.
        index: in its index space (of the first file, unless only the second one has it); of an element, its
            place in the table; of a type, import, export or custom section, None.
        place: what to call it.
        first, second: what the one and the other file have there; empty where it is not there.
    """

    kind: str
    index: int | None
    place: str
    first: str
    second: str

    @property
    def how(self) -> Literal["added", "removed", "changed"]:
        """Whether only the second file has it, only the first, or both."""
        if not self.first:
            return "added"
        return "changed" if self.second else "removed"


@record
class RangeChange:
    """A range of a memory that is not the same in both files.

    Attributes:
        start, end: its addresses.
        differing: how many of its bytes differ; between them are no more than `MemoryChange.gap` equal ones.
        place: what is there: a symbol, or a region and the distance from its beginning.
        first, second: what the one and the other file have there: bytes in hexadecimal, the first ones only.
        first_text, second_text: the same as text, where it is readable; otherwise empty.
    """

    start: int
    end: int
    differing: int
    place: str
    first: str
    second: str
    first_text: str
    second_text: str


@record
class RegionChange:
    """A region of a memory.

    Attributes:
        name, start, end: as of a `Region`.
        differing: how many bytes differ.
        first_nonzero, second_nonzero: how many bytes are not zero in the one and the other file.
        first_stored, second_stored: how many of its bytes stand in data segments.
    """

    name: str
    start: int
    end: int
    differing: int
    first_nonzero: int
    second_nonzero: int
    first_stored: int
    second_stored: int


@record
class MemoryChange:
    """A memory whose contents are not the same in both files, or not its size.

    Attributes:
        index, name: as of a `Memory`.
        first_pages, second_pages: its minimum in the one and the other file; the page size is the first's.
        differing: how many bytes differ.
        regions: the regions of the larger one.
        gap: up to how many equal bytes between two that differ are in one range.
        ranges: where bytes differ, ascending.
        bucket, density: for each bucket, how many bytes differ; as of a `Memory`.
    """

    index: int
    name: str
    first_pages: int
    second_pages: int
    differing: int
    regions: tuple[RegionChange, ...]
    gap: int
    ranges: tuple[RangeChange, ...]
    bucket: int
    density: tuple[int, ...]


@record
class Diff:
    """Where two modules or components differ.

    Attributes:
        first, second: what to call them: files, or parts of components.
        first_size, second_size: their bytes.
        identical: whether they are the same, byte for byte.
        sections: the sections whose bytes differ.
        changes: the items that differ; memories are not among them, nor are data segments whose contents
            only stand in other segments.
        memories: the memories that differ.
        parts: the parts of components that differ.
        problems: what of the one and the other cannot be read, and was not compared.
    """

    first: str
    second: str
    first_size: int
    second_size: int
    identical: bool
    sections: tuple[SectionChange, ...] = ()
    changes: tuple[Change, ...] = ()
    memories: tuple[MemoryChange, ...] = ()
    parts: tuple[Diff, ...] = ()
    problems: tuple[tuple[Problem, ...], tuple[Problem, ...]] = field(default_factory=lambda: ((), ()))

    def __repr__(self) -> str:
        return f"<Diff: {', '.join(f'{name} {value}' for name, value in self._facts())}>"

    def _repr_html_(self) -> str:
        from wizer.markup import html_table

        return html_table(f"{self.first} and {self.second}", self._facts())

    def _facts(self) -> Iterator[tuple[str, object]]:
        """Yield what fits a line."""
        yield "identical:", self.identical
        yield "bytes:", f"{self.first_size} and {self.second_size}"
        yield "items that differ:", len(self.changes)
        for memory in self.memories[:4]:
            yield f"memory {memory.index}:", f"{memory.differing} bytes differ"
        if self.parts:
            yield "parts that differ:", len(self.parts)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return not self.identical

    def to_dict(self) -> dict[str, Json]:
        """Return what `wizer diff --json` prints."""
        document: dict[str, Json] = as_json(self)
        return document
