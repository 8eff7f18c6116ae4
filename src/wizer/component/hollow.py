"""Hollow: a core module that a component takes for another one, because it has the same imports and exports.

Whether a component is valid does not depend on what is in its modules, as long as these are valid. The engine
validates components only where it compiles them, which takes seconds for what is inside of a real one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from wizer.binary import sections as sec
from wizer.binary.assemble import Chunk, assemble, vector, without_bodies
from wizer.binary.expr import encode_default
from wizer.binary.externs import (
    Export,
    ExternKind,
    encode_export,
    encode_memorytype,
    encode_tabletype,
)
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module, encode_global
from wizer.binary.types import RefType, ValType
from wizer.component import items as it
from wizer.component.instances import Instances
from wizer.component.items import Component
from wizer.core.rewrite import grown
from wizer.core.state import State

_BODY: Final = b"\x03\x00\x00\x0b"  # unreachable


def hollow(module: Module, state: State, names: Collection[str]) -> list[Chunk]:
    """Return a module with the imports and exports of the snapshot of ``module``, and nothing behind them.

    Its functions do nothing but trap. What is neither imported nor exported is left out, as long as there are
    values for what is.

    Args:
        module: the original module.
        state: the state of its instance.
        names: the exports that something refers to; there may be thousands of others.
    """
    used = [export for export in module.exports if export.name in names]
    if not all(_has_default(module, export) for export in used):
        return [without_bodies(module)]
    numbers: dict[tuple[ExternKind, int], int] = {}
    own: dict[ExternKind, list[bytes]] = {"func": [], "table": [], "memory": [], "global": [], "tag": []}
    exports = []
    for export in used:
        kind, index = key = export.kind, export.index
        if module.imported(kind, index):
            numbers[key] = index
        elif key not in numbers:
            numbers[key] = module.import_counts[kind] + len(own[kind])
            own[kind].append(_definition(module, state, kind, index))
        exports.append(encode_export(Export(export.name, export.kind, numbers[key])))
    contents: dict[int, Sequence[Chunk] | None] = dict.fromkeys((sec.START, sec.ELEMENT, sec.DATA))
    contents |= {section: vector(own[kind]) for kind, section in _SECTIONS.items()}
    contents[sec.EXPORT] = vector(exports)
    contents[sec.CODE] = vector([_BODY] * len(own["func"]))
    contents[sec.DATA_COUNT] = None
    return assemble(module, contents, keep_custom=lambda _: False)


_SECTIONS: Final[dict[ExternKind, int]] = {
    "func": sec.FUNCTION,
    "table": sec.TABLE,
    "memory": sec.MEMORY,
    "global": sec.GLOBAL,
    "tag": sec.TAG,
}


def linked_names(instances: Instances) -> set[str]:
    """Return the names by which exports of core instances are referred to, whichever these are."""
    names = {imported.name for module in instances.modules.values() for imported in module.imports}
    return names.union(_aliased(instances.root.component))


def _aliased(component: Component) -> Iterator[str]:
    for item in component.items:
        match item.definition:
            case it.CoreExportAlias(_, name):
                yield name
            case it.ComponentDefinition(nested):
                yield from _aliased(nested)


def _has_default(module: Module, export: Export) -> bool:
    """Whether there is a value for a global or the elements of a table, where an export is one."""
    match export.kind:
        case "global":
            valtype: ValType = module.globals[export.index].type.valtype
        case "table":
            valtype = module.tables[export.index].type.element
        case _:
            return True
    return not isinstance(valtype, RefType) or valtype.nullable


def _definition(module: Module, state: State, kind: ExternKind, index: int) -> bytes:
    """Encode an item of the module's own as its section has it."""
    match kind:
        case "func":
            return encode_unsigned(module.funcs[index])
        case "tag":
            return b"\x00" + encode_unsigned(module.tags[index])
        case "memory":
            return encode_memorytype(grown(module.memories[index], state.memories[index].pages))
        case "table":
            return encode_tabletype(grown(module.tables[index].type, state.tables[index].size))
    globaltype = module.globals[index].type
    return encode_global(globaltype, encode_default(globaltype.valtype))
