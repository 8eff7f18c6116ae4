"""Ending at once on Ctrl-C and the like, and leaving nothing behind.

A signal becomes an exception in Python code, and ends guest code (`wizer.engine.interrupts`), so files are
cleaned up on the way out. A compiler or a guest that waits in a system call does not look: for
these, a thread ends the process when the exception has had its chance.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

from wizer.engine.interrupts import ERRORS, handle

GRACE = 0.25
"""Seconds between the signal and the end of the process."""


_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_unheard: dict[int, Any] = {}  # what was done about signals before `ignore`


class Interrupted(KeyboardInterrupt):
    """A signal other than SIGINT asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def number_of(interrupt: KeyboardInterrupt) -> int:
    """Return the number of the signal that raised ``interrupt``."""
    return interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT


def end_by(number: int) -> int:
    """End this process by the signal ``number``; return the status that says so where that is impossible."""
    with contextlib.suppress(OSError, ValueError):  # not the main thread
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return 128 + number


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """While inside, end this process soon after a signal that asks for it, whatever it is doing."""
    import threading

    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    caught = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) is signal.SIG_DFL]
    for number in caught:
        ERRORS[number] = Interrupted
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in caught:
            if number not in _unheard:
                signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(previous)
        os.close(writer)  # ends the thread


def ignore() -> None:
    """From now on no signal ends this process: the output is as good as there, and the exit status says so.

    Raises:
        KeyboardInterrupt: a signal came before.
    """
    with contextlib.suppress(ValueError):  # not the main thread
        for number in _ENDING:
            _unheard[number] = signal.signal(number, signal.SIG_IGN)


def listen() -> None:
    """Take back `ignore`."""
    for number, handler in _unheard.items():
        signal.signal(number, signal.SIG_DFL if handler is handle else handler)
    _unheard.clear()


def _watch(reader: int) -> None:
    """Wait for the first signal; the interpreter writes its number to the pipe from the handler itself."""
    import ctypes
    import time

    if received := os.read(reader, 1):
        time.sleep(GRACE)
        number = received[0]
        ctypes.pythonapi.PyOS_setsig(number, None)  # as signal.signal, which insists on the main thread
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os.close(reader)
