"""The one view that capture has of a live instance; `wizer.engine.reader` is what stands behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, overload


class Words(Protocol):
    """An array of words of 64 bits, which has the buffer protocol."""

    def __setitem__(self, index: int, word: int, /) -> None:
        """Set a word."""

    @overload
    def __getitem__(self, index: int, /) -> int: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[int]: ...


class RawCall(Protocol):
    """An accessor, called with raw values."""

    @property
    def buffer(self) -> Words:
        """Parameters before a call and results after it: two words of 64 bits each, low word first."""

    def __call__(self) -> None:
        """Call it."""


class Live(Protocol):
    """A live, instrumented instance."""

    def accessor(self, name: str, slots: int) -> RawCall:
        """Return the accessor ``name``, which has at most ``slots`` parameters and as many results."""

    def number(self, name: str) -> int:
        """Return the value of the exported global ``name``, an integer."""

    def traps(self, name: str) -> bool:
        """Call the accessor ``name`` and return whether it trapped."""

    def memory(self, name: str) -> tuple[memoryview, Sequence[tuple[int, int]] | None]:
        """Return a view on the live memory exported as ``name``, and where it may be other than zero.

        That is in byte ranges; None where it is not known.
        """

    def identities(self, addresses: Iterable[int]) -> list[tuple[int, int]]:
        """Return, for each funcref, what it has in common with others to the same function."""
