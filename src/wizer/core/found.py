"""What a walk has found so far, in lists: for few objects. `wizer.core.found_many` has arrays of numpy."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct as Format
from struct import iter_unpack, unpack_from
from typing import Any, Final, TypeAlias

from wizer.binary.module import Module
from wizer.binary.types import ArrayType, RefType, StorageType, hierarchy
from wizer.core.columns import SCALAR, Column, Group, Heap, payload, storages
from wizer.core.functions import UNKNOWN
from wizer.core.instrument_heap import FIRST_TYPE, KIND_SEEN, KIND_UNKNOWN
from wizer.core.layout import DATA_START, ENTRY, EXN, INLINE, Layout, layout, slot_types, width
from wizer.core.live import RawCall, Words
from wizer.records import record

# The number of an object that holds what no module can express, and the hierarchy of that; "" for the object.
Problem: TypeAlias = "tuple[int, str] | None"
# The type and length of an array whose elements are still to be read.
Unread: TypeAlias = "tuple[int, int] | None"

_FORMATS: Final = {1: "B", 2: "H", 4: "I", 8: "Q", 16: "16s"}


@record
class Visit:
    """What a call of the walk has handed out.

    Attributes:
        memory: the entries and the numbers.
        count: how many entries there are.
        codes, functions, exceptions: the references in the tables, by their codes.
    """

    memory: memoryview
    count: int
    codes: Column
    functions: Column
    exceptions: Column

    @property
    def entries(self) -> memoryview:
        """The entries."""
        return self.memory[: ENTRY * self.count]

    @property
    def kinds(self) -> list[int]:
        """The kinds of the entries."""
        return [entry[0] for entry in iter_unpack("<6I", self.entries)]

    def column(self, table: int) -> Column:
        """Return the references of a table."""
        return (self.codes, self.functions, self.exceptions)[table]


class Rows:
    """Objects of one type.

    Attributes:
        layout: how they are handed out.
        array: whether they are arrays.
        nodes, columns, starts: as a `Group` has them.
    """

    def __init__(self, module: Module, typeidx: int) -> None:
        self.array: bool = isinstance(module.types[typeidx].comp, ArrayType)
        self.layout: Layout = layout(module, slot_types(module, typeidx))
        self.nodes: list[Any] = []
        self.columns: list[Any] = [[] for _ in self.layout.types]
        self.starts: list[Any] = [0]
        if self.array and isinstance(self.layout.types[0], str):
            self.columns = [bytearray()]
        numbers = [t for t, table in zip(self.layout.types, self.layout.tables, strict=True) if table is None]
        self.format: Format = Format("<" + "".join(_FORMATS[width(t)] for t in numbers))

    @property
    def storages(self) -> tuple[str | None, ...]:
        """The types of the slots."""
        return storages(self.layout.types)


class Objects:
    """The objects that have been read.

    Attributes:
        module: the module.
        rows: structures and arrays, by type.
        exceptions: exceptions, by tag.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.rows: dict[int, Rows] = {}
        self.exceptions: dict[int, Group] = {}

    def of_type(self, typeidx: int) -> Rows:
        """Return the objects of a type."""
        found = self.rows.get(typeidx)
        if found is None:
            found = self.rows[typeidx] = Rows(self.module, typeidx)
        return found

    def table_of(self, typeidx: int) -> int | None:
        """Return the table in which the elements of arrays of a type are handed out."""
        return self.of_type(typeidx).layout.tables[0]

    def add_exception(
        self, node: int, tagidx: int, types: Sequence[StorageType], values: Sequence[int]
    ) -> None:
        """Add an exception."""
        if tagidx not in self.exceptions:
            self.exceptions[tagidx] = Group("exn", tagidx, [], storages(types), [[] for _ in types])
        group = self.exceptions[tagidx]
        group.nodes.append(node)
        for column, value in zip(group.columns, values, strict=True):
            column.append(value)

    def top_of(self, group: Group, slot: int) -> str:
        """Return the hierarchy of a slot."""
        types = (
            payload(self.module, group.index) if group.kind == "exn" else slot_types(self.module, group.index)
        )
        reftype = types[slot]
        assert isinstance(reftype, RefType)
        return hierarchy(reftype.heap, self.module.types)


