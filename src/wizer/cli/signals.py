"""Ending at once on a limit, Ctrl-C and the like, and leaving nothing behind.

A thread waits for a signal, or a limit that is met, removes what is half written, and ends the process,
whatever the main thread is doing: that may be in a compiler, or a guest in a system call; and an exception in
the middle of an import or a finaliser would be printed, or be lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from wizer.cli.report import Manner, say
from wizer.engine.interrupts import ERRORS
from wizer.engine.limits import Limits
from wizer.engine.meter import Meter
from wizer.engine.wasi import Wasi
from wizer.errors import WizerError
from wizer.output import discard_unfinished
from wizer.progress import PROGRESS

_PATIENCE = 0.25  # seconds that somebody has to read an error

_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_unheard: dict[int, Any] = {}  # what was done about signals before `ignore`
_end = threading.Lock()  # who has it decides how the process ends


class Interrupted(KeyboardInterrupt):
    """A signal other than SIGINT asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def number_of(interrupt: KeyboardInterrupt) -> int:
    """Return the number of the signal that raised ``interrupt``."""
    return interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT


def end_by(number: int) -> int:
    """End this process by the signal ``number``; return the status that says so where that is impossible.

    On Windows a process that is sent a signal ends with its number for a status, which says something else.
    """
    if os.name != "posix":
        return 128 + number
    with contextlib.suppress(OSError, ValueError):  # not the main thread
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return 128 + number


def fail(error: BaseException) -> None:
    """End the process from another thread, unless the output is as good as there."""
    if not _end.acquire(blocking=False):
        return
    discard_unfinished()
    exit_ = threading.Timer(_PATIENCE, os._exit, (5,))  # if nobody reads what is said
    exit_.daemon = True
    exit_.start()
    say(f"Error: {error}")
    os._exit(5)


@contextlib.contextmanager
def watched(limits: Limits, wasi: Wasi | None) -> Iterator[None]:
    """While inside, look after a run, which shows ``wasi`` to its guest.

    A signal that asks for it, or a limit, ends this process soon, whatever it is doing. Where standard error
    is the terminal of somebody who waits, it says what is being done.

    Raises:
        WizerError: there is no pipe or thread to watch with.
    """
    with _ended_at(limits), _displayed(wasi):
        yield


def _displayed(wasi: Wasi | None) -> contextlib.AbstractContextManager[object]:
    if Manner.quiet or sys.stderr is None or not sys.stderr.isatty():
        return contextlib.nullcontext()
    from wizer.cli.display import Display

    return Display(wasi)


@contextlib.contextmanager
def _ended_at(limits: Limits) -> Iterator[None]:
    if os.name != "posix":
        with _interruptible():
            yield
        return
    PROGRESS.reset()
    try:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        threading.Thread(target=_watch, args=(reader, Meter(PROGRESS, limits)), daemon=True).start()
    except (OSError, RuntimeError) as error:
        raise WizerError("the run does not start, for it cannot be watched", [str(error)]) from error
    main = threading.current_thread() is threading.main_thread()
    try:
        with _heard(writer) if main else contextlib.nullcontext():
            yield
    finally:
        os.close(writer)  # ends the thread


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have Ctrl-C raise where it would end the process at once, and leave what is half written."""
    main = threading.current_thread() is threading.main_thread()
    ends = main and signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if ends:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ends:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def _heard(writer: int) -> Iterator[None]:
    """Have the numbers of signals that ask for the end written to ``writer``."""
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handlers = {number: signal.getsignal(number) for number in _ENDING}
    caught = {
        number: handler
        for number, handler in handlers.items()
        if handler in (signal.SIG_DFL, signal.default_int_handler)
    }
    try:
        for number in caught:
            if number != signal.SIGINT:
                ERRORS[number] = Interrupted
            signal.signal(number, _leave_to_thread)
        yield
    finally:
        for number, handler in caught.items():
            if number in _unheard:
                _unheard[number] = handler
            else:
                signal.signal(number, handler)
        signal.set_wakeup_fd(previous)


def _leave_to_thread(_number: int, _frame: object) -> None:
    """Do nothing about a signal: its number has been written to where the thread reads."""


def ignore() -> None:
    """From now on nothing ends this process: the output is as good as there, and the exit status says so."""
    with contextlib.suppress(ValueError):  # not the main thread
        for number in _ENDING:
            _unheard[number] = signal.signal(number, signal.SIG_IGN)
    _end.acquire()


def listen() -> None:
    """Take back `ignore`."""
    for number, handler in _unheard.items():
        signal.signal(number, handler)
    _unheard.clear()
    if _end.locked():
        _end.release()


def _tidy_terminal() -> None:
    """Take the line of progress off the terminal, unless that does not take it."""
    if Manner.erase is not None:
        thread = threading.Thread(target=Manner.erase, daemon=True)
        thread.start()
        thread.join(_PATIENCE)


def _watch(reader: int, meter: Meter) -> None:
    """Wait for the first signal or a limit; the interpreter writes signals' numbers from its own handler."""
    import ctypes

    from wizer.engine.watch import readable

    while not readable(reader, meter.seconds()):
        if (error := meter.met()) is not None:
            fail(error)
            return
    if received := os.read(reader, 1):
        if not _end.acquire(blocking=False):
            return
        discard_unfinished()
        _tidy_terminal()
        number = received[0]
        ctypes.pythonapi.PyOS_setsig(number, None)  # as signal.signal, which insists on the main thread
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os.close(reader)
