"""What a worker keeps from run to run, and whether it has more than one core for a run.

A run by itself keeps nothing: it would be memory that nobody asked for. A worker of a build does a thousand
runs in a row, most often of one module with a thousand inputs: what is the same between them is made once.
And the other cores have workers of their own, so that another thread is no help, and takes time to start.

Where each run has a module of its own, these may still be alike: a platform's customers have one engine with
other data. That is known of a module only by the second one that is like it, so the first leaves its digest.

What is kept is a thread's: an engine's interruption is for all that runs in it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

_MOST: Final = 64  # things of modules that are kept; there are a handful for each module
_MOST_SEEN: Final = 4096  # digests of what was made once


class Kept:
    """What one thread keeps.

    Attributes:
        modules: whether what is made of a module is kept, too: other runs are of the same one.
        alone: whether a run has the other cores to itself.
    """

    def __init__(self) -> None:
        self.modules = True
        self.alone = True
        self._things: OrderedDict[Hashable, tuple[object, Any]] = OrderedDict()
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._of_parent: list[object] = []
        self._process = os.getpid()

    def _forked(self) -> None:
        """Begin anew in a process that was forked: the threads of engines are not here, and cannot end."""
        self._of_parent.append(self._things)
        self._things, self._seen, self._process = OrderedDict(), OrderedDict(), os.getpid()

    def get(self, what: Hashable, make: Callable[[], _T], of: object) -> _T:
        """Return what was made under this name, of this very object; make it where nothing was."""
        if self._process != os.getpid():
            self._forked()
        key = what, id(of)  # as long as it is kept, so is the object, and no other has its identity
        if key not in self._things:
            self._things[key] = of, make()
            while len(self._things) > _MOST:
                self._things.popitem(last=False)
        self._things.move_to_end(key)
        found: _T = self._things[key][1]
        return found

    def find(self, what: Hashable) -> object:
        """Return what was made under this name; None: nothing."""
        _, found = self._things.get((what, id(None)), (None, None))
        return found

    def get_like(self, what: Hashable, make: Callable[[], _T], chunks: Sequence[bytes | memoryview]) -> _T:
        """Return what was made under this name, of bytes like these; it is kept from the second time on."""
        from hashlib import blake2b

        if self._process != os.getpid():
            self._forked()
        digest = blake2b(digest_size=32)
        for chunk in chunks:
            digest.update(chunk)
        key = what, digest.digest()
        if (key, id(None)) in self._things or key in self._seen:
            return self.get(key, make, None)
        self._seen[key] = None
        while len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        return make()


_KEPT: ContextVar[Kept | None] = ContextVar("wizer_kept", default=None)


def kept(what: Hashable, make: Callable[[], _T]) -> _T:
    """Return what a worker has made before under this name, or else what ``make`` returns."""
    keeper = _KEPT.get()
    return make() if keeper is None else keeper.get(what, make, None)


def kept_already(what: Hashable) -> object:
    """Return what a worker has made before under this name; None: nothing, or nobody keeps it."""
    keeper = _KEPT.get()
    return None if keeper is None else keeper.find(what)


def kept_of(wasm: bytes, what: Hashable, make: Callable[[], _T]) -> _T:
    """Return what a worker has made before of a module, or else what ``make`` returns."""
    keeper = _KEPT.get()
    return make() if keeper is None or not keeper.modules else keeper.get(what, make, wasm)


def kept_like(chunks: Sequence[bytes | memoryview], what: Hashable, make: Callable[[], _T]) -> _T:
    """Return what a worker has made before of a module with these contents, or else what ``make`` returns.

    Args:
        chunks: the module, in pieces; where runs are of one module, the very same list each time.
        what: a name.
        make: makes it.
    """
    keeper = _KEPT.get()
    if keeper is None:
        return make()
    return keeper.get(what, make, chunks) if keeper.modules else keeper.get_like(what, make, chunks)


def expects_alike() -> bool:
    """Whether this is one of many runs, and each may have a module of its own."""
    keeper = _KEPT.get()
    return keeper is not None and not keeper.modules


def expects_more() -> bool:
    """Whether this is one of many runs of the same module."""
    keeper = _KEPT.get()
    return keeper is not None and keeper.modules


def alone() -> bool:
    """Whether a run has the other cores to itself: whether it pays to do two things at once."""
    keeper = _KEPT.get()
    return keeper is None or keeper.alone


def begin(work: Callable[[], _T]) -> Callable[[], _T]:
    """Begin something on a thread; return what waits for its end and returns or raises what it did.

    Where the other cores have other runs, it is done at once.
    """
    results: list[_T] = []
    failures: list[BaseException] = []

    def done() -> None:
        try:
            results.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=done) if alone() else None
    if thread is not None:
        thread.start()
    else:
        done()

    def wait() -> _T:
        if thread is not None:
            thread.join()
        if failures:
            raise failures[0]
        if not results:  # this process was forked meanwhile, and the thread is not here
            results.append(work())
        return results[0]

    return wait


@contextlib.contextmanager
def keeping(keeper: Kept, *, modules: bool, alone: bool) -> Iterator[None]:
    """Keep what runs in here make; ``modules``: also what they make of modules; ``alone``: see `Kept`."""
    keeper.modules, keeper.alone = modules, alone
    before = _KEPT.set(keeper)
    try:
        yield
    finally:
        _KEPT.reset(before)
