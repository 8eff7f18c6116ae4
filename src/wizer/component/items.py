"""A component as its sections and the items in them, each knowing which index spaces it adds to and uses.

https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md

Types and core types are not looked into: none of the indices in them ever moves. Every other index that may
is kept with the place where it stands: it can be replaced there, and all around it stays byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias

from wizer.records import record

Sort: TypeAlias = Literal[
    "core func",
    "core table",
    "core memory",
    "core global",
    "core tag",
    "core type",
    "core module",
    "core instance",
    "func",
    "value",
    "type",
    "component",
    "instance",
]

CORE_SORTS: Final[Mapping[int, Sort]] = {
    0x00: "core func",
    0x01: "core table",
    0x02: "core memory",
    0x03: "core global",
    0x04: "core tag",
    0x10: "core type",
    0x11: "core module",
    0x12: "core instance",
}
SORTS: Final[Mapping[int, Sort]] = {
    0x01: "func",
    0x02: "value",
    0x03: "type",
    0x04: "component",
    0x05: "instance",
}

SORT_CODES: Final[Mapping[Sort, bytes]] = {
    **{sort: bytes((0, code)) for code, sort in CORE_SORTS.items()},
    **{sort: bytes((code,)) for code, sort in SORTS.items()},
}

(
    CUSTOM,
    CORE_MODULE,
    CORE_INSTANCE,
    CORE_TYPE,
    COMPONENT,
    INSTANCE,
    ALIAS,
    TYPE,
    CANON,
    START,
    IMPORT,
    EXPORT,
    VALUE,
) = range(13)

APPENDED: Final = "wizer:handles"
"""The custom section in front of what a snapshot appends: it has the number of sections that follow."""

LIFT, LOWER, RESOURCE_NEW, RESOURCE_DROP, RESOURCE_REP = range(5)
"""Opcodes of canonical functions."""

_TITLES = (
    "custom, core module, core instance, core type, component, instance, alias, type, canonical function, "
    "start, import, export, value"
)
TITLES: Final = dict(enumerate(_TITLES.split(", ")))


@record
class Use:
    """An index, as it stands in the input from ``start`` to ``end``.

    Attributes:
        sort: the index space.
        outer: how many components further out that index space is.
    """

    sort: Sort
    index: int
    start: int
    end: int
    outer: int = 0


@record
class ModuleDefinition:
    """A core module: the item is all of it."""


@record
class CoreInstantiation:
    """``(core instance (instantiate module args))``; the arguments are core instances by name."""

    module: Use
    args: tuple[tuple[str, Use], ...]


@record
class CoreExports:
    """``(core instance (export …) …)``."""

    exports: tuple[tuple[str, Use], ...]


@record
class ComponentDefinition:
    """A component inside a component."""

    component: Component


@record
class Instantiation:
    """``(instance (instantiate component args))``."""

    component: Use
    args: tuple[tuple[str, Use], ...]


@record
class InlineExports:
    """``(instance (export …) …)``."""

    exports: tuple[tuple[str, Use], ...]


@record
class ExportAlias:
    """``(alias export instance name)``."""

    instance: Use
    name: str


@record
class CoreExportAlias:
    """``(alias core export instance name)``."""

    instance: Use
    name: str


@record
class OuterAlias:
    """``(alias outer count index)``."""

    target: Use


@record
class Canonical:
    """A canonical function.

    Attributes:
        opcode: which one.
        target: the component function of a ``canon lower``, the core function of a ``canon lift``.
        functions: the core functions among the options.
        type: the type of a lifted function, or of the handles that a built-in one is about.
        memory: the core memory among the options.
        is_async: whether it lifts or lowers with the asynchronous ABI.
    """

    opcode: int
    target: Use | None = None
    functions: tuple[Use, ...] = ()
    type: int | None = None
    memory: int | None = None
    is_async: bool = False

    @property
    def lowers(self) -> Use | None:
        """The component function of a ``canon lower``."""
        return self.target if self.opcode == LOWER else None


@record
class Import:
    """An import.

    Attributes:
        name: its name.
        type: the index of the type of a function, an instance or a component; for a type, of what it equals.
    """

    name: str
    type: int | None = None


@record
class Export:
    """An export, which is an item of its index space like what it exports.

    Attributes:
        ascribed: whether it states a type of its own.
    """

    name: str
    target: Use
    ascribed: bool


@record
class Opaque:
    """A type, core type, start function or value."""


Definition: TypeAlias = (
    ModuleDefinition
    | CoreInstantiation
    | CoreExports
    | ComponentDefinition
    | Instantiation
    | InlineExports
    | ExportAlias
    | CoreExportAlias
    | OuterAlias
    | Canonical
    | Import
    | Export
    | Opaque
)


@record
class Item:
    """An item of a section.

    Attributes:
        start, end: where it stands in the input.
        sort: the index space that it adds to.
        definition: what it is.
    """

    start: int
    end: int
    sort: Sort | None
    definition: Definition

    def uses(self) -> tuple[Use, ...]:
        """Return the indices in it that may move, in the order in which they stand."""
        match self.definition:
            case CoreInstantiation(module, core_args):
                return (module, *(use for _, use in core_args))
            case CoreExports(core_exports):
                return tuple(use for _, use in core_exports)
            case Instantiation(component, args):
                return (component, *(use for _, use in args))
            case InlineExports(exports):
                return tuple(use for _, use in exports)
            case ExportAlias(instance) | CoreExportAlias(instance):
                return (instance,)
            case OuterAlias(target) | Export(_, target):
                return (target,)
            case Canonical(_, target, functions):
                return functions if target is None else (target, *functions)
        return ()


@record
class Section:
    """A section.

    Attributes:
        id: its id.
        header: where it begins in the input.
        start, end: where its contents stand.
        items: its items; those of type and core type sections are only counted, in ``hidden``.
        name: the name of a custom section, whose contents begin after it.
        hidden: how many items it has that are not in ``items``.
    """

    id: int
    header: int
    start: int
    end: int
    items: tuple[Item, ...] = ()
    name: str = ""
    hidden: int = 0


@record
class Component:
    """A component.

    Attributes:
        wasm: the input that it is in; all offsets are relative to it.
        start, end: where the component stands in it, its header included.
        sections: its sections.
        appended: which of them, by number, a snapshot of Wizer's has at its end to open handles again.
    """

    wasm: bytes
    start: int
    end: int
    sections: tuple[Section, ...]
    appended: range = range(0)

    @property
    def items(self) -> Iterator[Item]:
        """The items of all sections, in their order."""
        for section in self.sections:
            yield from section.items

    @property
    def own_sections(self) -> Iterator[Section]:
        """The sections that are not appended, in their order."""
        for number, section in enumerate(self.sections):
            if number not in self.appended:
                yield section

    def is_appended(self, item: Item) -> bool:
        """Whether an item is in an appended section."""
        if not self.appended:
            return False
        return self.sections[self.appended[0]].start <= item.start < self.sections[self.appended[-1]].end
