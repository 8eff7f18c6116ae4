"""Constant expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binary.strategies import heaptypes, offset_of_fault, u32
from support.engine import binary
from wizer.binary import expr
from wizer.binary.code import global_get
from wizer.binary.module import parse_module
from wizer.binary.reader import Reader
from wizer.binary.types import HeapType, RefType
from wizer.errors import ParseError

BITS = {"i32": 32, "i64": 64, "f32": 32, "f64": 64, "v128": 128}


@given(st.sampled_from(sorted(BITS)), st.data())
def test_constants_read_back(valtype: str, data: st.DataObject) -> None:
    bits = data.draw(st.integers(0, 2 ** BITS[valtype] - 1))
    code = expr.encode_const(valtype, bits) + expr.END
    found = expr.read_expr(Reader(code))
    assert found.code == code
    assert found.value == ((valtype, bits) if valtype in ("i32", "i64") else None)


@given(u32)
def test_references_read_back(index: int) -> None:
    func = expr.read_expr(Reader(expr.encode_ref_func(index) + expr.END))
    assert (func.value, func.funcs) == (("func", index), (index,))
    assert expr.read_expr(Reader(global_get(index) + expr.END)).value == ("global", index)


@given(heaptypes)
def test_null_reads_back(heap: HeapType) -> None:
    assert expr.read_expr(Reader(expr.encode_null(heap) + expr.END)).value == ("null", None)


@pytest.mark.parametrize(
    ("text", "value", "funcs"),
    [
        ("(i32.add (i32.const 1) (i32.const 2))", None, ()),
        ("(i64.mul (i64.sub (i64.const 1) (i64.const 2)) (global.get 0))", None, ()),
        ("(ref.i31 (i32.const 1))", None, ()),
        ("(struct.new 1 (ref.func 2) (ref.func 1) (ref.null func))", None, (2, 1)),
        ("(struct.new_default 1)", None, ()),
        ("(array.new 2 (i32.const 1) (i32.const 9))", None, ()),
        ("(array.new_default 2 (i32.const 9))", None, ()),
        ("(array.new_fixed 2 3 (i32.const 1) (i32.const 2) (i32.const 3))", None, ()),
        ("(extern.convert_any (any.convert_extern (ref.null extern)))", None, ()),
        ("(v128.const i64x2 0 0xb0b)", None, ()),
        ("(f64.const 0x1.0b0bp0)", None, ()),
    ],
)
def test_every_constant_instruction(text: str, value: object, funcs: tuple[int, ...]) -> None:
    reftype = {"(i32": "i32", "(i64": "i64", "(v12": "v128", "(f64": "f64", "(ext": "externref"}
    module = parse_module(
        binary(
            f"""(module (import "a" "b" (global i64)) (type (func)) (type (struct
              (field funcref funcref funcref)))
                  (type (array i8)) (func) (func) (func)
                  (global {reftype.get(text[:4], "anyref")} {text}))"""
        )
    )
    init = module.globals[1].init
    assert init is not None
    assert (init.value, init.funcs) == (value, funcs)
    assert init.code.endswith(expr.END)


@pytest.mark.parametrize(
    ("encoded", "message", "offset"),
    [
        ("41 00", "unexpected end", 2),
        ("01 0b", "constant expression required, found opcode 0x01", 0),
        ("41 00 45 0b", "constant expression required, found opcode 0x45", 2),
        ("fb 02 00 00 0b", "constant expression required", 1),
        ("fd 0d 0b", "constant expression required", 1),
        ("fd 0c 00 00", "unexpected end", 2),
        ("43 00 00 0b", "unexpected end", 1),
        ("d0 40 0b", "unknown heap type", 1),
        ("41 80 80 80 80 70 0b", "integer too large", 1),
    ],
)
def test_malformed(encoded: str, message: str, offset: int) -> None:
    with pytest.raises(ParseError, match=message) as error:
        expr.read_expr(Reader(bytes.fromhex(encoded)))
    assert error.value.offset == offset


def test_an_overlong_opcode_of_a_prefix_is_read() -> None:
    code = b"\x41\x05\xfb\x9c\x80\x00\x0b"  # i32.const 5, ref.i31 with a padded number
    assert expr.read_expr(Reader(code)).code == code


def test_defaults() -> None:
    assert expr.encode_default("i64") == b"\x42\x00"
    assert expr.encode_default(RefType(nullable=True, heap="func")) == b"\xd0\x70"
    with pytest.raises(ValueError, match="i8"):
        expr.encode_const("i8", 0)


@given(st.binary(max_size=40))
def test_whatever_is_read_is_an_expression_or_a_parse_error(data: bytes) -> None:
    assert 0 <= offset_of_fault(expr.read_expr, data) <= len(data)


def test_the_integer_of_a_constant_is_unsigned() -> None:
    assert expr.read_expr(Reader(expr.encode_const("i32", 0xFFFF_FFFF) + expr.END)).integer == 0xFFFF_FFFF
    assert expr.read_expr(Reader(expr.encode_const("i64", 7) + expr.END)).integer == 7
    assert expr.read_expr(Reader(global_get(3) + expr.END)).integer is None
