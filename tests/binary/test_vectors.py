"""Vectors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wizer.binary.leb128 import encode_unsigned
from wizer.binary.reader import Reader
from wizer.binary.vectors import encode_bytes, encode_name, encode_vector
from wizer.errors import ParseError


@given(st.lists(st.integers(0, 0x7F), max_size=300))
def test_a_vector_reads_back(values: list[int]) -> None:
    reader = Reader(encode_vector([bytes((value,)) for value in values]))
    assert reader.u32s() == tuple(values)
    assert reader.at_end


def one_by_one(reader: Reader) -> tuple[int, ...]:
    return tuple(reader.u32() for _ in range(reader.count()))


@given(
    st.lists(st.integers(0, 0xFFFF_FFFF) | st.integers(0, 0x7FFF), max_size=30),
    st.binary(max_size=6),
    st.integers(0, 100),
)
def test_integers_are_read_as_they_are_one_by_one(values: list[int], noise: bytes, at: int) -> None:
    """Whatever stands there: with the same result, at the same place, or the same error."""
    encoded = encode_vector([encode_unsigned(value) for value in values])
    for wasm in (encoded, encoded[:at], encoded[:at] + noise, encoded[:at] + noise + encoded[at:]):
        found: list[object] = []
        for read in (one_by_one, Reader.u32s):
            reader = Reader(wasm)
            try:
                found.append((read(reader), reader.pos))
            except ParseError as error:
                found.append(str(error))
        assert found[0] == found[1]


def test_many_integers() -> None:
    reader = Reader(encode_vector([encode_unsigned(value) for value in range(20_000)]))
    assert reader.u32s() == tuple(range(20_000))
    assert reader.at_end


@given(st.binary(max_size=300))
def test_bytes_read_back(data: bytes) -> None:
    reader = Reader(encode_bytes(data))
    assert reader.raw(reader.u32()) == data


def test_a_name_is_utf8_and_counted_in_bytes() -> None:
    assert encode_name("é") == b"\x02\xc3\xa9"
