"""References and objects of a state as code: constant expressions for few, loops over columns for many.

Numbers, functions and null stand for themselves. Constant expressions say most of what few objects are
without a start function (`constants`). Engines compile each of them, which takes longer than the rest of a
small module once they are some hundreds: then the start function makes the objects from columns (`loops`).
"""

from __future__ import annotations

from itertools import chain

from wizer.binary.expr import encode_const, encode_null, encode_ref_func
from wizer.binary.module import Module
from wizer.binary.types import ValType
from wizer.binary.values import Number
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

    graph = Graph(module, state)
    least = graph.expressions(len(graph.heap))
    if least and least >= MIN_EXPRESSIONS:
        from wizer.core.heap.loops import loops
        from wizer.core.heap.place_many import place_many

        placement = place_many(graph, state)
        if graph.expressions(len(placement.made)) >= MIN_EXPRESSIONS:
            return loops(graph, state, placement)
    from wizer.core.heap.constants import constants

    return constants(graph, state)


def _has_objects(state: State) -> bool:
    """Whether there are references other than null and to functions of the module."""
    tables = [(table.changed or {}).values() for table in state.tables.values()]
    kinds = set(map(type, chain(state.globals.values(), *tables)))
    return bool(state.heap or state.elements or kinds - {Number, FuncRef, Null})


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
