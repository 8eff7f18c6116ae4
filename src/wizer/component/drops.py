"""Dropped segments: an instrumented module notes what it drops, since asking is not possible in a component.

A segment is dropped if a copy from it traps, and a trap closes the component for good: no function of it can
be called any more. So the copy of the module that is run (not the snapshot) has every ``data.drop`` and
``elem.drop`` replaced. Before::

    (func … (data.drop 1) …)

After::

    (global $d (export "wizer:data1.dropped") (mut i32) (i32.const 0))
    (func $drop (data.drop 1) (global.set $d (i32.const 1)))
    (func … (call $drop) …)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.assemble import Chunk, assemble, extended
from wizer.binary.expr import END, encode_const
from wizer.binary.externs import Export, GlobalType, encode_export, encode_globaltype
from wizer.binary.instructions import bodies, skip_immediates, skip_locals
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.binary.types import FuncType, encode_functype
from wizer.core.instrument import DROPS, Accessors

# `data.drop` and `elem.drop`.
_OPCODES: Final = {9: "data", 13: "element"}

_GLOBAL: Final = encode_globaltype(GlobalType("i32", True)) + encode_const("i32", 0) + END


def note_drops(module: Module, accessors: Accessors) -> bytes:
    """Return an instrumented module that notes which of its passive segments it drops.

    Those that some instruction drops are exported as globals ``data{i}.dropped`` and ``element{i}.dropped``.
    """
    probed = {("data", i) for i in accessors.data_drops} | {("element", i) for i in accessors.element_drops}
    found = {}
    for start, end in _module_bodies(module):
        if DROPS.search(module.wasm, start, end):
            drops = [drop for drop in _drops(module.wasm, start, end) if drop[2:] in probed]
            if drops:
                found[start] = drops
    dropped = sorted({(kind, index) for drops in found.values() for *_, kind, index in drops})
    if not dropped:
        return module.wasm
    helpers = {segment: len(module.funcs) + number for number, segment in enumerate(dropped)}
    flags = {segment: len(module.globals) + number for number, segment in enumerate(dropped)}
    exports = [
        Export(f"{accessors.prefix}{kind}{index}.dropped", "global", globalidx)
        for (kind, index), globalidx in flags.items()
    ]
    typeidx = encode_unsigned(len(module.types))
    contents = {
        sec.TYPE: extended(module, sec.TYPE, [encode_functype(FuncType((), ()))]),
        sec.FUNCTION: extended(module, sec.FUNCTION, [typeidx] * len(dropped)),
        sec.GLOBAL: extended(module, sec.GLOBAL, [_GLOBAL] * len(dropped)),
        sec.EXPORT: extended(module, sec.EXPORT, [encode_export(export) for export in exports]),
        sec.CODE: _code(module, found, helpers, [_helper(segment, flags[segment]) for segment in dropped]),
    }
    return b"".join(assemble(module, contents))


def _module_bodies(module: Module) -> Iterator[tuple[int, int]]:
    """Yield where the bodies stand."""
    section = module.section(sec.CODE)
    return bodies(section.reader(module.wasm)) if section else iter(())


def _drops(wasm: bytes, start: int, end: int) -> Iterator[tuple[int, int, str, int]]:
    """Yield the drops in a body: where the instruction stands, what it drops."""
    reader = Reader(wasm, start, end)
    skip_locals(reader)
    while not reader.at_end:
        position = reader.pos
        opcode = reader.byte()
        if opcode == 0xFC and (kind := _OPCODES.get(Reader(wasm, reader.pos, end).u32())):
            reader.u32()
            index = reader.u32()
            yield position, reader.pos, kind, index
        else:
            skip_immediates(reader, opcode)


def _helper(segment: tuple[str, int], globalidx: int) -> bytes:
    kind, index = segment
    drop = code.data_drop(index) if kind == "data" else code.elem_drop(index)
    return code.encode_body(drop + encode_const("i32", 1) + code.global_set(globalidx))


def _code(
    module: Module,
    found: Mapping[int, list[tuple[int, int, str, int]]],
    helpers: Mapping[tuple[str, int], int],
    appended: list[bytes],
) -> list[Chunk]:
    """Return the contents of the code section, drops replaced by calls."""
    chunks: list[Chunk] = []
    count = 0
    for start, end in _module_bodies(module):
        body, position = bytearray(), start
        for at, after, kind, index in found.get(start, ()):
            body += module.wasm[position:at] + code.call(helpers[kind, index])
            position = after
        body += module.wasm[position:end]
        chunks += [encode_unsigned(len(body)), bytes(body)]
        count += 1
    return [encode_unsigned(count + len(appended)), *chunks, *appended]
