"""Many objects are made from data: every type of field, sharing, cycles, every kind of root, little code."""

from __future__ import annotations

import pytest

from core.heap.graphs import random_graph
from core.heap.isomorphism import run_and_capture
from core.heap.test_random_graphs import check
from support.engine import binary
from support.guest import Guest, frozen, survives
from wizer.binary import sections as sec
from wizer.binary.module import parse_module
from wizer.core import columns
from wizer.core.heap import encode
from wizer.core.rewrite import rewrite
from wizer.options import MAX_DATA_SEGMENTS

COUNT = 2000


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make even one object from data."""
    monkeypatch.setattr(encode, "MIN_EXPRESSIONS", 0)


@pytest.fixture(params=["lists", "arrays"])
def columns_are(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and write even one object with the columns of few objects, or of many."""
    if request.param == "arrays":
        monkeypatch.setattr(columns, "MANY", 0)


def code_size(wasm: bytes) -> int:
    """The bytes of the code section and of all constant expressions."""
    module = parse_module(wasm)
    return sum(s.end - s.start for s in module.sections if s.id in (sec.CODE, sec.GLOBAL, sec.ELEMENT))


def repeat(body: str, count: int = COUNT) -> str:
    """A loop in which the local ``$i`` goes from 0 to ``count``."""
    return f"""(local.set $i (i32.const 0)) (loop $next {body}
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (i32.const {count}))))"""


@pytest.mark.usefixtures("always", "columns_are")
@pytest.mark.parametrize("first", range(1000, 1120, 8))
def test_a_random_graph_made_from_data_survives(first: int) -> None:
    for seed in range(first, first + 8):
        check(random_graph(seed))


FIELDS = [
    ("(mut i8)", "(local.get $i)", "(struct.get_u $s 0 {})"),
    ("(mut i16)", "(i32.sub (i32.const 0) (local.get $i))", "(struct.get_u $s 0 {})"),
    ("i32", "(i32.mul (local.get $i) (i32.const 0x12345))", "(struct.get $s 0 {})"),
    ("i32", "(i32.sub (i32.const 0) (local.get $i))", "(struct.get $s 0 {})"),
    ("i64", "(i64.extend_i32_u (local.get $i))", "(i32.wrap_i64 (struct.get $s 0 {}))"),
    (
        "i64",
        "(i64.sub (i64.const 0) (i64.extend_i32_u (local.get $i)))",
        "(i32.wrap_i64 (i64.shr_s (struct.get $s 0 {}) (i64.const 3)))",
    ),
    (
        "(mut i64)",
        "(i64.shl (i64.extend_i32_u (local.get $i)) (i64.const 50))",
        "(i32.wrap_i64 (i64.shr_u (struct.get $s 0 {}) (i64.const 50)))",
    ),
    (
        "f32",
        "(f32.reinterpret_i32 (i32.or (i32.const 0x7f800000) (local.get $i)))",
        "(i32.reinterpret_f32 (struct.get $s 0 {}))",
    ),
    (
        "(mut f64)",
        "(f64.reinterpret_i64 (i64.or (i64.const 0xfff0000000000000) (i64.extend_i32_u (local.get $i))))",
        "(i32.wrap_i64 (i64.reinterpret_f64 (struct.get $s 0 {})))",
    ),
    (
        "v128",
        "(i32x4.replace_lane 3 (v128.const i32x4 1 2 3 4) (local.get $i))",
        "(i32x4.extract_lane 3 (struct.get $s 0 {}))",
    ),
    ("i31ref", "(ref.i31 (local.get $i))", "(i31.get_u (struct.get $s 0 {}))"),
    (
        "(mut (ref eq))",
        "(ref.i31 (i32.xor (local.get $i) (i32.const -1)))",
        "(i31.get_s (ref.cast i31ref (struct.get $s 0 {})))",
    ),
    (
        "externref",
        "(extern.convert_any (ref.i31 (local.get $i)))",
        "(i31.get_u (ref.cast i31ref (any.convert_extern (struct.get $s 0 {}))))",
    ),
    (
        "(mut (ref extern))",
        "(extern.convert_any (array.new $a (local.get $i) (local.get $i)))",
        "(array.len (ref.cast (ref $a) (any.convert_extern (struct.get $s 0 {}))))",
    ),
    (
        "(ref $a)",
        "(array.new $a (local.get $i) (i32.add (local.get $i) (i32.const 1)))",
        "(array.get_u $a (struct.get $s 0 {}) (i32.const 0))",
    ),
    (
        "(mut (ref null any))",
        "(if (result anyref) (i32.and (local.get $i) (i32.const 1)) (then (ref.i31 (local.get $i)))"
        " (else (array.new $a (i32.const 1) (local.get $i))))",
        "(if (result i32) (ref.test (ref i31) (struct.get $s 0 {0}))"
        " (then (i31.get_s (ref.cast i31ref (struct.get $s 0 {0}))))"
        " (else (array.len (ref.cast (ref $a) (struct.get $s 0 {0})))))",
    ),
    (
        "(ref null $f)",
        "(if (result (ref null $f)) (i32.and (local.get $i) (i32.const 1)) (then (ref.func $one))"
        " (else (ref.func $two)))",
        "(call_ref $f (struct.get $s 0 {}))",
    ),
    (
        "(mut (ref func))",
        "(if (result (ref func)) (i32.and (local.get $i) (i32.const 1)) (then (ref.func $one))"
        " (else (ref.func $imported)))",
        "(call_ref $f (ref.cast (ref $f) (struct.get $s 0 {})))",
    ),
    ("(mut (ref null none))", "(ref.null none)", "(ref.is_null (struct.get $s 0 {}))"),
    ("exnref", "(ref.null exn)", "(ref.is_null (struct.get $s 0 {}))"),
]


