"""Adding to a component: sections between or behind its own, and the indices of what they define.

https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wizer.binary.assemble import Chunk, encode_section
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.sections import encode_vector_section
from wizer.binary.vectors import encode_name, encode_vector
from wizer.component import items as it
from wizer.component.encode import Scope
from wizer.component.items import Sort

_NONE: Final[Mapping[str, int]] = {}


class ComponentAdditions:
    """What is added to a component; every method returns the index of what it defines.

    Attributes:
        chunks: the sections.
        scope: the index spaces, up to where the sections stand.
        sections: how many have been added.
    """

    def __init__(self, scope: Scope) -> None:
        self.chunks: list[Chunk] = []
        self.scope = scope
        self.sections: int = 0

    def _add(self, sort: Sort, section_id: int, item: bytes) -> int:
        """Add a section that defines one item."""
        self.chunks.append(encode_vector_section(section_id, [item]))
        return self._next(sort)

    def _next(self, sort: Sort) -> int:
        self.sections += 1
        return self.scope.add(sort, moves=False)

    def core_module(self, wasm: bytes) -> int:
        """Define a core module."""
        self.chunks += encode_section(it.CORE_MODULE, [wasm])
        return self._next("core module")

    def core_instance(self, module: int, args: Mapping[str, int]) -> int:
        """Instantiate a core module with core instances, by name."""
        given = [encode_name(name) + b"\x12" + encode_unsigned(instance) for name, instance in args.items()]
        item = b"\x00" + encode_unsigned(module) + encode_vector(given)
        return self._add("core instance", it.CORE_INSTANCE, item)

    def core_items(self, functions: Mapping[str, int], memories: Mapping[str, int] = _NONE) -> int:
        """Make a core instance of core functions and memories, by name."""
        exports = [encode_name(name) + b"\x00" + encode_unsigned(index) for name, index in functions.items()]
        exports += [encode_name(name) + b"\x02" + encode_unsigned(index) for name, index in memories.items()]
        return self._add("core instance", it.CORE_INSTANCE, b"\x01" + encode_vector(exports))

    def core_function(self, instance: int, name: str) -> int:
        """Alias the function that a core instance exports as ``name``."""
        alias = b"\x00\x00\x01" + encode_unsigned(instance) + encode_name(name)
        return self._add("core func", it.ALIAS, alias)

    def core_memory(self, instance: int, name: str) -> int:
        """Alias the memory that a core instance exports as ``name``."""
        alias = b"\x00\x02\x01" + encode_unsigned(instance) + encode_name(name)
        return self._add("core memory", it.ALIAS, alias)

    def type(self, definition: bytes) -> int:
        """Define a type."""
        return self._add("type", it.TYPE, definition)

    def canonical(self, opcode: int, typeidx: int) -> int:
        """Define a canonical function that has a type for its only immediate."""
        return self._add("core func", it.CANON, bytes((opcode,)) + encode_unsigned(typeidx))

    def lower(self, function: int, memory: int | None = None, realloc: int | None = None) -> int:
        """Lower a function, with the options that are given."""
        options = [] if memory is None else [b"\x03" + encode_unsigned(memory)]
        options += [] if realloc is None else [b"\x04" + encode_unsigned(realloc)]
        item = b"\x01\x00" + encode_unsigned(function) + encode_vector(options)
        return self._add("core func", it.CANON, item)

    def lift(self, function: int, typeidx: int) -> int:
        """Lift a core function that needs no options."""
        item = b"\x00\x00" + encode_unsigned(function) + b"\x00" + encode_unsigned(typeidx)
        return self._add("func", it.CANON, item)

    def export_function(self, name: str, function: int) -> int:
        """Export a function."""
        item = b"\x00" + encode_name(name) + b"\x01" + encode_unsigned(function) + b"\x00"
        return self._add("func", it.EXPORT, item)
