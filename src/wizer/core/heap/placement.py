"""What it means that objects are placed: where each one is made, and what the restore function sets.

`wizer.core.heap.place` decides that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeAlias

from wizer.binary.types import RefType, matches
from wizer.core.heap.graph import Graph, Slot
from wizer.records import record


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


@record(caches=True)
class Placement:
    """Where every object of a state is made.

    Attributes:
        graph: the objects.
        homes: for each object, where it is.
        appended: the objects that get a global of their own, in the order of these globals.
        late: the objects that the restore function makes one by one, in their order.
        patches: the slots that it sets.
        single_patches: those of them that it sets one by one.
        patched_globals: the globals that it sets, because their initialisers cannot say their values.
        external: the objects that belong to imported globals.
    """

    graph: Graph
    homes: Mapping[int, Home]
    appended: Sequence[int]
    late: Sequence[int]
    patches: Sequence[Patch]
    single_patches: Sequence[Patch]
    patched_globals: Sequence[int]
    external: frozenset[int]

    @cached_property
    def _patched(self) -> frozenset[tuple[int, int]]:
        return frozenset((patch.node, patch.slot.index) for patch in self.patches)

    def is_patched(self, node: int, slot: int) -> bool:
        """Whether the restore function sets a slot."""
        return (node, slot) in self._patched

    def constant(self, node: int, reftype: RefType) -> bool:
        """Whether a constant expression can refer to an object, from a place of a type."""
        return in_reach(self.graph, self.homes.get(node), reftype)

    def depth(self, node: int) -> int:
        """Return inside how many others an object is made."""
        depth = 0
        while isinstance(home := self.homes[node], Inside):
            depth, node = depth + 1, home.parent
        return depth


def in_reach(graph: Graph, home: Home | None, reftype: RefType, before: int | None = None) -> bool:
    """Whether a constant expression can refer to what is at home there, from a place of a type.

    ``before``: the expression may refer to the globals below this one only.
    """
    if not isinstance(home, InGlobal) or (before is not None and home.globalidx >= before):
        return False
    module = graph.module
    if home.globalidx >= len(module.globals):
        return True  # an appended global has the object's own type
    valtype = module.globals[home.globalidx].type.valtype
    assert isinstance(valtype, RefType)
    if graph.top(valtype) != graph.top(reftype):
        return reftype.heap in ("any", "extern") and (reftype.nullable or not valtype.nullable)
    return matches(valtype, reftype, module.types)
