"""The traps that DESIGN.md names, a test for each."""

from __future__ import annotations

import pytest

from support.engine import binary
from support.guest import Guest, frozen, survives, validate
from support.tools import complaint, printed
from wizer import Session, StateError, Wizer, wizen
from wizer.binary.module import parse_module

# Removing the initialisation function's export must not make a body invalid that refers to it.


@pytest.mark.parametrize("function", ["init", "_initialize"])
def test_undeclared_ref_func_after_the_export_goes(function: str) -> None:
    wat = f"""(module (global $g (mut i32) (i32.const 0)) (func $init (export "{function}") (global.set $g
      (i32.const 5)))
        (func (export "null") (result i32) (ref.is_null (ref.func $init))))"""
    snapshot = wizen(wat, init_func=function)
    validate(snapshot)
    assert Guest(snapshot)("null") == 0
    assert Guest(snapshot).exports == ["null"]
    declared = [element for element in parse_module(snapshot).elements if element.mode == "declarative"]
    assert [element.funcs() for element in declared] == [{0}]


def test_undeclared_ref_func_after_an_element_segment_goes() -> None:
    survives(
        """(module (table 2 funcref) (elem (i32.const 0) func $f) (func $f)
             (func (export "init") (table.set (i32.const 0) (ref.null func)))
             (func (export "null") (result i32) (ref.is_null (ref.func $f))))""",
        "null",
    )


def test_undeclared_ref_func_after_a_global_initialiser_goes() -> None:
    survives(
        """(module (global $g (mut funcref) (ref.func $f)) (func $f)
             (func (export "init") (global.set $g (ref.null func)))
             (func (export "null") (result i32) (ref.is_null (ref.func $f))))""",
        "null",
    )


def test_an_export_that_nothing_needs_declares_nothing() -> None:
    snapshot = wizen('(module (func (export "init")) (func (export "f")))', init_func="init")
    assert parse_module(snapshot).elements == ()


# Without a DataCount section the old segments go; with one, indices stay and the count grows.


def test_without_a_data_count_the_old_segments_go() -> None:
    snapshot = frozen(
        """(module (memory 1) (data (i32.const 0) "aaaa") (data (i32.const 100) "bbbb")
             (func (export "init") (memory.fill (i32.const 0) (i32.const 0) (i32.const 200))))"""
    )
    module = parse_module(snapshot)
    assert (module.data, module.data_count) == ((), None)


def test_with_a_data_count_indices_stay_and_the_count_grows() -> None:
    wat = """(module (memory 1) (data $a (i32.const 0) "aaaa") (data $p "passive") (data $b
      (i32.const 100) "b")
        (func (export "init") (i32.store8 (i32.const 5000) (i32.const 1)) (i32.store8 (i32.const 60000)
          (i32.const 2)))
        (func (export "use") (memory.init $p (i32.const 16) (i32.const 0) (i32.const 7)))
        (func (export "active") (memory.init $b (i32.const 16) (i32.const 0) (i32.const 1)))
        (func (export "read") (param i32) (result i64) (i64.load (local.get 0))))"""
    reads = tuple(("read", place) for place in (0, 16, 100, 5000, 60000))
    module = parse_module(survives(wat, *reads, "use", *reads, "active"))
    assert module.data_count == len(module.data) == 5
    assert [data.mode for data in module.data] == ["active", "passive", "active", "active", "active"]


def test_with_a_data_count_an_active_segment_that_goes_is_an_empty_passive_one() -> None:
    wat = """(module (memory 1) (data $a (i32.const 0) "aaaa") (data $p "p")
        (func (export "init") (memory.fill (i32.const 0) (i32.const 0) (i32.const 4)))
        (func (export "use") (param i32) (memory.init $a (i32.const 16) (i32.const 0) (local.get 0))))"""
    module = parse_module(survives(wat, ("use", 0), ("use", 1)))
    assert [(data.mode, data.end - data.start) for data in module.data] == [("passive", 0), ("passive", 1)]


def test_a_data_count_of_zero() -> None:
    wasm = binary('(module (memory 1) (func (export "init") (i32.store8 (i32.const 1) (i32.const 1))))')
    code = parse_module(wasm).section(10)
    assert code is not None
    wasm = wasm[: code.start - 2] + b"\x0c\x01\x00" + wasm[code.start - 2 :]
    validate(wasm)
    module = parse_module(frozen(wasm))
    assert module.data_count == len(module.data) == 1


