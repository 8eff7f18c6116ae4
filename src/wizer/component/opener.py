"""The module that opens handles again: its start function, and the memory that it needs for lists.

The handle that comes next is the one that was freed last, or a new one at the end. So first every place up to
the highest is taken, by handles to a resource of our own. Then the place of each handle is freed, and what
gave it at first is called: what it returns has to be that very handle. At the end the rest is freed, so that
the lowest place is taken next, as in a new instance.

Directories come all at once. They are asked for twice: to see which one has the name, and again when the free
places are in such an order that this one gets its place; the others are dropped. A name that the host does
not have leaves the place free, and so does a terminal that there is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.assemble import encode_section, from_items
from wizer.binary.expr import END, encode_const
from wizer.binary.externs import (
    Export,
    FuncIndex,
    GlobalType,
    Import,
    MemoryType,
    SizeLimits,
    encode_export,
    encode_import,
    encode_memorytype,
)
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import encode_global
from wizer.binary.sections import encode_vector_section
from wizer.binary.types import FuncType, ValType, encode_functype
from wizer.binary.vectors import encode_bytes
from wizer.records import record

Way: TypeAlias = Literal["get", "get of", "maybe", "directory"]
"""How a handle is had: as the result of a function, without arguments or of one number; as an option; in a
list of handles and names."""

_I32: Final[tuple[ValType, ...]] = ("i32",)
_TYPES: Final[Mapping[Way, FuncType]] = {
    "get": FuncType((), _I32),
    "get of": FuncType(_I32, _I32),
    "maybe": FuncType(_I32, ()),
    "directory": FuncType(_I32, ()),
}

RETURNED: Final = 0
"""Where functions put their result, in bytes from the beginning of the memory."""

_NAMES: Final = 8  # where the names of directories begin


@record
class Wanted:
    """A handle to be opened again.

    Attributes:
        handle: the index.
        function: which of the functions gives it.
        way: how.
        argument: what that is called with.
        name: the name of a directory.
    """

    handle: int
    function: int
    way: Way
    argument: int = 0
    name: bytes = b""


def memory_module(wanted: Sequence[Wanted]) -> bytes:
    """Return the module with the ``memory`` for results, which begins with names, and its ``realloc``."""
    names = b"".join(each.name for each in wanted)
    end, at, size = 0, 4, 5
    page_size = (1 << 16) - 1
    aligned = code.global_get(end) + code.local_get(2) + code.I32_ADD + encode_const("i32", 1) + code.I32_SUB
    mask = encode_const("i32", 0) + code.local_get(2) + code.I32_SUB + code.I32_AND
    pages = code.global_get(end) + encode_const("i32", page_size) + code.I32_ADD + encode_const("i32", 16)
    grow = code.local_get(size) + code.MEMORY_SIZE + code.I32_SUB + code.MEMORY_GROW
    body = b"".join(
        [
            code.local_get(0) + code.IF + code.UNREACHABLE + END,  # nothing is moved: strings stay UTF-8
            aligned + mask + code.local_tee(at) + code.local_get(3) + code.I32_ADD + code.global_set(end),
            pages + code.I32_SHR_U + code.local_tee(size) + code.MEMORY_SIZE + code.I32_GT_U,
            code.IF + grow + encode_const("i32", 0xFFFF_FFFF) + code.I32_EQ,
            code.IF + code.UNREACHABLE + END + END,
            code.local_get(at),
        ]
    )
    start = _NAMES + len(names)
    return from_items(
        {
            sec.TYPE: [encode_functype(FuncType(_I32 * 4, _I32))],
            sec.FUNCTION: [encode_unsigned(0)],
            sec.MEMORY: [encode_memorytype(MemoryType(SizeLimits(-(-start // (1 << 16)))))],
            sec.GLOBAL: [encode_global(GlobalType("i32", True), encode_const("i32", start))],
            sec.EXPORT: [
                encode_export(Export("memory", "memory", 0)),
                encode_export(Export("realloc", "func", 0)),
            ],
            sec.CODE: [code.encode_body(body, _I32 * 2)],
            sec.DATA: [b"\x00" + encode_const("i32", _NAMES) + END + encode_bytes(names)],
        }
    )


def opener_module(wanted: Sequence[Wanted], ways: Sequence[Way], *, drops: bool) -> bytes:
    """Return the module that opens handles.

    It imports ``new`` and ``free`` for handles of our own, for each of ``ways`` a function, by its number,
    the ``memory``, where a function puts its result there, and ``drop`` for directories.

    Args:
        wanted: the handles, in the order in which they are opened.
        ways: how each function gives a handle.
        drops: whether ``drop`` is there; without it the directories that nobody asked for stay open.
    """
    return _Opener(wanted, ways, drops=drops).module()


class _Opener:
    """One such module; its functions are those that it imports, and then those of `_FUNCTIONS`."""

    def __init__(self, wanted: Sequence[Wanted], ways: Sequence[Way], *, drops: bool) -> None:
        self.wanted = wanted
        self.imported: dict[str, FuncType] = {"new": FuncType(_I32, _I32), "free": FuncType(_I32, ())}
        self.new, self.free, self.first = range(3)
        self.imported |= {str(number): _TYPES[way] for number, way in enumerate(ways)}
        self.drop = len(self.imported) if drops else None
        if drops:
            self.imported["drop"] = FuncType(_I32, ())
        self.has_memory = bool({"maybe", "directory"} & {*ways})
        self.fill, self.clear, self.same, start = range(len(self.imported), len(self.imported) + 4)
        self.directory = {
            number: start + place
            for place, number in enumerate(number for number, way in enumerate(ways) if way == "directory")
        }
        self.start = start + len(self.directory)

    def module(self) -> bytes:
        of_directory = FuncType(_I32 * 3, _I32)
        own = [FuncType(_I32, ()), FuncType(_I32 * 2, ()), of_directory, FuncType((), ())]
        types = [*self.imported.values(), *own]
        imports = [Import("", name, "func", FuncIndex(at)) for at, name in enumerate(self.imported)]
        if self.has_memory:
            imports.append(Import("", "memory", "memory", MemoryType(SizeLimits(0))))
        first = len(self.imported)
        functions = [first, first + 1, first + 2, *[first + 2] * len(self.directory), first + 3]
        # Without a memory, functions that read from it cannot be there.
        same = self._same() if self.has_memory else encode_const("i32", 0)
        bodies = [
            code.encode_body(self._fill(), _I32),
            code.encode_body(self._clear()),
            code.encode_body(same),
            *[code.encode_body(self._directory(number), _I32 * 5) for number in self.directory],
            code.encode_body(self._start(), _I32 * len(self.wanted)),
        ]
        head = from_items(
            {
                sec.TYPE: [encode_functype(functype) for functype in types],
                sec.IMPORT: [encode_import(imported) for imported in imports],
                sec.FUNCTION: [encode_unsigned(functype) for functype in functions],
            }
        )
        start = encode_section(sec.START, [encode_unsigned(self.start)])
        return head + b"".join(start) + encode_vector_section(sec.CODE, bodies)

    def _fill(self) -> bytes:
        """Return ``fill(count)``: take the first places, all free."""
        count, at = 0, 1
        new = encode_const("i32", 0) + code.call(self.new)
        more = code.local_get(at) + code.local_get(count) + code.I32_LT_U + code.br_if(0)
        return code.LOOP + new + _plus(at, 1) + code.local_tee(at) + _required() + more + END

    def _clear(self) -> bytes:
        """Return ``clear(highest, lowest)``: free places, the lowest last."""
        at, lowest = 0, 1
        return b"".join(
            [
                code.LOOP + code.local_get(at) + code.call(self.free),
                _plus(at, -1) + code.local_tee(at) + code.local_get(lowest) + code.I32_GE_U,
                code.br_if(0) + END,
            ]
        )

    def _same(self) -> bytes:
        """Return ``same(a, b, length) -> 1``: whether the bytes at two places are equal; 0: they are not."""
        a, b, left = range(3)
        byte = code.i32_load(1, 0)
        return b"".join(
            [
                code.LOOP + code.local_get(left) + code.IF,
                code.local_get(a) + byte + code.local_get(b) + byte + code.I32_NE,
                code.IF + encode_const("i32", 0) + code.RETURN + END,
                _plus(a, 1) + code.local_set(a) + _plus(b, 1) + code.local_set(b),
                _plus(left, -1) + code.local_set(left) + code.br(1) + END + END,
                encode_const("i32", 1),
            ]
        )

    def _directory(self, function: int) -> bytes:
        """Return ``directory(handle, name, length) -> 1``: open a directory; 0: none has this name."""
        handle, name, length, entry, left, found, last, at = range(8)
        ask = encode_const("i32", RETURNED) + code.call(self.first + function)
        entries, count = (encode_const("i32", RETURNED) + code.i32_load(4, offset) for offset in (0, 4))
        begin = ask + count + code.local_set(left)
        # From the last entry to the first, so that `left` is its number.
        entry_at = entries + code.local_get(left) + encode_const("i32", 12) + code.I32_MUL + code.I32_ADD
        down = code.local_get(left) + code.IF + _plus(left, -1) + code.local_set(left)
        down += entry_at + code.local_set(entry)
        is_long = code.local_get(entry) + code.i32_load(4, 8) + code.local_get(length) + code.I32_EQ
        is_same = code.local_get(entry) + code.i32_load(4, 4) + code.local_get(name) + code.local_get(length)
        of_entry = code.local_get(entry) + code.i32_load(4, 0)
        drop = b"" if self.drop is None else of_entry + code.call(self.drop)
        note = code.local_get(left) + code.local_set(found)
        return b"".join(
            [
                encode_const("i32", 0xFFFF_FFFF) + code.local_set(found),
                begin + code.LOOP + down,
                is_long + code.IF + is_same + code.call(self.same) + code.IF + note + END + END,
                drop + code.br(1) + END + END,
                code.local_get(found) + encode_const("i32", 0xFFFF_FFFF) + code.I32_EQ,
                code.IF + encode_const("i32", 0) + code.RETURN + END,
                # The first `found` places that come next stay first; then the one that is wanted.
                code.local_get(found) + code.local_set(at),
                code.LOOP + code.local_get(at) + code.IF,
                encode_const("i32", 0) + code.call(self.new) + code.local_set(last),
                _plus(at, -1) + code.local_set(at) + code.br(1) + END + END,
                code.local_get(handle) + code.call(self.free),
                code.local_get(found) + code.local_set(at),
                code.LOOP + code.local_get(at) + code.IF + code.local_get(last) + code.call(self.free),
                _plus(last, -1) + code.local_set(last),
                _plus(at, -1) + code.local_set(at) + code.br(1) + END + END,
                begin + code.LOOP + down,
                code.local_get(left) + code.local_get(found) + code.I32_EQ + code.IF,
                of_entry + code.local_get(handle) + _required(),
                code.ELSE + drop + END + code.br(1) + END + END,
                encode_const("i32", 1),
            ]
        )

    def _start(self) -> bytes:
        """Return the start function: its locals say whether the handles are open that may not be there."""
        highest = max(each.handle for each in self.wanted)
        body = encode_const("i32", highest) + code.call(self.fill)
        at = _NAMES
        for number, each in enumerate(self.wanted):
            body += self._open(number, each, at)
            at += len(each.name)
        return body + b"".join(self._freed(highest))

    def _open(self, number: int, each: Wanted, name: int) -> bytes:
        handle = encode_const("i32", each.handle)
        call = code.call(self.first + each.function)
        freed = handle + code.call(self.free)
        match each.way:
            case "get":
                return freed + call + handle + _required()
            case "get of":
                return freed + encode_const("i32", each.argument) + call + handle + _required()
            case "maybe":
                returned = encode_const("i32", RETURNED)
                return b"".join(
                    [
                        freed + returned + call + returned + code.i32_load(1, 0) + code.local_tee(number),
                        code.IF + returned + code.i32_load(4, 4) + handle + _required() + code.ELSE,
                        encode_const("i32", 0) + code.call(self.new) + handle + _required() + END,
                    ]
                )
            case "directory":
                given = handle + encode_const("i32", name) + encode_const("i32", len(each.name))
                return given + code.call(self.directory[each.function]) + code.local_set(number)

    def _freed(self, highest: int) -> Iterator[bytes]:
        """Yield what frees the places where no handle is, from the highest to the lowest."""
        places = sorted(((each.handle, number) for number, each in enumerate(self.wanted)), reverse=True)
        above = highest + 1
        for handle, number in [*places, (0, -1)]:
            if handle + 1 < above:
                yield encode_const("i32", above - 1) + encode_const("i32", handle + 1) + code.call(self.clear)
            if handle and self.wanted[number].way in ("maybe", "directory"):
                free = encode_const("i32", handle) + code.call(self.free)
                yield code.local_get(number) + code.I32_EQZ + code.IF + free + END
            above = handle


def _required() -> bytes:
    """Return code that traps unless the two numbers on the stack are equal."""
    return code.I32_NE + code.IF + code.UNREACHABLE + END


def _plus(local: int, number: int) -> bytes:
    return code.local_get(local) + encode_const("i32", number & 0xFFFF_FFFF) + code.I32_ADD
