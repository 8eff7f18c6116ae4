"""Cutting a module into sections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.engine import binary
from wizer.binary import sections as sec
from wizer.binary.sections import encode_vector_section, is_component, section_header, split_sections
from wizer.errors import ParseError

HEADER = sec.MAGIC + sec.MODULE_VERSION


def test_sections_cover_the_module() -> None:
    wasm = binary('(module (memory 1) (func (export "f")) (data (i32.const 0) "x") (@custom "c" "bytes"))')
    found = list(split_sections(wasm))
    assert [section.id for section in found] == [
        sec.TYPE,
        sec.FUNCTION,
        sec.MEMORY,
        sec.EXPORT,
        sec.CODE,
        sec.DATA,
        0,
    ]
    assert found[-1].name == "c"
    assert wasm[found[-1].start : found[-1].end] == b"bytes"
    assert found[-1].end == len(wasm)


def test_an_empty_module() -> None:
    assert list(split_sections(HEADER)) == []


@pytest.mark.parametrize(
    ("wasm", "message", "offset"),
    [
        (b"", "this is not WebAssembly: the magic number is missing", 0),
        (b"\0as", "this is not WebAssembly", 0),
        (b"MZ\x90\x00\x03\x00\x00\x00", "this is not WebAssembly", 0),
        (b"\0asm", r"unknown binary version \(missing\)", 4),
        (b"\0asm\x01\x00", "unknown binary version 01 00", 4),
        (b"\0asm\x02\x00\x00\x00", "unknown binary version 02 00 00 00", 4),
        (b"\0asm\x0d\x00\x01\x00", "this is a component where a core module is expected", 4),
        (HEADER + b"\x0e\x00", "malformed section id 14", 8),
        (HEADER + b"\x01", "unexpected end", 9),
        (HEADER + b"\x01\x80", "unexpected end", 10),
        (HEADER + b"\x01\x05\x00", "the type section is truncated: 5 bytes announced, 1 left", 8),
        (HEADER + b"\x01\xff\xff\xff\xff\x0f", "4294967295 bytes announced, 0 left", 8),
        (HEADER + b"\x01\xff\xff\xff\xff\x1f", "integer too large", 9),
        (HEADER + b"\x01\x01\x00\x01\x01\x00", "the type section is out of order, or there are two", 11),
        (HEADER + b"\x03\x01\x00\x02\x01\x00", "the import section is out of order", 11),
        (HEADER + b"\x0b\x01\x00\x0c\x01\x00", "the data count section is out of order", 11),
        (HEADER + b"\x00\x00", "unexpected end", 10),
        (HEADER + b"\x00\x02\x05a", "5 bytes announced, 1 left", 11),
        (HEADER + b"\x00\x02\x01\xff", "malformed UTF-8 encoding", 10),
    ],
)
def test_malformed(wasm: bytes, message: str, offset: int) -> None:
    with pytest.raises(ParseError, match=message) as error:
        list(split_sections(wasm))
    assert error.value.offset == offset
    assert str(error.value).endswith(f"(at offset {offset:#x})")


def test_the_data_count_stands_before_the_code_and_tags_after_memories() -> None:
    assert sec.ORDER[sec.ELEMENT] < sec.ORDER[sec.DATA_COUNT] < sec.ORDER[sec.CODE] < sec.ORDER[sec.DATA]
    assert sec.ORDER[sec.MEMORY] < sec.ORDER[sec.TAG] < sec.ORDER[sec.GLOBAL]


def test_headers_of_components_are_known() -> None:
    assert is_component(b"\0asm\x0d\x00\x01\x00...")
    assert not is_component(HEADER)
    assert not is_component(b"\0as")


@given(st.integers(1, 13), st.integers(1, 2**32 - 1))
def test_headers_read_back(section_id: int, size: int) -> None:
    header = section_header(section_id, size)
    with pytest.raises(ParseError, match=f"{size} bytes announced, 0 left"):
        list(split_sections(HEADER + header))


def test_vectors() -> None:
    assert encode_vector_section(sec.TYPE, []) == b""
    assert encode_vector_section(sec.TYPE, [b"ab", b"c"]) == b"\x01\x04\x02abc"
