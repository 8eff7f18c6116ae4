"""Objects that several roots share: globals of every kind, tables, segments, and globals of other modules."""

from __future__ import annotations

from itertools import combinations

import pytest

from support.engine import binary
from support.guest import Guest, frozen, survives
from wizer import Session, StateError

# Each root: its definition, how `init` puts `$o` there (nothing if it was born there), and how to read it.
ROOTS = {
    "immutable": ("(global $imm (ref $s) {new})", "", "(global.get $imm)"),
    "nullable immutable": ("(global $nim (ref null $s) {new})", "", "(global.get $nim)"),
    "immutable any": ("(global $any (ref any) {new})", "", "(ref.cast (ref $s) (global.get $any))"),
    "mutable": (
        "(global $mut (mut (ref null $s)) (ref.null $s))",
        "(global.set $mut {o})",
        "(global.get $mut)",
    ),
    "non-null mutable": ("(global $nnm (mut (ref $s)) {new})", "(global.set $nnm {o})", "(global.get $nnm)"),
    "mutable extern": (
        "(global $ext (mut externref) (ref.null extern))",
        "(global.set $ext (extern.convert_any {o}))",
        "(ref.cast (ref $s) (any.convert_extern (global.get $ext)))",
    ),
    "table": (
        "(table $t 3 (ref null $s))",
        "(table.set $t (i32.const 1) {o})",
        "(table.get $t (i32.const 1))",
    ),
    "any table": (
        "(table $at 3 anyref)",
        "(table.set $at (i32.const 2) {o})",
        "(ref.cast (ref $s) (table.get $at (i32.const 2)))",
    ),
    "initialised table": (
        "(table $it 3 (ref $s) {new})",
        "(table.set $it (i32.const 1) {o})",
        "(table.get $it (i32.const 1))",
    ),
    "field": (
        "(global $box (mut (ref null $box)) (ref.null $box))",
        "(global.set $box (struct.new $box {o} (i32.const 1)))",
        "(struct.get $box 0 (global.get $box))",
    ),
    "field of an old object": (
        "(global $old (ref $box) (struct.new $box (ref.null $s) (i32.const 1)))",
        "(struct.set $box 0 (global.get $old) {o})",
        "(struct.get $box 0 (global.get $old))",
    ),
    "array": (
        "(global $arr (mut (ref null $arr)) (ref.null $arr))",
        "(global.set $arr (array.new $arr {o} (i32.const 3)))",
        "(array.get $arr (global.get $arr) (i32.const 2))",
    ),
    "exception": (
        "(global $exn (mut exnref) (ref.null exn))",
        "(global.set $exn"
        " (block $h (result exnref) (try_table (catch_all_ref $h) (throw $tag {o})) unreachable))",
        "(block $h (result (ref null $s))"
        " (try_table (catch $tag $h) (throw_ref (global.get $exn))) unreachable)",
    ),
    "table of exceptions": (
        "(table $et 2 exnref)",
        "(table.set $et (i32.const 1)"
        " (block $h (result exnref) (try_table (catch_all_ref $h) (throw $tag {o})) unreachable))",
        "(block $h (result (ref null $s))"
        " (try_table (catch $tag $h) (throw_ref (table.get $et (i32.const 1)))) unreachable)",
    ),
}
BORN = [name for name, (_, put, _) in ROOTS.items() if not put]


def module(first: str, second: str) -> str:
    """A module in which two roots hold the same object, which is changed after both do."""
    names = (first, second)
    new = "(struct.new $s (i32.const 5) (ref.null any))"
    definitions = " ".join(ROOTS[name][0].format(new=new) for name in names)
    born = next((name for name in names if name in BORN), None)
    start = ROOTS[born][2] if born else new
    puts = " ".join(ROOTS[name][1].format(o="(ref.as_non_null (local.get $o))") for name in names)
    return f"""(module (type $s (struct (field (mut i32)) (field (mut anyref))))
        (type $box (struct (field (mut (ref null $s))) (field i32))) (type $arr (array (mut (ref null $s))))
        (tag $tag (param (ref null $s))) {definitions}
        (func (export "init") (local $o (ref null $s)) (local.set $o {start}) {puts}
          (struct.set $s 0 (local.get $o) (i32.const 77)) (struct.set $s 1 (local.get $o) (local.get $o)))
        (func $a (result (ref null $s)) {ROOTS[first][2]}) (func $b (result (ref null $s)) {ROOTS[second][2]})
        (func (export "same") (result i32) (ref.eq (call $a) (call $b)))
        (func (export "value") (result i32) (struct.get $s 0 (call $a)))
        (func (export "self") (result i32) (ref.eq (ref.cast eqref (struct.get $s 1 (call $b))) (call $a)))
        (func (export "set") (struct.set $s 0 (call $a) (i32.const 3)))
        (func (export "other") (result i32) (struct.get $s 0 (call $b))))"""


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in combinations(ROOTS, 2) if not set(pair) <= set(BORN)],
)
def test_two_roots_of_one_object(first: str, second: str) -> None:
    survives(module(first, second), "same", "value", "self", "set", "other")


