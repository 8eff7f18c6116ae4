"""Appending to a module: types, functions, tables, a memory, globals, exports. Nothing is renumbered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from wizer.binary import sections as sec
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.assemble import Chunk, assemble, extended
from wizer.binary.expr import encode_const
from wizer.binary.externs import (
    AddressType,
    Export,
    ExternKind,
    GlobalType,
    MemoryType,
    SizeLimits,
    TableType,
    encode_export,
    encode_memorytype,
    encode_tabletype,
)
from wizer.binary.leb128 import encode_signed, encode_unsigned
from wizer.binary.module import Module, encode_global
from wizer.binary.segments import encode_declarative
from wizer.binary.types import FieldType, FuncType, ValType, encode_valtype

if TYPE_CHECKING:
    from wizer.binary.instructions import Replacement

# What engines take in a module: https://webassembly.github.io/spec/js-api/#limits
MAX_TABLES: Final = 100
MAX_MEMORIES: Final = 100
MAX_ELEMENT_SEGMENTS: Final = 100_000
MAX_TABLE_SIZE: Final = 10_000_000  # elements


class Additions:
    """What is appended to a module: items of every index space, each at the end of its own.

    Attributes:
        module: the module.
        prefix: what the names of the exports to append begin with.
        declared: the functions to declare for ``ref.func``.
    """

    def __init__(self, module: Module, prefix: str) -> None:
        self.module = module
        self.prefix = prefix
        self.declared: tuple[int, ...] = ()
        self._replacements: dict[int, list[Replacement]] = {}
        self._types = AppendedTypes(module)
        self._functions: list[Function] = []
        self._tables: dict[TableType, int] = {}
        self._memories: list[bytes] = []
        self._globals: list[bytes] = []
        self._exports: list[bytes] = []

    def export(self, name: str, kind: ExternKind, index: int) -> None:
        """Export an item under the prefix."""
        self._exports.append(encode_export(Export(self.prefix + name, kind, index)))

    @property
    def next_func(self) -> int:
        """The index of the function that is added next."""
        return len(self.module.funcs) + len(self._functions)

    def func(
        self,
        name: str | None,
        params: Sequence[ValType],
        results: Sequence[ValType],
        body: bytes,
        locals_: Sequence[ValType] = (),
    ) -> int:
        """Add a function, exported under the prefix where it has a name; return its index."""
        typeidx = self._types.func(FuncType(tuple(params), tuple(results)))
        funcidx = self.next_func
        self._functions.append(Function(typeidx, locals_, body))
        if name is not None:
            self.export(name, "func", funcidx)
        return funcidx

    def replace(self, body: int, replacements: Sequence[Replacement]) -> None:
        """Replace instructions in the body that begins at ``body``: in what is run, not in a snapshot."""
        self._replacements.setdefault(body, []).extend(replacements)

    def blocktype(self, results: Sequence[ValType]) -> bytes:
        """Return the type of a block that takes nothing and leaves ``results``."""
        if not results:
            return b"\x40"
        if len(results) == 1:
            return encode_valtype(results[0])
        return encode_signed(self._types.func(FuncType((), tuple(results))))

    def table(self, tabletype: TableType) -> int:
        """Add a table unless there is one of this type, and return its index."""
        return self._tables.setdefault(tabletype, len(self.module.tables) + len(self._tables))

    def takes_table(self, tabletype: TableType) -> bool:
        """Whether there is room for a table, or already one of this type among those that were added."""
        return tabletype in self._tables or len(self.module.tables) + len(self._tables) < MAX_TABLES

    def any_memory(self) -> tuple[int, AddressType]:
        """Return a memory of the module, or one made for zero-length copies, and its address type."""
        if self.module.memories:
            return 0, self.module.memories[0].limits.address_type
        if not self._memories:
            self.memory(0)
        return 0, "i32"

    def memory(self, pages: int) -> int:
        """Add a memory, which is 32-bit; return its index."""
        self._memories.append(encode_memorytype(MemoryType(SizeLimits(pages))))
        return len(self.module.memories) + len(self._memories) - 1

    def array_type(self, element: FieldType) -> int:
        """Return the type of arrays of such elements; add it where there is none."""
        return self._types.of(element)

    def global_(self, type_: GlobalType, init: bytes) -> int:
        """Add a global, ``init`` given without ``end``; return its index."""
        self._globals.append(encode_global(type_, init))
        return len(self.module.globals) + len(self._globals) - 1

    def exported_i32(self, name: str, bits: int, *, mutable: bool = False) -> int:
        """Add a global that begins as ``bits`` and is exported under the prefix; return its index."""
        globalidx = self.global_(GlobalType("i32", mutable), encode_const("i32", bits))
        self.export(name, "global", globalidx)
        return globalidx

    def assemble(self, data: Sequence[Chunk] | None = None) -> list[Chunk]:
        """Return the chunks of the module with all that was added; ``data``: another data section."""
        bodies = [function.body for function in self._functions]
        added: dict[int, list[bytes]] = {
            sec.TYPE: self._types.entries,
            sec.FUNCTION: [encode_unsigned(function.typeidx) for function in self._functions],
            sec.TABLE: list(map(encode_tabletype, self._tables)),
            sec.MEMORY: self._memories,
            sec.GLOBAL: self._globals,
            sec.EXPORT: self._exports,
            sec.ELEMENT: [encode_declarative(self.declared)] if self.declared else [],
            sec.CODE: bodies,
        }
        contents = {id_: extended(self.module, id_, items) for id_, items in added.items() if items}
        if data is not None:
            contents[sec.DATA] = [*data]
        if self._replacements:
            count = len(self.module.funcs) - self.module.import_counts["func"] + len(bodies)
            from wizer.binary.instructions import with_replacements

            own = with_replacements(self.module, self._replacements)
            contents[sec.CODE] = [encode_unsigned(count), *own, *bodies]
        return assemble(self.module, contents)
