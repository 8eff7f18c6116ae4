"""Every kind of state inside a component survives."""

from __future__ import annotations

import pytest

from support.components import Running, frozen, validate
from support.engine import binary
from wizer import Session
from wizer.errors import StateError


def component(module: str, *functions: str, extra: str = "") -> bytes:
    """A component around one module, whose functions ``init`` and the given ones are lifted."""
    lifted = "".join(
        f'(func (export "{name}") (result {result}) (canon lift (core func $i "{name}")))'
        for name, _, result in (function.partition(":") for function in functions)
    )
    return binary(
        f"""(component (core module $m {module}) (core instance $i (instantiate $m))
            (func (export "wizer-initialize") (canon lift (core func $i "init"))) {lifted} {extra})"""
    )


def test_numeric_globals_keep_their_bits() -> None:
    snapshot = frozen(
        component(
            """(global $a (mut i32) (i32.const 0)) (global $b (mut i64) (i64.const 0))
               (global $c (mut f32) (f32.const 0)) (global $d (mut f64) (f64.const 0))
               (func (export "init")
                 (global.set $a (i32.const -2)) (global.set $b (i64.const -3))
                 (global.set $c (f32.const nan:0x200001)) (global.set $d (f64.const -nan:0x4000000000001)))
               (func (export "a") (result i32) (global.get $a))
               (func (export "b") (result i64) (global.get $b))
               (func (export "c") (result i32) (i32.reinterpret_f32 (global.get $c)))
               (func (export "d") (result i64) (i64.reinterpret_f64 (global.get $d)))""",
            "a:s32",
            "b:s64",
            "c:u32",
            "d:u64",
        )
    )
    run = Running(snapshot)
    assert [run("a"), run("b"), run("c"), run("d")] == [-2, -3, 0x7FA00001, 0xFFF4000000000001]
    assert not run.exports("wizer-initialize")


def test_v128_global() -> None:
    snapshot = frozen(
        component(
            """(global $v (mut v128) (v128.const i64x2 0 0))
               (func (export "init") (global.set $v (v128.const i64x2 0x1122334455667788 -2)))
               (func (export "low") (result i64) (i64x2.extract_lane 0 (global.get $v)))
               (func (export "high") (result i64) (i64x2.extract_lane 1 (global.get $v)))""",
            "low:s64",
            "high:s64",
        )
    )
    run = Running(snapshot)
    assert (run("low"), run("high")) == (0x1122334455667788, -2)


def test_memories_64_bit_several_and_grown() -> None:
    snapshot = frozen(
        component(
            """(memory $a 1) (memory $b i64 1 10)
               (func (export "init")
                 (i32.store $a (i32.const 65000) (i32.const 7))
                 (drop (memory.grow $b (i64.const 2)))
                 (i32.store $b (i64.const 190000) (i32.const 8)))
               (func (export "a") (result i32) (i32.load $a (i32.const 65000)))
               (func (export "b") (result i32) (i32.load $b (i64.const 190000)))
               (func (export "size") (result i32) (i32.wrap_i64 (memory.size $b)))""",
            "a:s32",
            "b:s32",
            "size:s32",
        )
    )
    run = Running(snapshot)
    assert (run("a"), run("b"), run("size")) == (7, 8, 3)


def test_tables_set_and_grown() -> None:
    snapshot = frozen(
        component(
            """(type $f (func (result i32))) (table $t 2 10 funcref)
               (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
               (elem (i32.const 0) $one)
               (func (export "init")
                 (drop (table.grow $t (ref.func $two) (i32.const 3)))
                 (table.set $t (i32.const 0) (ref.null func)))
               (elem declare func $two)
               (func (export "size") (result i32) (table.size $t))
               (func (export "zero") (result i32) (ref.is_null (table.get $t (i32.const 0))))
               (func (export "four") (result i32) (call_indirect $t (type $f) (i32.const 4)))""",
            "size:s32",
            "zero:s32",
            "four:s32",
        )
    )
    run = Running(snapshot)
    assert (run("size"), run("zero"), run("four")) == (5, 1, 2)


