"""Handles: what a component instance holds of resources, streams and the like, none of which is frozen.

A handle is an index into a table of the component instance. The table is no memory, and what it refers to
(an open file, an object of another component) is not the instance's: a guest that keeps an index over the
freezing finds nothing there, or something else. So the tables are looked into. What is run gets::

    (type $probe (resource (rep i32)))
    (core func $new (canon resource.new $probe))
    (core module $m (func (export "probe") …) (func (export "release") …))
    (core instance (instantiate $m …))

All kinds of handles share the table. A free place is taken by the next handle, the one freed last first, and
where there is none the table grows (``HandleTable`` of the engine). So handles are made until a run of
`RUN` of them was each the next of all: then the table grows, and what it has that was not handed out is open.
Dropped in the opposite order, they leave the places free in the order they were in before.

https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md#table-state
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.assemble import from_items
from wizer.binary.expr import END, encode_const
from wizer.binary.externs import (
    Export,
    FuncIndex,
    GlobalType,
    Import,
    encode_export,
    encode_import,
)
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import encode_global
from wizer.binary.types import FuncType, ValType, encode_functype
from wizer.component import items as it
from wizer.component.additions import ComponentAdditions
from wizer.component.instances import CoreInstance, Frame
from wizer.component.items import Component
from wizer.core.live import Live
from wizer.errors import StateError
from wizer.notices import warn

PROBE: Final = "wizer:handles"
"""The global that the probe exports: by it the probe is found among the core instances."""

RUN: Final = 1 << 14
"""How many handles in a row have to be the next of all. The answer is exact for a component instance that
never had so many handles at once; making and dropping them takes about a millisecond."""


def may_hold_handles(component: Component) -> bool:
    """Whether an instance of ``component`` can hold handles.

    It gets them by what it imports, by types of instances inside, or by canonical functions.
    """
    for item in component.items:
        match item.definition:
            case it.Import():
                return True
            case it.Canonical() if item.sort == "core func":
                return True
            case it.ExportAlias() | it.OuterAlias() if item.sort == "type":
                return True
    return False


def add_probe(component: Component, additions: ComponentAdditions) -> None:
    """Append the probe to a component, where it can hold handles."""
    if not may_hold_handles(component):
        return
    resource = additions.type(b"\x3f\x7f\x00")
    functions = {name: additions.canonical(opcode, resource) for name, opcode in _CANONICAL.items()}
    given = additions.core_functions(functions)
    additions.core_instance(additions.core_module(_probe_module()), {"": given})


_CANONICAL: Final = {"new": 0x02, "drop": 0x03, "rep": 0x04}
_NEW, _DROP, _REP = range(3)

_I32_NE: Final = b"\x47"
_I32_GT_U: Final = b"\x4b"


def _probe_module() -> bytes:
    """Return the module that makes handles, each with the one before it for its representation.

    ``probe(run) -> (last, made, highest)`` makes them, ``rep(handle) -> previous`` is the canonical function,
    and ``release(last)`` drops them.
    """
    one: tuple[ValType, ...] = ("i32",)
    types = [FuncType(one, one), FuncType(one, ()), FuncType(one, one * 3)]
    imported = {"new": FuncIndex(0), "drop": FuncIndex(1), "rep": FuncIndex(0)}
    exports = [
        Export(PROBE, "global", 0),
        Export("rep", "func", _REP),
        Export("probe", "func", 3),
        Export("release", "func", 4),
    ]
    return from_items(
        {
            sec.TYPE: [encode_functype(functype) for functype in types],
            sec.IMPORT: [encode_import(Import("", name, "func", of)) for name, of in imported.items()],
            sec.FUNCTION: [encode_unsigned(2), encode_unsigned(1)],
            sec.GLOBAL: [encode_global(GlobalType("i32", False), encode_const("i32", 0))],
            sec.EXPORT: [encode_export(export) for export in exports],
            sec.CODE: [
                code.encode_body(_probe_body(), one * 4),
                code.encode_body(_release_body(), one),
            ],
        }
    )


def _probe_body() -> bytes:
    run, last, made, highest, length = range(5)
    count = code.local_get(length) + encode_const("i32", 1) + code.I32_ADD + code.local_set(length)
    return b"".join(
        [
            code.LOOP,
            code.local_get(last) + code.call(_NEW) + code.local_set(last),
            code.local_get(made) + encode_const("i32", 1) + code.I32_ADD + code.local_set(made),
            count,
            code.local_get(last) + code.local_get(highest) + encode_const("i32", 1) + code.I32_ADD,
            _I32_NE + code.IF + encode_const("i32", 0) + code.local_set(length) + END,
            code.local_get(last) + code.local_get(highest) + _I32_GT_U,
            code.IF + code.local_get(last) + code.local_set(highest) + END,
            code.local_get(length) + code.local_get(run) + code.I32_LT_U + code.br_if(0),
            END,
            code.local_get(last) + code.local_get(made) + code.local_get(highest),
        ]
    )


def _release_body() -> bytes:
    last, previous = range(2)
    return b"".join(
        [
            code.LOOP,
            code.local_get(last) + code.call(_REP) + code.local_set(previous),
            code.local_get(last) + code.call(_DROP),
            code.local_get(previous) + code.local_tee(last) + code.br_if(0),
            END,
        ]
    )


def open_handles(probe: Live) -> Sequence[int]:
    """Return the handles that are open in the component instance of ``probe``, in ascending order."""
    make = probe.accessor("probe", 3)
    make.buffer[0] = RUN
    make()
    last, made, highest = (make.buffer[2 * slot] & 0xFFFF_FFFF for slot in range(3))
    try:
        if made == highest:
            return ()
        return sorted(set(range(1, highest + 1)).difference(_chain(probe, last)))
    finally:
        release = probe.accessor("release", 1)
        release.buffer[0] = last
        release()


def _chain(probe: Live, last: int) -> Iterator[int]:
    previous = probe.accessor("rep", 1)
    while last:
        yield last
        previous.buffer[0] = last
        previous()
        last = previous.buffer[0] & 0xFFFF_FFFF


def check_open_handles(probes: Iterable[tuple[Frame, Live]], put_back: Collection[CoreInstance]) -> None:
    """Refuse to freeze component instances that hold handles.

    Args:
        probes: the component instances that can, and what tells.
        put_back: the core instances that are frozen as they were before they had their handles. Whose a
            handle is cannot be told: where others of the same component instance deal in handles, too, there
            is a `WizerWarning`, and where none does, there is nothing to say.

    Raises:
        StateError: a component instance holds handles.
    """
    for frame, probe in probes:
        dealers = [core for core in frame.cores.values() if core.drops_handles]
        others = [core for core in dealers if core not in put_back]
        handles = open_handles(probe) if others or not dealers else ()
        if not handles:
            continue
        named = ", ".join(map(str, handles[:8])) + (", …" if len(handles) > 8 else "")
        count = "1 open handle" if len(handles) == 1 else f"{len(handles)} open handles"
        held = f"{frame.label} holds {count} ({named}), which no snapshot has"
        if len(others) < len(dealers):
            warn(f"{held}: those of the preview-1 adapter are opened again, using another later would trap")
            continue
        raise StateError(
            f"{held}: using one later would trap. Drop them at the end of initialisation or, if they are not "
            'used again, freeze without them: open_handles="drop" (--open-handles drop)'
        )
