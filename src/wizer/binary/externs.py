"""External types (limits, tables, memories, globals, tags), and the import and export sections.

https://webassembly.github.io/spec/core/binary/types.html#external-types
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias

from wizer.binary.leb128 import encode_unsigned
from wizer.binary.reader import Reader
from wizer.binary.types import (
    RefType,
    ValType,
    encode_valtype,
    read_mutability,
    read_reftype,
    read_valtype,
)
from wizer.binary.values import BITS
from wizer.binary.vectors import encode_name
from wizer.records import record

ExternKind: TypeAlias = Literal["func", "table", "memory", "global", "tag"]
KINDS: tuple[ExternKind, ...] = ("func", "table", "memory", "global", "tag")

INITIALIZE: Final = "_initialize"
"""The function that a WASI reactor is initialised by, once and before all others.
https://github.com/WebAssembly/WASI/blob/main/legacy/application-abi.md"""


AddressType: TypeAlias = Literal["i32", "i64"]


def address_type(is64: bool) -> AddressType:
    """Return the type of the addresses of a memory, or of the indices of a table.

    https://webassembly.github.io/spec/core/syntax/types.html#address-types
    """
    return "i64" if is64 else "i32"


@record
class SizeLimits:
    """The specification's limits: the size range of a table in elements or of a memory in pages."""

    minimum: int
    maximum: int | None = None
    is64: bool = False
    shared: bool = False

    def __str__(self) -> str:
        parts = ["i64" * self.is64, str(self.minimum), "" if self.maximum is None else str(self.maximum)]
        return " ".join([*filter(None, parts), *["shared"] * self.shared])

    @property
    def address_type(self) -> AddressType:
        """The type of its addresses."""
        return address_type(self.is64)

    @property
    def address_mask(self) -> int:
        """The highest address, whose bits are all set."""
        return (1 << BITS[self.address_type]) - 1


@record
class TableType:
    """A table type."""

    element: RefType
    limits: SizeLimits

    def __str__(self) -> str:
        return f"{self.limits} {self.element}"


@record
class MemoryType:
    """A memory type; a page is ``2 ** page_size_log2`` bytes."""

    limits: SizeLimits
    page_size_log2: int = 16

    def __str__(self) -> str:
        return f"{self.limits}" + f" (pagesize {self.page_size:#x})" * (self.page_size_log2 != 16)

    @property
    def page_size(self) -> int:
        """The size of a page in bytes."""
        return 1 << self.page_size_log2


@record
class GlobalType:
    """A global type."""

    valtype: ValType
    mutable: bool

    def __str__(self) -> str:
        return f"(mut {self.valtype})" if self.mutable else str(self.valtype)


@record
class FuncIndex:
    """The type of a function or tag: an index into the type index space."""

    typeidx: int


ExternType: TypeAlias = "FuncIndex | TableType | MemoryType | GlobalType"


@record
class Import:
    """An import."""

    module: str
    name: str
    kind: ExternKind
    type: ExternType


def numbered(imports: Iterable[Import]) -> Iterator[tuple[int, Import]]:
    """Yield imports, each with its index in the index space of its kind."""
    counts: Counter[ExternKind] = Counter()
    for imported in imports:
        yield counts[imported.kind], imported
        counts[imported.kind] += 1


@record
class Export:
    """An export."""

    name: str
    kind: ExternKind
    index: int


def _read_limits(reader: Reader, allowed: int) -> tuple[SizeLimits, int]:
    start = reader.pos
    flags = reader.byte()
    if flags & ~allowed:
        raise reader.fail(f"malformed limits flags {flags:#04x}", start)
    integer = Reader.u64 if flags & 4 else Reader.u32
    minimum = integer(reader)
    maximum = integer(reader) if flags & 1 else None
    return SizeLimits(minimum, maximum, bool(flags & 4), bool(flags & 2)), flags


def read_tabletype(reader: Reader) -> TableType:
    """Read a table type."""
    element = read_reftype(reader)
    return TableType(element, _read_limits(reader, 0b0101)[0])


