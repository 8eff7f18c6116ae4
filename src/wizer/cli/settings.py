"""The settings of ``-W``, ``-S``, ``-C``, ``-O`` and ``-D``, from the command line and from a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wizer.cli.parse import Arguments
from wizer.errors import OptionError

SECTIONS: Mapping[str, str] = {"wasm": "W", "wasi": "S", "codegen": "C", "optimize": "O", "debug": "D"}
"""The long names of the options, which are also the tables of the TOML file, and their letters."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One ``key`` or ``key=value``.

    Attributes:
        section: the option's long name.
        key: the key, as written.
        value: the value, or None for a key alone.
    """

    section: str
    key: str
    value: str | None

    def __str__(self) -> str:
        return self.key if self.value is None else f"{self.key}={self.value}"


def collect(arguments: Arguments) -> list[Setting]:
    """Return all settings, those of the TOML file first: a later one takes precedence.

    Raises:
        OptionError: the file cannot be read or is not what it should be.
    """
    file = arguments.last("config")
    settings = [] if file is None else read_config(Path(file))
    for option, value in arguments.given:
        if option.name in SECTIONS and value is not None:
            settings += [_split(option.name, part) for part in value.split(",")]
    return settings


def _split(section: str, text: str) -> Setting:
    key, equals, value = text.partition("=")
    return Setting(section, key, value if equals else None)


def read_config(path: Path) -> list[Setting]:
    """Read the settings of a TOML file: a table per section, its keys spelled as on the command line.

    Raises:
        OptionError: the file cannot be read, is no TOML, or has a table or a value of another kind.
    """
    import tomllib

    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        cause = f"{error.strerror} (os error {error.errno})"
        raise OptionError(f'failed to read config file: "{path}"', [cause]) from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError
        raise OptionError(f'failed to parse TOML config file "{path}"', [str(error)]) from None
    try:
        return [setting for name, table in tables.items() for setting in _table(name, table)]
    except _ConfigError as error:
        raise OptionError(f'failed to parse TOML config file "{path}"', [str(error)]) from None


class _ConfigError(Exception):
    """What is wrong in the file."""


def _table(name: str, table: object) -> list[Setting]:
    """Return the settings of one table."""
    if name not in SECTIONS or not isinstance(table, dict):
        expected = ", ".join(f"`{section}`" for section in SECTIONS)
        raise _ConfigError(f"unknown field `{name}`, expected one of the tables {expected}")
    settings = []
    for key, value in table.items():
        values: Sequence[object] = value if isinstance(value, list) else [value]
        settings += [Setting(name, key, _text(f"{name}.{key}", item)) for item in values]
    return settings


def _text(place: str, value: object) -> str:
    """Write a TOML value as it would stand on the command line."""
    if isinstance(value, bool):
        return "y" if value else "n"
    if isinstance(value, int | float | str):
        return str(value)
    raise _ConfigError(f"`{place}` must be a boolean, a number or a string, not {type(value).__name__}")
