"""References and objects as code, in constant expressions and in the restore function.

Both say most things alike. Where they differ, the restore function may do more: it reads any place, casts,
and makes exceptions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property

from wizer.binary import code
from wizer.binary.expr import encode_const, encode_null, encode_ref_func
from wizer.binary.module import Module
from wizer.binary.segments import encode_passive_data, encode_passive_elements
from wizer.binary.types import RefType, StorageType, ValType, matches, unpacked
from wizer.binary.values import Number
from wizer.core.heap.arrays import array_from_segment, number_operands
from wizer.core.heap.graph import Graph, uniform_ref
from wizer.core.heap.paths import Paths
from wizer.core.heap.placeholder import exception_placeholder, functions_in, placeholder, thrown
from wizer.core.heap.placement import InGlobal, Inside, Placement
from wizer.core.state import I31, Array, Exn, FuncRef, GlobalRef, Null, ObjectRef, Ref, Struct, Value
from wizer.errors import StateError


class Segments:
    """Passive segments to append, for the restore function.

    Attributes:
        data, elements: their encodings.
    """

    def __init__(self, module: Module, taken: int = 0) -> None:
        self.data: list[bytes] = []
        self.elements: list[bytes] = []
        self._first_data = taken + (len(module.data) if module.data_count is not None else 0)
        self._first_element = len(module.elements)

    def add_data(self, contents: bytes) -> int:
        """Append a data segment; return its index."""
        self.data.append(encode_passive_data(contents))
        return self._first_data + len(self.data) - 1

    def add_elements(self, encoded: bytes) -> int:
        """Append an element segment; return its index."""
        self.elements.append(encoded)
        return self._first_element + len(self.elements) - 1


class Expressions:
    """Constant expressions, or the code of the restore function.

    Attributes:
        funcs: the functions that the code so far refers to.

    Args:
        graph: the objects.
        placement: where they are made.
        paths: how the restore function gets at them.
        segments: where the elements of large arrays go.
        completed: arrays of references whose elements are set later, all of them.
        constant: the constant expressions, where this is the code of the restore function.
    """

    def __init__(
        self,
        graph: Graph,
        placement: Placement,
        paths: Paths,
        segments: Segments,
        completed: Collection[int] = (),
        constant: Expressions | None = None,
    ) -> None:
        self.funcs: set[int] = set()
        self._graph = graph
        self._module = graph.module
        self._placement = placement
        self._paths = paths
        self._segments = segments
        self._completed = completed
        self._in_code = constant is not None
        self._constant = constant or self

    # References to what exists.

    def value(self, value: Value, valtype: StorageType) -> bytes:
        """Return the code for a value in a place of a type; objects in it have been made."""
        if isinstance(valtype, str):
            assert isinstance(value, Number)
            return encode_const(unpacked(valtype), value.bits)
        match value:
            case Null():
                return encode_null(valtype.heap)
            case FuncRef(funcidx):
                self.funcs.add(funcidx)
                return encode_ref_func(funcidx)
            case I31(bits):
                scalar = encode_const("i32", bits) + code.REF_I31
                return scalar + (code.EXTERN_CONVERT_ANY if self._graph.top(valtype) == "extern" else b"")
            case GlobalRef(globalidx):
                return self._imported(globalidx, valtype)
            case ObjectRef(node):
                return self._object(node, valtype)
        raise AssertionError(value)

    def _imported(self, globalidx: int, valtype: RefType) -> bytes:
        """Return the code for the value of an imported immutable global, in a place of a type."""
        own = self._module.globals[globalidx].type.valtype
        assert isinstance(own, RefType)
        get = code.global_get(globalidx) + self._paths.conversion(self._graph.top(own), valtype)
        if self._graph.top(own) != self._graph.top(valtype) or matches(own, valtype, self._module.types):
            return get
        if not self._in_code:
            raise StateError(
                f"{self._module.describe('global', globalidx)} is imported as {own}, and a place of type "
                f"{valtype} holds its value; import it with that type"
            )
        return get + code.ref_cast(valtype.heap)

    def _object(self, node: int, valtype: RefType) -> bytes:
        """Return the code that gets at an object, for a place of a type."""
        home = self._placement.homes.get(node)
        if isinstance(home, InGlobal) and self._placement.constant(node, valtype):
            return self._paths.in_global(home, valtype)
        assert self._in_code, f"object {node} at {home} is out of reach of a constant expression"
        return self._paths.exact(node) + self._paths.coercion(node, valtype)

    def placeholder(self, valtype: ValType) -> bytes:
        """Return the code for some value of a type, for a place that is set later.

        Raises:
            StateError: there is none.
        """
        assert isinstance(valtype, RefType)
        found = placeholder(self._module, valtype)
        if found is None and self._in_code and self._graph.top(valtype) == "exn":
            found = exception_placeholder(self._module)
        if found is None:
            raise StateError(f"no constant expression makes a value of type {valtype} to begin with")
        if self._in_code and not valtype.nullable:
            self.funcs |= self._placeholder_funcs
        return found

    @cached_property
    def _placeholder_funcs(self) -> frozenset[int]:
        return functions_in(self._module)

    # Making objects.

    def held(self, node: int, valtype: ValType) -> bytes:
        """Return the code that makes an object right in the place, of a type, that holds it."""
        return self.new(node) + self._paths.coercion(node, valtype)

    def new(self, root: int) -> bytes:
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
            operands = [
                self._operand(node, index, value, valtype)
                for index, (valtype, value) in enumerate(zip(payload, object_.fields, strict=True))
            ]
            yield thrown(object_.tagidx, b"".join(operands))

    def _operand(self, node: int, index: int, value: Value, storage: StorageType) -> bytes:
        """Return the code for what an object holds in a slot, with all that is made there."""
        parts = self._slot(node, index, value, storage)
        return b"".join(part if isinstance(part, bytes) else self.new(part) for part in parts)

    def _slot(self, node: int, index: int, value: Value, storage: StorageType) -> Iterator[bytes | int]:
        if isinstance(value, ObjectRef) and isinstance(storage, RefType):
            if self._placement.is_patched(node, index):
                yield self.placeholder(storage)
                return
            if self._placement.homes.get(value.object) == Inside(node, index):
                yield value.object
                yield self._paths.coercion(value.object, storage)
                return
        yield self.value(value, storage)

    def _array_parts(self, node: int, array: Array) -> Iterator[bytes | int]:
        element = self._graph.element_type(array)
        large = self._graph.is_large(node)
        if large and not element.mutable:
            numeric = isinstance(element.storage, str)
            yield array_from_segment(
                array.typeidx, self.array_segment(node), self._graph.length(array), numeric
            )
        elif isinstance(element.storage, str):
            yield number_operands(array, element.storage, large=large)
        elif large or node in self._completed:
            yield self.placeholder(element.storage) + encode_const("i32", len(array.elements))
            yield code.array_new(array.typeidx)
        else:
            yield from self._reference_parts(node, array, element.storage)

    def _reference_parts(self, node: int, array: Array, reftype: RefType) -> Iterator[bytes | int]:
        same = uniform_ref(array.elements)
        length = len(array.elements)
        if same is not None and length > 1:
            yield from self._slot(node, 0, same, reftype)
            yield encode_const("i32", length) + code.array_new(array.typeidx)
        else:
            for index, ref in enumerate(array.elements):
                yield from self._slot(node, index, ref, reftype)
            yield code.array_new_fixed(array.typeidx, length)

    def array_segment(self, node: int) -> int:
        """Append a passive segment with the elements of a large array; return its index."""
        array = self._graph.heap[node]
        assert isinstance(array, Array)
        storage = self._graph.element_type(array).storage
        if isinstance(storage, str):
            return self._segments.add_data(array.data)
        operand = self._constant._operand
        items = [operand(node, index, ref, storage) for index, ref in enumerate(array.elements)]
        return self._segments.add_elements(encode_passive_elements(storage, items))

    # Setting slots of objects.

    def set_slots(self, node: int, slot: int) -> bytes:
        """Return the code that sets a slot; the first of an array's equal elements stands for all of them."""
        array = self._graph.heap[node]
        if not isinstance(array, Array) or len(array.elements) == 1 or not self._graph.is_uniform(node):
            return self.set_slot(node, slot)
        if slot > 0:
            return b""
        value = self.value(array.elements[0], self._graph.slot_type(node, 0))
        everything = encode_const("i32", 0) + value + encode_const("i32", len(array.elements))
        return self._paths.exact(node) + everything + code.array_fill(array.typeidx)

    def set_slot(self, node: int, slot: int) -> bytes:
        """Return the code that sets one slot."""
        object_ = self._graph.heap[node]
        assert not isinstance(object_, Exn)
        value: Value | Ref = object_.elements[slot] if isinstance(object_, Array) else object_.fields[slot]
        code_ = self._paths.exact(node)
        if isinstance(object_, Array):
            code_ += encode_const("i32", slot)
        code_ += self.value(value, self._graph.slot_type(node, slot))
        if isinstance(object_, Array):
            return code_ + code.array_set(object_.typeidx)
        return code_ + code.struct_set(object_.typeidx, slot)
