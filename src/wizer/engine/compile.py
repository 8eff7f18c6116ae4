"""Turning bytes into an executable module or component: which compiler, and its cache.

Winch compiles several times faster than Cranelift, and initialisation runs once, so Winch goes first where
the engine's authors vouch for it (x86-64) and Cranelift takes what Winch does not know. RATIONALE.md has
the measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import wasmtime

from wizer.binary.assemble import Chunk
from wizer.engine import capi_config
from wizer.engine.config import Compiler, EngineConfig, engine_config, machine, validation_config
from wizer.engine.stack import with_compiler_stack
from wizer.errors import InvalidError, OptionError
from wizer.kept import begin, expects_more, kept, kept_like
from wizer.records import field, record, replace

if TYPE_CHECKING:
    from wasmtime.component import Component

    from wizer.engine.limits import Limits
    from wizer.engine.original import Original

Code = TypeVar("Code")
_T = TypeVar("_T")
_Kept = TypeVar("_Kept", bound="wasmtime.Module | Component")


class Use:
    """What has been made of code in the runs of a worker.

    Attributes:
        seconds: how long it has run in those that have ended.
    """

    def __init__(self) -> None:
        self.seconds: float = 0.0


@record
class Compiled(Generic[Code]):
    """A module or component, the engine and compiler it was made with, and what it is used for."""

    engine: wasmtime.Engine
    code: Code
    compiler: Compiler
    use: Use = field(default_factory=Use)


_OPTIMISING: Final = 6e-7
"""Seconds for a byte of code: 0.7 s for QuickJS, 5 ms for a module of 8 kB."""


def compile_module(
    chunks: Sequence[Chunk],
    config: EngineConfig,
    *,
    simple: bool,
    code: int,
    limits: Limits,
    original: Original,
) -> Compiled[wasmtime.Module]:
    """Compile a module with the compiler that ``config`` names or, for "auto", the quickest that takes it.

    "Auto" in a worker is optimised code once the quick one has run for as long as optimising takes, and at
    once where that is in the cache.

    Args:
        chunks: a module in the binary format, in pieces.
        config: how to compile.
        simple: the module has only types that Winch may take: no GC, exception, tag or externref types.
        code: how many bytes of it are code; what is nearly all data is not worth a place in the cache.
        limits: whether code must count fuel.
        original: what it was made of. It has to be valid itself: a body that refers to a type or
            function which is not there may refer to one that was appended.

    Raises:
        InvalidError: a module is invalid, or uses what the compiler asked for does not know.
        OptionError: the configuration is refused, or Winch was asked for and does not exist here.
    """
    cached = config.cache is True and _enough_code(code, sum(map(len, chunks)))
    better = _optimising(config)

    def make(config: EngineConfig, compiler: Compiler) -> Compiled[wasmtime.Module]:
        engine = _engine(config, compiler, limits)

        def compiled() -> wasmtime.Module:
            return _module(engine, b"".join(chunks), original.wasm)

        if not cached:
            return Compiled(engine, compiled(), compiler)
        key = original.key(chunks, _settings(config, compiler, limits))
        return Compiled(engine, _kept(wasmtime.Module, engine, key, compiled, original), compiler)

    def quickest() -> Compiled[wasmtime.Module]:
        if cached and better is not None and expects_more():
            from wizer.engine import cache

            engine = _engine(better, "cranelift", limits)
            key = original.key(chunks, _settings(better, "cranelift", limits))
            optimised = cache.load(wasmtime.Module, engine, key)
            if optimised is not None:
                return Compiled(engine, optimised, "cranelift")
        return _with_quickest(partial(make, config), config, simple, "the module")

    settings = f"{limits.fuel is not None} {config}"
    found = kept_like(chunks, f"compiled {settings}", quickest)
    if better is None or found.use.seconds < _OPTIMISING * code:
        return found
    return kept_like(chunks, f"optimised {settings}", partial(make, better, "cranelift"))


def _optimising(config: EngineConfig) -> EngineConfig | None:
    """Return how to make code that runs the faster; None: it is said how to compile, or compilers differ."""
    if config.compiler != "auto" or config.opt_level != "none" or not config.nan_canonicalization:
        return None
    return replace(config, opt_level="speed")


def compile_component(
    chunks: Sequence[Chunk],
    config: EngineConfig,
    *,
    simple: bool,
    code: int,
    limits: Limits,
    original: Original,
    modules: Sequence[Chunk] = (),
) -> Compiled[Component]:
    """Compile a component as `compile_module` does a module.

    Args:
        chunks: a component in the binary format, in pieces.
        config: how to compile.
        simple: the modules inside have only types that Winch may take.
        code: how many bytes of it are code; what is nearly all data is not worth a place in the cache.
        limits: whether code must count fuel.
        original: what it was made of, to tell whose fault it is if it is invalid.
        modules: what the modules inside were made of, which have to be valid themselves.

    Raises:
        InvalidError: the component is invalid, or uses what the compiler asked for does not know.
        OptionError: the configuration is refused, or Winch was asked for and does not exist here.
    """
    from wasmtime.component import Component

    def make_with(compiler: Compiler, *, tasks: bool) -> Compiled[Component]:
        engine = _engine(config, compiler, limits, tasks=tasks)

        def compiled() -> Component:
            with validating(engine, modules):
                return _component(engine, b"".join(chunks), original=original.wasm if tasks else None)

        if config.cache is not True or not _enough_code(code, sum(map(len, chunks))):
            return Compiled(engine, compiled(), compiler)
        key = original.key(chunks, f"{_settings(config, compiler, limits)} {tasks}")
        return Compiled(engine, _kept(Component, engine, key, compiled, original), compiler)

    def make(compiler: Compiler) -> Compiled[Component]:
        try:
            # Where the engine has tasks, a host function that is lent two handles ends in an error of the
            # engine.
            return make_with(compiler, tasks=False)
        except InvalidError:
            return make_with(compiler, tasks=True)

    return _with_quickest(make, config, simple, "a module in the component")


def _settings(config: EngineConfig, compiler: Compiler, limits: Limits) -> str:
    """Return what machine code depends on beside what it is made of, as text."""
    return f"{compiler} {limits.fuel is not None} {config}"


def _kept(
    kind: type[_Kept],
    engine: wasmtime.Engine,
    key: str,
    compiled: Callable[[], _Kept],
    original: Original,
) -> _Kept:
    """Return what is in the cache, or else what ``compiled`` returns, which goes there."""
    from wizer.engine import cache

    code = cache.load(kind, engine, key, original.expected)
    if code is None:
        code = compiled()
        cache.store(code, key)
    original.expect(key)
    return code


def _with_quickest(make: Callable[[Compiler], _T], config: EngineConfig, simple: bool, what: str) -> _T:
    """Compile with the compiler that ``config`` names or, for "auto", the quickest that takes it."""
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


def compile_with(compiled: Compiled[wasmtime.Module], wasm: bytes) -> wasmtime.Module:
    """Compile another module with the engine of ``compiled``.

    Raises:
        InvalidError: the module is invalid, or uses what the engine's compiler does not know.
    """
    return _module(compiled.engine, wasm)


def validate_features(wasm: bytes, config: EngineConfig) -> None:
    """Check that a module uses no feature that the user switched off; only needed if ``config.restricts``.

    Raises:
        InvalidError: it does, or is invalid.
    """
    engine = wasmtime.Engine(validation_config(config))
    try:
        with_compiler_stack(lambda: capi_config.validate(engine, wasm))
    except wasmtime.WasmtimeError as error:
        raise invalid("the module is invalid with the features switched on", error) from None


def validate_component_features(wasm: bytes, config: EngineConfig) -> None:
    """Check a component as `validate_features` does a module."""
    _component(
        wasmtime.Engine(validation_config(config)),
        wasm,
        "the component is invalid with the features switched on",
    )


def winch_exists() -> bool:
    """Whether the engine has Winch for this machine."""
    return machine() in ("x86_64", "amd64", "aarch64", "arm64")


def _winch_preferred(config: EngineConfig) -> bool:
    """Whether "auto" may mean Winch: it is tier 1 here, and nothing is asked of it that it does not do."""
    return (
        machine() in ("x86_64", "amd64")
        and config.opt_level == "none"
        and config.regalloc is None
        and config.signals_based_traps is not False
        and not (config.debug_info or config.cranelift_flags)
    )


def _engine(
    config: EngineConfig, compiler: Compiler, limits: Limits, *, tasks: bool = True
) -> wasmtime.Engine:
    """Make an engine, with the engine's own cache where its settings are named."""
    described = _settings(config, compiler, limits), tasks
    return kept(("engine", described), lambda: _new_engine(config, compiler, limits, tasks=tasks))


