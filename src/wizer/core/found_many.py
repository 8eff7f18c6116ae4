"""What a walk has found so far, in arrays of numpy: for many objects."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from wizer.binary.module import Module
from wizer.core.columns import SCALAR, Column, Group, Heap
from wizer.core.found import Few, Objects, Problem, Rows, Unread, Visit
from wizer.core.functions import UNKNOWN
from wizer.core.instrument_heap import FIRST_TYPE, KIND_SEEN, KIND_UNKNOWN
from wizer.core.layout import DATA_START, EXN, INLINE, width
from wizer.core.live import RawCall, Words

_DTYPES: Final = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}

# Objects are at multiples of so many bytes, as a shift.
_ALIGNMENT: Final = 3


class Many(Objects):
    """What has been found, in arrays; see `Few`. A column in the making is a list of arrays.

    Args:
        module: the module.
        few: what has been found before.
    """

    def __init__(self, module: Module, few: Few) -> None:
        super().__init__(module)
        self._addresses = np.zeros(max(1 << 16, 2 * len(few.addresses)), np.uint32)
        self._addresses[: len(few.addresses)] = few.addresses
        self._size = len(few.addresses)
        self._codes = np.zeros(1 << 16, np.int32)
        for word, code in few.seen.items():
            self.name(word, code)
        self.exceptions: dict[int, Group] = few.exceptions
        for typeidx, rows in few.rows.items():
            self.rows[typeidx] = rows
            rows.nodes = [np.array(rows.nodes, np.int32)]
            rows.starts = [np.diff(np.array(rows.starts, np.int64))]
            rows.columns = [[self._column(rows, slot)] for slot in range(len(rows.columns))]

    @staticmethod
    def _column(rows: Rows, slot: int) -> Column:
        column, storage = rows.columns[slot], rows.layout.types[slot]
        if isinstance(column, bytearray):
            return np.frombuffer(bytes(column), np.uint8)
        if storage == "v128":
            mask = (1 << 64) - 1
            return np.array([[held & mask, held >> 64] for held in column], "<u8").reshape(-1, 2)
        return np.array(column, np.int64 if rows.storages[slot] is None else _DTYPES[width(storage)])

    def of_type(self, typeidx: int) -> Rows:
        """Return the objects of a type."""
        found = self.rows.get(typeidx)
        if found is None:
            found = self.rows[typeidx] = Rows(self.module, typeidx)
            found.columns = [[] for _ in found.layout.types]
            found.starts = []
        return found

    # References.

    @property
    def addresses(self) -> Column:
        """The raw references to the objects."""
        return self._addresses[: self._size]

    def _reach(self, place: int) -> None:
        """Make the array of codes long enough for a place."""
        if place >= len(self._codes):
            longer = np.zeros(max(place + 1, 2 * len(self._codes)), np.int32)
            longer[: len(self._codes)] = self._codes
            self._codes = longer

    def intern(self, words: Column) -> Column:
        """Return the codes of raw references; give new objects their numbers."""
        words = np.asarray(words, np.uint64).astype(np.uint32)
        if not len(words):
            return np.zeros(0, np.int64)
        scalars = (words & 1).astype(bool)
        if scalars.any():
            codes = ((words >> 1).astype(np.int64) << 2) | SCALAR
            codes[~scalars] = self._objects(words[~scalars])
            return codes
        return self._objects(words)

    def _objects(self, words: Column) -> Column:
        if not len(words):
            return np.zeros(0, np.int64)
        if (words & 7).any():
            raise AssertionError("objects are not where they should be")
        places = (words >> _ALIGNMENT).astype(np.int64)
        self._reach(int(places.max()))
        codes = self._codes[places]
        new = (codes == 0) & (words != 0)
        if new.any():
            found = places[new]
            # Of equal ones the first is to count: written last, it stays.
            order = np.arange(len(found), dtype=np.int32)
            self._codes[found[::-1]] = order[::-1]
            firsts = found[self._codes[found] == order]
            end = self._size + len(firsts)
            if end > len(self._addresses):
                self._addresses = np.resize(self._addresses, 2 * end)
            self._addresses[self._size : end] = firsts << _ALIGNMENT
            self._codes[firsts] = np.arange(self._size + 1, end + 1, dtype=np.int32) << 2
            self._size = end
            codes = self._codes[places]
        return codes.astype(np.int64)

    def knows(self, word: int) -> bool:
        """Whether a reference has been met before."""
        place = (word & 0xFFFF_FFFF) >> _ALIGNMENT
        return place == 0 or (place < len(self._codes) and bool(self._codes[place]))

    def name(self, word: int, code: int) -> None:
        """Set the code of a reference."""
        place = (word & 0xFFFF_FFFF) >> _ALIGNMENT
        self._reach(place)
        self._codes[place] = code

    # Calls.

    @staticmethod
    def put(buffer: Words, words: Column) -> None:
        """Put references to be pushed into the buffer of a call."""
        np.frombuffer(buffer, np.uint64)[2 : 2 + 2 * len(words) : 2] = words  # type: ignore[call-overload]

    @staticmethod
    def pulled(call: RawCall, start: int, end: int, batch: int) -> Column:
        """Return the references from ``start`` to ``end`` of a table."""
        words = np.empty(-(-(end - start) // batch) * batch, np.uint64)
        buffer: Any = np.frombuffer(call.buffer, np.uint64)[: 2 * batch : 2]  # type: ignore[call-overload]
        for first in range(0, end - start, batch):
            call.buffer[0] = start + first
            call()
            words[first : first + batch] = buffer
        return words[: end - start]

    @staticmethod
    def nothing() -> Column:
        """Return no references."""
        return np.zeros(0, np.uint64)

    @staticmethod
    def joined(first: Column, second: Column) -> Column:
        """Return two columns as one."""
        return np.concatenate([first, second])

    # Objects.

    def take(self, visit: Visit, read: int) -> tuple[int, Problem, Unread]:
        """Take the objects of a visit; see `Few.take`."""
        entries = np.frombuffer(bytes(visit.entries), "<u4").reshape(-1, 6)
        kinds, codes = entries[:, 0], visit.codes[: len(entries)]
        nodes = np.where((codes & 3 == 0) & (kinds >= KIND_UNKNOWN), (codes >> 2) - 1, -1)
        nodes[kinds == KIND_SEEN] = -1
        before = np.maximum.accumulate(np.concatenate([[read - 1], nodes[:-1]]))
        new = np.flatnonzero(nodes > before)
        new = new[nodes[new] == np.arange(read, read + len(new))]  # what comes after an exception has to wait
        unknown = new[kinds[new] == KIND_UNKNOWN]
        if len(unknown):
            new = new[new < unknown[0]]
        for kind in np.unique(kinds[new]).tolist():
            rows, chosen = self.of_type(kind - FIRST_TYPE), new[kinds[new] == kind]
            rows.nodes.append(nodes[chosen].astype(np.int32))
            add = self._arrays if rows.array else self._structs
            problem = add(rows, visit, entries[chosen])
            if problem is not None:
                row, top = problem
                return read, (int(nodes[chosen[row]]), top), None
        if len(unknown):
            return read + len(new), (int(nodes[unknown[0]]), ""), None
        return read + len(new), None, self._unread(visit, entries, new)

    def _unread(self, visit: Visit, entries: Column, new: Column) -> Unread:
        """Return the last entry's array if it is long."""
        last = len(entries) - 1
        if not len(new) or new[-1] != last:
            return None
        kind = int(entries[last, 0])
        rows = self.of_type(kind - FIRST_TYPE)
        if not rows.array:
            return None
        length = int(self._lengths(visit, entries[last:])[0])
        return (kind - FIRST_TYPE, length) if _is_long(rows, length) else None

    @staticmethod
    def _lengths(visit: Visit, entries: Column) -> Column:
        data = np.frombuffer(visit.memory, np.uint8)
        starts = (entries[:, 2].astype(np.int64) + DATA_START)[:, None] + np.arange(4)
        return data[starts].view("<u4").reshape(-1).astype(np.int64)

    def _structs(self, rows: Rows, visit: Visit, entries: Column) -> tuple[int, str] | None:
        found = rows.layout
        data = np.frombuffer(visit.memory, np.uint8)
        starts = (entries[:, 2].astype(np.int64) + DATA_START)[:, None]
        for slot, (type_, table, offset) in enumerate(
            zip(found.types, found.tables, found.offsets, strict=True)
        ):
            if table is not None:
                column = visit.column(table)[entries[:, 3 + table].astype(np.int64) + offset]
                bad, top = column == UNKNOWN, "func"
            else:
                size = width(type_)
                held = data[starts + np.arange(offset, offset + size)]
                column = held.view("<u8") if size == 16 else held.view(_DTYPES[size]).reshape(-1)
                bad, top = column != 1, "cont"
            if (table is not None or not isinstance(type_, str)) and bad.any():
                return int(np.flatnonzero(bad)[0]), top
            rows.columns[slot].append(column if table is not None or isinstance(type_, str) else column * 0)
        return None

    def _arrays(self, rows: Rows, visit: Visit, entries: Column) -> tuple[int, str] | None:
        lengths = self._lengths(visit, entries)
        if _is_long(rows, int(lengths[-1])):  # it is added later
            lengths, entries = lengths[:-1], entries[:-1]
        table, type_ = rows.layout.tables[0], rows.layout.types[0]
        size = 1 if table is not None else width(type_)
        starts = entries[:, 2].astype(np.int64) + DATA_START + 4
        source = np.frombuffer(visit.memory, np.uint8)
        if table is not None:
            starts, source = entries[:, 3 + table].astype(np.int64), visit.column(table)
        rows.starts.append(lengths)
        lengths = lengths * size
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        elements = source[np.arange(total) + np.repeat(starts - ends + lengths, lengths)]
        bad = (elements == UNKNOWN) if table is not None else (elements != 1)
        if not (table is None and isinstance(type_, str)) and bad.any():
            row = int(np.searchsorted(ends, np.flatnonzero(bad)[0], "right"))
            return row, "func" if table is not None else "cont"
        rows.columns[0].append(elements)
        return None

    def add_numbers(self, typeidx: int, memory: memoryview, count: int) -> str | None:
        """Add the numbers of a part of an array; return the hierarchy of what no module can express."""
        rows = self.of_type(typeidx)
        size = count * width(rows.layout.types[0])
        data = np.frombuffer(bytes(memory[DATA_START : DATA_START + size]), np.uint8)
        rows.columns[0].append(data)
        return "cont" if not isinstance(rows.layout.types[0], str) and (data != 1).any() else None

    def add_codes(self, typeidx: int, codes: Column) -> None:
        """Add the references of a part of an array."""
        self.of_type(typeidx).columns[0].append(codes)

    def end_array(self, typeidx: int, length: int) -> None:
        """End an array that was added in parts."""
        self.of_type(typeidx).starts.append(np.array([length], np.int64))

    def heap(self) -> Heap:
        """Return what has been read."""
        groups = []
        for typeidx, rows in sorted(self.rows.items()):
            nodes = np.concatenate(rows.nodes)
            columns = [_joined(column) for column in rows.columns]
            starts: Column = ()
            if rows.array:
                starts = np.concatenate([[0], np.cumsum(np.concatenate(rows.starts))])
            groups.append(
                Group("array" if rows.array else "struct", typeidx, nodes, rows.storages, columns, starts)
            )
        return Heap([*groups, *self.exceptions.values()], many=True)


def _is_long(rows: Rows, length: int) -> bool:
    return length > INLINE or bool(length and rows.layout.counts[EXN])


def _joined(parts: list[Any]) -> Column:
    """Join the parts of a column, and let them go."""
    joined = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    parts[:] = [joined]
    return joined
