"""Handles: what a component instance holds of resources, streams and the like, none of which can be frozen.

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

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
    MemoryType,
    SizeLimits,
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
from wizer.component.log import LOG, Noted, read_log
from wizer.component.origins import Watch
from wizer.component.reopen import OpenHandle, Reopened, lost
from wizer.core.live import Live
from wizer.errors import StateError
from wizer.notices import warn
from wizer.options import OpenHandles

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


def add_probe(component: Component, log: int | None, additions: ComponentAdditions) -> None:
    """Append the probe to a component, where it can hold handles; ``log`` is the core instance of its log."""
    if not may_hold_handles(component):
        return
    resource = additions.type(b"\x3f\x7f\x00")
    functions = {name: additions.canonical(opcode, resource) for name, opcode in _CANONICAL.items()}
    given = {"": additions.core_items(functions)}
    if log is not None:
        given[LOG] = log
    additions.core_instance(additions.core_module(_probe_module(has_log=log is not None)), given)


_CANONICAL: Final = {"new": it.RESOURCE_NEW, "drop": it.RESOURCE_DROP, "rep": it.RESOURCE_REP}
_NEW, _DROP, _REP = range(3)


def _probe_module(*, has_log: bool) -> bytes:
    """Return the module that makes handles, each with the one before it for its representation.

    ``probe(run) -> (last, made, highest)`` makes them, ``rep(handle) -> previous`` is the canonical function,
    and ``release(last)`` drops them. The memory of the log is exported again.
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
    imports = [Import("", name, "func", of) for name, of in imported.items()]
    if has_log:
        imports.append(Import(LOG, LOG, "memory", MemoryType(SizeLimits(0))))
        exports.append(Export(LOG, "memory", 0))
    return from_items(
        {
            sec.TYPE: [encode_functype(functype) for functype in types],
            sec.IMPORT: [encode_import(each) for each in imports],
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
            code.I32_NE + code.IF + encode_const("i32", 0) + code.local_set(length) + END,
            code.local_get(last) + code.local_get(highest) + code.I32_GT_U,
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


def held_handles(probe: Live, watch: Watch) -> tuple[OpenHandle, ...]:
    """Return the open handles of the component instance of ``probe``, and what is known of them."""
    indices = open_handles(probe)
    if not indices or watch.log is None or not watch.is_certain:
        return tuple(map(OpenHandle, indices))
    log, _ = probe.memory(LOG)
    return tuple(_known(index, read_log(log, index), watch) for index in indices)


def _known(index: int, noted: Noted | None, watch: Watch) -> OpenHandle:
    if noted is None:
        return OpenHandle(index)
    return OpenHandle(index, watch.origins[noted.origin - 1], noted.argument, noted.text)


def reopened(
    probes: Iterable[tuple[Frame, Live]],
    watches: Mapping[int, Watch],
    put_back: Collection[CoreInstance],
    open_handles: OpenHandles,
) -> dict[int, Reopened]:
    """Return what to open again in which component instance, by the `id` of its frame.

    Args:
        probes: the component instances that can hold handles, and what tells.
        watches: what is watched of each component, by where it begins.
        put_back: the core instances that are frozen as they were before they had their handles. Where a
            handle may be theirs and cannot be had again, there is a `WizerWarning`; where nobody else deals
            in handles, there is nothing to say.
        open_handles: what to do.

    Raises:
        StateError: a component instance holds handles that it is not to have.
    """
    found: dict[int, Reopened] = {}
    for frame, probe in probes if open_handles != "drop" else ():
        dealers = [core for core in frame.cores.values() if core.drops_handles and not core.is_appended]
        others = [core for core in dealers if core not in put_back]
        if dealers and not others:
            continue
        watch = watches[frame.component.start]
        held = held_handles(probe, watch)
        theirs = _imported_by(put_back) - _imported_by(set(frame.cores.values()) - {*put_back})
        handles = tuple(each for each in held if each.origin is None or each.origin.start not in theirs)
        refused = handles if open_handles == "error" else lost(handles)
        if refused:
            _refuse(frame, handles, refused, may_be_put_back=len(others) < len(dealers))
        kept = tuple(handle for handle in handles if handle not in refused)
        if kept:
            found[id(frame)] = Reopened(kept, watch)
    return found


def _imported_by(cores: Collection[CoreInstance]) -> set[int]:
    """Return where the canonical functions stand that some core instances import."""
    return {function.start for core in cores for function in core.canonical}


def _refuse(
    frame: Frame, handles: Sequence[OpenHandle], refused: Sequence[OpenHandle], *, may_be_put_back: bool
) -> None:
    indices = [handle.index for handle in refused]
    named = ", ".join(map(str, indices[:8])) + (", …" if len(indices) > 8 else "")
    count = "1 open handle" if len(refused) == 1 else f"{len(refused)} open handles"
    what = "which no snapshot has" if len(refused) == len(handles) else "which cannot be had again"
    listed = "; ".join(handle.describe(frame) for handle in refused[:8])
    held = f"{frame.label} holds {count} ({named}), {what}: {listed}{'; …' if len(refused) > 8 else ''}"
    if may_be_put_back:
        warn(
            f"{held}. Those of the preview-1 adapter are opened again when it needs them, using another "
            "later would trap"
        )
        return
    raise StateError(
        f"{held}. Using one later would trap: drop them at the end of initialisation or, if they are not "
        'used again, freeze without them: open_handles="drop" (--open-handles drop)'
    )