def test_active_element_segments_leave_something_in_their_place() -> None:
    wat = """(module (table 4 funcref) (elem $a (i32.const 0) func $f) (elem $b func $f) (func $f)
        (func (export "init") (table.set (i32.const 3) (ref.func $f)))
        (func (export "use a") (param i32) (table.init $a (i32.const 1) (i32.const 0) (local.get 0)))
        (func (export "use b") (table.init $b (i32.const 2) (i32.const 0) (i32.const 1)))
        (func (export "null") (param i32) (result i32) (ref.is_null (table.get (local.get 0)))))"""
    nulls = tuple(("null", i) for i in range(4))
    snapshot = survives(wat, *nulls, ("use a", 0), ("use a", 1), "use b", *nulls)
    first, second = parse_module(snapshot).elements[:2]
    assert first.mode != "passive", "an active segment is as good as dropped, and so is a declarative one"
    assert second.mode == "passive"


# `_initialize` runs exactly once, before the init function, or as it.

COUNTED = """(module (import "env" "log" (func $log (param i32))) (global $n (mut i32) (i32.const 0))
    (func $start (call $log (i32.const 1))) {start}
    (func (export "_initialize") (call $log (i32.const 2)) (global.set $n (i32.add (global.get $n)
      (i32.const 1))))
    (func (export "wizer-initialize") (call $log (i32.const 3)))
    (func (export "n") (result i32) (global.get $n)))"""


@pytest.mark.parametrize(
    ("init_func", "start", "expected"),
    [
        ("wizer-initialize", "", [2, 3]),
        ("wizer-initialize", "(start $start)", [1, 2, 3]),
        ("_initialize", "", [2]),
        ("_initialize", "(start $start)", [1, 2]),
        (["_initialize", "wizer-initialize"], "", [2, 3]),
        (["wizer-initialize", "wizer-initialize"], "(start $start)", [1, 2, 3, 3]),
    ],
)
def test_start_and_initialize_run_once_and_go(init_func: str, start: str, expected: list[int]) -> None:
    log: list[int] = []
    snapshot = wizen(COUNTED.format(start=start), {"env": {"log": log.append}}, init_func=init_func)
    assert log == expected
    again: list[int] = []
    guest = Guest(snapshot, {"env": {"log": again.append}})
    assert (guest("n"), again) == (1, [])
    assert "_initialize" not in guest.exports
    assert parse_module(snapshot).start is None


def test_initialize_of_another_type_is_an_export_like_any_other() -> None:
    wat = """(module (func (export "_initialize") (param i32) unreachable) (func (export "init")))"""
    snapshot = frozen(wat)
    assert parse_module(snapshot).start is None


# NaN payloads are bits.


@pytest.mark.parametrize("bits", [0x7F800001, 0x7FA00000, 0xFFFFFFFF, 0x7FC00001])
def test_nan_payloads_never_pass_through_a_python_float(bits: int) -> None:
    wat = f"""(module (type $s (struct (field f32))) (type $a (array f32))
        (global $g (mut f32) (f32.const 0)) (global $s (mut (ref null $s)) (ref.null $s))
        (global $a (mut (ref null $a)) (ref.null $a))
        (func (export "init") (local $f f32) (local.set $f (f32.reinterpret_i32 (i32.const {bits})))
          (global.set $g (local.get $f)) (global.set $s (struct.new $s (local.get $f)))
          (global.set $a (array.new_fixed $a 2 (local.get $f) (f32.const 0))))
        (func (export "g") (result i32) (i32.reinterpret_f32 (global.get $g)))
        (func (export "s") (result i32) (i32.reinterpret_f32 (struct.get $s 0 (global.get $s))))
        (func (export "a") (result i32)
          (i32.reinterpret_f32 (array.get $a (global.get $a) (i32.const 0)))))"""
    guest = Guest(frozen(wat))
    assert [guest(name) & 0xFFFF_FFFF for name in "gsa"] == [bits] * 3


# Types on which the engine's Python classes abort the process.


def test_functions_of_v128_and_gc_types_can_be_called_and_frozen() -> None:
    wat = """(module (type $s (struct (field (mut i32)))) (global $g (mut anyref) (ref.null any))
        (func (export "init"))
        (func (export "make") (param i32 v128) (result (ref $s) v128 anyref exnref)
          (global.set $g (struct.new $s (local.get 0)))
          (ref.cast (ref $s) (global.get $g)) (local.get 1) (ref.i31 (i32.const 3)) (ref.null exn))
        (func (export "read") (param anyref) (result i32)
          (struct.get $s 0 (ref.cast (ref $s) (local.get 0)))))"""
    with Session(wat) as session:
        made, vector, scalar, exception = session.call("make", 77, bytes(range(16)))
        assert session.call("read", made) == 77
        assert vector == bytes(range(16))
        assert scalar is not None
        assert exception is None
        validate(session.snapshot())


