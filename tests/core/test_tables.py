"""What tables hold before anything has run."""

from __future__ import annotations

import pytest

from support.engine import binary
from wizer.binary.module import Module, parse_module
from wizer.core.state import NULL, FuncRef
from wizer.core.tables import initial_element, initial_elements, written_elements


def module(fields: str) -> Module:
    return parse_module(binary(f"(module (func $f) (func $g) (global $i i32 (i32.const 1)) {fields})"))


@pytest.mark.parametrize(
    ("table", "element"),
    [
        ("(table 3 funcref)", NULL),
        ("(table 3 funcref (ref.null func))", NULL),
        ("(table 3 funcref (ref.func $g))", FuncRef(1)),
        ("(table 3 anyref (ref.i31 (i32.const 1)))", None),
    ],
)
def test_the_initial_element(table: str, element: object) -> None:
    assert initial_element(module(table), 0) == element


def test_active_segments_write_in_their_order() -> None:
    written = module(
        """(table 9 funcref)
           (elem (i32.const 1) func $f $g)
           (elem (i32.const 2) funcref (ref.func $f) (ref.null func))
           (elem funcref (ref.func $g))"""
    )
    assert written_elements(written, 0) == {1: FuncRef(0), 2: FuncRef(0), 3: NULL}
    assert initial_elements(written, 0) == {1: FuncRef(0), 2: FuncRef(0)}


def test_what_equals_the_initial_element_is_no_difference() -> None:
    written = module("(table 4 funcref (ref.func $f)) (elem (i32.const 0) func $f $g)")
    assert initial_elements(written, 0) == {1: FuncRef(1)}


def test_each_table_has_its_own_segments() -> None:
    two = module("(table $a 4 funcref) (table $b 4 funcref) (elem (table $b) (i32.const 0) func $g)")
    assert initial_elements(two, 0) == {}
    assert initial_elements(two, 1) == {0: FuncRef(1)}


@pytest.mark.parametrize(
    "segment",
    ["(elem (offset (global.get $i)) func $f)", "(elem (i32.const 0) funcref (ref.func $f) (global.get $r))"],
)
def test_only_a_run_tells(segment: str) -> None:
    dynamic = module(f"(global $r funcref (ref.func $f)) (table 4 funcref) {segment}")
    assert written_elements(dynamic, 0) is None
    assert initial_elements(dynamic, 0) is None


def test_references_that_are_known_are_used() -> None:
    known = {1: FuncRef(1)}
    found = initial_elements(module("(table 4 funcref) (elem (i32.const 0) func $g)"), 0, known)
    assert found is not None
    assert found[0] is known[1]
