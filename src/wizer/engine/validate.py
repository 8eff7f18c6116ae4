"""Checking what is handed out: the engine itself finds it valid, with the features that are switched on."""

from __future__ import annotations

import wasmtime

from wizer.engine import capi_config
from wizer.engine.config import EngineConfig, validation_config
from wizer.engine.messages import causes
from wizer.engine.stack import with_compiler_stack
from wizer.errors import StateError


def validate_snapshot(wasm: bytes, config: EngineConfig) -> None:
    """Check a module.

    Raises:
        StateError: engines would refuse it: it is beyond a limit that they have, which is named.
    """
    try:
        engine = wasmtime.Engine(validation_config(config))
        with_compiler_stack(lambda: capi_config.validate(engine, wasm))
    except wasmtime.WasmtimeError as error:
        raise _refused("module", error) from None


def validate_component_snapshot(wasm: bytes, config: EngineConfig) -> None:
    """Check a component as `validate_snapshot` does a module; it is compiled for that.

    Raises:
        StateError: engines would refuse it.
    """
    from wasmtime.component import Component

    try:
        engine = wasmtime.Engine(validation_config(config))
        with_compiler_stack(lambda: Component(engine, wasm))
    except wasmtime.WasmtimeError as error:
        raise _refused("component", error) from None


def _refused(what: str, error: wasmtime.WasmtimeError) -> StateError:
    return StateError(f"the state makes a {what} that engines refuse", causes(error))
