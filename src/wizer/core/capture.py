"""Capture: the live instance becomes a `State`, plain data.

An instance whose table holds ``$f`` at 2 and whose global is 7 becomes::

    State(globals={0: Number("i32", 7)}, tables={0: TableState(4, {2: FuncRef(0)})}, memories={0: …})

Engine-free: the instance is behind the protocol `Live`, which calls the accessors that instrument appended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count

from wizer.binary.externs import ExternKind
from wizer.binary.module import Module
from wizer.binary.types import RefType, hierarchy
from wizer.binary.values import Number
from wizer.core.instrument import BATCH, Accessors
from wizer.core.live import Live
from wizer.core.state import NULL, FuncRef, MemoryState, Ref, State, TableState, Value
from wizer.core.walk import Functions, HeapWalk, InexpressibleError, Place, describe, raw_bits
from wizer.errors import StateError


def capture(
    module: Module, accessors: Accessors, live: Live, kept: frozenset[tuple[ExternKind, int]]
) -> State:
    """Read the state of a live instance.

    Args:
        module: the original module.
        accessors: what `instrument` appended to it.
        live: an instance of the instrumented module.
        kept: imported memories, tables and globals whose state stays with their owner.

    Raises:
        StateError: the instance holds something that no module can express; the message names the place.
    """
    return _Capture(module, accessors, live, kept).state()


class _Capture:
    """One capture."""

    def __init__(
        self, module: Module, accessors: Accessors, live: Live, kept: frozenset[tuple[ExternKind, int]]
    ) -> None:
        self.module = module
        self.accessors = accessors
        self.live = live
        self.kept = kept
        self.functions = Functions(accessors, live)
        self.heap = HeapWalk(module, accessors, live, self.functions)

    def state(self) -> State:
        values = dict(self._globals())
        dropped = self._dropped("data", self.accessors.data_drops)
        dropped_elements = self._dropped("element", self.accessors.element_drops)
        tables = {
            tableidx: self._table(tableidx)
            for tableidx in self.accessors.tables
            if ("table", tableidx) not in self.kept
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
            kept=self.kept,
        )

    def _owned(self, globalidx: int) -> bool:
        """Whether a global's value is the module's to write."""
        if self.module.imported("global", globalidx):
            return self.module.globals[globalidx].type.mutable and ("global", globalidx) not in self.kept
        return True

    def _globals(self) -> Iterator[tuple[int, Value]]:
        for number, batch in enumerate(self.accessors.globals):
            call = self.live.accessor(f"{self.accessors.prefix}globals{number}", len(batch))
            call()
            raw = call.buffer[: 2 * len(batch)]
            for slot, index in enumerate(batch):
                globaltype = self.module.globals[index].type
                if ("global", index) in self.kept and globaltype.mutable:
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
            if ("memory", memidx) not in self.kept:
                view, touched = self.live.memory(f"{self.accessors.prefix}memory{memidx}")
                yield memidx, MemoryState(len(view) >> memory.page_size_log2, view, touched)

    def _dropped(self, kind: str, probed: Iterable[int]) -> frozenset[int]:
        return frozenset(
            index for index in probed if self.live.traps(f"{self.accessors.prefix}{kind}{index}.probe")
        )

    def _table(self, tableidx: int) -> TableState:
        reader = _TableReader(self, tableidx)
        table = self.module.tables[tableidx]
        default = initial_element(self.module, tableidx)
        elements = reader.non_null() if default == NULL else reader.other_than(default)
        expected = initial_elements(self.module, tableidx, self.functions.by_index)
        if reader.size == table.type.limits.minimum and default is not None and elements == expected:
            return TableState(reader.size)
        return TableState(reader.size, elements)

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


class _TableReader:
    """Reads one table, many elements at a time."""

    def __init__(self, capture_: _Capture, tableidx: int) -> None:
        self._capture = capture_
        self.tableidx = tableidx
        self.reftype: RefType = capture_.module.tables[tableidx].type.element
        self.hierarchy = hierarchy(self.reftype.heap, capture_.module.types)
        self._live = capture_.live
        self._name = f"{capture_.accessors.prefix}table{tableidx}"
        self._mask = (1 << (64 if capture_.module.tables[tableidx].type.limits.is64 else 32)) - 1
        size = self._live.accessor(f"{self._name}.size", 1)
        size()
        self.size = size.buffer[0] & self._mask

    def non_null(self) -> dict[int, Ref]:
        """Return the elements that are not null; runs of null are passed over by the guest itself."""
        following = self._live.accessor(f"{self._name}.next", 1)
        elements: dict[int, Ref] = {}
        position, nulls = 0, True
        while position < self.size:
            if nulls:
                following.buffer[0] = position
                following()
                position = following.buffer[0] & self._mask
                if position >= self.size:
                    break
            if self.hierarchy == "cont":
                self._capture.ref(0, "cont", ("table", self.tableidx, position))
            words = self._words(position)
            refs = self._refs(words, position)
            nulls = 0 in words
            if nulls:
                elements.update((i, ref) for i, ref in enumerate(refs, position) if ref != NULL)
            else:
                elements.update(zip(range(position, position + len(refs)), refs, strict=True))
            position += len(refs)
        return elements

    def other_than(self, default: Ref | None) -> dict[int, Ref]:
        """Return the elements that are not ``default``; None: all."""
        return {
            position: ref
            for start in range(0, self.size, BATCH)
            for position, ref in enumerate(self._refs(self._words(start), start), start)
            if default is None or ref != default
        }

    def _words(self, start: int) -> list[int]:
        """Return the raw values of the next elements, `BATCH` of them unless the table ends before."""
        call = self._live.accessor(f"{self._name}.read", BATCH)
        call.buffer[0] = start
        call()
        return call.buffer[: 2 * min(BATCH, self.size - start) : 2]

    def _refs(self, words: Sequence[int], start: int) -> Sequence[Ref]:
        known = self._capture.heap.known(words, self.hierarchy)
        if known is not None:
            return known
        return [
            self._capture.ref(word, self.hierarchy, ("table", self.tableidx, position))
            for position, word in enumerate(words, start)
        ]


def initial_element(module: Module, tableidx: int) -> Ref | None:
    """Return what the elements of a new table are: null, a function, or None where only a run tells."""
    init = module.tables[tableidx].init
    if init is None:
        return NULL
    return _constant(init.value)


def _constant(value: tuple[str, int | None] | None) -> Ref | None:
    match value:
        case ("null", _):
            return NULL
        case ("func", int(funcidx)):
            return FuncRef(funcidx)
    return None


class _FuncRefs(dict[int, FuncRef]):
    """References to functions by index, each made once: the same objects are equal at a glance."""

    def __missing__(self, funcidx: int) -> FuncRef:
        self[funcidx] = made = FuncRef(funcidx)
        return made


def initial_elements(
    module: Module, tableidx: int, known: Mapping[int, FuncRef] | None = None
) -> Mapping[int, Ref] | None:
    """Return the elements that active segments give a table, or None where only a run tells.

    ``known``: references to use, by function.
    """
    default = initial_element(module, tableidx)
    funcs = _FuncRefs(known or {})
    elements: dict[int, Ref] = {}
    others = default != NULL
    for element in module.elements:
        if element.mode != "active" or element.tableidx != tableidx:
            continue
        value = element.offset.value if element.offset else None
        if value is None or value[0] not in ("i32", "i64") or value[1] is None:
            return None
        if (indices := element.indices) is not None:
            elements.update(zip(count(value[1]), map(funcs.__getitem__, indices), strict=False))
            continue
        others = True
        for position, item in enumerate(element.items, value[1]):
            ref = FuncRef(item) if isinstance(item, int) else _constant(item.value)
            if ref is None:
                return None
            elements[position] = ref
    if not others:
        return elements
    return {position: ref for position, ref in elements.items() if ref != default}
