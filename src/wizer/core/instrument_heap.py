"""Instrument the heap: accessors that follow references and hand out many objects in one call.

The instrumented module gets a queue, a table of references. The caller pushes those it wants to know;
``walk`` takes objects from the queue in turn, writes what it finds to a memory, and puts what an object
refers to at the end of the queue, from where the caller pulls it::

    (table $queue 8256 anyref) (memory $found 17)
    (func (export "wizer:heap.push") (param i32 anyref … anyref) …)
    (func (export "wizer:heap.walk") (param $count i32) (param $limit i32) (result i32 …)
      (loop … (call $visit (table.get $queue (local.get $entry)) …) …))
    (func (export "wizer:heap.pull0") (param i32) (result anyref … anyref) …)

So a list is followed in few calls, however long. No function can tell whether it has met an object before: a
caller may find one twice, but what leads straight back to where it came from is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from wizer.binary import code
from wizer.binary.additions import Additions
from wizer.binary.expr import encode_const
from wizer.binary.module import Module
from wizer.binary.types import (
    PACKED_CODES,
    ArrayType,
    RefType,
    StorageType,
    StructType,
    encode_valtype,
    hierarchy,
)
from wizer.core.layout import (
    ANY,
    DATA,
    DATA_START,
    ENTRY,
    EXN,
    INLINE,
    PART,
    QUEUE,
    Layout,
    layout,
    slot_types,
)
from wizer.core.scratch import memory, references

# References pushed and pulled in one call; compiling the functions takes longer than in proportion.
BATCH: Final = 64

# What an entry of the queue is; from FIRST_TYPE on, an object of the type with this index more. SEEN is where
# the entry came from.
KIND_NULL, KIND_I31, KIND_UNKNOWN, KIND_SEEN, FIRST_TYPE = 0, 1, 2, 3, 4

_TOPS: Final[Sequence[RefType]] = tuple(RefType(nullable=True, heap=heap) for heap in ("any", "func", "exn"))
_ANYREF: Final = _TOPS[ANY]
_PAGE: Final = 1 << 16


def object_types(module: Module) -> list[int]:
    """Return the types of objects that a module may make."""
    return [i for i, t in enumerate(module.types) if isinstance(t.comp, StructType | ArrayType)]


def add_heap(additions: Additions) -> tuple[bool, int | None]:
    """Append the accessors of the heap where a module may make objects.

    Returns whether it does, and how many bytes ``heap.found`` hands out, where that is no memory.
    """
    types = object_types(additions.module)
    if not types:
        return False, None
    heap = _Heap(additions, types)
    heap.add()
    return True, heap.memory.array_size


class _Heap:
    """The accessors in the making. ``tops`` are the ends of data, queue, functions and exceptions."""

    def __init__(self, additions: Additions, types: Sequence[int]) -> None:
        self._additions = additions
        self._module = additions.module
        self._types = types
        self._layouts = {t: layout(self._module, slot_types(self._module, t)) for t in types}
        most = [max(INLINE, *(found.counts[table] for found in self._layouts.values())) for table in range(3)]
        sizes = [max(QUEUE + count, PART) for count in most]
        used = [table == ANY or any(f.counts[table] for f in self._layouts.values()) for table in range(3)]
        self._tables = [
            references(additions, top, size) if is_used else None
            for top, size, is_used in zip(_TOPS, sizes, used, strict=True)
        ]
        queue = self._tables[ANY]
        assert queue is not None
        self._queue = queue
        largest = max(4 + 16 * INLINE, *(found.size for found in self._layouts.values()))
        size = DATA_START + max(DATA + largest, 16 * PART)
        self.memory = memory(additions, "heap.found", -(-size // _PAGE))

    def add(self) -> None:
        """Append them all."""
        add = self._additions.func
        indices = range(BATCH)
        pushed = b"".join(_plus(0, i) + code.local_get(1 + i) + self._queue.set for i in indices)
        add("heap.push", ["i32", *[_ANYREF] * BATCH], (), pushed)
        for table, places in enumerate(self._tables):
            if places is not None:
                body = b"".join(_plus(0, i) + places.get for i in indices)
                add(f"heap.pull{table}", ["i32"], [_TOPS[table]] * BATCH, body)
        add("heap.clear", (), (), self._clear())
        readers = {typeidx: self._reader(typeidx) for typeidx in self._types}
        body = self._visit(readers)
        visit = add(None, [_ANYREF, *["i32"] * 4], ["i32"] * 6, body)
        add("heap.walk", ["i32", "i32"], ["i32"] * 4, self._walk(visit), ["i32"] * 8 + [_ANYREF])

    def _clear(self) -> bytes:
        """Encode how all is made as it was: the module may go on, and nothing of it is to be kept alive."""
        return self.memory.clear + b"".join(places.clear for places in self._tables if places is not None)

    # One object.

    def _reader(self, typeidx: int) -> int:
        """Append a function that hands out an object: given it and the tops, it returns these.

        It also returns whether to stop: a caller has to see an array in parts, and exceptions, before what
        comes after them.
        """
        own = RefType(nullable=False, heap=typeidx)
        if isinstance(self._module.types[typeidx].comp, ArrayType):
            return self._array_reader(typeidx, own)
        found = self._layouts[typeidx]
        body = b"".join(
            self._slot(found, slot, code.local_get(0) + _get(self._module, typeidx, slot), (1, 2, 3, 4))
            for slot in range(len(found.types))
        )
        body += _plus(1, found.size)
        body += b"".join(_plus(2 + table, found.counts[table]) for table in range(3))
        body += self._holds_exception(found, typeidx)
        return self._additions.func(None, [own, *["i32"] * 4], ["i32"] * 5, body)

    def _holds_exception(self, found: Layout, typeidx: int) -> bytes:
        """Encode whether one of a structure's fields is an exception."""
        out = encode_const("i32", 0)
        for slot, table in enumerate(found.tables):
            if table == EXN:
                get = code.local_get(0) + _get(self._module, typeidx, slot)
                out += get + code.REF_IS_NULL + code.I32_EQZ + code.I32_OR
        return out

    def _slot(self, found: Layout, slot: int, value: bytes, tops: Sequence[int]) -> bytes:
        """Encode how a value is handed out, given the locals that have the tops."""
        type_, offset, table = found.types[slot], found.offsets[slot], found.tables[slot]
        if table is None:
            is_null = b"" if isinstance(type_, str) else code.REF_IS_NULL
            store = self.memory.store(type_ if isinstance(type_, str) else "i8", DATA_START + offset)
            return code.local_get(tops[0]) + value + is_null + store
        places = self._tables[table]
        assert places is not None
        return _plus(tops[1 + table], offset) + value + self._converted(type_) + places.set

    def _converted(self, type_: StorageType) -> bytes:
        extern = isinstance(type_, RefType) and hierarchy(type_.heap, self._module.types) == "extern"
        return code.ANY_CONVERT_EXTERN if extern else b""

    def _array_reader(self, typeidx: int, own: RefType) -> int:
        """Append the reader of an array, and a function that hands out a part of one."""
        found = self._layouts[typeidx]
        copy = self._copy(typeidx, own, found)
        start = code.local_get(0) + code.ref_cast(typeidx)
        part = start + code.local_get(1) + code.local_get(2) + encode_const("i32", 0) * 4 + code.call(copy)
        self._additions.func(f"heap.part{typeidx}", [_ANYREF, "i32", "i32"], (), part)
        body = code.local_get(1) + code.local_get(0) + code.ARRAY_LEN + code.local_tee(5)
        body += self.memory.store("i32", DATA_START) + _plus(1, 4) + code.local_set(1)
        most = encode_const("i32", 0 if found.counts[EXN] else INLINE)
        stop = b"".join(map(code.local_get, (1, 2, 3, 4))) + encode_const("i32", 1) + code.RETURN
        body += code.local_get(5) + most + code.I32_GT_U + code.IF + stop + code.END
        body += code.local_get(0) + encode_const("i32", 0) + code.local_get(5)
        body += b"".join(map(code.local_get, (1, 2, 3, 4))) + code.call(copy)
        for local, step in zip((1, 2, 3, 4), (found.size, *found.counts), strict=True):
            body += code.local_get(local)
            if step:
                body += code.local_get(5) + encode_const("i32", step) + code.I32_MUL + code.I32_ADD
        body += encode_const("i32", 0)
        return self._additions.func(None, [own, *["i32"] * 4], ["i32"] * 5, body, ["i32"])

    def _copy(self, typeidx: int, own: RefType, found: Layout) -> int:
        """Append a function that hands out elements: array, start, count, tops."""
        get = code.local_get(0) + code.local_get(1) + _get(self._module, typeidx, 0)
        body = code.BLOCK + code.LOOP
        body += code.local_get(2) + code.I32_EQZ + code.br_if(1)
        body += self._slot(found, 0, get, (3, 4, 5, 6))
        for local, step in zip((3, 4, 5, 6), (found.size, *found.counts), strict=True):
            if step:
                body += _plus(local, step) + code.local_set(local)
        body += _plus(1, 1) + code.local_set(1) + _plus(2, -1) + code.local_set(2) + code.br(0)
        body += code.END + code.END
        return self._additions.func(None, [own, *["i32"] * 6], (), body)

    def _visit(self, readers: dict[int, int]) -> bytes:
        """Encode how an entry is handed out: its kind, the tops, and whether to stop."""
        tops = b"".join(map(code.local_get, (1, 2, 3, 4)))

        def answer(test: bytes, kind: int) -> bytes:
            found = encode_const("i32", kind) + tops + encode_const("i32", 0) + code.RETURN
            return code.local_get(0) + test + code.IF + found + code.END

        body = answer(code.REF_IS_NULL, KIND_NULL) + answer(code.ref_test("i31"), KIND_I31)
        for typeidx in deepest_first(self._module, self._types):
            found = encode_const("i32", FIRST_TYPE + typeidx) + code.local_get(0) + code.ref_cast(typeidx)
            found += tops + code.call(readers[typeidx]) + code.RETURN
            body += code.local_get(0) + code.ref_test(typeidx) + code.IF + found + code.END
        return body + encode_const("i32", KIND_UNKNOWN) + tops + encode_const("i32", 0)

    # The queue.

    def _walk(self, visit: int) -> bytes:
        """Encode the walk: ``count`` entries are in the queue, of which all before ``limit`` are visited.

        It returns how many it has visited, and how many references there are in each table. An entry is not
        visited where it is what leads to the object that refers to it, or that object itself.
        """
        count, limit, entry, data, any_, func, exn, kind, stop, parent, object_ = range(11)
        get = code.local_get
        body = get(count) + code.local_set(any_) + code.BLOCK + code.LOOP
        body += get(entry) + get(limit) + code.I32_GE_U + code.br_if(1)
        body += get(entry) + get(any_) + code.I32_GE_U + code.br_if(1)
        for local, most in ((any_, QUEUE), (func, QUEUE), (exn, QUEUE), (data, DATA)):
            body += get(local) + encode_const("i32", most) + code.I32_GT_U + code.br_if(1)
        at = get(entry) + encode_const("i32", ENTRY) + code.I32_MUL
        for number, value in enumerate((data, any_, func, exn)):
            body += at + get(value) + self.memory.store("i32", 8 + 4 * number)
        body += get(entry) + self._queue.get + code.local_set(object_)
        body += self._find_parent(count, entry, parent)
        visited = get(object_) + b"".join(map(get, (data, any_, func, exn))) + code.call(visit)
        visited += b"".join(map(code.local_set, (stop, exn, func, any_, data, kind)))
        seen = encode_const("i32", KIND_SEEN) + code.local_set(kind)
        seen += encode_const("i32", 0) + code.local_set(stop)
        body += self._leads_back(object_, parent) + code.IF + seen + code.ELSE + visited + code.END
        body += at + get(kind) + self.memory.store("i32", 0)
        body += at + get(parent) + self.memory.store("i32", 4)
        body += _plus(entry, 1) + code.local_set(entry) + get(stop) + code.I32_EQZ + code.br_if(0)
        body += code.END + code.END
        return body + b"".join(map(get, (entry, any_, func, exn)))

    def _find_parent(self, count: int, entry: int, parent: int) -> bytes:
        """Encode: set ``parent`` to the entry whose object refers to this one, -1 for one of the first.

        References stand in the order of those that hold them, so it moves on only.
        """
        following = self._load(parent, 1, 12)
        moved_on = _plus(parent, 1) + code.local_get(entry) + code.I32_LT_U + code.I32_EQZ + code.br_if(1)
        moved_on += following + code.local_get(entry) + code.I32_GT_U + code.br_if(1)
        step = _plus(parent, 1) + code.local_set(parent) + code.br(0)
        search = code.BLOCK + code.LOOP + moved_on + step + code.END + code.END
        first = code.local_get(entry) + code.local_get(count) + code.I32_EQ
        start = first + code.IF + encode_const("i32", 0) + code.local_set(parent) + code.END
        none = encode_const("i32", 0xFFFF_FFFF) + code.local_set(parent)
        is_first = code.local_get(entry) + code.local_get(count) + code.I32_LT_U
        return is_first + code.IF + none + code.ELSE + start + search + code.END

    def _load(self, entry: int, further: int, offset: int) -> bytes:
        """Encode a number of an entry, given by a local."""
        place = _plus(entry, further) + encode_const("i32", ENTRY) + code.I32_MUL
        return place + self.memory.load(offset)

    def _leads_back(self, object_: int, parent: int) -> bytes:
        """Encode whether an object is the one of the entry that refers to it, or what refers to that one."""
        result = encode_valtype("i32")
        itself = self._equal(object_, code.local_get(parent))
        grandparent = self._load(parent, 0, 4)
        no = encode_const("i32", 0)
        known = grandparent + no + code.I32_GE_S + code.if_(result)
        back = known + self._equal(object_, grandparent) + code.ELSE + no + code.END
        test = code.local_get(object_) + code.ref_test("eq")
        compared = code.if_(result) + itself + back + code.I32_OR + code.ELSE + no + code.END
        has_parent = code.local_get(parent) + no + code.I32_GE_S + code.if_(result)
        return has_parent + test + compared + code.ELSE + no + code.END

    def _equal(self, object_: int, entry: bytes) -> bytes:
        other = entry + self._queue.get + code.ref_cast("eq", nullable=True)
        return code.local_get(object_) + code.ref_cast("eq", nullable=True) + other + code.REF_EQ


def _plus(localidx: int, constant: int) -> bytes:
    """Encode the value of a local plus a constant."""
    if constant == 0:
        return code.local_get(localidx)
    return code.local_get(localidx) + encode_const("i32", constant & 0xFFFF_FFFF) + code.I32_ADD


def _get(module: Module, typeidx: int, slot: int) -> bytes:
    """Encode the reading of a field, or of an element whose index is on the stack."""
    comp = module.types[typeidx].comp
    if isinstance(comp, ArrayType):
        packed = comp.element.storage in PACKED_CODES
        return (code.array_get_u if packed else code.array_get)(typeidx)
    assert isinstance(comp, StructType)
    packed = comp.fields[slot].storage in PACKED_CODES
    return (code.struct_get_u if packed else code.struct_get)(typeidx, slot)


def deepest_first(module: Module, types: Iterable[int]) -> list[int]:
    """Return types so that the first one that an object matches is its own: subtypes before supertypes."""
    depths: list[int] = []
    for subtype in module.types:
        depths.append(1 + depths[subtype.supertypes[0]] if subtype.supertypes else 0)
    return sorted(types, key=lambda typeidx: -depths[typeidx])
