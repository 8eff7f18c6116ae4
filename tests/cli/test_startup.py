"""What a command imports: only what it uses. Importing is what makes a Python tool feel slow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import environment

HEAVY = {"wasmtime", "numpy", "rich", "ctypes", "dataclasses", "inspect", "importlib.metadata", "tomllib"}

PROGRAM = """
import sys
from wizer.cli import main
status = main(sys.argv[1:])
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(status)
"""


def imported(tmp_path: Path, *args: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM, *args],  # -S: what site imports for other packages is not ours
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=60,
        check=False,
    )
    return set(ended.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["-h"], ["--bad"]])
def test_help_and_version_import_little(args: list[str], tmp_path: Path) -> None:
    names = imported(tmp_path, *args)
    assert "argparse" in names
    assert not names & HEAVY


@pytest.mark.parametrize("args", [["--include-dir"], ["none.wasm"], ["-r", "foo"], ["-Wbad"]])
def test_mistakes_are_found_without_the_engine(args: list[str], tmp_path: Path) -> None:
    assert not imported(tmp_path, *args) & {"wasmtime", "numpy", "rich"}


def test_small_module_needs_no_numpy(tmp_path: Path, module: Callable[..., Path]) -> None:
    module('(module (func (export "wizer-initialize")))')
    names = imported(tmp_path, "in.wasm", "-o", "out.wasm")
    assert "wasmtime" in names
    assert not names & {"numpy", "rich", "tomllib"}
