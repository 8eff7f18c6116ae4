"""Compiled ahead: a module or component as machine code in a file, and back, so that it starts at once.

The file is what ``wasmtime compile`` writes for the same version and settings. It is mapped, not read: what
a snapshot's memory holds is mapped once more, copy-on-write, into each instance. The engine checks that the
file was made by its own version, for this processor and these settings, and trusts all the rest of it.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Final

import wasmtime
from wasmtime.component import Component

from wizer.binary.sections import is_component
from wizer.checks import PATH, expect
from wizer.engine.capi_values import Owner
from wizer.engine.compile import invalid
from wizer.engine.config import EngineConfig, engine_config
from wizer.engine.forks import PROCESS
from wizer.engine.messages import causes
from wizer.engine.stack import with_compiler_stack
from wizer.engine.versions import installed
from wizer.errors import InputError, OptionError, WizerError
from wizer.records import replace

_ELF: Final = b"\x7fELF\x02"  # of 64 bits
_FLAGS_AT: Final = 48  # where an ELF header has the flags, by which the engine tells the two kinds
_MODULE, _COMPONENT = 1, 2
_STACK: Final = 1 << 19  # bytes; the engine's own default


class LoadedModule(Owner, wasmtime.Module):
    """A module that was compiled ahead.

    Attributes:
        engine: the engine to make stores of.
    """

    engine: wasmtime.Engine


class LoadedComponent(Owner, Component):
    """A component that was compiled ahead.

    Attributes:
        engine: the engine to make stores of.
    """

    engine: wasmtime.Engine


def compile_ahead(wasm: bytes, config: EngineConfig) -> bytes | bytearray:
    """Compile a snapshot with Cranelift, optimised unless ``config`` says otherwise.

    What only initialisation needs is left out: code does not count fuel or look at epochs. Where nothing
    else is asked for, it is for an engine as ``wasmtime.Engine()`` makes it, as long as that knows all
    proposals that are used.

    Raises:
        InvalidError: it does not compile.
        OptionError: the engine refuses a setting.
    """
    engines = _engines(config)
    for engine in engines:
        try:
            return with_compiler_stack(partial(_compile, engine, wasm))
        except wasmtime.WasmtimeError as error:
            if engine is engines[-1]:
                raise invalid("the snapshot does not compile", error) from None
    raise AssertionError("there is always an engine")


def _compile(engine: wasmtime.Engine, wasm: bytes) -> bytes | bytearray:
    kind = Component if is_component(wasm) else wasmtime.Module
    return kind(engine, wasm).serialize()


def _engines(config: EngineConfig) -> list[wasmtime.Engine]:
    """Return the engines that a snapshot may be compiled for, the plainest first."""
    serving = replace(
        config,
        opt_level="speed" if config.opt_level == "none" else config.opt_level,
        nan_canonicalization=False,
        memory_init_cow=True,
    )
    settings = engine_config(serving, "cranelift")
    settings.epoch_interruption = False
    if config.max_wasm_stack is None:
        settings.max_wasm_stack = _STACK  # nothing here looks after the threads that it runs on
    engine = wasmtime.Engine(settings)
    is_plain = replace(config, cache=True, compiler="auto", parallel_compilation=True) == EngineConfig()
    plain = wasmtime.Config()
    plain.parallel_compilation = not PROCESS.forked
    return [wasmtime.Engine(plain), engine] if is_plain else [engine]


def load(
    path: str | os.PathLike[str], engine: wasmtime.Engine | EngineConfig | None = None
) -> LoadedModule | LoadedComponent:
    """Load what ``precompile`` wrote. **Trust the file as you trust a program**: it is machine code.

    Args:
        path: the file.
        engine: the options that it was made with, where these are not the default ones; or an engine with
            such settings.

    Returns:
        A ``wasmtime.Module``, or a ``wasmtime.component.Component``; make stores of its ``engine``.

    Raises:
        OptionError: it is no such file.
        InputError: it cannot be read.
        WizerError: it was made by another version or for other settings.
    """
    expect("path", path, PATH)
    name = os.fspath(path)
    kind = LoadedComponent if _kind(Path(name)) == _COMPONENT else LoadedModule
    engines = [engine] if isinstance(engine, wasmtime.Engine) else _engines(engine or EngineConfig())
    for candidate in engines:
        try:
            loaded = kind.deserialize_file(candidate, name)
        except wasmtime.WasmtimeError as error:
            refused = causes(error)
        else:
            assert isinstance(loaded, LoadedModule | LoadedComponent)
            loaded.engine = candidate
            return loaded
    raise WizerError(
        f"`{name}` was not compiled for this engine, wasmtime {installed()} with these settings; "
        "compile the snapshot again",
        refused,
    )


def _kind(path: Path) -> int:
    """Return which of the two kinds a file is."""
    try:
        with path.open("rb") as file:
            header = file.read(_FLAGS_AT + 4)
    except (OSError, ValueError) as error:  # a NUL is no part of a path
        raise InputError(
            f"`{path}` cannot be read", [getattr(error, "strerror", None) or str(error)]
        ) from None
    kind = int.from_bytes(header[_FLAGS_AT:], "little")
    if not header.startswith(_ELF) or kind not in (_MODULE, _COMPONENT):
        raise OptionError(f"`{path}` is not what the engine compiles: it is made with `--precompile`")
    return kind
