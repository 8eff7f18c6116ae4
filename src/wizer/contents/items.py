"""Segments, tables, globals and functions of a module, as records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from heapq import nlargest
from math import isnan
from struct import unpack
from typing import Final

import numpy as np

from wizer.binary import sections as sec
from wizer.binary.expr import Expr
from wizer.binary.externs import KINDS, ExternKind
from wizer.binary.instructions import bodies
from wizer.binary.module import Module
from wizer.binary.segments import ElementSegment
from wizer.contents.records import FunctionInfo, GlobalInfo, SegmentInfo, TableInfo
from wizer.contents.statistics import nonzero
from wizer.errors import ParseError

_LARGEST: Final = 10


def segments(module: Module) -> tuple[SegmentInfo, ...]:
    """Return the data segments."""
    file = np.frombuffer(module.wasm, np.uint8)
    return tuple(
        SegmentInfo(
            index=dataidx,
            mode=segment.mode,
            memidx=segment.memidx,
            offset=segment.constant_offset if segment.mode == "active" else None,
            size=segment.end - segment.start,
            nonzero=nonzero(file[segment.start : segment.end]),
            overhead=segment.start - segment.code_start,
        )
        for dataidx, segment in enumerate(module.data)
    )


def tables(module: Module) -> tuple[TableInfo, ...]:
    """Return the tables."""
    found = []
    for tableidx, table in enumerate(module.tables):
        own = [e for e in module.elements if e.mode == "active" and e.tableidx == tableidx]
        limits = table.type.limits
        found.append(
            TableInfo(
                index=tableidx,
                name=module.names.get(("table", tableidx), ""),
                imported=module.imported("table", tableidx),
                type=str(table.type.element),
                size=limits.minimum,
                maximum=limits.maximum,
                filled=sum(map(_filled, own)),
                functions=len(frozenset().union(*(element.funcs() for element in own))),
                stored=sum(len(element.code) for element in own),
            )
        )
    return tuple(found)


def _filled(element: ElementSegment) -> int:
    """Return how many elements of a segment are not null."""
    if element.indices is not None:
        return len(element.indices)
    return sum(isinstance(i, int) or i.value is None or i.value[0] != "null" for i in element.items)


def globals_(module: Module) -> tuple[GlobalInfo, ...]:
    """Return the globals."""
    return tuple(
        GlobalInfo(
            index=globalidx,
            name=module.names.get(("global", globalidx), ""),
            imported=global_.init is None,
            type=str(global_.type.valtype),
            mutable=global_.type.mutable,
            value="" if global_.init is None else shown(global_.init),
        )
        for globalidx, global_ in enumerate(module.globals)
    )


def shown(init: Expr) -> str:
    """Return what a constant expression is, as the text format has numbers."""
    code = init.code
    if init.value is not None:
        kind, value = init.value
        if kind in ("i32", "i64"):
            bits = 32 if kind == "i32" else 64
            assert value is not None
            return str(value - (value >> bits - 1 << bits))
        return kind if value is None else f"{kind} {value}"
    if code[0] in (0x43, 0x44) and len(code) in (6, 10):  # f32.const, f64.const
        return _float(code[1:-1])
    return code[:-1].hex(" ")


def _float(data: bytes) -> str:
    (value,) = unpack("<f" if len(data) == 4 else "<d", data)
    return f"nan:{int.from_bytes(data, 'little'):#x}" if isnan(value) else repr(value)


def counts(items: Iterator[ExternKind]) -> dict[ExternKind, int]:
    """Return how many of each kind there are."""
    counted = Counter(items)
    return {kind: counted[kind] for kind in KINDS if counted[kind]}


def largest(module: Module) -> tuple[FunctionInfo, ...]:
    """Return the functions with the largest bodies, the largest first."""
    first = module.import_counts["func"]
    sizes = enumerate(body_sizes(module), first)
    return tuple(
        FunctionInfo(funcidx, module.names.get(("func", funcidx), ""), size)
        for funcidx, size in nlargest(_LARGEST, sizes, key=lambda each: each[1])
    )


def body_sizes(module: Module) -> list[int]:
    """Return the bytes of each body; of a broken code section, those that stand before the fault."""
    section = module.section(sec.CODE)
    sizes: list[int] = []
    with suppress(ParseError):
        for start, end in bodies(section.reader(module.wasm)) if section else ():
            sizes.append(end - start)
    return sizes
