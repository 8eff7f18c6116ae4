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
from wizer.core.heap.place import Late, Patch, Placement, node_in, nodes_of
from wizer.core.state import NULL, Array, Exn, State, Struct


class BulkPlacement(Placement):
    """Decides for every object where it is made, where there are many.

    Attributes:
        made: the objects that are made from data, which have no home, in an order wished for.
        completed: the objects that constant expressions make, but not with all that they hold.
    """

    _first_late = 1  # after null

    def __init__(self, graph: Graph, state: State) -> None:
        self.made: tuple[int, ...] = ()
        self.completed: tuple[int, ...] = ()
        self._is_made = bytearray(len(state.heap))
        self._exceptions = [_exception_fields(subtype.comp, hard=True) for subtype in graph.module.types]
        super().__init__(graph, state)

    def _place(self) -> None:
        graph = self.graph
        self._late_nodes = self._find_late()
        self._place_imported()
        self._place_existing()
        for elements in self._state.elements.values():
            self._emit_all(nodes_of(elements))
        self._exceptions = [_exception_fields(subtype.comp) for subtype in graph.module.types]
        self._late_nodes = self._find_late()
        for node in sorted(self._late_nodes):
            if graph.is_large(node):
                self._emit_all(node_in(slot) for slot in graph.slots(node))
        found = self._found()
        # Outer objects are found first; as far as possible, inner ones are made first.
        self.made = tuple(n for n in reversed(found) if n not in self.homes and n not in self._late_nodes)
        for node in self.made:
            self._is_made[node] = True
        completed = self._completed()
        self.completed = tuple(node for node in found if node in completed) if completed else ()
        self._emit_all(node for node in found if node in self._late_nodes)

    def _found(self) -> Sequence[int]:
        """Return all objects in an order that is the same for this state and for a snapshot of the snapshot.

        That is the order of the heap but for objects that get a global now, which the next walk begins with.
        """
        module = self.graph.module
        segments = (e for e in module.elements if e.mode == "passive" and self.graph.top(e.reftype) != "func")
        if not any(segments) and not any(map(self._may_need_code, range(len(module.types)))):
            return range(len(self.graph.heap))
        found: dict[int, None] = {}
        tables = (nodes_of((table.changed or {}).values()) for table in self._state.tables.values())
        globals_ = nodes_of(value for _, value in sorted(self._state.globals.items()))
        for root in (*chain.from_iterable(tables), *globals_, *self.appended, *range(len(self.graph.heap))):
            pending = [] if root in found else [root]
            found[root] = None
            for node in pending:
                for child in nodes_of(self.graph.contents(node)):
                    if child not in found:
                        found[child] = None
                        pending.append(child)
        return list(found)

    def is_made(self, node: int) -> bool:
        """Whether an object is made from data."""
        return bool(self._is_made[node])

    def is_hard(self, type_: FieldType) -> bool:
        """Whether slots of a type must hold their objects from the start."""
        storage = type_.storage
        return isinstance(storage, RefType) and not self._soft(Slot(0, NULL, storage, type_.mutable))

    def single_patches(self) -> list[Patch]:
        """Return the slots that are set one by one: of objects that are made so, and for exceptions."""
        return [patch for patch in self.patches if self._is_single(patch)]

    def _is_single(self, patch: Patch) -> bool:
        return isinstance(self.homes[patch.node], Late) or patch.slot.reftype.heap == "exn"

    def _completed(self) -> set[int]:
        found = {patch.node for patch in self.patches if not self._is_single(patch)}
        for node, home in self.homes.items():
            object_ = self.graph.heap[node]
            if isinstance(object_, Array) and not isinstance(home, Late) and not self.external(node):
                storage = self.graph.element_type(object_).storage
                if isinstance(storage, RefType) and storage.heap != "exn" and self.graph.is_large(node):
                    found.add(node)
        return found

    def _emit_all(self, nodes: Iterable[int]) -> None:
        for node in nodes:
            if not self._placed(node):
                self._emit(node)

    def _placed(self, node: int) -> bool:
        return node in self.homes or bool(self._is_made[node])

    def _used_once(self, node: int) -> bool:  # noqa: ARG002
        """Say that no object is made inside another one that could be set to refer to it."""
        return False

    def _find_late(self) -> frozenset[int]:
        module = self.graph.module
        suspects = module.tags or any(map(self._may_need_code, range(len(module.types))))
        return super()._find_late() if suspects else frozenset()

    def _may_need_code(self, typeidx: int) -> bool:
        comp = self.graph.module.types[typeidx].comp
        if isinstance(comp, ArrayType) and isinstance(comp.element.storage, RefType):
            return not comp.element.mutable or bool(self._exceptions[typeidx])
        return bool(self._exceptions[typeidx])

    def _needs_code(self, node: int) -> bool:
        """Whether an object cannot be made from data: exceptions and what holds some, and some arrays."""
        object_ = self.graph.heap[node]
        if type(object_) is Exn:
            return True
        if node in self.homes:
            return False
        if type(object_) is Struct:
            return any(object_.fields[index] != NULL for index in self._exceptions[object_.typeidx])
        assert isinstance(object_, Array)
        if not object_.elements:
            return False
        if self._exceptions[object_.typeidx]:
            return any(element != NULL for element in object_.elements)
        immutable = not self.graph.element_type(object_).mutable
        return immutable and len(object_.elements) > MAX_FIXED and uniform_ref(object_.elements) is None


def _exception_fields(comp: CompType, *, hard: bool = False) -> list[int]:
    """Return the fields for exceptions, 0 for an array's elements; or those that need one from the start."""
    fields: Sequence[FieldType] = ()
    if isinstance(comp, StructType):
        fields = comp.fields
    elif isinstance(comp, ArrayType):
        fields = (comp.element,)
    return [
        index
        for index, field in enumerate(fields)
        if isinstance(field.storage, RefType)
        and field.storage.heap == "exn"
        and not (hard and field.mutable and field.storage.nullable)
    ]
