"""Signals that end a run: what a Python handler does depends on whose code runs on the thread.

A Python signal handler runs between any two steps of the main thread's Python code, and raises there. In a
function that the engine calls that can be before its first step. So while the guest has the thread, `handle`
only says that the guest has to stop; once the guest has ended, its watchdog raises. In a host function, and
where there is no guest at all, `handle` raises at once.

Importing this module does not import the engine.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

ERRORS: dict[int, Callable[[int], BaseException]] = {signal.SIGINT: lambda _: KeyboardInterrupt()}
"""The signals that end a run, and what is raised for each."""

CALLBACK = "called_by_the_engine"
"""The name of the Python functions that the engine calls; see `wizer.engine.callbacks`."""


class Guard(Protocol):
    """What guards a guest: a `wizer.engine.watchdog.Watchdog`."""

    def stop(self, error: BaseException) -> None:
        """Have the guest stop, and raise ``error`` then."""


class _Here(threading.local):
    """What the present thread is doing.

    Attributes:
        watchdog: guards the innermost guest on the thread; None where there is no guest.
        waits: the guest has the thread, and what ends the run has to wait until it has ended.
        raised: what host functions have raised, for their guest's end.
    """

    def __init__(self) -> None:
        self.watchdog: Guard | None = None
        self.waits = False
        self.raised: list[BaseException] = []


HERE = _Here()


def handle(number: int, _frame: object) -> None:
    """Handle a signal of `ERRORS`: stop the guest that has the thread; raise where none has."""
    error = ERRORS[number](number)
    if not HERE.waits or HERE.watchdog is None:
        raise error
    HERE.watchdog.stop(error)


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Let signals raise in here, as in a host function: it is Python code of the caller's that runs."""
    waits, HERE.waits = HERE.waits, False
    try:
        yield
    finally:
        HERE.waits = waits


class Handlers:
    """What listens to signals and to lost exceptions while guests run, in place of what did before."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._guests = 0
        self._hook: Callable[[Any], Any] = sys.unraisablehook

    def enter(self) -> None:
        """Begin to listen, for one more watchdog's guest."""
        with self._lock:
            if sys.unraisablehook != self._unraisable:
                self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
            self._guests += 1

    def leave(self) -> None:
        """Listen no more for that guest; where it was the last, put back what was there."""
        with self._lock:
            self._guests = max(self._guests - 1, 0)
            if not self._guests and sys.unraisablehook == self._unraisable:
                sys.unraisablehook = self._hook

    def forked(self) -> None:
        """Go on in a process that was forked: whoever had the lock is none of its threads."""
        self._lock = threading.RLock()

    def _unraisable(self, lost: Any) -> None:
        """Take what was raised in a callback where the callback could not catch it; it ends the guest."""
        where = getattr(lost.object, "__name__", lost.err_msg or "")
        if HERE.watchdog is not None and CALLBACK in where:
            HERE.watchdog.stop(lost.exc_value or lost.exc_type())  # another thread sets a class only
        else:
            self._hook(lost)


HANDLERS = Handlers()
