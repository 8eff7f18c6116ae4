"""Where accessors put what they hand out: tables and a memory, or arrays where engines take no more of those.

Engines take 100 tables and 100 memories. In a module that has them, the queue of `wizer.core.instrument_heap`
is an array behind two functions, which take the places of ``table.get`` and ``table.set``::

    (type $references (array (mut anyref)))
    (global $queue (ref $references) (array.new_default $references (i32.const 8256)))
    (func $get (param i32) (result anyref) (array.get $references (global.get $queue) (local.get 0)))
    (func $set (param i32 anyref) (array.set $references (global.get $queue) (local.get 0) (local.get 1)))

and so is the memory, an array of bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wizer.binary import code
from wizer.binary.additions import MAX_MEMORIES, Additions
from wizer.binary.expr import encode_const, encode_null
from wizer.binary.externs import GlobalType, SizeLimits, TableType
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.types import FieldType, RefType
from wizer.binary.values import BITS
from wizer.records import record

# Words of 64 bits that one call hands out of a memory that is an array.
WORDS: Final = 64

_PAGE: Final = 1 << 16
_STORES: Final = {
    "i8": b"\x3a",
    "i16": b"\x3b",
    "i32": b"\x36",
    "i64": b"\x37",
    "f32": b"\x38",
    "f64": b"\x39",
    "v128": b"\xfd\x0b",
}
_I32_LOAD: Final = b"\x28"
_REINTERPRET: Final = {"f32": ("i32", b"\xbc"), "f64": ("i64", b"\xbd")}
_I64_EXTRACT_LANE: Final = b"\xfd\x1d"
_SHIFT_RIGHT: Final = {"i32": code.I32_SHR_U, "i64": b"\x88"}
_WRAP: Final = {"i32": b"", "i64": b"\xa7"}
_SHIFT_LEFT, _I64_SHIFT_LEFT, _I64_OR = b"\x74", b"\x86", b"\x84"


@record
class References:
    """Places for references of one type.

    Attributes:
        get: reads the place whose number is on the stack.
        set: writes the value on the stack to the place whose number is below it.
        clear: makes all places null.
    """

    get: bytes
    set: bytes
    clear: bytes


def references(additions: Additions, reftype: RefType, size: int) -> References:
    """Append ``size`` places for references of a nullable type."""
    tabletype = TableType(reftype, SizeLimits(size))
    if additions.takes_table(tabletype):
        tableidx = additions.table(tabletype)
        fill = encode_const("i32", 0) + encode_null(reftype.heap) + encode_const("i32", size)
        return References(
            code.table_get(tableidx), code.table_set(tableidx), fill + code.table_fill(tableidx)
        )
    typeidx, array = _array(additions, FieldType(reftype, mutable=True), size)
    place = array + code.local_get(0)
    get = additions.func(None, ["i32"], [reftype], place + code.array_get(typeidx))
    put = place + code.local_get(1) + code.array_set(typeidx)
    fill = array + encode_const("i32", 0) + encode_null(reftype.heap) + encode_const("i32", size)
    return References(
        code.call(get),
        code.call(additions.func(None, ["i32", reftype], (), put)),
        fill + code.array_fill(typeidx),
    )


@record
class ElementCopies:
    """Places to which elements of passive segments are copied.

    Attributes:
        reftype: the type of the places.
        init: returns the code that copies, given the segment and the code for destination, source and length.
        elements: puts them all on the stack.
    """

    reftype: RefType
    init: Callable[[int, bytes], bytes]
    elements: bytes


def element_copies(additions: Additions, reftype: RefType, size: int) -> ElementCopies:
    """Append ``size`` places for elements of a segment, unless there are some of this type."""
    nullable = RefType(nullable=True, heap=reftype.heap)
    places = [encode_const("i32", place) for place in range(size)]
    tabletype = TableType(nullable, SizeLimits(size))
    if additions.takes_table(tabletype):
        tableidx = additions.table(tabletype)
        elements = b"".join(place + code.table_get(tableidx) for place in places)
        return ElementCopies(
            nullable, lambda elemidx, operands: operands + code.table_init(elemidx, tableidx), elements
        )
    typeidx, array = _array(additions, FieldType(nullable, mutable=True), size)
    elements = b"".join(array + place + code.array_get(typeidx) for place in places)
    return ElementCopies(
        nullable,
        lambda elemidx, operands: array + operands + code.array_init_elem(typeidx, elemidx),
        elements,
    )


def _array(additions: Additions, element: FieldType, size: int) -> tuple[int, bytes]:
    """Append an array in a global; return its type, and the code that puts it on the stack."""
    typeidx = additions.array_type(element)
    new = encode_const("i32", size) + code.array_new_default(typeidx)
    globaltype = GlobalType(RefType(nullable=False, heap=typeidx), mutable=False)
    return typeidx, code.global_get(additions.global_(globaltype, new))


@record
class Bytes:
    """A memory to write to, or what stands for one; addresses are 32-bit.

    Attributes:
        store: returns the instruction that stores a value of a type at an offset from the address below it.
        load: returns the instruction that loads an i32.
        clear: makes all bytes zero.
        array_size: how many there are, where they are an array.
    """

    store: Callable[[str, int], bytes]
    load: Callable[[int], bytes]
    clear: bytes
    array_size: int | None


def memory(additions: Additions, name: str, pages: int) -> Bytes:
    """Append a memory, exported as ``name``.

    Where it is an array, ``name`` is a function that returns `WORDS` words from an address on.
    """
    size = pages * _PAGE
    if len(additions.module.memories) < MAX_MEMORIES:
        memidx = additions.memory(pages)
        additions.export(name, "memory", memidx)
        fill = encode_const("i32", 0) * 2 + encode_const("i32", size) + code.memory_fill(memidx)

        def memarg(instruction: bytes, offset: int) -> bytes:
            index = b"\x00" if memidx == 0 else b"\x40" + encode_unsigned(memidx)
            return instruction + index + encode_unsigned(offset)

        return Bytes(
            lambda type_, offset: memarg(_STORES[type_], offset),
            lambda offset: memarg(_I32_LOAD, offset),
            fill,
            None,
        )
    return _ByteArray(additions, name, size).bytes


class _ByteArray:
    """An array of bytes, with functions in the places of loads and stores: address, value, offset."""

    def __init__(self, additions: Additions, name: str, size: int) -> None:
        self._additions = additions
        self._typeidx, self._array = _array(additions, FieldType("i8", mutable=True), size)
        self._stores: dict[str, int] = {}
        load = additions.func(None, ["i32", "i32"], ["i32"], self._loaded(4, "i32"))
        additions.func(name, ["i32"], ["i64"] * WORDS, self._words(), ["i32"])
        fill = self._array + encode_const("i32", 0) * 2 + encode_const("i32", size)
        self.bytes: Bytes = Bytes(
            lambda type_, offset: encode_const("i32", offset) + code.call(self._store(type_)),
            lambda offset: encode_const("i32", offset) + code.call(load),
            fill + code.array_fill(self._typeidx),
            size,
        )

    def _words(self) -> bytes:
        load = self._additions.func(None, ["i32", "i32"], ["i64"], self._loaded(8, "i64"))
        return b"".join(
            code.local_get(0) + encode_const("i32", 8 * word) + code.call(load) for word in range(WORDS)
        )

    def _place(self, base: int, offset: int, further: int) -> bytes:
        place = code.local_get(base) + code.local_get(offset) + code.I32_ADD
        return self._array + place + encode_const("i32", further) + code.I32_ADD

    def _loaded(self, width: int, type_: str) -> bytes:
        """Encode a number, low byte first: local 0 is the address, local 1 the offset."""
        body = b""
        for index in range(width):
            byte = self._place(0, 1, index) + code.array_get_u(self._typeidx)
            if type_ == "i64":
                byte += code.I64_EXTEND_I32_U + encode_const("i64", 8 * index) + _I64_SHIFT_LEFT
                body += byte + (_I64_OR if index else b"")
            else:
                body += byte + encode_const("i32", 8 * index) + _SHIFT_LEFT + (code.I32_OR if index else b"")
        return body

    def _store(self, type_: str) -> int:
        """Return the function that stores a value: local 0 is the address, 1 the value, 2 the offset."""
        found = self._stores.get(type_)
        if found is None:
            found = self._stores[type_] = self._stored(type_)
        return found

    def _stored(self, type_: str) -> int:
        if type_ == "v128":
            place = code.local_get(0)
            halves = (code.local_get(1) + _I64_EXTRACT_LANE + bytes((lane,)) for lane in range(2))
            further = (
                code.local_get(2)
                + encode_const("i32", 8 * lane)
                + code.I32_ADD
                + code.call(self._store("i64"))
                for lane in range(2)
            )
            body = b"".join(place + half + more for half, more in zip(halves, further, strict=True))
            return self._additions.func(None, ["i32", "v128", "i32"], (), body)
        if type_ in _REINTERPRET:
            number, reinterpret = _REINTERPRET[type_]
            value = code.local_get(1) + reinterpret + code.local_get(2)
            body = code.local_get(0) + value + code.call(self._store(number))
            return self._additions.func(None, ["i32", type_, "i32"], (), body)
        number = "i64" if type_ == "i64" else "i32"
        body = b""
        for index in range(BITS[type_] // 8):
            byte = code.local_get(1) + encode_const(number, 8 * index) + _SHIFT_RIGHT[number] + _WRAP[number]
            body += self._place(0, 2, index) + byte + code.array_set(self._typeidx)
        return self._additions.func(None, ["i32", number, "i32"], (), body)
