"""Modules that have as many of something as engines take: reading their state must not add one more."""

from __future__ import annotations

import pytest

import wizer
from support.tools import assembled
from wizer import InvalidError, Session, StateError
from wizer.binary import sections as sec
from wizer.binary.additions import MAX_ELEMENT_SEGMENTS
from wizer.binary.assemble import from_items
from wizer.binary.module import parse_module

OBJECTS = """
  (type $numbers (struct (field $a (mut i8)) (field $b i16) (field $c (mut i32)) (field $d i64)
    (field $e f32) (field $f f64) (field $g v128) (field $next (mut (ref null $numbers)))))
  (type $names (array (mut i8)))
  (type $many (array (mut anyref)))
  (type $calls (array (mut funcref)))
  (func $five (export "five") (result i32) (i32.const 5))
  (global $last (mut (ref null $numbers)) (ref.null $numbers))
  (global $all (mut (ref null $many)) (ref.null $many))
  (func (export "wizer-initialize") (local $i i32)
    (global.set $all (array.new_default $many (i32.const 20000)))
    (loop $l
      (global.set $last (struct.new $numbers (local.get $i) (i32.const 0x8123) (i32.const 0x81234567)
        (i64.const 0x8123456789abcdef) (f32.const -1.5) (f64.const -2.25)
        (v128.const i64x2 0x8123456789abcdef 0xfedcba9876543210) (global.get $last)))
      (array.set $many (global.get $all) (local.get $i) (array.new $names (i32.const 7) (local.get $i)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300))))
    (array.set $many (global.get $all) (i32.const 19999) (array.new $calls (ref.func $five) (i32.const 3)))
    (struct.set $numbers $next (global.get $last) (global.get $last)))
  (func (export "sum") (result i32) (local $n (ref null $numbers))
    (local.set $n (global.get $last))
    (i32.add (struct.get_u $numbers $a (local.get $n))
      (i32.add (array.len (ref.cast (ref $names) (array.get $many (global.get $all) (i32.const 299))))
        (i32.add (struct.get_u $numbers $b (local.get $n)) (struct.get $numbers $c (local.get $n))))))
  (func (export "wide") (result v128) (struct.get $numbers $g (global.get $last)))
  (func (export "call") (result i32)
    (table.set $t (i32.const 0) (array.get $calls
      (ref.cast (ref $calls) (array.get $many (global.get $all) (i32.const 19999))) (i32.const 2)))
    (call_indirect $t (result i32) (i32.const 0)))
"""


def full(tables: int, memories: int, items: str) -> bytes:
    some = "(memory 0)" * memories + "(table $t 1 funcref)" + "(table 1 funcref)" * (tables - 1)
    return assembled(f"(module {some} {items})")


@pytest.mark.parametrize(("tables", "memories"), [(100, 1), (99, 1), (98, 0), (1, 100), (100, 100)])
def test_objects_are_read_without_a_table_or_memory_more(tables: int, memories: int) -> None:
    snapshot = wizer.wizen(full(tables, memories, OBJECTS), verify=True)
    few = wizer.wizen(full(1, 1, OBJECTS))
    with Session(snapshot) as session, Session(few) as expected:
        for name in ("sum", "wide", "call"):
            assert session.call(name) == expected.call(name)
    assert len(parse_module(snapshot).tables) <= 100


def test_segments_of_objects_are_read_without_a_table_more() -> None:
    wasm = full(
        99,
        1,
        """(type $s (struct (field (mut i32)))) (table $own 1 (ref null $s))
        (elem $e (ref null $s) (item (struct.new $s (i32.const 3))))
        (elem $dropped (ref null $s) (item (struct.new $s (i32.const 4))))
        (func (export "wizer-initialize") (call $take)
          (struct.set $s 0 (table.get $own (i32.const 0)) (i32.const 8)) (elem.drop $dropped)
          (table.set $own (i32.const 0) (ref.null $s)))
        (func $take (export "take") (table.init $own $e (i32.const 0) (i32.const 0) (i32.const 1)))
        (func (export "get") (result i32) (struct.get $s 0 (table.get $own (i32.const 0))))
        (func (export "dropped") (table.init $own $dropped (i32.const 0) (i32.const 0) (i32.const 1)))""",
    )
    with Session(wizer.wizen(wasm)) as session:
        session.call("take")
        assert session.call("get") == 8
        with pytest.raises(wizer.TrapError, match="`dropped` function trapped"):
            session.call("dropped")


def test_imported_functions_are_declared_without_a_segment_more() -> None:
    segments = MAX_ELEMENT_SEGMENTS
    wasm = assembled(
        f"""(module (import "e" "f" (func $f)) (table 2 funcref) (func $own)
        {"(elem declare func $own)" * segments}
        (func (export "wizer-initialize") (table.set (i32.const 1) (ref.func $own))))"""
    )
    snapshot = wizer.wizen(wasm, unknown_imports="trap")
    assert len(parse_module(snapshot).elements) <= 3


FEW = """(type $n (struct (field (mut (ref null $n))) (field i32)))
  (global $g (mut (ref null any)) (ref.null any)) (global $h (mut (ref null any)) (ref.null any))
  (func (export "wizer-initialize") (local $a (ref null $n))
    (local.set $a (struct.new $n (struct.new $n (ref.null $n) (i32.const 7)) (i32.const 3)))
    (struct.set $n 0 (struct.get $n 0 (local.get $a)) (local.get $a))
    (global.set $g (local.get $a)) (global.set $h (struct.get $n 0 (local.get $a))))
  (func (export "get") (result i32) (struct.get $n 1 (struct.get $n 0
    (struct.get $n 0 (struct.get $n 0 (ref.cast (ref $n) (global.get $g)))))))"""


def test_few_objects_are_kept_without_a_table_more() -> None:
    with Session(wizer.wizen(full(100, 0, FEW), verify=True)) as session:
        assert session.call("get") == 7


def test_what_engines_have_no_room_for_is_said() -> None:
    """A module of a million functions is valid, and there is no way to add one that reads its state."""
    count = 1_000_000
    wasm = from_items(
        {
            sec.TYPE: [b"\x60\0\0"],
            sec.FUNCTION: [b"\0"] * count,
            sec.GLOBAL: [b"\x7f\1\x41\0\x0b"],
            sec.CODE: [b"\2\0\x0b"] * count,
        }
    )
    with pytest.raises(InvalidError, match="the module is valid, but so large") as caught:
        Session(wasm)
    assert "functions count exceeds limit of 1000000" in str(caught.value)
    component = f"(component {'(core module)' * 999})"
    with pytest.raises(InvalidError, match="the component is valid, but so large"):
        Session(assembled(component))


def test_a_table_that_has_grown_beyond_what_engines_take() -> None:
    wasm = assembled("""(module (table 1 funcref) (func (export "wizer-initialize")
      (drop (table.grow (ref.null func) (i32.const 10000000)))))""")
    with pytest.raises(StateError, match="table 0 has grown to 10000001 elements, and engines take 10000000"):
        wizer.wizen(wasm, limits=wizer.Limits())
