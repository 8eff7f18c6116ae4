"""Removal: a component without some of the functions that it exports.

A function goes with its export. One in an exported instance goes where the instance gets it: from the list
of its exports, or from those of the nested component that it is an instance of. Where others use the instance
or that component, too, an instance of what is left is exported instead. Before, where ``my:pkg/setup.boot``
is to go::

    (alias export $i "boot" (func $g))
    (export "my:pkg/setup" (instance $i))

After::

    (alias export $i "boot" (func $g))
    (alias export $i "ready" (func $f))
    (instance $j (export "ready" (func $f)))
    (export "my:pkg/setup" (instance $j))
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from wizer.binary.assemble import Chunk
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.sections import encode_vector_section
from wizer.binary.vectors import encode_name, encode_vector
from wizer.component import items as it
from wizer.component.encode import Scope
from wizer.component.instances import Exports, Frame, Site, escaping, frames, site_key
from wizer.component.items import Component, Item, Sort
from wizer.errors import OptionError

Path: TypeAlias = "tuple[str, ...]"


class Removal:
    """What goes, and what gets smaller.

    Attributes:
        gone: exports of components and of instances made of exports, by `id` of the frame and by where they
            stand in the input.
    """

    def __init__(self, root: Frame, removed: Collection[Path]) -> None:
        self._root = root
        self._exports = {
            item.definition.name: item
            for item in root.component.items
            if isinstance(item.definition, it.Export)
        }
        self._replaced: dict[str, set[str]] = {}
        self.gone: dict[int, set[int]] = {}
        smaller: dict[str, set[str]] = {}
        for path in removed:
            if path[0] not in self._exports or len(path) > 2:
                raise OptionError(
                    f"the export `{'.'.join(path)}` of the component cannot be removed; keep it"
                )
            if len(path) == 1:
                self._drop(root, self._exports[path[0]].start)
            else:
                smaller.setdefault(path[0], set()).add(path[1])
        for name, functions in smaller.items():
            self._shrink(name, functions)

    def _drop(self, frame: Frame, start: int) -> None:
        self.gone.setdefault(id(frame), set()).add(start)

    def _shrink(self, name: str, functions: set[str]) -> None:
        """Take functions out of an exported instance."""
        item = self._exports[name]
        left = [export for export, _ in self._left(name, functions)]
        if left and (places := self._places(item, functions)) is not None:
            for frame, start in places:
                self._drop(frame, start)
            return
        self._drop(self._root, item.start)
        if left:
            self._replaced[name] = functions

    def _left(self, name: str, functions: set[str]) -> list[tuple[str, Sort]]:
        instance = self._root.exports[name][1]
        if not isinstance(instance, Exports):
            raise OptionError(
                f"the function to leave out is in the instance `{name}`, which the component gets from "
                "elsewhere; keep it"
            )
        return [(export, sort) for export, (sort, _) in instance.items.items() if export not in functions]

    def _places(self, export: Item, functions: set[str]) -> list[tuple[Frame, int]] | None:
        """Return where an instance gets the functions from; None where others depend on that place."""
        definition = export.definition
        assert isinstance(definition, it.Export)
        index = definition.target.index
        if definition.ascribed or _shared(self._root.component, index, export, functions):
            return None
        source = [item for item in self._root.component.items if item.sort == "instance"][index]
        match source.definition:
            case it.InlineExports(exports):
                return [(self._root, use.start) for name, use in exports if name in functions]
            case it.Instantiation():
                site, child = self._root.children[source.start]
                if _is_alone(self._root, site):
                    return [
                        (child, item.start)
                        for item in child.component.items
                        if isinstance(item.definition, it.Export) and item.definition.name in functions
                    ]
        return None

    def smaller_instances(self, scope: Scope) -> list[Chunk]:
        """Return the sections that export what is left of instances, for the end of the component."""
        chunks: list[Chunk] = []
        for name, functions in self._replaced.items():
            export = self._exports[name].definition
            assert isinstance(export, it.Export)
            chunks += _smaller_instance(scope, name, export, self._left(name, functions))
        return chunks


def _shared(component: Component, index: int, export: Item, functions: set[str]) -> bool:
    """Whether something else than ``export`` uses the instance, or one of the functions in it."""
    for item in component.items:
        uses = [use for use in item.uses() if use.sort == "instance" and use.index == index and not use.outer]
        if not uses or item is export:
            continue
        if not (isinstance(item.definition, it.ExportAlias) and item.definition.name not in functions):
            return True
    return False


def _is_alone(root: Frame, site: Site) -> bool:
    """Whether a component is instantiated once, and nowhere outside."""
    key = site_key(site)
    count = sum(site_key(other) == key for frame in frames(root) for other, _ in frame.children.values())
    return count == 1 and key not in escaping(root)


def _smaller_instance(
    scope: Scope, name: str, export: it.Export, left: list[tuple[str, Sort]]
) -> list[Chunk]:
    instance = encode_unsigned(scope[export.target])
    aliases, exports = [], []
    for item, sort in left:
        code = it.SORT_CODES[sort]
        aliases.append(code + b"\x00" + instance + encode_name(item))
        exports.append(b"\x00" + encode_name(item) + code + encode_unsigned(scope.add(sort)))
    inline = b"\x01" + encode_vector(exports)
    smaller = encode_unsigned(scope.add("instance"))
    return [
        encode_vector_section(it.ALIAS, aliases),
        encode_vector_section(it.INSTANCE, [inline]),
        encode_vector_section(it.EXPORT, [b"\x00" + encode_name(name) + b"\x05" + smaller + b"\x00"]),
    ]
