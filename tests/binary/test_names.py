"""The name section."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from support.engine import binary
from wizer.binary.module import parse_module
from wizer.binary.names import read_field_names, read_names
from wizer.binary.reader import Reader

WAT = """(module $m
    (import "env" "g" (global $imported i32)) (import "env" "plain" (func))
    (tag $tag) (table $first 1 funcref) (table $second (export "exported too") 1 funcref) (memory $mem 1)
    (global $g i32 (i32.const 1)) (global (export "only exported") i32 (i32.const 2))
    (func $f (param $x i32) (local $y i32)) (func $g))"""


def test_items_are_called_by_the_name_section_first() -> None:
    module = parse_module(binary(WAT))
    assert module.names == {
        ("global", 0): "imported",
        ("func", 0): "plain",
        ("tag", 0): "tag",
        ("table", 0): "first",
        ("table", 1): "second",
        ("memory", 0): "mem",
        ("global", 1): "g",
        ("global", 2): "only exported",
        ("func", 1): "f",
        ("func", 2): "g",
    }
    assert module.describe("table", 1) == 'table 1 ("second")'
    assert module.describe("memory", 7) == "memory 7"


def test_fields_have_names() -> None:
    wat = """(module (type (func)) (type $pair (struct (field $left i32) (field i32) (field $right i32)))
      (type $other (struct (field $only i32))))"""
    assert parse_module(binary(wat)).field_names == {(1, 0): "left", (1, 2): "right", (2, 0): "only"}
    assert read_field_names(Reader(b"\x0a\x08\x01\x00\x02\x00\x01a\x01\xff")) == {(0, 0): "a"}


def test_a_malformed_name_section_yields_what_stood_before_the_fault() -> None:
    good = b"\x01\x06\x01\x00\x03one"
    for bad in (b"\x05\xff", b"\x05\x04\x01\x00\x01\xff", b"\x07\x02\x05\x00", b"\x80"):
        assert read_names(Reader(good + bad)) == {("func", 0): "one"}


def test_unknown_subsections_are_passed_over() -> None:
    names = b"\x63\x02\xff\xff" + b"\x02\x03\x00\x00\x00" + b"\x06\x04\x01\x05\x01m"
    assert read_names(Reader(names)) == {("memory", 5): "m"}


@given(st.binary(max_size=60))
def test_no_name_section_is_an_error(data: bytes) -> None:
    assert all(isinstance(name, str) for name in read_names(Reader(data)).values())
    assert all(isinstance(name, str) for name in read_field_names(Reader(data)).values())