def _new_engine(config: EngineConfig, compiler: Compiler, limits: Limits, *, tasks: bool) -> wasmtime.Engine:
    settings = engine_config(config, compiler, fuel=limits.fuel is not None, concurrency=tasks)
    if isinstance(config.cache, str):
        try:
            settings.cache = config.cache
        except (wasmtime.WasmtimeError, UnicodeError) as error:
            from wizer.engine.messages import causes

            raise OptionError(f"the cache settings {config.cache!r} cannot be used", causes(error)) from None
    return wasmtime.Engine(settings)


def _component(
    engine: wasmtime.Engine,
    wasm: bytes,
    message: str = "the component does not compile",
    original: bytes | None = None,
) -> Component:
    try:
        return with_compiler_stack(lambda: capi_config.new_component(engine, wasm))
    except wasmtime.WasmtimeError as error:
        refused = error
    if original is not None:
        with suppress(InvalidError):
            _component(engine, original)
            message = FULL.format("component")
    raise invalid(message, refused)


def _module(engine: wasmtime.Engine, wasm: bytes, original: bytes | None = None) -> wasmtime.Module:
    """Compile ``wasm``, and validate what it was made of; the engine's complaint becomes an InvalidError."""
    with validating(engine, () if original is None else (original,)):
        try:
            return with_compiler_stack(lambda: capi_config.new_module(engine, wasm))
        except wasmtime.WasmtimeError as error:
            if original is not None and _is_valid(engine, original) and not _is_valid(engine, wasm):
                raise invalid(FULL.format("module"), error) from None
            raise invalid("the module does not compile", error) from None


