"""What comes out passes Binaryen's optimiser wherever what goes in does."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.guest import frozen

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
    if WASM_OPT is None:
        pytest.skip("WASM_OPT names no wasm-opt, and none is on PATH")
    (tmp_path / "in.wasm").write_bytes(snapshot)
    command = [WASM_OPT, "in.wasm", "--all-features", "-O1", "-o", "out.wasm"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
