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
from wizer.binary.module import Module
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
        rename: new name to old name; an export that has the new name already goes.
        remove: exports that go. ``_initialize`` goes too: it has run, and nothing may run it again.
        keep: exports that stay all the same.

    Raises:
        OptionError: a name is not an export, or is renamed twice.
    """
    rename = rename or {}
    for name in (*rename.values(), *remove, *keep):
        if name not in module.exports_by_name:
            raise OptionError(f"the Wasm module does not have a `{name}` export")
    new_names: dict[str, str] = {}
    for new, old in rename.items():
        if not is_unicode(new):
            raise OptionError(f"{new!r} cannot be the name of an export: it is not Unicode")
        if old in new_names:
            raise OptionError(f"Duplicated function rename src {old}")
        new_names[old] = new
    gone = {INITIALIZE, *remove} - {*keep}
    exports = []
    for export in module.exports:
        if export.name in new_names:
            exports.append(Export(new_names[export.name], export.kind, export.index))
        elif export.name not in gone and export.name not in rename:
            exports.append(export)
    return tuple(exports)
