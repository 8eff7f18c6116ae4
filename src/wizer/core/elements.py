"""The element section of the snapshot: what tables hold, and the segments that code refers to by index."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from wizer.binary import sections as sec
from wizer.binary.additions import MAX_ELEMENT_SEGMENTS
from wizer.binary.assemble import Chunk, vector
from wizer.binary.expr import encode_null, encode_ref_func
from wizer.binary.externs import Export
from wizer.binary.instructions import referring
from wizer.binary.leb128 import any_unsigned, encode_unsigned
from wizer.binary.module import Module
from wizer.binary.segments import (
    ElementSegment,
    encode_declarative,
    encode_empty,
    encode_expr_elements,
    encode_func_elements,
    encode_passive_elements,
)
from wizer.binary.types import FUNCREF, FUNCREF_NON_NULL, RefType, matches
from wizer.core.columns import FUNC, Column, Elements, code_of, listed
from wizer.core.heap.heapcode import HeapCode
from wizer.core.state import FuncRef, State
from wizer.core.tables import initial_element
from wizer.kept import kept_of
from wizer.records import record

# What refers to segments: table.init, elem.drop; array.new_elem, array.init_elem.
_SEGMENT_USES: Final = re.compile(
    b"\xfc(?:%b|%b)|\xfb(?:%b|%b)" % (*map(any_unsigned, (12, 13)), *map(any_unsigned, (10, 19)))
)

# Up to this many runs of elements of a table get a segment each; engines allow 100,000 in all.
_MAX_FUNC_RUNS: Final = 50_000
_MAX_EXPRESSION_RUNS: Final = 10_000

# A gap of this many elements costs about what another segment does.
_CHEAP_GAP: Final = 3

# So many codes of references are listed at once: joining takes 80 bytes for each part.
_PART: Final = 1 << 14


@record
class Segment:
    """A segment of the snapshot.

    Attributes:
        code: its encoding.
        reftype: the type of its elements.
        funcs: the functions that it declares for ``ref.func``.
        by_index: whether its elements are function indices, and no expressions.
    """

    code: bytes
    reftype: RefType = FUNCREF
    funcs: frozenset[int] = frozenset()
    by_index: bool = False


def element_contents(
    module: Module,
    state: State,
    exports: Sequence[Export],
    heap: HeapCode,
) -> list[Chunk] | None:
    """Return the contents of the element section, or None where there are no segments.

    Segments of tables that did not change stay. Of tables that did, the old active segments go; where code
    refers to segments by index, their places are taken by new active ones, which are as empty after
    instantiation, or by declarative ones; so are those of other empty segments, if that is not enough. Where
    there are as many segments as engines take, declarative ones go, too. What was declared for ``ref.func``
    only by an export or a segment that goes is declared again.

    New segments of functions stand in front. From the first active segment of expressions on, an engine
    compiles what every single element takes, and runs it whenever it instantiates; what stands before it is
    a table of numbers that it looks at when a function is called. See RATIONALE.md.

    Args:
        module: the original module.
        state: the state of its instance.
        exports: the exports of the snapshot.
        heap: what references are.
    """
    replaced = {tableidx for tableidx, table in state.tables.items() if table.changed is not None}
    replaced |= {index for kind, index in state.borrowed if kind == "table"}
    indices_matter = bool(heap.passive_elements) or refers_to_segments(module)
    new = sorted(_table_segments(module, state, heap), key=lambda segment: not segment.by_index)
    in_front = 0 if indices_matter else sum(segment.by_index for segment in new)
    segments, new = new[:in_front], new[in_front:]
    free = {
        elemidx
        for elemidx, element in enumerate(module.elements)
        if _is_empty(state, elemidx, element, replaced)
    }
    goes = {elemidx for elemidx in free if module.elements[elemidx].mode == "active"}
    if len(module.elements) + len(new) >= MAX_ELEMENT_SEGMENTS and not indices_matter:
        goes |= {i for i, element in enumerate(module.elements) if element.mode == "declarative"}
    taken = _places(module, new, free if indices_matter else goes, goes)
    for elemidx, element in enumerate(module.elements):
        if elemidx in taken:
            segments.append(new[taken[elemidx]])
        elif elemidx not in goes:
            segments.append(_kept_segment(state, elemidx, element, heap))
        elif indices_matter:
            segments.append(Segment(encode_empty(element, "declarative")))
    placed = set(taken.values())
    rest = [segment for number, segment in enumerate(new) if number not in placed]
    segments += [Segment(passive) for passive in heap.passive_elements]
    segments += rest
    undeclared = _undeclared(module, exports, segments, heap)
    if undeclared:
        segments.append(Segment(encode_declarative(sorted(undeclared))))
    return vector([segment.code for segment in segments])


def _is_empty(state: State, elemidx: int, element: ElementSegment, replaced: Collection[int]) -> bool:
    """Whether a segment says nothing: nothing is left of it, or what it wrote is written anew."""
    if element.mode == "active":
        return element.tableidx in replaced
    return not element.items or elemidx in state.dropped_elements


def _places(
    module: Module, new: Sequence[Segment], free: Collection[int], first: Collection[int]
) -> dict[int, int]:
    """Return which new segments old places take: those in ``first``, or if these are too few all in ``free``.

    What code does with a place must be valid with the type of the segment in it. A snapshot of a snapshot,
    taken at once, finds the same places.
    """

    def assigned(places: Collection[int]) -> dict[int, int]:
        queues: dict[RefType, list[int]] = {}
        for number in reversed(range(len(new))):
            queues.setdefault(new[number].reftype, []).append(number)
        taken = {}
        for elemidx in sorted(places):
            wanted = module.elements[elemidx].reftype
            fitting = (q for reftype, q in queues.items() if q and matches(reftype, wanted, module.types))
            if (queue := min(fitting, key=lambda q: q[-1], default=None)) is not None:
                taken[elemidx] = queue.pop()
        return taken

    taken = assigned(first)
    return taken if len(taken) == len(new) else max(taken, assigned(free), key=len)


def _kept_segment(state: State, elemidx: int, element: ElementSegment, heap: HeapCode) -> Segment:
    """Return a segment as it is, but for passive ones that were dropped or whose objects changed."""
    if elemidx in state.dropped_elements:
        return Segment(encode_empty(element, "passive"))
    if elemidx in state.elements:
        items = heap.items[elemidx]
        funcs = frozenset(ref.funcidx for ref in state.elements[elemidx] if isinstance(ref, FuncRef))
        return Segment(encode_passive_elements(element.reftype, items), funcs=funcs)
    return Segment(element.code, funcs=element.funcs())


def refers_to_segments(module: Module) -> bool:
    """Whether code may refer to element segments by index; where it does not, indices may change."""
    section = module.section(sec.CODE)
    if section is None:
        return False

    def refers() -> bool:
        return _SEGMENT_USES.search(module.wasm, section.start, section.end) is not None

    return kept_of(module.wasm, ("refers to element segments", module.origin), refers)


def _undeclared(
    module: Module, exports: Sequence[Export], segments: Sequence[Segment], heap: HeapCode
) -> frozenset[int]:
    """Return the functions that bodies refer to and that nothing declares any more."""
    declared = {export.index for export in exports if export.kind == "func"} | heap.declared
    for segment in segments:
        declared |= segment.funcs
    for globalidx, global_ in enumerate(module.globals):
        if global_.init is not None and globalidx not in heap.initialisers:
            declared.update(global_.init.funcs)
    for table in module.tables:
        declared.update(table.init.funcs if table.init is not None else ())
    return referring(module, module.refs - declared) | (heap.undeclared - declared)


def _table_segments(module: Module, state: State, heap: HeapCode) -> Iterator[Segment]:
    """Yield active segments that write the tables that changed."""
    for tableidx, table in sorted(state.tables.items()):
        changed = Elements.of(table.changed or {})
        if tableidx in heap.restored_tables:
            changed = changed.nulls()
        if len(changed):
            yield from _segments_of(module, tableidx, changed, heap.elements.get(tableidx, {}))


def _segments_of(
    module: Module, tableidx: int, changed: Elements, expressions: Mapping[int, bytes]
) -> Iterator[Segment]:
    """Yield the segments that write elements of a table, given the expressions of objects among them."""
    tabletype = module.tables[tableidx].type
    is64 = tabletype.limits.is64
    default = initial_element(module, tableidx)
    others = changed if default is None else changed.without(code_of(default))
    if matches(FUNCREF_NON_NULL, tabletype.element, module.types):
        functions = changed.functions()
        runs = functions.runs(0)
        if len(runs) <= _MAX_FUNC_RUNS:
            for start, stop in runs:
                funcs, encoded = _encoded(functions.codes[start:stop])
                offset = int(functions.positions[start])
                code = encode_func_elements(tableidx, offset, stop - start, encoded, is64)
                yield Segment(code, FUNCREF_NON_NULL, funcs, by_index=True)
            others = others.functions(others=True)
    gap = 0 if default is None else _CHEAP_GAP
    runs = others.runs(gap)
    while len(runs) > _MAX_EXPRESSION_RUNS and default is not None:
        gap *= 2
        runs = others.runs(gap)
    # There are gaps only where the default is known; functions with segments of their own may be in them.
    known: dict[int, bytes] = {}
    for start, stop in runs:
        positions, codes = listed(others.positions[start:stop]), listed(others.codes[start:stop])
        items: list[bytes] = []
        funcs_in = {held >> 2 for held in codes if held & 3 == FUNC}
        for position, held in zip(positions, codes, strict=True):
            for place in range(positions[0] + len(items), position):
                between = changed.get(place) or default
                assert between is not None
                items.append(_expression(code_of(between), tabletype.element))
                funcs_in |= {between.funcidx} if isinstance(between, FuncRef) else set()
            found = expressions.get(position) or known.get(held)
            if found is None:
                found = known[held] = _expression(held, tabletype.element)
            items.append(found)
        code = encode_expr_elements(tableidx, positions[0], tabletype.element, items, is64)
        yield Segment(code, tabletype.element, frozenset(funcs_in))


def _encoded(codes: Column) -> tuple[frozenset[int], bytes]:
    """Return the functions with some codes, and the encoded indices of all of them."""
    known: dict[int, bytes] = {}
    parts: list[bytes] = []
    for start in range(0, len(codes), _PART):
        part = listed(codes[start : start + _PART])
        known.update((code, encode_unsigned(code >> 2)) for code in set(part).difference(known))
        parts.append(b"".join(map(known.__getitem__, part)))
    return frozenset(code >> 2 for code in known), b"".join(parts)


def _expression(code: int, reftype: RefType) -> bytes:
    """Return the expression, without ``end``, for null or a function, given its code."""
    return encode_ref_func(code >> 2) if code & 3 == FUNC else encode_null(reftype.heap)
