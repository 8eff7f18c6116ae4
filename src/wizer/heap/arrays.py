"""Arrays as code: listed, repeated, or copied from a passive segment."""

from __future__ import annotations

from wizer.binary import code
from wizer.binary.expr import encode_const
from wizer.binary.leb128 import encode_unsigned
from wizer.heap.graph import WIDTHS, is_uniform, number_at
from wizer.state import Array


def number_operands(array: Array, storage: str, *, large: bool) -> bytes:
    """Return the constant expression that makes an array of numbers; a large one is filled later."""
    width = WIDTHS[storage]
    length = len(array.data) // width
    count = encode_const("i32", length)
    if large or (length > 1 and not any(array.data)):
        return count + code.op(b"\xfb\x07", array.typeidx)  # array.new_default
    operand = "i32" if width < 4 else storage
    if length > 1 and is_uniform(array.data, width):
        value = encode_const(operand, number_at(array.data, 0, storage).bits)
        return value + count + code.op(b"\xfb\x06", array.typeidx)  # array.new
    values = (encode_const(operand, number_at(array.data, i, storage).bits) for i in range(length))
    return b"".join(values) + code.op(b"\xfb\x08", array.typeidx, length)  # array.new_fixed


def encode_passive_data(data: bytes) -> bytes:
    """Return a passive data segment."""
    return b"\x01" + encode_unsigned(len(data)) + data


def array_from_segment(typeidx: int, segment: int, length: int, numeric: bool) -> bytes:
    """Return the code that makes an array from a whole passive segment."""
    new = b"\xfb\x09" if numeric else b"\xfb\x0a"  # array.new_data, array.new_elem
    return encode_const("i32", 0) + encode_const("i32", length) + code.op(new, typeidx, segment)


def copy_segment(typeidx: int, segment: int, length: int, numeric: bool) -> bytes:
    """Return the code that copies a whole passive segment into the array before it on the stack."""
    init = b"\xfb\x12" if numeric else b"\xfb\x13"  # array.init_data, array.init_elem
    return encode_const("i32", 0) * 2 + encode_const("i32", length) + code.op(init, typeidx, segment)
