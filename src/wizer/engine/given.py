"""Imported globals that are given as values, and what is given for nothing."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import wasmtime

from wizer.binary.externs import GlobalType, Import
from wizer.binary.module import Module
from wizer.binary.types import RefType
from wizer.binary.values import Number
from wizer.checks import shown
from wizer.engine import capi, capi_values
from wizer.errors import LinkError
from wizer.notices import warn
from wizer.records import record

_EXAMPLES: Final = {"i32": "1024", "i64": "1024", "f32": "0.5", "f64": "0.5", "v128": "bytes(16)"}


@record
class GivenGlobal:
    """An imported global that was made with a value.

    Attributes:
        made: the global.
        mutable: whether it can change.
        kind: the kind of its values.
        value: the value that it was made with.
    """

    made: wasmtime.Global
    mutable: bool
    kind: int
    value: object

    @property
    def number(self) -> Number | None:
        """The value where it is a number or vector."""
        value = self.value
        match self.kind:
            case capi_values.I32 | capi_values.I64 if isinstance(value, int):
                bits = 32 if self.kind == capi_values.I32 else 64
                return Number(f"i{bits}", value & (1 << bits) - 1)
            case capi_values.F32 if isinstance(value, float):
                return Number("f32", int.from_bytes(struct.pack("<f", value), "little"))
            case capi_values.F64 if isinstance(value, float):
                return Number("f64", int.from_bytes(struct.pack("<d", value), "little"))
            case capi_values.V128 if isinstance(value, bytes):
                return Number("v128", int.from_bytes(value, "little"))
        return None

    def holds(self, store: wasmtime.Store) -> bool:
        """Whether the global is of a reference, and holds still the one that it was given."""
        if self.number is not None:
            return False
        now = capi.global_value(store, self.made)
        if isinstance(now, wasmtime.Func) and isinstance(self.value, wasmtime.Func):
            return bytes(now._func) == bytes(self.value._func)
        return now is self.value


def give_global(
    store: wasmtime.Store,
    types: capi.ImportTypes,
    number: int,
    imported: Import,
    module: Module,
    value: object,
) -> GivenGlobal:
    """Return a global for the import ``number`` that has a value, given as a Python or ``wasmtime`` value.

    Raises:
        LinkError: the global cannot have this value.
    """
    assert isinstance(imported.type, GlobalType)
    valtype = imported.type.valtype
    kind = capi_values.value_kind(valtype, module.types)
    plain = value.value if isinstance(value, wasmtime.Val) else value
    name = f"`{imported.module}::{imported.name}`"
    if plain is None and isinstance(valtype, RefType) and not valtype.nullable:
        raise LinkError(f"None is given for {name}, a global of {valtype}, which is never null")
    try:
        made = types.new_global(store, number, kind, plain)
    except (TypeError, OverflowError, wasmtime.WasmtimeError) as error:
        raise LinkError(f"{shown(plain)} is given for {name}, a global of {valtype}: {error}") from None
    return GivenGlobal(made, imported.type.mutable, kind, capi.global_value(store, made))


def missing_global(imported: Import) -> str:
    """Return what to say of an imported global that nobody gives, and the way out."""
    assert isinstance(imported.type, GlobalType)
    valtype = imported.type.valtype
    kind = f"{'a mutable' if imported.type.mutable else 'an immutable'} global of {valtype}"
    example = _EXAMPLES.get(str(valtype), "…")
    message = (
        f"the import `{imported.module}::{imported.name}`, {kind}, is not given. What initialisation does "
        f'with a made-up value would be frozen: give it, imports={{"{imported.module}": '
        f'{{"{imported.name}": {example}}}}}'
    )
    if valtype in ("i32", "i64", "f32", "f64", "v128"):
        written = "0" if valtype == "v128" else example
        message += f" (--global {imported.module}.{imported.name}={written})"
    return message


def warn_of_made_up(imported: Import) -> None:
    """Say that a global has a made-up value."""
    assert isinstance(imported.type, GlobalType)
    value = "null" if isinstance(imported.type.valtype, RefType) else "0"
    warn(
        f"the import `{imported.module}::{imported.name}`, a global of {imported.type.valtype}, is not "
        f"given: it is {value} during initialisation"
    )


def warn_of_unused(
    given: Mapping[str, Collection[str]], preloads: Iterable[str], modules: Iterable[Module]
) -> None:
    """Say what is given and imported by nobody.

    Args:
        given: the names that are given, by module name.
        preloads: the names of modules that are.
        modules: all modules that import.
    """
    imported: dict[str, dict[str, None]] = {}
    for module in modules:
        for item in module.imports:
            imported.setdefault(item.module, {})[item.name] = None
    for name in preloads:
        if name not in imported:
            _warn(f"preload: nothing is imported from `{name}`", name, list(imported))
    for module_name, names in given.items():
        known = imported.get(module_name)
        if known is None:
            _warn(f"imports: nothing is imported from `{module_name}`", module_name, list(imported))
            continue
        for name in names:
            if name not in known:
                prefix = f"{module_name}."
                _warn(f"imports: {prefix}{name} is not imported", name, list(known), prefix)


def warn_of_unused_names(given: Iterable[str], imported: Iterable[str]) -> None:
    """Say what is given and not imported by a component; of versions, the engine takes one for another."""
    known = list(imported)
    unversioned = {name.partition("@")[0] for name in known}
    for name in given:
        if name.partition("@")[0] not in unversioned:
            _warn(f"imports: `{name}` is not imported", name, known, importer="component")


def _warn(problem: str, name: str, known: list[str], prefix: str = "", importer: str = "module") -> None:
    import difflib

    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:3]
    names = ", ".join(prefix + name for name in close) or "nothing"
    warn(f"{problem}; the {importer} imports {names}")
