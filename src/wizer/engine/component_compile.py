"""Compiling components, as `wizer.engine.compile` does modules."""

from __future__ import annotations

import wasmtime
import wasmtime.component as wc

from wizer.engine.compile import load_cache, with_quickest
from wizer.engine.config import Compiler, EngineConfig, engine_config, validation_config
from wizer.engine.watchdog import Limits, causes
from wizer.errors import InvalidError
from wizer.records import record


@record
class CompiledComponent:
    """A component, and the engine and compiler it was made with."""

    engine: wasmtime.Engine
    component: wc.Component
    compiler: Compiler


def compile_component(
    wasm: bytes, config: EngineConfig, *, simple: bool, code: int, limits: Limits
) -> CompiledComponent:
    """Compile a component as `wizer.engine.compile.compile_module` does a module.

    Args:
        wasm: a component in the binary format.
        config: how to compile.
        simple: the modules inside have only types that Winch may take.
        code: how many bytes of it are code; what is nearly all data is not worth a place in the cache.
        limits: whether code must count fuel.

    Raises:
        InvalidError: the component is invalid, or uses what the compiler asked for does not know.
        OptionError: the configuration is refused, or Winch was asked for and does not exist here.
    """
    cache = config.cache if isinstance(config.cache, str) or code * 16 >= len(wasm) else False
    return with_quickest(
        lambda compiler: _compile(wasm, config, compiler, cache, limits),
        config,
        simple=simple,
        what="a module in the component",
    )


def _compile(
    wasm: bytes, config: EngineConfig, compiler: Compiler, cache: bool | str, limits: Limits
) -> CompiledComponent:
    try:
        # Where the engine has tasks, a host function that is lent two handles ends in an error of the engine.
        return _compile_for(wasm, config, compiler, cache, limits, concurrency=False)
    except InvalidError:
        return _compile_for(wasm, config, compiler, cache, limits, concurrency=True)


def _compile_for(
    wasm: bytes,
    config: EngineConfig,
    compiler: Compiler,
    cache: bool | str,
    limits: Limits,
    *,
    concurrency: bool,
) -> CompiledComponent:
    settings = engine_config(config, compiler, fuel=limits.fuel is not None, concurrency=concurrency)
    if cache:
        load_cache(settings, cache)
    engine = wasmtime.Engine(settings)
    return CompiledComponent(engine, _component(engine, wasm), compiler)


def _component(engine: wasmtime.Engine, wasm: bytes) -> wc.Component:
    try:
        return wc.Component(engine, wasm)
    except wasmtime.WasmtimeError as error:
        raise InvalidError("the component does not compile", causes(error)) from None


def validate_features(wasm: bytes, config: EngineConfig) -> None:
    """Check that ``wasm`` uses no feature that the user switched off; only needed if ``config.restricts``.

    Raises:
        InvalidError: it does, or is invalid.
    """
    try:
        wc.Component(wasmtime.Engine(validation_config(config)), wasm)
    except wasmtime.WasmtimeError as error:
        raise InvalidError("the component is invalid with the features switched on", causes(error)) from None
