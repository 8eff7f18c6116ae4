"""What a guest writes, given to a Python function.

The engine calls a function for a guest's output on threads of its own, which the interpreter kills at its end
in a way that aborts the process. So the guest writes into a pipe or a file instead, and Python reads it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from wizer.engine.watch import readable

Sink = Callable[[bytes], object]
_CHUNK = 1 << 16
_LOOK = 0.02  # seconds between two looks at a file


class Outlet:
    """A file for the guest to write to, and a thread that gives what is written there to ``sink``.

    Args:
        sink: called on that thread or on one that calls ``drain``, never on two at once. What it raises ends
            the run: the rest of what the run writes is dropped, and what the next one writes is given again.
        on_error: given what ``sink`` raised on the thread, so that it stops the guest; None: the next
            ``drain`` raises that.

    Attributes:
        path: the file.
    """

    def __init__(self, sink: Sink, on_error: Callable[[BaseException], None] | None) -> None:
        import tempfile

        self._sink = sink
        self._error: BaseException | None = None  # what ``sink`` has raised in this run
        self._told = False  # whether ``on_error`` has that
        self._on_error = on_error
        self._lock = threading.Lock()
        self._giving: int | None = None  # the thread that is in ``sink``
        self._folder = tempfile.TemporaryDirectory(prefix="wizer-", ignore_cleanup_errors=True)
        self.path: Path = Path(self._folder.name, "output")
        self._end = self._made()
        self._open = True
        self._thread = threading.Thread(target=self._read, name="wizer-output", daemon=True)

    def _made(self) -> int:
        """Make the file, and return a descriptor to read it with."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to read; to be called when the writer has opened the file."""
        raise NotImplementedError

    def close(self) -> None:
        """Drain it for the last time; if the writer is gone, the thread ends before this returns."""
        raise NotImplementedError

    def _wait(self) -> None:
        """Wait until something may have been written."""
        raise NotImplementedError

    def _written(self) -> bytes | None:
        """Return some of what was written and is not read yet: nothing for now, or None at the end."""
        raise NotImplementedError

    def drain(self) -> None:
        """Give ``sink`` all that was written so far; raise what it raises, unless ``on_error`` has that."""
        with self._lock:
            self._give()
            error, told = self._error, self._told
            self._error, self._told = None, False
        if error is not None and not told:
            raise error

    def _give(self) -> None:
        """Give ``sink`` everything that was written so far, until it raises; who calls has the lock."""
        try:
            self._giving = threading.get_ident()
            while self._open:
                data = self._written()
                if data is None:
                    self._open = False
                elif not data:
                    return
                elif self._error is None:
                    try:
                        self._sink(data)
                    except BaseException as error:
                        self._error = error
        finally:
            self._giving = None

    def giving(self) -> bool:
        """Whether the calling thread is in ``sink``."""
        return self._giving == threading.get_ident()

    def _read(self) -> None:
        """Read until the end; the thread's body."""
        while self._open:
            self._wait()
            with self._lock:  # who drains it next finds the guest stopped
                self._give()
                if self._error is not None and self._on_error is not None and not self._told:
                    self._told = True
                    self._on_error(self._error)
        os.close(self._end)


class Pipe(Outlet):
    """An outlet that is a named pipe."""

    def _made(self) -> int:
        os.mkfifo(self.path, 0o600)
        return os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def start(self) -> None:
        """Begin to read; where nobody has opened the pipe, this is the end of it."""
        self._folder.cleanup()
        self._thread.start()

    def close(self) -> None:
        """Drain it; if the writer is gone, the thread ends before this returns."""
        self.drain()
        if not self._open:
            self._thread.join()

    def _wait(self) -> None:
        readable(self._end)

    def _written(self) -> bytes | None:
        try:
            return os.read(self._end, _CHUNK) or None
        except BlockingIOError:
            return b""


class Spool(Outlet):
    """An outlet where there are no named pipes: a file that grows, which is looked at now and then."""

    def _made(self) -> int:
        self._ended = threading.Event()
        self.path.touch(0o600)
        return os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Drain it, and end the thread."""
        self.drain()
        self._ended.set()
        self._thread.join()
        self._folder.cleanup()

    def _wait(self) -> None:
        self._ended.wait(_LOOK)

    def _written(self) -> bytes | None:
        ended = self._ended.is_set()
        return os.read(self._end, _CHUNK) or (None if ended else b"")


def outlet(sink: Sink, on_error: Callable[[BaseException], None] | None) -> Outlet:
    """Return an outlet as this system can have it."""
    return (Pipe if hasattr(os, "mkfifo") else Spool)(sink, on_error)


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
