"""A parsed module: its sections, its index spaces, and where everything stands in the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Final, TypeVar

from wizer.binary import sections as sec
from wizer.binary.expr import END, Expr, check_operands, read_expr
from wizer.binary.externs import (
    Export,
    ExternKind,
    ExternType,
    FuncIndex,
    GlobalType,
    Import,
    MemoryType,
    TableType,
    encode_globaltype,
    numbered,
    read_export,
    read_globaltype,
    read_imports,
    read_memorytype,
    read_tabletype,
    read_tagtype,
)
from wizer.binary.names import read_field_names, read_names
from wizer.binary.reader import Reader
from wizer.binary.sections import Section, split_sections
from wizer.binary.segments import DataSegment, ElementSegment, read_data, read_element
from wizer.binary.types import (
    ArrayType,
    ContType,
    FuncType,
    RefType,
    StructType,
    SubType,
    ValType,
    read_type_section,
)
from wizer.errors import ParseError
from wizer.records import record

T = TypeVar("T")


@record
class Table:
    """A table: its type, and the expression that initialises its elements where there is one."""

    type: TableType
    init: Expr | None = None


@record
class Global:
    """A global: its type, and its initialiser unless it is imported."""

    type: GlobalType
    init: Expr | None = None


@record(caches=True)
class Module:
    """A module at section level. The index spaces hold the imports first, as the specification has them.

    Attributes:
        wasm: the whole input, of which a module inside a component is a part.
        sections: all sections in their order.
        types: the type index space.
        imports: the imports in their order.
        funcs: the type index of each function.
        tables, memories, globals: the items of these index spaces.
        tags: the type index of each tag.
        exports: the exports in their order.
        start: the start function.
        elements, data: the segments.
        data_count: what the DataCount section says.
        origin: where the module begins in ``wasm``, as all other places do.
    """

    wasm: bytes
    sections: tuple[Section, ...] = ()
    types: tuple[SubType, ...] = ()
    imports: tuple[Import, ...] = ()
    funcs: tuple[int, ...] = ()
    tables: tuple[Table, ...] = ()
    memories: tuple[MemoryType, ...] = ()
    globals: tuple[Global, ...] = ()
    tags: tuple[int, ...] = ()
    exports: tuple[Export, ...] = ()
    start: int | None = None
    elements: tuple[ElementSegment, ...] = ()
    data: tuple[DataSegment, ...] = ()
    data_count: int | None = None
    origin: int = 0

    def __repr__(self) -> str:
        return f"<Module: {', '.join(f'{value} {name}' for name, value in self._facts())}>"

    def _repr_html_(self) -> str:
        from wizer.markup import html_table

        return html_table("WebAssembly module", self._facts())

    def _facts(self) -> Iterator[tuple[str, int]]:
        """Yield what there is, and how many of it."""
        yield "bytes", len(self.binary)
        counts = {
            "functions": self.funcs,
            "tables": self.tables,
            "memories": self.memories,
            "globals": self.globals,
            "imports": self.imports,
            "exports": self.exports,
            "data segments": self.data,
        }
        for name, items in counts.items():
            if items:
                yield name, len(items)

    @property
    def binary(self) -> memoryview:
        """The module itself, in the binary format."""
        return memoryview(self.wasm)[self.origin : self.end]

    @property
    def end(self) -> int:
        """Where the module ends in ``wasm``."""
        return self.sections[-1].end if self.sections else self.origin + sec.HEADER

    def section(self, section_id: int) -> Section | None:
        """Return the section with this id."""
        return next((section for section in self.sections if section.id == section_id), None)

    def custom_sections(self, name: str) -> Iterator[Reader]:
        """Yield readers over the contents of the custom sections with this name."""
        for section in self.sections:
            if section.id == sec.CUSTOM and section.name == name:
                yield section.reader(self.wasm)

    def imported(self, kind: ExternKind, index: int) -> bool:
        """Whether the item is an import."""
        return index < self.import_counts[kind]

    @property
    def code_size(self) -> int:
        """The bytes of the code section."""
        section = self.section(sec.CODE)
        return section.end - section.start if section else 0

    @cached_property
    def import_counts(self) -> Counter[ExternKind]:
        """How many items of each kind are imported."""
        return Counter(imported.kind for imported in self.imports)

    def functype(self, funcidx: int) -> FuncType:
        """Return the type of a function."""
        return self.type_as_func(self.funcs[funcidx])

    def type_as_func(self, typeidx: int) -> FuncType:
        """Return the function type at ``typeidx``; raise `ParseError` where there is none."""
        comp = self.types[typeidx].comp if typeidx < len(self.types) else None
        if not isinstance(comp, FuncType):
            section = self.section(sec.TYPE)
            at = section.start if section else self.origin + sec.HEADER
            raise ParseError(f"type {typeidx} is not a function type", at)
        return comp

    @cached_property
    def exports_by_name(self) -> dict[str, Export]:
        """The exports by their names."""
        return {export.name: export for export in self.exports}

    @cached_property
    def refs(self) -> frozenset[int]:
        """The functions that ``ref.func`` may refer to in bodies: the specification's ``C.refs``.

        They stand in exports, element segments, and the initialisers of globals and tables.
        https://webassembly.github.io/spec/core/valid/modules.html#valid-module
        """
        found = {export.index for export in self.exports if export.kind == "func"}
        for element in self.elements:
            found |= element.funcs()
        inits = [item.init for item in self.globals] + [table.init for table in self.tables]
        for init in inits:
            if init is not None:
                found.update(init.funcs)
        return frozenset(found)

    @cached_property
    def names(self) -> dict[tuple[ExternKind, int], str]:
        """The names that the name section, exports or imports give to items, in this order of preference."""
        names = {(imported.kind, index): imported.name for index, imported in numbered(self.imports)}
        for export in self.exports:
            names[export.kind, export.index] = export.name
        for reader in self.custom_sections("name"):
            names.update(read_names(reader))
        return names

    @cached_property
    def field_names(self) -> dict[tuple[int, int], str]:
        """The names that the name section gives to fields, by the indices of type and field."""
        names: dict[tuple[int, int], str] = {}
        for reader in self.custom_sections("name"):
            names.update(read_field_names(reader))
        return names

    def mentions(self, name: str) -> bool:
        """Whether a name occurs where `names` looks, be it in another one; to read them all takes time."""
        places = (sec.IMPORT, sec.EXPORT)
        return any(
            self.wasm.find(name.encode(), section.start, section.end) >= 0
            for section in self.sections
            if section.id in places or (section.id == sec.CUSTOM and section.name == "name")
        )

    def describe(self, kind: ExternKind, index: int) -> str:
        """Return what to call an item in a message: ``table 2 ("handlers")``."""
        name = self.names.get((kind, index))
        return f"{kind} {index}" if name is None else f'{kind} {index} ("{one_line(name)}")'


_LONGEST = 200  # characters of a name that are told


def one_line(name: str) -> str:
    """Return a name as it can be told in a line: it is a stranger's, and must not look like one of ours."""
    short = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
    return short.replace("\n", "\\n").replace("\r", "\\r")


