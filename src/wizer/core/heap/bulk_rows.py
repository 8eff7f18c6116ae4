"""Columns of numbers as rows of bytes, each column as narrow as its numbers allow.

The columns 1, 2, 3 and 70, 80, 90 (one byte each) and 1000, 2000, 3000 (two) of three objects become two
arrays, row by row, so that some rows are always one slice::

    of bytes:   1 70 2 80 3 90
    of halves:  1000 2000 3000
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

from wizer.records import record

_TYPECODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


@record
class Column:
    """Where a column is.

    Attributes:
        width: the bytes of an entry: 1, 2, 4, 8 or 16.
        position: which of the columns of this width it is.
        signed: whether its entries stand for numbers with a sign.
    """

    width: int
    position: int
    signed: bool


class Rows:
    """Columns of ``count`` entries each."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._columns: dict[int, list[Sequence[int]]] = {}

    def add(self, numbers: Sequence[int], size: int) -> Column:
        """Add a column of numbers of ``size`` bytes (4, 8 or 16), given as unsigned."""
        width, signed = narrowest(numbers, size)
        columns = self._columns.setdefault(width, [])
        columns.append(numbers)
        return Column(width, len(columns) - 1, signed)

    @property
    def widths(self) -> list[int]:
        """The widths of the columns."""
        return sorted(self._columns)

    def stride(self, width: int) -> int:
        """Return how many columns of a width there are."""
        return len(self._columns[width])

    def packed(self, width: int) -> bytes:
        """Return the rows of the columns of a width."""
        columns = self._columns[width]
        if width == 16:
            mask = (1 << 64) - 1
            halves = [[c & mask for c in column] for column in columns]
            higher = [[c >> 64 for c in column] for column in columns]
            columns = [half for pair in zip(halves, higher, strict=True) for half in pair]
            width = 8
        mask = (1 << 8 * width) - 1
        rows = array(_TYPECODES[width], bytes(width * self._count * len(columns)))
        for position, numbers in enumerate(columns):
            rows[position :: len(columns)] = array(_TYPECODES[width], _masked(numbers, mask))
        if sys.byteorder == "big":
            rows.byteswap()
        return rows.tobytes()


def narrowest(numbers: Sequence[int], size: int) -> tuple[int, bool]:
    """Return in how many bytes numbers of ``size`` bytes fit, and whether they have to be sign-extended."""
    if size == 16:
        return 16, False
    highest = max(numbers, default=0)
    widths = [width for width in (1, 2, 4) if width < size]
    for width in widths:
        if highest < 1 << 8 * width:
            return width, False
    for width in widths:
        half = 1 << 8 * width - 1
        negative = (1 << 8 * size) - half
        if all(number < half or number >= negative for number in numbers):
            return width, True
    return size, False


def _masked(numbers: Sequence[int], mask: int) -> Iterable[int]:
    return numbers if max(numbers, default=0) <= mask else [number & mask for number in numbers]


class Data:
    """The contents of a data segment; equal pieces are there once."""

    def __init__(self) -> None:
        self._pieces: dict[bytes, int] = {}
        self._size = 0

    def add(self, piece: bytes) -> int:
        """Return where a piece begins, in bytes."""
        start = self._pieces.setdefault(piece, self._size)
        if start == self._size:
            self._size += len(piece)
        return start

    def contents(self) -> bytes:
        """Return all the bytes."""
        return b"".join(self._pieces)
