"""What bytes look like: how random they are, how they compress, what text and which blocks are in them."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np

from wizer.contents.image import Image
from wizer.contents.records import Strings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wizer.contents.image import Bytes, Ints

    NDBools = NDArray[np.bool_]

_PIECE: Final = 1 << 20  # bytes at once: what is made of them stays in the cache
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
    """Return how many bytes some bytes take as gzip compresses them, a MiB at a time."""
    pieces = [view[start : start + _PIECE] for start in range(0, len(view), _PIECE)]
    if len(pieces) < 2:
        return sum(map(_deflated, pieces))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(_deflated, pieces))


def _deflated(piece: memoryview) -> int:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(compressor.compress(piece)) + len(compressor.flush())


def nonzero(data: Bytes) -> int:
    """Return how many bytes are not zero."""
    return int(np.count_nonzero(data))


def entropy(data: Bytes) -> float:
    """Return the Shannon entropy of single bytes, in bits for each: 0 where all are the same, at most 8."""
    counts = np.zeros(256, np.int64)
    for piece in _pieces(data):
        counts += np.bincount(piece, minlength=256)
    shares = counts[counts > 0] / max(len(data), 1)
    return round(float(-(shares * np.log2(shares)).sum()) + 0.0, 3)


def _pieces(data: Bytes) -> Iterator[Bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


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
    starts, ends = _runs((image.data >= 0x20) & (image.data < 0x7F), image)
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
    padded = np.zeros(-(-len(image.data) // _WORD) * _WORD, np.uint8)
    padded[: len(image.data)] = image.data
    zero = padded.view(np.uint64) == 0
    starts, ends = _edges(zero)
    gaps = ends - starts >= _APART
    lows = np.concatenate([[0], ends[gaps] * _WORD, image.at[1:-1]])
    highs = np.concatenate([starts[gaps] * _WORD, [len(image.data)], image.at[1:-1]])
    lows.sort()
    highs.sort()
    lengths = highs - lows
    order = np.argsort(-lengths, kind="stable")[:most]
    found = []
    for low, high in zip(lows[order].tolist(), highs[order].tolist(), strict=True):
        head = np.flatnonzero(image.data[low : min(low + _EDGE, high)])
        tail = np.flatnonzero(image.data[max(low, high - _EDGE) : high])
        if len(head) and len(tail):
            start = image.address(low + int(head[0]))
            length = max(low, high - _EDGE) + int(tail[-1]) + 1 - low - int(head[0])
            found.append((start, start + length))
    return found


def _runs(wanted: NDBools, image: Image) -> tuple[Ints, Ints]:
    """Return where runs of true values begin and end, in positions; a range of addresses ends a run."""
    starts, ends = _edges(wanted)
    cuts = image.at[1:-1]
    inside = cuts[wanted[cuts] & wanted[cuts - 1]] if len(cuts) else cuts
    return np.sort(np.concatenate([starts, inside])), np.sort(np.concatenate([ends, inside]))


def _edges(wanted: NDBools) -> tuple[Ints, Ints]:
    """Return where runs of true values begin and end."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False))
    return edges[::2], edges[1::2]
