"""Passing over the instructions of a function body, to find what it refers to.

Bodies are decoded only where a byte search cannot rule such an instruction out.
https://webassembly.github.io/spec/core/binary/instructions.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from wizer.binary import sections as sec
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.binary.types import read_heaptype, read_valtype
from wizer.binary.vectors import encode_bytes
from wizer.errors import ParseError
from wizer.records import record

T = TypeVar("T")


def referring(module: Module, funcs: Collection[int]) -> frozenset[int]:
    """Return those of ``funcs`` that some body refers to by ``ref.func``."""
    section = module.section(sec.CODE)
    if section is None or not funcs:
        return frozenset()
    found: set[int] = set()
    candidates = _candidates(section.reader(module.wasm), funcs)
    at = next(candidates, None)
    for start, end in bodies(section.reader(module.wasm)):
        while at is not None and at < start:
            at = next(candidates, None)
        if at is None:
            break
        if at < end:
            found.update(func for func in _references(Reader(module.wasm, start, end)) if func in funcs)
    return frozenset(found)


def _candidates(reader: Reader, funcs: Collection[int]) -> Iterator[int]:
    """Yield where bytes stand that could be ``ref.func`` and one of ``funcs``."""
    while (at := reader.wasm.find(b"\xd2", reader.pos, reader.end)) >= 0:
        reader.pos = at + 1
        with suppress(ParseError):
            if Reader(reader.wasm, at + 1, reader.end).u32() in funcs:
                yield at


Found = tuple[int, int, T]
"""An instruction: where it stands in the input, and what it is about."""


def found_in_bodies(
    module: Module, pattern: re.Pattern[bytes], read: Callable[[Reader, int], T | None]
) -> dict[int, list[Found[T]]]:
    """Return the instructions of some kind in the bodies that have any, by where the body begins.

    Args:
        module: the module.
        pattern: bodies in which it finds nothing are not decoded.
        read: is given the opcode of an instruction and reads its immediates; None: it is of another kind, and
            nothing has been read.
    """
    section = module.section(sec.CODE)
    found: dict[int, list[Found[T]]] = {}
    if section is None or not pattern.search(module.wasm, section.start, section.end):
        return found
    for start, end in bodies(section.reader(module.wasm)):
        if pattern.search(module.wasm, start, end):
            some = [*_found(Reader(module.wasm, start, end), read)]
            if some:
                found[start] = some
    return found


def _found(reader: Reader, read: Callable[[Reader, int], T | None]) -> Iterator[Found[T]]:
    skip_locals(reader)
    while not reader.at_end:
        start = reader.pos
        opcode = reader.byte()
        about = read(reader, opcode)
        if about is None:
            skip_immediates(reader, opcode)
        else:
            yield start, reader.pos, about


@record
class Replacement:
    """What takes the place of an instruction, which stands from ``start`` to ``end``."""

    start: int
    end: int
    code: bytes


def with_replacements(
    module: Module, replacements: Mapping[int, Sequence[Replacement]]
) -> Iterator[bytes | memoryview]:
    """Yield the entries of the code section in pieces, with other instructions in some bodies.

    Args:
        module: the module.
        replacements: by where a body begins, what is replaced in it.
    """
    section = module.section(sec.CODE)
    assert section is not None
    head = section.reader(module.wasm)
    head.u32()
    wasm, rest, before = memoryview(module.wasm), head.pos, head.pos
    for start, end in bodies(section.reader(module.wasm)):
        if start in replacements:
            yield wasm[rest:before]
            yield encode_bytes(_replaced(module.wasm, start, end, replacements[start]))
            rest = end
        before = end
    yield wasm[rest:before]


def _replaced(wasm: bytes, start: int, end: int, replacements: Sequence[Replacement]) -> bytes:
    body = bytearray()
    for each in sorted(replacements, key=lambda each: each.start):
        body += wasm[start : each.start] + each.code
        start = each.end
    return bytes(body + wasm[start:end])


def bodies(reader: Reader) -> Iterator[tuple[int, int]]:
    """Yield where the bodies of a code section stand."""
    for _ in range(reader.count()):
        size = reader.u32()
        start = reader.pos
        reader.skip(size)  # first: a body that is longer than what is left is an error, not a place
        yield start, reader.pos


def skip_locals(reader: Reader) -> None:
    """Pass over the declarations of locals that a body begins with."""
    for _ in range(reader.u32()):
        reader.u32()
        read_valtype(reader)


def _references(reader: Reader) -> Iterator[int]:
    """Yield the functions that a body refers to by ``ref.func``."""
    skip_locals(reader)
    while not reader.at_end:
        opcode = reader.byte()
        if opcode == 0xD2:
            yield reader.u32()
        else:
            skip_immediates(reader, opcode)


def skip_immediates(reader: Reader, opcode: int) -> None:
    """Pass over the immediates of an instruction whose opcode has been read.

    Raises:
        ParseError: they are malformed; instructions that nobody knows have none.
    """
    skip = _IMMEDIATES.get(opcode)
    if skip is not None:
        skip(reader)


def _indices(count: int) -> Callable[[Reader], None]:
    def skip(reader: Reader) -> None:
        for _ in range(count):
            reader.u32()

    return skip


def _bytes(count: int) -> Callable[[Reader], None]:
    return lambda reader: reader.skip(count)


def _blocktype(reader: Reader) -> None:
    first = reader.peek()
    if first == 0x40:
        reader.skip(1)
    elif first in (0x63, 0x64) or 0x68 <= first <= 0x7F:
        read_valtype(reader)
    else:
        reader.s33()


def _memarg(reader: Reader) -> None:
    if reader.u32() & 0x40:
        reader.u32()
    reader.u64()


def _labels(reader: Reader) -> None:
    for _ in range(reader.count() + 1):
        reader.u32()


def _try_table(reader: Reader) -> None:
    _blocktype(reader)
    for _ in range(reader.count()):
        _indices(2 if reader.byte() < 2 else 1)(reader)


def _types(reader: Reader) -> None:
    reader.vector(read_valtype)


def _heaptype(reader: Reader) -> None:
    read_heaptype(reader)


def _handlers(reader: Reader) -> None:
    for _ in range(reader.count()):
        _indices(2 if reader.byte() == 0 else 1)(reader)


def _resume(reader: Reader) -> None:
    reader.u32()
    _handlers(reader)


def _resume_throw(reader: Reader) -> None:
    _indices(2)(reader)
    _handlers(reader)


def _prefixed_fb(reader: Reader) -> None:
    number = reader.u32()
    if number in (2, 3, 4, 5, 8, 9, 10, 17, 18, 19):
        _indices(2)(reader)
    elif number in (0, 1, 6, 7, 11, 12, 13, 14, 16):
        reader.u32()
    elif 20 <= number <= 23:
        read_heaptype(reader)
    elif number in (24, 25):  # br_on_cast, br_on_cast_fail
        reader.skip(1)
        reader.u32()
        read_heaptype(reader)
        read_heaptype(reader)


def _prefixed_fc(reader: Reader) -> None:
    number = reader.u32()
    if number in (8, 10, 12, 14):
        _indices(2)(reader)
    elif number in (9, 11, 13, 15, 16, 17):
        reader.u32()


def _prefixed_fd(reader: Reader) -> None:
    number = reader.u32()
    if number <= 11 or number in (92, 93):
        _memarg(reader)
    elif number in (12, 13):
        reader.skip(16)
    elif 21 <= number <= 34:
        reader.skip(1)
    elif 84 <= number <= 91:
        _memarg(reader)
        reader.skip(1)


def _prefixed_fe(reader: Reader) -> None:
    if reader.u32() == 3:  # atomic.fence
        reader.skip(1)
    else:
        _memarg(reader)


_IMMEDIATES: dict[int, Callable[[Reader], object]] = {
    **dict.fromkeys((0x02, 0x03, 0x04), _blocktype),
    **dict.fromkeys((0x0C, 0x0D, 0x10, 0x12, 0x14, 0x15, 0x08, 0xD5, 0xD6), Reader.u32),
    **dict.fromkeys((0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x3F, 0x40), Reader.u32),
    **dict.fromkeys((0x11, 0x13, 0xE1, 0xE2), _indices(2)),
    **dict.fromkeys(range(0x28, 0x3F), _memarg),
    0x0E: _labels,
    0x1C: _types,
    0x1F: _try_table,
    0x41: Reader.s32,
    0x42: Reader.s64,
    0x43: _bytes(4),
    0x44: _bytes(8),
    0xD0: _heaptype,
    0xE0: Reader.u32,
    0xE3: _resume,
    0xE4: _resume_throw,
    0xE5: _indices(2),
    0xFB: _prefixed_fb,
    0xFC: _prefixed_fc,
    0xFD: _prefixed_fd,
    0xFE: _prefixed_fe,
}
