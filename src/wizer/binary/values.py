"""Numbers by their bits.

https://webassembly.github.io/spec/core/syntax/values.html#numbers
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wizer.records import record

BITS: Final[Mapping[str, int]] = {
    "i8": 8,
    "i16": 16,
    "i32": 32,
    "i64": 64,
    "f32": 32,
    "f64": 64,
    "v128": 128,
}
"""The sizes of numbers and vectors, packed ones included."""


@record
class Number:
    """A number or vector. A Python float would not keep the payload of a NaN, so everything is bits.

    Attributes:
        type: ``"i32"``, ``"i64"``, ``"f32"``, ``"f64"``, ``"v128"``, or packed: ``"i8"``, ``"i16"``.
        bits: an unsigned integer: the value's little-endian bytes, the lowest first.
    """

    type: str
    bits: int
