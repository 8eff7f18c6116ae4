"""What every running guest has around it, module or component: a store, limits, output, errors of our own."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import wasmtime

from wizer.engine import capi, capi_values
from wizer.engine.interrupts import HERE, raising
from wizer.engine.limits import Limits
from wizer.engine.stack import with_guest_stack
from wizer.engine.wasi import Wasi, check_wasi, configure
from wizer.engine.watchdog import Watchdog
from wizer.errors import OptionError, StateError
from wizer.progress import PROGRESS

if TYPE_CHECKING:
    from wizer.engine.callbacks import Callbacks
    from wizer.engine.streams import Streams

T = TypeVar("T")


_IN_USE: Final = (
    "the session is in use on another thread: it runs one thing at a time; open one for each thread, or take "
    "turns"
)


class _Store(capi_values.Owner, wasmtime.Store):
    """A session's store. It ends with the session and not before: a guest may run in it.

    Users have it (`Session.store`) and may give it to the engine's own classes, from any thread. What these
    do with it cannot be waited for. So they get at it only where no other thread has the session, and once
    another thread has got at it, it ends no sooner than when nobody has it any more.

    Attributes:
        holders: the threads that have the session: the one that uses it, and that of its guest.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        super().__init__(engine)
        self.holders: tuple[int, ...] = ()
        self._others: set[int] = set()
        self._ended = False

    def _context(self) -> Any:
        thread = threading.get_ident()
        if thread not in self.holders:
            self._others.add(thread)  # first: see `end`
            if self._ended:
                raise OptionError("the session is closed")
            if self.holders:
                raise OptionError(_IN_USE)
        return super()._context()

    def ptr(self) -> Any:
        """Return the address; raise `OptionError` where another thread has the session, or it is closed."""
        if hasattr(self, "holders"):
            self._context()
        return super().ptr()

    def close(self) -> None:
        """Raise `OptionError`."""
        raise OptionError("the store cannot be closed by itself: it is its session's")

    def end(self) -> None:
        """Let what lives in it go, now or when nobody has it any more."""
        self._ended = True
        if not self._others - {threading.get_ident()}:
            self._end()

    def _end(self) -> None:
        super().close()
        capi_values.release_objects()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # or the engine calls what Python has cleared away; the process ends anyhow
            self._end()


