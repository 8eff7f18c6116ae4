"""Objects that several core instances hold: each module can only make its own.

Objects of the garbage-collected heap belong to the store, so one core instance can hand an object to another
one. Two modules would turn it into two objects, and a change by the one would no longer be seen by the other.
What an instance finds in imported immutable globals is no object of its own; its module gets at it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wizer.component.instances import CoreInstance
from wizer.core.instrument import FIRST_TAG, FIRST_TYPE, Accessors
from wizer.core.live import Live, RawCall, Words
from wizer.core.state import Array, HeapObject, ObjectRef, State, Value
from wizer.errors import StateError


class WatchedLive:
    """A live core instance whose objects are noted when they are asked for their type.

    Attributes:
        objects: what the engine calls the objects that were found, in the order of `State.heap`.
    """

    def __init__(self, live: Live, accessors: Accessors) -> None:
        self.objects: list[int] = []
        self._live = live
        self._kinds = {
            f"{accessors.prefix}kind": FIRST_TYPE,
            f"{accessors.prefix}kind.extern": FIRST_TYPE,
            f"{accessors.prefix}kind.exn": FIRST_TAG,
        }

    def accessor(self, name: str, slots: int) -> RawCall:
        """Return the accessor ``name``, which has at most ``slots`` parameters and as many results."""
        call = self._live.accessor(name, slots)
        first = self._kinds.get(name)
        return call if first is None else _NotedCall(call, first, self.objects)

    def traps(self, name: str) -> bool:
        """Return whether the accessor ``name`` traps."""
        return self._live.traps(name)

    def memory(self, name: str) -> tuple[memoryview, Sequence[tuple[int, int]] | None]:
        """Return a view on the live memory exported as ``name``, and where it may be other than zero."""
        return self._live.memory(name)

    def identity(self, address: int) -> tuple[int, int]:
        """Return what funcrefs to the same function have in common."""
        return self._live.identity(address)


class _NotedCall:
    """The accessor that tells the type of an object."""

    def __init__(self, call: RawCall, first: int, objects: list[int]) -> None:
        self._call = call
        self._first = first
        self._objects = objects

    @property
    def buffer(self) -> Words:
        """The object before the call, and its type after it."""
        return self._call.buffer

    def __call__(self) -> None:
        """Call it."""
        address = self.buffer[0] & 0xFFFF_FFFF
        self._call()
        if self.buffer[0] & 0xFFFF_FFFF >= self._first:
            self._objects.append(address)


class Holders:
    """Which core instance holds an object."""

    def __init__(self) -> None:
        self._holders: dict[int, CoreInstance] = {}

    def note(self, core: CoreInstance, objects: Sequence[int], state: State) -> None:
        """Note what ``core`` holds; raise `StateError` where another one holds the same object.

        Args:
            core: the core instance.
            objects: what the engine calls the objects of ``state.heap``.
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
    """Yield what the places hold that the module itself writes."""
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