class Few(Objects):
    """What has been found, in lists.

    Attributes:
        addresses: the raw references to the objects.
        seen: the codes of references, by their raw values.
    """

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        self.addresses: list[int] = []
        self.seen: dict[int, int] = {0: 0}

    # References.

    def intern(self, words: Column) -> list[int]:
        """Return the codes of raw references; give new objects their numbers."""
        seen, codes = self.seen, []
        for word in [word & 0xFFFF_FFFF for word in words]:
            code = seen.get(word)
            if code is None:
                if word & 1:  # a scalar: the engine keeps its bits in the reference
                    code = word >> 1 << 2 | SCALAR
                else:
                    self.addresses.append(word)
                    code = len(self.addresses) << 2
                    seen[word] = code
            codes.append(code)
        return codes

    def knows(self, word: int) -> bool:
        """Whether a reference has been met before."""
        return word & 0xFFFF_FFFF in self.seen

    def name(self, word: int, code: int) -> None:
        """Set the code of a reference."""
        self.seen[word & 0xFFFF_FFFF] = code

    # Calls.

    @staticmethod
    def put(buffer: Words, words: Sequence[int]) -> None:
        """Put references to be pushed into the buffer of a call."""
        for slot, word in enumerate(words, 1):
            buffer[2 * slot] = word

    @staticmethod
    def pulled(call: RawCall, start: int, end: int, batch: int) -> list[int]:
        """Return the references from ``start`` to ``end`` of a table."""
        words: list[int] = []
        for first in range(start, end, batch):
            call.buffer[0] = first
            call()
            words += call.buffer[: 2 * min(batch, end - first) : 2]
        return words

    @staticmethod
    def nothing() -> list[int]:
        """Return no references."""
        return []

    @staticmethod
    def joined(first: list[int], second: list[int]) -> list[int]:
        """Return two columns as one."""
        return first + second

    # Objects.

    def take(self, visit: Visit, read: int) -> tuple[int, Problem, Unread]:
        """Take the objects of a visit; return how many have been read now.

        ``read`` of them have been read before. What was visited again is passed over.
        """
        for code, entry in zip(visit.codes, iter_unpack("<6I", visit.entries), strict=False):
            kind = entry[0]
            if code & 3 or (code >> 2) - 1 != read or kind == KIND_SEEN:
                continue
            if kind == KIND_UNKNOWN:
                return read, (read, ""), None
            rows = self.of_type(kind - FIRST_TYPE)
            rows.nodes.append(read)
            read += 1
            if not rows.array:
                if (top := self._struct(rows, visit, entry)) is not None:
                    return read, (read - 1, top), None
                continue
            (length,) = unpack_from("<I", visit.memory, DATA_START + entry[2])
            if length > INLINE or (length and rows.layout.counts[EXN]):
                return read, None, (kind - FIRST_TYPE, length)
            if (top := self._array(rows, visit, entry, length)) is not None:
                return read, (read - 1, top), None
        return read, None, None

    def _struct(self, rows: Rows, visit: Visit, entry: Sequence[int]) -> str | None:
        """Add a structure; return the hierarchy of what no module can express."""
        numbers = iter(rows.format.unpack_from(visit.memory, DATA_START + entry[2]))
        found = rows.layout
        for type_, table, offset, column in zip(
            found.types, found.tables, found.offsets, rows.columns, strict=True
        ):
            if table is not None:
                code = visit.column(table)[entry[3 + table] + offset]
                column.append(code)
                if code == UNKNOWN:
                    return "func"
                continue
            number = next(numbers)
            if isinstance(type_, str):
                column.append(number if type_ != "v128" else int.from_bytes(number, "little"))
            else:
                column.append(0)
                if number != 1:
                    return "cont"
        return None

    def _array(self, rows: Rows, visit: Visit, entry: Sequence[int], length: int) -> str | None:
        table, type_ = rows.layout.tables[0], rows.layout.types[0]
        rows.starts.append(rows.starts[-1] + length)
        if table is not None:
            codes = visit.column(table)[entry[3 + table] : entry[3 + table] + length]
            rows.columns[0] += codes
            return "func" if UNKNOWN in codes else None
        start = DATA_START + entry[2] + 4
        data = visit.memory[start : start + length * width(type_)]
        return _add_numbers(rows, data)

    def add_numbers(self, typeidx: int, memory: memoryview, count: int) -> str | None:
        """Add the numbers of a part of an array; return the hierarchy of what no module can express."""
        rows = self.of_type(typeidx)
        return _add_numbers(rows, memory[DATA_START : DATA_START + count * width(rows.layout.types[0])])

    def add_codes(self, typeidx: int, codes: Column) -> None:
        """Add the references of a part of an array."""
        self.of_type(typeidx).columns[0] += codes

    def end_array(self, typeidx: int, length: int) -> None:
        """End an array that was added in parts."""
        starts = self.of_type(typeidx).starts
        starts.append(starts[-1] + length)

    def heap(self) -> Heap:
        """Return what has been read."""
        groups = [
            Group(
                "array" if rows.array else "struct",
                typeidx,
                rows.nodes,
                rows.storages,
                rows.columns,
                rows.starts if rows.array else (),
            )
            for typeidx, rows in sorted(self.rows.items())
        ]
        return Heap([*groups, *self.exceptions.values()])


def _add_numbers(rows: Rows, data: memoryview) -> str | None:
    if isinstance(rows.layout.types[0], str):
        rows.columns[0] += data
        return None
    rows.columns[0] += bytes(len(data))
    return "cont" if any(byte != 1 for byte in data) else None
