"""libc: what wasi-libc finds out of its host once, and its functions that forget it again.

The preopened directories are looked at when a path is first used, the environment when a variable is; a
snapshot that kept them would open the directories of another host. Where the module has libc's functions that
forget, they are called before its state is read: the next host is asked again. A module has a function if it
exports it or its name section says so; linkers leave out what nobody refers to.

https://github.com/WebAssembly/wasi-libc, ``libc-bottom-half/sources``: ``preopens.c``, ``environ.c`` and
``__wasilibc_initialize_environ.c``
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from wizer.binary.module import Module
from wizer.binary.types import FuncType

FORGETTING: Final[Mapping[str, str]] = {
    "environment": "__wasilibc_deinitialize_environ",
    "preopens": "__wasilibc_reset_preopens",
}
"""What is known of the host, and the function that forgets it."""

_ASKING: Final[Mapping[str, frozenset[str]]] = {
    "environment": frozenset({"environ_sizes_get", "get-environment"}),
    "preopens": frozenset({"fd_prestat_get", "get-directories"}),
    "arguments": frozenset({"args_sizes_get", "get-arguments"}),
}
"""The imported functions that ask the host for it, in WASI 0.1 and 0.2.

Where there are no variables, libc knows so from their number, and asks for nothing else.
"""

EAGER: Final = "__wasilibc_initialize_environ_eagerly"
"""Is there where the program uses ``environ``, which code reads without asking whether it is known."""


def forgetting_functions(module: Module) -> dict[str, int]:
    """Return the functions of a module that forget, by what it is that they forget.

    An environment that the program may read without libc's help stays, unless it exports the function. A
    shared library exports everything, which says nothing of who reads what.
    """
    if not any(map(module.mentions, FORGETTING.values())):
        return {}
    functions = _functions(module)
    found = {what: functions[name] for what, name in FORGETTING.items() if name in functions}
    is_exported = FORGETTING["environment"] in module.exports_by_name and not _is_shared_library(module)
    if EAGER in functions and not is_exported:
        found.pop("environment", None)
    return found


def _is_shared_library(module: Module) -> bool:
    """Whether others are linked with a module as it is loaded: it is told where its memory begins."""
    return any(item.name == "__memory_base" for item in module.imports)


def remembered(module: Module, called: Collection[str]) -> dict[str, str]:
    """Return what a module asked the host for and has no function to forget; and what that would be called.

    Arguments libc hands over and does not keep, so that it has no function for them: the name is empty.

    Args:
        module: the module.
        called: the names of the imported functions that were called.
    """
    imported = {item.name for item in module.imports if item.kind == "func"}
    asked = [
        what
        for what, names in _ASKING.items()
        if names & imported
        and names & {*called}
        and not names & module.exports_by_name.keys()  # an adapter, which asks for others
    ]
    forgetting = forgetting_functions(module) if asked else {}
    return {what: FORGETTING.get(what, "") for what in asked if what not in forgetting}


def _functions(module: Module) -> dict[str, int]:
    """Return the functions of type [] -> [] that the module defines, by the names that are known of them."""
    named = [(name, index) for (kind, index), name in module.names.items() if kind == "func"]
    named += [(export.name, export.index) for export in module.exports if export.kind == "func"]
    wanted = {*FORGETTING.values(), EAGER}
    return {
        name: index
        for name, index in named
        if name in wanted
        and index < len(module.funcs)
        and not module.imported("func", index)
        and module.functype(index) == FuncType((), ())
    }