@pytest.mark.usefixtures("columns_are")
@pytest.mark.parametrize(("storage", "value", "get"), FIELDS, ids=[f[0] + f[1][:24] for f in FIELDS])
def test_a_field_of_every_type(storage: str, value: str, get: str) -> None:
    wat = f"""(module (type $f (func (result i32))) (type $a (array (mut i8)))
        (type $s (struct (field {storage}))) (type $all (array (mut (ref null $s))))
        (import "host" "imported" (func $imported (type $f)))
        (global $all (mut (ref $all)) (array.new_default $all (i32.const {COUNT})))
        (func $one (type $f) (i32.const 1)) (func $two (type $f) (i32.const 2))
        (elem declare func $one $two $imported)
        (func (export "init") (local $i i32) {
        repeat(f"(array.set $all (global.get $all) (local.get $i) (struct.new $s {value}))")
    })
        (func (export "get") (param $i i32) (result i32)
          {get.format("(array.get $all (global.get $all) (local.get $i))")}))"""
    probes = [("get", i) for i in (0, 1, 2, 127, 128, 255, 256, 1000, COUNT - 1)]
    snapshot = survives(wat, *probes, imports={"host": {"imported": lambda: 77}})
    assert code_size(snapshot) < 1500


@pytest.mark.parametrize("mutable", [True, False])
@pytest.mark.parametrize("first_is_head", [True, False])
def test_a_list(mutable: bool, first_is_head: bool) -> None:
    """Immutable links can only be made from the last node on; mutable ones may close a circle."""
    field = "(mut (ref null $node))" if mutable else "(ref null $node)"
    close = "(struct.set $node 1 (global.get $last) (global.get $list))" if mutable else ""
    wat = f"""(module (type $node (struct (field i32) (field {field})))
        (global $list (mut (ref null $node)) (ref.null $node))
        (global $last (mut (ref null $node)) (ref.null $node))
        (func (export "init") (local $i i32) {
        repeat('''
            (global.set $list (struct.new $node (local.get $i) (global.get $list)))
            (if (i32.eqz (local.get $i)) (then (global.set $last (global.get $list))))
          ''')
    } {close} {"" if first_is_head else "(global.set $list (global.get $last))"})
        (func (export "sum") (param $steps i32) (result i32) (local $sum i32) (local $at (ref null $node))
          (local.set $at (global.get $list))
          (loop $next
            (if (ref.is_null (local.get $at)) (then (return (i32.sub (i32.const 0) (local.get $sum)))))
            (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31))
              (struct.get $node 0 (local.get $at))))
            (local.set $at (struct.get $node 1 (local.get $at)))
            (br_if $next (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
          (local.get $sum))
        (func (export "closed") (result i32) (ref.eq (global.get $list)
          (struct.get $node 1 (global.get $last)))))"""
    snapshot = survives(wat, ("sum", 1), ("sum", COUNT - 1), ("sum", COUNT), ("sum", 3 * COUNT), "closed")
    assert code_size(snapshot) < 1000


