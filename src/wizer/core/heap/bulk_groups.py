"""Objects in groups that one function makes, and the order in which they are made.

Strings (immutable arrays of bytes) and entries, of which each holds a string and may hold another entry::

    group 0: struct $entry    objects 7, 9, 4, 2
    group 1: data $string     objects 8, 6, 5, 3
    runs: all of group 1, all of group 0

What an object must hold from the start is made before it; as few runs as possible come of that. Objects are
numbered by group, and within a group as they are made, so that a run is a range of numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from wizer.binary.types import ArrayType, FieldType, RefType, StructType
from wizer.core.heap.graph import WIDTHS, Graph, is_uniform, uniform_ref
from wizer.core.state import Array, HeapObject, Struct
from wizer.errors import StateError
from wizer.records import record

# How the objects of a group are made:
# struct: `struct.new`; data: `array.new_data`; fixed: `array.new_fixed`;
# same: `array.new`, all elements being one value; filled: `array.new`, the elements being set afterwards.
Form: TypeAlias = Literal["struct", "data", "fixed", "same", "filled"]

# Up to this length immutable arrays of references, which only `array.new_fixed` makes, are made in groups.
MAX_FIXED = 64

# From this length on arrays whose elements are all the same are said by one of them.
_MIN_SAME_BYTES = 16


class Group:
    """Objects of one type that are made in one way.

    Attributes:
        typeidx: their type.
        form: how they are made.
        length: how many elements each has, where ``form`` is fixed.
        made: the objects that are made, in this order.
        existing: objects of the type that exist already and of which slots have to be set.
        first: the number of the first object.
    """

    def __init__(self, typeidx: int, form: Form, length: int = 0) -> None:
        self.typeidx = typeidx
        self.form = form
        self.length = length
        self.made: list[int] = []
        self.existing: list[int] = []
        self.first = 0

    @property
    def nodes(self) -> list[int]:
        """All the objects in the order of their numbers."""
        return self.made + self.existing

    @property
    def end(self) -> int:
        """The number after the last one."""
        return self.first + len(self.made) + len(self.existing)


@record
class Run:
    """Objects of one group made one after the other: a range of numbers."""

    group: int
    start: int
    end: int


def group_objects(graph: Graph, made: Iterable[int], existing: Iterable[int]) -> list[Group]:
    """Return the groups, numbered later: of objects to make, and of existing ones with slots to be set."""
    groups: dict[tuple[int, Form, int], Group] = {}
    for node in made:
        key = _key(graph, graph.heap[node])
        found = groups.get(key)
        if found is None:
            found = groups[key] = Group(*key)
        found.made.append(node)
    for node in existing:
        object_ = graph.heap[node]
        assert isinstance(object_, Struct | Array)
        form: Form = "struct" if isinstance(object_, Struct) else "filled"
        groups.setdefault((object_.typeidx, form, 0), Group(object_.typeidx, form)).existing.append(node)
    return [groups[key] for key in sorted(groups)]


def _key(graph: Graph, object_: HeapObject) -> tuple[int, Form, int]:
    if type(object_) is Struct:
        return object_.typeidx, "struct", 0
    assert isinstance(object_, Array)
    element = graph.element_type(object_)
    storage = element.storage
    if not isinstance(storage, RefType):
        long = len(object_.data) >= _MIN_SAME_BYTES
        same = long and is_uniform(object_.data, WIDTHS[storage])
        return object_.typeidx, "same" if same else "data", 0
    if uniform_ref(object_.elements) is not None:
        return object_.typeidx, "same", 0
    if element.mutable and object_.elements:
        return object_.typeidx, "filled", 0
    return object_.typeidx, "fixed", len(object_.elements)


def slot_types(graph: Graph, group: Group) -> Sequence[FieldType]:
    """Return the types of the slots with which objects of a group are made."""
    comp = graph.module.types[group.typeidx].comp
    if isinstance(comp, StructType):
        return comp.fields
    assert isinstance(comp, ArrayType)
    counts = {"data": 0, "same": 1, "filled": 1, "fixed": group.length}
    return [comp.element] * counts[group.form]


def number_groups(groups: Sequence[Group], needs: Sequence[Sequence[Sequence[int]]], first: int) -> list[Run]:
    """Put the objects of each group in an order in which they can be made, number them; return the runs.

    Args:
        groups: the groups; ``made`` is the order wished for.
        needs: for each group and each object of it, in the order of ``made``, what is made before it; nothing
            for a group of which no object needs any.
        first: the first number.

    Raises:
        StateError: what objects must hold from the start goes in a circle.
    """
    ready: list[deque[int]] = [deque() for _ in groups]
    waiting: dict[int, int] = {}
    holders: dict[int, list[int]] = {}
    group_of: dict[int, int] = {}
    for index, group in enumerate(groups):
        if not needs[index]:
            ready[index].extend(group.made)
            continue
        for node, needed in zip(group.made, needs[index], strict=True):
            group_of[node] = index
            if needed:
                waiting[node] = len(needed)
                for child in needed:
                    holders.setdefault(child, []).append(node)
            else:
                ready[index].append(node)
    return _numbered(groups, _drain(ready, waiting, holders, group_of), first)


def _drain(
    ready: Sequence[deque[int]],
    waiting: dict[int, int],
    holders: dict[int, list[int]],
    group_of: dict[int, int],
) -> list[tuple[int, list[int]]]:
    """Take objects that need nothing more, from one group as long as it has some; return what was taken."""
    taken: list[tuple[int, list[int]]] = []
    turns = deque(sorted((i for i in range(len(ready)) if ready[i]), key=lambda i: -ready[i][0]))
    queued = set(turns)
    while turns:
        index = turns.popleft()
        queued.discard(index)
        queue, run = ready[index], []
        while queue:
            node = queue.popleft()
            run.append(node)
            for holder in holders.pop(node, ()):
                waiting[holder] -= 1
                if not waiting[holder]:
                    other = group_of[holder]
                    ready[other].append(holder)
                    if other != index and other not in queued:
                        queued.add(other)
                        turns.append(other)
        taken.append((index, run))
    return taken


def _numbered(groups: Sequence[Group], taken: Sequence[tuple[int, list[int]]], first: int) -> list[Run]:
    """Give the objects of each group numbers in the order in which they were taken; return the runs."""
    made: list[list[int]] = [[] for _ in groups]
    starts = []
    for index, nodes in taken:
        starts.append(len(made[index]))
        made[index] += nodes
    for group, nodes in zip(groups, made, strict=True):
        if len(nodes) < len(group.made):
            raise StateError(
                f"objects of type {group.typeidx} must hold each other from the start, which no code can make"
            )
        group.made, group.first = nodes, first
        first = group.end
    return [
        Run(index, groups[index].first + start, groups[index].first + start + len(nodes))
        for (index, nodes), start in zip(taken, starts, strict=True)
    ]
