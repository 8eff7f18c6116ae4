"""Arrays as code: listed, repeated, or copied from a passive segment."""

from __future__ import annotations

from wizer.binary import code
from wizer.binary.expr import encode_const
from wizer.binary.types import unpacked
from wizer.core.heap.graph import WIDTHS, is_uniform, number_at
from wizer.core.state import Array


def number_operands(array: Array, storage: str, *, large: bool) -> bytes:
    """Return the constant expression that makes an array of numbers; a large one is filled later."""
    width = WIDTHS[storage]
    length = len(array.data) // width
    count = encode_const("i32", length)
    if large or (length > 1 and not any(array.data)):
        return count + code.array_new_default(array.typeidx)
    operand = unpacked(storage)
    if length > 1 and is_uniform(array.data, width):
        value = encode_const(operand, number_at(array.data, 0, storage).bits)
        return value + count + code.array_new(array.typeidx)
    values = (encode_const(operand, number_at(array.data, i, storage).bits) for i in range(length))
    return b"".join(values) + code.array_new_fixed(array.typeidx, length)


def array_from_segment(typeidx: int, segment: int, length: int, numeric: bool) -> bytes:
    """Return the code that makes an array from a whole passive segment."""
    new = code.array_new_data if numeric else code.array_new_elem
    return encode_const("i32", 0) + encode_const("i32", length) + new(typeidx, segment)


def copy_segment(typeidx: int, segment: int, length: int, numeric: bool) -> bytes:
    """Return the code that copies a whole passive segment into the array before it on the stack."""
    init = code.array_init_data if numeric else code.array_init_elem
    return encode_const("i32", 0) * 2 + encode_const("i32", length) + init(typeidx, segment)
