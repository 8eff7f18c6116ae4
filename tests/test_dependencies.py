"""Without rich, all is there in plain text; without numpy, most modules are frozen, and the rest says so."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from support.command import Tool, environment
from support.engine import binary

SMALL = """(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 0))
  (func (export "wizer-initialize") (global.set $g (i32.const 7)) (i32.store (i32.const 8) (i32.const 9))))"""
FILLED = """(module (memory (export "memory") 200)
  (func (export "wizer-initialize") (memory.fill (i32.const 0) (i32.const 1) (i32.const 10000000))))"""
IN_PIECES = """(module (memory (export "memory") 500)
  (func (export "wizer-initialize") (local $at i32)
    (loop $more
      (i32.store8 (local.get $at) (i32.const 1))
      (br_if $more
        (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 12))) (i32.const 30000000))))))"""

HIDING = """import sys
class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name in ("rich", "numpy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hiding())
"""


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """An environment for processes in which neither can be imported."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(HIDING, "utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "hidden"), environment()["PYTHONPATH"]])}


def test_most_modules_are_frozen(tmp_path: Path, without: dict[str, str]) -> None:
    wizer = Tool([sys.executable, "-m", "wizer"], tmp_path)
    (tmp_path / "in.wasm").write_bytes(binary(SMALL))
    (tmp_path / "filled.wasm").write_bytes(binary(FILLED))
    for args in (
        ("filled.wasm", "-o", "out.wasm"),
        ("in.wasm", "-o", "out.wasm", "-v"),
        ("--help",),
        ("--version",),
    ):
        ended = wizer(*args, env=without)
        assert ended.status == 0, ended.stderr
    assert (tmp_path / "out.wasm").stat().st_size > 0


@pytest.mark.parametrize(
    "args",
    [
        ("large.wasm", "-o", "out.wasm"),
        ("large.wasm", "-o", "out.wasm", "--verify"),
        ("absent.wasm", "-o", "out.wasm", "--report", "out.html"),
        ("absent.wasm", "-o", "out.wasm", "--warn-frozen"),
        ("absent.wasm", "-o", "out.wasm", "--verify"),
        ("verify", "large.wasm", "large.wasm"),
        ("audit", "large.wasm"),
        ("inspect", "large.wasm"),
        ("diff", "large.wasm", "large.wasm"),
    ],
)
def test_what_takes_numpy_says_so(tmp_path: Path, without: dict[str, str], args: tuple[str, ...]) -> None:
    wizer = Tool([sys.executable, "-m", "wizer"], tmp_path)
    (tmp_path / "large.wasm").write_bytes(binary(IN_PIECES))
    ended = wizer(*args, env=without)
    assert ended.status == 1
    assert "this takes numpy, which is not installed: `pip install numpy`" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "out.wasm").exists()
