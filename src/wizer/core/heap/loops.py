"""Many objects: the restore function makes them in loops over columns of data.

A list of 100,000 nodes, immutable and so its last one first, held by a mutable global::

    (type $objects (array (mut anyref)))
    (global $objects (mut (ref null $objects)) (ref.null $objects))
    (global $list (mut (ref null $node)) (ref.null $node))
    (func $make (param $number i32) (param $end i32) … (loop …
      (array.set $objects (global.get $objects) (local.get $number)
        (struct.new $node (array.get …) (ref.cast … (array.get $objects … (array.get …)))))))
    (func $restore
      (global.set $objects (array.new_default $objects (i32.const 100001)))
      (call $make (i32.const 1) (i32.const 100001))
      (global.set $list (ref.cast (ref $node) (array.get $objects … (i32.const 100000))))
      (data.drop $data)
      (global.set $objects (ref.null $objects)))
    (start $restore)
    (data $data "…")

To compile that takes as long as the types and fields are many, however many objects there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from wizer.binary import code
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.expr import encode_const, encode_null, encode_ref_func
from wizer.binary.segments import encode_expr_elements, encode_passive_data, encode_passive_elements
from wizer.binary.types import FUNCREF, RefType
from wizer.core.columns import FUNC, OBJECT, Elements, Heap, listed
from wizer.core.heap.expressions import Expressions, Segments
from wizer.core.heap.graph import Graph
from wizer.core.heap.groups import Batch, Plan
from wizer.core.heap.heapcode import HeapCode
from wizer.core.heap.initial import Initial, exception_globals
from wizer.core.heap.loop import Data
from wizer.core.heap.make import Maker, Slot, each
from wizer.core.heap.objects import ANYREF, Objects, Table, array_of, table_or_array
from wizer.core.heap.operations import Vectors
from wizer.core.heap.paths import Paths
from wizer.core.heap.place_many import ManyPlacement
from wizer.core.heap.restore import Single, drop_segments, start_functions
from wizer.core.heap.values import Values
from wizer.core.state import State

# Up to this many runs are a call each in the restore function.
_MAX_CALLS: Final = 256

# From this many equal elements of a table on, one instruction sets them.
_MIN_FILL: Final = 256


def loops(graph: Graph, heap: Heap, state: State, many: ManyPlacement, vectors: Vectors) -> HeapCode:
    """Return the code for a state of many objects, most of which are made from data."""
    module, placement = graph.module, many.placement
    types, segments = AppendedTypes(module), Segments(module, taken=1)
    exceptions = sum(map(graph.is_exception, placement.late))
    globalidx = len(module.globals) + len(placement.appended) + exceptions
    objects = array_of(ANYREF, types, globalidx)
    functions = table_or_array(module, FUNCREF, types, globalidx + 1)
    plan = Plan(graph, heap, many, vectors)
    values = Values(module, vectors, plan.numbers, plan.end, objects, functions, len(module.funcs))
    paths = Paths(graph, placement, objects, values.numbers)
    completed = frozenset(many.completed)
    constant = Expressions(graph, placement, paths, segments, completed)
    code_ = Expressions(graph, placement, paths, segments, completed, constant)
    initial = Initial(graph, state, placement, constant)
    initialisers, appended = initial.initialisers(), initial.appended_globals()
    elements, later, restored = {}, {}, {}
    for tableidx, table in sorted(state.tables.items()):
        changed = Elements.of(table.changed or {})
        if len(changed) and graph.top(module.tables[tableidx].type.element) in ("any", "extern"):
            restored[tableidx] = changed
        else:
            elements[tableidx], later[tableidx] = initial.elements(tableidx, changed)
    single = Single(graph, state, placement, paths, code_)
    late = single.make_late()
    for node in single.large_arrays(completed):
        numeric = isinstance(graph.slot_type(node, 0), str)
        late.append(single.copy_elements(node) if numeric else single.set_elements(node))
    writer = _Writer(graph, plan, values, types, objects, functions, code_.placeholder, vectors)
    made, filled = writer.make(), writer.fill()
    tables = [piece for item in restored.items() for piece in writer.table(*item)]
    kept = writer.keep(paths.exact)  # what the others refer to is known now
    appended_tables, arrays, first = [], [objects.entry], [objects.make(values.size)]
    if values.funcs:
        size, items = len(values.funcs) + 1, writer.func_items()
        if isinstance(functions, Table):
            appended_tables.append(functions.entry(size))
            segments.add_elements(encode_expr_elements(functions.tableidx, 1, FUNCREF, items[1:], False))
        else:
            arrays.append(functions.entry)
            segment = segments.add_elements(encode_passive_elements(FUNCREF, items))
            first.append(functions.make_of(segment, size))
    pieces = [*first, *kept, *made, *late, *filled, *tables, *single.patch(later)]
    pieces += [*drop_segments(module, segments, 1), *paths.forget_exceptions(), *writer.clear()]
    starts = start_functions(types, len(module.funcs) + len(writer.functions), pieces)
    return HeapCode(
        initialisers=initialisers,
        elements=elements,
        restored_tables=frozenset(restored),
        items=initial.items(),
        types=types.entries,
        globals=[*appended, *exception_globals(exceptions), *arrays],
        tables=appended_tables,
        functions=[*writer.functions, *starts],
        passive_elements=segments.elements,
        passive_data=[encode_passive_data(writer.data.contents()), *segments.data],
        declared=frozenset({*constant.funcs, *(f >> 2 for f in values.funcs if f & 3 == FUNC)}),
        undeclared=frozenset(code_.funcs),
    )


class _Writer:
    """The functions of the restore function that go through columns, and how it calls them.

    Attributes:
        functions: to append, from the index of the module's first appended function on.
        data: the columns.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        values: Values,
        types: AppendedTypes,
        objects: Objects,
        functions: Objects | Table,
        placeholder: Callable[[RefType], bytes],
        vectors: Vectors,
    ) -> None:
        module = graph.module
        self._graph = graph
        self._plan = plan
        self._vectors = vectors
        self._values = values
        self._objects = objects
        self._function_places = functions
        self._first_func = len(module.funcs)
        self.data = Data()
        dataidx = len(module.data) if module.data_count is not None else 0
        self._maker = Maker(vectors, values, types, self.data, dataidx, objects, placeholder)
        self.functions: list[Function] = [values.decoder(types)]
        self._slots = [self._sorted_out(batch, plan.from_the_start(batch)) for batch in plan.batches]

    def _sorted_out(self, batch: Batch, from_the_start: Sequence[int]) -> list[Slot]:
        """Return the slots of a batch, and whether they are set once everything exists.

        They are if they can be, and have to be for some object.
        """
        nodes = batch.nodes(batch.rows)
        slots = []
        for index, type_ in enumerate(batch.slots):
            storage, later = type_.storage, False
            if not isinstance(storage, str) and index not in from_the_start and storage.heap != "exn":
                later = (
                    batch.form == "filled"
                    or bool(batch.existing)
                    or self._vectors.any_not_before(batch.column(index, batch.rows), nodes, self._plan.times)
                )
            slots.append(Slot(index, type_, later))
        return slots

    def make(self) -> list[bytes]:
        """Return the code that makes the objects."""
        makers = [
            self._append(self._maker.make(batch, slots)) if len(batch.rows) else 0
            for batch, slots in zip(self._plan.batches, self._slots, strict=True)
        ]
        runs = self._plan.runs
        if len(runs) > _MAX_CALLS:
            return [_range(0, len(runs)) + code.call(self._append(self._schedule(makers)))]
        return [_range(run.start, run.end) + code.call(makers[run.batch]) for run in runs]

    def _append(self, function: Function) -> int:
        """Append a function; return its index."""
        self.functions.append(function)
        return self._first_func + len(self.functions) - 1

    def _schedule(self, makers: Sequence[int]) -> Function:
        """Return a function that goes through the runs."""
        loop, runs = self._maker.loop(0), self._plan.runs
        start = loop.column(self._vectors.column([run.start for run in runs]), 4)
        end = loop.column(self._vectors.column([run.end for run in runs]), 4)
        batch = loop.column(self._vectors.column([run.batch for run in runs]), 4)
        labels = range(len(makers))
        body = code.BLOCK * (len(makers) + 1) + batch + code.br_table(labels, len(makers)) + code.END
        for left, maker in zip(reversed(labels), makers, strict=True):
            body += (start + end + code.call(maker) if maker else b"") + code.br(left) + code.END
        return loop.function(body)

    def fill(self) -> list[bytes]:
        """Return the code that sets the slots that are set once everything exists."""
        return [
            _range(batch.first, batch.end) + code.call(self._append(self._maker.fill(batch, slots)))
            for batch, slots in zip(self._plan.batches, self._slots, strict=True)
            if batch.form == "filled" or any(slot.later for slot in slots)
        ]

    def table(self, tableidx: int, elements: Elements) -> list[bytes]:
        """Return the code that sets elements of a table, but for those that are null."""
        tabletype = self._graph.module.tables[tableidx].type
        column = self._vectors.column
        held, positions = self._vectors.other_than(column(elements.codes), column(elements.positions))
        if not len(held):
            return []
        codes, scalars = self._values.codes(tabletype.element, held)
        address = tabletype.limits.address_type
        pieces = []
        rest = self._vectors.zeros(len(codes))
        for start, end in self._vectors.runs(positions, codes, _MIN_FILL):
            self._vectors.put(rest, range(start, end), [1] * (end - start))
            pieces.append(
                encode_const(address, int(positions[start]))
                + self._values.decoded(tabletype.element, scalars, encode_const("i32", int(codes[start])))
                + encode_const(address, end - start)
                + code.table_fill(tableidx)
            )
        _, codes, positions = self._vectors.other_than(rest, codes, positions, number=1)
        if not len(codes):
            return pieces
        starts, counts = self._vectors.stretches(positions)
        loop = self._maker.loop(0)
        start_of = loop.column(starts, 4)

        def store(index: bytes, number: bytes) -> bytes:
            place = start_of + index + code.I32_ADD
            if tabletype.limits.is64:
                place += code.I64_EXTEND_I32_U
            value = self._values.decoded(tabletype.element, scalars, number)
            return place + value + code.table_set(tableidx)

        function = loop.function(each(loop, codes, loop.column(counts, 4), store))
        return [*pieces, _range(0, len(starts)) + code.call(self._append(function))]

    def keep(self, exact: Callable[[int], bytes]) -> list[bytes]:
        """Return the code that keeps what exists already under its number.

        ``exact`` gives the code for an object.
        """
        pieces = [
            self._objects.set(encode_const("i32", number), exact(node))
            for batch in self._plan.batches
            for number, node in enumerate(
                listed(batch.nodes(self._vectors.column(batch.existing))), batch.first + len(batch.rows)
            )
        ]
        for number, kept in enumerate(self._values.existing, self._plan.end):
            value = exact((kept >> 2) - 1) if kept & 3 == OBJECT else self._imported(kept >> 2)
            pieces.append(self._objects.set(encode_const("i32", number), value))
        for number, func in enumerate(self._values.funcs, 1):
            if func & 3 != FUNC:
                place = encode_const("i32", number)
                pieces.append(self._function_places.set(place, code.global_get(func >> 2)))
        return pieces

    def _imported(self, globalidx: int) -> bytes:
        valtype = self._graph.module.globals[globalidx].type.valtype
        assert isinstance(valtype, RefType)
        conversion = code.ANY_CONVERT_EXTERN if self._graph.top(valtype) == "extern" else b""
        return code.global_get(globalidx) + conversion

    def clear(self) -> list[bytes]:
        """Return the code that leaves nothing behind."""
        pieces = [self._objects.clear()]
        places = self._function_places
        if self._values.funcs:
            size = len(self._values.funcs) + 1
            pieces.append(places.clear(size) if isinstance(places, Table) else places.clear())
        return pieces

    def func_items(self) -> list[bytes]:
        """Return the functions by their numbers, null where a global has the function."""
        funcs = [
            encode_ref_func(f >> 2) if f & 3 == FUNC else encode_null("func") for f in self._values.funcs
        ]
        return [encode_null("func"), *funcs]


def _range(start: int, end: int) -> bytes:
    return encode_const("i32", start) + encode_const("i32", end)
