"""Reading the functions and tables of a live instance through the accessors that `instrument` appended.

References are raw values here, words of 64 bits as the engine has them; 0 is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from wizer.binary.module import Module
from wizer.binary.types import RefType, StorageType, hierarchy
from wizer.binary.values import BITS
from wizer.core import columns
from wizer.core.columns import Column, Elements
from wizer.core.instrument import BATCH, HELD, Accessors

if TYPE_CHECKING:
    from wizer.core.live import Live


def raw_bits(raw: Sequence[int], slot: int, storage: StorageType) -> int:
    """Return the bits of the value in a slot of raw values, two words of 64 bits each."""
    if isinstance(storage, RefType):
        return raw[2 * slot]
    low = raw[2 * slot]
    if storage == "v128":
        return low | raw[2 * slot + 1] << 64
    return low & ((1 << BITS[storage]) - 1)


def function_words(accessors: Accessors, live: Live) -> Iterator[tuple[int, int]]:
    """Yield every function that the instance can refer to, with a reference to it."""
    for number, batch in enumerate(accessors.functions):
        call = live.accessor(f"{accessors.prefix}functions{number}", len(batch))
        call()
        yield from zip(batch, call.buffer[: 2 * len(batch) : 2], strict=True)


# Objects that are held at once: 250 bytes of the stack for every 32.
HELD_AT_ONCE: Final = 1 << 15


class LiveTable:
    """One table of a live instance, read many elements at a time.

    Attributes:
        size: its size in elements.
        holds_many: whether it is a table of many objects.
    """

    def __init__(self, module: Module, accessors: Accessors, live: Live, tableidx: int) -> None:
        self._live = live
        self._name = f"{accessors.prefix}table{tableidx}"
        self._mask = module.tables[tableidx].type.limits.address_mask
        size = live.accessor(f"{self._name}.size", 1)
        size()
        self.size: int = size.buffer[0] & self._mask
        top = hierarchy(module.tables[tableidx].type.element.heap, module.types)
        self.holds_many: bool = top in ("any", "extern", "exn") and self.size >= HELD_AT_ONCE

    def next(self, start: int) -> int:
        """Return the first place from ``start`` on whose element is not null, or the size."""
        call = self._live.accessor(f"{self._name}.next", 1)
        call.buffer[0] = start
        call()
        return call.buffer[0] & self._mask

    def words(self, start: int) -> list[int]:
        """Return the next elements, `BATCH` of them unless the table ends before."""
        call = self._live.accessor(f"{self._name}.read", BATCH)
        call.buffer[0] = start
        call()
        return call.buffer[: 2 * min(BATCH, self.size - start) : 2]

    def hold(self, start: int) -> None:
        """Prepare the engine for reading the elements from ``start`` on, where they are many.

        It looks for garbage once twice as many objects have been read as frames of the guest held when it
        last looked, or a thousand, and goes through all elements of all tables then. So the next objects are
        read while frames hold them: it looks now, and not again before as many more have been read. That
        changes nothing else: where there is too little stack, it is only slower.
        """
        if self.holds_many:
            name = f"{self._name}.hold"
            call = self._live.accessor(name, 2)
            call.buffer[0] = min(start, self.size - HELD_AT_ONCE)
            call.buffer[2] = HELD_AT_ONCE // HELD - 1
            self._live.traps(name)

    def words_from(self, start: int, *, skips_null: bool) -> TableWords:
        """Return the elements from ``start`` on; where ``skips_null``, without long runs of null."""
        call = self._live.accessor(f"{self._name}.read", BATCH)
        read = memoryview(call.buffer).cast("B").cast("Q")  # type: ignore[arg-type]
        runs: list[tuple[int, int]] = []
        words = bytearray()
        position, follows_null, held = start, skips_null, start
        while position < self.size:
            if follows_null:
                position = self.next(position)
                if position >= self.size:
                    break
            if not runs or runs[-1][1] != position:
                runs.append((position, position))
            if self.holds_many and position >= held:
                self.hold(position)
                held = position + HELD_AT_ONCE
            call.buffer[0] = position
            call()
            count = min(BATCH, self.size - position)
            words += read[: 2 * count : 2].tobytes()
            position += count
            runs[-1] = runs[-1][0], position
            follows_null = skips_null and not call.buffer[2 * (count - 1)]
        return TableWords(runs, words)

    def all_words(self) -> Iterator[int]:
        """Yield all elements."""
        for start in range(0, self.size, BATCH):
            yield from self.words(start)


class TableWords:
    """Some elements of a table.

    Attributes:
        words: raw references, in a list, or in an array of numpy where they are many.
    """

    def __init__(self, runs: Sequence[tuple[int, int]], words: bytearray) -> None:
        self._runs = runs
        self.words: Column
        if len(words) < 8 * columns.MANY:
            self.words = memoryview(words).cast("Q").tolist()
        else:
            import numpy as np

            self.words = np.frombuffer(words, np.uint64)

    def position(self, row: int) -> int:
        """Return where an element is."""
        for start, end in self._runs:
            if row < end - start:
                return start + row
            row -= end - start
        raise AssertionError(row)

    def other_than(self, codes: Column, default: int | None) -> Elements:
        """Return the elements whose codes are other than ``default``, or all."""
        if isinstance(codes, list):
            positions = [position for run in self._runs for position in range(*run)]
            if default is None:
                return Elements(positions, codes)
            kept = [(place, code) for place, code in zip(positions, codes, strict=True) if code != default]
            return Elements([place for place, _ in kept], [code for _, code in kept])
        import numpy as np

        runs = [np.arange(start, end, dtype=np.int64) for start, end in self._runs]
        places = np.concatenate([np.zeros(0, np.int64), *runs])
        if default is None:
            return Elements(places, codes)
        other = codes != default
        return Elements(places, codes) if other.all() else Elements(places[other], codes[other])
