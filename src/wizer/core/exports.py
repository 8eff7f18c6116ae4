"""Exports: which of them the snapshot has, and under which names.

Before, with ``rename={"_start": "wizer.resume"}`` and ``remove={"wizer-initialize"}``::

    (export "wizer-initialize" (func 1))
    (export "_start" (func 2))
    (export "wizer.resume" (func 3))

After::

    (export "_start" (func 3))
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from wizer.binary.externs import INITIALIZE, Export
from wizer.binary.module import Module, one_line
from wizer.checks import is_unicode
from wizer.errors import OptionError


def final_exports(
    module: Module,
    *,
    rename: Mapping[str, str] | None = None,
    remove: Collection[str] = (),
    keep: Collection[str] = (),
) -> tuple[Export, ...]:
    """Return the exports of the snapshot, in the order of the original.

    Args:
        module: the original module.
        rename: new name to old name, which may have several; an export that has the new name already goes.
        remove: exports that go. ``_initialize`` goes too: it has run, and nothing may run it again.
        keep: exports that stay all the same.

    Raises:
        OptionError: a name is not an export.
    """
    rename = rename or {}
    for name in (*rename.values(), *remove, *keep):
        if name not in module.exports_by_name:
            raise missing_export(module, name)
    new_names: dict[str, list[str]] = {}
    for new, old in rename.items():
        if not is_unicode(new):
            raise OptionError(f"{new!r} cannot be the name of an export: it is not Unicode")
        new_names.setdefault(old, []).append(new)
    gone = {INITIALIZE, *remove} - {*keep}
    exports = []
    for export in module.exports:
        if export.name in new_names:
            exports += [Export(new, export.kind, export.index) for new in new_names[export.name]]
        elif export.name not in gone and export.name not in rename:
            exports.append(export)
    return tuple(exports)


_MOST_NAMED = 8
_MOST_COMPARED = 1000


def missing_export(module: Module, name: str) -> OptionError:
    """Return the error for a function that is not exported; it names some, closest first."""
    from difflib import SequenceMatcher

    functions = [export.name for export in module.exports if export.kind == "func"]
    compared = functions[:_MOST_COMPARED]
    compared.sort(key=lambda other: -SequenceMatcher(None, name, other[:_MOST_COMPARED]).ratio())
    named = ", ".join(f"`{one_line(other)}`" for other in compared[:_MOST_NAMED])
    more = f" and {len(functions) - _MOST_NAMED} more" if len(functions) > _MOST_NAMED else ""
    exported = f"it exports {named}{more}" if functions else "it exports no function"
    return OptionError(f"the Wasm module does not have a `{name}` export", [exported])