@pytest.mark.parametrize("reftype", ["(ref $s)", "(ref null $s)", "anyref", "externref"])
def test_an_imported_immutable_global_holds_an_object_of_its_owner(reftype: str) -> None:
    """The object is neither copied nor written to: it is referred to by the global's name."""
    up, down = ("(extern.convert_any ", "(any.convert_extern ") if reftype == "externref" else ("(", "(")
    new = "struct.new $s (i32.const 1)"
    lib = f"""(module (type $s (struct (field (mut i32)))) (global $g (export "g") {reftype}
        {f"{up}({new}))" if up != "(" else f"({new})"}))"""
    got = f"{down}(global.get $g))" if down != "(" else "(global.get $g)"
    wat = f"""(module (type $s (struct (field (mut i32)))) (import "lib" "g" (global $g {reftype}))
        (global $own (mut (ref null $s)) (ref.null $s)) (table $t 2 anyref)
        (func (export "init") (local $o (ref null $s)) (local.set $o (ref.cast (ref $s) {got}))
          (global.set $own (local.get $o)) (table.set $t (i32.const 1) (local.get $o))
          (struct.set $s 0 (local.get $o) (i32.const 50)))
        (func (export "same") (result i32) (i32.add
          (ref.eq (global.get $own) (ref.cast eqref {got}))
          (ref.eq (ref.cast eqref (table.get $t (i32.const 1))) (global.get $own))))
        (func (export "value") (result i32) (struct.get $s 0 (global.get $own))))"""
    snapshot = frozen(wat, imports={"lib": lib})
    provider = Guest(binary(lib))
    guest = Guest(snapshot, {"lib": {"g": provider.export("g")}}, provider.store)
    assert (guest("same"), guest("value")) == (2, 1), "the owner's object keeps its own state"


def test_an_object_deep_inside_an_imported_immutable_global() -> None:
    node = "(type $n (struct (field i32) (field (mut (ref null $n)))))"
    lib = f"""(module {node} (global $g (export "g") (ref $n) (struct.new $n (i32.const 0) (ref.null $n)))
        (start $fill)
        (func $fill (local $i i32) (local $last (ref $n)) (local.set $last (global.get $g))
          (loop $more (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (struct.set $n 1 (local.get $last) (struct.new $n (local.get $i) (ref.null $n)))
            (local.set $last (ref.as_non_null (struct.get $n 1 (local.get $last))))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 3000))))))"""
    wat = f"""(module {node} (import "lib" "g" (global $g (ref $n)))
        (global $own (mut (ref null $n)) (ref.null $n))
        (func (export "init") (local $at (ref $n)) (local.set $at (global.get $g))
          (loop $more (local.set $at (ref.as_non_null (struct.get $n 1 (local.get $at))))
            (br_if $more (i32.lt_u (struct.get $n 0 (local.get $at)) (i32.const 2500))))
          (global.set $own (local.get $at)))
        (func (export "value") (result i32) (struct.get $n 0 (global.get $own))))"""
    snapshot = frozen(wat, imports={"lib": lib})
    provider = Guest(binary(lib))
    assert Guest(snapshot, {"lib": {"g": provider.export("g")}}, provider.store)("value") == 2500


def test_a_host_object_in_an_imported_immutable_global_is_referred_to_by_it() -> None:
    import wasmtime

    from support.engine import engine
    from wizer import Wizer

    wat = """(module (import "lib" "g" (global $g externref)) (table $t 2 externref)
        (func (export "init") (table.set $t (i32.const 1) (global.get $g)))
        (func (export "get") (result externref) (table.get $t (i32.const 1))))"""
    store = wasmtime.Store(engine())
    thing = "a host object"
    extern = wasmtime.Global(
        store, wasmtime.GlobalType(wasmtime.ValType.externref(), False), wasmtime.Val.externref(thing)
    )
    instrumented = Wizer().instrument(wat)
    live = Guest(instrumented.wasm, {"lib": {"g": extern}}, store)
    live("init")
    snapshot = instrumented.snapshot(store, live.instance)
    assert Guest(snapshot, {"lib": {"g": extern}}, store)("get") == thing


def test_an_object_of_another_module_that_no_global_names_is_an_error() -> None:
    lib = """(module (type $foreign (struct (field i64 i64))) (func (export "make") (result anyref)
        (struct.new $foreign (i64.const 1) (i64.const 2))))"""
    wat = """(module (import "lib" "make" (func $make (result anyref))) (global $g (mut anyref)
      (ref.null any))
        (func (export "init") (global.set $g (call $make))))"""
    with Session(wat, imports={"lib": lib}) as session:
        session.call("init")
        with pytest.raises(StateError, match=r'global 0 \("g"\) holds an object of the host or of a type'):
            session.snapshot()


def test_an_exception_of_another_modules_tag_is_an_error() -> None:
    lib = """(module (tag $t) (func (export "make") (result exnref)
        (block $h (result exnref) (try_table (catch_all_ref $h) (throw $t)) unreachable)))"""
    wat = """(module (import "lib" "make" (func $make (result exnref))) (global $g (mut exnref)
      (ref.null exn))
        (func (export "init") (global.set $g (call $make))))"""
    with Session(wat, imports={"lib": lib}) as session:
        session.call("init")
        with pytest.raises(StateError, match=r'global 0 \("g"\) holds an exception whose tag'):
            session.snapshot()


