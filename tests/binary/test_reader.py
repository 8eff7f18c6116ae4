"""The reader: values, their limits, and errors that say where."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binary.strategies import names, offset_of_fault
from wizer.binary.reader import Reader
from wizer.binary.vectors import encode_name
from wizer.errors import ParseError

Method = Callable[[Reader], object]


@pytest.mark.parametrize(
    ("method", "encoded", "value"),
    [
        (Reader.u32, "80 80 80 80 00", 0),  # as long as it may be
        (Reader.u32, "ff ff ff ff 0f", 2**32 - 1),
        (Reader.u64, "80 80 80 80 80 80 80 80 80 01", 2**63),
        (Reader.s32, "ff ff ff ff 7f", -1),
        (Reader.s32, "80 80 80 80 00", 0),
        (Reader.s32, "ff ff ff ff 07", 2**31 - 1),
        (Reader.s33, "70", -16),
        (Reader.s33, "ff ff ff ff 0f", 2**32 - 1),
        (Reader.s33, "80 80 80 80 70", -(2**32)),
        (Reader.s64, "80 80 80 80 80 80 80 80 80 7f", -(2**63)),
        (Reader.s64, "ff ff ff ff ff ff ff ff ff 00", 2**63 - 1),
    ],
)
def test_integers(method: Method, encoded: str, value: int) -> None:
    reader = Reader(bytes.fromhex(encoded))
    assert (method(reader), reader.at_end) == (value, True)


@pytest.mark.parametrize(
    ("method", "encoded", "message"),
    [
        (Reader.u32, "80 80 80 80 80 00", "integer representation too long"),
        (Reader.u32, "ff ff ff ff 1f", "integer too large"),
        (Reader.u32, "ff ff ff ff 4f", "integer too large"),
        (Reader.u64, "80 80 80 80 80 80 80 80 80 80 00", "integer representation too long"),
        (Reader.u64, "ff ff ff ff ff ff ff ff ff 02", "integer too large"),
        (Reader.s32, "80 80 80 80 80 00", "integer representation too long"),
        (Reader.s32, "80 80 80 80 08", "integer too large"),
        (Reader.s32, "ff ff ff ff 0f", "integer too large"),
        (Reader.s32, "80 80 80 80 70", "integer too large"),
        (Reader.s32, "ff ff ff ff 4f", "integer too large"),
        (Reader.s33, "80 80 80 80 10", "integer too large"),
        (Reader.s64, "80 80 80 80 80 80 80 80 80 01", "integer too large"),
        (Reader.s64, "ff ff ff ff ff ff ff ff ff 7e", "integer too large"),
    ],
)
def test_integers_out_of_range(method: Method, encoded: str, message: str) -> None:
    wasm = b"\xaa\xaa" + bytes.fromhex(encoded)
    with pytest.raises(ParseError, match=message) as error:
        method(Reader(wasm, 2))
    assert error.value.offset == 2, "where the integer begins"


@pytest.mark.parametrize("method", [Reader.u32, Reader.u64, Reader.s32, Reader.s33, Reader.s64, Reader.byte])
def test_an_integer_that_is_cut_off(method: Method) -> None:
    with pytest.raises(ParseError, match="unexpected end") as error:
        method(Reader(b"\x80\x80\x80\x00", 3, 3))
    assert error.value.offset == 3
    if method is not Reader.byte:
        with pytest.raises(ParseError, match="unexpected end") as error:
            method(Reader(b"\x80\x80\x80\x00", 0, 3))
        assert error.value.offset == 3


def test_nothing_is_read_past_the_end_of_a_part() -> None:
    reader = Reader(b"abcdef", 1, 4)
    assert (reader.raw(2), reader.at_end, reader.byte(), reader.at_end) == (b"bc", False, ord("d"), True)
    for read in (lambda: reader.raw(1), lambda: reader.skip(1), reader.byte, reader.u32):
        with pytest.raises(ParseError, match="unexpected end"):
            read()


@pytest.mark.parametrize("read", [Reader.raw, Reader.skip])
def test_lengths_beyond_the_end_are_not_allocated(read: Callable[[Reader, int], object]) -> None:
    with pytest.raises(ParseError, match="4294967295 bytes announced, 3 left") as error:
        read(Reader(b"abc"), 2**32 - 1)
    assert error.value.offset == 0


def test_vectors_longer_than_their_bytes_are_not_allocated() -> None:
    with pytest.raises(ParseError, match="4294967295 items announced in 2 bytes") as error:
        Reader(b"\xff\xff\xff\xff\x0f\x00\x00").vector(Reader.u32)
    assert error.value.offset == 0


@pytest.mark.parametrize(
    "encoded", [b"\x01\x80", b"\x02\xc0\x80", b"\x03\xed\xa0\x80", b"\x04\xf4\x90\x80\x80"]
)
def test_names_that_are_no_utf_8(encoded: bytes) -> None:
    with pytest.raises(ParseError, match="malformed UTF-8 encoding") as error:
        Reader(encoded).name()
    assert error.value.offset == 0


@given(names)
def test_names_read_back(name: str) -> None:
    reader = Reader(encode_name(name))
    assert (reader.name(), reader.at_end) == (name, True)


@given(st.binary(max_size=30))
def test_whatever_is_read_is_a_value_or_a_parse_error(data: bytes) -> None:
    methods: tuple[Method, ...] = (
        *(Reader.u32, Reader.u64, Reader.s32, Reader.s33, Reader.s64, Reader.name, Reader.count),
        lambda reader: reader.vector(Reader.name),
    )
    for method in methods:
        assert 0 <= offset_of_fault(method, data) <= len(data)
