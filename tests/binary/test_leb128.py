"""LEB128: shortest encodings that read back as what they were."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binary.strategies import u32, u64
from wizer.binary.leb128 import any_unsigned, encode_i32, encode_i64, encode_signed, encode_unsigned
from wizer.binary.reader import Reader


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "80 01"),
        (624485, "e5 8e 26"),
        (2**32 - 1, "ff ff ff ff 0f"),
        (2**64 - 1, "ff ff ff ff ff ff ff ff ff 01"),
    ],
)
def test_unsigned(value: int, encoded: str) -> None:
    assert encode_unsigned(value) == bytes.fromhex(encoded)


@given(u32, st.integers(0, 4))
def test_any_unsigned_matches_every_encoding_of_a_value_and_of_no_other(value: int, padding: int) -> None:
    shortest = encode_unsigned(value)
    padding = min(padding, 5 - len(shortest))
    longer = shortest[:-1] + bytes((shortest[-1] | 0x80,)) + b"\x80" * (padding - 1) + b"\0"
    encoded = longer if padding else shortest
    assert Reader(encoded).u32() == value
    assert re.fullmatch(any_unsigned(value), encoded)
    assert not re.fullmatch(any_unsigned(value ^ 1), encoded)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (-1, "7f"),
        (63, "3f"),
        (64, "c0 00"),
        (-64, "40"),
        (-65, "bf 7f"),
        (-123456, "c0 bb 78"),
        (2**31 - 1, "ff ff ff ff 07"),
        (-(2**31), "80 80 80 80 78"),
        (-(2**63), "80 80 80 80 80 80 80 80 80 7f"),
    ],
)
def test_signed(value: int, encoded: str) -> None:
    assert encode_signed(value) == bytes.fromhex(encoded)


def test_the_bits_of_an_i32_from_2_to_the_31_on_are_negative() -> None:
    assert encode_i32(0x8000_0000) == encode_signed(-(2**31))
    assert encode_i32(0xFFFF_FFFF) == b"\x7f"
    assert encode_i32(0x7FFF_FFFF) == encode_signed(2**31 - 1)


@given(u64)
def test_unsigned_reads_back(value: int) -> None:
    encoded = encode_unsigned(value)
    reader = Reader(encoded)
    assert (reader.u64(), reader.at_end) == (value, True)
    assert len(encoded) == max(1, -(-value.bit_length() // 7)), "no shorter encoding exists"


@given(st.integers(0, 2**32 - 1))
def test_i32_reads_back(bits: int) -> None:
    reader = Reader(encode_i32(bits))
    assert (reader.s32() & 0xFFFF_FFFF, reader.at_end) == (bits, True)


@given(u64)
def test_i64_reads_back(bits: int) -> None:
    reader = Reader(encode_i64(bits))
    assert (reader.s64() & 0xFFFF_FFFF_FFFF_FFFF, reader.at_end) == (bits, True)


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_is_the_shortest(value: int) -> None:
    length = len(encode_signed(value))
    assert -(1 << 7 * length - 1) <= value < 1 << 7 * length - 1
    if length > 1:
        assert not -(1 << 7 * length - 8) <= value < 1 << 7 * length - 8