@pytest.mark.usefixtures("columns_are")
def test_types_that_must_hold_each_other_from_the_start() -> None:
    """A chain of two types in turn: as many runs as there are objects."""
    wat = f"""(module (rec (type $a (sub (struct (field (ref null $b)))))
          (type $b (struct (field i64) (field (ref null $a)))))
        (global $chain (mut (ref null $a)) (ref.null $a))
        (func (export "init") (local $i i32) {
        repeat('''(global.set $chain
            (struct.new $a (struct.new $b (i64.extend_i32_u (local.get $i)) (global.get $chain))))''')
    })
        (func (export "get") (param $steps i32) (result i64) (local $at (ref null $a))
          (local.set $at (global.get $chain))
          (loop $next
            (if (i32.eqz (local.get $steps))
              (then (return (struct.get $b 0 (struct.get $a 0 (local.get $at))))))
            (local.set $at (struct.get $b 1 (struct.get $a 0 (local.get $at))))
            (local.set $steps (i32.sub (local.get $steps) (i32.const 1)))
            (br $next))
          (unreachable)))"""
    snapshot = survives(wat, ("get", 0), ("get", 1000), ("get", COUNT - 1), ("get", COUNT))
    assert code_size(snapshot) < 1000


@pytest.mark.usefixtures("columns_are")
def test_arrays_of_references() -> None:
    """Immutable ones of several lengths, equal elements, empty ones; and what sits in all of them is one."""
    wat = f"""(module (type $p (struct (field (mut i32)))) (type $i (array (ref null $p)))
        (type $m (array (mut (ref $p)))) (type $any (array (mut anyref)))
        (global $all (mut (ref $any)) (array.new_default $any (i32.const {4 * COUNT})))
        (func (export "init") (local $i i32) (local $p (ref $p))
          (local.set $p (struct.new $p (i32.const 5)))
          {
        repeat('''
            (array.set $any (global.get $all) (local.get $i)
              (array.new_fixed $i 2 (local.get $p) (ref.null $p)))
            (array.set $any (global.get $all) (i32.add (local.get $i) (i32.const 2000))
              (array.new_fixed $i 3 (local.get $p) (struct.new $p (local.get $i)) (local.get $p)))
            (array.set $any (global.get $all) (i32.add (local.get $i) (i32.const 4000))
              (array.new $m (local.get $p) (local.get $i)))
            (array.set $any (global.get $all) (i32.add (local.get $i) (i32.const 6000))
              (array.new_fixed $m 2 (local.get $p) (struct.new $p (local.get $i))))''')
    })
        (func $i (param $at i32) (param $element i32) (result (ref null $p))
          (array.get $i (ref.cast (ref $i) (array.get $any (global.get $all) (local.get $at)))
            (local.get $element)))
        (func $m (param $at i32) (param $element i32) (result (ref null $p))
          (array.get $m (ref.cast (ref $m) (array.get $any (global.get $all) (local.get $at)))
            (local.get $element)))
        (func (export "length") (param $at i32) (result i32)
          (array.len (ref.cast (ref array) (array.get $any (global.get $all) (local.get $at)))))
        (func (export "i") (param i32 i32) (result i32)
          (struct.get $p 0 (call $i (local.get 0) (local.get 1))))
        (func (export "m") (param i32 i32) (result i32)
          (struct.get $p 0 (call $m (local.get 0) (local.get 1))))
        (func (export "one") (param i32 i32) (result i32)
          (ref.eq (call $i (i32.const 0) (i32.const 0)) (call $m (local.get 0) (local.get 1)))))"""
    probes: list[tuple[str | int, ...]] = [("length", i) for i in (0, 2000, 4000, 4001, 5999, 7999)]
    probes += [("i", 7, 0), ("i", 2007, 0), ("i", 2007, 1), ("m", 4100, 99), ("m", 6123, 1)]
    snapshot = survives(wat, *probes, ("one", 4001, 0), ("one", 7000, 0), ("one", 7000, 1))
    assert code_size(snapshot) < 2000


