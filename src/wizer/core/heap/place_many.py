"""Placing many objects: the restore function makes them from data, rather than constant expressions.

Engines compile every constant expression that makes an object or refers to one, which takes longer than the
rest of a small module. Beyond some hundreds, constant expressions make only what they must: what immutable
globals hold from the start, and what passive element segments hold. All else is *made*, without a home.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from wizer.binary.types import ArrayType, CompType, FieldType, RefType, StructType
from wizer.core.heap.bulk_groups import MAX_FIXED
from wizer.core.heap.graph import Graph, Slot, uniform_ref
from wizer.core.heap.place import Late, Patch, Placement, Placing, late_with_holders, node_in, nodes_of
from wizer.core.state import NULL, Array, Exn, State, Struct
from wizer.records import record


@record
class ManyPlacement:
    """Where objects are made, where there are many.

    Attributes:
        placement: those that are not made from data.
        made: the objects that are made from data, in an order wished for.
        completed: the objects that constant expressions make, but not with all that they hold.
        from_the_start: the types of slots that must hold their objects from the start.
    """

    placement: Placement
    made: Sequence[int]
    completed: Sequence[int]
    from_the_start: frozenset[FieldType]


def place_many(graph: Graph, state: State) -> ManyPlacement:
    """Decide where every object is made, most of them from data."""
    placing = Placing(graph, state, nests=False, first_number=1)  # after null
    placing.needs_code = _find_late(placing, _exception_slots(graph, only_from_the_start=True))
    placing.place_imported()
    placing.place_globals()
    for elements in state.elements.values():
        _place_all(placing, nodes_of(elements))
    exceptions = _exception_slots(graph)
    placing.needs_code = _find_late(placing, exceptions)
    for node in sorted(placing.needs_code):
        if graph.is_large(node):
            _place_all(placing, map(node_in, graph.slots(node)))
    found = _found(placing, state, exceptions)
    # Outer objects are found first; as far as possible, inner ones are made first.
    made = tuple(n for n in reversed(found) if n not in placing.homes and n not in placing.needs_code)
    for node in made:
        placing.made[node] = True
    completed = _completed(placing)
    ordered = tuple(node for node in found if node in completed) if completed else ()
    _place_all(placing, (node for node in found if node in placing.needs_code))
    placement = placing.placement([patch for patch in placing.patches if _is_single(placing, patch)])
    return ManyPlacement(placement, made, ordered, _from_the_start(placing))


def _place_all(placing: Placing, nodes: Iterable[int]) -> None:
    for node in nodes:
        if not placing.is_placed(node):
            placing.place(node)


def _found(placing: Placing, state: State, exceptions: Sequence[Sequence[int]]) -> Sequence[int]:
    """Return all objects in an order that is the same for this state and for a snapshot of the snapshot.

    That is the order of the heap but for objects that get a global now, which the next walk begins with.
    """
    graph, module = placing.graph, placing.graph.module
    segments = (e for e in module.elements if e.mode == "passive" and graph.top(e.reftype) != "func")
    if not any(segments) and not any(_types_that_may_need_code(graph, exceptions)):
        return graph.nodes
    found: dict[int, None] = {}
    tables = (nodes_of((table.changed or {}).values()) for table in state.tables.values())
    globals_ = nodes_of(value for _, value in sorted(state.globals.items()))
    for root in (*chain.from_iterable(tables), *globals_, *placing.appended, *graph.nodes):
        pending = [] if root in found else [root]
        found[root] = None
        for node in pending:
            for child in nodes_of(graph.contents(node)):
                if child not in found:
                    found[child] = None
                    pending.append(child)
    return list(found)


def _from_the_start(placing: Placing) -> frozenset[FieldType]:
    """Return the types of slots that must hold their objects from the start."""
    return frozenset(
        field
        for subtype in placing.graph.module.types
        for field in _fields(subtype.comp)
        if isinstance(field.storage, RefType)
        and not placing.settable(Slot(0, NULL, field.storage, field.mutable))
    )


def _is_single(placing: Placing, patch: Patch) -> bool:
    """Whether a slot is set on its own: of an object that is made so, or for an exception."""
    return isinstance(placing.homes[patch.node], Late) or patch.slot.reftype.heap == "exn"


def _completed(placing: Placing) -> set[int]:
    graph = placing.graph
    found = {patch.node for patch in placing.patches if not _is_single(placing, patch)}
    for node, home in placing.homes.items():
        object_ = graph.heap[node]
        if isinstance(object_, Array) and not isinstance(home, Late) and node not in placing.external:
            storage = graph.element_type(object_).storage
            if isinstance(storage, RefType) and storage.heap != "exn" and graph.is_large(node):
                found.add(node)
    return found


def _find_late(placing: Placing, exceptions: Sequence[Sequence[int]]) -> frozenset[int]:
    """Return the objects that cannot be made from data: exceptions and what holds some, and some arrays."""
    graph = placing.graph
    if not graph.module.tags and not any(_types_that_may_need_code(graph, exceptions)):
        return frozenset()

    def needs_code(node: int) -> bool:
        object_ = graph.heap[node]
        if type(object_) is Exn:
            return True
        if node in placing.homes:
            return False
        if type(object_) is Struct:
            return any(object_.fields[index] != NULL for index in exceptions[object_.typeidx])
        assert isinstance(object_, Array)
        if not object_.elements:
            return False
        if exceptions[object_.typeidx]:
            return any(element != NULL for element in object_.elements)
        immutable = not graph.element_type(object_).mutable
        return immutable and len(object_.elements) > MAX_FIXED and uniform_ref(object_.elements) is None

    return late_with_holders(graph, placing.settable, map(needs_code, graph.nodes))


def _types_that_may_need_code(graph: Graph, exceptions: Sequence[Sequence[int]]) -> Iterable[bool]:
    """Say of each type whether only code may be able to make some object of it."""
    for subtype, slots in zip(graph.module.types, exceptions, strict=True):
        comp = subtype.comp
        immutable = isinstance(comp, ArrayType) and not comp.element.mutable
        yield bool(slots) or (
            immutable and isinstance(comp, ArrayType) and isinstance(comp.element.storage, RefType)
        )


def _exception_slots(graph: Graph, *, only_from_the_start: bool = False) -> list[list[int]]:
    """Return for each type the fields for exceptions, 0 for an array's elements.

    With ``only_from_the_start`` those that need one from the start.
    """
    return [
        [
            index
            for index, field in enumerate(_fields(subtype.comp))
            if isinstance(field.storage, RefType)
            and field.storage.heap == "exn"
            and not (only_from_the_start and field.mutable and field.storage.nullable)
        ]
        for subtype in graph.module.types
    ]


def _fields(comp: CompType) -> Sequence[FieldType]:
    if isinstance(comp, StructType):
        return comp.fields
    return (comp.element,) if isinstance(comp, ArrayType) else ()
