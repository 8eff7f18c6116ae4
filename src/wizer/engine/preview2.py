"""What WASI 0.2 shows a component in a made-up world: interfaces that stand in front of the engine's.

A function defined in an instance that the engine has defined, under the very name, takes the place of the
engine's; the other functions of that instance stay. `VERSION` is the one that the engine uses, and that
components of all versions 0.2 are given. Sleeping takes its time, since only the engine can make what a guest
waits for; directories are as the host has them.

https://github.com/WebAssembly/WASI/tree/main/wasip2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from wasmtime.component import Record

from wizer.engine.deterministic import RESOLUTION, World

VERSION: Final = "0.2.12"
"""The version of the engine's interfaces; ``tests/trust/test_components.py`` fails where it moves."""

_SECOND: Final = 10**9


def interfaces(world: World) -> Mapping[str, Mapping[str, Callable[..., Any]]]:
    """Return the functions of chance and time, by interface and name."""
    return {
        f"wasi:random/random@{VERSION}": {
            "get-random-bytes": world.random,
            "get-random-u64": lambda: _number(world),
        },
        f"wasi:random/insecure@{VERSION}": {
            "get-insecure-random-bytes": world.random,
            "get-insecure-random-u64": lambda: _number(world),
        },
        f"wasi:random/insecure-seed@{VERSION}": {
            "insecure-seed": lambda: (_number(world), _number(world)),
        },
        f"wasi:clocks/wall-clock@{VERSION}": {
            "now": lambda: _datetime(world.time()),
            "resolution": lambda: _datetime(RESOLUTION),
        },
        f"wasi:clocks/monotonic-clock@{VERSION}": {
            "now": world.elapsed,
            "resolution": lambda: RESOLUTION,
        },
    }


def _number(world: World) -> int:
    return int.from_bytes(world.random(8), "little")


def _datetime(nanoseconds: int) -> Record:
    datetime = Record()
    datetime.__dict__ = {"seconds": nanoseconds // _SECOND, "nanoseconds": nanoseconds % _SECOND}
    return datetime
