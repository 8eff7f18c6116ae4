"""What loops over columns need of them, where they are arrays of numpy; see `wizer.core.heap.vectors`."""

# ruff: noqa: D102 - the methods are those of `Lists`, which says what they do

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from wizer.binary.values import BITS
from wizer.core.columns import SCALAR, Column, Group
from wizer.core.heap.vectors import DATA, FILLED, MIN_SAME_BYTES, SAME

_UNSIGNED: Final = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}


class Arrays:
    """Columns as arrays; the methods are those of `wizer.core.heap.vectors.Lists`."""

    @staticmethod
    def column(numbers: Column) -> Column:
        return np.asarray(numbers, np.int64)

    @staticmethod
    def zeros(count: int, start: int = 0) -> Column:
        return np.full(count, start, np.int64)

    @staticmethod
    def take(column: Column, rows: Column) -> Column:
        return np.asarray(column)[np.asarray(rows, np.int64)]

    @staticmethod
    def put(column: Column, rows: Column, values: Column) -> None:
        column[np.asarray(rows, np.int64)] = np.asarray(values, np.int64)

    @staticmethod
    def successors(column: Column) -> Column:
        return column + 1

    @staticmethod
    def joined(first: Column, second: Column) -> Column:
        return np.concatenate([first, np.asarray(second, np.int64)]) if len(second) else first

    @staticmethod
    def rows(nodes: Column, chosen: bytearray) -> Column:
        return np.flatnonzero(np.frombuffer(bytes(chosen), np.bool_)[nodes])[::-1]

    @classmethod
    def split(cls, group: Group, rows: Column, mutable: bool) -> list[tuple[int, Column]]:
        lengths, storage = cls.lengths(group, rows), group.storages[0]
        width = 1 if storage is None else BITS[storage] // 8
        same = (lengths > 0) & _are_uniform(group, rows, lengths, width)
        if storage is not None:
            keys = np.where(same & (lengths * width >= MIN_SAME_BYTES), SAME, DATA)
        else:
            keys = np.where(same, SAME, np.where((lengths > 0) & mutable, FILLED, lengths))
        return [(key, rows[keys == key]) for key in np.unique(keys).tolist()]

    @staticmethod
    def lengths(group: Group, rows: Column) -> Column:
        starts = np.asarray(group.starts)
        return starts[rows + 1] - starts[rows]

    @classmethod
    def elements(cls, group: Group, rows: Column) -> Column:
        return group.columns[0][_flat(np.asarray(group.starts)[rows], cls.lengths(group, rows))]

    @staticmethod
    def element(group: Group, rows: Column, index: int) -> Column:
        storage, places = group.storages[0], np.asarray(group.starts)[rows] + index
        if storage is None:
            return group.columns[0][places]
        width = BITS[storage] // 8
        held = group.columns[0][(places * width)[:, None] + np.arange(width)]
        return held.view("<u8") if width == 16 else held.view(_UNSIGNED[width]).reshape(-1)

    @staticmethod
    def equal(column: Column) -> int | None:
        if not (column == column[0]).all():
            return None
        return int(column[0]) if column.ndim == 1 else int(column[0, 0]) | int(column[0, 1]) << 64

    @staticmethod
    def nodes(codes: Column) -> Column:
        return np.where(codes & 3 == 0, (codes >> 2) - 1, -1)

    @classmethod
    def held(cls, codes: Column, column: Column) -> set[int]:
        nodes = cls.nodes(codes)
        return set(np.unique(column[nodes[nodes >= 0]]).tolist())

    @classmethod
    def places(cls, codes: Column, column: Column) -> Column:
        nodes = cls.nodes(codes)
        return np.where(nodes >= 0, column[nodes], -1)

    @staticmethod
    def chain_lengths(following: Column) -> Column | None:
        # Each step doubles how far a row looks ahead. The last row stands for the end of all chains.
        end = len(following)
        ahead = np.append(np.where(following >= 0, following, end), end).astype(np.int32)
        lengths = (ahead != end).astype(np.int32)
        for _ in range(end.bit_length()):
            if (ahead == end).all():
                return lengths[:end]
            lengths += lengths[ahead]
            ahead = ahead[ahead]
        return lengths[:end] if (ahead == end).all() else None

    @staticmethod
    def sorted(column: Column, keys: Column) -> Column:
        return column[np.argsort(keys, kind="stable")]

    @classmethod
    def any_not_before(cls, codes: Column, own: Column, times: Column) -> bool:
        nodes = cls.nodes(codes)
        return bool(((nodes >= 0) & (times[nodes] >= times[own])).any())

    @classmethod
    def holding(cls, codes: Column, chosen: bytearray) -> list[int]:
        nodes = cls.nodes(np.asarray(codes))
        rows: list[int] = np.flatnonzero(
            (nodes >= 0) & np.frombuffer(bytes(chosen), np.bool_)[nodes]
        ).tolist()
        return rows

    @staticmethod
    def kinds(codes: Column) -> set[int]:
        return set(np.flatnonzero(np.bincount(codes[codes != 0] & 3)).tolist())

    @staticmethod
    def distinct(column: Column) -> list[int]:
        values, first = np.unique(column, return_index=True)
        found: list[int] = values[np.argsort(first)].tolist()
        return found

    @staticmethod
    def translated(column: Column, numbers: Mapping[int, int]) -> Column:
        values, places = np.unique(column, return_inverse=True)
        return np.array([numbers[value] for value in values.tolist()], np.int64)[places]

    @staticmethod
    def numbered(codes: Column, numbers: Column) -> Column:
        return numbers[np.where(codes & 3 == 0, codes >> 2, 0)]

    @classmethod
    def unnumbered(cls, codes: Column, numbers: Column) -> list[int]:
        return cls.distinct(codes[(codes != 0) & (numbers == 0) & (codes & 3 != SCALAR)])

    @staticmethod
    def fill(numbers: Column, codes: Column, code: int, number: int) -> None:
        numbers[codes == code] = number

    @staticmethod
    def other_than(column: Column, *others: Column, number: int = 0) -> tuple[Column, ...]:
        rows = np.flatnonzero(column != number)
        return tuple(np.asarray(each)[rows] for each in (column, *others))

    @staticmethod
    def shifted(column: Column, scalars: Column) -> Column:
        return np.where(scalars & 3 == SCALAR, scalars >> 2 << 1 | 1, column << 1)

    @staticmethod
    def narrowest(column: Column, size: int) -> tuple[int, bool]:
        if size == 16:
            return 16, False
        highest = int(column.max(initial=0))
        for width in (1, 2, 4):
            if width < size and highest < 1 << 8 * width:
                return width, False
        signed = column.astype(_UNSIGNED[size]).view(f"<i{size}")
        lowest, highest = int(signed.min()), int(signed.max())
        for width in (1, 2, 4):
            half = 1 << 8 * width - 1
            if width < size and -half <= lowest and highest < half:
                return width, True
        return size, False

    @staticmethod
    def packed(columns: Sequence[Column], width: int) -> bytes:
        if width == 16:
            packed: bytes = np.concatenate(columns, axis=1).astype("<u8").tobytes()
            return packed
        rows = np.empty((len(columns[0]), len(columns)), _UNSIGNED[width])
        for position, column in enumerate(columns):
            rows[:, position] = column.astype(_UNSIGNED[width])
        return rows.tobytes()

    @staticmethod
    def runs(positions: Column, codes: Column, least: int = 1) -> list[tuple[int, int]]:
        edges = np.flatnonzero((np.diff(codes) != 0) | (np.diff(positions) != 1)) + 1
        edges = np.concatenate([[0], edges, [len(codes)]])
        long = np.flatnonzero(np.diff(edges) >= least)
        return list(zip(edges[long].tolist(), edges[long + 1].tolist(), strict=True))

    @classmethod
    def stretches(cls, positions: Column) -> tuple[Column, Column]:
        edges = np.concatenate([[0], np.flatnonzero(np.diff(positions) != 1) + 1, [len(positions)]])
        return positions[edges[:-1]], np.diff(edges)


def _flat(starts: Column, lengths: Column) -> Column:
    """Return all places of ranges, one range after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + lengths, lengths)


def _are_uniform(group: Group, rows: Column, lengths: Column, width: int) -> Column:
    """Say of arrays whether all their elements are the same; of empty ones that they are."""
    starts = np.asarray(group.starts)[rows]
    elements: Any = group.columns[0]
    elements = np.asarray(elements).reshape(-1, width) if width > 1 else np.asarray(elements)
    places = _flat(starts, lengths)
    differs = elements[places] != elements[np.repeat(starts, lengths)]
    if width > 1:
        differs = differs.any(axis=1)
    counts = np.concatenate([[0], np.cumsum(differs)])
    ends = np.cumsum(lengths)
    return counts[ends] == counts[ends - lengths]
