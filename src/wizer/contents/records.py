"""What is known of a file: the records that `inspect` returns, and their JSON form.

All positions and sizes are bytes, but for pages of memories and elements of tables. Positions in the file
count from the beginning of the whole file, also those of what is inside a component.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from wizer.binary.externs import ExternKind
from wizer.binary.segments import Mode
from wizer.records import field, field_names, record

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


@record
class SectionInfo:
    """A section, or what else takes bytes of a file: ``"header"``, ``"unreadable"``.

    Attributes:
        title: what kind of section it is: ``"data"``, ``"custom"``, ``"core module"``.
        name: the name of a custom section, otherwise empty.
        start, size: where it stands in the file, its own header included.
        items: how many items it has; None where that has no meaning.
        compressed: its size when compressed as by ``gzip``, without the header that gzip adds.
    """

    title: str
    name: str
    start: int
    size: int
    items: int | None
    compressed: int


@record
class Region:
    """A part of a memory.

    Attributes:
        name: what is there: ``"static data"``, ``"bss"``, ``"stack"``, ``"heap"``, ``"unused"`` below the
            first address of data, or several of these where nothing says where one ends:
            ``"bss, stack"``. ``"contents"`` where nothing says anything.
        start, end: its addresses.
        nonzero: how many of its bytes are not zero.
        stored: how many of its bytes stand in data segments.
        compressed: what these take when compressed.
        entropy: of these, in bits for each byte, 0 to 8.
    """

    name: str
    start: int
    end: int
    nonzero: int
    stored: int
    compressed: int
    entropy: float


@record
class Block:
    """A range of memory that is full of something: no run of 64 zero bytes is in it.

    Attributes:
        start, end: its addresses.
        place: what is there: a symbol, or a region and the distance from its beginning.
    """

    start: int
    end: int
    place: str


@record
class Strings:
    """The readable text in a memory: runs of six printable ASCII characters and more.

    Attributes:
        count: how many.
        size: how many bytes they are.
        longest: the first of the longest ones, by address: what stands there, cut.
    """

    count: int
    size: int
    longest: tuple[tuple[int, str], ...]


@record
class Symbol:
    """What a module calls a range of a memory; of some, only the beginning is known."""

    name: str
    start: int
    end: int


@record
class Memory:
    """A memory as it is after instantiation, before any code runs.

    Attributes:
        index: in the index space.
        name: what the module calls it, or nothing.
        imported: whether it is an import.
        pages, page_size: its minimum, and the bytes of a page.
        maximum: in pages, if there is one.
        is64, shared: as its type says.
        nonzero: how many bytes are not zero.
        regions: all of it, region by region, ascending.
        bucket: the bytes of memory that an entry of ``density`` is for, a power of two.
        density: for each bucket, how many of its bytes are not zero; trailing zeros are left out.
        blocks: the largest blocks, the largest first.
        strings: the text in it.
        symbols: names of ranges, by address.
        segments: how many active segments it has.
        stored: how many bytes are in them, zeros included.
        overhead: how many bytes they take beside: where each goes, and how long it is.
        compressed: what ``stored`` takes when compressed.
        entropy: of these, in bits for each byte.
        mapped: whether wasmtime maps it into instances; otherwise every instance copies it. None where it
            has no contents.
        obstacle: why it is copied; empty otherwise.
    """

    index: int
    name: str
    imported: bool
    pages: int
    page_size: int
    maximum: int | None
    is64: bool
    shared: bool
    nonzero: int
    regions: tuple[Region, ...]
    bucket: int
    density: tuple[int, ...]
    blocks: tuple[Block, ...]
    strings: Strings
    symbols: tuple[Symbol, ...]
    segments: int
    stored: int
    overhead: int
    compressed: int
    entropy: float
    mapped: bool | None
    obstacle: str

    @property
    def size(self) -> int:
        """Its bytes after instantiation."""
        return self.pages * self.page_size


@record
class SegmentInfo:
    """A data segment.

    Attributes:
        index: in the index space.
        mode: active or passive.
        memidx: the memory of an active one.
        offset: the address where it goes; None of a passive one, and where only a run tells.
        size: how many bytes it holds.
        nonzero: how many of these are not zero.
        overhead: how many bytes of the file it takes beside.
    """

    index: int
    mode: Mode
    memidx: int
    offset: int | None
    size: int
    nonzero: int
    overhead: int


@record
class TableInfo:
    """A table.

    Attributes:
        index, name, imported: as of a `Memory`.
        type: of its elements.
        size, maximum: in elements.
        filled: how many elements active segments set.
        functions: how many different functions they refer to.
        stored: how many bytes these segments take.
    """

    index: int
    name: str
    imported: bool
    type: str
    size: int
    maximum: int | None
    filled: int
    functions: int
    stored: int


@record
class GlobalInfo:
    """A global.

    Attributes:
        index, name, imported: as of a `Memory`.
        type: of its value.
        mutable: whether it can change.
        value: what it begins as: a number as the text format has it, ``"null"``, ``"func 3"``,
            ``"global 2"``, the hexadecimal bytes of another expression; empty of an import.
    """

    index: int
    name: str
    imported: bool
    type: str
    mutable: bool
    value: str


@record
class FunctionInfo:
    """A function with one of the largest bodies.

    Attributes:
        index, name: as of a `Memory`.
        size: the bytes of its body.
    """

    index: int
    name: str
    size: int


@record
class ObjectInfo:
    """Objects of one type that are made when the module is instantiated.

    Attributes:
        typeidx: their type.
        name: what the module calls it, or nothing.
        form: ``"struct"`` or ``"array"``.
        count: how many the module says that it makes.
        exact: whether these are all; otherwise a snapshot's restore function makes more of them.
    """

    typeidx: int
    name: str
    form: Literal["struct", "array"]
    count: int
    exact: bool


@record
class Provenance:
    """Who made a module.

    Attributes:
        snapshot: whether it says that it is a snapshot that Wizer for Python made.
        version: by which version; empty where that is not said.
        options: what it was made with, by name: ``layout``; and what its original was: ``size`` of the file,
            ``pages`` of memory 0, ``data``, from where to where that had contents.
        restore: how many bytes of functions it has that build objects when it is instantiated.
        producers: what its ``producers`` section says: tools and their versions by field.
    """

    snapshot: bool
    version: str
    options: Mapping[str, str]
    restore: int
    producers: Mapping[str, Mapping[str, str]]


@record
class Problem:
    """Something that cannot be read.

    Attributes:
        message: what is wrong.
        start: where in the file.
    """

    message: str
    start: int


@record
class ModuleInfo:
    """What is in a core module.

    Attributes:
        imports, exports: how many of each kind.
        functions: how many it defines.
        largest: the largest of them, the largest first.
        memories, tables, globals, segments: these, with the imports.
        objects: the objects that are made, by type; the most numerous first.
        start: the function that instantiation calls.
        provenance: who made it.
    """

    imports: Mapping[ExternKind, int]
    exports: Mapping[ExternKind, int]
    functions: int
    largest: tuple[FunctionInfo, ...]
    memories: tuple[Memory, ...]
    tables: tuple[TableInfo, ...]
    globals: tuple[GlobalInfo, ...]
    segments: tuple[SegmentInfo, ...]
    objects: tuple[ObjectInfo, ...]
    start: int | None
    provenance: Provenance


@record
class Inspection:
    """What is in a file, or in a part of a component.

    Attributes:
        name: of the file, or what to call the part: ``core module 3 ("libc.so")``.
        kind: ``"module"``, ``"component"``, or ``"unknown"`` where it is no WebAssembly.
        start, size: where it stands in the file; 0 and the file's size for the whole.
        compressed: its size when compressed as by ``gzip``, section by section.
        sections: what takes its bytes, in order and without gaps: their sizes add up to ``size``.
        module: the contents of a core module.
        parts: the core modules and components inside a component.
        problems: what cannot be read; all the rest is reported.
    """

    name: str
    kind: Literal["module", "component", "unknown"]
    start: int
    size: int
    compressed: int
    sections: tuple[SectionInfo, ...]
    module: ModuleInfo | None = None
    parts: tuple[Inspection, ...] = ()
    problems: tuple[Problem, ...] = field(default_factory=tuple)

    def __repr__(self) -> str:
        return f"<Inspection: {', '.join(f'{name} {value}' for name, value in self._facts())}>"

    def _repr_html_(self) -> str:
        from wizer.markup import html_table

        return html_table(f"{self.kind} {self.name}", self._facts())

    def _facts(self) -> Iterator[tuple[str, object]]:
        """Yield what fits a line."""
        yield "kind:", self.kind
        yield "bytes:", self.size
        yield "compressed:", self.compressed
        if self.module is not None:
            yield "functions:", self.module.functions
            for memory in self.module.memories[:4]:
                yield f"memory {memory.index}:", f"{memory.nonzero} of {memory.size} bytes are not zero"
        if self.parts:
            yield "parts:", len(self.parts)
        if self.problems:
            yield "problems:", len(self.problems)

    def to_dict(self) -> dict[str, Json]:
        """Return what `wizer inspect --json` prints for a file."""
        document: dict[str, Json] = as_json(self)
        return document


def as_json(held: Any) -> Any:
    """Return records, mappings and tuples as dictionaries and lists that ``json`` takes."""
    if isinstance(held, Mapping):
        return {str(key): as_json(value) for key, value in held.items()}
    if isinstance(held, list | tuple):
        if held and type(held[0]) is int:  # a density has thousands
            return list(held)
        return [as_json(value) for value in held]
    if "__dataclass_fields__" in type(held).__dict__:  # asking for the attribute makes a dataclass
        return {name: as_json(getattr(held, name)) for name in field_names(type(held))}
    return held
