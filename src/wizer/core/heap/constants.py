"""Few objects: constant expressions make them, and the restore function does what these cannot say.

A list of two that closes a cycle, held by a mutable global::

    (global $list (mut (ref null $node)) (ref.null $node))
    (global $second (ref $node) (struct.new $node (i32.const 2) (ref.null $node)))
    (global $first (ref $node) (struct.new $node (i32.const 1) (global.get $second)))
    (func $restore
      (struct.set $node 1 (global.get $second) (global.get $first))
      (global.set $list (global.get $first)))
    (start $restore)
"""

from __future__ import annotations

from wizer.binary.appended import AppendedTypes
from wizer.core.columns import Elements
from wizer.core.heap.expressions import Expressions, Segments
from wizer.core.heap.graph import Graph
from wizer.core.heap.heapcode import HeapCode
from wizer.core.heap.initial import Initial, exception_globals
from wizer.core.heap.objects import ANYREF, Table, table_or_array
from wizer.core.heap.paths import Paths
from wizer.core.heap.place import place_few
from wizer.core.heap.restore import Single, drop_segments, start_functions
from wizer.core.state import State


def constants(graph: Graph, state: State) -> HeapCode:
    """Return the code for a state of few objects."""
    module = graph.module
    placement = place_few(graph, state)
    segments, types = Segments(module), AppendedTypes(module)
    exceptions = sum(map(graph.is_exception, placement.late))
    globalidx = len(module.globals) + len(placement.appended) + exceptions
    objects = table_or_array(module, ANYREF, types, globalidx)
    paths = Paths(graph, placement, objects)
    constant = Expressions(graph, placement, paths, segments)
    code_ = Expressions(graph, placement, paths, segments, constant=constant)
    initial = Initial(graph, state, placement, constant)
    initialisers, appended = initial.initialisers(), initial.appended_globals()
    elements, later = {}, {}
    for tableidx, table in sorted(state.tables.items()):
        elements[tableidx], later[tableidx] = initial.elements(tableidx, Elements.of(table.changed or {}))
    single = Single(graph, state, placement, paths, code_)
    pieces = single.make_late()
    pieces += [single.copy_elements(node) for node in single.large_arrays()]
    pieces += [*single.patch(later), *drop_segments(module, segments), *paths.forget_exceptions()]
    tables, arrays, size = [], [], len(placement.late)
    if exceptions < size:
        if isinstance(objects, Table):
            tables.append(objects.entry(size))
            pieces.append(objects.clear(size))
        else:
            arrays.append(objects.entry)
            pieces = [objects.make(size), *pieces, objects.clear()]
    items = initial.items()
    functions = start_functions(types, len(module.funcs), pieces)
    return HeapCode(
        initialisers=initialisers,
        elements=elements,
        restored_tables=frozenset(),
        items=items,
        types=types.entries,
        globals=[*appended, *exception_globals(exceptions), *arrays],
        tables=tables,
        functions=functions,
        passive_elements=segments.elements,
        passive_data=segments.data,
        declared=frozenset(constant.funcs),
        undeclared=frozenset(code_.funcs),
    )
