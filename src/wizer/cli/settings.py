"""The settings of ``-W``, ``-S``, ``-C``, ``-O`` and ``-D``: from a TOML file, and as a list for people.

What the keys mean is decided in `wizer.cli.flags`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wizer.cli.flags import LETTERS, Setting, describe, from_settings
from wizer.cli.report import worded
from wizer.errors import InputError, OptionError


def render_keys(section: str) -> str:
    """Return the list of a section's keys that can be honoured."""
    rows = describe(section)
    width = max(len(key) for key, _ in rows)
    lines = [f"  -{LETTERS[section]} {key:<{width}}  {text}" for key, text in rows]
    return "\n".join([f"Settings of -{LETTERS[section]}, --{section}:", "", *lines]) + "\n"


def read_config(path: Path) -> list[Setting]:
    """Read the settings of a TOML file: a table per section, its keys spelled as on the command line.

    Raises:
        InputError: the file cannot be read.
        OptionError: the file is no TOML, or has a table, key or value that makes no sense.
    """
    import tomllib

    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        settings = [setting for name, table in tables.items() for setting in _table(name, table)]
        from_settings(settings)
    except OSError as error:
        raise InputError(f'failed to read config file: "{path}"', [worded(error)]) from None
    except (ValueError, RecursionError) as error:  # ours, TOMLDecodeError, UnicodeDecodeError; many brackets
        raise OptionError(f'failed to parse TOML config file "{path}"', [str(error)]) from None
    except OptionError as error:
        causes = [error.message, *error.causes]
        raise OptionError(f'failed to parse TOML config file "{path}"', causes) from None
    return settings


def _table(name: str, table: object) -> list[Setting]:
    """Return the settings of one table."""
    if name not in LETTERS or not isinstance(table, dict):
        expected = ", ".join(f"`{section}`" for section in LETTERS)
        raise ValueError(f"unknown field `{name}`, expected one of the tables {expected}")
    settings = list[Setting]()
    for key, value in table.items():
        values: Sequence[object] = value if isinstance(value, list) else [value]
        settings += [(name, key, _text(f"{name}.{key}", item)) for item in values]
    return settings


def _text(place: str, value: object) -> str:
    """Write a TOML value as it would stand on the command line."""
    if isinstance(value, bool):
        return "y" if value else "n"
    if isinstance(value, int | float | str):
        return str(value)
    raise ValueError(f"`{place}` must be a boolean, a number or a string, not {type(value).__name__}")
