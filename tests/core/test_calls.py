from __future__ import annotations

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wizer.binary.values import Number
from wizer.core.calls import Call, convert_args, parse_call
from wizer.errors import OptionError


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("f", Call("f")),
        ("f()", Call("f")),
        (" setup( 3, 0x10 ) ", Call("setup", ("3", "0x10"))),
        ("wasi:cli/run@0.2.0#run", Call("wasi:cli/run@0.2.0#run")),
        ("f)", Call("f)")),
        ("a(b", Call("a(b")),
        ("", Call("")),
        (" f", Call(" f")),
        ('say("a, (b\\"", [1, 2], {x: 1})', Call("say", ('"a, (b\\""', "[1, 2]", "{x: 1}"))),
        (r"f('(', ',', '\u{29}', '\'')", Call("f", ("'('", "','", r"'\u{29}'", r"'\''"))),
        ("f(i32x4(1, 2, 3, 4), 5)", Call("f", ("i32x4(1, 2, 3, 4)", "5"))),
    ],
)
def test_parse_call(text: str, call: Call) -> None:
    assert parse_call(text) == call


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(1)", "no function name"),
        ("f(1,)", "argument 2 of the call `f(1,)` is missing"),
        ("f(,1)", "argument 1 of the call"),
        ("f((1)", "lacks a `)`"),
        ("f(1))", "`)` that closes nothing"),
        ("f([1)])", "`)` that closes nothing"),
        ('f("a)', '`"` that is not closed'),
    ],
)
def test_parse_call_refuses(text: str, says: str) -> None:
    with pytest.raises(OptionError) as error:
        parse_call(text)
    assert says in str(error.value)


def convert(literal: str, type_: str) -> object:
    (value,) = convert_args(Call("f", (literal,)), [type_])
    return value


@pytest.mark.parametrize(
    ("literal", "type_", "value"),
    [
        ("0", "i32", 0),
        ("007", "i32", 7),
        ("+1_000", "i32", 1000),
        ("-0x1_0", "i32", -16),
        ("0xFFFF_FFFF", "i32", -1),
        ("2147483648", "i32", -(2**31)),
        ("-2147483648", "i32", -(2**31)),
        ("18446744073709551615", "i64", -1),
        ("1", "f64", 1.0),
        ("1_0.2_5e+0_1", "f64", 102.5),
        ("0x1.8p-1", "f64", 0.75),
        ("0xA", "f32", 10.0),
        (".5", "f32", 0.5),
        ("-1e-60", "f32", -0.0),
        ("1e-999999999999", "f32", 0.0),
        ("0.1", "f32", struct.unpack("<f", struct.pack("<f", 0.1))[0]),
        ("-inf", "f32", -math.inf),
        # exactly between two singles and a little above: rounding to double first would lose the little
        ("1.00000005960464477539062500001", "f32", 1 + 2**-23),
        ("1.000000059604644775390625", "f32", 1.0),
        ("-nan:0x1", "f32", Number("f32", 0xFF80_0001)),
        ("nan:0x8_0000_0000_0001", "f64", Number("f64", 0x7FF8_0000_0000_0001)),
        ("0x01", "v128", b"\1" + bytes(15)),
        ("i16x8(1, 2, 3, 4, 5, 6, 7, -1)", "v128", struct.pack("<8h", 1, 2, 3, 4, 5, 6, 7, -1)),
        ("f32x4(1, -0.0, inf, nan:0x1)", "v128", bytes.fromhex("0000803f000000800000807f0100807f")),
        ("f64x2(1, 2)", "v128", struct.pack("<2d", 1, 2)),
    ],
)
def test_convert(literal: str, type_: str, value: object) -> None:
    converted = convert(literal, type_)
    assert converted == value
    assert type(converted) is type(value)
    if isinstance(value, float):
        assert isinstance(converted, float)
        assert math.copysign(1, converted) == math.copysign(1, value)


@pytest.mark.parametrize("type_", ["f32", "f64"])
def test_nan_without_payload_is_a_python_float(type_: str) -> None:
    for literal, sign in (("nan", 1), ("-nan", -1)):
        value = convert(literal, type_)
        assert isinstance(value, float)
        assert math.isnan(value)
        assert math.copysign(1, value) == sign


@pytest.mark.parametrize(
    ("literal", "type_", "says"),
    [
        ("4294967296", "i32", "does not fit i32"),
        ("-2147483649", "i32", "does not fit i32"),
        ("1.5", "i32", "no integer literal"),
        ("1__0", "i32", "no integer literal"),
        ("0x", "i64", "no integer literal"),
        ("--1", "i64", "no integer literal"),
        ("9" * 5000, "i64", "5000 characters"),
        ("one", "f64", "no float literal"),
        ("++inf", "f64", "no float literal"),
        ("1e999", "f64", "out of the range of f64"),
        ("0x1p99999999999", "f64", "out of the range of f64"),
        ("3.5e38", "f32", "out of the range of f32"),
        ("340282356779733661637539395458142568448", "f32", "out of the range of f32"),
        ("nan:0x0", "f32", "NaN payload"),
        ("nan:0x800000", "f32", "NaN payload"),
        ("i32x4(1, 2, 3)", "v128", "4 lanes, not 3"),
        ("i8x16", "v128", "no integer literal"),
        ("1", "externref", "has no literals"),
    ],
)
def test_convert_refuses(literal: str, type_: str, says: str) -> None:
    with pytest.raises(OptionError) as error:
        convert(literal, type_)
    assert says in str(error.value)
    assert "argument 1 of `f(" in str(error.value)


def test_wrong_number_of_arguments() -> None:
    with pytest.raises(OptionError) as error:
        convert_args(parse_call("f"), ["i32", "f64"])
    # the beginning is what the Rust tools say
    assert str(error.value).startswith("the Wasm module's `f` function export does not have type `[] -> []`")
    assert "`f(<i32>, <f64>)`" in str(error.value)
    with pytest.raises(OptionError, match="gives 1 argument"):
        convert_args(parse_call("f(1)"), [])


@given(st.integers(-(2**63), 2**64 - 1))
def test_integers_round_trip(value: int) -> None:
    for literal in (str(value), f"{value:#x}", f"{value:_}"):
        assert convert(literal, "i64") == (value + 2**63) % 2**64 - 2**63


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_round_trip(value: float) -> None:
    assert convert(repr(value), "f64") == value
    assert convert(value.hex(), "f64") == value


@given(st.floats(width=32, min_value=-(2.0**127), max_value=2.0**127), st.integers(-3, 3))
def test_single_is_the_nearest(low: float, nudge: int) -> None:
    """Around the middle between two neighbours, the literal goes to the nearer one, or to the even one."""
    high = struct.unpack("<f", struct.pack("<I", struct.unpack("<I", struct.pack("<f", low))[0] + 1))[0]
    middle = (Fraction(low) + Fraction(high)) / 2 + Fraction(nudge, 10**400)
    literal = f"{middle.numerator * 10**1200 // middle.denominator}e-1200"
    if len(literal) > 1900:  # longer than a number may be
        return
    exact = Fraction(middle.numerator * 10**1200 // middle.denominator, 10**1200)
    value = convert(literal, "f32")
    assert isinstance(value, float)
    distances = [abs(exact - Fraction(x)) for x in (low, high)]
    assert abs(exact - Fraction(value)) == min(distances)
    if distances[0] == distances[1]:
        assert struct.unpack("<I", struct.pack("<f", value))[0] % 2 == 0
