"""Encode: the sections of a component, with new indices where items have moved in their index spaces.

A section in which no index changes is passed on as it stands in the input. In others only the indices are
replaced, and all bytes between them stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from wizer.binary.assemble import Chunk
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.sections import encode_vector_section
from wizer.binary.vectors import encode_name, encode_vector
from wizer.component import items as it
from wizer.component.items import Component, Item, Section, Sort, Use
from wizer.errors import ParseError


class Scope:
    """The index spaces of a component in its new version: which index each item of the old one has there.

    Attributes:
        parent: the scope of the component around it.
        moved: the index spaces in which some item has another index than before.
    """

    def __init__(self, parent: Scope | None) -> None:
        self.parent = parent
        self.moved: set[Sort] = set()
        self._new: dict[Sort, list[int]] = {}
        self._next: dict[Sort, int] = {}
        self._gone: set[tuple[Sort, int]] = set()

    @property
    def any_moved(self) -> bool:
        """Whether some item of the component, or of one around it, has another index than before."""
        return bool(self.moved) or (self.parent is not None and self.parent.any_moved)

    def keep(self, sort: Sort, count: int = 1) -> int:
        """Note that the output has the next ``count`` items of the input; return the last one's index."""
        index = -1
        for _ in range(count):
            new = self._new.setdefault(sort, [])
            index = self.add(sort, moves=False)
            if index != len(new):
                self.moved.add(sort)
            new.append(index)
        return index

    def add(self, sort: Sort, *, moves: bool = True) -> int:
        """Note that the output has an item that the input lacks, and return its index."""
        index = self._next.get(sort, 0)
        self._next[sort] = index + 1
        if moves:
            self.moved.add(sort)
        return index

    def redirect(self, sort: Sort, old: int, new: int) -> None:
        """Note that what refers to an item of the input, by its index there, is to refer to another item."""
        self._new[sort][old] = new
        self.moved.add(sort)

    def kept(self, sort: Sort) -> int:
        """Return how many items of the input have been passed so far."""
        return len(self._new.get(sort, ()))

    def new(self, sort: Sort, old: int) -> int:
        """Return the new index of an item of the input."""
        return self._new[sort][old]

    def count(self, sort: Sort) -> int:
        """Return how many items the output has so far."""
        return self._next.get(sort, 0)

    def drop(self, sort: Sort, stand_in: int) -> None:
        """Note that the output lacks the next item of the input; ``stand_in``, an old index, replaces it."""
        new = self._new.setdefault(sort, [])
        self._gone.add((sort, len(new)))
        self.moved.add(sort)
        new.append(new[stand_in])

    def __getitem__(self, use: Use) -> int:
        """Return the new index of what ``use`` refers to."""
        scope = self.outer(use.outer)
        if scope is None:
            raise ParseError(f"an outer alias goes {use.outer} levels out", use.start)
        new = scope._new.get(use.sort)
        if new is None or use.index >= len(new):
            return use.index if use.sort not in scope.moved else _unknown(use)
        return new[use.index]

    def outer(self, levels: int) -> Scope | None:
        """Return the scope ``levels`` further out."""
        scope: Scope | None = self
        for _ in range(levels):
            scope = scope.parent if scope else None
        return scope

    def moved_name(self, sort: Sort, index: int) -> int | None:
        """Return the new index of an item, or None where it is gone."""
        new = self._new.get(sort, ())
        return None if (sort, index) in self._gone or index >= len(new) else new[index]


def _unknown(use: Use) -> int:
    raise ParseError(f"unknown {use.sort} {use.index}", use.start)


def whole(component: Component, old: Section) -> memoryview:
    """Return a section as it stands in the input, its header included."""
    return memoryview(component.wasm)[old.header : old.end]


def renumbered(
    component: Component,
    old: Section,
    scope: Scope,
    removed: Collection[int] = (),
    replaced: Mapping[int, int] = MappingProxyType({}),
) -> list[Chunk]:
    """Return a section of items with their new indices, and tell ``scope`` about them.

    Args:
        component: the component that the section is in.
        old: the section.
        scope: the scope, up to the section; it is brought forward past it.
        removed: the exports to leave out, by where they stand in the input; for those of an instance, by
            where their index does.
        replaced: for instantiations, likewise, the new index of another module or component.
    """
    if old.hidden:
        scope.keep("type" if old.id == it.TYPE else "core type", old.hidden)
        return [whole(component, old)]
    if not (removed or replaced or scope.any_moved):
        for item in old.items:
            if item.sort is not None:
                scope.keep(item.sort)
        return [whole(component, old)]
    kept: list[bytes | None] = []
    changed = bool(removed)
    for item in old.items:
        uses = item.uses()
        new = [scope[use] for use in uses]
        if item.start in replaced:
            new[0] = replaced[item.start]
        moved = any(index != use.index for index, use in zip(new, uses, strict=True))
        changed |= moved
        if item.start in removed:
            scope.drop(uses[0].sort, uses[0].index)
            continue
        if isinstance(item.definition, it.InlineExports) and any(use.start in removed for use in uses):
            kept.append(_shrunk(item.definition, new, removed))
        else:
            kept.append(_spliced(component.wasm, item, zip(uses, new, strict=True)) if moved else None)
        if item.sort is not None:
            scope.keep(item.sort)
    if not changed:
        return [whole(component, old)]
    left = [item for item in old.items if item.start not in removed]
    encoded = [
        component.wasm[item.start : item.end] if new is None else new
        for item, new in zip(left, kept, strict=True)
    ]
    return [encode_vector_section(old.id, encoded)]


def _spliced(wasm: bytes, item: Item, uses: Iterable[tuple[Use, int]]) -> bytes:
    out, position = bytearray(), item.start
    for use, new in uses:
        out += wasm[position : use.start]
        out += encode_unsigned(new)
        position = use.end
    return bytes(out + wasm[position : item.end])


def _shrunk(definition: it.InlineExports, new: Sequence[int], removed: Collection[int]) -> bytes:
    """Encode an instance made of exports without some of them."""
    left = [
        b"\x00" + encode_name(name) + it.SORT_CODES[use.sort] + encode_unsigned(index)
        for (name, use), index in zip(definition.exports, new, strict=True)
        if use.start not in removed
    ]
    return b"\x01" + encode_vector(left)
