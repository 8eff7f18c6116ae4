"""Turning bytes into an executable module: which compiler, and its cache.

Winch compiles several times faster than Cranelift, and initialisation runs once, so Winch goes first where
the engine's authors vouch for it (x86-64) and Cranelift takes what Winch does not know. RATIONALE.md has
the measurements.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import wasmtime

from wizer.binary.sections import CODE, split_sections
from wizer.engine import capi_config
from wizer.engine.config import Compiler, EngineConfig, engine_config, validation_config
from wizer.engine.watchdog import causes
from wizer.errors import InvalidError, OptionError, ParseError
from wizer.records import record

if TYPE_CHECKING:
    from wizer.engine.watchdog import Limits

_T = TypeVar("_T")


@record
class Compiled:
    """A module, and the engine and compiler it was made with."""

    engine: wasmtime.Engine
    module: wasmtime.Module
    compiler: Compiler


def compile_module(
    wasm: bytes, config: EngineConfig, *, simple: bool, limits: Limits, original: bytes | None = None
) -> Compiled:
    """Compile ``wasm`` with the compiler that ``config`` names or, for "auto", the quickest that takes it.

    Args:
        wasm: a module in the binary format.
        config: how to compile.
        simple: the module has only types that Winch may take: no GC, exception, tag or externref types.
        limits: whether code must count fuel.
        original: what ``wasm`` was made of. It has to be valid itself: a body that refers to a type or
            function which is not there may refer to one that was appended.

    Raises:
        InvalidError: a module is invalid, or uses what the compiler asked for does not know.
        OptionError: the configuration is refused, or Winch was asked for and does not exist here.
    """
    return with_quickest(
        lambda compiler: _compile(wasm, config, compiler, limits, original), config, simple=simple
    )


def with_quickest(
    make: Callable[[Compiler], _T], config: EngineConfig, *, simple: bool, what: str = "the module"
) -> _T:
    """Compile with the compiler that ``config`` names or, for "auto", the quickest that takes it.

    Args:
        make: compiles; raises `InvalidError` where the compiler does not take it.
        config: how to compile.
        simple: there are only types that Winch may take: no GC, exception, tag or externref types.
        what: what is compiled, for a message.

    Raises:
        InvalidError: it is invalid, or uses what the compiler asked for does not know.
        OptionError: Winch was asked for and does not exist here.
    """
    if config.compiler == "winch" and not winch_exists():
        raise OptionError("the Winch compiler does not exist for this machine; use `cranelift`")
    if config.compiler == "winch" and not simple:
        raise InvalidError(
            f"{what} uses types (GC, exceptions or externref) that the Winch compiler does not know; "
            "use `cranelift`"
        )
    if config.compiler == "winch" or (config.compiler == "auto" and simple and _winch_preferred(config)):
        try:
            return make("winch")
        except InvalidError:
            if config.compiler == "winch":
                raise
    return make("cranelift")


def compile_with(compiled: Compiled, wasm: bytes) -> wasmtime.Module:
    """Compile another module with the engine of ``compiled``.

    Raises:
        InvalidError: the module is invalid, or uses what the engine's compiler does not know.
    """
    return _module(compiled.engine, wasm)


def validate_features(wasm: bytes, config: EngineConfig) -> None:
    """Check that ``wasm`` uses no feature that the user switched off; only needed if ``config.restricts``.

    Raises:
        InvalidError: it does, or is invalid.
    """
    engine = wasmtime.Engine(validation_config(config))
    try:
        capi_config.validate(engine, wasm)
    except wasmtime.WasmtimeError as error:
        raise InvalidError("the module is invalid with the features switched on", causes(error)) from None


def winch_exists() -> bool:
    """Whether the engine has Winch for this machine."""
    return _machine() in ("x86_64", "amd64", "aarch64", "arm64")


def _winch_preferred(config: EngineConfig) -> bool:
    """Whether "auto" may mean Winch: it is tier 1 here, and nothing is asked of it that it does not do."""
    return (
        _machine() in ("x86_64", "amd64")
        and config.opt_level == "none"
        and config.regalloc is None
        and config.signals_based_traps is not False
        and not (config.debug_info or config.cranelift_flags)
    )


def _machine() -> str:
    """Return the processor's name, lower case."""
    if hasattr(os, "uname"):
        return os.uname().machine.lower()
    return os.environ.get("PROCESSOR_ARCHITECTURE", "").lower()


def _compile(
    wasm: bytes, config: EngineConfig, compiler: Compiler, limits: Limits, original: bytes | None
) -> Compiled:
    """Make an engine and compile ``wasm`` with it."""
    settings = engine_config(config, compiler, fuel=limits.fuel is not None)
    if isinstance(config.cache, str):
        load_cache(settings, config.cache)
    engine = wasmtime.Engine(settings)
    if config.cache is not True or not _worth_keeping(wasm):
        return Compiled(engine, _module(engine, wasm, original), compiler)
    from wizer.engine import cache

    name = cache.key(wasm, f"{compiler} {limits.fuel is not None} {config}")
    module = cache.find(engine, name)
    if module is None:
        module = _module(engine, wasm, original)
        cache.keep(module, name)
    return Compiled(engine, module, compiler)


def _module(engine: wasmtime.Engine, wasm: bytes, original: bytes | None = None) -> wasmtime.Module:
    """Compile ``wasm``, and validate what it was made of; the engine's complaint becomes an InvalidError."""
    with validating(engine, () if original is None else (original,)):
        try:
            return capi_config.new_module(engine, wasm)
        except wasmtime.WasmtimeError as error:
            raise InvalidError("the module does not compile", causes(error)) from None


@contextmanager
def validating(engine: wasmtime.Engine, modules: Sequence[bytes]) -> Iterator[None]:
    """Check on a thread that modules are valid, while they are compiled in another form.

    Raises:
        InvalidError: one is not, and nothing else is wrong.
    """
    errors: list[BaseException] = []

    def check() -> None:
        try:
            for wasm in modules:
                capi_config.validate(engine, wasm)
        except wasmtime.WasmtimeError as error:
            errors.append(InvalidError("the module is invalid", causes(error)))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=check)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        raise errors[0]


def load_cache(settings: wasmtime.Config, cache: bool | str) -> None:
    """Switch the engine's own cache on: a default one that cannot be used is no error, a named one is."""
    try:
        settings.cache = cache
    except wasmtime.WasmtimeError as error:
        if isinstance(cache, str):
            raise OptionError(f"the cache settings {cache!r} cannot be used", causes(error)) from None


_LITTLE_CODE = 1 << 13  # bytes: they compile in the time that it takes to look for them


def _worth_keeping(wasm: bytes) -> bool:
    """Whether a module has enough code to be worth a place among those that are kept.

    What a large snapshot holds beside its code is data, which takes as long to write as to compile.
    """
    try:
        code = sum(section.end - section.start for section in split_sections(wasm) if section.id == CODE)
    except ParseError:
        return False  # the compiler says why
    return code >= _LITTLE_CODE and code * 16 >= len(wasm)
