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

from typing import Final

from wizer.binary import code
from wizer.binary.additions import Additions
from wizer.binary.expr import encode_const
from wizer.binary.instructions import Replacement, found_in_bodies
from wizer.binary.reader import Reader
from wizer.core.instrument import DROPS, Accessors

# `data.drop` and `elem.drop`.
_OPCODES: Final = {9: "data", 13: "element"}


def note_drops(additions: Additions, accessors: Accessors) -> None:
    """Have the instrumented module note which of its passive segments it drops.

    Those that some instruction drops are exported as globals ``data{i}.dropped`` and ``element{i}.dropped``.
    """
    probed = {("data", i) for i in accessors.data_drops} | {("element", i) for i in accessors.element_drops}
    found = found_in_bodies(additions.module, DROPS, _read_drop) if probed else {}
    dropped = {segment for drops in found.values() for _, _, segment in drops} & probed
    helpers = {segment: _add_helper(additions, *segment) for segment in sorted(dropped)}
    for body, drops in found.items():
        additions.replace(
            body,
            [
                Replacement(start, end, code.call(helpers[segment]))
                for start, end, segment in drops
                if segment in helpers
            ],
        )


def _read_drop(reader: Reader, opcode: int) -> tuple[str, int] | None:
    """Read which segment is dropped; None: the instruction is another one."""
    ahead = Reader(reader.wasm, reader.pos, reader.end)
    kind = _OPCODES.get(ahead.u32()) if opcode == 0xFC else None
    if kind is None:
        return None
    reader.pos = ahead.pos
    return kind, reader.u32()


def _add_helper(additions: Additions, kind: str, index: int) -> int:
    """Add the function that drops a segment and notes it; return its index."""
    drop = code.data_drop(index) if kind == "data" else code.elem_drop(index)
    noted = additions.exported_i32(f"{kind}{index}.dropped", 0, mutable=True)
    return additions.func(None, (), (), drop + encode_const("i32", 1) + code.global_set(noted))
