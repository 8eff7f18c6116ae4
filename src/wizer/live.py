"""The one view that capture has of a live instance; `wizer.engine.reader` is what stands behind it."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Protocol


class RawCall(Protocol):
    """An accessor, called with raw values."""

    @property
    def buffer(self) -> MutableSequence[int]:
        """Parameters before a call and results after it: two words of 64 bits each, low word first."""

    def __call__(self) -> None:
        """Call it."""


class Live(Protocol):
    """A live, instrumented instance."""

    def accessor(self, name: str, slots: int) -> RawCall:
        """Return the accessor ``name``, which has at most ``slots`` parameters and as many results."""

    def traps(self, name: str) -> bool:
        """Call the accessor ``name`` and return whether it trapped."""

    def memory(self, name: str) -> memoryview:
        """Return a view on the live memory exported as ``name``."""

    def identity(self, address: int) -> tuple[int, int]:
        """Return what funcrefs to the same function have in common."""
