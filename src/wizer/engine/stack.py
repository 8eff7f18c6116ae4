"""Stack for guest code and for the compiler, whichever thread they are called on.

The engine ends a guest's recursion after as many bytes as its configuration says, counted from where the
stack is when the guest is entered. It does not ask whether the thread has them, and where it has not, the
process ends. Threads have 8 MiB on Linux as a rule, but `ulimit -s`, `threading.stack_size`, another libc or
another system make it less, and whoever calls may have used most of it.

So what is left is looked up at each entry, and where it is too little, the guest runs on a thread made for
it, while the one that called waits. The bytes that a guest has are the same everywhere, and so is what it
does.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from wizer.engine.config import HOST_STACK, ROOM
from wizer.errors import WizerError

T = TypeVar("T")

_COMPILER_STACK: Final = 2 << 20  # bytes; what the threads have that the engine compiles on


def with_guest_stack(guest: int, work: Callable[[], T], stop: Callable[[BaseException], object]) -> T:
    """Return what ``work`` returns, which is called on a thread that has enough stack for it.

    Args:
        guest: bytes that guest code in ``work`` may use.
        work: enters the guest. It sees the context variables of the caller on whatever thread it is.
        stop: given what a signal handler raises on the caller's thread while that waits; it has ``work`` end.
            Then that is raised.

    Raises:
        WizerError: there is no thread to be had with so much stack.
    """
    if _has(guest + HOST_STACK):
        return work()
    return _on_a_thread(guest + ROOM, work, stop)


def with_compiler_stack(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, which compiles, as `with_guest_stack` does."""
    return work() if _has(_COMPILER_STACK) else _on_a_thread(ROOM, work, lambda _: None)


def _has(size: int) -> bool:
    """Whether the calling thread is known to have so many bytes of stack left."""
    left = left_on_this_thread()
    return left is not None and left >= size


def _on_a_thread(size: int, work: Callable[[], T], stop: Callable[[BaseException], object]) -> T:
    import contextvars

    returned: list[T] = []
    raised: list[BaseException] = []
    context = contextvars.copy_context()
    context.run(WAITING.set, WAITING.get() + _depth())
    ended = threading.Lock()
    ended.acquire()

    def call() -> None:
        try:
            returned.append(context.run(work))
        except BaseException as error:
            raised.append(error)
        finally:
            ended.release()

    thread = threading.Thread(target=call, name="wizer-guest")
    try:
        with _STARTING:
            before = threading.stack_size(size)
            try:
                thread.start()
            finally:
                threading.stack_size(before)
    except (ValueError, OverflowError, RuntimeError, MemoryError) as error:
        raise WizerError(
            f"no thread with a stack of {size} bytes can be started for the guest", [str(error)]
        ) from None
    interrupted: BaseException | None = None
    while not (returned or raised):
        try:
            ended.acquire()  # a `join` that is interrupted takes the thread for dead, until Python 3.13
        except BaseException as error:  # of a signal handler; the work must not go on behind it
            stop(error)
            interrupted = interrupted or error
    if interrupted is not None or raised:
        raise interrupted or raised[0]
    return returned[0]


WAITING: Final = ContextVar("wizer_waiting", default=0)
"""How many Python frames there are on the threads that wait for this one: a recursion goes through them."""


def _depth() -> int:
    """Return how many Python frames there are on this thread."""
    depth, frame = 0, sys._getframe()
    while (caller := frame.f_back) is not None:
        depth, frame = depth + 1, caller
    return depth


_STARTING = threading.Lock()  # the size for new threads is the process's; whoever starts another here waits


def left_on_this_thread() -> int | None:
    """Return how many bytes of stack the calling thread has left, None where the system does not tell."""
    found = _HERE.stack
    return None if found is None else found.left()


# Where the stack pointer is in a `ucontext_t`, after the flags, the link and the signals' stack; see the
# `<sys/ucontext.h>` of each machine.
_STACK_POINTER: Final = {"x86_64": 160, "aarch64": 432}
_CONTEXT_SIZE: Final = 8192  # bytes; the larger of the two is 4,560
_ATTRIBUTES_SIZE: Final = 256  # bytes; a `pthread_attr_t` has 64 at the most


@functools.cache
def _libc() -> Any:
    """Return the C library, called without letting go of the interpreter: nothing here waits."""
    return ctypes.PyDLL(None)


class _Stack:
    """The calling thread's stack."""

    def __init__(self, libc: Any, pointer: int) -> None:
        self._libc = libc
        self._context = ctypes.create_string_buffer(_CONTEXT_SIZE)
        self._pointer = ctypes.c_uint64.from_buffer(self._context, pointer)
        self._lowest = 0
        self._limit: int | None = None

    def left(self) -> int | None:
        """Return how many bytes are left of it."""
        import resource

        limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
        if limit != self._limit:  # it is what bounds the main thread's
            self._lowest, self._limit = self._find_lowest(), limit
        self._libc.getcontext(self._context)
        left = self._pointer.value - self._lowest
        return left if self._lowest and left > 0 else None

    def _find_lowest(self) -> int:
        """Return its lowest address, 0 if that is not to be had. For the main thread a file is read."""
        libc, attributes = self._libc, ctypes.create_string_buffer(_ATTRIBUTES_SIZE)
        lowest, size = ctypes.c_size_t(), ctypes.c_size_t()
        libc.pthread_self.restype = ctypes.c_ulong
        if libc.pthread_getattr_np(ctypes.c_ulong(libc.pthread_self()), attributes):
            return 0
        libc.pthread_attr_getstack(attributes, ctypes.byref(lowest), ctypes.byref(size))
        libc.pthread_attr_destroy(attributes)
        return lowest.value


class _Here(threading.local):
    """What is known of the present thread; ``stack`` is None on a machine or C library not known here."""

    def __init__(self) -> None:
        self.stack = _this_stack() if sys.platform == "linux" else None


def _this_stack() -> _Stack | None:
    pointer = _STACK_POINTER.get(os.uname().machine)
    libc = _libc()
    if pointer is None or not hasattr(libc, "getcontext"):  # musl has none
        return None
    return _Stack(libc, pointer)


_HERE = _Here()
