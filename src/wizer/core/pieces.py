"""A module in pieces, and what its large active data segments hold apart from the rest.

A snapshot is made of pieces, most of which are views on a live memory. Joined, it takes as much memory again.
So it is cut: into a module whose active segments are empty, and what these hold, still as views::

    …, (data (i32.const 16) "…256 MiB…")  →  …, (data (i32.const 16) ""), and at 16 of memory 0: a view
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from wizer.binary import sections as sec
from wizer.binary.assemble import Chunk, encode_section
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.reader import Reader
from wizer.binary.segments import DataSegment, read_data_header
from wizer.core.moved_data import empty
from wizer.errors import ParseError
from wizer.records import record

_HEADER: Final = 32  # bytes: the longest header of a section, or of a segment with a constant offset


@record
class Held:
    """What an active data segment holds.

    Attributes:
        segment: the segment; its places are those in its header.
        contents: its bytes.
    """

    segment: DataSegment
    contents: Sequence[Chunk]


def cut(chunks: Sequence[Chunk]) -> tuple[bytes, list[Held]] | None:
    """Return a module without what its active data segments hold, and that, in the order of the segments.

    None where a header is longer than those of snapshots are, or malformed.
    """
    pieces, held = _Pieces(chunks), list[Held]()
    cut_out: list[Chunk] = []
    try:
        cut_out += pieces.take(8)
        while pieces.left:
            ahead = pieces.peek(_HEADER)
            reader = Reader(ahead)
            section_id, size = reader.byte(), reader.u32()
            pieces.take(reader.pos)
            if section_id != sec.DATA:
                cut_out += (ahead[: reader.pos], *pieces.take(size))
            else:
                cut_out += encode_section(sec.DATA, [*_without_contents(pieces, size, held)])
    except ParseError:
        return None
    return b"".join(cut_out), held


def _without_contents(pieces: _Pieces, size: int, held: list[Held]) -> Iterator[Chunk]:
    """Yield the contents of a data section whose active segments are empty; note what they hold."""
    end = pieces.left - size
    reader = Reader(pieces.peek(_HEADER))
    count = reader.u32()
    yield encode_unsigned(count)
    pieces.take(reader.pos)
    for _ in range(count):
        ahead = pieces.peek(_HEADER)
        segment = read_data_header(Reader(ahead))
        pieces.take(segment.start)
        contents = pieces.take(segment.end - segment.start)
        if segment.mode == "active":
            yield empty(segment)
            held.append(Held(segment, contents))
        else:
            yield ahead[: segment.start]
            yield from contents
    if pieces.left != end:
        raise ParseError("the data section does not end with its last segment", 0)


class _Pieces:
    """What is still to be read of bytes in pieces.

    Attributes:
        left: how many bytes that is.
    """

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = [memoryview(chunk) for chunk in reversed(chunks) if len(chunk)]
        self.left: int = sum(map(len, self._chunks))

    def peek(self, size: int) -> bytes:
        """Return the next ``size`` bytes, or what there is, which stay to be read."""
        found = b""
        for chunk in reversed(self._chunks):
            found += chunk[: size - len(found)]
            if len(found) >= size:
                break
        return found

    def take(self, size: int) -> list[memoryview]:
        """Return views on the next ``size`` bytes; raise `ParseError` where there are fewer."""
        if size > self.left:
            raise ParseError(f"unexpected end: {size} bytes announced, {self.left} left", 0)
        taken = []
        self.left -= size
        while size:
            chunk = self._chunks.pop()
            if len(chunk) > size:
                self._chunks.append(chunk[size:])
                chunk = chunk[:size]
            taken.append(chunk)
            size -= len(chunk)
        return taken
