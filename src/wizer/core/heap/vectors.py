"""What loops over columns need of them, where they are lists: `wizer.core.heap.vectors_many` is for arrays.

Rows are places in the columns of a `Group`, codes are those of `wizer.core.columns`.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from wizer.binary.values import BITS
from wizer.core.columns import SCALAR, Column, Group, listed

# Keys of arrays by how they are made; others are made with so many elements.
DATA: Final = -3
FILLED: Final = -2
SAME: Final = -1

# From this length on arrays of numbers that are all the same are said by one of them.
MIN_SAME_BYTES: Final = 16

_TYPECODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Lists:
    """Columns as lists."""

    @staticmethod
    def column(numbers: Column) -> Column:
        """Return a column of numbers that are in a list or in an array."""
        return listed(numbers)

    @staticmethod
    def zeros(count: int, start: int = 0) -> Column:
        """Return a column of one number."""
        return [start] * count

    @staticmethod
    def take(column: Column, rows: Iterable[int]) -> Column:
        """Return some rows of a column."""
        return [column[row] for row in rows]

    @staticmethod
    def put(column: Column, rows: Sequence[int], values: Iterable[int]) -> None:
        """Set some rows of a column."""
        for row, value in zip(rows, values, strict=True):
            column[row] = value

    @staticmethod
    def successors(column: Column) -> Column:
        """Return numbers plus 1."""
        return [held + 1 for held in column]

    @staticmethod
    def joined(first: Column, second: Sequence[int]) -> Column:
        """Return two columns as one."""
        return [*first, *second]

    @staticmethod
    def rows(nodes: Column, chosen: bytearray) -> Column:
        """Return the rows of nodes that are chosen, the last ones first."""
        return [row for row in range(len(nodes) - 1, -1, -1) if chosen[nodes[row]]]

    @classmethod
    def split(cls, group: Group, rows: Column, mutable: bool) -> list[tuple[int, Column]]:
        """Return arrays by how they are made, in the order of the keys."""
        found: dict[int, list[int]] = {}
        for row in rows:
            found.setdefault(cls._key(group, row, mutable), []).append(row)
        return sorted(found.items())

    @staticmethod
    def _key(group: Group, row: int, mutable: bool) -> int:
        start, end = group.starts[row], group.starts[row + 1]
        elements, storage = group.columns[0], group.storages[0]
        if storage is not None:
            width = BITS[storage] // 8
            data = elements[start * width : end * width]
            same = len(data) >= MIN_SAME_BYTES and data == data[:width] * (end - start)
            return SAME if same else DATA
        if end > start and all(elements[i] == elements[start] for i in range(start, end)):
            return SAME
        return FILLED if mutable and end > start else end - start

    @staticmethod
    def lengths(group: Group, rows: Column) -> Column:
        """Return how many elements arrays have."""
        return [group.starts[row + 1] - group.starts[row] for row in rows]

    @staticmethod
    def elements(group: Group, rows: Column) -> Column:
        """Return the elements of arrays of references, one after the other."""
        spans = ((group.starts[row], group.starts[row + 1]) for row in rows)
        return list(chain.from_iterable(group.columns[0][start:end] for start, end in spans))

    @staticmethod
    def element(group: Group, rows: Column, index: int) -> Column:
        """Return one element of each of some arrays."""
        storage, elements = group.storages[0], group.columns[0]
        places = [group.starts[row] + index for row in rows]
        if storage is None:
            return [elements[place] for place in places]
        width = BITS[storage] // 8
        return [int.from_bytes(elements[place * width : (place + 1) * width], "little") for place in places]

    @staticmethod
    def equal(column: Column) -> int | None:
        """Return the number that a column consists of; None where there are several."""
        first: int = column[0]
        return first if column.count(first) == len(column) else None

    @staticmethod
    def nodes(codes: Column) -> Column:
        """Return the objects that references are to, -1 for others."""
        return [(code >> 2) - 1 if code & 3 == 0 else -1 for code in codes]

    @classmethod
    def held(cls, codes: Column, column: Column) -> set[int]:
        """Return what a column has for the objects that references are to."""
        return {column[node] for node in cls.nodes(codes) if node >= 0}

    @classmethod
    def places(cls, codes: Column, column: Column) -> Column:
        """Return what a column has for the objects that references are to, -1 for others."""
        return [column[node] if node >= 0 else -1 for node in cls.nodes(codes)]

    @staticmethod
    def chain_lengths(following: Column) -> Column | None:  # noqa: ARG004
        """Return how long the chain is from each row on, given the row after it; None where some is endless.

        Worth while for arrays only: None for all lists.
        """
        return None

    @staticmethod
    def sorted(column: Column, keys: Column) -> Column:
        """Return a column in the order of keys."""
        pairs = sorted(zip(keys, range(len(column)), strict=True))
        return [column[row] for _, row in pairs]

    @classmethod
    def any_not_before(cls, codes: Column, own: Column, times: Column) -> bool:
        """Whether a time of what is referred to is not before an object's own."""
        pairs = zip(cls.nodes(codes), own, strict=True)
        return any(node >= 0 and times[node] >= times[holder] for node, holder in pairs)

    @classmethod
    def holding(cls, codes: Column, chosen: bytearray) -> list[int]:
        """Return the rows of references to objects that are chosen."""
        return [row for row, node in enumerate(cls.nodes(codes)) if node >= 0 and chosen[node]]

    @staticmethod
    def kinds(codes: Column) -> set[int]:
        """Return the kinds of references that are not null."""
        return {code & 3 for code in codes if code}

    @staticmethod
    def distinct(column: Column) -> list[int]:
        """Return the numbers of a column in the order of their first appearance."""
        return list(dict.fromkeys(column))

    @staticmethod
    def translated(column: Column, numbers: Mapping[int, int]) -> Column:
        """Return other numbers for those of a column."""
        return [numbers[held] for held in column]

    @staticmethod
    def numbered(codes: Column, numbers: Column) -> Column:
        """Return what a column has for objects, by their codes without the lowest bits; 0 for others."""
        return [numbers[code >> 2] if code & 3 == 0 else 0 for code in codes]

    @staticmethod
    def unnumbered(codes: Column, numbers: Column) -> list[int]:
        """Return the distinct codes, but for null and scalars, of which the numbers are 0."""
        pairs = zip(codes, numbers, strict=True)
        return list(
            dict.fromkeys(code for code, number in pairs if code and not number and code & 3 != SCALAR)
        )

    @staticmethod
    def fill(numbers: Column, codes: Column, code: int, number: int) -> None:
        """Set the number of a code."""
        for place, held in enumerate(codes):
            if held == code:
                numbers[place] = number

    @staticmethod
    def other_than(column: Column, *others: Column, number: int = 0) -> tuple[Column, ...]:
        """Return the rows of columns in which the first one does not have a number."""
        rows = [place for place, held in enumerate(column) if held != number]
        return tuple([each[row] for row in rows] for each in (column, *others))

    @staticmethod
    def shifted(column: Column, scalars: Column) -> Column:
        """Return numbers as they are told from scalars, of which the codes are given; 0 for others."""
        return [
            code >> 2 << 1 | 1 if code & 3 == SCALAR else number << 1
            for number, code in zip(column, scalars, strict=True)
        ]

    @staticmethod
    def narrowest(column: Column, size: int) -> tuple[int, bool]:
        """Return the bytes that numbers of ``size`` bytes need, and whether they have to be sign-extended."""
        if size == 16:
            return 16, False
        highest = max(column, default=0)
        for width in (1, 2, 4):
            if width < size and highest < 1 << 8 * width:
                return width, False
        for width in (1, 2, 4):
            half, negative = 1 << 8 * width - 1, (1 << 8 * size) - (1 << 8 * width - 1)
            if width < size and all(number < half or number >= negative for number in column):
                return width, True
        return size, False

    @staticmethod
    def packed(columns: Sequence[Column], width: int) -> bytes:
        """Return the rows of columns of a width."""
        if width == 16:
            mask = (1 << 64) - 1
            halves = [
                ([held & mask for held in column], [held >> 64 for held in column]) for column in columns
            ]
            columns, width = list(chain.from_iterable(halves)), 8
        mask = (1 << 8 * width) - 1
        rows = array(_TYPECODES[width], bytes(width * len(columns[0]) * len(columns)))
        for position, column in enumerate(columns):
            rows[position :: len(columns)] = array(_TYPECODES[width], [held & mask for held in column])
        if sys.byteorder == "big":
            rows.byteswap()
        return rows.tobytes()

    @staticmethod
    def runs(positions: Column, codes: Column, least: int = 1) -> list[tuple[int, int]]:
        """Return where at least so many neighbours of one code begin and end, as places in the columns."""
        edges = [
            place
            for place in range(1, len(codes))
            if codes[place] != codes[place - 1] or positions[place] != positions[place - 1] + 1
        ]
        found = zip([0, *edges], [*edges, len(codes)], strict=True)
        return [(start, end) for start, end in found if end - start >= least]

    @classmethod
    def stretches(cls, positions: Column) -> tuple[Column, Column]:
        """Return where neighbours begin, and how many there are."""
        found = cls.runs(positions, cls.zeros(len(positions)))
        return [positions[start] for start, _ in found], [end - start for start, end in found]
