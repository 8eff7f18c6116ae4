"""What every running guest has around it, module or component: a store, limits, output, errors of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import wasmtime

from wizer.engine.interrupts import HERE, raising
from wizer.engine.limits import Limits
from wizer.engine.wasi import Wasi, configure
from wizer.engine.watchdog import Watchdog

if TYPE_CHECKING:
    from wizer.engine.callbacks import Callbacks
    from wizer.engine.streams import Streams


class Shell:
    """A store, and what watches over it.

    Attributes:
        store: the store.
    """

    def __init__(
        self, engine: wasmtime.Engine, limits: Limits, hard_exit: Callable[[BaseException], None] | None
    ) -> None:
        self.store: wasmtime.Store = wasmtime.Store(engine)
        self._streams: Streams | None = None
        self._watchdog = Watchdog(self.store, limits, hard_exit=hard_exit)

    def close(self) -> None:
        """End the store."""
        self._watchdog.close()
        self.store.close()
        if self._streams is not None:
            self._streams.close()

    def bound(self, limits: Limits) -> None:
        """Have the engine bound each memory and table, and how many there are, by ``limits``."""
        self._watchdog.bound(limits)

    def allow(self, wasi: Wasi) -> None:
        """Give the guests what ``wasi`` allows; to be called before anything is instantiated."""
        self._streams = configure(wasi, self.store, self._watchdog.stop)

    def own_code(self) -> AbstractContextManager[None]:
        """Read an instance in here: what that takes is not the guest's."""
        return self._watchdog.own_code()

    @contextmanager
    def guest_code(self, message: str) -> Iterator[None]:
        """Guard the guest code that runs inside, and say in our own errors what the engine says.

        Raises:
            LinkError: the engine did not come so far as to run anything.
            TrapError: the guest trapped, or a host function raised, which is the cause.
            ExitError, LimitError: the guest ended itself, or was ended.
        """
        if HERE.watchdog is None:  # no guest runs on this thread: what is left over is of none
            HERE.raised.clear()
        callbacks = self._callbacks()
        if callbacks is not None and not self._watchdog.running:
            callbacks.begin()
        try:
            with self._watchdog.guard():
                try:
                    yield
                    if (callbacks := self._callbacks()) is not None and self._watchdog.stopping is None:
                        callbacks.check()
                finally:
                    if self._streams is not None:
                        with raising():
                            self._streams.drain()
        except Exception as error:
            from wizer.engine.messages import translated

            if (ours := translated(message, error)) is error:
                raise
            raise ours from ours.__cause__

    def _callbacks(self) -> Callbacks | None:
        """Return the store's callbacks, None where it has none."""
        found: Callbacks | None = self.store.__dict__.get("_wizer_callbacks")
        return found