def parse_module(wasm: bytes, origin: int = 0, end: int | None = None) -> Module:
    """Parse the core module in ``wasm[origin:end]``.

    Raises:
        ParseError: with the byte offset of what is malformed. What is well-formed but invalid is left for
            the engine to find.
    """
    sections: list[Section] = []
    found: dict[int, Any] = {}
    for section in split_sections(wasm, origin, end):
        sections.append(section)
        if section.id != sec.CUSTOM:
            found[section.id] = _read_contents(section, wasm)
    module = module_of_contents(wasm, sections, found, origin)
    declared, bodies = len(found.get(sec.FUNCTION, ())), found.get(sec.CODE, 0)
    if declared != bodies:
        raise ParseError(f"{declared} functions are declared and {bodies} have bodies", module.end)
    if module.data_count not in (None, len(module.data)):
        raise ParseError(
            f"the data count section announces {module.data_count} segments, there are {len(module.data)}",
            module.end,
        )
    _check_indices(module)
    for where, expr in _constants(module):
        check_operands(expr, module.types, where)
    return module


def module_of_contents(
    wasm: bytes, sections: Sequence[Section], found: Mapping[int, Any], origin: int = 0
) -> Module:
    """Return the module whose sections, by their ids, hold what `READERS` have found in them."""
    imports: tuple[Import, ...] = tuple(chain.from_iterable(found.get(sec.IMPORT, ())))

    def space(kind: ExternKind, section_id: int) -> tuple[Any, ...]:
        """Return an index space: the imported items first, then the module's own."""
        own = found.get(section_id, ())
        return (*(_imported(imported.type) for imported in imports if imported.kind == kind), *own)

    return Module(
        wasm,
        tuple(sections),
        types=found.get(sec.TYPE, ()),
        imports=imports,
        funcs=space("func", sec.FUNCTION),
        tables=space("table", sec.TABLE),
        memories=space("memory", sec.MEMORY),
        globals=space("global", sec.GLOBAL),
        tags=space("tag", sec.TAG),
        exports=found.get(sec.EXPORT, ()),
        start=found.get(sec.START),
        elements=found.get(sec.ELEMENT, ()),
        data=found.get(sec.DATA, ()),
        data_count=found.get(sec.DATA_COUNT),
        origin=origin,
    )


def _read_contents(section: Section, wasm: bytes) -> Any:
    """Read a section up to its end, but for the code section: only how many bodies it has."""
    reader = section.reader(wasm)
    contents = READERS[section.id](reader)
    if section.id != sec.CODE and not reader.at_end:
        raise reader.fail(f"unexpected bytes at the end of the {sec.TITLES[section.id]} section")
    return contents


