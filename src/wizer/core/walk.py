"""Walking the heap of a live instance: raw references become columns, and objects keep their identity.

Objects are numbered as they are found, breadth first: what an object refers to comes in the order of its
slots, exceptions after all else. So the numbers are the same however many objects a call hands out.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from struct import unpack_from
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from wizer.binary.module import Module
from wizer.binary.types import RefType, hierarchy
from wizer.core import columns
from wizer.core.accessors import HELD_AT_ONCE, LiveTable, raw_bits
from wizer.core.columns import GLOBAL, Column, Group, Heap, payload
from wizer.core.found import Few, Visit
from wizer.core.functions import UNKNOWN, Functions, first_unknown
from wizer.core.instrument import FIRST_TAG, Accessors
from wizer.core.instrument_heap import BATCH, KIND_UNKNOWN
from wizer.core.layout import ANY, DATA, DATA_START, ENTRY, EXN, FUNC, PART, VISITED
from wizer.core.live import Live, RawCall
from wizer.core.places import STRANGERS, Place, describe, inexpressible
from wizer.core.scratch import WORDS
from wizer.errors import StateError

if TYPE_CHECKING:
    from wizer.core.found_many import Many

    Found: TypeAlias = Few | Many

# With fewer than this many, so many entries are visited, as far as they lead.
_FEW: Final = 256
_AHEAD: Final = 1024


class HeapWalk:
    """Turns raw references into codes, and collects the objects that they lead to."""

    def __init__(self, module: Module, accessors: Accessors, live: Live, functions: Functions) -> None:
        self._module = module
        self._accessors = accessors
        self._live = live
        self._functions = functions
        self._found: Found = Few(module)
        self._roots: list[tuple[Callable[[int], Place], str, Column]] = []
        self._read = 0
        self._held = 0
        self._large: LiveTable | None = None
        self._exceptions: list[int] = []
        self._calls: dict[str, RawCall] = {}
        self._memory: memoryview | None = None
        self._pushed = False

    @property
    def addresses(self) -> Sequence[int]:
        """The raw reference to each object, in the order of the heap."""
        return self._found.addresses

    def expect_many(self) -> None:
        """Prepare for many references."""
        if isinstance(self._found, Few):
            from wizer.core.found_many import Many

            self._found = Many(self._module, self._found)

    def hold_with(self, table: LiveTable) -> None:
        """Let a table of many objects, read next, be what `LiveTable.hold` is called on."""
        self._large = table

    def codes(self, words: Column, reftype: RefType, place: Callable[[int], Place]) -> Column:
        """Return the codes of raw references to objects in places of a type; ``place`` says which."""
        if len(words) >= columns.MANY:
            self.expect_many()
        top = hierarchy(reftype.heap, self._module.types)
        codes = self._intern(words, top)
        self._roots.append((place, top, codes))
        return codes

    def imported(self, word: int, reftype: RefType, globalidx: int) -> int:
        """Return the code of what an imported immutable global holds.

        Where nothing else names it, the global does.
        """
        top = hierarchy(reftype.heap, self._module.types)
        if not self._found.knows(word) and self._is_stranger(word, top):
            self._found.name(word, globalidx << 2 | GLOBAL)
        return int(self.codes([word], reftype, lambda _: ("global", globalidx, None))[0])

    def _is_stranger(self, word: int, top: str) -> bool:
        """Whether a reference that is not null is to nothing of the module."""
        if top == "exn":
            return self._tag(word) < 0
        if word & 1:
            return False
        if not self._accessors.heap:
            return True
        self._push([word])
        self._walk(1, 1)
        return Visit(self._found_memory(1), 1, [word], [], []).kinds[0] == KIND_UNKNOWN

    def _intern(self, words: Column, top: str) -> Column:
        first = len(self._found.addresses)
        codes = self._found.intern(words)
        if top == "exn":
            self._exceptions += range(first, len(self._found.addresses))
        return codes

    # Reading.

    def walk(self) -> Heap:
        """Return all objects reachable from the references seen so far.

        Raises:
            StateError: an object holds what no module can express.
        """
        try:
            return self._all()
        finally:
            if self._pushed:
                self._accessor("heap.clear", 0)()

    def _all(self) -> Heap:
        """Read objects until there are no new ones: a loop, for lists may be as deep as memory is large."""
        while self._read < (size := len(self._found.addresses)):
            if size >= columns.MANY:
                self.expect_many()
            if self._exceptions and self._exceptions[0] == self._read:
                self._exceptions.pop(0)
                self._read_exception(self._found.addresses[self._read])
                self._read += 1
            elif not self._accessors.heap:
                self._fail_stranger(self._read)
            else:
                end = min(self._read + VISITED, self._exceptions[0] if self._exceptions else size)
                self._round(self._found.addresses[self._read : end])
        return self._found.heap()

    def _round(self, words: Column) -> None:
        """Read objects that are next, and those that they lead to if they are few."""
        count = len(words)
        if self._large is not None and self._read >= self._held:
            self._large.hold(self._read)
            self._held = self._read + HELD_AT_ONCE
        self._push(words)
        visited, *tops = self._walk(count, count if count >= _FEW else _AHEAD)
        pulled = self._pull(ANY, count, tops[ANY])
        functions = self._functions.codes(self._pull(FUNC, 0, tops[FUNC]))
        exceptions = self._pull(EXN, 0, tops[EXN])
        codes = self._found.intern(self._found.joined(words, pulled))
        visit = Visit(self._found_memory(visited), visited, codes, functions, self._intern(exceptions, "exn"))
        first = self._read
        self._read, problem, unread = self._found.take(visit, first)
        if problem is not None:
            node, top = problem
            if top:
                self._fail(node, STRANGERS[top])
            self._fail_stranger(node)
        if unread is not None:
            self._read_array(self._read - 1, *unread)

    def _read_array(self, node: int, typeidx: int, length: int) -> None:
        """Read the elements of a long array, part by part."""
        part = self._accessor(f"heap.part{typeidx}", 3)
        table = self._found.table_of(typeidx)
        for start in range(0, length, PART):
            count = min(PART, length - start)
            part.buffer[0], part.buffer[2], part.buffer[4] = int(self._found.addresses[node]), start, count
            part()
            if table is None:
                problem = self._found.add_numbers(typeidx, self._found_memory(0), count)
                if problem:
                    self._fail(node, STRANGERS["cont"])
                continue
            words = self._pull(table, 0, count)
            if table == FUNC:
                codes = self._functions.codes(words)
                if first_unknown(codes) is not None:
                    self._fail(node, STRANGERS["func"])
            else:
                codes = self._intern(words, "exn" if table == EXN else "any")
            self._found.add_codes(typeidx, codes)
        self._found.end_array(typeidx, length)

    def _tag(self, word: int) -> int:
        """Return the tag of an exception, -1 where the module does not declare it."""
        call = self._accessor("kind.exn", 1)
        call.buffer[0] = word
        call()
        return (call.buffer[0] & 0xFFFF_FFFF) - FIRST_TAG

    def _read_exception(self, word: int) -> None:
        node, tagidx = self._read, self._tag(word)
        if tagidx < 0:
            self._fail_stranger(node)
        types = payload(self._module, tagidx)
        tops = [hierarchy(t.heap, self._module.types) if isinstance(t, RefType) else "" for t in types]
        if "cont" in tops:
            self._fail(node, STRANGERS["cont"], tagidx)
        call = self._accessor(f"exn{tagidx}", max(len(types), 1))
        call.buffer[0] = int(word)
        call()
        raw = call.buffer[: 2 * len(types)]
        values = [0 if top else raw_bits(raw, slot, types[slot]) for slot, top in enumerate(tops)]
        for slot in sorted((slot for slot, top in enumerate(tops) if top), key=lambda s: tops[s] == "exn"):
            if tops[slot] == "func":
                values[slot] = self._functions.code(raw[2 * slot])
                if values[slot] == UNKNOWN:
                    self._fail(node, STRANGERS["func"], tagidx)
            else:
                values[slot] = int(self._intern([raw[2 * slot]], tops[slot])[0])
        self._found.add_exception(node, tagidx, types, values)

    # Accessors.

    def _accessor(self, name: str, slots: int) -> RawCall:
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = self._live.accessor(self._accessors.prefix + name, slots)
        return call

    def _found_memory(self, visited: int) -> memoryview:
        """Return what the last call has handed out: so many entries, and numbers."""
        if self._accessors.found_size is not None:
            return memoryview(self._found_words(self._accessors.found_size, visited))
        if self._memory is None:
            self._memory = self._live.memory(f"{self._accessors.prefix}heap.found")[0]
        return self._memory

    def _found_words(self, size: int, visited: int) -> bytearray:
        """Read what stands for the memory, where the module has as many as engines take."""
        call = self._accessor("heap.found", WORDS)
        found = bytearray(size)

        def read(start: int, end: int) -> None:
            for at in range(start, min(end, size), 8 * WORDS):
                call.buffer[0] = at
                call()
                found[at : at + 8 * WORDS] = array("Q", call.buffer[: 2 * WORDS : 2]).tobytes()

        read(0, ENTRY * visited)
        (last,) = unpack_from("<I", found, ENTRY * (visited - 1) + 8) if visited else (0,)
        read(DATA_START, last + size - DATA if visited else DATA_START + 16 * PART)
        return found

    def _push(self, words: Column) -> None:
        self._pushed = True
        call = self._accessor("heap.push", 1 + BATCH)
        for start in range(0, len(words), BATCH):
            call.buffer[0] = start
            self._found.put(call.buffer, words[start : start + BATCH])
            call()

    def _walk(self, count: int, limit: int) -> list[int]:
        call = self._accessor("heap.walk", 4)
        call.buffer[0], call.buffer[2] = count, limit
        call()
        return [word & 0xFFFF_FFFF for word in call.buffer[:8:2]]

    def _pull(self, table: int, start: int, end: int) -> Column:
        if start == end:
            return self._found.nothing()
        return self._found.pulled(self._accessor(f"heap.pull{table}", BATCH), start, end, BATCH)

    # Messages.

    def _fail_stranger(self, node: int) -> NoReturn:
        """Say where an object is held that is nothing of the module's."""
        holder, place, top = self._holder(node)
        if holder is None:
            assert place is not None
            raise inexpressible(self._module, place, top)
        self._fail(holder, STRANGERS[top])

    def _fail(self, node: int, problem: str, tagidx: int | None = None) -> NoReturn:
        """Say what is in an object, and where the walk to it began."""
        what = self._described(node) if tagidx is None else f"an exception of tag {tagidx}"
        holder, place, _ = self._holder(node)
        while holder is not None:
            holder, place, _ = self._holder(holder)
        assert place is not None
        raise StateError(
            f"{describe(self._module, place)} leads to {what}, which holds {problem}; "
            "no module can express that"
        ) from None

    def _described(self, node: int) -> str:
        group = next(group for group in self._found.heap().groups if node in group.nodes)
        return f"{'an exception of tag' if group.kind == 'exn' else 'an object of type'} {group.index}"

    def _holder(self, node: int) -> tuple[int | None, Place | None, str]:
        """Return what an object was found in, another one or a place, and the hierarchy that it has there."""
        code = (node + 1) << 2
        for place, top, codes in self._roots:
            for index, found in enumerate(codes):
                if found == code:
                    return None, place(index), top
        holders = [found for group in self._found.heap().groups for found in self._in_group(group, code)]
        holder, top = min(holders)
        return holder, None, top

    def _in_group(self, group: Group, code: int) -> list[tuple[int, str]]:
        """Return the first object of a group that holds another one, in each slot."""
        found = []
        for slot, (storage, column) in enumerate(zip(group.storages, group.columns, strict=True)):
            row = (
                next((i for i, held in enumerate(column) if held == code), None) if storage is None else None
            )
            if row is not None:
                if group.kind == "array":
                    row = next(i for i in range(len(group.nodes)) if group.starts[i + 1] > row)
                found.append((int(group.nodes[row]), self._found.top_of(group, slot)))
        return found
