"""What a guest writes, given to a Python function.

The engine calls a function for a guest's output on threads of its own, which the interpreter kills at its end
in a way that aborts the process. So the guest writes into a pipe instead, and Python reads it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from wizer.engine.watchdog import readable

Sink = Callable[[bytes], object]
_CHUNK = 1 << 16


class Outlet:
    """A named pipe, and a thread that gives what is written into it to ``sink``.

    Args:
        sink: called on that thread or on one that calls ``drain``, never on two at once.
        on_error: given what ``sink`` raised on the thread; nothing is given to ``sink`` afterwards.
    """

    def __init__(self, sink: Sink, on_error: Callable[[BaseException], None] | None) -> None:
        import tempfile

        self._sink: Sink | None = sink
        self._on_error = on_error
        self._lock = threading.Lock()
        self._giving: int | None = None  # the thread that is in ``sink``
        self._folder = tempfile.TemporaryDirectory(prefix="wizer-")
        self.path: Path = Path(self._folder.name, "pipe")
        os.mkfifo(self.path, 0o600)
        self._end = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self._open = True
        self._thread = threading.Thread(target=self._read, name="wizer-output", daemon=True)

    def start(self) -> None:
        """Begin to read; the writer has opened the pipe, or there is none: then this is the end of it."""
        self._folder.cleanup()
        self._thread.start()

    def drain(self) -> None:
        """Give ``sink`` everything that was written so far; what it raises comes through."""
        with self._lock:
            try:
                self._giving = threading.get_ident()
                while self._open:
                    try:
                        data = os.read(self._end, _CHUNK)
                    except BlockingIOError:
                        return
                    if not data:
                        self._open = False
                    elif self._sink is not None:
                        self._sink(data)
            finally:
                self._giving = None

    def giving(self) -> bool:
        """Whether the calling thread is in ``sink``."""
        return self._giving == threading.get_ident()

    def close(self) -> None:
        """Drain it; if the writer is gone, the thread ends before this returns."""
        self.drain()
        if not self._open:
            self._thread.join()

    def _read(self) -> None:
        """Read until the writer is gone; the thread's body."""
        while self._open:
            readable(self._end)
            try:
                self.drain()
            except BaseException as error:
                self._sink = None
                if self._on_error is not None:
                    self._on_error(error)
        os.close(self._end)


class Streams:
    """The outlets of one store's guests."""

    def __init__(self, outlets: tuple[Outlet, ...] = ()) -> None:
        self._outlets = outlets

    def drain(self) -> None:
        """Have everything that the guests wrote so far arrive; what a function raises comes through."""
        for outlet in self._outlets:
            outlet.drain()

    def giving(self) -> bool:
        """Whether the calling thread is in a function for output."""
        return any(outlet.giving() for outlet in self._outlets)

    def close(self) -> None:
        """Drain the outlets for the last time; to be called once the store is closed."""
        for outlet in self._outlets:
            outlet.close()
