"""The element section of the snapshot: what tables hold, and the segments that code refers to by index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from wizer.binary import sections as sec
from wizer.binary.assemble import Chunk
from wizer.binary.externs import Export
from wizer.binary.instructions import referring
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.segments import (
    ElementSegment,
    encode_declarative,
    encode_expr_elements,
    encode_func_elements,
    encode_passive_elements,
)
from wizer.binary.types import RefType
from wizer.capture import initial_element
from wizer.references import References
from wizer.state import FuncRef, Ref, State

# table.init, elem.drop, array.new_elem, array.init_elem, in any LEB128 of 32 bits: what refers to segments.
_SEGMENT_USES: Final = re.compile(
    rb"\xfc(?:[\x0c\x0d]|[\x8c\x8d]\x80{0,3}\x00)|\xfb(?:[\x0a\x13]|[\x8a\x93]\x80{0,3}\x00)"
)

# Up to this many runs of functions get a segment each, which is compact; engines allow 100,000.
_MAX_FUNC_RUNS: Final = 1000

# A gap of this many elements costs about what another segment does.
_CHEAP_GAP: Final = 3


def element_contents(
    module: Module, state: State, exports: Sequence[Export], references: References
) -> list[Chunk] | None:
    """Return the contents of the element section, or None where there are no segments.

    Segments of tables that did not change stay. Of tables that did, the old active segments become
    declarative, which is what they are after instantiation, and new ones follow. What was declared for
    ``ref.func`` only by an export or segment that goes is declared again.
    """
    replaced = {tableidx for tableidx, table in state.tables.items() if table.changed is not None}
    replaced |= {index for kind, index in state.kept if kind == "table"}
    old = [_old_segment(module, state, i, replaced, references) for i in range(len(module.elements))]
    if any(segment is None for segment in old) and not _refers_to_segments(module):
        segments = [segment for segment in old if segment is not None]
    else:
        segments = [_as_declarative(e) if s is None else s for e, s in zip(module.elements, old, strict=True)]
    for tableidx, table in sorted(state.tables.items()):
        if table.changed:
            segments += _table_segments(module, tableidx, table.changed, references)
    undeclared = _undeclared(module, exports, segments, references)
    if undeclared:
        segments.append(encode_declarative(sorted(undeclared)))
    return [encode_unsigned(len(segments)), *segments] if segments else None


def _old_segment(
    module: Module, state: State, elemidx: int, replaced: set[int], references: References
) -> bytes | None:
    """Return what stands in the place of a segment; None for an active one that goes."""
    element = module.elements[elemidx]
    if element.mode == "active" and element.tableidx in replaced:
        return None
    if elemidx in state.dropped_elements:
        return encode_passive_elements(element.reftype, [])
    if elemidx in state.elements:
        return encode_passive_elements(element.reftype, references.element_items(elemidx))
    return element.code


def _refers_to_segments(module: Module) -> bool:
    section = module.section(sec.CODE)
    return section is not None and _SEGMENT_USES.search(module.wasm, section.start, section.end) is not None


def _as_declarative(element: ElementSegment) -> bytes:
    return encode_declarative(sorted(element.funcs()))


def _undeclared(
    module: Module, exports: Sequence[Export], segments: Sequence[bytes], references: References
) -> frozenset[int]:
    """Return the functions that bodies refer to and that nothing declares any more."""
    gone = module.refs - {export.index for export in exports if export.kind == "func"}
    for init in (item.init for item in module.tables):
        if init is not None:
            gone -= set(init.funcs)
    still = {element.code for element in module.elements} & set(segments)
    for element in module.elements:
        if element.code in still or encode_declarative(sorted(element.funcs())) in segments:
            gone -= element.funcs()
    return referring(module, gone - references.initialiser_funcs) | references.restore_funcs


def _table_segments(
    module: Module, tableidx: int, changed: Mapping[int, Ref], references: References
) -> Iterator[bytes]:
    """Yield active segments that write ``changed``."""
    tabletype = module.tables[tableidx].type
    is64 = tabletype.limits.is64
    positions = sorted(changed)
    runs = list(_runs(positions, 0))
    only_funcs = tabletype.element == RefType(nullable=True, heap="func") and all(
        isinstance(ref, FuncRef) for ref in changed.values()
    )
    if only_funcs and len(runs) <= _MAX_FUNC_RUNS:
        for start, stop in runs:
            funcs = [ref.funcidx for i in range(start, stop) if isinstance(ref := changed[i], FuncRef)]
            yield encode_func_elements(tableidx, start, funcs, is64)
        return
    default = initial_element(module, tableidx)
    gap = 0 if default is None else _CHEAP_GAP
    runs = list(_runs(positions, gap))
    while len(runs) > 10 * _MAX_FUNC_RUNS and default is not None:
        gap *= 2
        runs = list(_runs(positions, gap))
    for start, stop in runs:
        refs = [changed.get(i, default) for i in range(start, stop)]
        items = [references.element(ref, tabletype.element) for ref in refs if ref is not None]
        yield encode_expr_elements(tableidx, start, tabletype.element, items, is64)


def _runs(positions: Sequence[int], gap: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges that ``positions``, ascending, fill, joined over gaps of up to ``gap`` elements."""
    start = previous = None
    for position in positions:
        if start is None or previous is None:
            start = position
        elif position - previous > gap + 1:
            yield start, previous + 1
            start = position
        previous = position
    if start is not None and previous is not None:
        yield start, previous + 1
