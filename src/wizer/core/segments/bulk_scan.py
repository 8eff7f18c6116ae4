"""Find the non-zero ranges of memories of any size: the rules of :mod:`.scan`, vectorised.

A zero run of seven bytes or more contains an aligned zero word of four. Everywhere but in the first and
last 8 KiB of the offsets, whose headers are shorter, only such runs can pay for a segment. So a chunk of
memory is compared word by word; where the answer changes, the neighbouring words tell the run's exact
first and last byte::

    bytes   12 34 00 00 | 00 00 00 00 | 00 00 00 56 | 78 9a bc de
    zero?       no      |    yes      |     no      |     no        ->  a run of 4 + 2 + 3 bytes

What was found is kept as gaps between ranges: one gap ends where the next range starts. No more than
``keep`` gaps are held, those that a split at saves most (of equals, the first): memory stays bounded
however fragmented the contents are, and gaps beyond that could hardly be among the few that a limit on
segments leaves split.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from itertools import pairwise
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from .encoding import header_steps
from .scan import touched_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from . import MemoryImage

    Bytes = NDArray[np.uint8]
    Words = NDArray[np.uint32]
    Ints = NDArray[np.int64]
    Runs = tuple[Ints, Ints]
    Part = tuple[int, int]
    Chunk = list[Part]

_CHUNK = 2 << 20  # bytes: a chunk's temporaries stay in the cache
_CHUNKS_A_SLAB = 4
_THREADS_PAY = 8  # chunks
_NARROW = 1 << 13  # bytes at both ends of the 32-bit offsets whose headers are too short for words
_WORD = 4
_ALIGN = 64
_COUNTED = 1 << 12  # bytes: gains up to here are counted where they are compared


def scan(image: MemoryImage, keep: int) -> tuple[Ints, int]:
    """Return the non-zero ranges of ``image``, and what splits at all gaps between them save, in bytes.

    Args:
        image: the memory.
        keep: the most gaps to hold.

    Returns:
        The ranges' starts and ends, ascending, shape (count, 2); the sum of :meth:`_Gaps.saved` for all gaps
        where that is positive, those that are not held included.
    """
    gaps = _Gaps(image, keep)
    chunks = list(_chunks(_aligned(touched_parts(image), len(image.view))))
    memory = np.frombuffer(image.view, dtype=np.uint8)

    def find(chunk: Chunk) -> Runs:
        return gaps.worthy(_zero_runs(memory, chunk), chunk[0][0], chunk[-1][1])

    for first in range(0, len(chunks), _CHUNKS_A_SLAB):
        slab = chunks[first : first + _CHUNKS_A_SLAB]
        gaps.add(slab, _map_in_threads(find, slab) if len(chunks) >= _THREADS_PAY else list(map(find, slab)))
    return gaps.ranges(), gaps.saved_in_all()


def _aligned(parts: Sequence[Part], size: int) -> Iterator[Part]:
    """Widen the parts to whole cache lines, join those that touch, and split at the narrow offsets."""
    low = high = 0
    for first, last in sorted(parts):
        start, end = first - first % _ALIGN, min(last + -last % _ALIGN, size)
        if start > high:
            yield from _split(low, high)
            low = start
        high = max(high, end)
    yield from _split(low, high)


def _split(low: int, high: int) -> Iterator[Part]:
    """Split a part where words stop being enough, or start to be, and before an incomplete word."""
    cuts = (_NARROW, (1 << 32) - _NARROW, 1 << 32, high - high % _WORD)
    return pairwise(sorted({low, high, *(cut for cut in cuts if low < cut < high)}))


def _is_narrow(part: Part) -> bool:
    return part[1] <= _NARROW or (1 << 32) - _NARROW <= part[0] < 1 << 32


def _chunks(parts: Iterator[Part]) -> Iterator[Chunk]:
    """Cut large parts and collect small ones, so that chunks have a fair size. Narrow parts stay alone."""
    chunk: Chunk = []
    room = _CHUNK
    for low, end in parts:
        start = low
        if _is_narrow((start, end)) and chunk:
            yield chunk
            chunk, room = [], _CHUNK
        while start < end:
            step = min(end - start, room)
            chunk.append((start, start + step))
            start += step
            room -= step
            if not room or _is_narrow(chunk[0]):
                yield chunk
                chunk, room = [], _CHUNK
    if chunk:
        yield chunk


def _map_in_threads(function: Callable[[Chunk], Runs], chunks: Sequence[Chunk]) -> list[Runs]:
    """Map with one thread for every core, up to four: numpy lets go of the interpreter while it computes."""
    workers = min(os.cpu_count() or 1, 4)
    results: dict[int, Runs] = {}
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for index in range(first, len(chunks), workers):
                results[index] = function(chunks[index])
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=work, args=(first,)) for first in range(1, workers)]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(chunks))]


def _zero_runs(memory: Bytes, chunk: Chunk) -> Runs:
    """Find the zero runs of a chunk.

    Returns:
        Their starts and ends as offsets in the memory. Runs shorter than a word may be missing, except at
        both ends of the chunk and in a narrow part. A run that goes on from one part of the chunk to the
        next covers what lies between the parts, which is zero.
    """
    start, end = chunk[0]
    if _is_narrow((start, end)):
        spans = [match.span() for match in re.finditer(rb"\0+", memory[start:end].data)]
        bounds = np.array(spans, dtype=np.int64).reshape(-1, 2) + start
        return bounds[:, 0], bounds[:, 1]
    if len(chunk) == 1 and not (end - start) % _WORD:
        starts, ends = _zero_runs_of_words(memory[start:end].view("<u4"))
        return starts + start, ends + start
    return _zero_runs_of_parts(memory, chunk)


def _zero_runs_of_parts(memory: Bytes, chunk: Chunk) -> Runs:
    """Lay the parts out in one array, zeros up to a whole word more behind each, and map the runs back."""
    origins = np.array([start for start, _ in chunk])
    lengths = np.array([(end - start) // _WORD * _WORD + _WORD for start, end in chunk])
    places = np.cumsum(lengths) - lengths
    laid_out = np.zeros(int(lengths.sum()), dtype=np.uint8)
    for (start, end), place in zip(chunk, places.tolist(), strict=True):
        laid_out[place : place + end - start] = memory[start:end]
    starts, ends = _zero_runs_of_words(laid_out.view("<u4"))
    shift = origins - places
    starts += shift[np.searchsorted(places, starts, "right") - 1]
    ends += shift[np.searchsorted(places, ends, "right") - 1]
    return starts, np.minimum(ends, chunk[-1][1])


def _zero_runs_of_words(words: Words) -> Runs:
    """Find the zero runs with a whole zero word, and those at both ends: starts and ends in bytes.

    There is always a run at either end, if only an empty one.
    """
    size = len(words)
    if words.min():
        bounds = np.array([0, 0, size, size])
    else:
        zero = words == 0
        edges = np.flatnonzero(zero[1:] != zero[:-1]) + 1
        bounds = np.concatenate(([0] if zero[0] else [0, 0], edges, [size] if zero[-1] else [size, size]))
    starts, ends = bounds[0::2] * _WORD, bounds[1::2] * _WORD
    _widen(starts[1:], words[bounds[2::2] - 1], -1)
    _widen(ends[:-1], words[bounds[1:-1:2]], 1)
    return starts, ends


def _widen(bounds: Ints, words: Words, step: int) -> None:
    """Move bounds of runs across the zero bytes that the words beyond them begin with.

    Args:
        bounds: where runs start or end; changed in place.
        words: the word beyond each, little-endian and not zero.
        step: 1 for ends, beyond which the lowest byte is next; -1 for starts, before which the highest is.
    """
    nearest = words.view(np.uint8)[0 if step > 0 else _WORD - 1 :: _WORD]
    places = np.flatnonzero(nearest == 0)  # few
    some = words[places]
    bounds[places] += step
    for bytes_ in (2, 3):
        zero = some & (1 << 8 * bytes_) - 1 == 0 if step > 0 else some < 1 << 8 * (_WORD - bytes_)
        bounds[places] += step * zero


class _Gaps:
    """The gaps between the ranges of one memory, gathered in ascending order.

    The last run found may go on in the next chunk, so it stays open; so does one at the start of the
    memory, which becomes no gap at all but says where the first range starts.
    """

    def __init__(self, image: MemoryImage, keep: int) -> None:
        self._image = image
        self._size = len(image.view)
        self._keep = keep
        self._floor = 0
        self._held: list[Runs] = []
        self._count = 0
        self._first_range: int | None = None
        self._open = (0, 0)
        self._seen_to = 0
        self._passed: list[int] = []  # what gaps that are not held save: several threads append

    def saved_in_all(self) -> int:
        """Return what splits at all gaps save."""
        return sum(self._passed) + sum(int(self.saved(*held).sum()) for held in self._held)

    def _pass(self, saved: Ints, held: Ints) -> None:
        """Note what is saved by gaps that are not held: of all those in ``saved``, ``held`` are."""
        if self._floor:
            self._passed.append(int(np.maximum(saved, 0).sum()) - int(np.maximum(held, 0).sum()))

    def saved(self, starts: Ints, ends: Ints) -> Ints:
        """Return what a split at each gap saves before length fields count: its bytes less a header."""
        return ends - starts - header_sizes(self._image.memidx, self._image.is64, ends)

    def worthy(self, runs: Runs, first: int, last: int) -> Runs:
        """Keep the runs that are gaps that a split at saves something, and those that may go on outside."""
        starts, ends = runs
        if not len(starts):
            return runs
        saved = self.saved(starts, ends)
        chosen = saved > self._floor
        chosen[0] |= starts[0] == first
        chosen[-1] |= ends[-1] == last
        places = np.flatnonzero(chosen)
        self._pass(saved, saved[places])
        return starts[places], ends[places]

    def add(self, chunks: Sequence[Chunk], found: Sequence[Runs]) -> None:
        """Add the runs of a slab of chunks, and the holes before each, which were never touched."""
        runs = [_run(*self._open)]
        for chunk, chunk_runs in zip(chunks, found, strict=True):
            runs += (_run(self._seen_to, chunk[0][0]), chunk_runs)
            self._seen_to = chunk[-1][1]
        starts, ends = _joined(runs)
        self._open = (int(starts[-1]), int(ends[-1]))
        closed = starts[:-1], ends[:-1]
        if self._first_range is None and len(closed[0]):
            self._first_range = int(ends[0])
            closed = starts[1:-1], ends[1:-1]
        self._hold(*closed)

    def _hold(self, starts: Ints, ends: Ints) -> None:
        saved = self.saved(starts, ends)
        worth = saved > self._floor
        self._pass(saved, saved[worth])
        self._held.append((starts[worth], ends[worth]))
        self._count += len(self._held[-1][0])
        if self._count > 2 * self._keep:
            self._prune()

    def _prune(self) -> None:
        """Keep the gaps that save most; of those that are level with the last of them, the first."""
        starts, ends = _concatenated(self._held)
        saved = self.saved(starts, ends)
        if len(saved) > self._keep:
            chosen = top_first(saved, self._keep)
            self._floor = int(saved[chosen].min())
            self._pass(saved, saved[chosen])
            starts, ends = starts[chosen], ends[chosen]
        self._held, self._count = [(starts, ends)], len(starts)

    def ranges(self) -> Ints:
        """Close the last run at the end of the memory and turn the gaps inside out."""
        self.add([[(self._size, self._size)]], [_run(self._size, self._size)])
        if self._first_range is None:
            return np.empty((0, 2), dtype=np.int64)
        self._prune()
        starts, ends = self._held[0]
        return np.column_stack(
            (np.concatenate(([self._first_range], ends)), np.concatenate((starts, [self._open[0]])))
        )


def header_sizes(memidx: int, is64: bool, offsets: Ints) -> Ints | int:
    """:func:`~.encoding.header_size` of ascending offsets, in bytes; one number where all have the same."""
    steps, sizes = header_steps(memidx, is64)
    if len(offsets) and (place := bisect_right(steps, int(offsets[0]))) == bisect_right(
        steps, int(offsets[-1])
    ):
        return sizes[place - 1]
    places = [*np.searchsorted(offsets, steps).tolist(), len(offsets)]
    header = np.empty(len(offsets), dtype=np.int64)
    for (low, high), size in zip(pairwise(places), sizes, strict=True):
        header[low:high] = size
    return header


def top_first(gains: Ints, count: int) -> NDArray[np.bool_]:
    """Choose the ``count`` largest gains; of those that are level with the last of them, the first."""
    least = _nth_largest(gains, count)
    chosen: NDArray[np.bool_] = gains > least
    chosen[np.flatnonzero(gains == least)[: count - np.count_nonzero(chosen)]] = True
    return chosen


def _nth_largest(gains: Ints, n: int) -> int:
    """Return the ``n``-th largest gain. Most are small and alike, which a partition would be slow at."""
    count = np.bincount(np.clip(gains, 0, _COUNTED), minlength=_COUNTED + 1)
    nth = _COUNTED - int(np.searchsorted(np.cumsum(count[::-1]), n))
    return nth if 0 < nth < _COUNTED else int(np.partition(gains, -n)[-n])


def _run(start: int, end: int) -> Runs:
    return np.array([start], dtype=np.int64), np.array([end], dtype=np.int64)


def _concatenated(runs: Sequence[Runs]) -> Runs:
    return np.concatenate([starts for starts, _ in runs]), np.concatenate([ends for _, ends in runs])


def _joined(runs: Sequence[Runs]) -> Runs:
    """Concatenate runs and join those that touch."""
    starts, ends = _concatenated(runs)
    apart = starts[1:] > ends[:-1]
    return starts[np.concatenate(([True], apart))], ends[np.concatenate((apart, [True]))]
