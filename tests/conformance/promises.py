"""What every snapshot promises of itself, whatever its module is: validity, bodies, names, size.

Everything is read off the bytes without the package under test.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import wasmtime
from wasmtime import _ffi as ffi

from support.engine import engine
from support.tools import complaint

from .host import compile_module

_CUSTOM_SECTION = 0
_CODE_SECTION = 10


class BrokenPromiseError(Exception):
    """A snapshot is not what a snapshot has to be."""


def check(original: bytes, snapshot: bytes) -> None:
    """Check a snapshot, or a snapshot of snapshots, against the module that it all began with.

    It is valid where that module is; it has the same exports and imports in the same order; its functions'
    bodies and its custom sections begin with that module's.

    Raises:
        BrokenPromiseError: one of these does not hold.
    """
    for name, generation in (("MVP", _mvp()), ("second edition", _second_edition()), ("engine", engine())):
        if _refusal(generation, original) is not None:
            continue
        refusal = _refusal(generation, snapshot)
        if refusal is not None:
            raise BrokenPromiseError(f"invalid with the features of the {name}: {refusal}")
    before, after = compile_module(original), compile_module(snapshot)
    if (names := [one.name for one in after.exports]) != [one.name for one in before.exports]:
        raise BrokenPromiseError(f"other exports: {names}")
    if (imports := [(one.module, one.name) for one in after.imports]) != [
        (one.module, one.name) for one in before.imports
    ]:
        raise BrokenPromiseError(f"other imports: {imports}")
    for what, parts in (("functions' bodies", _bodies), ("custom sections", _custom_sections)):
        kept = list(parts(original))
        if list(parts(snapshot))[: len(kept)] != kept:
            raise BrokenPromiseError(f"the {what} are not those of the module")


def check_with_tools(wasm: bytes) -> None:
    """Let `wasm-tools` validate a module too.

    Raises:
        BrokenPromiseError: it finds it invalid.
    """
    if problem := complaint(wasm):
        raise BrokenPromiseError(f"wasm-tools validate: {problem}")


def _refusal(of: wasmtime.Engine, wasm: bytes) -> str | None:
    try:
        wasmtime.Module.validate(of, wasm)
    except wasmtime.WasmtimeError as error:
        return str(error)
    return None


@cache
def _mvp() -> wasmtime.Engine:
    """An engine with every proposal off that can be off."""
    return wasmtime.Engine(_bare_config())


@cache
def _second_edition() -> wasmtime.Engine:
    """An engine for WebAssembly 2.0."""
    config = _bare_config()
    config.wasm_reference_types = True
    config.wasm_bulk_memory = True
    config.wasm_multi_value = True
    config.wasm_simd = True
    return wasmtime.Engine(config)


def _bare_config() -> wasmtime.Config:
    config = wasmtime.Config()
    # It insists on reference types, and the package has no name for it.
    ffi.wasmtime_config_wasm_component_model_async_set(config.ptr(), False)
    for feature in (
        "exceptions",
        "gc",
        "function_references",
        "reference_types",
        "relaxed_simd",
        "simd",
        "tail_call",
        "threads",
        "memory64",
        "multi_memory",
        "multi_value",
        "bulk_memory",
    ):
        setattr(config, f"wasm_{feature}", False)
    return config


def _sections(wasm: bytes) -> Iterator[tuple[int, bytes]]:
    """The sections of a valid module: identifiers and contents.

    https://webassembly.github.io/spec/core/binary/modules.html#sections
    """
    at = 8
    while at < len(wasm):
        size, start = _u32(wasm, at + 1)
        yield wasm[at], wasm[start : start + size]
        at = start + size


def _custom_sections(wasm: bytes) -> Iterator[bytes]:
    """The custom sections of a valid module that do not describe a relocatable object."""
    for section, contents in _sections(wasm):
        if section == _CUSTOM_SECTION:
            size, start = _u32(contents, 0)
            if not contents[start : start + size].startswith((b"linking", b"reloc.")):
                yield contents


def _bodies(wasm: bytes) -> Iterator[bytes]:
    """The function bodies of a valid module.

    https://webassembly.github.io/spec/core/binary/modules.html#code-section
    """
    for section, contents in _sections(wasm):
        if section == _CODE_SECTION:
            count, at = _u32(contents, 0)
            for _ in range(count):
                size, start = _u32(contents, at)
                at = start + size
                yield contents[start:at]


def _u32(wasm: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned LEB128 number; returns it and the offset behind it."""
    value = shift = 0
    while True:
        byte = wasm[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
