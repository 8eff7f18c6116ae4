"""Capture: the live instance becomes a `State`, plain data.

An instance whose table holds ``$f`` at 2 and whose global is 7 becomes::

    State(globals={0: Number("i32", 7)}, tables={0: TableState(4, {2: FuncRef(0)})}, memories={0: …})

It knows no engine: it calls the accessors that instrument appended, through the protocol `Live`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wizer.binary.externs import ExternKind
from wizer.binary.module import Module
from wizer.binary.types import hierarchy
from wizer.binary.values import Number
from wizer.core.accessors import LiveTable
from wizer.core.instrument import BATCH, Accessors
from wizer.core.live import Live
from wizer.core.state import NULL, MemoryState, Ref, State, TableState, Value
from wizer.core.tables import initial_element, initial_elements
from wizer.core.walk import Functions, HeapWalk, InexpressibleError, Place, describe, raw_bits
from wizer.errors import StateError


def capture(
    module: Module, accessors: Accessors, live: Live, borrowed: frozenset[tuple[ExternKind, int]]
) -> State:
    """Read the state of a live instance.

    Args:
        module: the original module.
        accessors: what `instrument` appended to it.
        live: an instance of the instrumented module.
        borrowed: imported memories, tables and globals whose state stays with their owner.

    Raises:
        StateError: the instance holds something that no module can express; the message names the place.
    """
    return capture_objects(module, accessors, live, borrowed)[0]


def capture_objects(
    module: Module, accessors: Accessors, live: Live, borrowed: frozenset[tuple[ExternKind, int]]
) -> tuple[State, Sequence[int]]:
    """Read the state of a live instance, and the raw references to the objects of its heap; see `capture`."""
    capturing = _Capture(module, accessors, live, borrowed)
    return capturing.state(), capturing.heap.addresses


class _Capture:
    """One capture."""

    def __init__(
        self, module: Module, accessors: Accessors, live: Live, borrowed: frozenset[tuple[ExternKind, int]]
    ) -> None:
        self.module = module
        self.accessors = accessors
        self.live = live
        self.borrowed = borrowed
        self.functions = Functions(accessors, live)
        self.heap = HeapWalk(module, accessors, live, self.functions)

    def state(self) -> State:
        values = dict(self._globals())
        dropped = self._dropped("data", self.accessors.data_drops)
        dropped_elements = self._dropped("element", self.accessors.element_drops)
        tables = {
            tableidx: self._table(tableidx)
            for tableidx in self.accessors.tables
            if ("table", tableidx) not in self.borrowed
        }
        elements = {
            elemidx: tuple(self._elements(elemidx))
            for elemidx in self.accessors.elements
            if elemidx not in dropped_elements
        }
        return State(
            globals={index: value for index, value in values.items() if self._owned(index)},
            memories=dict(self._memories()),
            tables=tables,
            dropped_data=dropped,
            dropped_elements=dropped_elements,
            elements=elements,
            imported={
                index: value
                for index, value in values.items()
                if self.module.imported("global", index) and not self.module.globals[index].type.mutable
            },
            heap=self.heap.walk(),
            borrowed=self.borrowed,
        )

    def _owned(self, globalidx: int) -> bool:
        """Whether a global's value is the module's to write."""
        if self.module.imported("global", globalidx):
            return self.module.globals[globalidx].type.mutable and ("global", globalidx) not in self.borrowed
        return True

    def _globals(self) -> Iterator[tuple[int, Value]]:
        for number, batch in enumerate(self.accessors.globals):
            call = self.live.accessor(f"{self.accessors.prefix}globals{number}", len(batch))
            call()
            raw = call.buffer[: 2 * len(batch)]
            for slot, index in enumerate(batch):
                globaltype = self.module.globals[index].type
                if ("global", index) in self.borrowed and globaltype.mutable:
                    continue  # its owner's, whatever it holds
                if isinstance(globaltype.valtype, str):
                    yield index, Number(globaltype.valtype, raw_bits(raw, slot, globaltype.valtype))
                    continue
                top = hierarchy(globaltype.valtype.heap, self.module.types)
                if self.module.imported("global", index) and not globaltype.mutable:
                    yield index, self.heap.imported(raw[2 * slot], top, index)
                else:
                    yield index, self.ref(raw[2 * slot], top, ("global", index, None))

    def ref(self, word: int, top: str, place: Place) -> Ref:
        """Return the reference in a place; raise `StateError` where no module can express it."""
        try:
            return self.heap.ref(word, top, place)
        except InexpressibleError as problem:
            raise StateError(
                f"{describe(self.module, place)} holds {problem}, which no module can express"
            ) from None

    def _memories(self) -> Iterator[tuple[int, MemoryState]]:
        for memidx, memory in enumerate(self.module.memories):
            if ("memory", memidx) not in self.borrowed:
                view, touched = self.live.memory(f"{self.accessors.prefix}memory{memidx}")
                yield memidx, MemoryState(len(view) >> memory.page_size_log2, view, touched)

    def _dropped(self, kind: str, probed: Iterable[int]) -> frozenset[int]:
        return frozenset(
            index for index in probed if self.live.traps(f"{self.accessors.prefix}{kind}{index}.probe")
        )

    def _table(self, tableidx: int) -> TableState:
        table = LiveTable(self.module, self.accessors, self.live, tableidx)
        default = initial_element(self.module, tableidx)
        elements = self._table_elements(tableidx, table, default)
        expected = initial_elements(self.module, tableidx, self.functions.by_index)
        minimum = self.module.tables[tableidx].type.limits.minimum
        if table.size == minimum and default is not None and elements == expected:
            return TableState(table.size)
        return TableState(table.size, elements)

    def _table_elements(self, tableidx: int, table: LiveTable, default: Ref | None) -> dict[int, Ref]:
        """Return the elements that are not ``default``; None: all.

        Where the default is null, the guest itself passes over runs of null.
        """
        top = hierarchy(self.module.tables[tableidx].type.element.heap, self.module.types)
        skips_null = nulls_follow = default == NULL
        elements: dict[int, Ref] = {}
        position = 0
        while position < table.size:
            if nulls_follow:
                position = table.next(position)
                if position >= table.size:
                    break
                if top == "cont":  # which is never null here, and has no accessor that reads it
                    self.ref(0, top, ("table", tableidx, position))
            words = table.words(position)
            refs = self.heap.known(words, top) or [
                self.ref(word, top, ("table", tableidx, place)) for place, word in enumerate(words, position)
            ]
            nulls_follow = skips_null and 0 in words
            if default is None or (skips_null and not nulls_follow):
                elements.update(zip(range(position, position + len(refs)), refs, strict=True))
            else:
                elements.update((place, ref) for place, ref in enumerate(refs, position) if ref != default)
            position += len(refs)
        return elements

    def _elements(self, elemidx: int) -> Iterator[Ref]:
        """Yield the elements of a passive segment."""
        element = self.module.elements[elemidx]
        call = self.live.accessor(f"{self.accessors.prefix}element{elemidx}.read", BATCH)
        for start in range(0, len(element.items), BATCH):
            length = min(BATCH, len(element.items) - start)
            call.buffer[0], call.buffer[2] = start, length
            call()
            top = hierarchy(element.reftype.heap, self.module.types)
            for position, word in enumerate(call.buffer[: 2 * length : 2], start):
                yield self.ref(word, top, ("element segment", elemidx, position))
