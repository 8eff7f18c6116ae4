"""Small modules to make snapshots of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from support.command import WIZER, Tool


def numbered(number: int) -> bytes:
    """Return a module that initialises a word of its memory to a number, and returns it."""
    return bytes(
        wasmtime.wat2wasm(
            f"""(module (memory (export "memory") 1)
              (func (export "wizer-initialize") (i32.store (i32.const 16) (i32.const {number})))
              (func (export "get") (result i32) (i32.load (i32.const 16))))"""
        )
    )


TRAPS = '(module (func (export "wizer-initialize") unreachable))'


@pytest.fixture
def modules(tmp_path: Path) -> Callable[[int], list[Path]]:
    """Write that many numbered modules, and return their paths."""

    def write(count: int) -> list[Path]:
        paths = [tmp_path / f"{number}.wasm" for number in range(count)]
        for number, path in enumerate(paths, 1):
            path.write_bytes(numbered(number))
        return paths

    return write


@pytest.fixture
def wizer(tmp_path: Path) -> Tool:
    """This project's command, in the test's own folder."""
    return Tool(WIZER, tmp_path)
