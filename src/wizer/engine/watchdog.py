"""Bounding a run: time, fuel, memory, and Ctrl-C while guest code is running.

Guest code is one long call into C for the interpreter: Python's signal handlers wait for its end. So code is
compiled with a check for the engine's *epoch*, and a thread that waits for the time limit and for Ctrl-C
(``signal.set_wakeup_fd``) ends the epoch, upon which the guest traps at its next loop or call.

The check is in guest code only. A guest that waits inside a host function (a WASI sleep, a read from a
terminal, an atomic wait) is not reached; ``Watchdog(hard_exit=...)`` is for programs that must end even then.

Importing this module does not import the engine.
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

from wizer.engine.limits import Limits
from wizer.engine.messages import causes, limit_met
from wizer.errors import LimitError

if TYPE_CHECKING:
    from types import TracebackType

    import wasmtime

GRACE = 0.5
"""Seconds that a stopped guest has to end by itself before ``hard_exit`` is called."""

_ALL_FUEL = (1 << 64) - 1  # the most that the engine counts

_SHORTEST_WAIT = 0.01  # seconds; an idle session at the end of its time does not keep the thread busy


class Watchdog:
    """Applies ``limits`` to everything that runs in ``store``; a context manager around the store's use.

    Guest code may run inside ``with watchdog.guard(): ...`` only. A watchdog belongs to one thread at a time,
    like its store. It hears Ctrl-C if that is the main thread.

    Args:
        store: whose engine was compiled with epochs and, if fuel is limited, with fuel.
        limits: the bounds.
        hard_exit: called, on another thread, with the error that should have stopped a guest and did not
            within ``GRACE``, because it waits inside a host function. It is expected to end the process.
    """

    def __init__(
        self,
        store: wasmtime.Store,
        limits: Limits,
        *,
        hard_exit: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._store = store
        self._engine = store.engine
        self._limits = limits
        self._hard_exit = hard_exit
        self._lock = threading.Lock()
        self._depth = 0  # of nested guards
        self._run = 0  # counts outermost guards
        self._started = 0.0  # of the outermost guard, on the monotonic clock
        self._used = 0.0  # seconds in the guards before it
        self._stop: BaseException | None = None  # why the guest is being stopped
        self._previous_fd: int | None = None  # the wakeup fd that ours replaced
        self._thread: threading.Thread | None = None
        self._wake: io.RawIOBase | None = None  # writing to it wakes the thread
        if limits.fuel is not None:
            store.set_fuel(limits.fuel)
        self.bound(limits)
        store.set_epoch_deadline(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def bound(self, limits: Limits) -> None:
        """Have the engine bound each memory and table, and how many there are, by ``limits``."""
        bounds = (limits.max_memory, limits.max_table_elements, limits.max_instances, limits.max_tables)
        self._store.set_limits(*(-1 if bound is None else bound for bound in (*bounds, limits.max_memories)))

    def close(self) -> None:
        """End the thread. Afterwards the store has no bound on time; the others stay."""
        wake, self._wake = self._wake, None
        thread, self._thread = self._thread, None
        if wake is not None and thread is not None:
            wake.close()  # the thread reads the end and leaves
            thread.join()

    def stop(self, error: BaseException) -> None:
        """Have the running guest trap at its next check, and ``guard`` raise ``error``.

        For host callbacks that have no way to raise through the engine; callable from any thread.
        """
        with self._lock:
            self._interrupt(error)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Bound the guest code that runs inside; nests.

        Raises:
            LimitError: a bound was met; what the engine raised is its cause.
            KeyboardInterrupt: Ctrl-C.
        """
        import wasmtime

        self._enter()
        try:
            yield
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            if isinstance(self._stop, LimitError):
                raise LimitError(self._stop.message, causes(error)) from None
            if self._stop is not None:
                raise self._stop from None
            if (met := limit_met(error, self._limits)) is not None:
                raise met from None
            raise
        else:
            if self._stop is not None:  # it came while the guest was in a host function, and the guest ended
                raise self._stop
        finally:
            self._leave()

    def own_code(self) -> contextlib.AbstractContextManager[None]:
        """Let code run that is Wizer's, and not the guest's: it takes none of the guest's fuel."""
        return own_code(self._store)

    def _enter(self) -> None:
        """Start the clock, begin an epoch, and listen for Ctrl-C."""
        with self._lock:
            self._depth += 1
            if self._depth > 1:
                return
            self._run += 1
            self._stop = None
            self._started = time.monotonic()
            self._store.set_epoch_deadline(1)
            if self._limits.timeout is not None and self._used >= self._limits.timeout:
                self._interrupt(self._timed_out())
        main = threading.current_thread() is threading.main_thread()
        if self._thread is None and (main or self._limits.timeout is not None):
            self._start()
        if main and self._wake is not None:
            self._listen(self._wake)

    def _leave(self) -> None:
        """Stop the clock, and hand signals back to whoever listened before."""
        with self._lock:
            self._depth -= 1
            if self._depth:
                return
            self._used += time.monotonic() - self._started
            self._store.set_epoch_deadline(1)
        if self._previous_fd is not None:
            import signal

            signal.set_wakeup_fd(self._previous_fd, warn_on_full_buffer=False)
            self._previous_fd = None

    def _start(self) -> None:
        """Start the thread."""
        end, self._wake = _pipe()
        self._thread = threading.Thread(target=self._watch, args=(end,), name="wizer-watchdog", daemon=True)
        self._thread.start()

    def _listen(self, wake: io.RawIOBase) -> None:
        """Have the interpreter write the numbers of arriving signals to ``wake``."""
        import signal

        with contextlib.suppress(ValueError):  # a subinterpreter: signals are not its business
            self._previous_fd = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)

    def _watch(self, end: io.RawIOBase) -> None:
        """Wait for signals and for the time limit; the thread's body."""
        import select
        import signal

        stopped = 0  # the run that was stopped last
        while True:
            readable, _, _ = select.select([end], [], [], self._wait(stopped))
            signals = (end.read(4096) or b"") if readable else b""
            if readable and not signals:
                end.close()
                return
            with self._lock:
                self._forward(signals)
                if self._depth == 0:
                    continue
                if self._run == stopped:
                    if self._hard_exit is not None and self._stop is not None and not signals:
                        self._hard_exit(self._stop)
                elif signal.SIGINT in signals:
                    self._interrupt(KeyboardInterrupt())
                elif (left := self._time_left()) is not None and left <= 0:
                    self._interrupt(self._timed_out())
                if self._stop is not None:
                    stopped = self._run

    def _wait(self, stopped: int) -> float | None:
        """Return for how many seconds nothing can happen but a signal; None: for ever.

        The time left only shrinks inside guards, so it can be slept through without hearing of them.
        """
        with self._lock:
            if self._run == stopped and self._depth:
                return GRACE if self._hard_exit is not None else None
            left = self._time_left()
        return None if left is None else max(left, _SHORTEST_WAIT)

    def _time_left(self) -> float | None:
        """Return the seconds of guest time left, or None if they are not limited."""
        if self._limits.timeout is None:
            return None
        running = time.monotonic() - self._started if self._depth else 0.0
        return self._limits.timeout - self._used - running

    def _forward(self, signals: bytes) -> None:
        """Pass signal numbers on to whoever listened before (asyncio, say)."""
        if signals and self._previous_fd not in (None, -1):
            with contextlib.suppress(OSError):
                os.write(self._previous_fd or 0, signals)

    def _interrupt(self, error: BaseException) -> None:
        """End the epoch; the lock is held."""
        if self._stop is None:
            self._stop = error
        self._engine.increment_epoch()

    def _timed_out(self) -> LimitError:
        """Return the error for a run out of time."""
        return LimitError(
            f"initialisation took longer than its limit of {self._limits.timeout:g} s",
            ["wasm trap: interrupt"],
        )


