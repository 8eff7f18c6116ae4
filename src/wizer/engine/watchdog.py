"""Bounding a run: time, fuel, memory, and Ctrl-C while guest code is running.

Guest code is one long call into C for the interpreter: Python's signal handlers wait for its end. So code is
compiled with a check for the engine's *epoch*, and a thread that waits for the time limit and for Ctrl-C
(``signal.set_wakeup_fd``) ends the epoch, upon which the guest traps at its next loop or call.

The check is in guest code only. A guest that waits inside a host function (a WASI sleep, a read from a
terminal) is not reached; ``Watchdog(hard_exit=...)`` is for programs that must end even then. One that waits
for another thread is woken (`wizer.engine.waking`). Neither is what is no guest reached: `wizer.engine.meter`
is for that.

Importing this module does not import the engine.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Self, TypeVar

from wizer.checks import shown
from wizer.engine.interrupts import ERRORS, HANDLERS, HERE, handle
from wizer.engine.limits import Limits
from wizer.engine.stack import WAITING
from wizer.engine.watch import LEAVE, MANY, NEXT, Watch
from wizer.errors import LimitError, OptionError
from wizer.kept import kept, kept_already

if TYPE_CHECKING:
    from types import TracebackType

    import wasmtime

T = TypeVar("T")

GRACE = 0.5
"""Seconds that a stopped guest has to end by itself before ``hard_exit`` is called."""

_ALL_FUEL = (1 << 64) - 1  # the most that the engine counts

_LEVELS: Final = 20  # calls from C to Python that a host function needs, with much to spare

_LONGEST_WAIT = 3600.0  # seconds; systems have bounds of their own
_BETWEEN_WAKINGS = 0.1  # seconds
_SHORTEST_WAIT = 0.01  # seconds; an idle session at the end of its time does not keep the thread busy


class Watchdog:
    """Applies ``limits`` to everything that runs in ``store``; a context manager around the store's use.

    Guest code may run inside `run` only. A watchdog belongs to one thread at a time,
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
        self._lock = threading.RLock()  # a signal handler may come upon it while the thread has it
        self._depth = 0  # of nested runs
        self._run = 0  # counts outermost runs
        self._started = 0.0  # of the outermost run, on the monotonic clock
        self._used = 0.0  # seconds in the runs before it
        self._stop: BaseException | None = None  # why the guest is being stopped
        self._stopped = 0  # the run that was stopped last
        self._stopped_at = 0.0  # when that was, on the monotonic clock
        self._previous_fd: int | None = None  # the wakeup fd that ours replaced
        self._hooked = False  # `HANDLERS` knows of the guest
        self._handles = False  # our handler of SIGINT has replaced the default one
        self._watch: Watch | None = None
        self._wakes: Callable[[Callable[[], bool]], None] | None = None
        if limits.fuel is not None:
            store.set_fuel(limits.fuel)
        self.bound(limits)
        store.set_epoch_deadline(1)
        _ALL.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether guest code runs, or a host function that it called."""
        return self._depth > 0

    @property
    def nested(self) -> bool:
        """Whether a host function that the guest called has called the guest."""
        return self._depth > 1

    @property
    def seconds(self) -> float:
        """How long guest code has run, and host functions that it called, up to the end of the last run."""
        return self._used

    @property
    def stopping(self) -> BaseException | None:
        """What the guest is being stopped with."""
        return self._stop

    def bound(self, limits: Limits) -> None:
        """Have the engine bound each memory and table, and how many there are, by ``limits``."""
        bounds = (limits.max_memory, limits.max_table_elements, limits.max_instances, limits.max_tables)
        self._store.set_limits(*(-1 if bound is None else bound for bound in (*bounds, limits.max_memories)))

    def wake_with(self, wakes: Callable[[Callable[[], bool]], None]) -> None:
        """Have ``wakes`` called, on the thread, where the guest does not stop: it may wait for another one.

        It is given what says whether the guest has stopped.
        """
        self._wakes = wakes

    def close(self) -> None:
        """End the thread. Afterwards the store has no bound on time; the others stay."""
        watch, self._watch = self._watch, None
        if watch is None:
            return
        if watch is kept_already(_WATCH):
            watch.leave()
        else:
            watch.end()

    def stop(self, error: BaseException) -> None:
        """Have the running guest trap at its next check, and ``run`` raise ``error``.

        For host callbacks that have no way to raise through the engine; callable from any thread.
        """
        with self._lock:
            self._interrupt(error)

    def run(self, work: Callable[[], T]) -> T:
        """Bound the guest code that runs in ``work``, and return what that returns; nests.

        This is one function, and no context manager: what an exception from a signal handler interrupts on
        the way into a ``with`` statement, or out of it, is not taken back.

        Raises:
            LimitError: a bound was met; what the engine raised is its cause.
            KeyboardInterrupt: Ctrl-C.
            WizerError: there is no thread, or no pipe, to watch with.
            RecursionError: Python has too little stack left for host functions.
        """
        _check_depth()
        depth, before = self._depth, (HERE.watchdog, HERE.waits)
        failure: BaseException | None = None
        try:
            HERE.watchdog, HERE.waits = self, True
            self._enter()
            result = work()
        except BaseException as error:
            failure = error
        finally:
            while True:
                try:
                    self._leave(depth)
                    break
                except BaseException as error:  # a handler of the caller's may raise here as well
                    failure = failure or error
            HERE.watchdog, HERE.waits = before
        self._judge(failure)
        return result

    def _judge(self, failure: BaseException | None) -> None:
        """Raise what a run ended with, if it did not end well."""
        stop = self._stop
        if failure is None:
            if stop is not None:
                raise stop
            return
        import wasmtime

        from wizer.engine.messages import causes, limit_met, of_engine

        failure = of_engine(failure)
        if not isinstance(failure, wasmtime.Trap | wasmtime.WasmtimeError):
            raise failure if stop is None or isinstance(stop, LimitError) else stop
        if isinstance(stop, LimitError):
            raise LimitError(stop.message, causes(failure)) from None
        raise stop or limit_met(failure, self._limits) or failure from None

    def own_code(self) -> contextlib.AbstractContextManager[None]:
        """Let code run that is Wizer's, and not the guest's: it takes none of the guest's fuel."""
        return own_code(self._store)

    def _enter(self) -> None:
        """Start the clock, begin an epoch, and listen for signals."""
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
        HANDLERS.enter()
        self._hooked = True
        self._watch_if_needed()

    def _watch_if_needed(self) -> None:
        main = threading.current_thread() is threading.main_thread()
        if self._watch is None and (self._limits.timeout is not None or (main and _handles_signals())):
            self._start()
        if main and self._watch is not None:
            self._listen(self._watch.wakes)

    def _leave(self, depth: int) -> None:
        """Stop the clock where this was the outermost run. What was interrupted can be done again."""
        if depth or not self._depth:
            self._depth = depth
            return
        self._unlisten()
        if self._hooked:
            self._hooked = False
            HANDLERS.leave()
        with self._lock:
            self._store.set_epoch_deadline(1)
            used = self._used + time.monotonic() - self._started
            self._used, self._depth = used, 0

    def _start(self) -> None:
        """Start the thread."""
        from wizer.errors import WizerError

        try:
            watch = kept(_WATCH, Watch)
            if not watch.is_free:  # another session of this worker's is open
                watch = Watch()
            watch.serve(self)
        except (OSError, RuntimeError) as error:
            raise WizerError("the run does not start, for it cannot be watched", [str(error)]) from error
        self._watch = watch

    def _listen(self, wake: io.RawIOBase) -> None:
        """Have the interpreter write the numbers of arriving signals to ``wake``, and hold Ctrl-C back."""
        import signal

        with contextlib.suppress(ValueError):  # a subinterpreter: signals are not its business
            previous = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
            self._previous_fd = -1 if previous == wake.fileno() else previous
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._handles = True
                signal.signal(signal.SIGINT, handle)

    def _unlisten(self) -> None:
        """Hand signals back to whoever listened before."""
        if self._previous_fd is None:
            return
        import signal

        _give_back(self._previous_fd)
        with self._lock:  # what the thread has not read yet is about no other run
            if self._watch is not None:
                arrived = self._watch.heard.read(MANY) or b""
                if NEXT in arrived:
                    self._watch.wakes.write(NEXT)
                self._forward(arrived)
        if self._handles and signal.getsignal(signal.SIGINT) is handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # what has come is handled first
        self._previous_fd, self._handles = None, False

    def hear(self, end: io.RawIOBase | None) -> bool:
        """Do what is to be done now that signals can be read from ``end``, or that time has passed.

        Returns:
            Whether the thread is to go on.
        """
        with self._lock:
            signals = b"" if end is None else end.read(MANY)
            if signals is None:  # they were for a run that has ended
                return True
            if end is not None and (not signals or LEAVE in signals):
                return False
            self._heard(signals)
        return True

    def _heard(self, signals: bytes) -> None:
        """Do what the arrival of ``signals`` asks for, or the time; the lock is held."""
        self._forward(signals)
        if self._depth == 0:
            return
        ending = next((number for number in signals if number in ERRORS), None)
        if self._run == self._stopped:
            late = time.monotonic() - self._stopped_at >= GRACE
            if self._hard_exit is not None and self._stop is not None and not signals and late:
                self._hard_exit(self._stop)
        elif ending is not None:
            self._interrupt(ERRORS[ending](ending))
        elif (left := self._time_left()) is not None and left <= 0:
            self._interrupt(self._timed_out())
        if self._stop is not None and self._stopped != self._run:
            self._stopped, self._stopped_at = self._run, time.monotonic()

    def wake(self) -> None:
        """Wake the guest where it is being stopped and waits for another thread; the lock is not held."""
        run = self._stopped
        if self._wakes is not None and run == self._run and self._depth:
            try:
                self._wakes(lambda: run != self._run or not self._depth)
            except Exception:  # there is no memory for it, say; the thread goes on to watch
                self._wakes = None

    def wait(self) -> float | None:
        """Return for how many seconds nothing can happen but a signal; None: for ever.

        The time left only shrinks inside runs, so it can be slept through without hearing of them.
        """
        with self._lock:
            if self._run == self._stopped and self._depth:
                if self._wakes is not None:
                    return _BETWEEN_WAKINGS
                return GRACE if self._hard_exit is not None else None
            left = self._time_left()
        return None if left is None else min(max(left, _SHORTEST_WAIT), _LONGEST_WAIT)

    def _time_left(self) -> float | None:
        """Return the seconds of guest time left, or None if they are not limited."""
        if self._limits.timeout is None:
            return None
        running = time.monotonic() - self._started if self._depth else 0.0
        return self._limits.timeout - self._used - running

    def _forward(self, signals: bytes) -> None:
        """Pass signal numbers on to whoever listened before (asyncio, say)."""
        signals = signals.replace(NEXT, b"")
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

    def forked(self) -> None:
        """Go on in a process that was forked: the thread is none of its own, and what it held is free."""
        self._lock = threading.RLock()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.abandon()
        if self._depth:  # it was forked by a host function
            if self._previous_fd is not None:
                _give_back(self._previous_fd)  # before the new thread's end is taken for one to give back
            self._previous_fd = None
            self._watch_if_needed()


