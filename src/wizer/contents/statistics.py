"""What bytes look like: how random they are, how they compress, what text and which blocks are in them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wizer.contents.image import Image
from wizer.contents.records import Strings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wizer.contents.image import Bytes, Ints

    Bools = NDArray[np.bool_]

_PIECE: Final = 1 << 20  # bytes at once: what is made of them stays in the cache
_MOST_PIECES: Final = 32
_LEVEL: Final = 6  # gzip's own
_STRING: Final = 6  # characters: fewer are printable by chance
_SHOWN: Final = 80  # characters of a string
_LONGEST: Final = 8  # strings
_APART: Final = 8  # words of zeros between two blocks
_WORD: Final = 8
_EDGE: Final = (_APART + 2) * _WORD  # bytes in which a block has something, at either end
MOST_BUCKETS: Final = 4096
_LEAST_BUCKET: Final = 4096  # bytes: a page of a host


def compressed_size(view: memoryview) -> int:
    """Return how many bytes some bytes take as gzip compresses them, a MiB at a time.

    Of more than `_MOST_PIECES` MiB only so many are compressed, and the rest is taken to be like them.
    """
    pieces = [view[start : start + _PIECE] for start in range(0, len(view), _PIECE)]
    if len(pieces) < 2:
        return sum(map(_deflated, pieces))
    chosen = pieces[:: -(-len(pieces) // _MOST_PIECES)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        size = sum(pool.map(_deflated, chosen))
    return round(size * len(view) / sum(map(len, chosen)))


def _deflated(piece: memoryview) -> int:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(compressor.compress(piece)) + len(compressor.flush())


def nonzero(data: Bytes) -> int:
    """Return how many bytes are not zero."""
    return int(np.count_nonzero(data))


def histogram(data: Bytes) -> Ints:
    """Return how often each byte is there."""
    counts = np.zeros(256, np.int64)
    for start in range(0, len(data), _PIECE):
        counts += np.bincount(data[start : start + _PIECE], minlength=256)
    return counts


def total(histograms: Sequence[Ints]) -> Ints:
    """Return how often each byte is there in several parts."""
    return sum(histograms, np.zeros(256, np.int64))


def entropy(counts: Ints) -> float:
    """Return the Shannon entropy of single bytes, in bits for each: 0 where all are the same, at most 8."""
    shares = counts[counts > 0] / max(int(counts.sum()), 1)
    return round(float(-(shares * np.log2(shares)).sum()) + 0.0, 3)


def bucket_size(size: int) -> int:
    """Return the bytes of a bucket of which a memory has at most `MOST_BUCKETS`: a power of two."""
    bucket = _LEAST_BUCKET
    while bucket * MOST_BUCKETS < size:
        bucket *= 2
    return bucket


def density(image: Image) -> tuple[int, tuple[int, ...]]:
    """Return the bytes of a bucket, and for each bucket of a memory how many bytes of it are not zero."""
    end = int(image.ends[-1]) if len(image.ends) else 0
    bucket = bucket_size(max(end, image.size))
    counts = []
    here = 0
    for start in range(0, end, bucket):
        there = image.where(start + bucket)
        counts.append(nonzero(image.data[here:there]))
        here = there
    return bucket, tuple(counts)


def strings(image: Image) -> Strings:
    """Return the text in a memory."""
    starts, ends = _edges(image.data, lambda piece: (piece >= 0x20) & (piece < 0x7F))
    starts, ends = _cut(starts, ends, image.at[1:-1])
    lengths = ends - starts
    kept = np.flatnonzero(lengths >= _STRING)
    order = kept[np.argsort(-lengths[kept], kind="stable")[:_LONGEST]]
    longest = [
        (image.address(at), image.data[at : min(at + _SHOWN, end)].tobytes().decode("ascii"))
        for at, end in zip(starts[order].tolist(), ends[order].tolist(), strict=True)
    ]
    return Strings(len(kept), int(lengths[kept].sum()), tuple(longest))


def blocks(image: Image, most: int) -> list[tuple[int, int]]:
    """Return the addresses of the largest blocks, the largest first."""
    words = image.data[: len(image.data) // _WORD * _WORD].view(np.uint64)
    starts, ends = _edges(words, lambda piece: piece == 0)
    gaps = ends - starts >= _APART
    whole = np.array([0]), np.array([len(image.data)])
    lows = np.concatenate([whole[0], ends[gaps] * _WORD])
    highs = np.concatenate([starts[gaps] * _WORD, whole[1]])
    lows, highs = _cut(lows, highs, image.at[1:-1])
    order = np.argsort(lows - highs, kind="stable")[:most]
    found = []
    for low, high in zip(lows[order].tolist(), highs[order].tolist(), strict=True):
        head = np.flatnonzero(image.data[low : min(low + _EDGE, high)])
        tail = np.flatnonzero(image.data[max(low, high - _EDGE) : high])
        if len(head) and len(tail):
            start = image.address(low + int(head[0]))
            length = max(low, high - _EDGE) + int(tail[-1]) + 1 - low - int(head[0])
            found.append((start, start + length))
    return found


def _edges(array: NDArray[Any], test: Callable[[NDArray[Any]], Bools]) -> tuple[Ints, Ints]:
    """Return where runs begin and end of what passes a test."""
    found, before = [], False
    for start in range(0, len(array), _PIECE):
        passed = test(array[start : start + _PIECE])
        if bool(passed[0]) != before:
            found.append(np.array([start]))
        found.append(np.flatnonzero(passed[1:] != passed[:-1]) + (start + 1))
        before = bool(passed[-1])
    if before:
        found.append(np.array([len(array)]))
    edges = np.concatenate([np.zeros(0, np.int64), *found])
    return edges[::2], edges[1::2]


def _cut(starts: Ints, ends: Ints, cuts: Ints) -> tuple[Ints, Ints]:
    """Return runs that end, and begin anew, where addresses are not in a row."""
    number = np.searchsorted(starts, cuts, side="left") - 1
    inside = cuts[(number >= 0) & (ends[np.maximum(number, 0)] > cuts)] if len(starts) else cuts[:0]
    return np.sort(np.concatenate([starts, inside])), np.sort(np.concatenate([ends, inside]))