@pytest.mark.usefixtures("columns_are")
@pytest.mark.parametrize("address", ["i32", "i64"])
@pytest.mark.parametrize("reftype", ["anyref", "externref", "(ref any)"])
def test_tables(address: str, reftype: str) -> None:
    init = "(ref.i31 (i32.const 9))" if reftype == "(ref any)" else ""
    convert, back = ("extern.convert_any", "any.convert_extern") if reftype == "externref" else ("", "")
    index = "(local.get $i)" if address == "i32" else "(i64.extend_i32_u (local.get $i))"
    wat = f"""(module (type $p (struct (field i32)))
        (table $t {address if address == "i64" else ""} {3 * COUNT} {reftype} {init})
        (func $at (param $i i32) (param $x (ref any))
          (table.set $t {index} {f"({convert} (local.get $x))" if convert else "(local.get $x)"}))
        (func (export "init") (local $i i32)
          {
        repeat('''
            (if (i32.rem_u (local.get $i) (i32.const 7)) (then
              (call $at (local.get $i) (struct.new $p (local.get $i)))
              (call $at (i32.add (local.get $i) (i32.const 2100)) (ref.i31 (local.get $i)))))''')
    }
          (call $at (i32.const 4321) (struct.new $p (i32.const 4321)))
          (table.fill $t ({address}.const 5000)
            {f"({convert} (struct.new $p (i32.const 5)))" if convert else "(struct.new $p (i32.const 5))"}
            ({address}.const 500)))
        (func $get (param $i i32) (result anyref)
          {f"({back} (table.get $t {index}))" if back else f"(table.get $t {index})"})
        (func (export "p") (param $i i32) (result i32)
          (struct.get $p 0 (ref.cast (ref $p) (call $get (local.get $i)))))
        (func (export "i") (param $i i32) (result i32)
          (i31.get_u (ref.cast (ref i31) (call $get (local.get $i)))))
        (func (export "eq") (param i32 i32) (result i32)
          (ref.eq (ref.cast eqref (call $get (local.get 0))) (ref.cast eqref (call $get (local.get 1))))))"""
    probes = [("p", i) for i in (1, 6, 7, 8, 1999, 4321, 4999, 5000, 5499, 5500)]
    probes += [("i", i) for i in (0, 2101, 2106, 2107, 4099, 4101)]
    snapshot = survives(wat, *probes, ("eq", 5000, 5499), ("eq", 1, 2), ("eq", 0, 7))
    assert code_size(snapshot) < 2500


