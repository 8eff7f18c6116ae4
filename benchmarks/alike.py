"""Start outputs side by side, compare what they do, and measure it.

``python alike.py DRIVE NAME=FILE…`` prints JSON: for each name the median seconds from instantiation
to the end of the first call, whether all answered alike, and which are no valid modules. The modules are
compiled beforehand, by the engine's defaults.
"""

from __future__ import annotations

import gc
import hashlib
import json
import struct
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import wasmtime
import wasmtime.component as wc

from wizer.demo.quickjs import Fresh, QuickJS

LEAST_ROUNDS, MOST_ROUNDS = 31, 501
SECONDS = 5  # after which no round begins that is not among the least


class Starter(Protocol):
    """An output, compiled."""

    def first(self) -> object:
        """Instantiate it and make a first call; return its answer."""

    def check(self) -> object:
        """Return something that depends on all of the state."""


class Exports:
    """A module with the exports ``first`` and, unless it has no state, ``check``."""

    def __init__(self, path: Path) -> None:
        self._engine = wasmtime.Engine(_config())
        self._module = wasmtime.Module.from_file(self._engine, str(path))

    def first(self) -> object:
        """Call ``first``."""
        return self._call("first")

    def check(self) -> object:
        """Call ``check``."""
        return self._call("check")

    def _call(self, name: str) -> object:
        store = wasmtime.Store(self._engine)
        function: Any = wasmtime.Instance(store, self._module, []).exports(store).get(name)
        return None if function is None else function(store)


class Component:
    """A component with the exports ``first`` and ``check``."""

    def __init__(self, path: Path) -> None:
        self._engine = wasmtime.Engine(_config())
        self._component = wc.Component.from_file(self._engine, str(path))

    def first(self) -> object:
        """Call ``first``."""
        return self._call("first")

    def check(self) -> object:
        """Call ``check``."""
        return self._call("check")

    def _call(self, name: str) -> object:
        store = wasmtime.Store(self._engine)
        instance = wc.Linker(self._engine).instantiate(store, self._component)
        function = instance.get_func(store, name)
        assert function is not None
        return function(store)


class JavaScript:
    """QuickJS, booted, perhaps with the application."""

    def __init__(self, path: Path) -> None:
        engine = wasmtime.Engine(_config())
        self._linker = wasmtime.Linker(engine)
        self._linker.define_wasi()
        self._module = wasmtime.Module.from_file(engine, str(path))
        self._expression = "typeof handle == 'function' ? handle('GET', '/products/42') : 6 * 7"

    def first(self) -> object:
        """Evaluate an expression."""
        return QuickJS(Fresh(self._linker, self._module)).evaluate(self._expression)

    def check(self) -> object:
        """List all globals and a page of products."""
        javascript = QuickJS(Fresh(self._linker, self._module))
        return javascript.evaluate(
            "Object.getOwnPropertyNames(globalThis).sort().join()"
            " + (typeof handle == 'function' ? handle('GET', '/cheapest/100') : '')"
        )


class Command:
    """A WASI command that prints."""

    def __init__(self, path: Path) -> None:
        self._engine = wasmtime.Engine(_config())
        self._linker = wasmtime.Linker(self._engine)
        self._linker.define_wasi()
        self._module = wasmtime.Module.from_file(self._engine, str(path))

    def first(self) -> object:
        """Run it with one argument."""
        return self._run("1000")

    def check(self) -> object:
        """Run it with a larger argument."""
        return self._run("1000000")

    def _run(self, argument: str) -> str:
        with tempfile.NamedTemporaryFile() as output:
            store = wasmtime.Store(self._engine)
            wasi = wasmtime.WasiConfig()
            wasi.argv = ["command", argument]
            wasi.stdout_file = output.name
            store.set_wasi(wasi)
            start: Any = self._linker.instantiate(store, self._module).exports(store)["_start"]
            start(store)
            return output.read().decode()


class Starling:
    """StarlingMonkey as ComponentizeJS makes it, with the application's ``greet``."""

    def __init__(self, path: Path) -> None:
        engine = wasmtime.Engine(_config())
        self._module = wasmtime.Module.from_file(engine, str(path))
        self._linker = wasmtime.Linker(engine)
        self._linker.define_wasi()
        self._linker.define_unknown_imports_as_traps(self._module)

    def first(self) -> object:
        """Greet somebody."""
        return self._greet(b"Wizer")

    def check(self) -> object:
        """Greet somebody whose name is long."""
        return self._greet(b"Python" * 1000)

    def _greet(self, name: bytes) -> bytes:
        fresh = Fresh(self._linker, self._module)
        place = fresh.call("cabi_realloc", 0, 0, 1, len(name))
        fresh.memory()[place : place + len(name)] = name
        result = fresh.call("greet", place, len(name))
        start, size = struct.unpack_from("<II", fresh.memory(), result)
        return bytes(fresh.memory()[start : start + size])


DRIVES: dict[str, type[Exports | Component | JavaScript | Command | Starling]] = {
    "exports": Exports,
    "component": Component,
    "quickjs": JavaScript,
    "command": Command,
    "starling": Starling,
}


def _config() -> wasmtime.Config:
    config = wasmtime.Config()
    config.wasm_gc = True
    config.wasm_function_references = True
    config.cache = True
    return config


def main() -> None:
    """Compare the outputs that the command line names."""
    drive = DRIVES[sys.argv[1]]
    paths = {name: Path(path) for name, _, path in (word.partition("=") for word in sys.argv[2:])}
    starters: dict[str, Starter] = {}
    invalid: dict[str, str] = {}
    for name, path in paths.items():
        try:
            starters[name] = drive(path)
        except wasmtime.WasmtimeError as error:
            invalid[name] = str(error).splitlines()[-1].strip()
    answers = {name: _digest(starter.check()) for name, starter in starters.items()}
    seconds: dict[str, list[float]] = {name: [] for name in starters}
    first = {name: starter.first() for name, starter in starters.items()}
    gc.disable()
    until = time.monotonic() + SECONDS
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and time.monotonic() > until:
            break
        for name in _rotated(list(starters), number):
            starter = starters[name]
            gc.collect()  # stores of earlier rounds, before the clock runs
            begin = time.perf_counter()
            answer = starter.first()
            seconds[name].append(time.perf_counter() - begin)
            if answer != first[name]:
                raise SystemExit(f"{name} answers {first[name]!r}, and then {answer!r}")
    alike = len(set(answers.values())) == 1 and len(set(map(str, first.values()))) == 1
    start = {name: median(times) for name, times in seconds.items()}
    print(json.dumps({"alike": alike, "start": start, "invalid": invalid}))


def _rotated(names: list[str], number: int) -> list[str]:
    """Return the names in a turn's order: each goes first as often as the others."""
    number %= len(names)
    return names[number:] + names[:number]


def _digest(answer: object) -> str:
    return hashlib.sha256(repr(answer).encode()).hexdigest()


if __name__ == "__main__":
    main()
