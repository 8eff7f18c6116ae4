"""Many objects: the restore function makes them in loops over columns of data.

A list of 100,000 nodes, immutable and so its last one first, held by a mutable global::

    (type $objects (array (mut anyref)))
    (global $objects (mut (ref null $objects)) (ref.null $objects))
    (global $list (mut (ref null $node)) (ref.null $node))
    (func $make (param $number i32) (param $end i32) … (loop …
      (array.set $objects (global.get $objects) (local.get $number)
        (struct.new $node (array.get …) (ref.cast … (call $object (array.get …)))))))
    (func $restore
      (global.set $objects (array.new_default $objects (i32.const 100001)))
      (call $make (i32.const 1) (i32.const 100001))
      (global.set $list (ref.cast (ref $node) (call $object (i32.const 100000))))
      (data.drop $data)
      (global.set $objects (ref.null $objects)))
    (start $restore)
    (data $data "…")

To compile that takes as long as the types and fields are many, however many objects there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from wizer.binary import code
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.expr import encode_const, encode_null, encode_ref_func
from wizer.binary.externs import SizeLimits, TableType, encode_tabletype
from wizer.binary.segments import encode_expr_elements, encode_passive_data
from wizer.binary.types import FUNCREF, FieldType, RefType
from wizer.core.heap.bulk_groups import Group, group_objects, number_groups, slot_types
from wizer.core.heap.bulk_make import Maker, Slots, columns_of, each
from wizer.core.heap.bulk_rows import Data
from wizer.core.heap.bulk_values import Values
from wizer.core.heap.expressions import Expressions, Segments
from wizer.core.heap.graph import Graph
from wizer.core.heap.heapcode import HeapCode
from wizer.core.heap.initial import Initial, exception_globals
from wizer.core.heap.objects import Objects, array_of_objects
from wizer.core.heap.paths import Paths
from wizer.core.heap.place_many import ManyPlacement
from wizer.core.heap.restore import Single, drop_segments, start_functions
from wizer.core.state import FuncRef, GlobalRef, Null, ObjectRef, Ref, State, Value

# Up to this many runs are a call each in the restore function.
_MAX_CALLS: Final = 256

# From this many equal elements of a table on, one instruction sets them.
_MIN_FILL: Final = 256


def loops(graph: Graph, state: State, many: ManyPlacement) -> HeapCode:
    """Return the code for a state of many objects, most of which are made from data."""
    module, placement = graph.module, many.placement
    types, segments = AppendedTypes(module), Segments(module, taken=1)
    exceptions = sum(map(graph.is_exception, placement.late))
    globalidx = len(module.globals) + len(placement.appended) + exceptions
    objects = array_of_objects(types, globalidx, len(module.funcs))
    plan = _Plan(graph, many)
    values = Values(module, plan.numbers(), plan.end, objects, len(module.tables), len(module.funcs) + 1)
    paths = Paths(graph, placement, objects, values.numbers)
    completed = frozenset(many.completed)
    constant = Expressions(graph, placement, paths, segments, completed)
    code_ = Expressions(graph, placement, paths, segments, completed, constant)
    initial = Initial(graph, state, placement, constant)
    initialisers, appended = initial.initialisers(), initial.appended_globals()
    elements, later, restored = {}, {}, {}
    for tableidx, table in sorted(state.tables.items()):
        if table.changed and graph.top(module.tables[tableidx].type.element) in ("any", "extern"):
            restored[tableidx] = {i: ref for i, ref in table.changed.items() if not isinstance(ref, Null)}
        else:
            elements[tableidx], later[tableidx] = initial.elements(tableidx, table.changed or {})
    single = Single(graph, state, placement, paths, code_)
    late = single.make_late()
    for node in single.large_arrays(completed):
        numeric = isinstance(graph.slot_type(node, 0), str)
        late.append(single.copy_elements(node) if numeric else single.set_elements(node))
    loops_ = _Loops(graph, plan, values, types, objects, code_.placeholder)
    made, filled = loops_.make(), loops_.fill()
    tables = [piece for item in restored.items() for piece in loops_.table(*item)]
    kept = loops_.keep(paths.exact)  # what the others refer to is known now
    if values.funcs:
        segments.add_elements(loops_.func_segment())
    pieces = [objects.make(values.size), *kept, *made, *late, *filled, *tables, *single.patch(later)]
    pieces += [*drop_segments(module, segments, 1), *paths.forget_exceptions(), *loops_.clear()]
    items = initial.items()
    first = len(module.funcs) + len(loops_.functions)
    functions = [*loops_.functions, *start_functions(types, first, pieces)]
    return HeapCode(
        initialisers=initialisers,
        elements=elements,
        restored_tables=frozenset(restored),
        items=items,
        types=types.entries,
        globals=[*appended, *exception_globals(exceptions), objects.entry],
        tables=loops_.tables(),
        functions=functions,
        passive_elements=segments.elements,
        passive_data=[encode_passive_data(loops_.data.contents()), *segments.data],
        declared=frozenset({*constant.funcs, *(f.funcidx for f in values.funcs if isinstance(f, FuncRef))}),
        undeclared=frozenset(code_.funcs),
    )


class _Plan:
    """The order in which objects are made from data, and their numbers.

    Attributes:
        groups: the objects that are made in one way.
        runs: the order of making them.
        end: the number after the last one.
        slots: the slots of each group.
    """

    def __init__(self, graph: Graph, many: ManyPlacement) -> None:
        self._graph = graph
        self._many = many
        self._made = frozenset(many.made)
        self.groups = group_objects(graph, many.made, many.completed)
        first = 1 + len(many.placement.late)
        self.runs = number_groups(self.groups, list(map(self._needs, self.groups)), first)
        self.end = self.groups[-1].end if self.groups else first
        self.slots = self._sorted_out(self._times())

    def _needs(self, group: Group) -> list[list[int]]:
        """Return what must be made before each object of a group; nothing where no object needs any."""
        types = slot_types(self._graph, group)
        hard = [index for index, type_ in enumerate(types) if type_ in self._many.from_the_start]
        if not hard:
            return []
        is_made = self._made.__contains__
        return [
            [ref.object for i in hard if isinstance(ref := contents[i], ObjectRef) and is_made(ref.object)]
            for contents in map(self._graph.contents, group.made)
        ]

    def numbers(self) -> list[int]:
        """Return the number of each object that has one, otherwise 0."""
        numbers = [0] * len(self._graph.heap)
        for number, node in enumerate(self._many.placement.late, 1):
            numbers[node] = number
        for group in self.groups:
            for number, node in enumerate(group.nodes, group.first):
                numbers[node] = number
        return numbers

    def _times(self) -> list[int]:
        """Return when each object is made; what exists already was made before the first one."""
        times = [-1] * len(self._graph.heap)
        for node in self._many.placement.late:
            times[node] = len(times)
        time = 0
        for run in self.runs:
            group = self.groups[run.group]
            for node in group.made[run.start - group.first : run.end - group.first]:
                times[node] = time
                time += 1
        return times

    def _sorted_out(self, times: Sequence[int]) -> list[list[Slots]]:
        """Return the slots of each group, and whether they are set later."""
        return [
            [
                Slots(index, type_, values, self._is_later(group, type_, values, times))
                for index, (type_, values) in enumerate(
                    zip(slot_types(self._graph, group), columns_of(self._graph, group), strict=True)
                )
            ]
            for group in self.groups
        ]

    def _is_later(
        self, group: Group, type_: FieldType, values: Sequence[Value], times: Sequence[int]
    ) -> bool:
        """Whether a slot is set once everything exists: it can be, and has to be for some object."""
        storage = type_.storage
        if isinstance(storage, str) or type_ in self._many.from_the_start or storage.heap == "exn":
            return False
        return (
            group.form == "filled"
            or bool(group.existing)
            or any(
                type(value) is ObjectRef and times[value.object] >= times[node]
                for node, value in zip(group.made, values, strict=True)
            )
        )


class _Loops:
    """The functions of the restore function that go through columns, and how it calls them.

    Attributes:
        functions: to append, from the index of the module's first appended function on.
        data: the columns.
    """

    def __init__(
        self,
        graph: Graph,
        plan: _Plan,
        values: Values,
        types: AppendedTypes,
        objects: Objects,
        placeholder: Callable[[RefType], bytes],
    ) -> None:
        module = graph.module
        self._graph = graph
        self._plan = plan
        self._values = values
        self._objects = objects
        self._functable = len(module.tables)
        self._first_func = len(module.funcs)
        self.data = Data()
        dataidx = len(module.data) if module.data_count is not None else 0
        self._maker = Maker(graph, values, types, self.data, dataidx, objects, placeholder)
        self.functions: list[Function] = [objects.getter(types), values.decoder(types)]

    def make(self) -> list[bytes]:
        """Return the code that makes the objects."""
        makers = [
            self._append(self._maker.make(group, slots)) if group.made else 0
            for group, slots in zip(self._plan.groups, self._plan.slots, strict=True)
        ]
        if len(self._plan.runs) > _MAX_CALLS:
            return [self._range(0, len(self._plan.runs)) + code.call(self._append(self._schedule(makers)))]
        return [self._range(run.start, run.end) + code.call(makers[run.group]) for run in self._plan.runs]

    def _append(self, function: Function) -> int:
        """Append a function; return its index."""
        self.functions.append(function)
        return self._first_func + len(self.functions) - 1

    def _range(self, start: int, end: int) -> bytes:
        return encode_const("i32", start) + encode_const("i32", end)

    def _schedule(self, makers: Sequence[int]) -> Function:
        """Return a function that goes through the runs."""
        loop = self._maker.loop(0, len(self._plan.runs))
        start = loop.column([run.start for run in self._plan.runs], 4)
        end = loop.column([run.end for run in self._plan.runs], 4)
        group = loop.column([run.group for run in self._plan.runs], 4)
        labels = range(len(makers))
        body = code.BLOCK * (len(makers) + 1) + group + code.br_table(labels, len(makers)) + code.END
        for left, maker in zip(reversed(labels), makers, strict=True):
            body += (start + end + code.call(maker) if maker else b"") + code.br(left) + code.END
        return loop.function(body)

    def fill(self) -> list[bytes]:
        """Return the code that sets the slots that are set once everything exists."""
        return [
            self._range(group.first, group.end) + code.call(self._append(self._maker.fill(group, slots)))
            for group, slots in zip(self._plan.groups, self._plan.slots, strict=True)
            if group.form == "filled" or any(slot.later for slot in slots)
        ]

    def table(self, tableidx: int, elements: Mapping[int, Ref]) -> list[bytes]:
        """Return the code that sets elements of a table."""
        tabletype = self._graph.module.tables[tableidx].type
        positions = sorted(elements)
        codes, scalars = self._values.codes(tabletype.element, [elements[i] for i in positions])
        decode = self._values.decoded(tabletype.element, scalars)
        stretches = Stretches(positions, codes)
        address = tabletype.limits.address_type
        pieces = [
            encode_const(address, start)
            + encode_const("i32", number)
            + decode
            + encode_const(address, count)
            + code.table_fill(tableidx)
            for start, number, count in stretches.equal
        ]
        if not stretches.starts:
            return pieces
        loop = self._maker.loop(0, len(stretches.starts))
        start = loop.column(stretches.starts, 4)

        def store(index: bytes, number: bytes) -> bytes:
            place = start + index + code.I32_ADD + (code.I64_EXTEND_I32_U if tabletype.limits.is64 else b"")
            return place + number + decode + code.table_set(tableidx)

        function = loop.function(each(loop, stretches.numbers, loop.column(stretches.counts, 4), store))
        return [*pieces, self._range(0, len(stretches.starts)) + code.call(self._append(function))]

    def keep(self, exact: Callable[[int], bytes]) -> list[bytes]:
        """Return the code that keeps what exists already under its number.

        ``exact`` gives the code for an object.
        """
        pieces = [
            self._objects.set(encode_const("i32", number), exact(node))
            for group in self._plan.groups
            for number, node in enumerate(group.existing, group.first + len(group.made))
        ]
        for number, kept in enumerate(self._values.existing, self._plan.end):
            value = exact(kept) if isinstance(kept, int) else self._imported(kept)
            pieces.append(self._objects.set(encode_const("i32", number), value))
        for number, func in enumerate(self._values.funcs, 1):
            if isinstance(func, GlobalRef):
                get = code.global_get(func.globalidx) + code.table_set(self._functable)
                pieces.append(encode_const("i32", number) + get)
        return pieces

    def _imported(self, ref: GlobalRef) -> bytes:
        valtype = self._graph.module.globals[ref.globalidx].type.valtype
        assert isinstance(valtype, RefType)
        conversion = code.ANY_CONVERT_EXTERN if self._graph.top(valtype) == "extern" else b""
        return code.global_get(ref.globalidx) + conversion

    def clear(self) -> list[bytes]:
        """Return the code that leaves nothing behind."""
        pieces = [self._objects.clear()]
        if self._values.funcs:
            everything = encode_const("i32", 0) + encode_null("func")
            count = encode_const("i32", len(self._values.funcs) + 1)
            pieces.append(everything + count + code.table_fill(self._functable))
        return pieces

    def tables(self) -> list[bytes]:
        """Return the tables to append."""
        if not self._values.funcs:
            return []
        return [encode_tabletype(TableType(FUNCREF, SizeLimits(len(self._values.funcs) + 1)))]

    def func_segment(self) -> bytes:
        """Return the segment that writes the table of functions."""
        items = [
            encode_ref_func(func.funcidx) if isinstance(func, FuncRef) else encode_null("func")
            for func in self._values.funcs
        ]
        return encode_expr_elements(self._functable, 1, FUNCREF, items, False)


class Stretches:
    """The elements of a table as stretches.

    Attributes:
        equal: long ones of one number: where they start, the number, and how many elements they are.
        starts, counts: where the others start, and how many elements they are.
        numbers: the numbers of the others.
    """

    def __init__(self, positions: Sequence[int], numbers: Sequence[int]) -> None:
        self.equal: list[tuple[int, int, int]] = []
        self.starts: list[int] = []
        self.counts: list[int] = []
        self.numbers: list[int] = []
        rank = 0
        while rank < len(positions):
            start, number = positions[rank], numbers[rank]
            stop = rank + 1
            while (
                stop < len(positions) and numbers[stop] == number and positions[stop] - stop == start - rank
            ):
                stop += 1
            if stop - rank >= _MIN_FILL:
                self.equal.append((start, number, stop - rank))
            else:
                self._add(start, numbers[rank:stop])
            rank = stop

    def _add(self, start: int, numbers: Sequence[int]) -> None:
        if self.starts and self.starts[-1] + self.counts[-1] == start:
            self.counts[-1] += len(numbers)
        else:
            self.starts.append(start)
            self.counts.append(len(numbers))
        self.numbers += numbers