def read_memorytype(reader: Reader) -> MemoryType:
    """Read a memory type; bit 3 of its flags announces a page size (custom-page-sizes)."""
    limits, flags = _read_limits(reader, 0b1111)
    log2 = 16
    if flags & 8:
        start = reader.pos
        log2 = reader.u32()
        if log2 > 16:
            raise reader.fail(f"invalid custom page size 2^{log2}", start)
    return MemoryType(limits, log2)


def read_globaltype(reader: Reader) -> GlobalType:
    """Read a global type."""
    return GlobalType(read_valtype(reader), read_mutability(reader))


def read_tagtype(reader: Reader) -> FuncIndex:
    """Read a tag type; its attribute is 0, an exception."""
    if reader.byte() != 0:
        raise reader.fail("malformed tag attribute", reader.pos - 1)
    return FuncIndex(reader.u32())


def _read_functype(reader: Reader) -> FuncIndex:
    return FuncIndex(reader.u32())


_SAME_MODULE, _SAME_TYPE = 0x7F, 0x7E
_EXTERN_READERS = (_read_functype, read_tabletype, read_memorytype, read_globaltype, read_tagtype)


def read_kind(reader: Reader) -> ExternKind:
    """Read the kind of an import or export."""
    code = reader.byte()
    if code >= len(KINDS):
        raise reader.fail(f"malformed import or export kind {code:#04x}", reader.pos - 1)
    return KINDS[code]


def read_imports(reader: Reader) -> tuple[Import, ...]:
    """Read an entry of the import section: one import, or several with something in common.

    https://github.com/WebAssembly/compact-import-section: after an empty name, 0x7F says that the module's
    name is shared, 0x7E that the type is as well.
    """
    module, name = reader.name(), reader.name()
    if name == "" and not reader.at_end and reader.peek() in (_SAME_MODULE, _SAME_TYPE):
        if reader.byte() == _SAME_MODULE:
            return reader.vector(lambda item: Import(module, item.name(), *_read_externtype(item)))
        kind, type_ = _read_externtype(reader)
        return reader.vector(lambda item: Import(module, item.name(), kind, type_))
    return (Import(module, name, *_read_externtype(reader)),)


def _read_externtype(reader: Reader) -> tuple[ExternKind, ExternType]:
    kind = read_kind(reader)
    return kind, _EXTERN_READERS[KINDS.index(kind)](reader)


def read_export(reader: Reader) -> Export:
    """Read an entry of the export section."""
    return Export(reader.name(), read_kind(reader), reader.u32())


def _encode_limits(limits: SizeLimits, extra_flags: int = 0) -> bytes:
    flags = extra_flags | limits.is64 << 2 | limits.shared << 1 | (limits.maximum is not None)
    out = bytes((flags,)) + encode_unsigned(limits.minimum)
    return out if limits.maximum is None else out + encode_unsigned(limits.maximum)


def encode_tabletype(tabletype: TableType) -> bytes:
    """Encode a table type."""
    return encode_valtype(tabletype.element) + _encode_limits(tabletype.limits)


def encode_memorytype(memorytype: MemoryType) -> bytes:
    """Encode a memory type."""
    if memorytype.page_size_log2 == 16:
        return _encode_limits(memorytype.limits)
    return _encode_limits(memorytype.limits, 8) + encode_unsigned(memorytype.page_size_log2)


def encode_globaltype(globaltype: GlobalType) -> bytes:
    """Encode a global type."""
    return encode_valtype(globaltype.valtype) + bytes((globaltype.mutable,))


def encode_externtype(kind: ExternKind, type_: ExternType) -> bytes:
    """Encode an external type without its kind: what a section of such items has, too."""
    match type_:
        case TableType():
            return encode_tabletype(type_)
        case MemoryType():
            return encode_memorytype(type_)
        case GlobalType():
            return encode_globaltype(type_)
        case FuncIndex(typeidx):
            return (b"\x00" if kind == "tag" else b"") + encode_unsigned(typeidx)


def encode_import(imported: Import) -> bytes:
    """Encode an entry of the import section."""
    head = encode_name(imported.module) + encode_name(imported.name) + bytes((KINDS.index(imported.kind),))
    return head + encode_externtype(imported.kind, imported.type)


def encode_export(export: Export) -> bytes:
    """Encode an entry of the export section."""
    return encode_name(export.name) + bytes((KINDS.index(export.kind),)) + encode_unsigned(export.index)
