"""Appending to a component: sections behind its own, and the indices of what they define.

https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md
"""

from __future__ import annotations

from collections.abc import Mapping

from wizer.binary.assemble import Chunk, encode_section
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.sections import encode_vector_section
from wizer.binary.vectors import encode_name, encode_vector
from wizer.component import items as it
from wizer.component.items import Component, Sort


class ComponentAdditions:
    """What is appended to a component; every method returns the index of what it defines.

    Attributes:
        chunks: the sections.
    """

    def __init__(self, component: Component) -> None:
        self.chunks: list[Chunk] = []
        self._counts = dict(component.counts)

    def _add(self, sort: Sort, section_id: int, item: bytes) -> int:
        """Append a section that defines one item."""
        self.chunks.append(encode_vector_section(section_id, [item]))
        return self._next(sort)

    def _next(self, sort: Sort) -> int:
        index = self._counts.get(sort, 0)
        self._counts[sort] = index + 1
        return index

    def core_module(self, wasm: bytes) -> int:
        """Define a core module."""
        self.chunks += encode_section(it.CORE_MODULE, [wasm])
        return self._next("core module")

    def core_instance(self, module: int, args: Mapping[str, int]) -> int:
        """Instantiate a core module with core instances, by name."""
        given = [encode_name(name) + b"\x12" + encode_unsigned(instance) for name, instance in args.items()]
        item = b"\x00" + encode_unsigned(module) + encode_vector(given)
        return self._add("core instance", it.CORE_INSTANCE, item)

    def core_functions(self, functions: Mapping[str, int]) -> int:
        """Make a core instance of core functions, by name."""
        exports = [encode_name(name) + b"\x00" + encode_unsigned(index) for name, index in functions.items()]
        return self._add("core instance", it.CORE_INSTANCE, b"\x01" + encode_vector(exports))

    def core_function(self, instance: int, name: str) -> int:
        """Alias the function that a core instance exports as ``name``."""
        alias = b"\x00\x00\x01" + encode_unsigned(instance) + encode_name(name)
        return self._add("core func", it.ALIAS, alias)

    def type(self, definition: bytes) -> int:
        """Define a type."""
        return self._add("type", it.TYPE, definition)

    def canonical(self, opcode: int, typeidx: int) -> int:
        """Define a canonical function that has a type for its only immediate."""
        return self._add("core func", it.CANON, bytes((opcode,)) + encode_unsigned(typeidx))

    def lift(self, function: int, typeidx: int) -> int:
        """Lift a core function that needs no options."""
        item = b"\x00\x00" + encode_unsigned(function) + b"\x00" + encode_unsigned(typeidx)
        return self._add("func", it.CANON, item)

    def export_function(self, name: str, function: int) -> int:
        """Export a function."""
        item = b"\x00" + encode_name(name) + b"\x01" + encode_unsigned(function) + b"\x00"
        return self._add("func", it.EXPORT, item)
