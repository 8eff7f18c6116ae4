"""Values and calls as text."""

from __future__ import annotations

import math
from typing import Any

import pytest

from support.engine import binary
from wizer import Session
from wizer.component.wave import format_value, parse_value, split_call
from wizer.engine import component_types as cv
from wizer.engine.component_types import Primitive, ValueType
from wizer.errors import OptionError

U8, U32, S8, F32, F64 = (Primitive(name) for name in ("u8", "u32", "s8", "f32", "f64"))
BOOL, CHAR, STRING = Primitive("bool"), Primitive("char"), Primitive("string")


def option(payload: ValueType, *, tagged: bool = False) -> cv.Variant:
    return cv.Variant("option", (("none", None), ("some", payload)), tagged)


def result(ok: ValueType | None, err: ValueType | None, *, tagged: bool = False) -> cv.Variant:
    return cv.Variant("result", (("ok", ok), ("err", err)), tagged)


RECORD = cv.Record((("name", STRING), ("tags", option(cv.ListOf(STRING)))))
SHAPE = cv.Variant(
    "variant", (("circle", F64), ("none", None), ("square", cv.Tuple((F64, F64)))), tagged=True
)


@pytest.mark.parametrize(
    ("text", "valtype", "value", "canonical"),
    [
        ("true", BOOL, True, "true"),
        ("0x10", U32, 16, "16"),
        ("-128", S8, -128, "-128"),
        ("1.5e3", F64, 1500.0, "1500"),
        ("-0.0", F64, -0.0, "-0"),
        ("0.1", F32, 0.1, "0.1"),
        ("1e300", F64, 1e300, "1" + "0" * 300),
        ("-inf", F32, -math.inf, "-inf"),
        ("'\\u{1f600}'", CHAR, "\U0001f600", "'\U0001f600'"),
        ("'('", CHAR, "(", "'('"),
        (r'"a\"b\\\n\u{7}"', STRING, 'a"b\\\n\x07', r'"a\"b\\\n\u{7}"'),
        ('"""\n  two\n    lines\n  """', STRING, "two\n  lines", r'"two\n  lines"'),
        ("[1, 2, 3,]", cv.ListOf(U32), [1, 2, 3], "[1, 2, 3]"),
        ("[1, 2]", cv.ListOf(U8), b"\x01\x02", "[1, 2]"),
        ("[]", cv.ListOf(STRING), [], "[]"),
        ('("x", 1)', cv.Tuple((STRING, U32)), ("x", 1), '("x", 1)'),
        ("some(3)", option(U32), 3, "some(3)"),
        ("3", option(U32), 3, "some(3)"),
        ("none", option(U32), None, "none"),
        ("ok(1)", result(U32, STRING), 1, "ok(1)"),
        ('err("no")', result(U32, STRING), "no", 'err("no")'),
        ("ok", result(None, STRING), None, "ok"),
        ("south", cv.Enum(("north", "south")), "south", "south"),
        ("%err", cv.Enum(("err", "fine")), "err", "%err"),
        ("{b, a}", cv.Flags(("a", "b", "c")), {"a", "b"}, "{a, b}"),
        ("{}", cv.Flags(("a",)), set(), "{}"),
        ("square((1, 2))", SHAPE, cv.VariantValue("square", (1.0, 2.0)), "square((1, 2))"),
        ("%none", SHAPE, cv.VariantValue("none"), "%none"),
        (" 7 // seven\n", U32, 7, "7"),
    ],
)
def test_values(text: str, valtype: ValueType, value: Any, canonical: str) -> None:
    read = parse_value(text, valtype)
    assert read == value
    assert type(read) is type(value)
    assert format_value(read, valtype) == canonical
    assert parse_value(canonical, valtype) == value


def test_record_with_options_left_out() -> None:
    read = parse_value('{name: "x", tags: some(["a"])}', RECORD)
    assert (read.name, read.tags) == ("x", ["a"])
    assert format_value(read, RECORD) == '{name: "x", tags: some(["a"])}'
    assert format_value(parse_value('{name: "y"}', RECORD), RECORD) == '{name: "y"}'
    empty = cv.Record((("a", option(U32)),))
    assert format_value(parse_value("{:}", empty), empty) == "{:}"


def test_nan() -> None:
    assert math.isnan(parse_value("nan", F64))
    assert format_value(math.nan, F32) == "nan"


