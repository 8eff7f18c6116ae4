"""The thread that watches for a watchdog: it waits for signals, and for the end of the time.

It keeps no watchdog alive, and serves one at a time. A run by itself has a thread of its own, a worker one
for its runs, one after another: to start and to end a thread takes as long as to instantiate a small module.

Importing this module does not import the engine.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import threading
import weakref
from typing import Final, Protocol

LEAVE: Final = b"\0"
"""What ends the thread; no signal has this number."""
NEXT: Final = b"\xff"
"""What has it look at another watchdog; neither has one this."""

MANY: Final = 4096
"""Signals that can be read at once; there is no need for more."""


class Watched(Protocol):
    """A `wizer.engine.watchdog.Watchdog`."""

    def wait(self) -> float | None:
        """Return for how many seconds nothing can happen but a signal; None: for ever."""

    def hear(self, end: io.RawIOBase | None) -> bool:
        """Do what is to be done now; return whether the thread is to go on."""
        ...

    def wake(self) -> None:
        """Wake the guest where it waits for another thread."""

    def stop(self, error: BaseException) -> None:
        """Have the running guest stop."""


class _Served:
    """Which watchdog a thread serves; None: none, or one that nobody has any more."""

    def __init__(self) -> None:
        self.reference: weakref.ref[Watched] | None = None

    def watchdog(self) -> Watched | None:
        reference = self.reference
        return None if reference is None else reference()


class Watch:
    """A thread that watches, and the pipe that wakes it.

    Attributes:
        heard: the end that it reads signals from.
        wakes: the end that they are written to.

    Raises:
        OSError, RuntimeError: there is no pipe, or no thread.
    """

    _process = 0  # that has the thread

    def __init__(self) -> None:
        import select  # noqa: F401 - not on the thread: who is forked meanwhile would wait for that import for ever

        self._served = _Served()
        self.heard: io.RawIOBase
        self.wakes: io.RawIOBase
        self.heard, self.wakes = _pipe()
        self._thread = threading.Thread(
            target=_watch, args=(self._served, self.heard), name="wizer-watchdog", daemon=True
        )
        try:
            self._thread.start()
        except BaseException:
            self.abandon()
            raise
        self._process = os.getpid()

    def __del__(self) -> None:
        if self._process == os.getpid() and not self.wakes.closed:
            with contextlib.suppress(OSError):
                self.wakes.write(LEAVE)
                self.wakes.close()

    @property
    def is_free(self) -> bool:
        """Whether the thread is there and serves nobody."""
        watches = self._process == os.getpid() and not self.wakes.closed and self._thread.is_alive()
        return watches and self._served.watchdog() is None

    def serve(self, watchdog: Watched) -> None:
        """Watch for a watchdog from now on."""
        self._served.reference = weakref.ref(watchdog)
        self.wakes.write(NEXT)

    def leave(self) -> None:
        """Watch for nobody."""
        self._served.reference = None

    def end(self) -> None:
        """End the thread."""
        # Not by closing: a process that was forked in the meantime has the end, too.
        self.wakes.write(LEAVE)
        if self._thread is not threading.current_thread():
            self._thread.join()
        self.wakes.close()

    def abandon(self) -> None:
        """Close the pipe where there is no thread: in a process that was forked, it is none of its own."""
        for end in (self.heard, self.wakes):
            with contextlib.suppress(OSError):
                end.close()


def _watch(served: _Served, end: io.RawIOBase) -> None:
    """Wait for signals and for the time limit; the body of the thread."""
    with end:
        going = True
        while going:
            found = served.watchdog()
            try:
                seconds = None if found is None else found.wait()
                del found
                arrived = readable(end.fileno(), seconds)
                if (found := served.watchdog()) is not None:
                    going = found.hear(end if arrived else None)
                    found.wake()
                elif arrived:
                    going = LEAVE not in (end.read(MANY) or b"")
            except BaseException as error:
                if (found := served.watchdog()) is not None:
                    found.stop(error)
                raise


def readable(fd: int, seconds: float | None = None) -> bool:
    """Wait until a file descriptor can be read, or for some time; return whether it can."""
    import select

    if not hasattr(select, "poll"):  # Windows, where it is a socket
        return bool(select.select([fd], [], [], seconds)[0])
    poll = select.poll()  # `select` knows 1,024 file descriptors
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else math.ceil(seconds * 1000)))


def _pipe() -> tuple[io.RawIOBase, io.RawIOBase]:
    """Return the reading and the writing end of a pipe that ``readable`` and ``set_wakeup_fd`` accept."""
    if os.name == "posix":
        ends = os.pipe()
        for end in ends:
            os.set_blocking(end, False)
        return io.FileIO(ends[0], "rb"), io.FileIO(ends[1], "wb")
    import socket  # Windows: the two take sockets only

    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    with reader, writer:  # what was made of them keeps them open
        return reader.makefile("rb", buffering=0), writer.makefile("wb", buffering=0)
