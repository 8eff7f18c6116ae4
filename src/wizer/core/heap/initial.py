"""What constant expressions say of a state: initialisers of globals, elements of tables and of segments."""

from __future__ import annotations

from collections.abc import Sequence

from wizer.binary.expr import END, encode_null
from wizer.binary.externs import GlobalType, encode_globaltype
from wizer.binary.types import RefType
from wizer.core.columns import Elements
from wizer.core.heap.expressions import Expressions
from wizer.core.heap.graph import Graph
from wizer.core.heap.placement import InGlobal, InMutableGlobal, InTable, Placement
from wizer.core.state import Exn, ObjectRef, Ref, State
from wizer.errors import StateError
from wizer.records import record

_EXNREF = RefType(nullable=True, heap="exn")


@record
class Initial:
    """The constant expressions of a state.

    Args:
        graph: its objects.
        state: the state.
        placement: where its objects are made.
        expressions: makes constant expressions.
    """

    graph: Graph
    state: State
    placement: Placement
    expressions: Expressions

    def initialisers(self) -> dict[int, bytes]:
        """Return the initialisers of globals of the original module, those that are not as they were."""
        module = self.graph.module
        own = (index for index in sorted(self.state.globals) if not module.imported("global", index))
        return {globalidx: self._initialiser(globalidx) for globalidx in own}

    def _initialiser(self, globalidx: int) -> bytes:
        value = self.state.globals[globalidx]
        valtype = self.graph.module.globals[globalidx].type.valtype
        if globalidx in self.placement.patched_globals:
            return self.expressions.placeholder(valtype)
        if isinstance(value, ObjectRef):
            home = self.placement.homes[value.object]
            if home in (InGlobal(globalidx), InMutableGlobal(globalidx)):
                return self.expressions.held(value.object, valtype)
        return self.expressions.value(value, valtype)

    def appended_globals(self) -> list[bytes]:
        """Return the globals to append: one for each object that several places share."""
        entries = []
        for node in self.placement.appended:
            object_ = self.graph.heap[node]
            assert not isinstance(object_, Exn)
            reftype = RefType(nullable=False, heap=object_.typeidx)
            globaltype = encode_globaltype(GlobalType(reftype, mutable=False))
            entries.append(globaltype + self.expressions.new(node) + END)
        return entries

    def elements(self, tableidx: int, changed: Elements) -> tuple[dict[int, bytes], list[tuple[int, Ref]]]:
        """Return the expressions of elements of a table, and which of these the restore function sets.

        Functions and null need none of ours.
        """
        reftype = self.graph.module.tables[tableidx].type.element
        found: dict[int, bytes] = {}
        later: list[tuple[int, Ref]] = []
        for position, ref in changed.objects():
            if not isinstance(ref, ObjectRef):
                found[position] = self.expressions.value(ref, reftype)
            elif self.placement.homes.get(ref.object) == InTable(tableidx, position):
                found[position] = self.expressions.held(ref.object, reftype)
            elif self.placement.constant(ref.object, reftype):
                found[position] = self.expressions.value(ref, reftype)
            else:
                found[position] = self.expressions.placeholder(reftype)
                later.append((position, ref))
        return found, later

    def items(self) -> dict[int, Sequence[bytes]]:
        """Return the expressions of passive element segments."""
        return {elemidx: self._segment_items(elemidx) for elemidx in self.state.elements}

    def _segment_items(self, elemidx: int) -> list[bytes]:
        reftype = self.graph.module.elements[elemidx].reftype
        items = []
        for position, ref in enumerate(self.state.elements[elemidx]):
            if isinstance(ref, ObjectRef) and not self.placement.constant(ref.object, reftype):
                raise StateError(
                    f"element segment {elemidx} element {position} holds an object that only code can make, "
                    "which a segment cannot express"
                )
            items.append(self.expressions.value(ref, reftype))
        return items


def exception_globals(count: int) -> list[bytes]:
    """Return the globals that keep exceptions while the restore function runs."""
    return [encode_globaltype(GlobalType(_EXNREF, mutable=True)) + encode_null("exn") + END] * count
