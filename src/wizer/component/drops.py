"""Dropped segments: in a component, an instrumented module notes itself which ones it drops.

For a module, a copy from the segment is tried, which traps if that is dropped. A component would be closed
for good by the trap: no function of it could be called any more. So every ``data.drop`` and ``elem.drop`` is
replaced, in the copy of the module that is run, not in the snapshot. Before::

    (func … (data.drop 1) …)

After::

    (global $d (export "wizer:data1.dropped") (mut i32) (i32.const 0))
    (func $drop (data.drop 1) (global.set $d (i32.const 1)))
    (func … (call $drop) …)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.additions import Additions
from wizer.binary.expr import encode_const
from wizer.binary.instructions import bodies, skip_immediates, skip_locals
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.binary.vectors import encode_bytes
from wizer.core.instrument import DROPS, Accessors
from wizer.records import record

# `data.drop` and `elem.drop`.
_OPCODES: Final = {9: "data", 13: "element"}


@record
class _Drop:
    """An instruction that drops a segment: where it stands in the input, and the segment."""

    start: int
    end: int
    segment: tuple[str, int]


def note_drops(additions: Additions, accessors: Accessors) -> None:
    """Have the instrumented module note which of its passive segments it drops.

    Those that some instruction drops are exported as globals ``data{i}.dropped`` and ``element{i}.dropped``.
    """
    module = additions.module
    probed = {("data", i) for i in accessors.data_drops} | {("element", i) for i in accessors.element_drops}
    found: dict[int, list[_Drop]] = {}
    for start, end in _bodies(module) if probed else ():
        if DROPS.search(module.wasm, start, end):
            found[start] = [drop for drop in _drops(module.wasm, start, end) if drop.segment in probed]
    dropped = sorted({drop.segment for drops in found.values() for drop in drops})
    if dropped:
        helpers = {segment: _add_helper(additions, *segment) for segment in dropped}
        additions.bodies = [
            encode_bytes(_rewritten(module.wasm, start, end, found.get(start, ()), helpers))
            for start, end in _bodies(module)
        ]


def _bodies(module: Module) -> Iterator[tuple[int, int]]:
    """Yield where the bodies stand."""
    section = module.section(sec.CODE)
    return bodies(section.reader(module.wasm)) if section else iter(())


def _drops(wasm: bytes, start: int, end: int) -> Iterator[_Drop]:
    """Yield the drops in a body."""
    reader = Reader(wasm, start, end)
    skip_locals(reader)
    while not reader.at_end:
        position = reader.pos
        opcode = reader.byte()
        if opcode == 0xFC and (kind := _OPCODES.get(Reader(wasm, reader.pos, end).u32())):
            reader.u32()
            index = reader.u32()
            yield _Drop(position, reader.pos, (kind, index))
        else:
            skip_immediates(reader, opcode)


def _add_helper(additions: Additions, kind: str, index: int) -> int:
    """Add the function that drops a segment and notes it; return its index."""
    drop = code.data_drop(index) if kind == "data" else code.elem_drop(index)
    noted = additions.exported_i32(f"{kind}{index}.dropped", 0, mutable=True)
    return additions.func(None, (), (), drop + encode_const("i32", 1) + code.global_set(noted))


def _rewritten(
    wasm: bytes, start: int, end: int, drops: Sequence[_Drop], helpers: Mapping[tuple[str, int], int]
) -> bytes:
    """Return a body with calls in the place of drops."""
    body = bytearray()
    for drop in drops:
        body += wasm[start : drop.start] + code.call(helpers[drop.segment])
        start = drop.end
    return bytes(body + wasm[start:end])
