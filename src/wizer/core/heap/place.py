"""Placing objects: where in the snapshot each one is made, and how others get at it.

An object that is used once is written inside the expression of its user. An object that several places share
becomes an immutable global of its own, before all that refer to it::

    (global $shared (ref $point) (struct.new $point (i32.const 1) (i32.const 2)))
    (elem (table 0) (i32.const 0) (ref null $point) (global.get $shared) (global.get $shared))

Three things stand in the way, and what goes beyond constant expressions is left to the restore function:

- A cycle. Objects are placed children first, and a mutable field that refers to an object still to come
  starts as null and is *patched* (immutable fields cannot close a cycle: what they refer to was there first).
- The globals of the original module come before all appended ones, so their initialisers cannot refer to
  those. What they share with others is made inside them and reached by a *path*, or patched.
- Some objects no constant expression makes: exceptions, arrays of more than 10,000 differing elements that
  cannot be set. These are *late*: the restore function makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from wizer.binary.types import RefType, hierarchy, matches
from wizer.core.heap.graph import Graph, Slot
from wizer.core.heap.placeholder import exception_placeholder, placeholder
from wizer.core.state import ObjectRef, State
from wizer.records import record

# How deep expressions may be nested; a longer list continues in a global.
MAX_NESTING = 200

# The most globals that engines take: https://webassembly.github.io/spec/js-api/index.html#limits
MAX_GLOBALS = 1_000_000


@record
class InGlobal:
    """An object is the value of a global; expressions after it may say ``global.get``."""

    globalidx: int


@record
class Inside:
    """An object is made inside the expression of another one and sits in that one's slot."""

    parent: int
    slot: int


@record
class InMutableGlobal:
    """An object is made by the initialiser of a mutable global, which only the restore function may read."""

    globalidx: int


@record
class InTable:
    """An object is made by an element segment and sits in a table."""

    tableidx: int
    element: int


@record
class Late:
    """An object is made by the restore function, which keeps it under a number."""

    number: int


Home: TypeAlias = "InGlobal | Inside | InMutableGlobal | InTable | Late"


@record
class Patch:
    """A slot that the restore function sets."""

    node: int
    slot: Slot