@pytest.mark.usefixtures("columns_are")
def test_objects_of_immutable_globals_and_of_segments_are_completed() -> None:
    wat = f"""(module (type $s (struct (field (mut anyref)) (field (mut i32))))
        (type $m (array (mut (ref null $s)))) (type $h (struct (field (ref $m)) (field (mut (ref null $s)))))
        (global $h (ref $h) (struct.new $h (array.new_default $m (i32.const {COUNT})) (ref.null $s)))
        (elem $e (ref $s) (struct.new $s (ref.null any) (i32.const 1))) (table $t 1 (ref null $s))
        (func (export "init") (local $i i32)
          {
        repeat('''(array.set $m (struct.get $h 0 (global.get $h)) (local.get $i)
              (struct.new $s (global.get $h) (local.get $i)))''')
    }
          (struct.set $h 1 (global.get $h) (array.get $m (struct.get $h 0 (global.get $h)) (i32.const 77)))
          (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
          (struct.set $s 0 (table.get $t (i32.const 0)) (global.get $h))
          (struct.set $s 1 (table.get $t (i32.const 0)) (i32.const 44)))
        (func (export "get") (param i32) (result i32)
          (struct.get $s 1 (array.get $m (struct.get $h 0 (global.get $h)) (local.get 0))))
        (func (export "up") (param i32) (result i32) (ref.eq (global.get $h) (ref.cast eqref
          (struct.get $s 0 (array.get $m (struct.get $h 0 (global.get $h)) (local.get 0))))))
        (func (export "77") (result i32) (ref.eq (struct.get $h 1 (global.get $h))
          (array.get $m (struct.get $h 0 (global.get $h)) (i32.const 77))))
        (func (export "segment") (result i32) (table.set $t (i32.const 0) (ref.null $s))
          (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
          (i32.add (struct.get $s 1 (table.get $t (i32.const 0)))
            (ref.eq (global.get $h) (ref.cast eqref (struct.get $s 0 (table.get $t (i32.const 0))))))))"""
    snapshot = survives(wat, ("get", 0), ("get", COUNT - 1), ("up", 0), ("up", 500), "77", "segment")
    assert code_size(snapshot) < 1500


@pytest.mark.usefixtures("columns_are")
def test_exceptions_among_many_objects() -> None:
    wat = f"""(module (type $s (struct (field i32) (field (mut exnref)) (field (mut (ref null $s)))))
        (tag $tag (param (ref null $s))) (global $list (mut (ref null $s)) (ref.null $s))
        (func $exn (param (ref null $s)) (result exnref) (block $caught (result exnref)
          (try_table (catch_all_ref $caught) (throw $tag (local.get 0))) (unreachable)))
        (func $payload (param exnref) (result (ref null $s)) (block $caught (result (ref null $s))
          (try_table (catch $tag $caught) (throw_ref (local.get 0))) (unreachable)))
        (func (export "init") (local $i i32)
          {repeat('''(global.set $list (struct.new $s (local.get $i) (ref.null exn) (global.get $list)))''')}
          (struct.set $s 1 (struct.get $s 2 (global.get $list)) (call $exn (global.get $list))))
        (func (export "payload") (result i32) (ref.eq (global.get $list)
          (call $payload (struct.get $s 1 (struct.get $s 2 (global.get $list))))))
        (func (export "depth") (result i32) (local $n i32) (local $at (ref null $s))
          (local.set $at (global.get $list))
          (loop $next (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $next (i32.eqz (ref.is_null
              (local.tee $at (struct.get $s 2 (local.get $at)))))))
          (local.get $n)))"""
    survives(wat, "payload", "depth")


def test_few_objects_stay_constant_expressions() -> None:
    wat = """(module (type $p (struct (field i32))) (global $g (mut anyref) (ref.null any))
        (func (export "init") (global.set $g (struct.new $p (i32.const 5))))
        (func (export "get") (result i32) (struct.get $p 0 (ref.cast (ref $p) (global.get $g)))))"""
    snapshot = frozen(wat)
    assert Guest(snapshot)("get") == 5
    assert parse_module(snapshot).start is None


@pytest.mark.usefixtures("columns_are")
@pytest.mark.parametrize("first", range(1200, 1240, 8))
def test_a_random_graph_of_constant_expressions_survives(first: int) -> None:
    for seed in range(first, first + 8):
        check(random_graph(seed))


@pytest.mark.usefixtures("always", "columns_are")
def test_a_snapshot_of_a_snapshot_is_the_same_bytes() -> None:
    for seed in (2000, 2001, 2002, 2003, 2004, 2005):
        live = run_and_capture(binary(random_graph(seed).wat), "init")
        snapshot = b"".join(rewrite(live.module, live.state, live.module.exports, MAX_DATA_SEGMENTS))
        thawed = run_and_capture(snapshot, None)
        assert (
            b"".join(rewrite(thawed.module, thawed.state, thawed.module.exports, MAX_DATA_SEGMENTS))
            == snapshot
        )