def test_an_exception_of_an_imported_tag_is_carried() -> None:
    survives(
        """(module (import "env" "tag" (tag $t (param i32))) (global $g (mut exnref) (ref.null exn))
             (func (export "init") (global.set $g (block $h (result exnref)
               (try_table (catch_all_ref $h) (throw $t (i32.const 6))) unreachable)))
             (func (export "get") (result i32) (block $h (result i32)
               (try_table (catch $t $h) (throw_ref (global.get $g))) unreachable)))""",
        "get",
    )


def test_the_same_exception_in_two_places_stays_catchable_in_both() -> None:
    survives(
        """(module (tag $t (param i32 externref v128)) (global $g (mut exnref) (ref.null exn))
          (table $x 2 exnref)
             (func (export "init") (global.set $g (block $h (result exnref) (try_table (catch_all_ref $h)
               (throw $t (i32.const 6) (ref.null extern) (v128.const i64x2 7 8))) unreachable))
               (table.set $x (i32.const 1) (global.get $g)))
             (func $get (param exnref) (result i32 externref v128) (block $h (result i32 externref v128)
               (try_table (catch $t $h) (throw_ref (local.get 0))) unreachable))
             (func (export "a") (result i32 externref v128) (call $get (global.get $g)))
             (func (export "b") (result i32 externref v128) (call $get (table.get $x (i32.const 1)))))""",
        *("a", "b"),
    )


def test_objects_held_by_a_passive_segment_only() -> None:
    survives(
        """(module (type $s (struct (field (mut i32)))) (table $t 2 (ref null $s))
             (elem $e (ref null $s) (item (struct.new $s (i32.const 1))) (item (ref.null $s)) (item
               (global.get $g)))
             (global $g (ref $s) (struct.new $s (i32.const 2)))
             (func (export "init") (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
               (struct.set $s 0 (table.get $t (i32.const 0)) (i32.const 44))
               (table.set $t (i32.const 0) (ref.null $s)) (struct.set $s 0 (global.get $g) (i32.const 55)))
             (func (export "get") (param i32) (result i32)
               (table.init $t $e (i32.const 0) (local.get 0) (i32.const 1))
               (struct.get $s 0 (table.get $t (i32.const 0)))))""",
        *(("get", 0), ("get", 2), ("get", 1), ("get", 3)),
    )


def test_mutated_objects_of_immutable_globals() -> None:
    survives(
        """(module (type $s (struct (field (mut i32)) (field (mut anyref)))) (type $a (array (mut i8)))
             (global $s (ref $s) (struct.new $s (i32.const 1) (ref.null any)))
             (global $a (export "a") (ref $a) (array.new $a (i32.const 1) (i32.const 4)))
             (func (export "init") (struct.set $s 0 (global.get $s) (i32.const 9))
               (struct.set $s 1 (global.get $s) (global.get $a))
               (array.set $a (global.get $a) (i32.const 2) (i32.const 200)))
             (func (export "s") (result i32) (struct.get $s 0 (global.get $s)))
             (func (export "same") (result i32)
               (ref.eq (ref.cast eqref (struct.get $s 1 (global.get $s))) (global.get $a)))
             (func (export "e") (param i32) (result i32) (array.get_u $a (global.get $a) (local.get 0))))""",
        *("s", "same", ("e", 1), ("e", 2)),
    )


def test_an_exception_that_its_payload_holds() -> None:
    survives(
        """(module (type $s (struct (field (mut exnref)) (field i32))) (tag $t (param anyref))
             (global $g (mut exnref) (ref.null exn))
             (func (export "init") (local $x (ref null $s)) (local $e exnref)
               (local.set $x (struct.new $s (ref.null exn) (i32.const 5)))
               (local.set $e (block $h (result exnref)
                 (try_table (catch_all_ref $h) (throw $t (local.get $x))) unreachable))
               (struct.set $s 0 (local.get $x) (local.get $e)) (global.set $g (local.get $e)))
             (func $payload (param exnref) (result (ref $s)) (ref.cast (ref $s) (block $h (result anyref)
               (try_table (catch $t $h) (throw_ref (local.get 0))) unreachable)))
             (func (export "same") (result i32) (ref.eq (call $payload (global.get $g))
               (call $payload (struct.get $s 0 (call $payload (global.get $g)))))))""",
        "same",
    )


def test_a_placeholder_that_holds_a_function() -> None:
    survives(
        """(module (type $s (struct (field (mut (ref func))))) (func $f)
             (global $g (mut (ref $s)) (struct.new $s (ref.func $f)))
             (table 2 (ref $s) (struct.new $s (ref.func $f)))
             (func (export "init") (table.set (i32.const 0) (global.get $g)))
             (func (export "same") (result i32) (ref.eq (table.get (i32.const 0)) (global.get $g)))
             (func (export "other") (result i32) (ref.eq (table.get (i32.const 1)) (global.get $g))))""",
        *("same", "other"),
    )
