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

from collections.abc import Callable, Iterable, Iterator, Sequence

from wizer.binary.types import RefType
from wizer.core.heap.graph import Graph, Slot
from wizer.core.heap.placeholder import exception_placeholder, placeholder
from wizer.core.heap.placement import (
    Home,
    InGlobal,
    InMutableGlobal,
    Inside,
    InTable,
    Late,
    Patch,
    Placement,
    in_reach,
)
from wizer.core.state import ObjectRef, State

# How deep expressions may be nested; a longer list continues in a global.
MAX_NESTING = 200

# The most globals that engines take: https://webassembly.github.io/spec/js-api/index.html#limits
MAX_GLOBALS = 1_000_000


def place_few(graph: Graph, state: State) -> Placement:
    """Decide where every object of a state is made, most of them by constant expressions."""
    placing = Placing(graph, state, nests=True)
    if state.heap:
        placing.needs_code = late_with_holders(graph, placing.settable, map(graph.needs_code, graph.nodes))
        placing.separate = _separate(graph, placing.settable)
        placing.place_imported()
        placing.place_globals()
        placing.place_rest()
        placing.place_in_tables()
    return placing.placement(placing.patches)


def late_with_holders(
    graph: Graph, settable: Callable[[Slot], bool], needs_code: Iterable[bool]
) -> frozenset[int]:
    """Return the objects that only code can make, and what must hold one from the start."""
    found = {node for node, needs in enumerate(needs_code) if needs}
    if not found:
        return frozenset()
    holders: dict[int, list[int]] = {}
    for node in graph.nodes:
        for slot in graph.slots(node):
            if not settable(slot):
                holders.setdefault(node_in(slot), []).append(node)
    pending = list(found)
    while pending:
        for holder in holders.get(pending.pop(), ()):
            if holder not in found:
                found.add(holder)
                pending.append(holder)
    return frozenset(found)


def _separate(graph: Graph, settable: Callable[[Slot], bool]) -> frozenset[int]:
    """Return the objects that stand alone although one user has them only.

    That user is an exception, which nothing gets inside of; or it is on a cycle with the object and can
    be set to refer to it: what the object must hold from the start may be its user itself.
    """
    cycles = graph.cycles()
    return frozenset(
        node_in(slot)
        for node in graph.nodes
        for slot in graph.slots(node)
        if (cycles[node] == cycles[node_in(slot)] and settable(slot)) or graph.is_exception(node)
    )


