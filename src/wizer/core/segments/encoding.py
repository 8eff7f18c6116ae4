"""What an active data segment costs in the binary format, in bytes.

Source: the specification, "Binary Format / Modules / Data Section"::

    0x00             offset:expr  init:vec(byte)     memory 0
    0x02  x:memidx   offset:expr  init:vec(byte)     any memory

where ``offset`` is ``i32.const n end`` or ``i64.const n end``. An immediate of ``i32.const`` is a *signed*
number of 32 bits: offsets from 2**31 up are written as negative ones, so the offsets just below 4 GiB are
as short as those just above 0.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The offset at which each length of a signed LEB128 begins, and that length.
_I32_STEPS = (
    *((0, 1), (1 << 6, 2), (1 << 13, 3), (1 << 20, 4), (1 << 27, 5)),
    *(
        ((1 << 32) - (1 << 27), 4),
        ((1 << 32) - (1 << 20), 3),
        ((1 << 32) - (1 << 13), 2),
        ((1 << 32) - (1 << 6), 1),
    ),
)
_I64_STEPS = ((0, 1), *((1 << (7 * n - 1), n + 1) for n in range(1, 10)))


def uleb_size(value: int) -> int:
    """Return the number of bytes of the unsigned LEB128 of ``value``."""
    return (value.bit_length() + 6) // 7 or 1


@cache
def header_steps(memidx: int, is64: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the header size as a step function of the offset.

    Returns:
        The offsets at which it changes, ascending from 0, and its value (bytes) from each of them on.
    """
    fixed = 1 + (uleb_size(memidx) if memidx else 0) + 1 + 1  # flags, memidx, opcode, end
    steps = _I64_STEPS if is64 else _I32_STEPS
    return tuple(at for at, _ in steps), tuple(fixed + size for _, size in steps)


def header_size(memidx: int, is64: bool, offset: int) -> int:
    """Everything before the length: flags, memory index and offset expression, in bytes."""
    offsets, sizes = header_steps(memidx, is64)
    return sizes[bisect_right(offsets, offset) - 1]


def header_sizes(memidx: int, is64: bool, ranges: Sequence[tuple[int, int]]) -> list[int]:
    """:func:`header_size` of the start of each range, which ascend."""
    offsets, sizes = header_steps(memidx, is64)
    places = [bisect_left(ranges, (offset,)) for offset in offsets]
    found: list[int] = []
    for low, high, size in zip(places, (*places[1:], len(ranges)), sizes, strict=True):
        found += [size] * (high - low)
    return found