class Shell:
    """A store, and what watches over it. One thread uses it at a time.

    Attributes:
        store: the store.
    """

    _closed = True

    def __init__(
        self,
        engine: wasmtime.Engine,
        limits: Limits,
        stack: int,
        hard_exit: Callable[[BaseException], None] | None,
    ) -> None:
        """Make a store; ``stack`` bytes of it are what ``engine`` lets guest code use."""
        self.store: _Store = _Store(engine)
        self._stack = stack
        self._streams: Streams | None = None
        self._watchdog = Watchdog(self.store, limits, hard_exit=hard_exit)
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._closed = False

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not self._closed and not is_finalizing():
            message = "a session was not closed: use it in a `with` statement, or call `close`"
            warnings.warn(message, ResourceWarning, source=self, stacklevel=2)
            self.close()

    def close(self) -> None:
        """End the store; where there are views of its memories, when they are gone.

        Raises:
            OptionError: another thread uses the store, or this one does.
        """
        if self._closed:
            return
        with self.held():
            if self._watchdog.running:
                raise OptionError("the session cannot be closed while one of its functions runs")
            self._closed = True
        self._watchdog.close()
        if not capi.has_views(self.store):
            self.store.end()
        if self._streams is not None:
            self._streams.close()

    @property
    def seconds(self) -> float:
        """How long guest code has run here, and host functions that it called."""
        return self._watchdog.seconds

    @contextmanager
    def held(self) -> Iterator[None]:
        """Use the store in here.

        Raises:
            OptionError: it is closed, or another thread uses it, or a function for the guest's output wants
                to. None of them can wait for the other.
            WizerError: this process was forked from the one that the store is of, and WASI does not go on.
        """
        if self._closed:
            raise OptionError("the session is closed")
        if self._process != os.getpid():
            self._forked()
        if self._streams is not None and self._streams.giving():
            raise OptionError("a function for the guest's output cannot use the session of the guest")
        if threading.get_ident() in self.store.holders[1:]:
            yield
            return
        lock = self._lock
        if not lock.acquire(blocking=False):
            raise OptionError(_IN_USE)
        holders = self.store.holders
        try:
            if self._closed:  # meanwhile
                raise OptionError("the session is closed")
            self.store.holders = (threading.get_ident(),)
            yield
        finally:
            self.store.holders = holders
            lock.release()

    def _forked(self) -> None:
        """Go on in a process that was forked."""
        if self._streams is not None:
            check_wasi()
        self._process = os.getpid()
        if threading.get_ident() not in self.store.holders:
            self._lock = threading.RLock()
            self.store.holders = ()

    def bound(self, limits: Limits) -> None:
        """Have the engine bound each memory and table, and how many there are, by ``limits``."""
        self._watchdog.bound(limits)

    def wake_with(self, wakes: Callable[[Callable[[], bool]], None]) -> None:
        """Have ``wakes`` called where the guest is to stop, and may wait for another thread."""
        self._watchdog.wake_with(wakes)

    def allow(self, wasi: Wasi) -> None:
        """Give the guests what ``wasi`` allows; to be called before anything is instantiated."""
        self._streams = configure(wasi, self.store, self._watchdog.stop)

    def check_idle(self) -> None:
        """Raise `StateError` where guest code is in the middle of a call: its stack is no part of a state."""
        if self._watchdog.running:
            raise StateError(
                "the guest is in the middle of a call, and what is on its stack cannot be frozen; take the "
                "snapshot when the call has returned"
            )

    @contextmanager
    def own_code(self) -> Iterator[None]:
        """Read an instance in here: what that takes is not the guest's."""
        with self.held(), self._watchdog.own_code():
            yield

    def run(self, message: str, work: Callable[[], T], function: str = "") -> T:
        """Run guest code, and say in our own errors what the engine says; return what ``work`` returns.

        Args:
            message: what has happened where it does not return.
            work: runs it.
            function: the function that is called, where there is one.

        Raises:
            LinkError: the engine did not come so far as to run anything.
            TrapError: the guest trapped, or a host function raised, which is the cause.
            ExitError, LimitError: the guest ended itself, or was ended.
            OptionError: there are views of a memory that may move.
        """
        with self.held():
            capi.check_views(self.store)
            PROGRESS.at("initialising", function and f"`{function}`")
            if HERE.watchdog is None:  # no guest runs on this thread: what is left over is of none
                HERE.raised.clear()
            callbacks = self._callbacks()
            if callbacks is not None and not self._watchdog.running:
                callbacks.begin()
            try:
                return self._watchdog.run(lambda: self._checked(work))
            except Exception as error:
                from wizer.engine.messages import translated

                if (ours := translated(message, error)) is error:
                    raise
                raise ours from ours.__cause__

    def _checked(self, work: Callable[[], T]) -> T:
        """Do the work, have all output arrive, let objects go; check that no host call was lost."""
        try:
            result = self._entered(work)
        finally:
            with raising():
                capi_values.release_objects()
                if self._streams is not None:
                    self._streams.drain()
        if (callbacks := self._callbacks()) is not None and self._watchdog.stopping is None:
            callbacks.check()
        return result

    def _entered(self, work: Callable[[], T]) -> T:
        """Enter the guest where it has its stack: inside of a call, that is the one which it is on."""
        if self._watchdog.nested:
            return work()

        def enter() -> T:
            if HERE.watchdog is not None:
                return work()
            HERE.watchdog = self._watchdog
            self.store.holders = (*self.store.holders, threading.get_ident())
            try:
                return work()
            finally:
                self.store.holders = self.store.holders[:-1]

        return with_guest_stack(self._stack, enter, self._watchdog.stop)

    def _callbacks(self) -> Callbacks | None:
        """Return the store's callbacks, None where it has none."""
        found: Callbacks | None = self.store.__dict__.get("_wizer_callbacks")
        return found
