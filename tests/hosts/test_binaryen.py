"""What comes out passes Binaryen's optimiser wherever what goes in does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.guest import frozen
from wizer import Session

# npm install binaryen; its programs are in node_modules/.bin
WASM_OPT = os.environ.get("WASM_OPT") or shutil.which("wasm-opt")

DECLARATIVE = """(module (type $f (func (param i32) (result i32)))
 (type $n (struct (field (mut (ref null $n))) (field (ref $f)) (field i32)))
 (global $h (mut (ref null $n)) (ref.null $n))
 (func $x (type $f) (local.get 0)) (elem declare func $x)
 (func (export "setup") (param i32) (loop $l
    (global.set $h (struct.new $n (global.get $h) (ref.func $x) (local.get 0)))
    (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if $l (local.get 0))))
 (func (export "get") (result i32) (struct.get $n 2 (global.get $h))))"""


@pytest.mark.parametrize("objects", [100, 2000])
def test_a_segment_is_dropped_only_where_instantiation_does_not(objects: int, tmp_path: Path) -> None:
    """Binaryen miscounts segments behind a declarative one, and refuses an `elem.drop` of the last."""
    snapshot = frozen(DECLARATIVE, ("setup", objects))
    assert b"\xfc\x0d\x01\x0b" not in snapshot, "elem.drop 1, the end of a body"
    optimise(snapshot, tmp_path)


def optimise(wasm: bytes, folder: Path) -> bytes:
    """Have Binaryen read and write a module."""
    if WASM_OPT is None:
        pytest.skip("WASM_OPT names no wasm-opt, and none is on PATH")
    (folder / "in.wasm").write_bytes(wasm)
    command = [WASM_OPT, "in.wasm", "--all-features", "-O1", "-o", "out.wasm"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (folder / "out.wasm").read_bytes()


PLAIN = """(module (memory (export "memory") 1) (data $gone "abc") (data (i32.const 8) "kept")
  (global $g (mut i64) (i64.const 0)) (start $start) (func $start (global.set $g (i64.const 1)))
  (func (export "setup") (param i32)
    (memory.init $gone (i32.const 100) (i32.const 0) (i32.const 3)) (data.drop $gone)
    (drop (memory.grow (i32.const 1))) (i32.store (i32.const 70000) (local.get 0))
    (global.set $g (i64.const 7)))
  (func (export "get") (result i32)
    (i32.add (i32.wrap_i64 (global.get $g))
      (i32.add (i32.load (i32.const 70000)) (i32.load8_u (i32.const 101))))))"""
MVP = """(module (memory (export "memory") 1) (data (i32.const 8) "kept") (global $g (mut f64) (f64.const 0))
  (table 4 funcref) (elem (i32.const 1) $get) (type $t (func (result i32)))
  (func (export "setup") (param i32) (i32.store (i32.const 20) (local.get 0)) (global.set $g (f64.const 2.5)))
  (func $get (export "get") (result i32)
    (i32.add (i32.load (i32.const 20)) (i32.trunc_f64_s (global.get $g)))))"""
FUNCREF = """(module (type $t (func (result i32)))
  (table $a 3 funcref) (table $b 2 8 (ref null $t)) (elem (table $a) (i32.const 0) func $one $two)
  (elem $passive (ref null $t) (ref.func $one) (ref.null $t)) (elem declare func $three)
  (global $g (mut (ref null $t)) (ref.null $t))
  (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
  (func $three (result i32) (i32.const 3))
  (func (export "setup") (param i32)
    (table.set $a (i32.const 0) (ref.func $three)) (table.set $a (i32.const 2) (ref.func $two))
    (drop (table.grow $b (ref.func $two) (i32.const 2)))
    (table.init $b $passive (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $passive)
    (global.set $g (ref.func $three)))
  (func (export "get") (result i32) (i32.add (call_ref $t (global.get $g))
    (i32.add (call_indirect $a (type $t) (i32.const 0)) (call_indirect $b (type $t) (i32.const 3))))))"""


@pytest.mark.parametrize("wat", [PLAIN, MVP, FUNCREF], ids=["plain", "MVP", "funcref"])
def test_snapshots_pass_and_stay_what_they_are(wat: str, tmp_path: Path) -> None:
    optimised = optimise(frozen(wat, ("setup", 11)), tmp_path)
    with Session(optimised) as session:
        found = session.call("get")
    assert found == {PLAIN: 7 + 11 + ord("b"), MVP: 13, FUNCREF: 3 + 3 + 2}[wat]