@pytest.mark.parametrize(
    ("text", "valtype", "message"),
    [
        ("256", U8, "does not fit u8"),
        ("-1", U32, "does not fit u32"),
        ("1.5", U32, "expected an integer"),
        ("1e39", F32, "out of the range of f32"),
        ('"x"', U32, "expected an integer"),
        ("7 8", U32, "there is more"),
        ("", STRING, "found `the end`"),
        ("'ab'", CHAR, "cannot read"),
        (r'"\q"', STRING, "unknown escape"),
        (r'"\u{d800}"', STRING, "is no character"),
        ("[1, 2", cv.ListOf(U32), "expected `]`"),
        ("(1)", cv.Tuple((U32, U32)), "2 elements, not 1"),
        ("(1, 2, 3)", cv.Tuple((U32, U32)), "not more"),
        ("{tags: none}", RECORD, "the field `name` is missing"),
        ('{name: "x", name: "y"}', RECORD, "there twice"),
        ("{other: 1}", RECORD, "expected one of `name`, `tags`"),
        ("west", cv.Enum(("north",)), "expected one of `north`"),
        ("some(some(1))", option(U32), "expected an integer"),
        ("[" * 200, cv.ListOf(STRING), "expected a string"),
        ("@", U32, "cannot read `@`"),
    ],
)
def test_errors(text: str, valtype: ValueType, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_value(text, valtype)


def test_calls() -> None:
    assert split_call("boot") == ("boot", None)
    assert split_call("my:pkg/setup@1.0.0.boot('(', 2)") == ("my:pkg/setup@1.0.0.boot", "'(', 2")
    with pytest.raises(OptionError, match="is not a call"):
        split_call("boot(1")


ECHO = """(component
  (core module $m (memory (export "memory") 1) (global $at (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $old i32)
      (global.set $at (i32.and (i32.add (global.get $at) (i32.const 7)) (i32.const -8)))
      (local.set $old (global.get $at))
      (global.set $at (i32.add (local.get $old) (local.get 3)))
      (local.get $old))
    (func (export "echo") (param %(flat)s) (result i32) %(store)s (i32.const 16)))
  (core instance $i (instantiate $m))
  %(types)s
  (func (export "echo") %(params)s (result $r) (canon lift (core func $i "echo")
    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"""


def test_call_with_values_of_every_shape() -> None:
    """What goes in as text comes out as text, through a guest that hands its arguments back."""
    wasm = binary(
        ECHO
        % {
            "flat": "i32 i32 i32 i32 i32 i32 i32 i32 i32",
            "store": " ".join(f"(i32.store (i32.const {16 + 4 * i}) (local.get {i}))" for i in range(9)),
            "types": """(type $tags (list string)) (type $o (option $tags))
              (type $record (record (field "name" string) (field "tags" $o)))
              (export $rec "rec" (type $record))
              (type $list (list u32))
              (type $r (tuple string $list $rec))""",
            "params": '(param "greeting" string) (param "numbers" $list) (param "more" $rec)',
        }
    )
    with Session(wasm) as session:
        session.call_text('echo("hello", [1, 2], {name: "x", tags: some(["a"])})')
        [(name, results)] = session.results
        assert session.shown(name, results) == '("hello", [1, 2], {name: "x", tags: some(["a"])})'
        session.call_text('echo("", [], {name: "ü"})')
        assert session.shown(*session.results[-1]) == '("", [], {name: "ü"})'


def test_result_and_variant_come_back() -> None:
    wasm = binary(
        """(component
          (core module $m (memory (export "memory") 1)
            (func (export "half") (param i32) (result i32)
              (i32.store8 (i32.const 8) (i32.and (local.get 0) (i32.const 1)))
              (i32.store (i32.const 12) (i32.shr_u (local.get 0) (i32.const 1)))
              (i32.const 8)))
          (core instance $i (instantiate $m))
          (type $r (result u32 (error u32)))
          (func (export "half") (param "n" u32) (result $r)
            (canon lift (core func $i "half") (memory (core memory $i "memory")))))"""
    )
    with Session(wasm) as session:
        session.call_text("half(6)")
        session.call_text("half(7)")
        assert [session.shown(*entry) for entry in session.results] == ["ok(3)", "err(3)"]
