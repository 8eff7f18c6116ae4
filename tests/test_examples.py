"""What the README says, and the examples, run as a reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

import wizer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")

APP = """
(module
  (memory (export "memory") 1)
  (global (export "width") (mut i32) (i32.const 0))
  (func (export "wizer-initialize") (i32.store (i32.const 0) (i32.const 42)))
  (func (export "set_size") (param i32 i32) (global.set 0 (local.get 0)))
  (func (export "load_tables") (i32.store (i32.const 4) (global.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))
"""

SEEDED = """
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (global $started (mut i64) (i64.const 0))
  (func (export "wizer-initialize")
    (drop (call $random_get (i32.const 1024) (i32.const 16)))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 8)))
    (global.set $started (i64.load (i32.const 8)))
    (i64.store (i32.const 8) (i64.const 0))))
"""


def block(name: str) -> str:
    """Return the code of the README's block that is marked ``<!-- name -->``."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```\n", README, re.DOTALL)
    assert found is not None, f"README.md has no block `{name}`"
    return found[1]


def shell(script: str, folder: Path) -> None:
    """Run a script with this Python's programs in front of the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def load(wasm: Path, address: int) -> object:
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    instance = wasmtime.Instance(store, wasmtime.Module.from_file(engine, str(wasm)), [])
    function = instance.exports(store)["load"]
    assert isinstance(function, wasmtime.Func)
    return function(store, address)


def run_example(*command: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_readme_command_line(tmp_path: Path) -> None:
    (tmp_path / "app.wat").write_text(APP)
    shell(block("checked: command line"), tmp_path)
    assert load(tmp_path / "app.wasm", 0) == 42
    assert load(tmp_path / "ready.wasm", 4) == 640
    assert load(tmp_path / "frozen.wasm", 0) == 42


def test_readme_audit(tmp_path: Path) -> None:
    (tmp_path / "seeded.wat").write_text(SEEDED)
    command, _, said = block("checked: audit").removeprefix("$ ").partition("\n")
    shell(f"status=0; {command} > said || status=$?; test $status = 3", tmp_path)
    assert (tmp_path / "said").read_text() == said
    shell(block("checked: deterministic"), tmp_path)
    assert (tmp_path / "frozen.wasm").exists()


def test_readme_c(tmp_path: Path) -> None:
    (tmp_path / "program.c").write_text(block("checked: C"))
    script = "".join(
        line for line in block("checked: compiling C").splitlines(True) if not line.startswith("pip install")
    )
    shell(script, tmp_path)
    names = {
        export.name
        for export in wasmtime.Module.from_file(wasmtime.Engine(), str(tmp_path / "frozen.wasm")).exports
    }
    assert names == {"memory", "_start"}


def test_readme_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block("checked: library"), names)
    exec(block("checked: instrument"), names)

    def count(wasm: object) -> object:
        assert isinstance(wasm, bytes)
        with wizer.Session(wasm) as session:
            return session.globals["count"]

    assert count(names["frozen"]) == 40
    assert count(names["first"]) == 7
    assert count(names["answer"]) == 42
    with wizer.Session(tmp_path / "counter.wasm", imports={"env": {"log": print}}) as session:
        assert bytes(session.memory()[16:21]) == b"hello"
        session.call("increase", 1)
        assert session.globals["count"] == 108


def test_c_example() -> None:
    assert run_example("examples/c/main.py").startswith("prime 1000 is 7919 (constructors ran 1 time)\n")


def test_quickjs_example() -> None:
    said = run_example("examples/quickjs.py")
    assert said.startswith("handle('GET', '/products/42') = <h1>Crate &lt;42&gt;</h1><p>25.98 EUR</p>\n")


def test_sandbox_example() -> None:
    said = run_example("examples/sandbox.py").splitlines()
    assert said[0] == "handle('GET', '/products/42') = <h1>Crate &lt;42&gt;</h1><p>25.98 EUR</p>"
    assert said[1] == "the next request sees: undefined, 2,4"
    assert re.fullmatch(r"requests a second, one core: +\d+ before, +\d+ after", said[-1])


def test_quickjs_example_with_another_application(tmp_path: Path) -> None:
    application = tmp_path / "squares.js"
    application.write_text("globalThis.squares = Array.from({ length: 100 }, (_, n) => n * n)")
    said = run_example("examples/quickjs.py", application, "squares[12]")
    assert said.startswith("squares[12] = 144\n")
