"""References and objects of a state as code: constant expressions for few, loops over columns for many.

Numbers, functions and null stand for themselves. Constant expressions say most of what few objects are
without a start function (`constants`). Engines compile each of them, which takes longer than the rest of a
small module once they are some hundreds: then the start function makes the objects from columns (`loops`).
"""

from __future__ import annotations

from itertools import pairwise

from wizer.binary.expr import encode_const, encode_null, encode_ref_func
from wizer.binary.module import Module
from wizer.binary.types import ValType, hierarchy
from wizer.binary.values import Number
from wizer.core.columns import Elements, Heap, listed
from wizer.core.heap.heapcode import HeapCode
from wizer.core.state import FuncRef, Null, State, Value

# From this many constant expressions on, objects are made from data.
MIN_EXPRESSIONS = 500


def encode(module: Module, state: State) -> HeapCode:
    """Return what the references of a state are in its module.

    Raises:
        StateError: they cannot be expressed.
    """
    if not _has_objects(state) and not any(module.imported("global", index) for index in state.globals):
        return _plain(module, state)
    from wizer.core.heap.graph import Graph

    heap = Heap.of(module, state.heap)
    least = _expressions(module, state, heap, len(heap))
    if least and least >= MIN_EXPRESSIONS:
        from wizer.core.heap.loops import loops
        from wizer.core.heap.operations import operations_on
        from wizer.core.heap.place_many import place_many

        vectors = operations_on(heap)
        graph = Graph(module, state, heap)
        many = place_many(graph, heap, state, vectors)
        if _expressions(module, state, heap, sum(many.made)) >= MIN_EXPRESSIONS:
            return loops(graph, heap, state, many, vectors)
    from wizer.core.heap.constants import constants

    return constants(Graph(module, state, list(heap)), state)


def _has_objects(state: State) -> bool:
    """Whether there are references other than null and to functions of the module."""
    kinds = set(map(type, state.globals.values()))
    if state.heap or state.elements or kinds - {Number, FuncRef, Null}:
        return True
    return any(Elements.of(table.changed or {}).has_objects for table in state.tables.values())


def _expressions(module: Module, state: State, heap: Heap, objects: int) -> int:
    """Return how many constant expressions some objects and what refers to objects may take.

    That is one for each element, too, that is not null in tables of objects, or is in an array of
    references that is too long to be listed.
    """
    from wizer.core.heap.graph import MAX_ARRAY_NEW_FIXED

    tables = [
        Elements.of(table.changed or {})
        for tableidx, table in state.tables.items()
        if hierarchy(module.tables[tableidx].type.element.heap, module.types) in ("any", "extern")
    ]
    large = sum(
        end - start
        for group in heap.groups
        if group.kind == "array" and group.storages[0] is None
        for start, end in pairwise(listed(group.starts))
        if end - start > MAX_ARRAY_NEW_FIXED
    )
    return objects + large + sum(elements.count for elements in tables)


def _plain(module: Module, state: State) -> HeapCode:
    """Return the code for a state without objects: initialisers of globals."""
    initialisers = {
        globalidx: _constant(value, module.globals[globalidx].type.valtype)
        for globalidx, value in state.globals.items()
    }
    funcs = (value.funcidx for value in state.globals.values() if isinstance(value, FuncRef))
    return HeapCode(initialisers, declared=frozenset(funcs))


def _constant(value: Value, valtype: ValType) -> bytes:
    if isinstance(value, Number):
        return encode_const(value.type, value.bits)
    if isinstance(value, FuncRef):
        return encode_ref_func(value.funcidx)
    assert not isinstance(valtype, str)
    return encode_null(valtype.heap)
