"""Walking the heap of a live instance: references become plain data, and objects keep their identity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

from wizer.binary.module import Module
from wizer.binary.types import ArrayType, HeapType, RefType, StorageType, StructType, hierarchy
from wizer.binary.values import BITS, Number
from wizer.core.accessors import function_words
from wizer.core.instrument import (
    BATCH,
    FIRST_TAG,
    FIRST_TYPE,
    KIND_I31,
    MAX_BATCH,
    Accessors,
)
from wizer.core.live import Live, RawCall, Words
from wizer.core.state import (
    I31,
    NULL,
    Array,
    Exn,
    FuncRef,
    GlobalRef,
    HeapObject,
    ObjectRef,
    Ref,
    Struct,
    Value,
)
from wizer.errors import StateError

# Where a value sits, for messages: ("global", 3, None) or ("table", 2, 7), with the element.
Place: TypeAlias = "tuple[str, int, int | None]"

_STRANGERS = {
    "any": "an object of the host or of a type that the module does not declare",
    "extern": "a host externref",
    "exn": "an exception whose tag the module does not declare",
}


class InexpressibleError(Exception):
    """A value that no module can express; the message says what it is."""


def raw_bits(raw: Sequence[int], slot: int, storage: StorageType) -> int:
    """Return the bits of the value in a slot of raw values, two words of 64 bits each."""
    if isinstance(storage, RefType):
        return raw[2 * slot]
    low = raw[2 * slot]
    if storage == "v128":
        return low | raw[2 * slot + 1] << 64
    return low & ((1 << BITS[storage]) - 1)


class Functions:
    """Tells which function a funcref is to.

    Attributes:
        by_index: the references, by function.
    """

    def __init__(self, accessors: Accessors, live: Live) -> None:
        self._live = live
        self.by_index: dict[int, FuncRef] = {}
        self._by_address: dict[int, FuncRef | GlobalRef] = {}
        for funcidx, address in function_words(accessors, live):
            self.by_index[funcidx] = self._by_address[address] = FuncRef(funcidx)
        self._by_identity: dict[tuple[int, int], FuncRef | GlobalRef] | None = None

    def name(self, address: int, ref: GlobalRef) -> None:
        """Let a stranger's function be known as the value of a global."""
        self._by_address[address] = ref
        self._by_identity = None

    def known(self, addresses: Sequence[int]) -> Sequence[Ref] | None:
        """Return the references with raw values that have all been found before, otherwise None."""
        found = list(map(self._by_address.get, addresses))
        return cast("list[Ref]", found) if all(found) else None

    def find(self, address: int) -> FuncRef | GlobalRef | None:
        """Return the reference with a raw value that is not null; None for a stranger's function."""
        found = self._by_address.get(address)
        if found is None:
            if self._by_identity is None:
                self._by_identity = {self._live.identity(a): f for a, f in self._by_address.items()}
            found = self._by_identity.get(self._live.identity(address))
            if found is not None:
                self._by_address[address] = found
        return found


