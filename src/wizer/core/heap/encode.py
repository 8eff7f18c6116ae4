"""References as code: constant expressions where they can say it, the restore function where they cannot.

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

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from wizer.binary import code
from wizer.binary.expr import END, encode_const, encode_null, encode_ref_func
from wizer.binary.externs import GlobalType, SizeLimits, TableType, encode_globaltype, encode_tabletype
from wizer.binary.module import Module
from wizer.binary.segments import encode_passive_data, encode_passive_elements
from wizer.binary.types import RefType, StorageType, ValType, matches, unpacked
from wizer.binary.values import Number
from wizer.core.heap.appended import AppendedTypes, Function
from wizer.core.heap.arrays import array_from_segment, copy_segment, number_operands
from wizer.core.heap.graph import WIDTHS, Graph, uniform_ref
from wizer.core.heap.objects import ANYREF
from wizer.core.heap.paths import Paths
from wizer.core.heap.place import InGlobal, InMutableGlobal, Inside, InTable, Late, Placement
from wizer.core.heap.placeholder import exception_placeholder, functions_in, placeholder, thrown
from wizer.core.state import I31, Array, Exn, FuncRef, GlobalRef, Null, ObjectRef, Ref, State, Struct, Value
from wizer.errors import StateError

if TYPE_CHECKING:
    from wizer.core.heap.bulk import Bulk
    from wizer.core.heap.bulk_place import BulkPlacement

_EXNREF = RefType(nullable=True, heap="exn")

# From this many constant expressions on, objects are made from data.
MIN_EXPRESSIONS = 500

# The hierarchies of objects that are made from data.
_OBJECTS = ("any", "extern")


class References:
    """Encodes the references of a state. Ask for all initialisers and elements first, then for `restore`.

    Attributes:
        funcs: the functions that initialisers refer to, which declares them for ``ref.func``.
        restore_funcs: the functions that the restore function refers to, which must be declared.
        passive_elements, passive_data: segments that it uses, which follow those of the original module.
        functions: functions that it calls, which follow those of the original module.
        types: the types of these, which are appended to those of the original module.
    """

    def __init__(self, module: Module, state: State) -> None:
        self.funcs: set[int] = set()
        self.restore_funcs: set[int] = set()
        self.passive_elements: list[bytes] = []
        self.passive_data: list[bytes] = []
        self._module = module
        self._state = state
        self._first_element = len(module.elements)
        self._first_data = len(module.data) if module.data_count is not None else 0
        self._in_restore = False
        self._graph = Graph(module, state)
        self.types = AppendedTypes(module)
        self.functions: list[Function] = []
        self._bulk: Bulk | None = None
        many = self._place_many(state)
        self._placement = many or Placement(self._graph, state)
        if many is not None:
            from wizer.core.heap.bulk import Bulk

            late = sum(map(self._graph.is_exception, many.late))
            globalidx = len(module.globals) + len(many.appended) + late
            self._bulk = Bulk(self._graph, many, self.types, self._first_data, globalidx, self._placeholder)
            self.passive_data.append(b"")  # its place
        numbers, objects = (self._bulk.values.numbers, self._bulk.objects) if self._bulk else ((), None)
        self._paths = Paths(self._graph, self._placement, numbers, objects)
        self._table_sets: list[tuple[int, int, Ref]] = []
        self._bulk_tables: dict[int, dict[int, Ref]] = {}

    def _place_many(self, state: State) -> BulkPlacement | None:
        """Return where to make objects if they are so many that most are made from data."""
        graph = self._graph
        least = graph.expressions(len(graph.heap))
        if not least or least < MIN_EXPRESSIONS:
            return None
        from wizer.core.heap.bulk_place import BulkPlacement

        placement = BulkPlacement(graph, state)
        return placement if graph.expressions(len(placement.made)) >= MIN_EXPRESSIONS else None

    def writes_global(self, globalidx: int) -> bool:
        """Whether a global gets an initialiser of ours."""
        return globalidx in self._state.globals

    def global_init(self, globalidx: int) -> bytes | None:
        """Return the initialiser of a global, without ``end``; None where it stays as it is."""
        value = self._state.globals.get(globalidx)
        if value is None:
            return None
        if globalidx in self._placement.patched_globals:
            return self._placeholder(self._module.globals[globalidx].type.valtype)
        if isinstance(value, ObjectRef):
            home = self._placement.homes[value.object]
            if home in (InGlobal(globalidx), InMutableGlobal(globalidx)):
                reftype = self._module.globals[globalidx].type.valtype
                return self._construct(value.object) + self._paths.coercion(value.object, reftype)
        return self._value(value, self._module.globals[globalidx].type.valtype)

    def appended_globals(self) -> list[bytes]:
        """Return the globals to append: one for each object that several places share."""
        placement = self._placement
        entries = []
        for node in placement.appended:
            object_ = self._graph.heap[node]
            assert not isinstance(object_, Exn)
            reftype = RefType(nullable=False, heap=object_.typeidx)
            globaltype = encode_globaltype(GlobalType(reftype, mutable=False))
            entries.append(globaltype + self._construct(node) + END)
        late = encode_globaltype(GlobalType(_EXNREF, mutable=True)) + encode_null("exn") + END
        entries += [late] * len(self._paths.late_exceptions)
        return entries if self._bulk is None else [*entries, self._bulk.objects.entry]

    @property
    def late_globals(self) -> int:
        """How many of the appended globals only serve the restore function."""
        return len(self._paths.late_exceptions) + (self._bulk is not None)

    def appended_tables(self) -> list[bytes]:
        """Return the tables to append, in which the restore function keeps what it makes and refers to."""
        if self._bulk is not None:
            return self._bulk.tables()
        if all(self._graph.is_exception(node) for node in self._placement.late):
            return []
        return [encode_tabletype(TableType(ANYREF, SizeLimits(len(self._placement.late))))]

    def in_segments(self, tableidx: int, changed: Mapping[int, Ref]) -> Mapping[int, Ref]:
        """Return those of the elements of a table that segments write; the restore function does the rest."""
        if self._bulk is None or self._graph.top(self._module.tables[tableidx].type.element) not in _OBJECTS:
            return changed
        self._bulk_tables[tableidx] = {i: ref for i, ref in changed.items() if not isinstance(ref, Null)}
        return {i: ref for i, ref in changed.items() if isinstance(ref, Null)}

    def table_element(self, tableidx: int, element: int, ref: Ref) -> bytes:
        """Return the expression, without ``end``, for an element of a table."""
        reftype = self._module.tables[tableidx].type.element
        if isinstance(ref, ObjectRef):
            if self._placement.homes.get(ref.object) == InTable(tableidx, element):
                return self._construct(ref.object) + self._paths.coercion(ref.object, reftype)
            if not self._placement.constant(ref.object, reftype):
                self._table_sets.append((tableidx, element, ref))
                return self._placeholder(reftype)
        return self._value(ref, reftype)

    def segment_elements(self, elemidx: int) -> list[bytes]:
        """Return the expressions of a passive segment, without ``end``."""
        reftype = self._module.elements[elemidx].reftype
        items = []
        for element, ref in enumerate(self._state.elements[elemidx]):
            if isinstance(ref, ObjectRef) and not self._placement.constant(ref.object, reftype):
                raise StateError(
                    f"element segment {elemidx} element {element} holds an object that only code can make, "
                    "which a segment cannot express"
                )
            items.append(self._value(ref, reftype))
        return items

    def restore(self) -> list[bytes]:
        """Return what the restore function does, in pieces that stand by themselves; often nothing."""
        self._in_restore = True
        pieces = [*self._make(), *self._patch(), *self._clean_up()]
        return [piece for piece in pieces if piece]

    def _make(self) -> list[bytes]:
        """Return the code that makes objects."""
        late = [self._make_late(node) for node in self._placement.late]
        late += [self._fill_array(node) for node in self._large_arrays()]
        if self._bulk is None:
            return late
        made, filled = self._bulk.make(), self._bulk.fill()
        tables = [piece for item in self._bulk_tables.items() for piece in self._bulk.table(*item)]
        kept = self._bulk.keep(self._paths.exact)
        self.functions += self._bulk.functions
        self.passive_data[0] = encode_passive_data(self._bulk.data())
        segment = self._bulk.func_segment()
        if segment is not None:
            self.passive_elements.append(segment)
            self.funcs.update(ref.funcidx for ref in self._bulk.values.funcs if isinstance(ref, FuncRef))
        return [self._bulk.begin(), *kept, *made, *late, *filled, *tables]

    def _patch(self) -> list[bytes]:
        """Return the code that sets what constant expressions and data do not."""
        pieces = [self._set_slots(patch.node, patch.slot.index) for patch in self._placement.single_patches()]
        for globalidx, value in sorted(self._state.globals.items()):
            global_ = self._module.globals[globalidx]
            if globalidx in self._placement.patched_globals or self._module.imported("global", globalidx):
                pieces.append(self._value(value, global_.type.valtype) + code.global_set(globalidx))
        for tableidx, element, ref in self._table_sets:
            index = self._module.tables[tableidx].type.limits.address_type
            value_code = self._value(ref, self._module.tables[tableidx].type.element)
            pieces.append(encode_const(index, element) + value_code + code.table_set(tableidx))
        return pieces

    def _clean_up(self) -> list[bytes]:
        pieces = [code.data_drop(self._first_data + i) for i in range(len(self.passive_data))]
        pieces += [code.elem_drop(self._first_element + i) for i in range(len(self.passive_elements))]
        pieces += [
            encode_null("exn") + code.global_set(self._paths.late_global(n))
            for n in self._paths.late_exceptions
        ]
        if self._bulk is not None:
            pieces += self._bulk.clear()
        elif self.appended_tables():
            everything = encode_const("i32", 0) + encode_null("any")
            count = encode_const("i32", len(self._placement.late))
            pieces.append(everything + count + code.table_fill(len(self._module.tables)))
        return pieces

    # References to what exists.

    def _value(self, value: Value, valtype: StorageType) -> bytes:
        """Return the code for a value in a place of a type; objects in it have been made."""
        if isinstance(valtype, str):
            assert isinstance(value, Number)
            return encode_const(unpacked(valtype), value.bits)
        match value:
            case Null():
                return encode_null(valtype.heap)
            case FuncRef(funcidx):
                (self.restore_funcs if self._in_restore else self.funcs).add(funcidx)
                return encode_ref_func(funcidx)
            case I31(bits):
                scalar = encode_const("i32", bits) + code.REF_I31
                return scalar + (code.EXTERN_CONVERT_ANY if self._graph.top(valtype) == "extern" else b"")
            case GlobalRef(globalidx):
                return self._imported(globalidx, valtype)
            case ObjectRef(node):
                return self._access(node, valtype)
        raise AssertionError(value)

    def _imported(self, globalidx: int, valtype: RefType) -> bytes:
        """Return the code for the value of an imported immutable global, in a place of a type."""
        own = self._module.globals[globalidx].type.valtype
        assert isinstance(own, RefType)
        get = code.global_get(globalidx) + self._paths.conversion(self._graph.top(own), valtype)
        if self._graph.top(own) != self._graph.top(valtype) or matches(own, valtype, self._module.types):
            return get
        if not self._in_restore:
            raise StateError(
                f"{self._module.describe('global', globalidx)} is imported as {own}, and a place of type "
                f"{valtype} holds its value; import it with that type"
            )
        return get + code.ref_cast(valtype.heap)

    def _access(self, node: int, valtype: RefType) -> bytes:
        """Return the code that gets at an object, for a place of a type."""
        home = self._placement.homes.get(node)
        if isinstance(home, InGlobal) and self._placement.constant(node, valtype):
            return self._paths.in_global(home, valtype)
        assert self._in_restore, f"object {node} at {home} is out of reach of a constant expression"
        return self._paths.exact(node) + self._paths.coercion(node, valtype)

    def _placeholder(self, valtype: ValType) -> bytes:
        assert isinstance(valtype, RefType)
        found = placeholder(self._module, valtype)
        if found is None and self._in_restore and self._graph.top(valtype) == "exn":
            found = exception_placeholder(self._module)
        if found is None:
            raise StateError(f"no constant expression makes a value of type {valtype} to begin with")
        if self._in_restore and not valtype.nullable:
            self.restore_funcs |= self._placeholder_funcs
        return found

    @cached_property
    def _placeholder_funcs(self) -> frozenset[int]:
        return functions_in(self._module)

    # Making objects.

    def _construct(self, root: int) -> bytes:
        """Return the code that makes an object and all that is made inside it.

        A loop and not a recursion: objects may be nested deep.
        """
        out: list[bytes] = []
        work: list[bytes | int] = [root]
        while work:
            item = work.pop()
            if isinstance(item, bytes):
                out.append(item)
            else:
                work.extend(reversed(list(self._parts(item))))
        return b"".join(out)

    def _parts(self, node: int) -> Iterator[bytes | int]:
        """Yield the operands and the instruction that make an object; a number stands for another object."""
        object_ = self._graph.heap[node]
        if isinstance(object_, Array):
            yield from self._array_parts(node, object_)
        elif isinstance(object_, Struct):
            for index, (field, value) in enumerate(
                zip(self._graph.field_types(object_), object_.fields, strict=True)
            ):
                yield from self._slot(node, index, value, field.storage)
            yield code.struct_new(object_.typeidx)
        else:
            payload = self._module.type_as_func(self._module.tags[object_.tagidx]).params
            parts = [
                part if isinstance(part, bytes) else self._construct(part)
                for index, (valtype, value) in enumerate(zip(payload, object_.fields, strict=True))
                for part in self._slot(node, index, value, valtype)
            ]
            yield thrown(object_.tagidx, b"".join(parts))

    def _slot(self, node: int, index: int, value: Value, storage: StorageType) -> Iterator[bytes | int]:
        if isinstance(value, ObjectRef) and isinstance(storage, RefType):
            if self._placement.is_patched(node, index):
                yield self._placeholder(storage)
                return
            if self._placement.homes.get(value.object) == Inside(node, index):
                yield value.object
                yield self._paths.coercion(value.object, storage)
                return
        yield self._value(value, storage)

    def _array_parts(self, node: int, array: Array) -> Iterator[bytes | int]:
        element = self._graph.element_type(array)
        large = self._graph.is_large(node)
        if large and not element.mutable:
            segment = self._array_segment(node, array)
            yield array_from_segment(
                array.typeidx, segment, self._length(array), isinstance(element.storage, str)
            )
        elif isinstance(element.storage, str):
            yield number_operands(array, element.storage, large=large)
        elif large:
            yield self._placeholder(element.storage) + encode_const("i32", len(array.elements))
            yield code.array_new(array.typeidx)
        else:
            yield from self._ref_array_parts(node, array, element.storage)

    def _ref_array_parts(self, node: int, array: Array, reftype: RefType) -> Iterator[bytes | int]:
        same = uniform_ref(array.elements)
        length = len(array.elements)
        if self._bulk is not None and node in self._bulk.completed:
            yield self._placeholder(reftype) + encode_const("i32", length)
            yield code.array_new(array.typeidx)
        elif same is not None and length > 1:
            yield from self._slot(node, 0, same, reftype)
            yield encode_const("i32", length) + code.array_new(array.typeidx)
        else:
            for index, ref in enumerate(array.elements):
                yield from self._slot(node, index, ref, reftype)
            yield code.array_new_fixed(array.typeidx, length)

    def _length(self, array: Array) -> int:
        storage = self._graph.element_type(array).storage
        return len(array.data) // WIDTHS[storage] if isinstance(storage, str) else len(array.elements)

    def _array_segment(self, node: int, array: Array) -> int:
        """Append a passive segment with the elements of a large array; return its index."""
        storage = self._graph.element_type(array).storage
        if isinstance(storage, str):
            self.passive_data.append(encode_passive_data(array.data))
            return self._first_data + len(self.passive_data) - 1
        restoring, self._in_restore = self._in_restore, False
        items = []
        for index, ref in enumerate(array.elements):
            parts = self._slot(node, index, ref, storage)
            items.append(b"".join(p if isinstance(p, bytes) else self._construct(p) for p in parts))
        self._in_restore = restoring
        self.passive_elements.append(encode_passive_elements(storage, items))
        return self._first_element + len(self.passive_elements) - 1

    # The restore function.

    def _make_late(self, node: int) -> bytes:
        object_ = self._graph.heap[node]
        if isinstance(object_, Exn):
            return self._construct(node) + code.global_set(self._paths.late_global(node))
        home = self._placement.homes[node]
        assert isinstance(home, Late)
        place = encode_const("i32", home.number)
        if self._bulk is not None:
            return self._bulk.objects.set(place, self._construct(node))
        return place + self._construct(node) + code.table_set(len(self._module.tables))

    def _large_arrays(self) -> list[int]:
        """Return the large arrays that are filled after they were made, outer ones first."""
        completed = self._bulk.completed if self._bulk is not None else ()
        found = [
            node
            for node in self._placement.homes
            if self._graph.is_large(node)
            and isinstance(array := self._graph.heap[node], Array)
            and self._graph.element_type(array).mutable
            and not self._placement.external(node)
            and node not in completed
        ]
        return sorted(sorted(found), key=self._placement.depth)

    def _fill_array(self, node: int) -> bytes:
        array = self._graph.heap[node]
        assert isinstance(array, Array)
        storage = self._graph.element_type(array).storage
        numeric = isinstance(storage, str)
        if self._bulk is not None and not numeric:  # an array of exceptions, or of what holds some
            return b"".join(self._set_slot(node, index) for index in range(len(array.elements)))
        segment = self._array_segment(node, array)
        return self._paths.exact(node) + copy_segment(array.typeidx, segment, self._length(array), numeric)

    def _set_slots(self, node: int, slot: int) -> bytes:
        """Return the code that sets a slot; the first of an array's equal elements stands for all of them."""
        array = self._graph.heap[node]
        if not isinstance(array, Array) or len(array.elements) == 1 or not self._graph.is_uniform(node):
            return self._set_slot(node, slot)
        if slot > 0:
            return b""
        value = self._value(array.elements[0], self._graph.slot_type(node, 0))
        everything = encode_const("i32", 0) + value + encode_const("i32", len(array.elements))
        return self._paths.exact(node) + everything + code.array_fill(array.typeidx)

    def _set_slot(self, node: int, slot: int) -> bytes:
        object_ = self._graph.heap[node]
        assert not isinstance(object_, Exn)
        value = object_.elements[slot] if isinstance(object_, Array) else object_.fields[slot]
        code_ = self._paths.exact(node)
        if isinstance(object_, Array):
            code_ += encode_const("i32", slot)
        code_ += self._value(value, self._graph.slot_type(node, slot))
        if isinstance(object_, Array):
            return code_ + code.array_set(object_.typeidx)
        return code_ + code.struct_set(object_.typeidx, slot)
