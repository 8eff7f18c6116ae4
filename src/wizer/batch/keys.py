"""The keys of ``wizer.toml``, as a table: what each takes, and what it means.

The reader (`wizer.batch.config`) and the JSON Schema for editors (`wizer.batch.schema`) are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias, get_args

from wizer.engine.config import FEATURES, Compiler, UnknownImports
from wizer.options import Layout, OpenHandles
from wizer.records import record
from wizer.trust.worlds import SOURCES
from wizer.units import seconds, size

Schema: TypeAlias = "dict[str, Any]"


@record
class Takes:
    """What a key takes.

    Attributes:
        schema: as JSON Schema.
        read: returns what a value means; raises ValueError with what was expected.
    """

    schema: Schema
    read: Callable[[object], Any]


@record
class Key:
    """A key.

    Attributes:
        name: as it is written.
        takes: what it takes.
        about: what it means.
        pattern: whether ``{stem}`` and the like are replaced in it.
    """

    name: str
    takes: Takes
    about: str
    pattern: bool = False


def _of(kind: type, expected: str, schema: Schema) -> Takes:
    def read(value: object) -> object:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(expected)
        return value

    return Takes(schema, read)


def _words(*words: str) -> Takes:
    def read(value: object) -> object:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return value

    return Takes({"enum": list(words)}, read)


def _list(items: Takes, expected: str) -> Takes:
    def read(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise ValueError(expected)
        try:
            return tuple(items.read(item) for item in value)
        except ValueError:
            raise ValueError(expected) from None

    return Takes({"type": "array", "items": items.schema}, read)


def _table(values: Takes, expected: str) -> Takes:
    def read(value: object) -> dict[str, object]:
        if not isinstance(value, dict):
            raise ValueError(expected)
        try:
            return {str(name): values.read(item) for name, item in value.items()}
        except ValueError:
            raise ValueError(expected) from None

    return Takes({"type": "object", "additionalProperties": values.schema}, read)


def _switches(names: Collection[str]) -> Takes:
    """Return what takes a table of true or false for some of the names."""
    expected = f"a table of true or false for some of {', '.join(names)}"
    table = _table(_SWITCH, expected)

    def read(value: object) -> object:
        switched: dict[str, object] = table.read(value)
        if not switched.keys() <= set(names):
            raise ValueError(expected)
        return switched

    properties = dict.fromkeys(names, _SWITCH.schema)
    return Takes({"type": "object", "properties": properties, "additionalProperties": False}, read)


def _either(expected: str, *kinds: Takes) -> Takes:
    def read(value: object) -> object:
        for kind in kinds:
            try:
                return kind.read(value)
            except ValueError:
                continue
        raise ValueError(expected)

    return Takes({"anyOf": [kind.schema for kind in kinds]}, read)


def _unit(reader: Callable[[str], float], expected: str, pattern: str) -> Takes:
    def read(value: object) -> float:
        if isinstance(value, str):
            try:
                return reader(value)
            except ValueError:
                raise ValueError(expected) from None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(expected)
        return value

    return Takes({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": pattern}]}, read)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number that is not negative")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    if "\0" in value:
        raise ValueError("a string without NUL")
    return value


_TEXT: Final = Takes({"type": "string", "pattern": "^[^\\u0000]*$"}, _text)
_SWITCH: Final = _of(bool, "true or false", {"type": "boolean"})
_NUMBER: Final = _either(
    "a number",
    _of(int, "", {"type": "integer"}),
    _of(float, "", {"type": "number"}),
)
_COUNT: Final = Takes({"type": "integer", "minimum": 0}, _count)
_TEXTS: Final = _list(_TEXT, "a list of strings")
_TEXT_TABLE: Final = _table(_TEXT, "a table of strings")
_SIZE: Final = _unit(
    size, 'a number of bytes, or one with a unit: "64MiB"', r"^ *[0-9][0-9_]* *([KkMmGg]([Ii][Bb])?)?$"
)
_TIME: Final = _unit(
    seconds,
    'a length of time: "1.5s", "10m"',
    r"^[0-9][0-9_]*(\.[0-9]+)?\s*(ns|us|\u00b5s|\u03bcs|ms|s|m|min|h)?$",
)

KEYS: Final = (
    Key("input", _TEXT, "The module or component, relative to this file.", pattern=True),
    Key("inputs", _TEXT, "A pattern of modules (`tenants/*/app.wasm`): a snapshot for each that matches."),
    Key(
        "for-each",
        _TEXT,
        "A pattern of files or folders (`tenants/*`): a snapshot for each that matches, all of one `input`.",
    ),
    Key(
        "output",
        _TEXT,
        "The file to write, relative to this file. With a pattern, `{stem}` (name without ending), `{name}`, "
        "`{parent}` (name of the folder), `{dir}` (its path) and `{path}` stand for the match's.",
        pattern=True,
    ),
    Key(
        "init",
        _either("a call or a list of them", _TEXT, _TEXTS),
        "Exported functions that initialise, by name or as calls: `setup(3, 0x10)`.",
        pattern=True,
    ),
    Key("keep-init", _SWITCH, "Whether the snapshot still exports them."),
    Key("rename", _TEXT_TABLE, "New export name to old export name."),
    Key("preload", _TEXT_TABLE, "Modules to import from: name to file."),
    Key(
        "globals",
        _table(_NUMBER, "a table of numbers"),
        "Values of imported globals, by module, a dot and name.",
    ),
    Key("wasi", _SWITCH, "Whether the guest has WASI; what it shows is frozen."),
    Key("args", _TEXTS, "The guest's arguments behind its own name.", pattern=True),
    Key("env", _TEXT_TABLE, "The guest's environment variables.", pattern=True),
    Key("inherit-env", _SWITCH, "Pass on all variables of the build."),
    Key(
        "dirs",
        _either("a list of folders or a table of them by the guest's names", _TEXTS, _TEXT_TABLE),
        "Folders that the guest sees: a list, or the guest's name to the folder.",
        pattern=True,
    ),
    Key("read-only", _SWITCH, "Whether the guest cannot change anything in those folders."),
    Key("stdin", _TEXT, "A file to be the guest's standard input; otherwise it is empty.", pattern=True),
    Key(
        "deterministic",
        _either("true, false or a seed", _SWITCH, _TEXT, _of(int, "", {"type": "integer"})),
        "Make up chance and time: true, or a seed.",
    ),
    Key("keep-libc-state", _SWITCH, "Let libc keep the folders and variables of this host."),
    Key("layout", _words(*get_args(Layout)), "What data segments are chosen for."),
    Key("max-data-segments", _COUNT, "Most data segments to write."),
    Key("open-handles", _words(*get_args(OpenHandles)), "What becomes of a component's open handles."),
    Key("precompile", _TEXT, "A file for the snapshot as machine code, too.", pattern=True),
    Key("unknown-imports", _words(*get_args(UnknownImports)), "What functions do that nobody gives."),
    Key("verify", _SWITCH, "Check each snapshot against what it was made from."),
    Key("validate", _SWITCH, "Check in the engine that each snapshot is valid."),
    Key("producers", _SWITCH, "Say in the producers section, where there is one, how each was made."),
    Key(
        "audit",
        _either(
            f"true, false or a list of what may be frozen: {', '.join(SOURCES)}",
            _SWITCH,
            _list(_words(*SOURCES), ""),
        ),
        "Make the snapshot only if nothing is frozen but these sources; true: none of them.",
    ),
    Key("timeout", _TIME, "Most time for the guest."),
    Key("fuel", _COUNT, "Most instructions to execute, roughly."),
    Key("max-memory", _SIZE, "Most memory for the guest."),
    Key("max-output", _SIZE, "Most bytes of output."),
    Key("compiler", _words("auto", *get_args(Compiler)), "The compiler for initialisation."),
    Key(
        "features",
        _switches(FEATURES),
        "WebAssembly proposals switched on or off.",
    ),
)

BY_NAME: Final[Mapping[str, Key]] = {key.name: key for key in KEYS}
