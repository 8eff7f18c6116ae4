"""What a snapshot's memories will hold, seen without making them: a live memory is what its segments say.

An instance of a module without a start function has in its own memories what its active segments hold, and
zeros, before anything is called. So a large snapshot is instantiated without them, and each segment compared
with where it goes in the memory that it was made from::

    original   …0 0 0 [ 256 MiB …                 ] 0 0 0…    between segments there is nothing
    snapshot         (data (i32.const 65536) "256 MiB …")     each is what stands in its place

Two memories and a copy of what they hold would be three times as much.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

from wizer.binary.assemble import Chunk
from wizer.binary.module import Module
from wizer.core.libc import forgetting_functions
from wizer.core.moved_data import MUCH, fits
from wizer.core.pieces import Held
from wizer.core.state import MemoryState, State
from wizer.records import replace

_PIECE: Final = 1 << 20  # bytes compared at once
_ZEROS: Final = bytes(_PIECE)


def can_stay(module: Module, held: Sequence[Held]) -> bool:
    """Whether what an instance's memories hold is known without making them, and is much.

    Args:
        module: the snapshot without what its active segments hold.
        held: what they hold.
    """
    return (
        sum(each.segment.end - each.segment.start for each in held) >= MUCH
        and module.start is None
        and not forgetting_functions(module)  # they would run in memories that hold nothing
        and all(fits(module, each.segment) for each in held)
    )


def with_held(found: State, held: Sequence[Held], original: State) -> State | None:
    """Return the state of an instance whose segments hold something, of which ``found`` is without.

    Its memories are those of ``original``; None where these have another size or hold anything else.
    """
    if found.memories.keys() != original.memories.keys():
        return None
    by_memory: dict[int, list[Held]] = {memidx: [] for memidx in original.memories}
    for each in held:
        by_memory[each.segment.memidx].append(each)
    for memidx, memory in original.memories.items():
        empty = found.memories[memidx]
        if memory.pages != empty.pages or not _holds(empty, ()) or not _holds(memory, by_memory[memidx]):
            return None
    return replace(found, memories=original.memories)


def _holds(memory: MemoryState, held: Sequence[Held]) -> bool:
    """Whether a memory holds what segments do, which follow one another, and zeros between them."""
    at, touched = 0, _Touched(memory)
    for each in held:
        start = each.segment.constant_offset
        if start is None or start < at or not touched.is_zero(at, start):
            return False
        at = start
        for chunk in each.contents:
            if not is_at(memory.view, at, chunk):
                return False
            at += len(chunk)
    return touched.is_zero(at, len(memory.view))


class _Touched:
    """Where a memory may be other than zero."""

    def __init__(self, memory: MemoryState) -> None:
        self._view = memory.view
        self._ranges = [(0, len(memory.view))] if memory.touched is None else sorted(memory.touched)
        self._starts = [start for start, _ in self._ranges]

    def is_zero(self, start: int, end: int) -> bool:
        """Whether there are zeros only."""
        return all(is_at(self._view, low, _ZEROS[: high - low]) for low, high in self._parts(start, end))

    def _parts(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        number = max(bisect_right(self._starts, start) - 1, 0)
        while number < len(self._ranges) and self._starts[number] < end:
            low, high = self._ranges[number]
            low, high = max(low, start), min(high, end)
            for piece in range(low, high, _PIECE):
                yield piece, min(piece + _PIECE, high)
            number += 1


def is_at(view: memoryview, at: int, chunk: Chunk) -> bool:
    """Whether bytes stand in a view from ``at`` on; they are not copied whole."""
    if at + len(chunk) > len(view):
        return False
    other = memoryview(chunk)
    return all(
        bytes(view[at + start : at + min(start + _PIECE, len(other))]) == bytes(other[start : start + _PIECE])
        for start in range(0, len(other), _PIECE)
    )


def are_same(first: Sequence[Chunk], second: Sequence[Chunk]) -> bool:
    """Whether chunks come to the same bytes as others; they are not joined, since they may be large."""
    if sum(map(len, first)) != sum(map(len, second)):
        return False
    others = iter(second)
    rest = memoryview(b"")
    for chunk in first:
        view = memoryview(chunk)
        while view:
            while not rest:
                rest = memoryview(next(others))
            size = min(len(view), len(rest))
            if not is_at(view, 0, rest[:size]):
                return False
            view, rest = view[size:], rest[size:]
    return True
