"""Element and data segments.

https://webassembly.github.io/spec/core/binary/modules.html#element-section
https://webassembly.github.io/spec/core/binary/modules.html#data-section
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, cast

from wizer.binary.expr import END, Expr, read_expr
from wizer.binary.leb128 import encode_i32, encode_i64, encode_unsigned
from wizer.binary.reader import Reader
from wizer.binary.types import FUNCREF, FUNCREF_NON_NULL, RefType, encode_valtype, read_reftype
from wizer.binary.vectors import encode_bytes, encode_vector
from wizer.records import record

Mode: TypeAlias = Literal["active", "passive", "declarative"]


@record
class ElementSegment:
    """An element segment.

    Attributes:
        mode: active, passive or declarative.
        reftype: the type of its elements.
        items: function indices where the segment is written with them, otherwise expressions.
        tableidx: the table of an active segment.
        offset: where an active segment goes.
        code: the segment's bytes as they stand in the input.
    """

    mode: Mode
    reftype: RefType
    items: tuple[int | Expr, ...]
    tableidx: int
    offset: Expr | None
    code: bytes

    @property
    def constant_offset(self) -> int | None:
        """Where an active segment goes; None where only a run tells."""
        return None if self.offset is None else self.offset.integer

    @property
    def indices(self) -> tuple[int, ...] | None:
        """The function indices that the segment is written with, None where those are expressions."""
        return None if self.items and isinstance(self.items[0], Expr) else cast("tuple[int, ...]", self.items)

    def funcs(self) -> frozenset[int]:
        """Return the functions that the segment declares as referenceable."""
        if self.indices is not None:
            return frozenset(self.indices)
        found: set[int] = set()
        for item in self.items:
            if isinstance(item, int):
                found.add(item)
            else:
                found.update(item.funcs)
        return frozenset(found)


@record
class DataSegment:
    """A data segment.

    Attributes:
        mode: active or passive.
        memidx: the memory of an active segment.
        offset: where an active segment goes.
        start, end: where its bytes stand in the input.
        code_start: where the segment begins in the input; it ends at ``end``.
    """

    mode: Mode
    memidx: int
    offset: Expr | None
    start: int
    end: int
    code_start: int

    @property
    def constant_offset(self) -> int | None:
        """Where an active segment goes; None where only a run tells."""
        return None if self.offset is None else self.offset.integer


def read_element(reader: Reader) -> ElementSegment:
    """Read an element segment in any of its eight forms."""
    start = reader.pos
    flags = reader.u32()
    if flags > 7:
        raise reader.fail(f"malformed element segment flags {flags}", start)
    mode: Mode = "active" if not flags & 1 else "declarative" if flags & 2 else "passive"
    tableidx = reader.u32() if mode == "active" and flags & 2 else 0
    offset = read_expr(reader) if mode == "active" else None
    reftype = FUNCREF if flags & 4 else FUNCREF_NON_NULL
    if flags & 3:
        if flags & 4:
            reftype = read_reftype(reader)
        elif reader.byte() != 0:
            raise reader.fail("malformed element kind", reader.pos - 1)
    items: tuple[int | Expr, ...]
    items = reader.vector(read_expr) if flags & 4 else reader.u32s()
    return ElementSegment(mode, reftype, items, tableidx, offset, reader.wasm[start : reader.pos])


def read_data(reader: Reader) -> DataSegment:
    """Read a data segment in any of its three forms."""
    segment = read_data_header(reader)
    reader.skip(segment.end - segment.start)
    return segment


# An active segment of memory 0 at an `i32.const`, up to its bytes, as there may be tens of thousands: offset
# and length are of no more than four groups of 7 bits.
_USUAL: Final = re.compile(
    rb"\x00(\x41([\x80-\xff]{0,3}[\x00-\x7f])\x0b)([\x80-\xff]{0,3}[\x00-\x7f])", re.DOTALL
)


def _groups(leb128: bytes) -> int:
    """Return what no more than four groups of 7 bits say, as an unsigned number."""
    bits = int.from_bytes(leb128, "little")
    return bits & 0x7F | bits >> 1 & 0x3F80 | bits >> 2 & 0x1F_C000 | bits >> 3 & 0xFE0_0000


def _usual_header(reader: Reader, code_start: int, usual: re.Match[bytes]) -> DataSegment:
    code, groups, length = usual.groups()
    value, bits = _groups(groups), 7 * len(groups)
    if value >> bits - 1:  # negative
        value += (1 << 32) - (1 << bits)
    start = reader.pos = usual.end()
    offset = Expr(code, (), ("i32", value))
    return DataSegment("active", 0, offset, start, start + _groups(length), code_start)


def read_data_header(reader: Reader) -> DataSegment:
    """Read a data segment up to its bytes, which need not be there."""
    code_start = reader.pos
    if (usual := _USUAL.match(reader.wasm, code_start, reader.end)) is not None:
        return _usual_header(reader, code_start, usual)
    flags = reader.u32()
    if flags > 2:
        raise reader.fail(f"malformed data segment flags {flags}", code_start)
    memidx = reader.u32() if flags == 2 else 0
    offset = None if flags == 1 else read_expr(reader)
    length = reader.u32()
    mode: Mode = "passive" if flags == 1 else "active"
    return DataSegment(mode, memidx, offset, reader.pos, reader.pos + length, code_start)


def encode_offset(offset: int, is64: bool) -> bytes:
    """Encode an offset, in bytes or elements, as a constant expression."""
    return (b"\x42" + encode_i64(offset) if is64 else b"\x41" + encode_i32(offset)) + END


def encode_data_header(memidx: int, offset: int, length: int, is64: bool) -> bytes:
    """Encode an active data segment up to its bytes."""
    if length < 0x80 and 0x2000 <= offset < 0x800_0000 and not (memidx or is64):  # as nearly all are
        low, high = offset & 0x7F | 0x80, offset >> 7 & 0x7F | 0x80
        if offset < 0x10_0000:
            return bytes((0, 0x41, low, high, offset >> 14, 0x0B, length))
        return bytes((0, 0x41, low, high, offset >> 14 & 0x7F | 0x80, offset >> 21, 0x0B, length))
    flags = b"\x00" if memidx == 0 else b"\x02" + encode_unsigned(memidx)
    return flags + encode_offset(offset, is64) + encode_unsigned(length)


def encode_passive_data(data: bytes) -> bytes:
    """Encode a passive data segment."""
    return b"\x01" + encode_bytes(data)


def encode_func_elements(tableidx: int, offset: int, count: int, funcs: bytes, is64: bool) -> bytes:
    """Encode an active element segment of functions, none of them null, given their encoded indices."""
    head = b"\x00" if tableidx == 0 else b"\x02" + encode_unsigned(tableidx)
    kind = b"" if tableidx == 0 else b"\x00"
    return head + encode_offset(offset, is64) + kind + encode_unsigned(count) + funcs


def encode_expr_elements(
    tableidx: int, offset: int, reftype: RefType, items: Sequence[bytes], is64: bool
) -> bytes:
    """Encode an active element segment of expressions, each given without its ``end``."""
    short = tableidx == 0 and reftype == FUNCREF
    head = b"\x04" if short else b"\x06" + encode_unsigned(tableidx)
    kind = b"" if short else encode_valtype(reftype)
    return head + encode_offset(offset, is64) + kind + _encode_items(items)


def encode_passive_elements(reftype: RefType, items: Sequence[bytes]) -> bytes:
    """Encode a passive element segment of expressions, each given without its ``end``."""
    return b"\x05" + encode_valtype(reftype) + _encode_items(items)


def encode_declarative(funcs: Sequence[int]) -> bytes:
    """Encode a declarative element segment: the functions may be referred to by ``ref.func``."""
    return b"\x03\x00" + encode_vector(list(map(encode_unsigned, funcs)))


def encode_empty(element: ElementSegment, mode: Literal["passive", "declarative"]) -> bytes:
    """Encode a segment of the type of another one that has no elements."""
    with_kind = all(isinstance(item, int) for item in element.items) and element.reftype == FUNCREF_NON_NULL
    flags = (1 if mode == "passive" else 3) | (0 if with_kind else 4)
    return bytes((flags,)) + (b"\x00" if with_kind else encode_valtype(element.reftype)) + b"\x00"


def _encode_items(items: Sequence[bytes]) -> bytes:
    return encode_vector([item + END for item in items])
