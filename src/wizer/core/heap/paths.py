"""Getting at objects that exist already: the code that reads the place where one was made.

An object that was made inside another one, which is in a table::

    (struct.get $pair 1 (ref.cast (ref $pair) (table.get $t (i32.const 7))))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from wizer.binary import code
from wizer.binary.expr import encode_const, encode_null
from wizer.binary.types import RefType, ValType
from wizer.core.heap.graph import Graph
from wizer.core.heap.objects import ANYREF, Objects, Table
from wizer.core.heap.placement import InGlobal, InMutableGlobal, Inside, InTable, Late, Placement
from wizer.core.state import Array, Exn, Struct

StandsAlone: TypeAlias = "InGlobal | InMutableGlobal | InTable | Late"


class Paths:
    """How the restore function gets at objects.

    Attributes:
        exceptions: those that the restore function makes, each with its number among them.

    Args:
        graph: the objects.
        placement: where they are made.
        objects: where the restore function keeps objects by their numbers.
        numbers: under which numbers those are that are made from data; the first entry stands for null.
    """

    def __init__(
        self,
        graph: Graph,
        placement: Placement,
        objects: Objects | Table,
        numbers: Sequence[int] = (),
    ) -> None:
        exceptions = [node for node in placement.late if graph.is_exception(node)]
        self.exceptions: dict[int, int] = {node: number for number, node in enumerate(exceptions)}
        self._graph = graph
        self._module = graph.module
        self._placement = placement
        self._numbers = numbers
        self._objects = objects

    def keep(self, node: int, value: bytes) -> bytes:
        """Return the code that keeps an object that the restore function makes, given the code for it."""
        if node in self.exceptions:
            return value + code.global_set(self._exception_global(node))
        home = self._placement.homes[node]
        assert isinstance(home, Late)
        return self._objects.set(encode_const("i32", home.number), value)

    def forget_exceptions(self) -> list[bytes]:
        """Return the code that lets all exceptions go."""
        return [
            encode_null("exn") + code.global_set(self._exception_global(node)) for node in self.exceptions
        ]

    def exact(self, node: int) -> bytes:
        """Return the code that gets at an object as a reference of its own type.

        A loop and not a recursion: what an imported global holds may be nested deep.
        """
        inside: list[tuple[int, Inside]] = []
        while isinstance(home := self._placement.homes.get(node), Inside):
            inside.append((node, home))
            node = home.parent
        pieces = [self._made_alone(node, home)]
        for child, place in reversed(inside):
            storage = self._graph.slot_type(place.parent, place.slot)
            assert isinstance(storage, RefType)
            pieces.append(self._get(place.parent, place.slot) + self._narrowed(child, storage))
        return b"".join(pieces)

    def _made_alone(self, node: int, home: StandsAlone | None) -> bytes:
        if self._graph.is_exception(node):
            return code.global_get(self._exception_global(node)) + code.REF_AS_NON_NULL
        found, reftype = self._at_home(Late(int(self._numbers[node + 1])) if home is None else home)
        return found + self._narrowed(node, reftype)

    def _narrowed(self, node: int, reftype: RefType) -> bytes:
        """Return what makes a reference of a static type to an object one of the object's own type."""
        object_ = self._graph.heap[node]
        assert not isinstance(object_, Exn)
        conversion = code.ANY_CONVERT_EXTERN if self._graph.top(reftype) == "extern" else b""
        if reftype.heap != object_.typeidx:
            return conversion + code.ref_cast(object_.typeidx)
        return code.REF_AS_NON_NULL if reftype.nullable else b""

    def _at_home(self, home: StandsAlone) -> tuple[bytes, RefType]:
        """Return the code that reads an object's home, and the static type of that."""
        module = self._module
        match home:
            case InGlobal(globalidx) | InMutableGlobal(globalidx):
                return code.global_get(globalidx), self._global_type(globalidx)
            case InTable(tableidx, element):
                tabletype = module.tables[tableidx].type
                index = encode_const(tabletype.limits.address_type, element)
                return index + code.table_get(tableidx), tabletype.element
            case Late(number):
                index = encode_const("i32", number)
                return self._objects.get(index), ANYREF

    def _global_type(self, globalidx: int) -> RefType:
        """Return the type of a global that holds an object; an appended one has the object's own type."""
        appended = globalidx - len(self._module.globals)
        if appended >= 0:
            object_ = self._graph.heap[self._placement.appended[appended]]
            assert not isinstance(object_, Exn)
            return RefType(nullable=False, heap=object_.typeidx)
        valtype = self._module.globals[globalidx].type.valtype
        assert isinstance(valtype, RefType)
        return valtype

    def _get(self, node: int, slot: int) -> bytes:
        object_ = self._graph.heap[node]
        if isinstance(object_, Array):
            return encode_const("i32", slot) + code.array_get(object_.typeidx)
        assert isinstance(object_, Struct)
        return code.struct_get(object_.typeidx, slot)

    def in_global(self, home: InGlobal, valtype: RefType) -> bytes:
        """Return the constant expression for the value of a global, in a place of a type."""
        found, reftype = self._at_home(home)
        return found + self.conversion(self._graph.top(reftype), valtype)

    def conversion(self, top: str, valtype: RefType) -> bytes:
        """Return the conversion of a reference of a hierarchy for a place of a type."""
        wanted = self._graph.top(valtype)
        if top == wanted:
            return b""
        return code.EXTERN_CONVERT_ANY if wanted == "extern" else code.ANY_CONVERT_EXTERN

    def coercion(self, node: int, valtype: ValType) -> bytes:
        """Return the conversion of an object, as itself, for a place of a type."""
        if self._graph.is_exception(node) or isinstance(valtype, str):
            return b""
        return self.conversion("any", valtype)

    def _exception_global(self, node: int) -> int:
        """Return the appended global that has an exception while the restore function runs."""
        return len(self._module.globals) + len(self._placement.appended) + self.exceptions[node]
