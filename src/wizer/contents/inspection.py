"""Inspect: what is in a module or component, byte by byte of the file, and of memory once it is instantiated.

Nothing is run. A broken file is reported as far as it can be read, and what cannot is named.
"""

from __future__ import annotations

import os
from pathlib import Path

from wizer.binary.sections import COMPONENT_VERSION, MAGIC, MODULE_VERSION
from wizer.contents.records import Inspection, Problem, SectionInfo
from wizer.engine.text import Wasm, to_binary
from wizer.errors import InvalidError, asking_for_numpy

with asking_for_numpy():
    from wizer.contents.module import inspect_module
    from wizer.contents.statistics import compressed_size


def inspect(wasm: Wasm, *, name: str | None = None) -> Inspection:
    """Return what is in a module or component; nothing is run.

    Args:
        wasm: bytes (binary or text format), a string (text format) or the path of a file.
        name: what to call it; by default the path, or nothing.

    Raises:
        InputError: the file cannot be read. What is broken in it is no error: see `Inspection.problems`.
    """
    called = name if name is not None else str(wasm) if isinstance(wasm, os.PathLike) else ""
    try:
        binary = to_binary(wasm)
    except InvalidError as error:
        text = wasm.encode() if isinstance(wasm, str) else _raw(wasm)
        return _unknown(called, text, f"the text format is malformed: {error}")
    return inspect_binary(binary, called)


def _raw(wasm: Wasm) -> bytes:
    """Return the bytes of an input that is malformed text."""
    assert not isinstance(wasm, str)
    return Path(wasm).read_bytes() if isinstance(wasm, os.PathLike) else bytes(wasm)


def inspect_binary(wasm: bytes, name: str = "") -> Inspection:
    """Return what is in a module or component in the binary format."""
    version = wasm[4:8]
    if wasm[:4] != MAGIC:
        return _unknown(name, wasm, "this is not WebAssembly: the magic number is missing")
    if version == COMPONENT_VERSION:
        from wizer.contents.component import inspect_component

        return inspect_component(wasm, name)
    if version != MODULE_VERSION:
        return _unknown(name, wasm, f"unknown binary version {version.hex(' ') or '(missing)'}")
    return inspect_module(wasm, name, 0)


def _unknown(name: str, wasm: bytes, message: str) -> Inspection:
    packed = compressed_size(memoryview(wasm))
    section = [SectionInfo("unreadable", "", 0, len(wasm), None, packed)] if wasm else []
    return Inspection(name, "unknown", 0, len(wasm), packed, tuple(section), problems=(Problem(message, 0),))
