"""Refusing objects that several core instances hold, since no two modules can share one.

Objects of the garbage-collected heap belong to the store, so one core instance can hand an object to another
one. Their modules would each make an object of their own, and neither would see the other's changes any more.
Objects that an instance has from an imported immutable global do not count: its module imports them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wizer.component.instances import CoreInstance
from wizer.core.state import Array, HeapObject, ObjectRef, State, Value
from wizer.errors import StateError


class Holders:
    """Which core instance holds an object."""

    def __init__(self) -> None:
        self._holders: dict[int, CoreInstance] = {}

    def note(self, core: CoreInstance, objects: Sequence[int], state: State) -> None:
        """Note what ``core`` holds; raise `StateError` where another one holds the same object.

        Args:
            core: the core instance.
            objects: the numbers by which the engine knows the objects of ``state.heap``.
            state: its state.
        """
        own = _reachable(_own(state), state.heap) - _reachable(state.imported.values(), state.heap)
        for index in sorted(own):
            holder = self._holders.setdefault(objects[index], core)
            if holder is not core:
                raise StateError(
                    f"{holder.label} and {core.label} hold the same object, which no two modules can express"
                )


def _own(state: State) -> Iterator[Value]:
    """Yield the values in the globals, tables and segments that the module itself writes."""
    yield from state.globals.values()
    for table in state.tables.values():
        yield from (table.changed or {}).values()
    for elements in state.elements.values():
        yield from elements


def _reachable(roots: Iterable[Value], heap: Sequence[HeapObject]) -> set[int]:
    """Return the objects that some values lead to."""
    found: set[int] = set()
    pending = list(roots)
    while pending:
        value = pending.pop()
        if isinstance(value, ObjectRef) and value.object not in found:
            found.add(value.object)
            object_ = heap[value.object]
            pending += object_.elements if isinstance(object_, Array) else object_.fields
    return found
