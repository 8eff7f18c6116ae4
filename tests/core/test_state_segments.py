"""Segments that initialisation dropped stay dropped; those it did not drop stay whole."""

from __future__ import annotations

import pytest

from support.guest import frozen, survives
from wizer.binary.module import parse_module

DATA = """(module (memory 1) (data $a "abc") (data $b "xyz") (data $active (i32.const 32) "act")
    (func (export "init") (data.drop $a))
    (func (export "use a") (param i32) (memory.init $a (i32.const 0) (i32.const 0) (local.get 0)))
    (func (export "use b") (param i32) (memory.init $b (i32.const 8) (i32.const 0) (local.get 0)))
    (func (export "use active") (param i32) (memory.init $active (i32.const 8) (i32.const 0) (local.get 0)))
    (func (export "b") (result i32) (i32.load (i32.const 8)))
    (func (export "drop b") (data.drop $b)))"""


def test_memory_init_of_a_dropped_segment_traps() -> None:
    survives(
        DATA,
        *(("use a", 1), ("use a", 0), ("use b", 3), "b", ("use b", 4), "drop b", ("use b", 1), ("use b", 0)),
        *(("use active", 0), ("use active", 1)),
    )


def test_indices_of_data_segments_stay_with_a_data_count() -> None:
    before, after = parse_module(frozen(DATA, "drop b")), parse_module(frozen(DATA))
    assert before.data_count == after.data_count == 3
    assert [data.end - data.start for data in after.data] == [0, 3, 3]
    assert [data.end - data.start for data in before.data] == [3, 0, 3]


@pytest.mark.parametrize("times", [1, 2])
def test_dropping_twice_is_dropping(times: int) -> None:
    survives(
        f"""(module (memory i64 1) (data $a "abc") (func (export "init") {"(data.drop $a)" * times})
             (func (export "use") (memory.init $a (i64.const 0) (i32.const 0) (i32.const 1))))""",
        "use",
    )


def test_a_drop_without_any_memory() -> None:
    survives(
        """(module (type $a (array i8)) (data $d "abc")
             (func (export "init") (data.drop $d))
             (func (export "use") (param i32) (result i32)
               (array.len (array.new_data $a $d (i32.const 0) (local.get 0)))))""",
        ("use", 0),
        ("use", 1),
    )


ARRAYS = """(module (type $n (array (mut i16))) (type $r (array (mut funcref)))
    (func $f) (data $d "abcdef") (elem $e funcref (ref.func $f) (ref.null func))
    (func (export "init") (param i32)
      (if (i32.and (local.get 0) (i32.const 1)) (then (data.drop $d)))
      (if (i32.and (local.get 0) (i32.const 2)) (then (elem.drop $e))))
    (func (export "new_data") (param i32) (result i32) (array.len (array.new_data $n $d (i32.const 0)
      (local.get 0))))
    (func (export "new_elem") (param i32) (result i32) (array.len (array.new_elem $r $e (i32.const 0)
      (local.get 0))))
    (func (export "init_data") (param i32)
      (array.init_data $n $d (array.new_default $n (i32.const 9)) (i32.const 0) (i32.const 0) (local.get 0)))
    (func (export "init_elem") (param i32)
      (array.init_elem $r $e (array.new_default $r (i32.const 9)) (i32.const 0) (i32.const 0)
        (local.get 0))))"""


@pytest.mark.parametrize("drops", range(4))
def test_array_instructions_trap_exactly_as_before(drops: int) -> None:
    names = ("new_data", "new_elem", "init_data", "init_elem")
    survives(ARRAYS, *((name, n) for name in names for n in (0, 1, 2, 3, 4)), init=("init", drops))


TABLE = """(module (table 4 funcref) (func $f) (func $g)
    (elem $p func $f $g) (elem $x (ref null func) (ref.func $g) (ref.null func)) (elem $act
      (i32.const 0) func $g)
    (elem $empty func)
    (func (export "init") (param i32)
      (if (i32.and (local.get 0) (i32.const 1)) (then (elem.drop $p)))
      (if (i32.and (local.get 0) (i32.const 2)) (then (elem.drop $x)))
      (if (i32.and (local.get 0) (i32.const 4)) (then (elem.drop $act) (elem.drop $empty)))
      (if (i32.and (local.get 0) (i32.const 8)) (then (table.set (i32.const 0) (ref.func $f)))))
    (func (export "p") (param i32) (table.init $p (i32.const 0) (i32.const 0) (local.get 0)))
    (func (export "x") (param i32) (table.init $x (i32.const 0) (i32.const 0) (local.get 0)))
    (func (export "act") (param i32) (table.init $act (i32.const 0) (i32.const 0) (local.get 0)))
    (func (export "empty") (param i32) (table.init $empty (i32.const 0) (i32.const 0) (local.get 0)))
    (func (export "null") (param i32) (result i32) (ref.is_null (table.get (local.get 0)))))"""


@pytest.mark.parametrize("drops", range(16))
def test_table_init_of_dropped_segments_traps_exactly_as_before(drops: int) -> None:
    probes = [("null", i) for i in range(4)] + [
        (name, n) for name in ("p", "x", "act", "empty") for n in (0, 1, 2, 3)
    ]
    survives(TABLE, *probes, ("null", 0), ("null", 1), init=("init", drops))


def test_a_segment_of_a_declarative_kind_is_as_good_as_dropped() -> None:
    survives(
        """(module (table 2 funcref) (func $f) (elem $d declare func $f) (func (export "init"))
             (func (export "use") (param i32) (table.init $d (i32.const 0) (i32.const 0) (local.get 0))))""",
        ("use", 0),
        ("use", 1),
    )


def test_a_module_that_only_contains_drops_keeps_its_segments() -> None:
    wat = """(module (memory 1) (table 2 funcref) (func $f) (data $d "abc") (elem $e func $f)
        (func (export "init")) (func (export "drop") (data.drop $d) (elem.drop $e))
        (func (export "use") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3))
          (table.init $e (i32.const 0) (i32.const 0) (i32.const 1))))"""
    snapshot = survives(wat, "use", "drop", "use")
    assert b"abc" in snapshot


def test_old_active_elements_leave_their_index_to_one_that_is_no_less_dropped() -> None:
    wat = """(module (table 2 funcref) (func $f) (func $g) (elem $a (i32.const 0) func $f) (elem $p func $g)
        (func (export "init") (table.set (i32.const 0) (ref.func $g)) (table.set (i32.const 1) (ref.func $f)))
        (func (export "use") (table.init $p (i32.const 1) (i32.const 0) (i32.const 1)))
        (func (export "same") (result i32) (ref.is_null (table.get (i32.const 1)))))"""
    module = parse_module(survives(wat, "same", "use", "same"))
    assert module.elements[0].mode in ("active", "declarative")
    assert module.elements[1].mode == "passive"


def test_an_old_active_segment_becomes_declarative_where_there_is_no_new_one() -> None:
    wat = """(module (table 2 funcref) (func $f) (func $g) (elem $a (i32.const 0) func $f) (elem $p func $g)
        (func (export "init") (table.set (i32.const 0) (ref.null func)))
        (func (export "use") (table.init $p (i32.const 1) (i32.const 0) (i32.const 1)))
        (func (export "null") (result i32) (ref.is_null (ref.func $f))))"""
    module = parse_module(survives(wat, "null", "use"))
    assert [element.mode for element in module.elements[:2]] == ["declarative", "passive"]
    assert any(0 in element.funcs() for element in module.elements), "$f stays declared"
