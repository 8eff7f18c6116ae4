"""Placing many objects: the restore function makes them from data, rather than constant expressions.

Engines compile every constant expression that makes an object or refers to one, which takes longer than the
rest of a small module. Beyond some hundreds, constant expressions make only what they must: what immutable
globals hold from the start, and what passive element segments hold. All else is *made*, without a home.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from wizer.binary.types import FieldType, RefType
from wizer.core.columns import Group, Heap, listed
from wizer.core.heap.graph import Graph, Slot
from wizer.core.heap.operations import Vectors
from wizer.core.heap.place import Placing, node_in, nodes_of
from wizer.core.heap.placement import Late, Patch, Placement
from wizer.core.layout import fields
from wizer.core.state import NULL, Array, State
from wizer.records import record

# Up to this length immutable arrays of references, which only `array.new_fixed` makes, are made from data.
MAX_FIXED = 64


@record
class ManyPlacement:
    """Where objects are made, where there are many.

    Attributes:
        placement: those that are not made from data.
        made: the objects that are made from data: 1 for each.
        completed: the objects that constant expressions make, but not with all that they hold.
        from_the_start: the types of slots that must hold their objects from the start.
    """

    placement: Placement
    made: bytearray
    completed: Sequence[int]
    from_the_start: frozenset[FieldType]


def place_many(graph: Graph, heap: Heap, state: State, vectors: Vectors) -> ManyPlacement:
    """Decide where every object is made, most of them from data."""
    placing = Placing(graph, state, nests=False, first_number=1)  # after null
    placing.needs_code = _find_late(placing, heap, vectors, only_from_the_start=True)
    placing.place_imported()
    placing.place_globals()
    for elements in state.elements.values():
        _place_all(placing, nodes_of(elements))
    placing.needs_code = _find_late(placing, heap, vectors)
    for node in sorted(placing.needs_code):
        if graph.is_large(node):
            _place_all(placing, map(node_in, graph.slots(node)))
    placing.made[:] = b"\1" * len(heap)
    for node in (*placing.homes, *placing.needs_code):
        placing.made[node] = False
    completed = sorted(_completed(placing))
    _place_all(placing, sorted(placing.needs_code))
    placement = placing.placement([patch for patch in placing.patches if _is_single(placing, patch)])
    return ManyPlacement(placement, placing.made, completed, _from_the_start(placing))


def _place_all(placing: Placing, nodes: Iterable[int]) -> None:
    for node in nodes:
        if not placing.is_placed(node):
            placing.place(node)


def _from_the_start(placing: Placing) -> frozenset[FieldType]:
    """Return the types of slots that must hold their objects from the start."""
    module = placing.graph.module
    found = (field for typeidx in range(len(module.types)) for field in fields(module, typeidx))
    return frozenset(field for field in found if _must_hold(placing, field))


def _must_hold(placing: Placing, field: FieldType) -> bool:
    storage = field.storage
    return isinstance(storage, RefType) and not placing.settable(Slot(0, NULL, storage, field.mutable))


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


def _find_late(
    placing: Placing, heap: Heap, vectors: Vectors, *, only_from_the_start: bool = False
) -> frozenset[int]:
    """Return the objects that cannot be made from data: exceptions, what holds some, and some arrays.

    With ``only_from_the_start``, what may hold an exception later does not count.
    """
    late = bytearray(len(heap))
    for group in heap.groups:
        for node in _needing_code(placing.graph, group, vectors, only_from_the_start):
            late[node] = group.kind == "exn" or node not in placing.homes
    if not any(late):
        return frozenset()
    count = 0
    while count < (count := sum(late)):
        for group in heap.groups:
            for slot in _slots_that_must_hold(placing, group):
                for row in vectors.holding(group.columns[slot], late):
                    found = bisect_right(group.starts, row) - 1 if group.kind == "array" else row
                    late[group.nodes[found]] = True
    return frozenset(node for node, is_late in enumerate(late) if is_late)


def _slots_that_must_hold(placing: Placing, group: Group) -> list[int]:
    if group.kind == "exn":
        return [slot for slot, storage in enumerate(group.storages) if storage is None]
    types = fields(placing.graph.module, group.index)
    return [slot for slot, field in enumerate(types) if _must_hold(placing, field)]


def _needing_code(graph: Graph, group: Group, vectors: Vectors, only_from_the_start: bool) -> Iterable[int]:
    """Return the objects of a group that cannot be made from data, whatever they hold."""
    if group.kind == "exn":
        return listed(group.nodes)
    types = fields(graph.module, group.index)
    exceptions = [
        slot
        for slot, field in enumerate(types)
        if isinstance(field.storage, RefType)
        and field.storage.heap == "exn"
        and not (only_from_the_start and field.mutable and field.storage.nullable)
    ]
    if group.kind == "struct":
        columns = (group.columns[slot] for slot in exceptions)
        return [node for c in columns for node in listed(vectors.other_than(c, group.nodes)[1])]
    if exceptions:
        places = [place for place, code in enumerate(listed(group.columns[0])) if code]
        return {int(group.nodes[bisect_right(group.starts, place) - 1]) for place in places}
    if group.storages[0] is not None or types[0].mutable:
        return ()
    rows = vectors.rows(group.nodes, bytearray(b"\1") * len(graph.heap))
    found = [rows_ for length, rows_ in vectors.split(group, rows, False) if length > MAX_FIXED]
    return [node for rows_ in found for node in listed(vectors.take(group.nodes, rows_))]
