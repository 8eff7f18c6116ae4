r"""Handles that a snapshot opens again, at its first moment, from what its host gives then.

A snapshot whose original held its standard output as handle 1, and nothing else::

    (component
      …                                                          ;; as without it
      (@custom "wizer:handles" "\09")                            ;; nine sections
      (type $own (resource (rep i32)))
      (core func $new (canon resource.new $own)) (core func $free (canon resource.drop $own))
      (core func $get (canon lower (func $stdout "get-stdout")))
      (core module $open … (start $start))                       ;; see `opener`
      (core instance (export "new" (func $new)) (export "free" (func $free)) (export "0" (func $get)))
      (core instance (instantiate $open (with "" (instance …)))))

The frozen core modules before it run nothing that deals in handles, and calls from outside come later. A
snapshot of the snapshot has other such sections in their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from wizer.binary.assemble import Chunk, encode_section
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.vectors import encode_name
from wizer.component import items as it
from wizer.component.additions import ComponentAdditions
from wizer.component.encode import Scope
from wizer.component.instances import Frame
from wizer.component.items import Component, Item
from wizer.component.opener import Wanted, Way, memory_module, opener_module
from wizer.component.origins import Origin, Watch
from wizer.records import record

_VERSIONED: Final = re.compile(r"(wasi:[a-z-]+/[a-z-]+)@0\.2\.\d+\.(.+)")

_WAYS: Final[Mapping[str, Way]] = {
    **{f"wasi:cli/{name}.get-{name}": "get" for name in ("stdin", "stdout", "stderr")},
    "wasi:sockets/instance-network.instance-network": "get",
    **{f"wasi:cli/terminal-{n}.get-terminal-{n}": "maybe" for n in ("stdin", "stdout", "stderr")},
    "wasi:filesystem/preopens.get-directories": "directory",
}
_DERIVED: Final = {f"wasi:io/streams.[method]{s}.subscribe": s for s in ("input-stream", "output-stream")}
"""Functions of one handle, which is of this type, whose result is had again when the handle is."""


@record
class OpenHandle:
    """A handle that is open in a component instance.

    Attributes:
        index: its place in the table of the instance.
        origin: what gave it; None where it is not known.
        argument, text: what the log has of it.
    """

    index: int
    origin: Origin | None = None
    argument: int = 0
    text: bytes = b""

    def describe(self, frame: Frame) -> str:
        """Return what to call it in a message."""
        place = f"handle {self.index} of {frame.label}"
        if self.origin is None:
            return f"{place}, of unknown origin"
        resource = self.origin.resource.name
        if not self.origin.function:
            return f"{resource} that the component made, {place}"
        return f"{resource} from {_unversioned(self.origin.function)}, {place}"


def _unversioned(function: str) -> str:
    found = _VERSIONED.fullmatch(function)
    return f"{found[1]}.{found[2]}" if found else function


def _way(handle: OpenHandle, handles: Mapping[int, OpenHandle]) -> Way | None:
    """Return how a handle is had again; None: it cannot be."""
    if handle.origin is None:
        return None
    if not handle.origin.function:
        return "get of"
    name = _unversioned(handle.origin.function)
    if name in _DERIVED:
        parent = handles.get(handle.argument)
        known = (
            parent is not None and parent.origin is not None and parent.origin.resource.name == _DERIVED[name]
        )
        return "get of" if known and parent is not None and _way(parent, handles) == "get" else None
    return _WAYS.get(name)


def lost(handles: Sequence[OpenHandle]) -> list[OpenHandle]:
    """Return those of all open handles of an instance that cannot be had again."""
    by_index = {handle.index: handle for handle in handles}
    return [handle for handle in handles if _way(handle, by_index) is None]


@record
class Reopened:
    """What is opened again in a component instance: the handles, and what is watched of its component."""

    handles: tuple[OpenHandle, ...]
    watch: Watch


def reopening(component: Component, of: Reopened, scope: Scope) -> list[Chunk]:
    """Return the sections to append to a component, of which ``scope`` has the new index spaces."""
    handles = {handle.index: handle for handle in of.handles}
    ways = {index: way for index, handle in handles.items() if (way := _way(handle, handles)) is not None}
    # What is made of another handle comes after it.
    order = sorted(ways, key=lambda index: (_is_derived(handles[index]), index))
    items = {item.start: item for item in component.items}
    origins = {origin.start: origin for index in order if (origin := handles[index].origin) is not None}
    numbers = {start: number for number, start in enumerate(origins)}
    wanted = [_wanted(handles[index], ways[index], numbers) for index in order]
    kinds = [next(each.way for each in wanted if each.function == number) for number in numbers.values()]
    additions = ComponentAdditions(scope)
    own = additions.type(b"\x3f\x7f\x00")
    functions = {
        "new": additions.canonical(it.RESOURCE_NEW, own),
        "free": additions.canonical(it.RESOURCE_DROP, own),
    }
    memory, realloc = None, None
    if {"maybe", "directory"} & {*kinds}:
        instance = additions.core_instance(additions.core_module(memory_module(wanted)), {})
        memory = additions.core_memory(instance, "memory")
        realloc = additions.core_function(instance, "realloc")
    for (start, number), way in zip(numbers.items(), kinds, strict=True):
        functions[str(number)] = _again(items[start], way, additions, memory, realloc)
    dropped = _dropped_type(
        of.watch, [origins[start] for start, n in numbers.items() if kinds[n] == "directory"]
    )
    if dropped is not None:
        functions["drop"] = additions.canonical(it.RESOURCE_DROP, dropped)
    opener = additions.core_module(opener_module(wanted, kinds, drops=dropped is not None))
    given = additions.core_items(functions, {} if memory is None else {"memory": memory})
    additions.core_instance(opener, {"": given})
    count = encode_unsigned(additions.sections)
    return [*encode_section(it.CUSTOM, [encode_name(it.APPENDED), count]), *additions.chunks]


def _is_derived(handle: OpenHandle) -> bool:
    return handle.origin is not None and _unversioned(handle.origin.function) in _DERIVED


def _wanted(handle: OpenHandle, way: Way, numbers: Mapping[int, int]) -> Wanted:
    assert handle.origin is not None
    return Wanted(handle.index, numbers[handle.origin.start], way, handle.argument, handle.text)


def _again(
    item: Item, way: Way, additions: ComponentAdditions, memory: int | None, realloc: int | None
) -> int:
    """Add the canonical function of an item once more, with options of our own."""
    canonical = item.definition
    assert isinstance(canonical, it.Canonical)
    if canonical.lowers is None:
        assert canonical.type is not None
        return additions.canonical(canonical.opcode, canonical.type)
    function = additions.scope[canonical.lowers]
    match way:
        case "directory":
            return additions.lower(function, memory, realloc)
        case "maybe":
            return additions.lower(function, memory)
    return additions.lower(function)


def _dropped_type(watch: Watch, origins: Sequence[Origin]) -> int | None:
    """Return the index of the type of directories; None where the component does not have it."""
    return next((found for origin in origins if (found := watch.typeidx(origin.resource)) is not None), None)
