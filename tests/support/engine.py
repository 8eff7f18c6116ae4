"""The engine that runs what Wizer reads and writes, without Wizer."""

from __future__ import annotations

from functools import cache

import wasmtime

from wizer.binary.module import parse_module
from wizer.engine import capi_config, versions
from wizer.engine.compile import Compiled, compile_module
from wizer.engine.config import EngineConfig
from wizer.engine.limits import Limits
from wizer.engine.original import Original

_FEATURES = (
    "bulk_memory",
    "component_model",
    "custom_page_sizes",
    "exceptions",
    "function_references",
    "gc",
    "memory64",
    "multi_memory",
    "multi_value",
    "reference_types",
    "relaxed_simd",
    "simd",
    "tail_call",
    "threads",
    "wide_arithmetic",
)


@cache
def engine(*, canonical_nans: bool = False, parallel: bool = True) -> wasmtime.Engine:
    """An engine with every feature on, which compiles as quickly as can be.

    Args:
        canonical_nans: NaNs have the bits that they have while Wizer initialises.
        parallel: compile on all cores.
    """
    config = wasmtime.Config()
    config.strategy = "cranelift"
    config.cranelift_opt_level = "none"
    config.cranelift_nan_canonicalization = canonical_nans
    config.parallel_compilation = parallel
    for feature in _FEATURES:
        setattr(config, f"wasm_{feature}", True)
    if versions.has_setting("wasm_compact_imports"):
        capi_config.set_option(config, "wasm_compact_imports", True)
    config.shared_memory = True
    return wasmtime.Engine(config)


def binary(wat: str) -> bytes:
    """A module or component in the binary format."""
    return bytes(wasmtime.wat2wasm(wat))


def compiled(
    wasm: bytes, config: EngineConfig, limits: Limits, *, simple: bool = True
) -> Compiled[wasmtime.Module]:
    """A module as Wizer compiles one, without anything that reads its state."""
    code, original = parse_module(wasm).code_size, Original(wasm)
    return compile_module([wasm], config, simple=simple, code=code, limits=limits, original=original)