def test_reference_globals() -> None:
    snapshot = frozen(
        component(
            """(type $f (func (result i32))) (global $g (mut funcref) (ref.null func)) (table $t 1 funcref)
               (func $seven (type $f) (i32.const 7)) (elem declare func $seven)
               (func (export "init") (global.set $g (ref.func $seven)))
               (func (export "call") (result i32)
                 (table.set $t (i32.const 0) (global.get $g))
                 (call_indirect $t (type $f) (i32.const 0)))""",
            "call:s32",
        )
    )
    assert Running(snapshot)("call") == 7


def test_garbage_collected_objects() -> None:
    snapshot = frozen(
        component(
            """(type $node (struct (field $v (mut i32)) (field $next (mut (ref null $node)))))
               (global $g (mut (ref null $node)) (ref.null $node))
               (func (export "init") (local $n (ref $node))
                 (local.set $n (struct.new $node (i32.const 5) (ref.null $node)))
                 (struct.set $node $next (local.get $n) (local.get $n))
                 (global.set $g (struct.new $node (i32.const 4) (local.get $n))))
               (func (export "sum") (result i32)
                 (i32.add (struct.get $node $v (global.get $g))
                   (struct.get $node $v (struct.get $node $next (struct.get $node $next (global.get $g))))))
               (func (export "cycle") (result i32)
                 (ref.eq (struct.get $node $next (global.get $g))
                   (struct.get $node $next (struct.get $node $next (global.get $g)))))""",
            "sum:s32",
            "cycle:s32",
        )
    )
    run = Running(snapshot)
    assert (run("sum"), run("cycle")) == (9, 1)


def test_start_function_runs_once() -> None:
    snapshot = frozen(
        component(
            """(memory 1)
               (func $bump (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
               (start $bump) (func (export "init"))
               (func (export "count") (result i32) (i32.load (i32.const 0)))""",
            "count:s32",
        )
    )
    assert Running(snapshot)("count") == 1


def test_memory_and_global_of_another_instance() -> None:
    wasm = binary(
        """(component
          (core module $owner (memory (export "m") 1) (global (export "g") (mut i32) (i32.const 1))
            (data (i32.const 0) "owner..."))
          (core module $user (memory (import "o" "m") 1) (global $g (import "o" "g") (mut i32))
            (data (i32.const 2) "user")
            (func (export "init") (i32.store8 (i32.const 2) (i32.const 0x21)) (global.set $g (i32.const 9)))
            (func (export "at") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func (export "g") (result i32) (global.get $g)))
          (core instance $o (instantiate $owner))
          (core instance $u (instantiate $user (with "o" (instance $o))))
          (func (export "wizer-initialize") (canon lift (core func $u "init")))
          (func (export "at") (param "i" u32) (result u32) (canon lift (core func $u "at")))
          (func (export "g") (result u32) (canon lift (core func $u "g"))))"""
    )
    run = Running(frozen(wasm))
    assert bytes(run("at", i) for i in range(8)) == b"ow!ser.."
    assert run("g") == 9


SHIM = """
  (core module $shim (type $f (func (result i32))) (table (export "t") 3 3 funcref)
    (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))
  (core module $fix (table (import "s" "t") 3 3 funcref)
    (func $one (import "p" "one") (result i32)) (func $two (import "p" "two") (result i32))
    (elem (i32.const 0) $one $two))
  (core module $parts (global $n (mut i32) (i32.const 10))
    (func (export "init") (global.set $n (i32.const 20)))
    (func (export "one") (result i32) (i32.add (global.get $n) (i32.const 1)))
    (func (export "two") (result i32) (i32.add (global.get $n) (i32.const 2))))
  (core instance $s (instantiate $shim))
  (core instance $p (instantiate $parts))
  (core instance $x (instantiate $fix (with "s" (instance $s)) (with "p" (instance $p))))
  (func (export "wizer-initialize") (canon lift (core func $p "init")))
  (func (export "call") (param "i" u32) (result u32) (canon lift (core func $s "call")))
"""


def test_table_filled_by_another_instance_is_left_as_it_is() -> None:
    wasm = binary(f"(component {SHIM})")
    snapshot = frozen(wasm)
    run = Running(snapshot)
    assert (run("call", 0), run("call", 1)) == (21, 22)
    shim = binary(
        SHIM[SHIM.index("(core module $fix") : SHIM.index("(core module $parts")]
        .strip()[5:-1]
        .join(("(", ")"))
    )
    assert shim in snapshot


