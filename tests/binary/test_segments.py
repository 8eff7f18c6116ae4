"""Element and data segments in all their forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binary.strategies import offset_of_fault, u32, u64
from wizer.binary import segments
from wizer.binary.expr import encode_null, encode_ref_func
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.reader import Reader
from wizer.binary.types import FUNCREF, FUNCREF_NON_NULL, RefType
from wizer.errors import ParseError

ANYREF = RefType(nullable=True, heap="any")


@pytest.mark.parametrize(
    ("encoded", "mode", "reftype", "tableidx", "items"),
    [
        ("00 41 00 0b 02 05 06", "active", FUNCREF_NON_NULL, 0, (5, 6)),
        ("01 00 01 05", "passive", FUNCREF_NON_NULL, 0, (5,)),
        ("02 03 41 00 0b 00 01 05", "active", FUNCREF_NON_NULL, 3, (5,)),
        ("03 00 01 05", "declarative", FUNCREF_NON_NULL, 0, (5,)),
        ("04 41 00 0b 01 d2 05 0b", "active", FUNCREF, 0, "exprs"),
        ("05 6e 01 d2 05 0b", "passive", ANYREF, 0, "exprs"),
        ("06 03 41 00 0b 6e 01 d2 05 0b", "active", ANYREF, 3, "exprs"),
        ("07 70 01 d2 05 0b", "declarative", FUNCREF, 0, "exprs"),
    ],
)
def test_the_eight_forms_of_element_segments(
    encoded: str, mode: str, reftype: RefType, tableidx: int, items: object
) -> None:
    data = bytes.fromhex(encoded)
    reader = Reader(data)
    element = segments.read_element(reader)
    assert reader.at_end
    assert (element.mode, element.reftype, element.tableidx) == (mode, reftype, tableidx)
    assert element.code == data
    assert 5 in element.funcs()
    assert (element.offset is not None) == (mode == "active")
    if items != "exprs":
        assert element.items == items


@pytest.mark.parametrize(
    ("encoded", "mode", "memidx", "contents"),
    [
        ("00 41 08 0b 03 61 62 63", "active", 0, b"abc"),
        ("01 02 61 62", "passive", 0, b"ab"),
        ("02 05 41 08 0b 00", "active", 5, b""),
    ],
)
def test_the_three_forms_of_data_segments(encoded: str, mode: str, memidx: int, contents: bytes) -> None:
    wasm = b"\xff" + bytes.fromhex(encoded)
    segment = segments.read_data(Reader(wasm, 1))
    assert (segment.mode, segment.memidx) == (mode, memidx)
    assert wasm[segment.start : segment.end] == contents
    assert (segment.code_start, segment.end) == (1, len(wasm))


@pytest.mark.parametrize(
    ("encoded", "message", "offset"),
    [
        ("08", "malformed element segment flags 8", 0),
        ("01 01 00", "malformed element kind", 1),
        ("00 41 00 0b ff ff ff ff 0f", "items announced", 4),
        ("05 7f 00", "unknown reference type 0x7f", 1),
        ("04 41 00 0b 01 d2 05", "unexpected end", 7),
    ],
)
def test_malformed_element_segments(encoded: str, message: str, offset: int) -> None:
    with pytest.raises(ParseError, match=message) as error:
        segments.read_element(Reader(bytes.fromhex(encoded)))
    assert error.value.offset == offset


@pytest.mark.parametrize(
    ("encoded", "message", "offset"),
    [
        ("03", "malformed data segment flags 3", 0),
        ("01 05 61", "unexpected end: 5 bytes announced, 1 left", 2),
        ("00 41 00 0b ff ff ff ff 0f", "unexpected end: 4294967295 bytes", 9),
    ],
)
def test_malformed_data_segments(encoded: str, message: str, offset: int) -> None:
    with pytest.raises(ParseError, match=message) as error:
        segments.read_data(Reader(bytes.fromhex(encoded)))
    assert error.value.offset == offset


@given(u32, st.data(), st.booleans(), st.lists(u32, max_size=5))
def test_active_functions_read_back(tableidx: int, data: st.DataObject, is64: bool, funcs: list[int]) -> None:
    offset = data.draw(u64 if is64 else u32)
    indices = b"".join(map(encode_unsigned, funcs))
    code = segments.encode_func_elements(tableidx, offset, len(funcs), indices, is64)
    element = segments.read_element(Reader(code))
    assert (element.mode, element.tableidx, element.items) == ("active", tableidx, tuple(funcs))
    assert element.offset is not None
    assert element.offset.value == ("i64" if is64 else "i32", offset)


@pytest.mark.parametrize("tableidx", [0, 1, 200])
@pytest.mark.parametrize("reftype", [FUNCREF, ANYREF, FUNCREF_NON_NULL])
def test_active_expressions_read_back(tableidx: int, reftype: RefType) -> None:
    items = [encode_null(reftype.heap), encode_ref_func(7)]
    code = segments.encode_expr_elements(tableidx, 5, reftype, items, is64=False)
    element = segments.read_element(Reader(code))
    assert (element.mode, element.tableidx, element.reftype) == ("active", tableidx, reftype)
    assert [getattr(item, "value", None) for item in element.items] == [("null", None), ("func", 7)]


def test_passive_and_declarative_read_back() -> None:
    passive = segments.read_element(Reader(segments.encode_passive_elements(ANYREF, [encode_null("any")])))
    assert (passive.mode, passive.reftype, len(passive.items)) == ("passive", ANYREF, 1)
    declared = segments.read_element(Reader(segments.encode_declarative([3, 300])))
    assert (declared.mode, sorted(declared.funcs())) == ("declarative", [3, 300])


@given(u32, st.data(), st.booleans(), st.integers(0, 300))
def test_data_headers_read_back(memidx: int, data: st.DataObject, is64: bool, length: int) -> None:
    offset = data.draw(u64 if is64 else u32)
    header = segments.encode_data_header(memidx, offset, length, is64)
    segment = segments.read_data(Reader(header + bytes(length)))
    assert (segment.mode, segment.memidx, segment.end - segment.start) == ("active", memidx, length)
    assert segment.offset is not None
    assert segment.offset.value == ("i64" if is64 else "i32", offset)
    assert segment.start == len(header)


@given(st.binary(max_size=40))
def test_whatever_is_read_is_a_segment_or_a_parse_error(data: bytes) -> None:
    assert 0 <= offset_of_fault(segments.read_element, data) <= len(data)
    assert 0 <= offset_of_fault(segments.read_data, data) <= len(data)
