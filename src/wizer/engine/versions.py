"""What differs between the versions of the engine: nothing else here asks which one is installed.

A version that lacks something is asked for it, not guessed from its number. What a version lacks and a caller
asks for is an error that names both; a version beyond those that are tested is a warning.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import _ffi as ffi

from wizer.errors import WizerError, WizerWarning

if TYPE_CHECKING:
    from wasmtime.component._types import ComponentItem

    from wizer.binary.module import Module

OLDEST: Final = 48
"""The oldest version that works; older ones do not link what goes before their own WASI."""
NEWEST: Final = 50
"""The newest version that is tested."""


def installed() -> str:
    """Return the version of the engine's package that is installed, as it says itself."""
    # `importlib.metadata` imports a quarter of the standard library.
    for path in Path(wasmtime.__file__).parent.parent.glob("wasmtime-*.dist-info"):
        return path.name.removeprefix("wasmtime-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version("wasmtime")


@functools.cache
def major() -> int:
    """Return the first number of the installed version."""
    return int(installed().partition(".")[0])


@functools.cache
def check_installed() -> None:
    """Check, once, that the installed version is one that can be used; warn of one that is not tested.

    Raises:
        WizerError: it is too old, or lacks something that is called here.
    """
    if major() < OLDEST:
        raise WizerError(
            f"wasmtime {installed()} is too old: {OLDEST} and newer work; `pip install 'wasmtime>={OLDEST}'`"
        )
    if major() > NEWEST:
        for symbol in sorted(_called()):
            if not hasattr(ffi, symbol):
                raise lacks(f"`{symbol}`")
        warnings.warn(
            f"wasmtime {installed()} is newer than {NEWEST}, the newest that this package is tested with",
            WizerWarning,
            stacklevel=2,
        )


def _called() -> set[str]:
    """Return what this package uses of the engine's C API."""
    files = Path(__file__).parent.glob("*.py")
    return {symbol for file in files for symbol in re.findall(r"\bffi\.(\w+)", file.read_text("utf-8"))}


def lacks(what: str) -> WizerError:
    """Return the error for something that the installed version does not have."""
    return WizerError(
        f"wasmtime {installed()} has no {what}; {OLDEST} to {NEWEST} are tested, and {NEWEST} has all of it"
    )


def has_setting(name: str) -> bool:
    """Whether the engine's configuration has the setting that the C API calls ``name``."""
    return hasattr(ffi, f"wasmtime_config_{name}_set")


def not_in_winch(machine: str, version: int) -> frozenset[str]:
    """Return the features that a Winch engine must not have on, or it ends the process.

    Args:
        machine: the processor's name, lower case.
        version: the first number of the engine's version.
    """
    off = {"relaxed-simd", "tail-call", "function-references", "gc", "exceptions"}
    if machine in ("aarch64", "arm64"):
        off |= {"threads", "shared-memory"}
    if version < 49:
        off |= {"gc-support"}
    return frozenset(off)


def check_modules(modules: Iterable[Module]) -> None:
    """Check that the engine can compile modules: 48 ends the process on very many active data segments.

    Raises:
        WizerError: it cannot.
    """
    if major() != 48:
        return
    for module in modules:
        count = sum(segment.mode == "active" for segment in module.data)
        if count > _MOST_SEGMENTS:
            raise WizerError(
                f"the module has {count} active data segments, and wasmtime {installed()} compiles no more "
                f"than {_MOST_SEGMENTS}; install a newer version of it"
            )


_MOST_SEGMENTS: Final = 32_000


def component_item(extern: Any) -> ComponentItem:
    """Return what an import or export of a component is: until 48 it is the type itself."""
    item: ComponentItem = getattr(extern, "ty", extern)
    return item
