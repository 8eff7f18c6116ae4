"""Which functions raw references are to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wizer.core.accessors import function_words
from wizer.core.columns import FUNC, GLOBAL, Column
from wizer.core.instrument import Accessors

if TYPE_CHECKING:
    from wizer.core.live import Live

UNKNOWN = -1

# Up to this many bytes apart, addresses are looked up in an array.
_NEAR = 1 << 27


class Functions:
    """Tells which function a raw reference is to, by codes of `wizer.core.columns`."""

    def __init__(self, accessors: Accessors, live: Live) -> None:
        self._live = live
        self._codes = {0: 0}
        for funcidx, address in function_words(accessors, live):
            self._codes[address] = funcidx << 2 | FUNC
        self._by_identity: dict[tuple[int, int], int] | None = None

    def name(self, address: int, globalidx: int) -> None:
        """Let a function of others be known as the value of a global."""
        self._codes[address] = globalidx << 2 | GLOBAL
        self._by_identity = None

    def code(self, address: int) -> int:
        """Return the code of a reference; `UNKNOWN` for a function of others."""
        found = self._codes.get(address)
        if found is None:
            if self._by_identity is None:
                known = {address: code for address, code in self._codes.items() if address}
                self._by_identity = dict(zip(self._live.identities(known), known.values(), strict=True))
            (identity,) = self._live.identities((address,))
            found = self._by_identity.get(identity, UNKNOWN)
            self._codes[address] = found
        return found

    def codes(self, addresses: Column) -> Column:
        """Return the codes of references, in a list or an array as they are given."""
        return [*map(self.code, addresses)] if isinstance(addresses, list) else self._many(addresses)

    def _many(self, addresses: Column) -> Column:
        import numpy as np

        if not len(addresses):
            return np.zeros(0, np.int64)
        base = int(addresses.min(initial=1 << 63, where=addresses != 0))
        size = (int(addresses.max()) - base >> 3) + 1
        if size > _NEAR >> 3:
            distinct, places = np.unique(addresses, return_inverse=True)
            return np.array([self.code(address) for address in distinct.tolist()], np.int64)[places]
        # Addresses are multiples of 8, and those of one instance's functions are near each other.
        known = np.full(max(size, 1), UNKNOWN, np.int64)
        for address, code in self._codes.items():
            if 0 <= address - base >> 3 < size:
                known[address - base >> 3] = code
        near = (addresses - np.uint64(base)) >> np.uint64(3)
        codes = np.where(addresses == 0, 0, known[np.where(addresses == 0, 0, near).astype(np.int64)])
        for address in np.unique(addresses[codes == UNKNOWN]).tolist():
            codes[addresses == address] = self.code(address)
        return codes


def first_unknown(codes: Column) -> int | None:
    """Return the place of the first function of others, None where there is none."""
    if isinstance(codes, list):
        return codes.index(UNKNOWN) if UNKNOWN in codes else None
    places = (codes == UNKNOWN).nonzero()[0]
    return int(places[0]) if len(places) else None
