"""Types: reading what is written, the type section, and subtyping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binary.strategies import functypes, heaptypes, offset_of_fault, reftypes, valtypes
from support.engine import binary
from wizer.binary import types
from wizer.binary.module import parse_module
from wizer.binary.reader import Reader
from wizer.errors import ParseError

F, S, A = types.FuncType((), ()), types.StructType(()), types.ArrayType(types.FieldType("i8", mutable=True))


def ref(heap: types.HeapType, *, nullable: bool = True) -> types.RefType:
    return types.RefType(nullable, heap)


@given(valtypes)
def test_value_types_read_back(valtype: types.ValType) -> None:
    reader = Reader(types.encode_valtype(valtype))
    assert (types.read_valtype(reader), reader.at_end) == (valtype, True)


@given(reftypes)
def test_reference_types_read_back(reftype: types.RefType) -> None:
    reader = Reader(types.encode_valtype(reftype))
    assert (types.read_reftype(reader), reader.at_end) == (reftype, True)


@given(heaptypes)
def test_heap_types_read_back(heap: types.HeapType) -> None:
    reader = Reader(types.encode_heaptype(heap))
    assert (types.read_heaptype(reader), reader.at_end) == (heap, True)


@given(functypes)
def test_function_types_read_back(functype: types.FuncType) -> None:
    reader = Reader(b"\x01" + types.encode_functype(functype))
    assert types.read_type_section(reader) == (types.SubType(functype),)
    assert reader.at_end


def test_abstract_nullable_references_are_short() -> None:
    assert types.encode_valtype(ref("func")) == b"\x70"
    assert types.encode_valtype(ref("func", nullable=False)) == b"\x64\x70"
    assert types.encode_valtype(ref(5)) == b"\x63\x05"
    assert types.encode_valtype(ref(64)) == b"\x63\xc0\x00"


def test_a_type_section_with_everything() -> None:
    module = parse_module(
        binary(
            """(module
                 (rec (type (sub (struct (field i8) (field (mut i16)) (field (mut (ref null 1)))))) (type
                   (array (mut v128))))
                 (type (sub 0 (struct (field i8) (field (mut i16)) (field (mut (ref null 1))) (field i64))))
                 (type (sub final (func (param i32 anyref) (result f64 (ref extern)))))
                 (rec))"""
        )
    )
    first, array, second, func = module.types
    assert first.comp == types.StructType(
        (
            types.FieldType("i8", mutable=False),
            types.FieldType("i16", mutable=True),
            types.FieldType(ref(1), mutable=True),
        )
    )
    assert (first.final, first.supertypes) == (False, ())
    assert array.comp == types.ArrayType(types.FieldType("v128", mutable=True))
    assert (second.final, second.supertypes) == (False, (0,))
    assert func.comp == types.FuncType(("i32", ref("any")), ("f64", ref("extern", nullable=False)))
    assert func.final


@pytest.mark.parametrize(
    ("section", "message", "offset"),
    [
        ("01 55", "unknown type form 0x55", 1),
        ("01 60 01 11 00", "unknown reference type 0x11", 3),
        ("01 5f 01 7f 02", "malformed mutability 0x02", 4),
        ("01 5e 40", "unknown reference type 0x40", 2),
        ("01 60 01 63 40 00", "unknown heap type", 4),
        ("02 60 00 00", "unexpected end", 4),
        ("ff ff ff ff 0f", "items announced", 0),
    ],
)
def test_malformed_types(section: str, message: str, offset: int) -> None:
    with pytest.raises(ParseError, match=message) as error:
        types.read_type_section(Reader(bytes.fromhex(section)))
    assert error.value.offset == offset


@pytest.mark.parametrize(
    ("heap", "top"),
    [
        *((name, "func") for name in ("func", "nofunc")),
        *((name, "extern") for name in ("extern", "noextern")),
        *((name, "any") for name in ("any", "eq", "i31", "struct", "array", "none")),
        *((name, "exn") for name in ("exn", "noexn")),
        *((name, "cont") for name in ("cont", "nocont")),
        *((0, "func"), (1, "any"), (2, "any"), (3, "cont")),
    ],
)
def test_hierarchies(heap: types.HeapType, top: str) -> None:
    declared = [types.SubType(comp) for comp in (F, S, A, types.ContType(0))]
    assert types.hierarchy(heap, declared) == top


@pytest.mark.parametrize(
    ("sub", "super_", "expected"),
    [
        (ref(2), ref(1), True),
        (ref(1), ref(2), False),
        (ref(2), ref("struct"), True),
        (ref(2), ref("eq"), True),
        (ref(2), ref("any"), True),
        (ref(2), ref("array"), False),
        (ref(2), ref("func"), False),
        (ref(0), ref("func"), True),
        (ref(3), ref("array"), True),
        (ref("none"), ref(2), True),
        (ref("none"), ref(0), False),
        (ref("nofunc"), ref(0), True),
        (ref("i31"), ref("eq"), True),
        (ref("i31"), ref("struct"), False),
        (ref("any"), ref("eq"), False),
        (ref("noextern"), ref("extern"), True),
        (ref("extern"), ref("any"), False),
        (ref(2, nullable=False), ref(2), True),
        (ref(2), ref(2, nullable=False), False),
        (ref(2, nullable=False), ref("any", nullable=False), True),
        (ref("noexn"), ref("exn"), True),
    ],
)
def test_subtyping(sub: types.RefType, super_: types.RefType, expected: bool) -> None:
    declared = [
        types.SubType(F),
        types.SubType(S, final=False),
        types.SubType(S, supertypes=(1,)),
        types.SubType(A),
    ]
    assert types.matches(sub, super_, declared) is expected


@given(st.binary(max_size=40))
def test_whatever_is_read_is_types_or_a_parse_error(data: bytes) -> None:
    assert 0 <= offset_of_fault(types.read_type_section, data) <= len(data)


def test_types_are_printed_as_the_text_format_has_them() -> None:
    assert (
        str(types.FuncType(("i32", ref("any")), (ref(3, nullable=False),)))
        == "[i32 (ref null any)] -> [(ref 3)]"
    )