FULL: Final = "the {} is valid, but so large that engines do not take it with what reads its state"


def _is_valid(engine: wasmtime.Engine, wasm: bytes) -> bool:
    try:
        capi_config.validate(engine, wasm)
    except wasmtime.WasmtimeError:
        return False
    return True


@contextmanager
def validating(engine: wasmtime.Engine, modules: Sequence[Chunk]) -> Iterator[None]:
    """Check on a thread that modules are valid, while they are compiled in another form.

    Raises:
        InvalidError: one is not, and nothing else is wrong.
    """

    def check() -> None:
        try:
            for wasm in modules:
                capi_config.validate(engine, wasm)
        except wasmtime.WasmtimeError as error:
            raise invalid("the module is invalid", error) from None

    wait = begin(lambda: with_compiler_stack(check))
    try:
        yield
    except BaseException:
        with suppress(BaseException):
            wait()
        raise
    wait()


def invalid(message: str, error: wasmtime.WasmtimeError) -> InvalidError:
    """Return the error of ours for what the engine says of a module or component."""
    from wizer.engine.messages import causes

    return InvalidError(message, causes(error))


_LITTLE_CODE = 1 << 13  # bytes: they compile in the time that it takes to look for them


def _enough_code(code: int, size: int) -> bool:
    """Whether something of this size has enough code to be worth a place among what is kept.

    What a large snapshot holds beside its code is data, which takes as long to write as to compile.
    """
    return code >= _LITTLE_CODE and code * 16 >= size
