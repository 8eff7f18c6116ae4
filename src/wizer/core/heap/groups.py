"""Objects in groups that one function makes, and the order in which they are made.

Strings (immutable arrays of bytes) and entries, of which each holds a string and may hold another entry::

    group 0: struct $entry    objects 7, 9, 4, 2
    group 1: data $string     objects 8, 6, 5, 3
    runs: all of group 1, all of group 0

What an object must hold from the start is made before it; as few runs as possible come of that. Objects are
numbered by group, and within a group as they are made, so that a run is a range of numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Final, Literal, TypeAlias

from wizer.binary.types import FieldType
from wizer.core.columns import Column, Group, Heap, listed
from wizer.core.heap.graph import Graph
from wizer.core.heap.operations import Vectors
from wizer.core.heap.place_many import ManyPlacement
from wizer.core.heap.vectors import DATA, FILLED, SAME
from wizer.core.layout import fields
from wizer.errors import StateError
from wizer.records import record

# How the objects of a group are made:
# struct: `struct.new`; data: `array.new_data`; fixed: `array.new_fixed`;
# same: `array.new`, all elements being one value; filled: `array.new`, the elements being set afterwards.
Form: TypeAlias = Literal["struct", "data", "fixed", "same", "filled"]

_FORMS: Final[Mapping[int, Form]] = {DATA: "data", FILLED: "filled", SAME: "same"}


class Batch:
    """Objects of one type that are made in one way.

    Attributes:
        group: all objects of the type.
        form: how these are made.
        length: how many elements each has, where ``form`` is fixed.
        slots: the types of the slots with which they are made.
        rows: their rows in the group, in the order in which they are made.
        existing: the rows of those that exist already and of which slots have to be set.
        first: the number of the first object.
    """

    def __init__(
        self, graph: Graph, vectors: Vectors, group: Group, form: Form, rows: Column, length: int = 0
    ) -> None:
        self.group = group
        self.form: Form = form
        self.length = length
        self.rows = rows
        self.existing: list[int] = []
        self.first = 0
        self.slots: tuple[FieldType, ...] = tuple(fields(graph.module, group.index))
        if form != "struct":
            self.slots = self.slots * {"data": 0, "same": 1, "filled": 1, "fixed": length}[form]
        self._vectors = vectors

    @property
    def end(self) -> int:
        """The number after the last one."""
        return self.first + len(self.rows) + len(self.existing)

    @property
    def all_rows(self) -> Column:
        """The rows of all objects in the order of their numbers."""
        return self._vectors.joined(self.rows, self.existing)

    def nodes(self, rows: Column) -> Column:
        """Return the objects in some rows."""
        return self._vectors.take(self.group.nodes, rows)

    def column(self, slot: int, rows: Column) -> Column:
        """Return what objects hold in a slot with which they are made."""
        if self.form == "struct":
            return self._vectors.take(self.group.columns[slot], rows)
        return self._vectors.element(self.group, rows, slot)


@record
class Run:
    """Objects of one batch made one after the other: a range of numbers."""

    batch: int
    start: int
    end: int


class Plan:
    """The order in which objects are made from data, and their numbers.

    Attributes:
        batches: the objects that are made in one way.
        runs: the order of making them.
        end: the number after the last one.
        numbers: for each object its number, 0 where it has none; the first entry stands for null.
        times: for each object when it is made; what exists already was made before the first one.
    """

    def __init__(self, graph: Graph, heap: Heap, many: ManyPlacement, vectors: Vectors) -> None:
        self._graph = graph
        self._vectors = vectors
        self._many = many
        self.batches: list[Batch] = [*self._batches(heap)]
        self._add_existing(heap)
        taken = self._order()
        late = many.placement.late
        first = 1 + len(late)
        for batch in self.batches:
            batch.first, first = first, first + len(batch.rows) + len(batch.existing)
        self.end = first
        self.numbers: Column = vectors.zeros(len(heap) + 1)
        self.times: Column = vectors.zeros(len(heap), -1)
        vectors.put(self.numbers, [node + 1 for node in late], range(1, 1 + len(late)))
        vectors.put(self.times, late, [len(heap)] * len(late))
        for batch in self.batches:
            places = vectors.successors(batch.nodes(batch.all_rows))
            vectors.put(self.numbers, places, range(batch.first, batch.end))
        self.runs: list[Run] = self._runs(taken)

    def _batches(self, heap: Heap) -> Iterable[Batch]:
        made = self._many.made
        for group in heap.groups:
            rows = self._vectors.rows(group.nodes, made) if group.kind != "exn" else ()
            if not len(rows):
                continue
            if group.kind == "struct":
                yield Batch(self._graph, self._vectors, group, "struct", rows)
                continue
            mutable = fields(self._graph.module, group.index)[0].mutable
            for key, chosen in self._vectors.split(group, rows, mutable):
                form = _FORMS.get(key, "fixed")
                yield Batch(self._graph, self._vectors, group, form, chosen, max(key, 0))

    def _add_existing(self, heap: Heap) -> None:
        """Add what exists already and has slots to be set."""
        groups, rows = heap.places
        for node in self._many.completed:
            group = heap.groups[groups[node]]
            form: Form = "struct" if group.kind == "struct" else "filled"
            batch = next((b for b in self.batches if b.group is group and b.form == form), None)
            if batch is None:
                batch = Batch(self._graph, self._vectors, group, form, self._vectors.zeros(0))
                self.batches.append(batch)
            batch.existing.append(int(rows[node]))

    # Order.

    def from_the_start(self, batch: Batch) -> list[int]:
        """Return the slots of a batch that must hold their objects from the start."""
        return [slot for slot, type_ in enumerate(batch.slots) if type_ in self._many.from_the_start]

    def _order(self) -> list[tuple[int, int, int]]:
        """Put the rows of each batch in an order in which they can be made.

        Returns the order of making: batches with the range of their rows.

        Raises:
            StateError: what objects must hold from the start goes in a circle.
        """
        batch_of = self._vectors.zeros(len(self._graph.heap), -1)
        for index, batch in enumerate(self.batches):
            self._vectors.put(batch_of, batch.nodes(batch.rows), [index] * len(batch.rows))
        needs = [self._needed_batches(batch, batch_of) for batch in self.batches]
        taken: list[tuple[int, int, int]] = []
        for component in _components(needs):
            index = component[0]
            batch = self.batches[index]
            alone = len(component) == 1
            if not alone or (index in needs[index] and not self._is_ordered(batch)):
                taken += self._drain(component)
            elif len(batch.rows):
                taken.append((index, 0, len(batch.rows)))
        return taken

    def _needed_batches(self, batch: Batch, batch_of: Column) -> set[int]:
        """Return the batches of what must be made before objects of a batch."""
        if not len(batch.rows):
            return set()
        slots = self.from_the_start(batch)
        return set().union(*(self._vectors.held(batch.column(s, batch.rows), batch_of) for s in slots)) - {-1}

    def _is_ordered(self, batch: Batch) -> bool:
        """Whether a batch's objects can be made in the order wished for, or in one that is found at once.

        That is one in which those come first from which a chain of references in one slot is shortest.
        """
        nodes = batch.nodes(batch.rows)
        columns = [batch.column(slot, batch.rows) for slot in self.from_the_start(batch)]
        times = self._vectors.zeros(len(self._graph.heap), -1)
        self._vectors.put(times, nodes, range(len(nodes)))
        if not any(self._vectors.any_not_before(column, nodes, times) for column in columns):
            return True
        for column in columns:
            depths = self._vectors.chain_lengths(self._vectors.places(column, times))
            if depths is None:
                continue
            by_depth = self._vectors.zeros(len(times), -1)
            self._vectors.put(by_depth, nodes, depths)
            if not any(self._vectors.any_not_before(each, nodes, by_depth) for each in columns):
                batch.rows = self._vectors.sorted(batch.rows, depths)
                return True
        return False

    def _drain(self, component: Sequence[int]) -> list[tuple[int, int, int]]:
        """Order batches that need each other, or one that needs itself.

        Takes objects that need nothing more, from one batch as long as it has some.
        """
        firsts = [0, *accumulate(len(self.batches[index].rows) for index in component)]
        waiting, holders = self._needs(component, firsts)
        ready = [deque(i for i in range(start, end) if not waiting[i]) for start, end in pairwise(firsts)]
        taken: list[list[int]] = [[] for _ in component]
        order: list[tuple[int, int, int]] = []
        turns = deque(turn for turn, queue in enumerate(ready) if queue)
        queued = set(turns)
        while turns:
            turn = turns.popleft()
            queued.discard(turn)
            own, queue = taken[turn], ready[turn]
            start = len(own)
            while queue:
                item = queue.popleft()
                own.append(item)
                for holder in holders[item] or ():
                    waiting[holder] -= 1
                    if not waiting[holder]:
                        other = bisect_right(firsts, holder) - 1 if len(component) > 1 else 0
                        ready[other].append(holder)
                        if other != turn and other not in queued:
                            queued.add(other)
                            turns.append(other)
            order.append((component[turn], start, len(own)))
        for index, first, items in zip(component, firsts, taken, strict=False):
            batch = self.batches[index]
            if len(items) < len(batch.rows):
                raise StateError(
                    f"objects of type {batch.group.index} must hold each other from the start, "
                    "which no code can make"
                )
            batch.rows = self._vectors.take(batch.rows, [item - first for item in items])
        return order

    def _needs(
        self, component: Sequence[int], firsts: Sequence[int]
    ) -> tuple[list[int], list[list[int] | None]]:
        """Return how many others each object of batches needs, and what holds each, numbered from 0 on."""
        places = self._vectors.zeros(len(self._graph.heap), -1)
        for index, first in zip(component, firsts, strict=False):
            nodes = self.batches[index].nodes(self.batches[index].rows)
            self._vectors.put(places, nodes, range(first, first + len(nodes)))
        waiting = [0] * firsts[-1]
        holders: list[list[int] | None] = [None] * firsts[-1]
        for index, first in zip(component, firsts, strict=False):
            batch = self.batches[index]
            for slot in self.from_the_start(batch):
                held = listed(self._vectors.places(batch.column(slot, batch.rows), places))
                for holder, child in enumerate(held, first):
                    if child >= 0:
                        waiting[holder] += 1
                        if (known := holders[child]) is None:
                            holders[child] = [holder]
                        else:
                            known.append(holder)
        return waiting, holders

    def _runs(self, taken: Sequence[tuple[int, int, int]]) -> list[Run]:
        """Return the runs, and note when each object is made."""
        runs = []
        time = 0
        for index, start, end in taken:
            batch = self.batches[index]
            nodes = batch.nodes(batch.rows[start:end])
            self._vectors.put(self.times, nodes, range(time, time + end - start))
            time += end - start
            runs.append(Run(index, batch.first + start, batch.first + end))
        return runs


def _components(needs: Sequence[set[int]]) -> list[list[int]]:
    """Return groups of batches that need each other, each after those that it needs.

    Few batches, and so plainly: what is reachable from each other belongs together.
    """
    reach = [set(found) for found in needs]
    changed = True
    while changed:
        changed = False
        for index, found in enumerate(reach):
            reach[index] = found.union(*(reach[further] for further in found))
            changed |= len(reach[index]) > len(found)
    components: list[list[int]] = []
    left = list(range(len(needs)))
    while left:
        index = next(i for i in left if all(j not in left or i in reach[j] for j in reach[i]))
        component = [j for j in left if j == index or (j in reach[index] and index in reach[j])]
        components.append(component)
        left = [j for j in left if j not in component]
    return components