def test_table_changed_by_another_instance() -> None:
    wasm = binary(
        """(component
          (core module $shim (type $f (func (result i32))) (table (export "t") 4 funcref)
            (func $own (result i32) (i32.const 100)) (elem (i32.const 2) $own $own)
            (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))
          (core module $fix (table (import "s" "t") 4 funcref)
            (elem (i32.const 0) $a $a) (elem declare func $b)
            (func $a (result i32) (i32.const 1)) (func $b (result i32) (i32.const 2))
            (func (export "init")
              (table.set (i32.const 0) (table.get (i32.const 2)))
              (table.set (i32.const 2) (ref.func $b))
              (table.set (i32.const 3) (ref.null func))))
          (core instance $s (instantiate $shim))
          (core instance $x (instantiate $fix (with "s" (instance $s))))
          (func (export "wizer-initialize") (canon lift (core func $x "init")))
          (func (export "call") (param "i" u32) (result u32) (canon lift (core func $s "call"))))"""
    )
    run = Running(frozen(wasm))
    assert [run("call", i) for i in range(3)] == [100, 1, 2]
    with pytest.raises(wasmtime_error(), match="uninitialized element"):
        run("call", 3)


LIBRARY = """(core module $%(name)s (memory (import "env" "memory") 1)
    (table (import "env" "table") 1 funcref)
    (global $t (import "env" "table_base%(name)s") i32) (global $m (import "env" "memory_base%(name)s") i32)
    (type $f (func (result i32)))
    (func $own (result i32) (i32.load8_u (global.get $m)))
    (elem (global.get $t) func $own) (data (global.get $m) "%(name)s")
    (func (export "init")
      (i32.store8 (global.get $m) (i32.add (i32.const 1) (i32.load8_u (global.get $m)))))
    (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))"""


def test_libraries_that_share_a_memory_and_a_table() -> None:
    wasm = binary(
        f"""(component
          (core module $env (memory (export "memory") 1) (table (export "table") 8 funcref)
            (global (export "table_basea") i32 (i32.const 2))
            (global (export "table_baseb") i32 (i32.const 4))
            (global (export "memory_basea") i32 (i32.const 100))
            (global (export "memory_baseb") i32 (i32.const 200)))
          {LIBRARY % {"name": "a"}} {LIBRARY % {"name": "b"}}
          (core instance $env (instantiate $env))
          (core instance $a (instantiate $a (with "env" (instance $env))))
          (core instance $b (instantiate $b (with "env" (instance $env))))
          (func (export "init-a") (canon lift (core func $a "init")))
          (func (export "init-b") (canon lift (core func $b "init")))
          (func (export "call") (param "i" u32) (result u32) (canon lift (core func $a "call"))))"""
    )
    run = Running(frozen(wasm, ["init-a", "init-b", "init-b"]))
    assert (run("call", 2), run("call", 4)) == (ord("a") + 1, ord("b") + 2)


def wasmtime_error() -> type[Exception]:
    import wasmtime

    return wasmtime.WasmtimeError


def test_function_that_nobody_can_name() -> None:
    wasm = binary(
        """(component
          (core module $a (func $secret) (elem declare func $secret)
            (func (export "give") (result funcref) (ref.func $secret)))
          (core module $b (func $give (import "a" "give") (result funcref)) (table $handlers 3 funcref)
            (func (export "init") (table.set $handlers (i32.const 1) (call $give))))
          (core instance $i (instantiate $a))
          (core instance $j (instantiate $b (with "a" (instance $i))))
          (func (export "wizer-initialize") (canon lift (core func $j "init"))))"""
    )
    with Session(wasm) as session:
        session.call("wizer-initialize")
        with pytest.raises(
            StateError, match=r'core instance 1 \("j"\): table 0 .*element 1 holds a function'
        ):
            session.snapshot()


