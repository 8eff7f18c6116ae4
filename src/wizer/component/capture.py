"""Capture: the state of every core instance inside a live component.

Each core instance is captured on its own. What it imports from another one is captured there, with its owner.
A table of functions that several core instances use is the exception: it may hold functions that its owner
cannot refer to, so all its users are looked at together. Components made by `wit-component` have such tables:
the last module to be instantiated fills them with functions that it imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from wizer.binary.externs import ExternKind
from wizer.binary.types import hierarchy
from wizer.binary.values import Number
from wizer.component.instances import CoreInstance, Entity, Instances
from wizer.component.instrument import InstrumentedComponent
from wizer.component.objects import Holders
from wizer.core.accessors import LiveTable, function_words
from wizer.core.capture import capture_objects
from wizer.core.instrument import Accessors
from wizer.core.live import Live
from wizer.core.state import NULL, FuncRef, Ref, State, TableState
from wizer.core.tables import initial_element, written_elements
from wizer.errors import StateError
from wizer.records import replace

Identity = tuple[int, int]


def capture_component(
    instances: Instances, instrumented: InstrumentedComponent, lives: Sequence[Live]
) -> list[State]:
    """Read the state of all core instances.

    Args:
        instances: the instantiation of the original component.
        instrumented: what `instrument_component` made of it.
        lives: the live core instances, in their order.

    Raises:
        StateError: an instance holds something that no module can express; the message names it.
    """
    readers = [
        _CoreReader(core, instrumented.accessors[core.site.item.start], live)
        for core, live in zip(instances.cores, lives, strict=True)
    ]
    tables: list[dict[int, TableState | None]] = [{} for _ in readers]
    for owner, users in _shared_tables(instances.cores).items():
        for (number, tableidx), table in _SharedTable(readers, owner, users).states():
            tables[number][tableidx] = table
    states = [reader.state(tables[reader.core.number]) for reader in readers]
    holders = Holders()
    for reader, state in zip(readers, states, strict=True):
        holders.note(reader.core, reader.objects, state)
    return states


class _CoreReader:
    """One live core instance."""

    def __init__(self, core: CoreInstance, accessors: Accessors, live: Live) -> None:
        self.core = core
        self.accessors = accessors
        self.live = live
        self.objects: Sequence[int] = ()

    def state(self, tables: Mapping[int, TableState | None]) -> State:
        """Return the state; ``tables`` has the shared tables, None where another instance writes them."""
        module = self.core.module
        borrowed: set[tuple[ExternKind, int]] = {("table", tableidx) for tableidx in tables}
        for kind in ("memory", "table", "global"):
            borrowed |= {(kind, index) for index in range(module.import_counts[kind])}
        try:
            state, self.objects = capture_objects(module, self.accessors, self.live, frozenset(borrowed))
        except StateError as error:
            raise StateError(f"{self.core.label}: {error.message}", error.causes) from None
        written = {tableidx: table for tableidx, table in tables.items() if table is not None}
        borrowed -= {("table", tableidx) for tableidx in written}
        # Numbers come from other core instances, which are frozen too: no host can give another one.
        references = {i: value for i, value in state.imported.items() if not isinstance(value, Number)}
        return replace(
            state,
            tables={**state.tables, **written},
            borrowed=frozenset(borrowed),
            imported=references,
        )

    @cached_property
    def identities(self) -> Mapping[int, Identity]:
        """What each function that the instance can refer to is."""
        words = dict(function_words(self.accessors, self.live))
        return dict(zip(words, self.live.identities(words.values()), strict=True))

    def table(self, tableidx: int) -> list[Identity | None]:
        """Return what the elements of a table of functions are, None where they are null."""
        table = LiveTable(self.core.module, self.accessors, self.live, tableidx)
        words = list(table.all_words())
        found = iter(self.live.identities(filter(None, words)))
        return [next(found) if word else None for word in words]


def _shared_tables(cores: Sequence[CoreInstance]) -> dict[Entity, list[tuple[int, int]]]:
    """Return the tables of functions that are imported, each with its users: core instances and indices."""
    users: dict[Entity, list[tuple[int, int]]] = {}
    for core in cores:
        for tableidx in range(core.module.import_counts["table"]):
            owner = core.entity("table", tableidx)
            reftype = core.module.tables[tableidx].type.element
            if owner is not None and hierarchy(reftype.heap, core.module.types) == "func":
                users.setdefault(owner, [(owner.owner, owner.index)]).append((core.number, tableidx))
    return users


class _SharedTable:
    """A table of functions that several core instances use.

    Attributes:
        users: the core instances, each with the table's index in it, the owner first.
    """

    def __init__(
        self, readers: Sequence[_CoreReader], owner: Entity, users: Sequence[tuple[int, int]]
    ) -> None:
        self.readers = readers
        self.owner = owner
        self.users = users
        self.module = readers[owner.owner].core.module
        self.tableidx = owner.index
        self.elements = readers[owner.owner].table(owner.index)

    def states(self) -> Iterator[tuple[tuple[int, int], TableState | None]]:
        """Yield for each user the state of the table that its module writes; None where it writes none."""
        if self.elements == self._initial():
            for number, tableidx in self.users:
                limits = self.readers[number].core.module.tables[tableidx].type.limits
                yield (number, tableidx), TableState(limits.minimum)
            return
        changed = self._writers()
        for place, written in changed.items():
            is_owner = place == self.users[0]
            yield place, TableState(len(self.elements), written) if written or is_owner else None

    def _initial(self) -> list[Identity | None] | None:
        """Return what the table is after instantiation, or None where only a run tells."""
        default = initial_element(self.module, self.tableidx)
        if default is None:
            return None
        size = self.module.tables[self.tableidx].type.limits.minimum
        if size != len(self.elements):
            return None
        initial = [self._identity(self.owner.owner, default)] * size
        for number, tableidx in self.users:
            written = written_elements(self.readers[number].core.module, tableidx)
            if written is None or max(written, default=-1) >= size:
                return None
            for position, ref in written.items():
                initial[position] = self._identity(number, ref)
        return initial

    def _identity(self, number: int, ref: Ref) -> Identity | None:
        return self.readers[number].identities[ref.funcidx] if isinstance(ref, FuncRef) else None

    def _writers(self) -> dict[tuple[int, int], dict[int, Ref]]:
        """Divide the elements among the users: the first that can refer to an element writes it."""
        default = initial_element(self.module, self.tableidx)
        known = {
            user: {identity: index for index, identity in self.readers[user[0]].identities.items()}
            for user in self.users
        }
        written: dict[tuple[int, int], dict[int, Ref]] = {user: {} for user in self.users}
        for position, identity in enumerate(self.elements):
            if identity is None:
                if default != NULL:
                    written[self.users[0]][position] = NULL
                continue
            user = next((user for user, indices in known.items() if identity in indices), None)
            if user is None:
                label = self.readers[self.owner.owner].core.label
                place = self.module.describe("table", self.tableidx)
                raise StateError(
                    f"{label}: {place} element {position} holds a function that no module with this table "
                    "can refer to, so none can put it there again; export it from the module that defines it"
                )
            ref = FuncRef(known[user][identity])
            if user != self.users[0] or ref != default:
                written[user][position] = ref
        return written
