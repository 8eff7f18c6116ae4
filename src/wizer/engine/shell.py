"""What every running guest has around it, module or component: a store, limits, output, errors of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeGuard

import wasmtime

from wizer.engine import capi
from wizer.engine.limits import Limits
from wizer.engine.messages import causes, is_trap
from wizer.engine.streams import Streams
from wizer.engine.wasi import Wasi, configure
from wizer.engine.watchdog import Watchdog
from wizer.errors import ExitError, LinkError, TrapError


class Shell:
    """A store, and what watches over it.

    Attributes:
        store: the store.
    """

    def __init__(
        self, engine: wasmtime.Engine, limits: Limits, hard_exit: Callable[[BaseException], None] | None
    ) -> None:
        self.store: wasmtime.Store = wasmtime.Store(engine)
        self._streams = Streams()
        self._watchdog = Watchdog(self.store, limits, hard_exit=hard_exit)

    def close(self) -> None:
        """End the store."""
        self._watchdog.close()
        self.store.close()
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
        try:
            with self._watchdog.guard():
                try:
                    yield
                except capi.HostError as error:
                    if _of_engine(error.__cause__):  # come through a function of ours
                        raise error.__cause__ from None
                    raise
                finally:
                    self._streams.drain()
        except capi.HostError as error:
            cause = error.__cause__
            if not isinstance(cause, Exception):
                raise (cause or error) from None
            raise TrapError(message, [f"a host function raised {type(cause).__name__}: {cause}"]) from cause
        except wasmtime.ExitTrap as error:
            raise ExitError(message, error.code, causes(error)) from None
        except wasmtime.Trap as error:
            raise TrapError(message, causes(error)) from None
        except wasmtime.WasmtimeError as error:
            raise (TrapError if is_trap(error) else LinkError)(message, causes(error)) from None


def _of_engine(error: BaseException | None) -> TypeGuard[wasmtime.Trap | wasmtime.WasmtimeError]:
    """Whether it was the engine that ended the guest."""
    return isinstance(error, wasmtime.Trap | wasmtime.ExitTrap) or (
        isinstance(error, wasmtime.WasmtimeError) and is_trap(error)
    )
