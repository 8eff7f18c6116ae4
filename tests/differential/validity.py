"""Whether a snapshot is valid with the features that its original is valid with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import wasmtime

from wizer.engine.config import EngineConfig, validation_config

# Each step has all that is before it. The first is all that can be off.
_STEPS: Mapping[str, tuple[str, ...]] = {
    "the MVP": (),
    "multi-value": ("multi-value",),
    "bulk memory": ("bulk-memory",),
    "SIMD": ("simd",),
    "reference types": ("reference-types",),
    "multi-memory": ("multi-memory",),
    "memory64": ("memory64",),
    "typed function references": ("tail-call", "function-references", "relaxed-simd"),
    "exceptions": ("exceptions",),
    "GC": ("gc",),
}
_ALWAYS = ("threads", "shared-memory", "custom-page-sizes", "wide-arithmetic")
_SWITCHES = {feature for step in _STEPS.values() for feature in step}


def refusal(original: bytes, snapshot: bytes) -> str | None:
    """Why the snapshot is invalid where the original is valid: with the fewest features, and with all."""
    for step, engine in ((step, _engine(step)) for step in _STEPS):
        if _invalid(engine, original) is None:
            why = _invalid(engine, snapshot)
            return None if why is None else f"with the features up to {step}: {why}"
    raise AssertionError("the original is not valid with all features")


def _invalid(engine: wasmtime.Engine, wasm: bytes) -> str | None:
    try:
        wasmtime.Module.validate(engine, wasm)
    except wasmtime.WasmtimeError as error:
        return str(error)
    return None


@cache
def _engine(last: str) -> wasmtime.Engine:
    on: set[str] = set()
    for step, added in _STEPS.items():
        on.update(added)
        if step == last:
            break
    features = {feature: feature in on for feature in _SWITCHES} | {"component-model": False}
    return wasmtime.Engine(validation_config(EngineConfig(features=features)))
