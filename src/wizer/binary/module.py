"""A parsed module: its sections, its index spaces, and where everything stands in the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain

from wizer.binary import sections as sec
from wizer.binary.expr import Expr, read_expr
from wizer.binary.externs import (
    Export,
    ExternKind,
    FuncIndex,
    GlobalType,
    Import,
    MemoryType,
    TableType,
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
from wizer.records import field, record


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
        wasm: the whole input.
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
        import_counts: how many items of each kind are imported.
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
    import_counts: dict[ExternKind, int] = field(default_factory=dict)

    def section(self, section_id: int) -> Section | None:
        """Return the section with this id."""
        return next((section for section in self.sections if section.id == section_id), None)

    def imported(self, kind: ExternKind, index: int) -> bool:
        """Whether the item is an import."""
        return index < self.import_counts.get(kind, 0)

    def functype(self, funcidx: int) -> FuncType:
        """Return the type of a function."""
        return self.type_as_func(self.funcs[funcidx])

    def type_as_func(self, typeidx: int) -> FuncType:
        """Return the function type at ``typeidx``; raise `ParseError` where there is none."""
        comp = self.types[typeidx].comp if typeidx < len(self.types) else None
        if not isinstance(comp, FuncType):
            section = self.section(sec.TYPE)
            raise ParseError(f"type {typeidx} is not a function type", section.start if section else 8)
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
        names: dict[tuple[ExternKind, int], str] = {}
        counts: dict[ExternKind, int] = {}
        for imported in self.imports:
            index = counts.get(imported.kind, 0)
            counts[imported.kind] = index + 1
            names[imported.kind, index] = imported.name
        for export in self.exports:
            names[export.kind, export.index] = export.name
        for section in self.sections:
            if section.id == sec.CUSTOM and section.name == "name":
                names.update(read_names(section.reader(self.wasm)))
        return names

    @cached_property
    def field_names(self) -> dict[tuple[int, int], str]:
        """The names that the name section gives to fields, by the indices of type and field."""
        names: dict[tuple[int, int], str] = {}
        for section in self.sections:
            if section.id == sec.CUSTOM and section.name == "name":
                names.update(read_field_names(section.reader(self.wasm)))
        return names

    def describe(self, kind: ExternKind, index: int) -> str:
        """Return what to call an item in a message: ``table 2 ("handlers")``."""
        name = self.names.get((kind, index))
        return f"{kind} {index}" if name is None else f'{kind} {index} ("{name}")'


def parse_module(wasm: bytes) -> Module:
    """Parse a core module.

    Raises:
        ParseError: with the byte offset of what is malformed. What is well-formed but invalid is left for
            the engine to find.
    """
    parser = _Parser(wasm)
    for section in split_sections(wasm):
        parser.read(section)
    return parser.finish()


class _Parser:
    """Collects the contents of the sections."""

    def __init__(self, wasm: bytes) -> None:
        self.wasm = wasm
        self.sections: list[Section] = []
        self.types: tuple[SubType, ...] = ()
        self.imports: tuple[Import, ...] = ()
        self.funcs: list[int] = []
        self.defined_funcs = 0
        self.tables: list[Table] = []
        self.memories: list[MemoryType] = []
        self.globals: list[Global] = []
        self.tags: list[int] = []
        self.exports: tuple[Export, ...] = ()
        self.start: int | None = None
        self.elements: tuple[ElementSegment, ...] = ()
        self.data: tuple[DataSegment, ...] = ()
        self.data_count: int | None = None
        self.bodies = 0

    def read(self, section: Section) -> None:
        """Read one section."""
        self.sections.append(section)
        if section.id == sec.CUSTOM:
            return
        reader = section.reader(self.wasm)
        self._read_contents(section.id, reader)
        if section.id != sec.CODE and not reader.at_end:
            raise reader.fail(f"unexpected bytes at the end of the {sec.TITLES[section.id]} section")

    def _read_contents(self, section_id: int, reader: Reader) -> None:
        match section_id:
            case sec.TYPE:
                self.types = read_type_section(reader)
            case sec.IMPORT:
                self.imports = tuple(chain.from_iterable(reader.vector(read_imports)))
                self._add_imports(self.imports)
            case sec.FUNCTION:
                defined = reader.u32s()
                self.defined_funcs = len(defined)
                self.funcs.extend(defined)
            case sec.TABLE:
                self.tables.extend(reader.vector(_read_table))
            case sec.MEMORY:
                self.memories.extend(reader.vector(read_memorytype))
            case sec.TAG:
                self.tags.extend(tag.typeidx for tag in reader.vector(read_tagtype))
            case sec.GLOBAL:
                self.globals.extend(reader.vector(_read_global))
            case sec.EXPORT:
                self.exports = reader.vector(read_export)
            case sec.START:
                self.start = reader.u32()
            case sec.ELEMENT:
                self.elements = reader.vector(read_element)
            case sec.DATA_COUNT:
                self.data_count = reader.u32()
            case sec.CODE:
                self.bodies = reader.count()
            case sec.DATA:
                self.data = reader.vector(read_data)

    def _add_imports(self, imports: Sequence[Import]) -> None:
        for imported in imports:
            match imported.type:
                case FuncIndex():
                    space = self.tags if imported.kind == "tag" else self.funcs
                    space.append(imported.type.typeidx)
                case TableType():
                    self.tables.append(Table(imported.type))
                case MemoryType():
                    self.memories.append(imported.type)
                case GlobalType():
                    self.globals.append(Global(imported.type))

    def finish(self) -> Module:
        """Check what sections say of each other, and return the module."""
        if self.defined_funcs != self.bodies:
            raise ParseError(
                f"{self.defined_funcs} functions are declared and {self.bodies} have bodies", len(self.wasm)
            )
        if self.data_count not in (None, len(self.data)):
            raise ParseError(
                f"the data count section announces {self.data_count} segments, there are {len(self.data)}",
                len(self.wasm),
            )
        counts: dict[ExternKind, int] = {}
        for imported in self.imports:
            counts[imported.kind] = counts.get(imported.kind, 0) + 1
        module = Module(
            self.wasm,
            tuple(self.sections),
            self.types,
            self.imports,
            tuple(self.funcs),
            tuple(self.tables),
            tuple(self.memories),
            tuple(self.globals),
            tuple(self.tags),
            self.exports,
            self.start,
            self.elements,
            self.data,
            self.data_count,
            counts,
        )
        _check_indices(module)
        return module


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
            raise ParseError(f"unknown {kind} {index}: there are {limits[kind]}", len(module.wasm))
    for typeidx in (*module.funcs, *module.tags):
        module.type_as_func(typeidx)
    for typeidx in _mentioned_types(module):
        if typeidx >= len(module.types):
            raise ParseError(f"unknown type {typeidx}: there are {len(module.types)}", len(module.wasm))
    for typeidx, subtype in enumerate(module.types):
        if any(parent >= typeidx for parent in subtype.supertypes):
            message = f"type {typeidx} has a supertype that does not stand before it"
            raise ParseError(message, len(module.wasm))


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
