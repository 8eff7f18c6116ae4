"""Vectors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wizer.binary.reader import Reader
from wizer.binary.vectors import encode_bytes, encode_name, encode_vector


@given(st.lists(st.integers(0, 0x7F), max_size=300))
def test_a_vector_reads_back(values: list[int]) -> None:
    reader = Reader(encode_vector([bytes((value,)) for value in values]))
    assert reader.u32s() == tuple(values)
    assert reader.at_end


@given(st.binary(max_size=300))
def test_bytes_read_back(data: bytes) -> None:
    reader = Reader(encode_bytes(data))
    assert reader.raw(reader.u32()) == data


def test_a_name_is_utf8_and_counted_in_bytes() -> None:
    assert encode_name("é") == b"\x02\xc3\xa9"