# Appended globals, grown minimums, table initialisers.


def test_initialisers_only_refer_to_earlier_globals() -> None:
    """An object that an original global shares with another one: neither can wait for an appended global."""
    survives(
        """(module (type $s (struct (field (mut i32)))) (type $p (struct (field (mut (ref null $s)))))
             (global $first (ref $p) (struct.new $p (ref.null $s)))
             (global $second (mut (ref null $p)) (ref.null $p))
             (global $third (ref $s) (struct.new $s (i32.const 3)))
             (func (export "init")
               (struct.set $p 0 (global.get $first) (global.get $third))
               (global.set $second (struct.new $p (global.get $third))) (struct.set $s 0
                 (global.get $third) (i32.const 8)))
             (func (export "a") (result i32) (ref.eq (global.get $third) (struct.get $p 0
               (global.get $first))))
             (func (export "b") (result i32) (ref.eq (global.get $third) (struct.get $p 0
               (global.get $second))))
             (func (export "c") (result i32) (struct.get $s 0 (global.get $third))))""",
        *("a", "b", "c"),
    )


def test_the_maximum_is_never_below_the_grown_minimum() -> None:
    snapshot = frozen(
        """(module (memory 1 3) (table 1 5 funcref)
             (func (export "init") (drop (memory.grow (i32.const 2)))
               (drop (table.grow (ref.null func) (i32.const 4)))))"""
    )
    module = parse_module(snapshot)
    assert module.memories[0].limits.minimum == module.memories[0].limits.maximum == 3
    assert module.tables[0].type.limits.minimum == module.tables[0].type.limits.maximum == 5


def test_a_prefix_that_the_module_uses_already() -> None:
    """Nothing is renumbered, and no export of the module's own is mistaken for one of Wizer's."""
    wat = """(module (memory (export "wizer:memory0") 1) (global $g (mut i32) (i32.const 1))
        (func (export "wizer:globals0") (result i32) (i32.const 99))
        (func (export "wizerwizer:globals0") (result i32) (i32.const 98))
        (func (export "init") (global.set $g (i32.const 2)))
        (func (export "g") (result i32) (global.get $g)))"""
    snapshot = survives(wat, "wizer:globals0", "g")
    assert Guest(snapshot).exports == [
        *("wizer:memory0", "wizer:globals0", "wizerwizer:globals0", "init", "g"),
    ]


def test_continuations_are_refused_and_not_crashed_on() -> None:
    wat = """(module (type $f (func)) (type $c (cont $f)) (func $k) (elem declare func $k)
        (global $g (mut (ref null $c)) (ref.null $c))
        (func (export "init") (global.set $g (cont.new $c (ref.func $k)))))"""
    with pytest.raises(Exception, match=r"continuation|stack switching") as error:
        frozen(wat)
    assert error.type.__module__ == "wizer.errors"


def test_mvp_names_are_printed_as_they_were() -> None:
    wat = """(module $m (memory $mem 1) (func $f (param $x i32)) (func $init (export "init")
        (i32.store (i32.const 0) (i32.const 1))))"""
    snapshot = frozen(wat)
    assert complaint(snapshot, "mvp") == ""
    for name in ("$m", "$mem", "$f", "$x", "$init"):
        assert name in printed(snapshot)


def test_instrument_for_an_engine_of_ones_own_at_any_moment() -> None:
    wat = """(module (global $n (mut i32) (i32.const 0))
        (func (export "bump") (global.set $n (i32.add (global.get $n) (i32.const 1))))
        (func (export "_initialize")) (func (export "n") (result i32) (global.get $n)))"""
    instrumented = Wizer().instrument(wat)
    live = Guest(instrumented.wasm)
    frozen_at = []
    for _ in range(3):
        live("bump")
        frozen_at.append(instrumented.snapshot(live.store, live.instance))
    assert [Guest(snapshot)("n") for snapshot in frozen_at] == [1, 2, 3]
    assert Guest(frozen_at[0]).exports == ["bump", "_initialize", "n"]


def test_an_instance_of_the_original_is_not_an_instrumented_one() -> None:
    wat = "(module (memory 1) (global (mut i32) (i32.const 0)))"
    instrumented = Wizer().instrument(wat)
    other = Guest(binary(wat))
    with pytest.raises(Exception, match="instantiate the `wasm` that `instrument` returned") as error:
        instrumented.snapshot(other.store, other.instance)
    assert not isinstance(error.value, StateError)
