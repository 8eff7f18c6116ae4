"""What a worker keeps from run to run, and whether it has more than one core for a run.

A run by itself keeps nothing: it would be memory that nobody asked for. A worker of a build does a thousand
runs in a row, most often of one module with a thousand inputs: what is the same between them is made once.
And the other cores have workers of their own, so that another thread is no help, and takes time to start.

What is kept is a thread's: an engine's interruption is for all that runs in it.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

_MOST: Final = 64  # things of modules that are kept; there are a handful for each module


class Kept:
    """What one thread keeps.

    Attributes:
        modules: whether what is made of a module is kept, too: other runs are of the same one.
        alone: whether a run has the other cores to itself.
    """

    def __init__(self) -> None:
        self.modules = True
        self.alone = True
        self._things: OrderedDict[Hashable, tuple[bytes | None, Any]] = OrderedDict()

    def get(self, what: Hashable, make: Callable[[], _T], of: bytes | None) -> _T:
        """Return what was made under this name, of these very bytes; make it where nothing was."""
        key = what, id(of)  # as long as it is kept, so are the bytes, and no others have their identity
        if key not in self._things:
            self._things[key] = of, make()
            while len(self._things) > _MOST:
                self._things.popitem(last=False)
        self._things.move_to_end(key)
        found: _T = self._things[key][1]
        return found


_KEPT: ContextVar[Kept | None] = ContextVar("wizer_kept", default=None)


def kept(what: Hashable, make: Callable[[], _T]) -> _T:
    """Return what a worker has made before under this name, or else what ``make`` returns."""
    keeper = _KEPT.get()
    return make() if keeper is None else keeper.get(what, make, None)


def kept_of(wasm: bytes, what: Hashable, make: Callable[[], _T]) -> _T:
    """Return what a worker has made before of a module, or else what ``make`` returns."""
    keeper = _KEPT.get()
    return make() if keeper is None or not keeper.modules else keeper.get(what, make, wasm)


def alone() -> bool:
    """Whether a run has the other cores to itself: whether it pays to do two things at once."""
    keeper = _KEPT.get()
    return keeper is None or keeper.alone


@contextlib.contextmanager
def keeping(keeper: Kept, *, modules: bool, alone: bool) -> Iterator[None]:
    """Keep what runs in here make; ``modules``: also what they make of modules; ``alone``: see `Kept`."""
    keeper.modules, keeper.alone = modules, alone
    before = _KEPT.set(keeper)
    try:
        yield
    finally:
        _KEPT.reset(before)
