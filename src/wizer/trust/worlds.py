"""Made-up worlds: the first one, and others in which one source is changed.

A source is changed again and again, each time independently. What takes one bit of it, whatever function of
it that is, agrees with the first run by chance with a probability of a half each time, so that `RUNS` changes
miss it less than once in a million audits. A bit that is kept as it is differs in the first change already,
where all bits are the opposite ones.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Final

from wizer.engine.deterministic import Deterministic, disguise
from wizer.engine.wasi import Wasi
from wizer.records import record, replace

SOURCES: Final = ("random", "clock", "env", "args", "files", "stdin", "terminal", "other")

RUNS: Final = 21

_START: Final = 1_000_000_000 * 10**9  # the time of the first run, in nanoseconds since 1970

FIRST: Final = Deterministic(network=True, start=_START)

# The calls that tell that a source is asked for.
_ASKS: Final[Mapping[str, frozenset[str]]] = {
    "random": frozenset(
        {
            "random_get",
            "get-random-bytes",
            "get-random-u64",
            "get-insecure-random-bytes",
            "get-insecure-random-u64",
            "insecure-seed",
        }
    ),
    "clock": frozenset(
        {
            "clock_time_get",
            "clock_res_get",
            "resolution",
            "poll_oneoff",
            "fd_filestat_get",
            "path_filestat_get",
            "now",
            "subscribe-duration",
            "subscribe-instant",
            "[method]descriptor.stat",
            "[method]descriptor.stat-at",
        }
    ),
    "env": frozenset({"environ_get", "environ_sizes_get", "get-environment"}),
    "args": frozenset({"args_get", "args_sizes_get", "get-arguments"}),
    "files": frozenset(
        {
            "fd_readdir",
            "fd_filestat_get",
            "path_filestat_get",
            "path_open",
            "path_readlink",
            "fd_read",
            "fd_pread",
            "[method]descriptor.open-at",
            "[method]descriptor.read",
            "[method]descriptor.read-via-stream",
            "[method]descriptor.readlink-at",
            "[method]descriptor.read-directory",
            "[method]descriptor.metadata-hash",
            "[method]descriptor.metadata-hash-at",
        }
    ),
    "stdin": frozenset({"get-stdin"}),
    "terminal": frozenset(
        {"fd_fdstat_get", "get-terminal-stdin", "get-terminal-stdout", "get-terminal-stderr"}
    ),
}


def asked(calls: Mapping[tuple[str, str], int], *, stdin: bool) -> frozenset[str]:
    """Return the sources that were asked for, as calls of imports tell."""
    called = {name for _, name in calls}
    found = {source for source, asks in _ASKS.items() if called & asks}
    return frozenset(found | ({"stdin"} if stdin else set()))


@record
class World:
    """What a run of initialisation sees."""

    settings: Deterministic
    wasi: Wasi | None


def changed(first: World, sources: frozenset[str] | set[str], number: int) -> World:
    """Return the ``number``-th other world, in which some sources are changed at once; 0: the first one."""
    if number == 0:
        return first
    settings, wasi = first.settings, first.wasi
    if "random" in sources:
        # The first change is the opposite of every bit.
        settings = replace(settings, complement=number == 1, seed=number - 1)
    if "clock" in sources:
        time, step = _numbers("clock", number)
        settings = replace(settings, start=time >> 3, step=1 + (step >> 34), resolution=1 + (step >> 40))
    if "files" in sources:
        settings = replace(settings, reverse=number % 2 == 1)
        settings = replace(settings, contents=number)
    if "terminal" in sources:
        settings = replace(settings, terminal=True)
    if wasi is None:
        return World(settings, wasi)
    if "env" in sources:
        env = {name: _text(value, number) for name, value in variables(wasi).items()}
        wasi = replace(wasi, inherit_env=False, env=_resized(env, number))
    if "args" in sources:
        wasi = replace(wasi, args=_more([_text(arg, number) for arg in wasi.args], number))
    if isinstance(wasi.stdin, bytes) and "stdin" in sources:
        wasi = replace(wasi, stdin=_longer(wasi.stdin.translate(disguise(number)), number))
    return World(settings, wasi)


def _numbers(what: str, number: int) -> tuple[int, int]:
    digest = hashlib.sha256(f"wizer {what} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


def variables(wasi: Wasi | None) -> dict[str, str]:
    """Return the variables that a guest sees."""
    if wasi is None:
        return {}
    return {**os.environ, **wasi.env} if wasi.inherit_env else dict(wasi.env)


def _text(text: str, number: int) -> str:
    """Return another text of the same length: characters of ASCII for those of their kind, others too."""
    table = disguise(2 * number - 1)
    return "".join(chr(table[ord(c)]) if ord(c) < 0x80 else _moved(c, number) for c in text)


def _moved(character: str, number: int) -> str:
    """Return another character whose UTF-8 has as many bytes."""
    code = ord(character)
    low, size = (0x80, 0x780) if code < 0x800 else (0x800, 0xD000) if code < 0x10000 else (0x10000, 0x10000)
    return chr(low + (code - low + 1 + 7 * number) % size)


def _resized(env: dict[str, str], number: int) -> dict[str, str]:
    """Change the number of variables and the length of their values, in two of three worlds."""
    if number % 3 == 1:
        return env
    longer = {name: value + "x" * (number % 7) for name, value in env.items()}
    more = {f"WIZER_AUDIT_{i}": "x" * (1 + number % 5) for i in range(1 + number % 4)}
    return {**longer, **more}


def _more(args: list[str], number: int) -> list[str]:
    if number % 3 == 1:
        return args
    return [*args, *("x" * (1 + number % 5) for _ in range(1 + number % 4))]


def _longer(data: bytes, number: int) -> bytes:
    return data if number % 3 == 1 else data + b"x\n" * (number % 11)


def others(first: World, source: str) -> Iterator[World]:
    """Yield the worlds in which one source is changed."""
    yield from (changed(first, {source}, number) for number in range(1, RUNS + 1))