def _pipe() -> tuple[io.RawIOBase, io.RawIOBase]:
    """Return the reading and the writing end of a pipe that ``select`` and ``set_wakeup_fd`` accept."""
    if os.name == "posix":
        ends = os.pipe()
        os.set_blocking(ends[1], False)
        return io.FileIO(ends[0], "rb"), io.FileIO(ends[1], "wb")
    import socket  # Windows: the two take sockets only

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer:  # what was made of them keeps them open
        return reader.makefile("rb", buffering=0), writer.makefile("wb", buffering=0)


@contextlib.contextmanager
def own_code(store: wasmtime.Store) -> Iterator[None]:
    """Let code run that is Wizer's, and not the guest's, in a store: it takes none of the store's fuel.

    Raises:
        LimitError: the store's epoch deadline has passed. The engine tells nobody which one it was, so that
            another could not be taken back.
    """
    import wasmtime

    try:
        left = store.get_fuel()
        store.set_fuel(_ALL_FUEL)
    except wasmtime.WasmtimeError:  # the store's code counts none
        left = None
    try:
        yield
    except wasmtime.Trap as trap:
        if trap.trap_code is not wasmtime.TrapCode.INTERRUPT:
            raise
        raise LimitError(
            "the store's epoch deadline has passed, and reading its instance runs code; set another deadline "
            "before the snapshot",
            causes(trap),
        ) from None
    finally:
        if left is not None:
            store.set_fuel(left)
