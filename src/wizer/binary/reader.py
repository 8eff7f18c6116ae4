"""A cursor over the input that knows where it is and says so when something is wrong."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from operator import length_hint
from typing import Final, TypeVar

from wizer.errors import ParseError

T = TypeVar("T")

_NONE: Final = 0x100  # no byte


class Reader:
    """Reads the primitive values of the binary format from ``wasm[pos:end]``.

    Every method raises `ParseError` with the byte offset where it stopped making sense; none allocates by a
    length that it has not compared with what is left.
    """

    __slots__ = ("end", "pos", "wasm")

    def __init__(self, wasm: bytes, pos: int = 0, end: int | None = None) -> None:
        self.wasm: bytes = wasm
        self.pos: int = pos
        self.end: int = len(wasm) if end is None else end

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.pos >= self.end

    def fail(self, message: str, pos: int | None = None) -> ParseError:
        """Return the error to raise about the bytes at ``pos``, by default the next ones."""
        return ParseError(message, self.pos if pos is None else pos)

    def byte(self) -> int:
        """Read one byte."""
        if self.pos >= self.end:
            raise self.fail("unexpected end")
        value = self.wasm[self.pos]
        self.pos += 1
        return value

    def peek(self) -> int:
        """Return the next byte, which stays to be read."""
        value = self.byte()
        self.pos -= 1
        return value

    def u32(self) -> int:
        """Read an unsigned integer of 32 bits."""
        wasm, pos = self.wasm, self.pos
        if pos < self.end:  # nearly all have one byte or two
            first = wasm[pos]
            if first < 0x80:
                self.pos = pos + 1
                return first
            if pos + 1 < self.end and (second := wasm[pos + 1]) < 0x80:
                self.pos = pos + 2
                return first & 0x7F | second << 7
        return self._unsigned(32)

    def u32s(self) -> tuple[int, ...]:
        """Read a vector of unsigned integers of 32 bits, of which there may be a million."""
        count = self.count()
        ahead = self.wasm[self.pos : self.pos + count]
        if ahead.isascii():  # a byte each
            self.pos += count
            return tuple(ahead)
        small: Sequence[int] = range(1 << 14)
        if count >= len(small):
            small = tuple(small)  # an object for each value, not for each place
        values: list[int] = []
        end = min(self.pos + 5 * count, self.end)
        left = iter(self.wasm[self.pos : end])
        for _, first in zip(range(count), left, strict=False):
            if first < 0x80:
                values.append(first)
            elif (second := next(left, _NONE)) < 0x80:  # nearly all have one byte or two
                values.append(small[first & 0x7F | second << 7])
            else:
                read = end - length_hint(left)
                self.pos = read - (1 if second == _NONE else 2)
                values.append(self.u32())
                deque(islice(left, self.pos - read), 0)
        self.pos = end - length_hint(left)
        if len(values) < count:
            self.byte()
        return tuple(values)

    def u64(self) -> int:
        """Read an unsigned integer of 64 bits."""
        return self._unsigned(64)

    def s32(self) -> int:
        """Read a signed integer of 32 bits."""
        return self._signed(32)

    def s33(self) -> int:
        """Read a signed integer of 33 bits, as heap types and block types use them."""
        return self._signed(33)

    def s64(self) -> int:
        """Read a signed integer of 64 bits."""
        return self._signed(64)

    def _unsigned(self, bits: int) -> int:
        start = self.pos
        value, _ = self._leb128(bits)
        if value >> bits:
            raise self.fail("integer too large", start)
        return value

    def _signed(self, bits: int) -> int:
        start = self.pos
        if start < self.end and (first := self.wasm[start]) < 0x80:  # one byte, as many have
            self.pos = start + 1
            return first - ((first & 0x40) << 1)
        value, length = self._leb128(bits)
        if value >> length - 1:
            value -= 1 << length
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise self.fail("integer too large", start)
        return value

    def _leb128(self, bits: int) -> tuple[int, int]:
        """Read groups of 7 bits; return them as one unsigned integer, and how many bits they are."""
        start, value, length = self.pos, 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << length
            length += 7
            if byte < 0x80:
                return value, length
            if length >= bits:
                raise self.fail("integer representation too long", start)

    def raw(self, length: int) -> bytes:
        """Read ``length`` bytes."""
        if length > self.end - self.pos:
            raise self.fail(f"unexpected end: {length} bytes announced, {self.end - self.pos} left")
        self.pos += length
        return self.wasm[self.pos - length : self.pos]

    def skip(self, length: int) -> None:
        """Pass over ``length`` bytes."""
        if length > self.end - self.pos:
            raise self.fail(f"unexpected end: {length} bytes announced, {self.end - self.pos} left")
        self.pos += length

    def name(self) -> str:
        """Read a name: a vector of bytes that are valid UTF-8."""
        start = self.pos
        try:
            return self.raw(self.u32()).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail("malformed UTF-8 encoding", start) from None

    def count(self) -> int:
        """Read the length of a vector; each of its items takes a byte at least."""
        start = self.pos
        count = self.u32()
        if count > self.end - self.pos:
            raise self.fail(f"unexpected end: {count} items announced in {self.end - self.pos} bytes", start)
        return count

    def vector(self, item: Callable[[Reader], T]) -> tuple[T, ...]:
        """Read a vector whose items ``item`` reads."""
        return tuple([item(self) for _ in range(self.count())])
