"""The engine's settings as ``key`` and ``key=value``: the `-C`, `-O`, `-W`, `-S` and `-D` of `wasmtime`.

A key is honoured, or it is an error that names it and says why. Keys that the engine's C API has no switch
for are accepted with the value that holds anyway.

Importing this module does not import the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from wizer.engine.config import FEATURES, EngineConfig, UnknownImports
from wizer.engine.limits import Limits
from wizer.engine.wasi import Wasi
from wizer.errors import OptionError
from wizer.records import record, replace

if TYPE_CHECKING:
    from wizer.cli.flagkeys import Key

LETTERS: Mapping[str, str] = MappingProxyType(
    {"codegen": "C", "optimize": "O", "wasm": "W", "wasi": "S", "debug": "D"}
)
"""The sections, which are the long names of the options, and the short ones."""

Setting: TypeAlias = tuple[str, str, str | None]
"""A section ("codegen", "optimize", "wasm", "wasi" or "debug"), a key, and a value or None."""


_Found: TypeAlias = dict[str, dict[str, object]]  # by target and field; the records check the values


@record(kw_only=True)
class Flags:
    """What settings say.

    Attributes:
        engine, limits, wasi: what they were, with the settings applied.
        use_wasi: whether `-S cli` asks for WASI; None: nothing was said.
        unknown_imports: what to do about imports that nobody provides; None: nothing was said.
    """

    engine: EngineConfig
    limits: Limits
    wasi: Wasi
    use_wasi: bool | None = None
    unknown_imports: UnknownImports | None = None


def split(section: str, values: Iterable[str]) -> list[Setting]:
    """Split the values of one option, ``["a,b=1", "c"]``, into settings."""
    parts = [part.partition("=") for value in values for part in value.split(",")]
    return [(section, key, value if equals else None) for key, equals, value in parts]


def from_settings(
    settings: Iterable[Setting],
    *,
    engine: EngineConfig | None = None,
    limits: Limits | None = None,
    wasi: Wasi | None = None,
) -> Flags:
    """Apply ``settings``, a later one over an earlier one, to what is given.

    Raises:
        OptionError: a key is unknown, cannot be honoured, or has a value that it does not take.
    """
    engine, limits, wasi = engine or EngineConfig(), limits or Limits(), wasi or Wasi()
    found = _Found()
    for section, name, text in settings:
        key, value = _read(section, name, text)
        found.setdefault(key.target, {})[key.field] = value
    switches = {name: bool(value) for name, value in found.get("run", {}).items()}
    features = {**_all_proposals(switches), **engine.features, **found.get("features", {})}
    pooling = switches.get("pooling-allocator", False)
    changes = {**found.get("engine", {}), **_compound(found, engine, pooling=pooling), "features": features}
    return Flags(
        engine=replace(engine, **changes),
        limits=replace(limits, **found.get("limits", {})),
        wasi=replace(wasi, **found.get("wasi", {})),
        use_wasi=switches.get("wasi"),
        unknown_imports=_unknown_imports(switches),
    )


def _read(section: str, name: str, text: str | None) -> tuple[Key, object]:
    """Find a key and read its value."""
    from wizer.cli.flagkeys import KEYS, Key

    option = f"-{LETTERS[section]} / --{section} option"
    spelling = name.replace("_", "-")
    if section == "codegen" and spelling.startswith("cranelift-") and spelling not in KEYS[section]:
        flag = spelling.removeprefix("cranelift-").replace("-", "_")
        return Key(name, "", "", None, "cranelift_flags", flag), text
    key = KEYS[section].get(spelling)
    if key is None:
        raise OptionError(f"failed to parse {option}: unknown option: {name}")
    shown = name if text is None else f"{name}={text}"
    try:
        value = key.read(text)
    except ValueError as error:
        raise OptionError(
            f"failed to parse {option}: failed to parse option `{shown}`", [str(error)]
        ) from None
    if key.target == "fixed" and value != key.value:
        raise OptionError(f"`-{LETTERS[section]} {shown}` cannot be honoured: {key.help}")
    return key, value


def _all_proposals(switches: Mapping[str, bool]) -> dict[str, bool]:
    """Return the features that `-W all-proposals` switches; a key of their own goes before it."""
    every = switches.get("all-proposals")
    if every is None:
        return {}
    return {
        name: every
        for name in FEATURES
        if not name.startswith("component-model") and name not in _NOT_PROPOSALS
    }


_NOT_PROPOSALS = ("gc-support", "concurrency-support", "shared-memory")  # what the engine provides


def _compound(found: _Found, engine: EngineConfig, *, pooling: bool) -> dict[str, object]:
    """Return the fields of an EngineConfig that several keys make up."""
    changes: dict[str, object] = {}
    if flags := found.get("cranelift_flags"):
        changes["cranelift_flags"] = {**engine.cranelift_flags, **flags}
    cache = found.get("cache", {})
    if cache:
        on = cache.get("cache", True)
        changes["cache"] = cache.get("config", on) if on else False
    pool = found.get("pooling", {})
    if pooling:
        changes["pooling"] = dict(pool)
    elif pool:
        raise OptionError("the `-O pooling-…` keys mean nothing without `-O pooling-allocator`")
    return changes


def _unknown_imports(switches: Mapping[str, bool]) -> UnknownImports | None:
    """Return what two keys say about unknown imports."""
    trap, default = switches.get("unknown-imports-trap"), switches.get("unknown-imports-default")
    if trap and default:
        raise OptionError("`-W unknown-imports-trap` and `-W unknown-imports-default` exclude each other")
    if trap:
        return "trap"
    if default:
        return "default"
    return "error" if trap is False else None


def describe(section: str) -> list[tuple[str, str]]:
    """Return the keys of a section that can be honoured, as they are written, and what they do."""
    from wizer.cli.flagkeys import KEYS

    return [(f"{key.name}{key.form}", key.help) for key in KEYS[section].values() if key.target != "fixed"]
