"""The log of the handles of a component: a module that notes which there are, and where they come from.

It has an entry for each handle::

    u32 number of the origin, from 1; 0: not open    u32 argument    u32 text    u32 its end

The argument is the handle or number that the function was called with first, the text what stands beside the
handle in its result: the path of a preopened directory. Pages of entries and of text take turns in memory,
which begins without any: what there is no room for is not known.
"""

from __future__ import annotations

from typing import Final

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.assemble import from_items
from wizer.binary.expr import END, encode_const
from wizer.binary.externs import Export, GlobalType, MemoryType, SizeLimits, encode_export, encode_memorytype
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import encode_global
from wizer.binary.types import FuncType, ValType, encode_functype
from wizer.records import record

LOG: Final = "log"
"""What its memory is exported as."""

I32: Final[tuple[ValType, ...]] = ("i32",)

NOTE, FORGET, FORGET_ALL, BYTE, LENGTH = range(5)
FUNCTIONS: Final = {
    "note": FuncType(I32 * 5, ()),
    "forget": FuncType(I32, ()),
    "forget_all": FuncType((), ()),
    "byte": FuncType(I32, ()),
    "length": FuncType((), I32),
}
"""The functions that it exports, in their order."""

_PAGE_BITS: Final = 16
_MOST_HANDLES: Final = 1 << 26
# Ends a function whose first parameter is a handle of which no note is taken.
_TOO_HIGH: Final = (
    code.local_get(0) + encode_const("i32", _MOST_HANDLES) + code.I32_GE_U + code.IF + code.RETURN + END
)


def log_module() -> bytes:
    """Return the module."""
    types = [*dict.fromkeys(FUNCTIONS.values())]
    room, place = len(FUNCTIONS), len(FUNCTIONS) + 1
    types += [FuncType(I32, I32)]
    exports = [Export(name, "func", index) for index, name in enumerate(FUNCTIONS)]
    bodies = [
        code.encode_body(_note_body(room, place)),
        code.encode_body(_forget_body(place)),
        code.encode_body(_forget_all_body(), I32),
        code.encode_body(_byte_body(room), I32),
        code.encode_body(code.global_get(0)),
        code.encode_body(_room_body(), I32),
        code.encode_body(_place_body()),
    ]
    functions = [*FUNCTIONS.values(), types[-1], types[-1]]
    return from_items(
        {
            sec.TYPE: [encode_functype(functype) for functype in types],
            sec.FUNCTION: [encode_unsigned(types.index(functype)) for functype in functions],
            sec.MEMORY: [encode_memorytype(MemoryType(SizeLimits(0, None)))],
            sec.GLOBAL: [encode_global(GlobalType("i32", True), encode_const("i32", 0))],
            sec.EXPORT: [encode_export(export) for export in [*exports, Export(LOG, "memory", 0)]],
            sec.CODE: bodies,
        }
    )


def _paged(at: bytes, page: bytes) -> bytes:
    """Return code for a place in one of two lots of pages that take turns; ``page`` is that of the place."""
    in_page = at + encode_const("i32", (1 << _PAGE_BITS) - 1) + code.I32_AND
    return in_page + page + encode_const("i32", _PAGE_BITS + 1) + code.I32_SHL + code.I32_OR


def _place_body() -> bytes:
    """``place(handle) -> address``: where its entry is."""
    at = code.local_get(0) + encode_const("i32", 4) + code.I32_SHL
    page = code.local_get(0) + encode_const("i32", _PAGE_BITS - 4) + code.I32_SHR_U
    return _paged(at, page)


def _room_body() -> bytes:
    """``room(address) -> 1``, once there is memory there; 0: there cannot be."""
    page, have = code.local_get(0) + encode_const("i32", _PAGE_BITS) + code.I32_SHR_U, 1
    return b"".join(
        [
            page + code.MEMORY_SIZE + code.local_tee(have) + code.I32_LT_U,
            code.IF + encode_const("i32", 1) + code.RETURN + END,
            page + code.local_get(have) + code.I32_SUB + encode_const("i32", 1) + code.I32_ADD,
            code.MEMORY_GROW,
            encode_const("i32", 0xFFFF_FFFF) + code.I32_NE,
        ]
    )


def _note_body(room: int, place: int) -> bytes:
    """``note(handle, origin, argument, text, end)``; what there is no room for stays unknown."""
    handle = 0
    fits = code.local_get(handle) + code.call(place) + code.local_tee(handle) + code.call(room)
    body = _TOO_HIGH + fits + code.I32_EQZ + code.IF + code.RETURN + END
    for field in range(4):
        body += code.local_get(handle) + code.local_get(1 + field) + code.i32_store(4 * field)
    return body


def _forget_body(place: int) -> bytes:
    """``forget(handle)``."""
    page = code.local_get(0) + encode_const("i32", _PAGE_BITS) + code.I32_SHR_U
    return b"".join(
        [
            _TOO_HIGH,
            code.local_get(0) + code.call(place) + code.local_set(0),
            page + code.MEMORY_SIZE + code.I32_LT_U,
            code.IF + code.local_get(0) + encode_const("i32", 0) + code.i32_store(0) + END,
        ]
    )


def _forget_all_body() -> bytes:
    """``forget_all()``: no handle is known any more. Texts lose some of theirs, and nobody asks for them."""
    at, end = 0, code.MEMORY_SIZE + encode_const("i32", _PAGE_BITS) + code.I32_SHL
    return b"".join(
        [
            code.BLOCK + code.LOOP,
            code.local_get(at) + end + code.I32_GE_U + code.br_if(1),
            code.local_get(at) + encode_const("i32", 0) + code.i32_store(0),
            code.local_get(at) + encode_const("i32", 16) + code.I32_ADD + code.local_set(at),
            code.br(0) + END + END,
        ]
    )


def _byte_body(room: int) -> bytes:
    """``byte(b)``: append it to the text."""
    at = 1
    page = code.global_get(0) + encode_const("i32", _PAGE_BITS) + code.I32_SHR_U
    address = _paged(code.global_get(0), page) + encode_const("i32", 1 << _PAGE_BITS) + code.I32_OR
    return b"".join(
        [
            address + code.local_tee(at) + code.call(room),
            code.IF + code.local_get(at) + code.local_get(0) + code.I32_STORE8 + END,
            code.global_get(0) + encode_const("i32", 1) + code.I32_ADD + code.global_set(0),
        ]
    )


@record
class Noted:
    """What the log has of a handle: the number of its origin, the argument, the text."""

    origin: int
    argument: int
    text: bytes


def read_log(log: memoryview, handle: int) -> Noted | None:
    """Return what the log has of a handle; None: nothing, or not all."""
    at = handle * 16
    place = at & 0xFFFF | at >> _PAGE_BITS << _PAGE_BITS + 1
    entry = bytes(log[place : place + 16])
    origin, argument, start, end = (int.from_bytes(entry[i : i + 4], "little") for i in range(0, 16, 4))
    if not origin:
        return None
    places = [n & 0xFFFF | n >> _PAGE_BITS << _PAGE_BITS + 1 | 1 << _PAGE_BITS for n in range(start, end)]
    if places and max(places) >= len(log):
        return None
    return Noted(origin, argument, bytes(log[place] for place in places))
