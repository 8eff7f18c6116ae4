"""Reading ``wizer.toml``, or ``[tool.wizer]`` in ``pyproject.toml``: which snapshots are to be made, and how.

::

    [defaults]                       # for all
    deterministic = true

    [snapshots.app]
    input = "app.wasm"
    output = "out/app.wasm"

    [snapshots.tenants]              # a thousand of one engine
    for-each = "tenants/*"
    input = "engine.wasm"
    output = "out/{stem}.wasm"
    wasi = true
    dirs = { "/app" = "{path}" }

What the keys mean is in `wizer.batch.keys`; `wizer.batch.plan` makes jobs of what is read here.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from wizer.batch.keys import BY_NAME
from wizer.checks import shown
from wizer.errors import InputError, OptionError
from wizer.records import record

FILE: Final = "wizer.toml"
PYPROJECT: Final = "pyproject.toml"

_TABLES: Final = ("defaults", "snapshots")
_NEEDED: Final = "output"
_INPUTS: Final = ("input", "inputs", "for-each")


@record
class Snapshot:
    """One table of the file: a snapshot, or one for each match of a pattern.

    Attributes:
        name: the table's.
        own: the values of its keys, read.
        values: the same with the defaults.
    """

    name: str
    own: Mapping[str, Any]
    values: Mapping[str, Any]


class ConfigError(OptionError):
    """A file that says what to build is at fault.

    Attributes:
        path: the file.
        line: the line, from 1; None: it could not be found.
        key: the path of the key, dotted; empty: the file as a whole.
    """

    def __init__(self, path: Path, line: int | None, key: str, message: str) -> None:
        where = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{where}: {key}: {message}" if key else f"{where}: {message}")
        self.path = path
        self.line = line
        self.key = key


def find(folder: Path) -> Path | None:
    """Return the file in a folder that says what to build, None where there is none."""
    path = folder / FILE
    if path.exists():
        return path
    path = folder / PYPROJECT
    try:
        return path if "wizer" in tomllib.loads(path.read_text("utf-8")).get("tool", {}) else None
    except (OSError, ValueError, RecursionError):
        return None


def read(path: Path) -> list[Snapshot]:
    """Return the snapshots that a file names, in its order.

    Raises:
        InputError: it cannot be read.
        ConfigError: it is no TOML, or a table, key or value makes no sense; file, line and key are named.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"failed to read `{path}`", [getattr(error, "strerror", None) or str(error)]
        ) from None
    prefix = ("tool", "wizer") if path.name == PYPROJECT else ()
    return _Reader(path, text, prefix).snapshots()


class _Reader:
    """Reads one file."""

    def __init__(self, path: Path, text: str, prefix: tuple[str, ...]) -> None:
        self._path = path
        self._text = text
        self._prefix = prefix

    def snapshots(self) -> list[Snapshot]:
        tables = self._tables()
        for name in tables:
            if name not in _TABLES:
                raise self._error((name,), f"there is no such table; known are {', '.join(_TABLES)}")
        defaults = self._values(("defaults",), tables.get("defaults", {}))
        for key in (*_INPUTS, _NEEDED):
            if key in defaults:
                raise self._error(("defaults", key), "it has to be each snapshot's own")
        found = []
        for name, table in self._table(("snapshots",), tables.get("snapshots", {})).items():
            own = self._values(("snapshots", name), table)
            self._check(("snapshots", name), own, {**defaults, **own})
            found.append(Snapshot(name, own, {**defaults, **own}))
        return found

    def _tables(self) -> Mapping[str, object]:
        try:
            found: object = tomllib.loads(self._text)
        except (ValueError, RecursionError) as error:  # TOMLDecodeError, a number too long, too many brackets
            line = re.search(r"\(at line (\d+)", str(error))
            raise ConfigError(self._path, int(line[1]) if line else None, "", str(error)) from None
        for number, name in enumerate(self._prefix, 1):
            found = self._table((), cast("dict[str, object]", found).get(name, {}), self._prefix[:number])
        return self._table((), found)

    def _table(
        self, key: tuple[str, ...], value: object, prefix: tuple[str, ...] | None = None
    ) -> Mapping[str, object]:
        if not isinstance(value, dict):
            raise self._error(key, f"expected a table, not {shown(value)}", prefix)
        return value

    def _values(self, place: tuple[str, ...], table: object) -> dict[str, Any]:
        """Return the values of a table's keys."""
        values = {}
        for name, value in self._table(place, table).items():
            key = BY_NAME.get(name)
            if key is None:
                raise self._error((*place, name), f"there is no such key{_advice(name)}")
            try:
                values[name] = key.takes.read(value)
            except ValueError as error:
                raise self._error((*place, name), f"expected {error}, not {shown(value)}") from None
        return values

    def _check(self, place: tuple[str, ...], own: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Check what keys mean together."""
        given = [key for key in _INPUTS if key in own]
        if given not in (["input"], ["inputs"], ["input", "for-each"]):
            raise self._error(
                place, f"expected `input`, `inputs`, or `for-each` with `input`, not {given or 'none'}"
            )
        if _NEEDED not in own:
            raise self._error(place, f"there is no `{_NEEDED}`")
        if not values.get("wasi"):
            for key in WASI:
                if key in own:
                    raise self._error((*place, key), "it has no effect without `wasi = true`")
        for name in values.get("globals", {}):
            if "." not in name:
                raise self._error((*place, "globals"), f'`{name}` has no module: write "MODULE.NAME"')

    def _error(
        self, key: tuple[str, ...], message: str, prefix: tuple[str, ...] | None = None
    ) -> ConfigError:
        whole = (*(self._prefix if prefix is None else prefix), *key)
        return ConfigError(self._path, line_of(self._text, whole), ".".join(whole), message)


WASI: Final = ("args", "env", "inherit-env", "dirs", "read-only", "stdin", "keep-libc-state")
"""The keys that mean nothing without WASI."""


def _advice(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name.replace("_", "-"), BY_NAME, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known are {', '.join(BY_NAME)}"


def line_of(text: str, key: Sequence[str]) -> int | None:
    """Return the line, from 1, where a TOML document has a key or table; None where that is not clear.

    ``tomllib`` does not say. Lines are read one by one; what only a whole document shows (a table within a
    line, a line that is part of a longer string) is not found, or found twice: then nothing is said.
    """
    keys = [*_keys(text)]
    for length in range(len(key), 0, -1):
        wanted = tuple(key[:length])
        found = [number for number, path in keys if path == wanted]
        if len(found) > 1:
            return None
        found += [number for number, path in keys if path[:length] == wanted]
        if found:
            return found[0]
    return None


_HEADER: Final = re.compile(r"^\s*\[([^\[\]].*)\]\s*(#.*)?$")
_KEY: Final = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'|\s*\.\s*)+)\s*=""")


def _keys(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the lines that begin with a table's header or a key, and the path of that."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = _path(f"[{header[1]}]")
            yield number, table
        elif key:
            yield number, table + _path(f"{key[1]} = 0")


def _path(line: str) -> tuple[str, ...]:
    """Return the path of the only key in a line of TOML."""
    try:
        inner: object = tomllib.loads(line)
    except (ValueError, RecursionError):
        return ()
    path = []
    while isinstance(inner, dict) and inner:
        ((name, inner),) = inner.items()
        path.append(name)
    return tuple(path)
