"""Rewrite: the component with its new core modules.

Before, with ``$m`` instantiated twice::

    (component
      (core module $m …)
      (core instance $a (instantiate $m))
      (core instance $b (instantiate $m))
      (func $init (canon lift (core func $a "init")))
      (export "wizer-initialize" (func $init))
      (export "run" (func $run)))

After::

    (component
      (core module $m … the state of $a)
      (core module $m' … the state of $b)
      (core instance $a (instantiate $m))
      (core instance $b (instantiate $m'))
      (func $init (canon lift (core func $a "init")))
      (export "run" (func $run)))

A module's first instance takes the place of the module; every further one gets a module of its own in front
of the section that instantiates it, unless an equal one is there already: engines take no more than 1,000 of
them. Nested components are copied in the same way, right behind the original, or where they are instantiated
if they are imported there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from wizer.binary.assemble import Chunk, encode_section
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.sections import encode_vector_section
from wizer.component import items as it
from wizer.component.encode import Scope, renumbered, whole
from wizer.component.instances import (
    CoreInstance,
    Frame,
    Instances,
    Site,
    escaping,
    frames,
    is_closed,
    site_key,
)
from wizer.component.items import Component, Item, Section
from wizer.component.names import NAME_SECTION, renumber_names
from wizer.component.removal import Path, Removal
from wizer.component.reopen import Reopened, reopening
from wizer.errors import StateError


def rewrite_component(
    instances: Instances,
    modules: Mapping[int, Sequence[Chunk]],
    handles: Mapping[int, Reopened],
    removed: Collection[Path] = (),
) -> list[Chunk]:
    """Return the chunks of the new component.

    Args:
        instances: the instantiation of the original.
        modules: the new module for each core instance, by its number.
        handles: what is opened again in which component instance, by the `id` of its frame.
        removed: the exported functions to leave out, by name, or by the names of an instance and a function.

    Raises:
        OptionError: a function to leave out is in an instance that cannot be taken apart.
        StateError: a component is passed to another one by import and instantiated there more than once,
            and refers to what is around it.
    """
    rewriter = _Rewriter(instances, modules, handles, Removal(instances.root, removed))
    return rewriter.component(instances.root.component, instances.root, None)


# The most modules and components that engines take in one component.
_MOST_MODULES: Final = 1000


class _Placement:
    """Which core instance's module and which frame's component go where.

    Attributes:
        in_place: by site, the core instance or frame that takes the place of the original.
        copies: by site, the frames that get a copy behind it.
        inlined: the frames that get a copy in front of their instantiation, by `id`: where it happens, the
            component behind the site has no name.
        touched: the frames whose component changes, by `id`.
    """

    def __init__(self, instances: Instances, changed: Collection[int]) -> None:
        self.in_place: dict[tuple[int, int], CoreInstance | Frame] = {}
        self.copies: dict[tuple[int, int], list[Frame]] = {}
        self.inlined: set[int] = set()
        self.touched: set[int] = set(changed)
        fixed = escaping(instances.root)
        all_frames = list(frames(instances.root))
        makers = {id(core): frame for frame in all_frames for core in frame.cores.values()}
        for core in instances.own_cores:
            key = site_key(core.site)
            if key in fixed or key in self.in_place:
                self.touched.add(id(makers[id(core)]))
            else:
                self.in_place[key] = core
                self.touched.add(id(core.site.frame))
        self._place_frames(all_frames, fixed)

    def _place_frames(self, all_frames: Sequence[Frame], fixed: set[tuple[int, int]]) -> None:
        made: dict[tuple[int, int], list[tuple[Site, Frame, Frame]]] = {}
        for maker in all_frames:
            for site, child in maker.children.values():
                made.setdefault(site_key(site), []).append((site, child, maker))
        before = -1
        while len(self.touched) + len(self.inlined) != before:  # a change inside changes what is around it
            before = len(self.touched) + len(self.inlined)
            for key, children in made.items():
                changed = [entry for entry in children if id(entry[1]) in self.touched]
                if not changed:
                    continue
                self.touched.add(id(changed[0][0].frame))
                first = 0 if key in fixed or len(changed) < len(children) else 1
                if first:
                    self.in_place[key] = changed[0][1]
                self.inlined |= {
                    id(child)
                    for site, child, maker in changed[first:]
                    if _levels(maker, site.frame, self.inlined) is None
                }
                self.copies[key] = [child for _, child, _ in changed[first:] if id(child) not in self.inlined]
                self.touched.update(id(maker) for _, _, maker in changed[first:])

    def copied(self, site: Site, frame: Frame) -> bool:
        """Whether ``frame`` gets a copy of its component."""
        return frame in self.copies.get(site_key(site), ())


class _Rewriter:
    """One rewriting."""

    def __init__(
        self,
        instances: Instances,
        modules: Mapping[int, Sequence[Chunk]],
        handles: Mapping[int, Reopened],
        removal: Removal,
    ) -> None:
        self.root = instances.root
        self.modules = modules
        self.handles = handles
        self.removal = removal
        appended = [id(frame) for frame in frames(instances.root) if frame.component.appended]
        self.placement = _Placement(instances, [*removal.gone, *handles, *appended])
        self.copy_index: dict[int, tuple[Frame, int]] = {}
        self._sites = Counter(site_key(core.site) for core in instances.own_cores)
        self._known: dict[tuple[Scope, bytes], int] = {}  # by scope and contents, the index of a module

    def component(self, component: Component, frame: Frame | None, parent: Scope | None) -> list[Chunk]:
        """Return the chunks of a component as ``frame`` has it, or, without one, of the definition."""
        scope = Scope(parent)
        chunks: list[Chunk] = [memoryview(component.wasm)[component.start : component.start + 8]]
        names: list[tuple[int, Section]] = []
        for old in component.own_sections if frame is not None else component.sections:
            match old.id:
                case it.CUSTOM if old.name == NAME_SECTION:
                    names.append((len(chunks), old))
                    chunks.append(whole(component, old))
                case it.CORE_MODULE:
                    chunks += self._module(component, frame, old, scope)
                case it.COMPONENT:
                    chunks += self._nested(frame, old, scope)
                case _:
                    chunks += self._items(component, frame, old, scope)
        count = scope.count("core module") + scope.count("component")
        if count > _MOST_MODULES:
            raise StateError(
                f"the snapshot needs {count} modules and components in one component, since each instance "
                f"has a state of its own, and engines take {_MOST_MODULES}: instantiate fewer"
            )
        if frame is self.root:
            chunks += self.removal.smaller_instances(scope)
        for position, old in reversed(names):
            chunks[position : position + 1] = _names(component, old, scope)
        if id(frame) in self.handles:
            chunks += reopening(component, self.handles[id(frame)], scope)
        return chunks

    def _module(self, component: Component, frame: Frame | None, old: Section, scope: Scope) -> list[Chunk]:
        core = self._in_place(frame, old.items[0])
        index = scope.keep("core module")
        if not isinstance(core, CoreInstance):
            return [whole(component, old)]
        if self._sites[site_key(core.site)] > 1:
            self._known.setdefault((scope, _digest(self.modules[core.number])), index)
        return encode_section(it.CORE_MODULE, self.modules[core.number])

    def _in_place(self, frame: Frame | None, item: Item) -> CoreInstance | Frame | None:
        return self.placement.in_place.get((id(frame), item.start)) if frame else None

    def _nested(self, frame: Frame | None, old: Section, scope: Scope) -> list[Chunk]:
        """Return a nested component, and the copies of it that follow it."""
        item = old.items[0]
        assert isinstance(item.definition, it.ComponentDefinition)
        nested = item.definition.component
        own = self._in_place(frame, item)
        chunks = encode_section(
            it.COMPONENT, self.component(nested, own if isinstance(own, Frame) else None, scope)
        )
        scope.keep("component")
        for child in self.placement.copies.get((id(frame), item.start), ()) if frame else ():
            chunks += encode_section(it.COMPONENT, self.component(nested, child, scope))
            assert frame is not None
            self.copy_index[id(child)] = frame, scope.add("component")
        return chunks

    def _items(self, component: Component, frame: Frame | None, old: Section, scope: Scope) -> list[Chunk]:
        if frame is not None and old.id == it.CORE_INSTANCE:
            chunks, replaced = self._core_copies(frame, old, scope)
            return chunks + renumbered(component, old, scope, replaced=replaced)
        if frame is not None and old.id == it.INSTANCE:
            chunks, replaced = self._component_copies(frame, old, scope)
            return chunks + renumbered(component, old, scope, self._gone(frame, old), replaced)
        return renumbered(component, old, scope, self._gone(frame, old))

    def _gone(self, frame: Frame | None, old: Section) -> set[int]:
        """Return what goes of a section."""
        gone = self.removal.gone.get(id(frame), set())
        return {place for place in gone if old.start <= place < old.end}

    def _core_copies(self, frame: Frame, old: Section, scope: Scope) -> tuple[list[Chunk], dict[int, int]]:
        """Return the modules to put in front of a section, and by instantiation the index of its own."""
        chunks: list[Chunk] = []
        replaced: dict[int, int] = {}
        for item in old.items:
            core = frame.cores.get(item.start)
            if core is not None and self.placement.in_place.get(site_key(core.site)) is not core:
                key = scope, _digest(self.modules[core.number])
                if key not in self._known:
                    chunks += encode_section(it.CORE_MODULE, self.modules[core.number])
                    self._known[key] = scope.add("core module")
                replaced[item.start] = self._known[key]
        return chunks, replaced

    def _component_copies(
        self, frame: Frame, old: Section, scope: Scope
    ) -> tuple[list[Chunk], dict[int, int]]:
        """Return what to put in front of a section, and by instantiation the index of its copy."""
        chunks: list[Chunk] = []
        replaced: dict[int, int] = {}
        for item in old.items:
            site, child = frame.children.get(item.start, (None, None))
            if child is not None and id(child) in self.placement.inlined:
                chunks += self._inlined(child, scope)
                replaced[item.start] = scope.add("component")
            elif site is not None and child is not None and self.placement.copied(site, child):
                home, index = self.copy_index[id(child)]
                if home is not frame:
                    levels = _levels(frame, home)
                    assert levels is not None
                    alias = b"\x04\x02" + encode_unsigned(levels) + encode_unsigned(index)
                    chunks.append(encode_vector_section(it.ALIAS, [alias]))
                    index = scope.add("component")
                replaced[item.start] = index
        return chunks, replaced

    def _inlined(self, child: Frame, scope: Scope) -> list[Chunk]:
        """Return a copy of a component that was imported, for an instance of its own."""
        if not is_closed(child.component):
            raise StateError(
                f"{child.label} is made of a component that is passed by import and instantiated elsewhere, "
                "too. It would need a copy, but refers to what is around the original: define in it what it "
                "needs, or pass the component to one instantiation only"
            )
        return encode_section(it.COMPONENT, self.component(child.component, child, scope))


def _digest(module: Sequence[Chunk]) -> bytes:
    import hashlib

    digest = hashlib.blake2b()
    for chunk in module:
        digest.update(chunk)
    return digest.digest()


def _levels(frame: Frame, home: Frame, moved: Collection[int] = ()) -> int | None:
    """Return how many levels out of ``frame`` its ancestor ``home`` is.

    None: it is no ancestor, or a frame between them is among those ``moved`` elsewhere.
    """
    levels, current = 0, frame
    while current is not home:
        if current.parent is None or id(current) in moved:
            return None
        levels, current = levels + 1, current.parent
    return levels


def _names(component: Component, old: Section, scope: Scope) -> list[Chunk]:
    if not scope.moved:
        return [whole(component, old)]
    contents = renumber_names(component.wasm, old, scope.moved_name, frozenset(scope.moved))
    return [] if contents is None else encode_section(it.CUSTOM, [contents])