class HeapWalk:
    """Turns raw references into `Ref` and collects the objects that they lead to.

    Attributes:
        addresses: the raw reference to each object, in the order of `State.heap`.
    """

    def __init__(self, module: Module, accessors: Accessors, live: Live, functions: Functions) -> None:
        self._module = module
        self._prefix = accessors.prefix
        self._live = live
        self._functions = functions
        self._seen: dict[int, Ref] = {}
        self._pending: list[tuple[int, int, bool, Place]] = []
        self._calls: dict[str, RawCall] = {}
        self._objects: list[HeapObject] = []
        self.addresses: list[int] = []
        self._tops: dict[HeapType, str] = {}

    def _values(self, raw: Sequence[int], storages: Sequence[StorageType], place: Place) -> list[Value]:
        """Return the values in as many slots of raw values; raise `InexpressibleError`."""
        return [
            Number(storage, raw_bits(raw, slot, storage))
            if isinstance(storage, str)
            else self.ref(raw[2 * slot], self._top(storage), place)
            for slot, storage in enumerate(storages)
        ]

    def _top(self, reftype: RefType) -> str:
        """Return the top of a reference type's hierarchy."""
        top = self._tops.get(reftype.heap)
        if top is None:
            top = self._tops[reftype.heap] = hierarchy(reftype.heap, self._module.types)
        return top

    def ref(self, bits: int, top: str, place: Place) -> Ref:
        """Return the reference with the raw value ``bits`` from a place of the hierarchy ``top``.

        ``place`` is where the walk began, for objects that are found later. Raises `InexpressibleError`.
        """
        if top == "func":
            return self._func(bits)
        if top == "cont":
            if bits & 1:  # the accessor has answered whether it is null
                return NULL
            raise InexpressibleError("a continuation")
        bits &= 0xFFFF_FFFF
        if bits == 0:
            return NULL
        found = self._seen.get(bits)
        if found is None:
            found = self._seen[bits] = self._first_seen(bits, top, place)
        return found

    def known(self, words: Sequence[int], top: str) -> Sequence[Ref] | None:
        """Return the references with raw values that have all been seen before, otherwise None.

        Tables are large, and often hold the same few functions again and again.
        """
        if top == "func":
            return self._functions.known(words)
        if top == "cont":
            return None
        found = [self._seen.get(word & 0xFFFF_FFFF) for word in words]
        return cast("list[Ref]", found) if all(found) else None

    def imported(self, bits: int, top: str, globalidx: int) -> Ref:
        """Return what an imported immutable global holds: where nothing else names it, the global does."""
        try:
            return self.ref(bits, top, ("global", globalidx, None))
        except InexpressibleError:
            found = GlobalRef(globalidx)
            if top == "func":
                self._functions.name(bits, found)
            else:
                self._seen[bits & 0xFFFF_FFFF] = found
            return found

    def _func(self, address: int) -> Ref:
        if address == 0:
            return NULL
        found = self._functions.find(address)
        if found is None:
            raise InexpressibleError(
                "a function of another instance or of the host that the module does not import"
            )
        return found

    def _first_seen(self, bits: int, top: str, place: Place) -> Ref:
        kind = self._call({"any": "kind", "extern": "kind.extern", "exn": "kind.exn"}[top], bits)
        exception = top == "exn"
        if kind == KIND_I31 and not exception:
            return I31(self._call("i31", bits))
        index = kind - (FIRST_TAG if exception else FIRST_TYPE)
        if index < 0:
            raise InexpressibleError(_STRANGERS[top])
        self._pending.append((bits, index, exception, place))
        self._objects.append(_UNREAD)
        self.addresses.append(bits)
        return ObjectRef(len(self._objects) - 1)

    def _call(self, name: str, bits: int) -> int:
        call = self._accessor(name, 1)
        call.buffer[0] = bits
        call()
        return call.buffer[0] & 0xFFFF_FFFF

    def _accessor(self, name: str, slots: int) -> RawCall:
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = self._live.accessor(self._prefix + name, slots)
        return call

    def walk(self) -> list[HeapObject]:
        """Return all objects reachable from the references seen so far; `ObjectRef` indexes this list.

        A loop and not a recursion: lists may be as deep as memory is large.

        Raises:
            StateError: an object holds what no module can express.
        """
        while self._pending:
            pending, self._pending = self._pending, []
            base = len(self._objects) - len(pending)
            for number, (bits, index, exception, place) in enumerate(pending):
                what = f"{'an exception of tag' if exception else 'an object of type'} {index}"
                try:
                    read = self._exception if exception else self._object
                    self._objects[base + number] = read(bits, index, place)
                except InexpressibleError as problem:
                    raise StateError(
                        f"{describe(self._module, place)} leads to {what}, which holds {problem}; "
                        "no module can express that"
                    ) from None
        return self._objects

    def _object(self, bits: int, typeidx: int, place: Place) -> Struct | Array:
        comp = self._module.types[typeidx].comp
        if isinstance(comp, StructType):
            return self._struct(bits, typeidx, comp, place)
        assert isinstance(comp, ArrayType)
        return self._array(bits, typeidx, comp, place)

    def _struct(self, bits: int, typeidx: int, comp: StructType, place: Place) -> Struct:
        fields: list[Value] = []
        for number, start in enumerate(range(0, len(comp.fields), MAX_BATCH)):
            batch = comp.fields[start : start + MAX_BATCH]
            call = self._accessor(f"struct{typeidx}.{number}", len(batch))
            call.buffer[0] = bits
            call()
            raw = call.buffer[: 2 * len(batch)]
            fields += self._values(raw, [field.storage for field in batch], place)
        return Struct(typeidx, tuple(fields))

    def _array(self, bits: int, typeidx: int, comp: ArrayType, place: Place) -> Array:
        length = self._call("length", bits)
        call = self._accessor(f"array{typeidx}.read", BATCH)
        storage = comp.element.storage
        top = "" if isinstance(storage, str) else hierarchy(storage.heap, self._module.types)
        elements: list[Ref] = []
        data = bytearray()
        for start in range(0, length, BATCH):
            call.buffer[0], call.buffer[2] = bits, start
            call()
            count = min(BATCH, length - start)
            if isinstance(storage, str):
                data += _packed(call.buffer, count, BITS[storage] // 8)
            else:
                raw = call.buffer[: 2 * count : 2]
                elements += [self.ref(word, top, place) for word in raw]
        return Array(typeidx, elements, bytes(data))

    def _exception(self, bits: int, tagidx: int, place: Place) -> Exn:
        payload = self._module.type_as_func(self._module.tags[tagidx]).params
        if any(isinstance(t, RefType) and hierarchy(t.heap, self._module.types) == "cont" for t in payload):
            raise InexpressibleError("a continuation")
        call = self._accessor(f"exn{tagidx}", max(len(payload), 1))
        call.buffer[0] = bits
        call()
        raw = call.buffer[: 2 * len(payload)]
        return Exn(tagidx, tuple(self._values(raw, payload, place)))


_UNREAD = Struct(-1, ())


def _packed(buffer: Words, count: int, width: int) -> bytes:
    """Return the first ``width`` bytes of each of ``count`` raw values, which have 16 each."""
    raw = bytes(memoryview(buffer).cast("B")[: 16 * count])  # type: ignore[arg-type]
    out = bytearray(count * width)
    for byte in range(width):
        out[byte::width] = raw[byte::16]
    return bytes(out)


def describe(module: Module, place: Place) -> str:
    """Return what to call a place: ``table 2 ("handlers") element 7``."""
    kind, index, element = place
    if kind == "element segment":
        return f"element segment {index} element {element}"
    name = module.describe("table" if kind == "table" else "global", index)
    return name if element is None else f"{name} element {element}"
