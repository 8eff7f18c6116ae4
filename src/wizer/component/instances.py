"""The instances that a component is made of and how they are linked, worked out without running it.

https://github.com/WebAssembly/component-model/blob/main/design/mvp/Explainer.md#instance-definitions

``(component (core module $m …) (core instance (instantiate $m)) (core instance (instantiate $m)))`` has one
`Frame` and two `CoreInstance`, numbered in the order in which the engine makes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from wizer.binary.externs import ExternKind, numbered
from wizer.binary.module import Module, parse_module
from wizer.component import items as it
from wizer.component.items import Component, Item, Sort, Use
from wizer.component.names import read_component_names
from wizer.errors import InvalidError, ParseError, StateError
from wizer.records import record

# The engine's own limit on core instances, and a bound on what nested instantiation can multiply to.
MAX_INSTANCES: Final = 10_000


@record
class Imported:
    """An import of the outermost component, or an export of an imported instance."""

    name: str


@record
class Entity:
    """A table, memory, global, tag or function: its kind, its core instance (a number), its index there."""

    kind: ExternKind
    owner: int
    index: int


@record
class Site:
    """The definition of a core module or component: an item, in an instance of the component around it."""

    frame: Frame
    item: Item


@record
class CanonicalFunction:
    """A core function of the canonical ABI.

    Attributes:
        start: where it stands in the input.
        lowers: whether it lowers a component function; others are built-in, for handles, tasks or threads.
    """

    start: int
    lowers: bool


class CoreInstance:
    """An instance of a core module.

    Attributes:
        number: its place in the order of instantiation.
        site: its module.
        module: the same, parsed.
        imports: what each import is, where a core instance of the component owns it.
        canonical: the canonical functions that it imports.
        is_appended: whether a snapshot appended it, to open handles again.
        label: what to call it in a message.
    """

    def __init__(self, number: int, site: Site, module: Module, label: str, *, is_appended: bool) -> None:
        self.number = number
        self.site = site
        self.module = module
        self.imports: dict[tuple[ExternKind, int], Entity] = {}
        self.canonical: set[CanonicalFunction] = set()
        self.is_appended = is_appended
        self.label = label

    @property
    def drops_handles(self) -> bool:
        """Whether it imports built-ins, those that make and drop handles among them."""
        return not all(function.lowers for function in self.canonical)

    def entity(self, kind: ExternKind, index: int) -> Entity | None:
        """Return an item of the module as its owner has it; None where the canonical ABI or the host does."""
        if self.module.imported(kind, index):
            return self.imports.get((kind, index))
        return Entity(kind, self.number, index)


@record
class CoreItems:
    """A core instance put together from items of others, by name."""

    exports: Mapping[str, Resolved | None]


@record
class Exports:
    """A component instance as others see it: what it exports, with its sort, by name."""

    items: Mapping[str, tuple[Sort, Resolved | None]]


Resolved: TypeAlias = "Site | Imported | CanonicalFunction | CoreInstance | CoreItems | Entity | Exports"
"""What an index or a name in a component stands for once it is instantiated."""


class Frame:
    """An instance of a component.

    Attributes:
        component: its definition.
        parent: the frame that the definition is nested in.
        spaces: the index spaces; None stands for items that have no part in instantiation.
        exports: its exports.
        cores: the core instances that it makes, by where the item stands in the input.
        children: the component instances that it makes, likewise, with the component.
        names: the names of its items.
        label: what to call it in a message.
    """

    def __init__(self, component: Component, parent: Frame | None, label: str) -> None:
        self.component = component
        self.parent = parent
        self.spaces: dict[Sort, list[Resolved | None]] = {}
        self.exports: dict[str, tuple[Sort, Resolved | None]] = {}
        self.cores: dict[int, CoreInstance] = {}
        self.children: dict[int, tuple[Site, Frame]] = {}
        self.names: Mapping[tuple[Sort, int], str] = read_component_names(component)
        self.label = label

    def ancestor(self, outer: int) -> Frame:
        """Return the frame ``outer`` levels out."""
        frame = self
        for _ in range(outer):
            if frame.parent is None:
                raise ParseError(f"an outer alias goes {outer} levels out", frame.component.start)
            frame = frame.parent
        return frame

    def describe(self, sort: Sort, index: int) -> str:
        """Return what to call an item in a message."""
        name = self.names.get((sort, index))
        return f"{sort} {index}" if name is None else f'{sort} {index} ("{name}")'


@record
class Instances:
    """All that an instance of a component is made of.

    Attributes:
        root: the outermost frame.
        cores: the core instances in the order in which the engine makes them.
        modules: the modules that are instantiated, parsed, by where they begin in the input.
    """

    root: Frame
    cores: tuple[CoreInstance, ...]
    modules: Mapping[int, Module]

    @property
    def own_cores(self) -> tuple[CoreInstance, ...]:
        """The core instances that are not appended."""
        return tuple(core for core in self.cores if not core.is_appended)


def evaluate(component: Component) -> Instances:
    """Work out the instantiation of ``component``.

    Raises:
        ParseError: an index goes nowhere, or a module inside is malformed.
        StateError: an imported module or component is instantiated, or there are component start functions
            or values.
    """
    evaluation = _Evaluation()
    root = evaluation.frame(component, None, {})
    return Instances(root, tuple(evaluation.cores), evaluation.modules)


class _Evaluation:
    """One evaluation, which numbers the core instances."""

    def __init__(self) -> None:
        self.cores: list[CoreInstance] = []
        self.modules: dict[int, Module] = {}
        self.frames = 0

    def frame(
        self,
        component: Component,
        parent: Frame | None,
        args: Mapping[str, Resolved | None],
        label: str = "the component",
    ) -> Frame:
        """Instantiate ``component`` with ``args``."""
        self.frames += 1
        if self.frames > MAX_INSTANCES:
            raise InvalidError(f"the component has more than {MAX_INSTANCES} component instances")
        frame = Frame(component, parent, label)
        for item in component.items:
            value = self._value(frame, item, args, root=parent is None)
            if item.sort is not None:
                frame.spaces.setdefault(item.sort, []).append(value)
        return frame

    def _value(
        self, frame: Frame, item: Item, args: Mapping[str, Resolved | None], *, root: bool
    ) -> Resolved | None:
        match item.definition:
            case it.ModuleDefinition() | it.ComponentDefinition():
                return Site(frame, item)
            case it.CoreInstantiation(module, core_args):
                return self._core_instance(frame, item, module, dict(core_args))
            case it.CoreExports(core_exports):
                return CoreItems({name: _find(frame, use) for name, use in core_exports})
            case it.Instantiation(component, instance_args):
                return self._instance(frame, item, component, dict(instance_args))
            case it.InlineExports(exports):
                return Exports({name: (use.sort, _find(frame, use)) for name, use in exports})
            case it.Canonical() if item.sort == "core func":
                return CanonicalFunction(item.start, item.definition.lowers is not None)
            case it.Import(name):
                return _imported(item, name) if root else args.get(name)
            case it.Export(name, target):
                value = _find(frame, target)
                frame.exports[name] = target.sort, value
                return value
            case it.Opaque():
                raise _unsupported(item)
        return _alias(frame, item)

    def _core_instance(self, frame: Frame, item: Item, module: Use, args: Mapping[str, Use]) -> CoreInstance:
        site = _find(frame, module)
        number = len(frame.spaces.get("core instance", ()))
        label = frame.describe("core instance", number)
        if isinstance(site, Imported):
            raise StateError(
                f'{label} is made of the imported core module "{site.name}", whose code is not in the '
                "component; link it in first"
            )
        if not isinstance(site, Site) or not isinstance(site.item.definition, it.ModuleDefinition):
            raise ParseError(f"unknown core module {module.index}", module.start)
        if len(self.cores) >= MAX_INSTANCES:
            raise InvalidError(f"the component has more than {MAX_INSTANCES} core instances")
        appended = frame.component.is_appended(item)
        instance = CoreInstance(len(self.cores), site, self._module(site), label, is_appended=appended)
        self.cores.append(instance)
        _link(instance, {name: _find(frame, use) for name, use in args.items()})
        frame.cores[item.start] = instance
        return instance

    def _module(self, site: Site) -> Module:
        """Parse a module once, where it stands."""
        start = site.item.start
        if start not in self.modules:
            self.modules[start] = parse_module(site.frame.component.wasm, start, site.item.end)
        return self.modules[start]

    def _instance(self, frame: Frame, item: Item, component: Use, args: Mapping[str, Use]) -> Exports:
        site = _find(frame, component)
        label = frame.describe("instance", len(frame.spaces.get("instance", ())))
        if isinstance(site, Imported):
            raise StateError(
                f'{label} is made of the imported component "{site.name}", which is not in this one; '
                "compose them first"
            )
        if not isinstance(site, Site) or not isinstance(site.item.definition, it.ComponentDefinition):
            raise ParseError(f"unknown component {component.index}", component.start)
        values = {name: _find(frame, use) for name, use in args.items()}
        child = self.frame(site.item.definition.component, site.frame, values, label)
        frame.children[item.start] = (site, child)
        return Exports(child.exports)


def _alias(frame: Frame, item: Item) -> Resolved | None:
    match item.definition:
        case it.ExportAlias(use, name):
            instance = _find(frame, use)
            if isinstance(instance, Imported):
                return Imported(f"{instance.name}.{name}")
            return instance.items.get(name, (None, None))[1] if isinstance(instance, Exports) else None
        case it.CoreExportAlias(use, name):
            return _exported(_find(frame, use), name)
        case it.OuterAlias(target):
            return _find(frame, target) if target.sort in ("core module", "component") else None
    return None


def _lookup(frame: Frame, sort: Sort, index: int) -> Resolved | None:
    space = frame.spaces.get(sort, ())
    if index < len(space):
        return space[index]
    if sort in ("type", "core type"):
        return None
    raise ParseError(f"unknown {sort} {index}: there are {len(space)}", frame.component.start)


def _find(frame: Frame, use: Use) -> Resolved | None:
    return _lookup(frame.ancestor(use.outer), use.sort, use.index)


def _exported(instance: Resolved | None, name: str) -> Resolved | None:
    """Return an export of a core instance."""
    if isinstance(instance, CoreInstance):
        export = instance.module.exports_by_name.get(name)
        return instance.entity(export.kind, export.index) if export else None
    return instance.exports.get(name) if isinstance(instance, CoreItems) else None


def _link(instance: CoreInstance, args: Mapping[str, Resolved | None]) -> None:
    """Note who owns the imports of a core instance."""
    for index, imported in numbered(instance.module.imports):
        entity = _exported(args.get(imported.module), imported.name)
        if isinstance(entity, Entity):
            instance.imports[imported.kind, index] = entity
        elif isinstance(entity, CanonicalFunction):
            instance.canonical.add(entity)


def _imported(item: Item, name: str) -> Imported:
    if item.sort == "value":
        raise StateError(f'the component imports the value "{name}"; values are not supported')
    return Imported(name)


def _unsupported(item: Item) -> StateError:
    if item.sort == "value":
        return StateError("the component defines values, which are not supported")
    return StateError(
        "the component has a start function, which is not supported; call it as the initialisation function"
    )


def frames(root: Frame) -> Iterator[Frame]:
    """Yield ``root`` and all frames inside it."""
    yield root
    for _, child in root.children.values():
        yield from frames(child)


def made(frame: Frame) -> Iterator[CoreInstance | Frame]:
    """Yield ``frame``, the frames inside it and their core instances, in the order of their completion."""
    for start in sorted([*frame.cores, *frame.children]):
        if start in frame.cores:
            yield frame.cores[start]
        else:
            yield from made(frame.children[start][1])
    yield frame


def escaping(root: Frame) -> set[tuple[int, int]]:
    """Return the modules and components that the root component exports, which others can instantiate.

    Those outside an exported component that it refers to are among them. Each is given as its `site_key`.
    """
    found: set[tuple[int, int]] = set()
    _escape(Exports(root.exports), found)
    return found


def _escape(value: Resolved | None, found: set[tuple[int, int]]) -> None:
    if isinstance(value, Exports):
        for _, inner in value.items.values():
            _escape(inner, found)
    elif isinstance(value, Site) and (key := site_key(value)) not in found:
        found.add(key)
        if isinstance(value.item.definition, it.ComponentDefinition):
            for target in _free(value.item.definition.component, value.frame):
                _escape(target, found)


def _free(component: Component, frame: Frame) -> list[Resolved | None]:
    """Return the modules and components outside that a component, defined in ``frame``, refers to."""
    return [
        _lookup(frame.ancestor(levels), target.sort, target.index)
        for levels, target in _outer_aliases(component)
        if target.sort in ("core module", "component")
    ]


def _outer_aliases(component: Component, depth: int = 0) -> Iterator[tuple[int, Use]]:
    """Yield what a component, ``depth`` levels down, and those nested in it refer to around the top one.

    That is: how many levels out of the frame in which the top one is defined, and the alias.
    """
    for item in component.items:
        match item.definition:
            case it.OuterAlias(target) if target.outer > depth:
                yield target.outer - depth - 1, target
            case it.ComponentDefinition(nested):
                yield from _outer_aliases(nested, depth + 1)


# `(alias outer …)` of a type in a type: one level out is still inside the component.
_OUTER_TYPE: Final = re.compile(rb"\x02(?:\x03|\x00[\x10\x11])\x02[^\x00\x01]")


def is_closed(component: Component) -> bool:
    """Whether a component refers to nothing around it.

    Types are not read: one in which something looks like a reference counts as one.
    """
    return next(_outer_aliases(component), None) is None and not _may_have_outer_types(component)


def _may_have_outer_types(component: Component) -> bool:
    return any(
        section.hidden and _OUTER_TYPE.search(component.wasm, section.start, section.end)
        for section in component.sections
    ) or any(
        _may_have_outer_types(item.definition.component)
        for item in component.items
        if isinstance(item.definition, it.ComponentDefinition)
    )


def site_key(site: Site) -> tuple[int, int]:
    """Return what identifies a site."""
    return id(site.frame), site.item.start


def exported_functions(exports: Exports, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the functions that an instance exports: names of instances, and of the function."""
    for name, (sort, value) in exports.items.items():
        if sort == "func":
            yield (*path, name)
        elif isinstance(value, Exports):
            yield from exported_functions(value, (*path, name))
