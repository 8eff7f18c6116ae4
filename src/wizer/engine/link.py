"""Supplying a module's imports: given ones, WASI, preloaded modules, and what Wizer makes for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import wasmtime

from wizer.binary import sections as sec
from wizer.binary.assemble import Chunk
from wizer.binary.externs import (
    Export,
    ExternKind,
    FuncIndex,
    GlobalType,
    Import,
    TableType,
    encode_export,
    encode_externtype,
    numbered,
)
from wizer.binary.module import Module
from wizer.binary.sections import MAGIC, MODULE_VERSION, encode_vector_section, section_header
from wizer.binary.types import RefType, ValType
from wizer.checks import shown
from wizer.engine import capi
from wizer.engine.config import UnknownImports
from wizer.engine.stack import with_compiler_stack
from wizer.errors import WASI_IS_OFF, LinkError
from wizer.records import record

if TYPE_CHECKING:
    from wizer.engine.given import GivenGlobal
    from wizer.engine.preview1 import Guest, Preview1
    from wizer.engine.trace import Trace

Supplied: TypeAlias = object  # an extern, a function, or the value of a global
Item: TypeAlias = "tuple[ExternKind, int]"


@record
class Linked:
    """A module's imports, ready for instantiation.

    Attributes:
        externs: one for each import.
        made: the imported memories, tables and globals that Wizer made, by kind and index: their state is
            the snapshot's to carry.
        globals: those of them that are mutable globals made with a value.
    """

    externs: tuple[capi.Extern, ...]
    made: frozenset[Item]
    globals: Mapping[int, GivenGlobal]


class Linker:
    """Finds what a module imports.

    Attributes:
        store: where everything lives.
        given: what the caller supplies, by module and name.
        wasi: has WASI's functions, where the guest may use them.
        unknown: what to do about functions that nobody supplies.
        trace: is told of the calls of functions that are none of WASI's; None: nobody is.
    """

    def __init__(
        self,
        store: wasmtime.Store,
        *,
        wasi: Preview1 | None = None,
        unknown: UnknownImports = "trap",
        trace: Trace | None = None,
    ) -> None:
        self.store = store
        self.given: dict[str, dict[str, Supplied]] = {}
        self.wasi = wasi
        self.unknown = unknown
        self.trace = trace

    def supply(self, module: str, items: Mapping[str, Supplied]) -> None:
        """Let modules import ``items`` from ``module``."""
        self.given.setdefault(module, {}).update(items)

    def link(self, module: Module, compiled: wasmtime.Module) -> Linked:
        """Find every import of ``module``.

        Raises:
            LinkError: an import is missing and cannot be made up, or a Python function is given for
                something that is no function.
        """
        externs: list[capi.Extern | None] = []
        missing: dict[Item, Import] = {}
        values: dict[int, GivenGlobal] = {}
        wasi = None if self.wasi is None else self.wasi.guest()
        types = capi.ImportTypes(compiled)
        for number, (index, imported) in enumerate(numbered(module.imports)):
            value = self._value(module, types, number, imported)
            if value is not None and value.mutable:
                values[index] = value
            extern = value.made if value is not None else self._find(module, types, number, imported, wasi)
            if extern is None:
                missing[imported.kind, index] = imported
            externs.append(extern)
        made = iter(_make(self.store, module, missing))
        return Linked(
            tuple(next(made) if extern is None else extern for extern in externs),
            frozenset(missing) | {("global", index) for index in values},
            values,
        )

    def _value(
        self, module: Module, types: capi.ImportTypes, number: int, imported: Import
    ) -> GivenGlobal | None:
        """Return the global for an import that is given as a value, None for other imports.

        Raises:
            LinkError: the global cannot have the value, or nobody gives one.
        """
        if not isinstance(imported.type, GlobalType):
            return None
        from wizer.engine.given import give_global, missing_global, warn_of_made_up

        given = self.given.get(imported.module, {})
        if imported.name in given:
            value = given[imported.name]
            is_reference = isinstance(imported.type.valtype, RefType)
            if isinstance(value, capi.Extern) and not (is_reference and isinstance(value, wasmtime.Func)):
                return None
            return give_global(self.store, types, number, imported, module, value)
        valtype = imported.type.valtype
        if self.unknown != "default" or (isinstance(valtype, RefType) and not valtype.nullable):
            raise LinkError(missing_global(imported))
        warn_of_made_up(imported)
        return give_global(self.store, types, number, imported, module, default_value(valtype))

    def _find(
        self,
        module: Module,
        types: capi.ImportTypes,
        number: int,
        imported: Import,
        wasi: Guest | None,
    ) -> capi.Extern | None:
        """Return the extern for an import, None where it is left to be made."""
        found = self.given.get(imported.module, {}).get(imported.name)
        if isinstance(found, capi.Extern):
            if self.trace is not None and imported.kind == "func":
                self.trace.unobserved.append((imported.module, imported.name))
            return found
        if found is not None and not callable(found):
            raise LinkError(f"{shown(found)} is given for {_name(imported)}, which is a {imported.kind}")
        if not isinstance(imported.type, FuncIndex) or imported.kind == "tag":
            if found is not None:
                raise LinkError(
                    f"a Python function is given for {_name(imported)}, which is a {imported.kind}"
                )
            return None
        if found is None and wasi is not None:
            function = wasi.find(imported.module, imported.name)
            if function is not None:
                return function
        given = found if found is not None else self._stub(module, imported)
        if self.trace is not None:
            given = self.trace.traced(imported.module, imported.name, given)
        functype = module.type_as_func(imported.type.typeidx)
        return types.host_function(self.store, number, functype, module.types, given)

    def _stub(self, module: Module, imported: Import) -> Callable[..., object]:
        """Return a function for one that nobody supplies."""
        message = f"unknown import: {_name(imported)} has not been defined"
        if self.wasi is None and imported.module.startswith("wasi_"):
            message += f"; {WASI_IS_OFF}"
        if self.unknown == "error":
            raise LinkError("failed to instantiate the module", [message])
        assert isinstance(imported.type, FuncIndex)
        results = module.type_as_func(imported.type.typeidx).results
        if self.unknown == "default" and not any(isinstance(t, RefType) and not t.nullable for t in results):
            values = tuple(default_value(t) for t in results)
            return lambda *_: values[0] if len(values) == 1 else values

        from wizer.engine.callbacks import GuestTrap

        def trap(*_: object) -> object:
            raise GuestTrap(message)

        return trap


def default_value(valtype: ValType) -> object:
    """Return zero or null."""
    if isinstance(valtype, RefType):
        return None
    return 0.0 if valtype in ("f32", "f64") else 0


def _name(imported: Import) -> str:
    return f"`{imported.module}::{imported.name}`"


def _make(store: wasmtime.Store, module: Module, missing: Mapping[Item, Import]) -> Sequence[capi.Extern]:
    """Make memories, tables and tags of the types that are missing, in their initial state."""
    if not missing:
        return ()
    for imported in missing.values():
        valtype = _needs_value(imported)
        if valtype is not None:
            raise LinkError(
                f"the import {_name(imported)} is missing, and a {imported.kind} of {valtype} has no default "
                "value: supply it"
            )
    wasm = b"".join(_maker(module, list(missing.values())))
    try:
        made_of = with_compiler_stack(lambda: wasmtime.Module(store.engine, wasm))
        instance = wasmtime.Instance(store, made_of, [])
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        from wizer.engine.messages import causes

        names = ", ".join(map(_name, missing.values()))
        raise LinkError(f"failed to make the missing imports {names}", causes(error)) from None
    made = [capi.export_of(store, instance, str(number)) for number in range(len(missing))]
    return [extern for extern in made if extern is not None]


def _needs_value(imported: Import) -> RefType | None:
    match imported.type:
        case TableType(element=RefType(nullable=False) as reftype):
            return reftype
    return None


def _maker(module: Module, wanted: Sequence[Import]) -> list[Chunk]:
    """Return a module that defines and exports items of these types; its types are those of ``module``."""
    items: dict[ExternKind, list[bytes]] = {"table": [], "memory": [], "tag": []}
    exports = []
    for number, imported in enumerate(wanted):
        space = items[imported.kind]
        exports.append(encode_export(Export(str(number), imported.kind, len(space))))
        space.append(_definition(imported))
    chunks: list[Chunk] = [MAGIC + MODULE_VERSION]
    if (types := module.section(sec.TYPE)) is not None:
        contents = memoryview(module.wasm)[types.start : types.end]
        chunks += [section_header(sec.TYPE, len(contents)), contents]
    for section_id, kind in (
        (sec.TABLE, "table"),
        (sec.MEMORY, "memory"),
        (sec.TAG, "tag"),
    ):
        chunks.append(encode_vector_section(section_id, items[kind]))  # type: ignore[index]
    chunks.append(encode_vector_section(sec.EXPORT, exports))
    return chunks


def _definition(imported: Import) -> bytes:
    return encode_externtype(imported.kind, imported.type)