class Placing:
    """A `Placement` in the making.

    Attributes:
        homes, appended, late, patches, patched_globals, external: as a `Placement` has them.
        needs_code: the objects that only the restore function can make.
        separate: the objects that stand alone although one user has them only.
        made: the objects that are made from data: true for each.

    Args:
        graph: the objects.
        state: the state.
        nests: whether an object may be made inside its one user although that could be set to refer to it.
        first_number: the number of the first late object.
    """

    def __init__(self, graph: Graph, state: State, *, nests: bool, first_number: int = 0) -> None:
        self.graph = graph
        self.homes: dict[int, Home] = {}
        self.appended: list[int] = []
        self.late: list[int] = []
        self.patches: list[Patch] = []
        self.patched_globals: list[int] = []
        self.external: frozenset[int] = frozenset()
        self.needs_code: frozenset[int] = frozenset()
        self.separate: frozenset[int] = frozenset()
        self.made: bytearray = bytearray(len(graph.heap))
        self._state = state
        self._nests = nests
        self._first_number = first_number
        self._first_appended = len(graph.module.globals)
        self._heights: dict[int, int] = {}
        self._alone: list[int] = []
        self._starts: list[int] = []
        self._in_segments = frozenset(n for refs in state.elements.values() for n in nodes_of(refs))
        self._has_placeholder: dict[RefType | str, bool] = {}

    def placement(self, single_patches: Sequence[Patch]) -> Placement:
        """Return what has been decided."""
        return Placement(
            self.graph,
            self.homes,
            self.appended,
            self.late,
            self.patches,
            single_patches,
            self.patched_globals,
            self.external,
        )

    def constant(self, node: int, reftype: RefType, before: int | None = None) -> bool:
        """Whether a constant expression can refer to an object; see `in_reach`."""
        return in_reach(self.graph, self.homes.get(node), reftype, before)

    def place_imported(self) -> None:
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
        self.external = frozenset(self.homes)

    def place_globals(self) -> None:
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
                self._alone.append(node)

    def _held_before(self, globalidx: int, node: int) -> bool:
        valtype = self.graph.module.globals[globalidx].type.valtype
        return isinstance(valtype, RefType) and self.constant(node, valtype, globalidx)

    def _fits_in(self, globalidx: int, node: int) -> bool:
        """Whether a mutable global's own initialiser makes an object: the global alone holds it, or must."""
        valtype = self.graph.module.globals[globalidx].type.valtype
        if self.graph.module.imported("global", globalidx):
            return False
        return (self._used_once(node) or not self._placeholder(valtype)) and self._can_make(globalidx, node)

    def _used_once(self, node: int) -> bool:
        """Whether an object may be made inside its one user, although that could be set to refer to it."""
        return self._nests and self.graph.uses[node] == 1

    def is_placed(self, node: int) -> bool:
        """Whether it is known where an object is made."""
        return node in self.homes or bool(self.made[node])

    def _can_make(self, globalidx: int, root: int) -> bool:
        """Whether a global's own initialiser can make an object, with what it must hold from the start.

        A constant expression cannot use what it makes twice, but for all the elements of an array. What a
        passive segment holds must be within its reach, too.
        """
        stack, met = [root], {root}
        while stack:
            node = stack.pop()
            if node in self.homes or node in self._in_segments or node in self.needs_code:
                return False
            for slot in self._slots_from_the_start(globalidx, node):
                child = node_in(slot)
                if child in met:
                    return False
                met.add(child)
                stack.append(child)
        return True

    def _slots_from_the_start(self, globalidx: int, node: int) -> Iterator[Slot]:
        """Yield the slots for which an object must be made before this one, an array's equal ones once."""
        for slot in self.graph.slots(node):
            if not self.settable(slot) and not self.constant(node_in(slot), slot.reftype, globalidx):
                yield slot
                if self.graph.is_uniform(node):
                    return

    def _placeholder(self, valtype: RefType | str) -> bool:
        found = self._has_placeholder.get(valtype)
        if found is None:
            found = isinstance(valtype, RefType) and placeholder(self.graph.module, valtype) is not None
            self._has_placeholder[valtype] = found
        return found

    def settable(self, slot: Slot, *, late: bool = False) -> bool:
        """Whether the restore function can set a slot, in an object that it makes itself if ``late``."""
        if not slot.mutable:
            return False
        exception = late and self.graph.top(slot.reftype) == "exn"
        return self._placeholder(slot.reftype) or (
            exception and exception_placeholder(self.graph.module) is not None
        )

    def _make_in(self, globalidx: int, root: int) -> None:
        """Make an object in the initialiser of a global of the original module."""
        stack = self._make_with_held(globalidx, root, 0)
        while stack:
            node, depth = stack.pop()
            for slot in self.graph.slots(node):
                child = node_in(slot)
                if not self.settable(slot) or self.constant(child, slot.reftype, globalidx):
                    continue
                if self._used_once(child) and depth < MAX_NESTING and self._can_make(globalidx, child):
                    self.homes[child] = Inside(node, slot.index)
                    stack += self._make_with_held(globalidx, child, depth + 1)
                else:
                    self._patch(node, slot)
                    self._alone.append(child)

    def _make_with_held(self, globalidx: int, root: int, depth: int) -> list[tuple[int, int]]:
        """Place what an object must hold from the start inside it; return them and itself, with depths."""
        made = [(root, depth)]
        for node, depth_ in made:
            for slot in self._slots_from_the_start(globalidx, node):
                child = node_in(slot)
                if child in self.homes:
                    self._patch(node, slot)
                    self._alone.append(child)
                else:
                    self.homes[child] = Inside(node, slot.index)
                    made.append((child, depth_ + 1))
        return made

    def _patch(self, node: int, slot: Slot) -> None:
        self.patches.append(Patch(node, slot))

    def place_rest(self) -> None:
        """Place the other objects, children first."""
        for elements in self._state.elements.values():
            self._alone += nodes_of(elements)
        alone = set(self._alone)
        self._starts = [*self._alone, *self._root_nodes()]
        for start in self._starts:  # which grows meanwhile
            for node in self._children_first(start):
                if node in self.homes:
                    continue
                if self._stands_alone(node, alone):
                    self.place(node)

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

    def _stands_alone(self, node: int, alone: set[int]) -> bool:
        """Whether an object gets a global of its own, or is made late, rather than inside its one user."""
        if self.graph.uses[node] > 1 or node in alone or node in self.separate or node in self.needs_code:
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

    def place(self, start: int) -> None:
        """Place an object that stands alone, what its immutable fields refer to before it."""
        stack = [start]
        while stack:
            node = stack[-1]
            wanted = list(self._needed_first(node))
            if wanted:
                stack.extend(wanted)
                continue
            stack.pop()
            if node not in self.homes:
                self._give_home(node)

    def _slots_with_nested(self, node: int) -> Iterator[tuple[int, Slot]]:
        """Yield the slots of an object and of the objects that are made inside it, themselves included."""
        stack = [node]
        while stack:
            parent = stack.pop()
            for slot in self.graph.slots(parent):
                yield parent, slot
                if self._nested(node_in(slot)):
                    stack.append(node_in(slot))

    def _nested(self, child: int) -> bool:
        """Whether an unplaced object is to be made inside its one user."""
        return (
            child not in self.homes
            and self._used_once(child)
            and self._heights.get(child, 0) < MAX_NESTING
            and child not in self.needs_code
            and child not in self.separate
        )

    def _needed_first(self, node: int) -> Iterator[int]:
        late = node in self.needs_code
        for _, slot in self._slots_with_nested(node):
            child = node_in(slot)
            if not self.is_placed(child) and not self._nested(child) and not self.settable(slot, late=late):
                yield child

    def _give_home(self, node: int) -> None:
        """Give an object a global of its own, or make it late, with all that is made inside it."""
        inside = list(self._slots_with_nested(node))
        late = node in self.needs_code or self._first_appended + len(self.appended) >= MAX_GLOBALS
        for _, slot in inside:
            child = node_in(slot)
            if self.is_placed(child) and not self.constant(child, slot.reftype) and not self.settable(slot):
                late = True
        if late:
            self.homes[node] = Late(self._first_number + len(self.late))
            self.late.append(node)
        else:
            self.homes[node] = InGlobal(self._first_appended + len(self.appended))
            self.appended.append(node)
        self._place_inside(node, inside, late)

    def _place_inside(self, root: int, inside: Iterable[tuple[int, Slot]], late: bool) -> None:
        """Place what is made inside ``root``, and patch the slots whose objects are out of its reach."""
        for parent, slot in inside:
            child = node_in(slot)
            if self._nested(child):
                self.homes[child] = Inside(parent, slot.index)
            elif child == root or not (
                self.constant(child, slot.reftype) or (late and self.is_placed(child))
            ):
                self._patch(parent, slot)
                self._starts.append(child)  # in case the search passed by an object placed ahead of its turn

    def place_in_tables(self) -> None:
        """Place what sits in one table only, inside that table's segments."""
        for tableidx, table in self._state.tables.items():
            for element, ref in (table.changed or {}).items():
                if isinstance(ref, ObjectRef) and ref.object not in self.homes:
                    inside = list(self._slots_with_nested(ref.object))
                    self.homes[ref.object] = InTable(tableidx, element)
                    self._place_inside(ref.object, inside, late=False)


def node_in(slot: Slot) -> int:
    """Return the object in a slot."""
    assert isinstance(slot.value, ObjectRef)
    return slot.value.object


def nodes_of(values: Iterable[object]) -> Iterator[int]:
    """Yield the objects among values."""
    return (value.object for value in values if isinstance(value, ObjectRef))
