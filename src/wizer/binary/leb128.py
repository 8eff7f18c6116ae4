"""LEB128, the variable-length integers of the binary format.

https://webassembly.github.io/spec/core/binary/values.html#integers
"""

from __future__ import annotations

import re


def encode_unsigned(value: int) -> bytes:
    """Return the shortest unsigned LEB128 of ``value``, which is not negative."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def any_unsigned(value: int) -> bytes:
    """Return a regular expression for every unsigned LEB128 of 32 bits that says ``value``."""
    shortest = encode_unsigned(value)
    pattern = re.escape(shortest)
    if len(shortest) < 5:
        padding = b"\x80{0,%d}\x00" % (4 - len(shortest))
        longer = re.escape(shortest[:-1] + bytes((shortest[-1] | 0x80,))) + padding
        pattern = b"(?:" + pattern + b"|" + longer + b")"
    return pattern


def encode_signed(value: int) -> bytes:
    """Return the shortest signed LEB128 of ``value``."""
    if -0x40 <= value < 0x40:
        return bytes((value & 0x7F,))
    if -0x2000 <= value < 0x2000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F))
    if -0x10_0000 <= value < 0x10_0000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F))
    if -0x800_0000 <= value < 0x800_0000:  # as the offsets of data in memory are
        return bytes(
            (value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21 & 0x7F)
        )
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def encode_i32(bits: int) -> bytes:
    """Return ``bits``, the 32 bits of an integer taken as unsigned, as the immediate of ``i32.const``."""
    return encode_signed(bits - (1 << 32) if bits >> 31 else bits)


def encode_i64(bits: int) -> bytes:
    """Return ``bits``, the 64 bits of an integer taken as unsigned, as the immediate of ``i64.const``."""
    return encode_signed(bits - (1 << 64) if bits >> 63 else bits)
