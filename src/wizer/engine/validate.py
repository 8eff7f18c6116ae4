"""Checking what is handed out: the engine itself finds it valid, with the features that are switched on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import wasmtime

from wizer.binary.assemble import Chunk
from wizer.engine import capi_config
from wizer.engine.config import EngineConfig, feature_set, validation_config
from wizer.engine.original import Original
from wizer.engine.stack import with_compiler_stack
from wizer.errors import StateError
from wizer.kept import alone, begin, kept

_LITTLE = 1 << 16  # bytes: they are validated in the time that it takes to look for a note


class Validator:
    """Checks the parts of a snapshot, which are given without what says nothing of whether they are valid.

    Args:
        config: says which features are switched on.
        original: what the snapshot is made of.
    """

    def __init__(self, config: EngineConfig, original: Original) -> None:
        self._config = config
        self._original = original

    def module(self, chunks: Sequence[Chunk]) -> Callable[[], None]:
        """Begin to check a module, in pieces; return what waits until it is known.

        Raises:
            StateError: engines would refuse it: it is beyond a limit that they have, which is named. What is
                returned raises it, too.
        """

        def check() -> None:
            _check("module", lambda: capi_config.validate(self._engine, b"".join(chunks)))

        return self._begin(chunks, check)

    def component(self, chunks: Sequence[Chunk]) -> Callable[[], None]:
        """Begin to check a component as `module` does; it is compiled for that, as quickly as can be."""
        settings = validation_config(self._config)
        settings.cranelift_opt_level = "none"
        capi_config.set_register_allocator(settings, "single-pass")

        def check() -> None:
            wasm = b"".join(chunks)
            _check("component", lambda: capi_config.new_component(wasmtime.Engine(settings), wasm))

        return self._begin(chunks, check)

    def _begin(self, chunks: Sequence[Chunk], check: Callable[[], None]) -> Callable[[], None]:
        """Begin a check, unless the cache has a note that this engine had nothing against the same bytes."""
        if sum(map(len, chunks)) < _LITTLE:
            check()
            return _nothing
        if self._config.cache is not True:
            return begin(check)
        from wizer.engine import cache

        settings = f"valid {capi_config.library()} {self._features}"

        def check_once() -> None:
            key = self._original.key(chunks, settings)

            def checked() -> None:
                if not cache.is_noted(key):
                    check()
                    cache.note(key)

            kept(key, checked)

        return begin(check_once)

    @cached_property
    def _features(self) -> str:
        """What validating depends on, as text."""
        return str(sorted(feature_set(self._config.features).items()))

    @cached_property
    def _engine(self) -> wasmtime.Engine:
        return kept(("validation", self._features, alone()), self._new_engine)

    def _new_engine(self) -> wasmtime.Engine:
        settings = validation_config(self._config)
        if not alone():
            settings.parallel_compilation = False  # it is for validation, too
        return wasmtime.Engine(settings)


def _nothing() -> None:
    """Wait for nothing."""


def _check(what: str, check: Callable[[], object]) -> None:
    try:
        with_compiler_stack(check)
    except wasmtime.WasmtimeError as error:
        from wizer.engine.messages import causes

        raise StateError(f"the state makes a {what} that engines refuse", causes(error)) from None
