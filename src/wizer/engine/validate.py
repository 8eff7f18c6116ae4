"""Checking what is handed out: the engine itself finds it valid, with the features that are switched on."""

from __future__ import annotations

import threading
from collections.abc import Callable

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
    """Check a component as `validate_snapshot` does a module; it is compiled for that, as quickly as can be.

    Raises:
        StateError: engines would refuse it.
    """
    settings = validation_config(config)
    settings.cranelift_opt_level = "none"
    capi_config.set_register_allocator(settings, "single-pass")
    try:
        engine = wasmtime.Engine(settings)
        with_compiler_stack(lambda: capi_config.new_component(engine, wasm))
    except wasmtime.WasmtimeError as error:
        raise _refused("component", error) from None


def _refused(what: str, error: wasmtime.WasmtimeError) -> StateError:
    return StateError(f"the state makes a {what} that engines refuse", causes(error))


def begin(check: Callable[[], None]) -> Callable[[], None]:
    """Begin a check on a thread; return what waits for its end and raises what it raised."""
    failures: list[BaseException] = []

    def checked() -> None:
        try:
            check()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=checked)
    thread.start()

    def wait() -> None:
        thread.join()
        if failures:
            raise failures[0]

    return wait
