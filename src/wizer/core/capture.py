"""Capture: the live instance becomes a `State`, plain data.

An instance whose table holds ``$f`` at 2 and whose global is 7 becomes::

    State(globals={0: Number("i32", 7)}, tables={0: TableState(4, {2: FuncRef(0)})}, memories={0: …})

It knows no engine: it calls the accessors that instrument appended, through the protocol `Live`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from wizer.binary.externs import ExternKind
from wizer.binary.module import Module
from wizer.binary.types import RefType, hierarchy
from wizer.binary.values import Number
from wizer.core.accessors import LiveTable, raw_bits
from wizer.core.columns import Column, Elements, Refs, code_of, ref_of
from wizer.core.instrument import BATCH, Accessors
from wizer.core.state import NULL, MemoryState, Ref, State, TableState, Value
from wizer.core.tables import initial_element, is_initial

if TYPE_CHECKING:
    from wizer.core.functions import Functions
    from wizer.core.live import Live
    from wizer.core.places import Place
    from wizer.core.walk import HeapWalk


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
    state = capturing.state()
    return state, capturing.heap.addresses if capturing.has_objects else ()


def _global_place(globalidx: int, _row: int) -> Place:
    return "global", globalidx, None


class _Capture:
    """One capture."""

    def __init__(
        self, module: Module, accessors: Accessors, live: Live, borrowed: frozenset[tuple[ExternKind, int]]
    ) -> None:
        self.module = module
        self.accessors = accessors
        self.live = live
        self.borrowed = borrowed

    @cached_property
    def functions(self) -> Functions:
        """Which functions raw references are to."""
        from wizer.core.functions import Functions

        return Functions(self.accessors, self.live)

    @cached_property
    def heap(self) -> HeapWalk:
        """The walk over objects."""
        from wizer.core.walk import HeapWalk

        return HeapWalk(self.module, self.accessors, self.live, self.functions)

    @property
    def has_objects(self) -> bool:
        """Whether there have been references to objects."""
        return "heap" in self.__dict__

    def _codes(self, words: Column, reftype: RefType, place: Callable[[int], Place]) -> Column:
        """Return the codes of raw references in places of a type; ``place`` says which.

        Of a continuation, the word tells whether it is null.

        Raises:
            StateError: one holds what no module can express.
        """
        from wizer.core.functions import UNKNOWN, first_unknown

        top = hierarchy(reftype.heap, self.module.types)
        if top not in ("func", "cont"):
            return self.heap.codes(words, reftype, place)
        codes = (
            self.functions.codes(words) if top == "func" else [0 if word & 1 else UNKNOWN for word in words]
        )
        if (row := first_unknown(codes)) is not None:
            from wizer.core.places import inexpressible

            raise inexpressible(self.module, place(row), top)
        return codes

    def _imported(self, word: int, reftype: RefType, globalidx: int) -> Ref:
        """Return what an imported immutable global holds: where nothing else names it, the global does."""
        from wizer.core.functions import UNKNOWN

        top = hierarchy(reftype.heap, self.module.types)
        if top == "func" and self.functions.code(word) == UNKNOWN:
            self.functions.name(word, globalidx)
        if top in ("func", "cont"):
            return ref_of(self._codes([word], reftype, partial(_global_place, globalidx))[0])
        return ref_of(self.heap.imported(word, reftype, globalidx))

    def state(self) -> State:
        values = dict(self._globals())
        dropped = self._dropped("data", self.accessors.data_drops)
        dropped_elements = self._dropped("element", self.accessors.element_drops)
        tables = {
            tableidx: self._table(tableidx)
            for tableidx in range(len(self.module.tables))
            if ("table", tableidx) not in self.borrowed
        }
        elements = {
            elemidx: self._elements(elemidx)
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
            heap=self.heap.walk() if self.has_objects else (),
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
                word, reftype = raw[2 * slot], globaltype.valtype
                if self.module.imported("global", index) and not globaltype.mutable:
                    yield index, self._imported(word, reftype, index)
                else:
                    yield index, ref_of(self._codes([word], reftype, partial(_global_place, index))[0])

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
        minimum = self.module.tables[tableidx].type.limits.minimum
        if tableidx not in self.accessors.tables:
            return TableState(minimum)
        table = LiveTable(self.module, self.accessors, self.live, tableidx)
        default = initial_element(self.module, tableidx)
        changed = self._table_elements(tableidx, table, default)
        if table.size == minimum and is_initial(self.module, tableidx, changed):
            return TableState(table.size)
        return TableState(table.size, changed)

    def _table_elements(self, tableidx: int, table: LiveTable, default: Ref | None) -> Elements:
        """Return the elements that are not ``default``; None: all.

        Where the default is null, the guest itself passes over runs of null.
        """
        reftype = self.module.tables[tableidx].type.element
        if hierarchy(reftype.heap, self.module.types) == "cont":
            # The module cannot read one, so only whether there are some counts.
            if (position := table.next(0)) < table.size:
                self._codes([0], reftype, lambda _: ("table", tableidx, position))
            return Elements([], [])
        if table.holds_many:
            self.heap.hold_with(table)
        found = table.words_from(0, skips_null=default == NULL)
        codes = self._codes(found.words, reftype, lambda row: ("table", tableidx, found.position(row)))
        return found.other_than(codes, None if default is None else code_of(default))

    def _elements(self, elemidx: int) -> Sequence[Ref]:
        """Return the elements of a passive segment."""
        element = self.module.elements[elemidx]
        call = self.live.accessor(f"{self.accessors.prefix}element{elemidx}.read", BATCH)
        words: list[int] = []
        for start in range(0, len(element.items), BATCH):
            length = min(BATCH, len(element.items) - start)
            call.buffer[0], call.buffer[2] = start, length
            call()
            words += call.buffer[: 2 * length : 2]
        codes = self._codes(words, element.reftype, lambda row: ("element segment", elemidx, row))
        return tuple(Refs(codes))