def test_object_that_two_instances_hold() -> None:
    wasm = binary(
        """(component
          (core module $a (type $s (struct (field (mut i32)))) (global $g (mut (ref null $s)) (ref.null $s))
            (func (export "make") (global.set $g (struct.new $s (i32.const 1))))
            (func (export "give") (result anyref) (global.get $g)))
          (core module $b (func $give (import "a" "give") (result anyref))
            (type $s (struct (field (mut i32)))) (global $g (mut anyref) (ref.null any))
            (func (export "take") (global.set $g (call $give))))
          (core instance $i (instantiate $a))
          (core instance $j (instantiate $b (with "a" (instance $i))))
          (func (export "make") (canon lift (core func $i "make")))
          (func (export "take") (canon lift (core func $j "take"))))"""
    )
    frozen(wasm, "make", keep=True)
    with Session(wasm) as session:
        session.call("make")
        session.call("take")
        with pytest.raises(
            StateError, match=r'instance 0 \("i"\) and core instance 1 \("j"\) hold the same object'
        ):
            session.snapshot()


@pytest.mark.parametrize("mutable", [False, True])
def test_object_of_an_imported_global(mutable: bool) -> None:
    globaltype = "(mut (ref null $s))" if mutable else "(ref $s)"
    take = "" if mutable else "(global.set $h (global.get $g))"
    place = "$g" if mutable else "$h"
    wasm = binary(
        f"""(component
          (core module $a (type $s (struct (field (mut i32))))
            (global $g (export "g") {globaltype} (struct.new $s (i32.const 1)))
            (func (export "set") (struct.set $s 0 (global.get $g) (i32.const 5)))
            (func (export "get") (result i32) (struct.get $s 0 (global.get $g))))
          (core module $b (type $s (struct (field (mut i32)))) (global $g (import "a" "g") {globaltype})
            (global $h (mut (ref null $s)) (ref.null $s))
            (func (export "take") {take})
            (func (export "set") (struct.set $s 0 (global.get {place}) (i32.const 6))))
          (core instance $i (instantiate $a))
          (core instance $j (instantiate $b (with "a" (instance $i))))
          (func (export "take") (canon lift (core func $j "take")))
          (func (export "set-a") (canon lift (core func $i "set")))
          (func (export "set-b") (canon lift (core func $j "set")))
          (func (export "get") (result u32) (canon lift (core func $i "get"))))"""
    )
    run = Running(frozen(wasm, ["take", "set-a"]))
    assert run("get") == 5
    run("set-b")
    assert run("get") == 6


DROPPING = """(memory 1) (table $t 3 funcref) (type $f (func (result i32)))
  (func $five (type $f) (i32.const 5))
  (data $kept "kept") (data $gone "gone") (data $twice "ab") (elem $e func $five) (elem $k func $five)
  (func (export "init") (local v128 i32)
    (drop (i64.const 0x0d0c0b0a090d09fc))
    (if (i32.const 1) (then (data.drop $gone) (data.drop $twice) (elem.drop $e)) (else (data.drop $kept)))
    (data.drop $twice))
  (func (export "data") (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (memory.init $kept (i32.const 0) (i32.const 0) (i32.const 4))))
    (if (i32.eq (local.get 0) (i32.const 1))
      (then (memory.init $gone (i32.const 0) (i32.const 0) (i32.const 1))))
    (if (i32.eq (local.get 0) (i32.const 2))
      (then (memory.init $twice (i32.const 0) (i32.const 0) (i32.const 1))))
    (if (i32.eq (local.get 0) (i32.const 3))
      (then (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))))
    (if (i32.eq (local.get 0) (i32.const 4))
      (then (table.init $t $k (i32.const 0) (i32.const 0) (i32.const 1))))
    (i32.const 1))"""


def test_dropped_segments() -> None:
    wasm = component(
        DROPPING,
        extra='(func (export "data") (param "which" u32) (result u32) (canon lift (core func $i "data")))',
    )
    with Session(wasm) as session:
        session.call("wizer-initialize")
        first = session.snapshot()
        session.call("data", 0)  # looking for dropped segments did not close the component
        validate(session.snapshot())
    assert [works(first, which) for which in range(5)] == [True, False, False, False, True]
    assert [works(frozen(wasm), which) for which in range(5)] == [True, False, False, False, True]
    assert [works(frozen(wasm, "data(0)", keep=True), which) for which in range(5)] == [True] * 5


def works(wasm: bytes, which: int) -> bool:
    """Whether a segment is there; a trap closes the component, so each is tried in a new one."""
    run = Running(wasm)
    try:
        return bool(run("data", which) == 1)
    except wasmtime_error() as error:
        if "out of bounds" not in str(error):
            raise
        return False
