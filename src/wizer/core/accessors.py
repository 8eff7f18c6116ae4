"""Reading the functions and tables of a live instance through the accessors that `instrument` appended.

References are raw values here, words of 64 bits as the engine has them; 0 is null.
"""

from __future__ import annotations

from collections.abc import Iterator

from wizer.binary.module import Module
from wizer.core.instrument import BATCH, Accessors
from wizer.core.live import Live


def function_words(accessors: Accessors, live: Live) -> Iterator[tuple[int, int]]:
    """Yield every function that the instance can refer to, with a reference to it."""
    for number, batch in enumerate(accessors.functions):
        call = live.accessor(f"{accessors.prefix}functions{number}", len(batch))
        call()
        yield from zip(batch, call.buffer[: 2 * len(batch) : 2], strict=True)


class LiveTable:
    """One table of a live instance, read many elements at a time.

    Attributes:
        size: its size in elements.
    """

    def __init__(self, module: Module, accessors: Accessors, live: Live, tableidx: int) -> None:
        self._live = live
        self._name = f"{accessors.prefix}table{tableidx}"
        self._mask = module.tables[tableidx].type.limits.address_mask
        size = live.accessor(f"{self._name}.size", 1)
        size()
        self.size: int = size.buffer[0] & self._mask

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

    def all_words(self) -> Iterator[int]:
        """Yield all elements."""
        for start in range(0, self.size, BATCH):
            yield from self.words(start)
