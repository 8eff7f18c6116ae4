"""What configuring and compiling needs of the engine's C API beyond its public Python classes.

Everything here goes through ``wasmtime._ffi``, which is private: ``tests/engine/test_config.py`` names each
symbol, so that an upgrade that moves one fails there and not in a user's run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from wasmtime import Config, Engine, Module, WasiConfig, WasmtimeError
from wasmtime import _ffi as ffi

from wizer.binary.assemble import Chunk
from wizer.engine.addresses import address
from wizer.engine.versions import has_setting, lacks

if TYPE_CHECKING:
    from wasmtime.component import Component

STRATEGIES = {"cranelift": 1, "winch": 2}
REGISTER_ALLOCATORS = {"backtracking": 0, "single-pass": 1}


def library() -> str:
    """Return what tells the engine's library from that of another version, as the file system has it."""
    info = Path(ffi.filename).stat()
    return f"{info.st_size} {info.st_mtime_ns}"


def set_strategy(config: Config, compiler: str) -> None:
    """Choose the compiler; the public setter knows no Winch."""
    ffi.wasmtime_config_strategy_set(config.ptr(), STRATEGIES[compiler])


def set_register_allocator(config: Config, algorithm: str) -> None:
    """Choose Cranelift's register allocator."""
    ffi.wasmtime_config_cranelift_regalloc_algorithm_set(config.ptr(), REGISTER_ALLOCATORS[algorithm])


def set_option(config: Config, name: str, value: bool | int) -> None:
    """Call ``wasmtime_config_<name>_set``.

    Raises:
        WizerError: this version of the engine has none.
    """
    if not has_setting(name):
        raise lacks(f"setting `{name}`")
    getattr(ffi, f"wasmtime_config_{name}_set")(config.ptr(), value)


def set_pooling(config: Config, settings: Mapping[str, int]) -> None:
    """Use the pooling allocator; ``settings`` by the C API's names (``total_memories``…)."""
    pool = ffi.wasmtime_pooling_allocation_config_new()
    try:
        for name, value in settings.items():
            getattr(ffi, f"wasmtime_pooling_allocation_config_{name}_set")(pool, value)
        ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    finally:
        ffi.wasmtime_pooling_allocation_config_delete(pool)


def new_module(engine: Engine, wasm: bytes) -> Module:
    """Compile ``wasm`` from where it is; the public constructor copies it first.

    Raises:
        WasmtimeError: it does not compile.
    """
    pointer = ctypes.POINTER(ffi.wasmtime_module_t)()
    error = ffi.wasmtime_module_new(engine.ptr(), _start(wasm), len(wasm), ctypes.byref(pointer))
    if error:
        raise WasmtimeError._from_ptr(error)
    return Module._from_ptr(pointer)


def new_component(engine: Engine, wasm: bytes) -> Component:
    """Compile ``wasm`` as `new_module` does a module.

    Raises:
        WasmtimeError: it does not compile.
    """
    from wasmtime.component import Component

    pointer = ctypes.POINTER(ffi.wasmtime_component_t)()
    error = ffi.wasmtime_component_new(engine.ptr(), _start(wasm), len(wasm), ctypes.byref(pointer))
    if error:
        raise WasmtimeError._from_ptr(error)
    return Component._from_ptr(pointer)


def write_compiled(code: Module | Component, stream: RawIOBase) -> None:
    """Write what was compiled from where the engine puts it; the public method copies it once more.

    Raises:
        WasmtimeError: it cannot be written.
        OSError: the stream does not take it.
    """
    vec = ffi.wasm_byte_vec_t()
    is_module = isinstance(code, Module)
    serialize = ffi.wasmtime_module_serialize if is_module else ffi.wasmtime_component_serialize
    error = serialize(code.ptr(), ctypes.byref(vec))
    if error:
        raise WasmtimeError._from_ptr(error)
    try:
        left = memoryview((ctypes.c_uint8 * vec.size).from_address(ctypes.addressof(vec.data.contents)))
        while left:
            left = left[stream.write(left) :]
    finally:
        ffi.wasm_byte_vec_delete(ctypes.byref(vec))


def validate(engine: Engine, wasm: Chunk) -> None:
    """Validate ``wasm`` from where it is.

    Raises:
        WasmtimeError: it is invalid.
    """
    error = ffi.wasmtime_module_validate(engine.ptr(), _start(wasm), len(wasm))
    if error:
        raise WasmtimeError._from_ptr(error)


def _start(wasm: Chunk) -> object:
    """Return the address of ``wasm``'s first byte, as ctypes passes it."""
    return ctypes.cast(address(wasm), ctypes.POINTER(ctypes.c_uint8))


def set_stdin_bytes(wasi: WasiConfig, data: bytes) -> None:
    """Give the guest ``data`` as its standard input."""
    vec = ffi.wasm_byte_vec_t()
    ffi.wasm_byte_vec_new(
        ctypes.byref(vec), len(data), ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ffi.wasm_byte_t))
    )
    ffi.wasi_config_set_stdin_bytes(wasi.ptr(), ctypes.byref(vec))


def allow_network(wasi: WasiConfig, *, addresses: bool, names: bool) -> None:
    """Let a component use the host's network (``addresses``) and look names up (``names``)."""
    if addresses:
        ffi.wasi_config_inherit_network(wasi.ptr())
    ffi.wasi_config_allow_ip_name_lookup(wasi.ptr(), names)
