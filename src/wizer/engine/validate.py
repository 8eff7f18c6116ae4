"""Checking what is handed out: the engine itself finds it valid, with the features that are switched on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import wasmtime

from wizer.engine import capi_config
from wizer.engine.config import EngineConfig, feature_set, validation_config
from wizer.engine.stack import with_compiler_stack
from wizer.errors import StateError
from wizer.kept import alone, kept

_LITTLE = 1 << 16  # bytes: they are validated in the time that it takes to look for a note


def validate_snapshot(wasm: bytes, config: EngineConfig) -> None:
    """Check a module.

    Raises:
        StateError: engines would refuse it: it is beyond a limit that they have, which is named.
    """

    def engine() -> wasmtime.Engine:
        settings = validation_config(config)
        if not alone():
            settings.parallel_compilation = False  # it is for validation, too
        return wasmtime.Engine(settings)

    def check() -> None:
        capi_config.validate(kept(("validation", _features(config), alone()), engine), wasm)

    _check_once("module", wasm, config, check)


def validate_component_snapshot(wasm: bytes, config: EngineConfig) -> None:
    """Check a component as `validate_snapshot` does a module; it is compiled for that, as quickly as can be.

    Raises:
        StateError: engines would refuse it.
    """
    settings = validation_config(config)
    settings.cranelift_opt_level = "none"
    capi_config.set_register_allocator(settings, "single-pass")
    _check_once("component", wasm, config, lambda: capi_config.new_component(wasmtime.Engine(settings), wasm))


def _check_once(what: str, wasm: bytes, config: EngineConfig, check: Callable[[], object]) -> None:
    """Make a check, unless the cache has a note that this engine had nothing against the same bytes."""
    if config.cache is not True or len(wasm) < _LITTLE:
        _check(what, check)
        return
    from wizer.engine import cache

    key = cache.key([wasm], f"valid {capi_config.library()} {_features(config)}")

    def checked() -> None:
        if not cache.is_noted(key):
            _check(what, check)
            cache.note(key)

    kept(key, checked)


def _features(config: EngineConfig) -> str:
    """Return what validating depends on, as text."""
    return str(sorted(feature_set(config.features).items()))


def _check(what: str, check: Callable[[], object]) -> None:
    try:
        with_compiler_stack(check)
    except wasmtime.WasmtimeError as error:
        from wizer.engine.messages import causes

        raise StateError(f"the state makes a {what} that engines refuse", causes(error)) from None


def begin(check: Callable[[], None]) -> Callable[[], None]:
    """Begin a check on a thread; return what waits for its end and raises what it raised.

    Where the other cores have other runs, it is done at once.
    """
    failures: list[BaseException] = []

    def checked() -> None:
        try:
            check()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=checked) if alone() else None
    if thread is not None:
        thread.start()
    else:
        checked()

    def wait() -> None:
        if thread is not None:
            thread.join()
        if failures:
            raise failures[0]

    return wait