def _imported(type_: ExternType) -> int | Table | MemoryType | Global:
    """Return what an import is in its index space."""
    match type_:
        case FuncIndex(typeidx):
            return typeidx
        case TableType():
            return Table(type_)
        case GlobalType():
            return Global(type_)
    return type_


def _check_indices(module: Module) -> None:
    """Check the indices that later stages follow, so that none of them can stumble."""
    limits = {
        "func": len(module.funcs),
        "table": len(module.tables),
        "memory": len(module.memories),
        "global": len(module.globals),
        "tag": len(module.tags),
    }
    uses: list[tuple[str, int]] = [(export.kind, export.index) for export in module.exports]
    uses += [("func", func) for func in module.refs]
    uses += [("memory", data.memidx) for data in module.data if data.mode == "active"]
    uses += [("table", element.tableidx) for element in module.elements if element.mode == "active"]
    if module.start is not None:
        uses.append(("func", module.start))
    for kind, index in uses:
        if index >= limits[kind]:
            raise ParseError(f"unknown {kind} {index}: there are {limits[kind]}", module.end)
    for typeidx in dict.fromkeys((*module.funcs, *module.tags)):
        module.type_as_func(typeidx)
    for typeidx in _mentioned_types(module):
        if typeidx >= len(module.types):
            raise ParseError(f"unknown type {typeidx}: there are {len(module.types)}", module.end)
    for typeidx, subtype in enumerate(module.types):
        if any(parent >= typeidx for parent in subtype.supertypes):
            message = f"type {typeidx} has a supertype that does not stand before it"
            raise ParseError(message, module.end)


def _constants(module: Module) -> Iterator[tuple[str, Expr]]:
    """Yield the constant expressions, and what each is of."""
    for index, global_ in enumerate(module.globals):
        if global_.init is not None:
            yield f"global {index}", global_.init
    for index, table in enumerate(module.tables):
        if table.init is not None:
            yield f"table {index}", table.init
    for index, element in enumerate(module.elements):
        if element.offset is not None:
            yield f"element segment {index}", element.offset
        if element.items and isinstance(element.items[0], Expr):
            where = f"element segment {index}"
            yield from ((where, item) for item in element.items if isinstance(item, Expr))
    for index, data in enumerate(module.data):
        if data.offset is not None:
            yield f"data segment {index}", data.offset


def _mentioned_types(module: Module) -> Iterator[int]:
    """Yield the type indices that types refer to."""
    mentioned: list[ValType] = [global_.type.valtype for global_ in module.globals]
    mentioned += [table.type.element for table in module.tables]
    mentioned += [element.reftype for element in module.elements]
    for subtype in module.types:
        yield from subtype.supertypes
        match subtype.comp:
            case FuncType(params, results):
                mentioned += params + results
            case StructType(fields):
                mentioned += [field.storage for field in fields]
            case ArrayType(element):
                mentioned.append(element.storage)
            case ContType(typeidx):
                yield typeidx
    for valtype in mentioned:
        if isinstance(valtype, RefType) and isinstance(valtype.heap, int):
            yield valtype.heap


def _read_table(reader: Reader) -> Table:
    if reader.pos + 1 < reader.end and reader.wasm[reader.pos : reader.pos + 2] == b"\x40\x00":
        reader.skip(2)
        return Table(read_tabletype(reader), read_expr(reader))
    return Table(read_tabletype(reader))


def _read_global(reader: Reader) -> Global:
    return Global(read_globaltype(reader), read_expr(reader))


def encode_global(globaltype: GlobalType, init: bytes) -> bytes:
    """Encode an entry of the global section, its initialiser given without its ``end``."""
    return encode_globaltype(globaltype) + init + END


def _vector(item: Callable[[Reader], T]) -> Callable[[Reader], tuple[T, ...]]:
    return lambda reader: reader.vector(item)


READERS: Final[Mapping[int, Callable[[Reader], Any]]] = {
    sec.TYPE: read_type_section,
    sec.IMPORT: _vector(read_imports),
    sec.FUNCTION: Reader.u32s,
    sec.TABLE: _vector(_read_table),
    sec.MEMORY: _vector(read_memorytype),
    sec.TAG: _vector(lambda reader: read_tagtype(reader).typeidx),
    sec.GLOBAL: _vector(_read_global),
    sec.EXPORT: _vector(read_export),
    sec.START: Reader.u32,
    sec.ELEMENT: _vector(read_element),
    sec.DATA_COUNT: Reader.u32,
    sec.CODE: Reader.count,
    sec.DATA: _vector(read_data),
}
"""What reads the contents of each section; of the code section, how many bodies it has."""