def _handles_signals() -> bool:
    """Whether a signal that ends a run has a handler in Python: no other wakes the thread."""
    import signal

    return any(callable(signal.getsignal(number)) for number in ERRORS)


def _give_back(fd: int) -> None:
    """Have the interpreter write the numbers of signals where it did before, if that is open still."""
    import signal

    try:
        signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    except (OSError, ValueError):
        signal.set_wakeup_fd(-1)


_WATCH: Final = "watch"
_ALL: weakref.WeakSet[Watchdog] = weakref.WeakSet()


def _forked() -> None:
    HANDLERS.forked()
    for watchdog in [*_ALL]:
        watchdog.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _check_depth() -> None:
    """Raise `RecursionError` where Python has half the stack that it may have, or too little is left.

    Frames on the threads that wait for this one count, or each thread for a guest would begin anew.

    At the limit itself it may be too late: CPython 3.11 ends the process where a finaliser goes 50 calls deep
    while the error for the limit is made.
    """
    try:
        sys._getframe(max(sys.getrecursionlimit() // 2 - WAITING.get(), 0))
    except ValueError:  # it is not that deep
        _headroom(_LEVELS)
    else:
        raise RecursionError("the guest cannot be called so deep in a recursion of Python's")


def _headroom(levels: int) -> None:
    """Raise `RecursionError` unless so many calls from C to Python fit on the stack."""
    if levels:
        next(map(_headroom, (levels - 1,)))


@contextlib.contextmanager
def own_code(store: wasmtime.Store) -> Iterator[None]:
    """Let code run that is Wizer's, and not the guest's, in a store: it takes none of the store's fuel.

    Raises:
        OptionError: it is no store, or is closed.
        LimitError: the store's epoch deadline has passed. The engine tells nobody which one it was, so that
            another could not be taken back.
    """
    import wasmtime

    from wizer.engine.capi import is_open

    if not isinstance(store, wasmtime.Store):
        raise OptionError(f"expected a store, got {shown(store)}")
    if not is_open(store):
        raise OptionError("the store is closed")
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
        from wizer.engine.messages import causes

        raise LimitError(
            "the store's epoch deadline has passed, and reading its instance runs code; set another deadline "
            "before the snapshot",
            causes(trap),
        ) from None
    finally:
        if left is not None:
            store.set_fuel(left)