class Placement:
    """Decides for every object of a state where it is made.

    Attributes:
        homes: for each object, where it is.
        appended: the objects that get a global of their own, in the order of these globals.
        late: the objects that the restore function makes, in their order.
        patches: the slots that it sets.
        patched_globals: the globals that it sets, because their initialisers cannot say their values.
    """

    # The number of the first late object.
    _first_late = 0

    def __init__(self, graph: Graph, state: State) -> None:
        self.graph = graph
        self.homes: dict[int, Home] = {}
        self.appended: list[int] = []
        self.late: list[int] = []
        self.patches: list[Patch] = []
        self.patched_globals: list[int] = []
        self._patched: set[tuple[int, int]] = set()
        self._state = state
        self._heights: dict[int, int] = {}
        self._forced: list[int] = []
        self._starts: list[int] = []
        self._external: frozenset[int] = frozenset()
        self._first_appended = len(graph.module.globals)
        self._late_nodes: frozenset[int] = frozenset()
        self._in_segments = frozenset(n for refs in state.elements.values() for n in nodes_of(refs))
        self._apart: frozenset[int] = frozenset()
        self._placeholders: dict[RefType | str, bool] = {}
        if state.heap:
            self._place()

    def _place(self) -> None:
        self._late_nodes = self._find_late()
        self._apart = self._find_apart()
        self._place_imported()
        self._place_existing()
        self._place_rest()
        self._place_single_uses()

    def is_patched(self, node: int, slot: int) -> bool:
        """Whether the restore function sets a slot."""
        return (node, slot) in self._patched

    def constant(self, node: int, reftype: RefType, before: int | None = None) -> bool:
        """Whether a constant expression can refer to an object, from a place of a type.

        ``before``: the expression may refer to the globals below this one only.
        """
        home = self.homes.get(node)
        if not isinstance(home, InGlobal) or (before is not None and home.globalidx >= before):
            return False
        module = self.graph.module
        if home.globalidx >= len(module.globals):
            return True  # an appended global has the object's own type
        valtype = module.globals[home.globalidx].type.valtype
        assert isinstance(valtype, RefType)
        if hierarchy(valtype.heap, module.types) != hierarchy(reftype.heap, module.types):
            return reftype.heap in ("any", "extern") and (reftype.nullable or not valtype.nullable)
        return matches(valtype, reftype, module.types)

    def single_patches(self) -> Sequence[Patch]:
        """Return the slots that are set one by one."""
        return self.patches

    def external(self, node: int) -> bool:
        """Whether an object belongs to an imported global."""
        return node in self._external

    def depth(self, node: int) -> int:
        """Return inside how many others an object is made."""
        depth = 0
        while isinstance(home := self.homes[node], Inside):
            depth, node = depth + 1, home.parent
        return depth

    def _place_imported(self) -> None:
        """Objects of imported globals belong to others; they and what they hold are only referred to."""
        stack: list[int] = []
        for globalidx, value in self._state.imported.items():
            if isinstance(value, ObjectRef) and value.object not in self.homes:
                self.homes[value.object] = InGlobal(globalidx)
                stack.append(value.object)
        while stack:
            node = stack.pop()
            for slot in self.graph.slots(node):
                child = node_in(slot)
                if child not in self.homes:
                    self.homes[child] = Inside(node, slot.index)
                    stack.append(child)
        self._external = frozenset(self.homes)

    def _place_existing(self) -> None:
        """Place what the globals of the original module hold, in their order."""
        module = self.graph.module
        held = [(g, v.object) for g, v in sorted(self._state.globals.items()) if isinstance(v, ObjectRef)]
        for globalidx, node in held:
            if not module.globals[globalidx].type.mutable:
                self.homes.setdefault(node, InGlobal(globalidx))
        for globalidx, node in held:
            global_ = module.globals[globalidx]
            if not global_.type.mutable:
                if self.homes[node] == InGlobal(globalidx):
                    self._make_in(globalidx, node)
            elif self._held_before(globalidx, node) and not module.imported("global", globalidx):
                continue
            elif self._fits_in(globalidx, node):
                self.homes[node] = InMutableGlobal(globalidx)
                self._make_in(globalidx, node)
            else:
                self.patched_globals.append(globalidx)
                self._forced.append(node)

    def _held_before(self, globalidx: int, node: int) -> bool:
        valtype = self.graph.module.globals[globalidx].type.valtype
        return isinstance(valtype, RefType) and self.constant(node, valtype, globalidx)

    def _fits_in(self, globalidx: int, node: int) -> bool:
        """Whether a mutable global's own initialiser makes an object: the global alone holds it, or must."""
        valtype = self.graph.module.globals[globalidx].type.valtype
        if self.graph.module.imported("global", globalidx):
            return False
        return (self._used_once(node) or not self._placeholder(valtype)) and self._makes(globalidx, node)

    def _used_once(self, node: int) -> bool:
        """Whether an object may be made inside its one user, although that could be set to refer to it."""
        return self.graph.uses[node] == 1

    def _placed(self, node: int) -> bool:
        """Whether it is known where an object is made."""
        return node in self.homes

    def _makes(self, globalidx: int, root: int) -> bool:
        """Whether a global's own initialiser can make an object, with what it must hold from the start.

        A constant expression cannot use what it makes twice, but for all the elements of an array. What a
        passive segment holds must be within its reach, too.
        """
        stack, met = [root], {root}
        while stack:
            node = stack.pop()
            if node in self.homes or node in self._in_segments or self._only_late(node):
                return False
            for slot in self._hard_slots(globalidx, node):
                child = node_in(slot)
                if child in met:
                    return False
                met.add(child)
                stack.append(child)
        return True

    def _hard_slots(self, globalidx: int, node: int) -> Iterator[Slot]:
        """Yield the slots for which an object must be made before this one, an array's equal ones once."""
        for slot in self.graph.slots(node):
            if not self._soft(slot) and not self.constant(node_in(slot), slot.reftype, globalidx):
                yield slot
                if self.graph.is_uniform(node):
                    return

    def _only_late(self, node: int) -> bool:
        """Whether only the restore function can make an object, whatever refers to it."""
        return node in self._late_nodes

    def _find_late(self) -> frozenset[int]:
        """Return exceptions, large arrays that cannot be set, and what must hold one from the start."""
        graph = self.graph
        found = {node for node in range(len(graph.heap)) if self._needs_code(node)}
        if not found:
            return frozenset()
        holders: dict[int, list[int]] = {}
        for node in range(len(graph.heap)):
            for slot in graph.slots(node):
                if not self._soft(slot):
                    holders.setdefault(node_in(slot), []).append(node)
        pending = list(found)
        while pending:
            for holder in holders.get(pending.pop(), ()):
                if holder not in found:
                    found.add(holder)
                    pending.append(holder)
        return frozenset(found)

    def _needs_code(self, node: int) -> bool:
        """Whether only the restore function makes an object, which does not depend on what it holds."""
        return self.graph.needs_code(node)

    def _placeholder(self, valtype: RefType | str) -> bool:
        found = self._placeholders.get(valtype)
        if found is None:
            found = isinstance(valtype, RefType) and placeholder(self.graph.module, valtype) is not None
            self._placeholders[valtype] = found
        return found

    def _soft(self, slot: Slot, *, late: bool = False) -> bool:
        """Whether the restore function can set a slot, in an object that it makes itself if ``late``."""
        if not slot.mutable:
            return False
        exception = late and self.graph.top(slot.reftype) == "exn"
        return self._placeholder(slot.reftype) or (
            exception and exception_placeholder(self.graph.module) is not None
        )

    def _make_in(self, globalidx: int, root: int) -> None:
        """Make an object in the initialiser of a global of the original module."""
        stack = self._make_hard(globalidx, root, 0)
        while stack:
            node, depth = stack.pop()
            for slot in self.graph.slots(node):
                child = node_in(slot)
                if not self._soft(slot) or self.constant(child, slot.reftype, globalidx):
                    continue
                if self._used_once(child) and depth < MAX_NESTING and self._makes(globalidx, child):
                    self.homes[child] = Inside(node, slot.index)
                    stack += self._make_hard(globalidx, child, depth + 1)
                else:
                    self._patch(node, slot)
                    self._forced.append(child)

    def _make_hard(self, globalidx: int, root: int, depth: int) -> list[tuple[int, int]]:
        """Place what an object must hold from the start inside it; return them and itself, with depths."""
        made = [(root, depth)]
        for node, depth_ in made:
            for slot in self._hard_slots(globalidx, node):
                child = node_in(slot)
                if child in self.homes:
                    self._patch(node, slot)
                    self._forced.append(child)
                else:
                    self.homes[child] = Inside(node, slot.index)
                    made.append((child, depth_ + 1))
        return made

    def _patch(self, node: int, slot: Slot) -> None:
        self._patched.add((node, slot.index))
        self.patches.append(Patch(node, slot))

    def _place_rest(self) -> None:
        """Place the other objects, children first."""
        for elements in self._state.elements.values():
            self._forced += nodes_of(elements)
        forced = set(self._forced)
        self._starts = [*self._forced, *self._root_nodes()]
        for start in self._starts:  # which grows meanwhile
            for node in self._children_first(start):
                if node in self.homes:
                    continue
                if self._stands_alone(node, forced):
                    self._emit(node)

    def _root_nodes(self) -> Iterator[int]:
        for table in self._state.tables.values():
            yield from nodes_of((table.changed or {}).values())

    def _children_first(self, start: int) -> Iterator[int]:
        """Yield unplaced objects reachable from ``start``, each after what it refers to but for cycles."""
        if start in self.homes or start in self._heights:
            return
        self._heights[start] = 0
        stack = [(start, self.graph.slots(start))]
        while stack:
            node, slots = stack[-1]
            for slot in slots:
                child = node_in(slot)
                if child not in self.homes and child not in self._heights:
                    self._heights[child] = 0
                    stack.append((child, self.graph.slots(child)))
                    break
            else:
                stack.pop()
                yield node

    def _stands_alone(self, node: int, forced: set[int]) -> bool:
        """Whether an object gets a global of its own, or is made late, rather than inside its one user."""
        if self.graph.uses[node] > 1 or node in forced or node in self._apart or self._only_late(node):
            return True
        height = 1
        for slot in self.graph.slots(node):
            child = node_in(slot)
            if child not in self.homes:
                height = max(height, self._heights.get(child, 0) + 1)
            elif not slot.mutable and not self.constant(child, slot.reftype):
                return True  # it will be late, and its user need not be
        self._heights[node] = height
        return height >= MAX_NESTING

    def _emit(self, start: int) -> None:
        """Place an object that stands alone, what its immutable fields refer to before it."""
        stack = [start]
        while stack:
            node = stack[-1]
            wanted = list(self._wanted_before(node))
            if wanted:
                stack.extend(wanted)
                continue
            stack.pop()
            if node not in self.homes:
                self._settle(node)

    def _within(self, node: int) -> Iterator[tuple[int, Slot]]:
        """Yield the slots of an object and of the objects that are made inside it, themselves included."""
        stack = [node]
        while stack:
            parent = stack.pop()
            for slot in self.graph.slots(parent):
                yield parent, slot
                if self._is_inside(node_in(slot)):
                    stack.append(node_in(slot))

    def _is_inside(self, child: int) -> bool:
        """Whether an unplaced object is to be made inside its one user."""
        return (
            child not in self.homes
            and self._used_once(child)
            and self._heights.get(child, 0) < MAX_NESTING
            and not self._only_late(child)
            and child not in self._apart
        )

    def _find_apart(self) -> frozenset[int]:
        """Return the objects that stand alone although one user has them only.

        That user is an exception, which nothing gets inside of; or it is on a cycle with the object and can
        be set to refer to it: what the object must hold from the start may be its user itself.
        """
        cycles = self.graph.cycles()
        return frozenset(
            node_in(slot)
            for node in range(len(self.graph.heap))
            for slot in self.graph.slots(node)
            if (cycles[node] == cycles[node_in(slot)] and self._soft(slot)) or self.graph.is_exception(node)
        )

    def _wanted_before(self, node: int) -> Iterator[int]:
        late = self._only_late(node)
        for _, slot in self._within(node):
            child = node_in(slot)
            if not self._placed(child) and not self._is_inside(child) and not self._soft(slot, late=late):
                yield child

    def _settle(self, node: int) -> None:
        """Give an object a global of its own, or make it late, with all that is made inside it."""
        inside = list(self._within(node))
        late = self._only_late(node) or self._first_appended + len(self.appended) >= MAX_GLOBALS
        for _, slot in inside:
            child = node_in(slot)
            if self._placed(child) and not self.constant(child, slot.reftype) and not self._soft(slot):
                late = True
        if late:
            self.homes[node] = Late(self._first_late + len(self.late))
            self.late.append(node)
        else:
            self.homes[node] = InGlobal(self._first_appended + len(self.appended))
            self.appended.append(node)
        self._settle_inside(node, inside, late)

    def _settle_inside(self, root: int, inside: Iterable[tuple[int, Slot]], late: bool) -> None:
        """Place what is made inside ``root``, and patch the slots whose objects are out of its reach."""
        for parent, slot in inside:
            child = node_in(slot)
            if self._is_inside(child):
                self.homes[child] = Inside(parent, slot.index)
            elif child == root or not (self.constant(child, slot.reftype) or (late and self._placed(child))):
                self._patch(parent, slot)
                self._starts.append(child)  # in case the search passed by an object placed ahead of its turn

    def _place_single_uses(self) -> None:
        """Place what sits in one table only, inside that table's segments."""
        for tableidx, table in self._state.tables.items():
            for element, ref in (table.changed or {}).items():
                if isinstance(ref, ObjectRef) and ref.object not in self.homes:
                    inside = list(self._within(ref.object))
                    self.homes[ref.object] = InTable(tableidx, element)
                    self._settle_inside(ref.object, inside, late=False)


def node_in(slot: Slot) -> int:
    """Return the object in a slot."""
    assert isinstance(slot.value, ObjectRef)
    return slot.value.object


def nodes_of(values: Iterable[object]) -> Iterator[int]:
    """Yield the objects among values."""
    return (value.object for value in values if isinstance(value, ObjectRef))
