"""Python functions that the engine calls. Nothing that they raise gets into the engine.

Python may raise before the first step of a function: a signal handler does, an exception set from another
thread, the limit of recursion. No ``try`` in the function catches that. ``ctypes`` prints it, and gives the
engine for a result what happens to be at its place, which the engine takes for the address of a trap.

So there are two layers between the engine and a Python function that are C throughout, and cannot be
interrupted::

    engine -> callback (C calls Python)   its "Python function" is a foreign function, the next layer:
           -> relay    (Python calls C)   a result is made, of zeros; a mark is left that a call has begun
           -> callback (C calls Python)   without a result; its Python function is one of ours, which puts
                                          what the engine is to get into the result, and takes the mark away

What leaves our function ends in the lower callback, which has no result to spoil. The engine is told that
nothing went wrong and gets results that are zero; but the mark is still there, so that the guest is stopped
at its next check or call, and its run ends in an error. RATIONALE.md has the reasoning.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import wasmtime
from wasmtime._func import maybe_raise_last_exn

from wizer.engine.interrupts import CALLBACK, HERE
from wizer.errors import WizerError

_Answer = Callable[..., None]


class HostError(Exception):
    """A Python function that the guest called raised; its exception is the cause."""


class GuestTrap(Exception):  # noqa: N818  it is the guest's trap, and no error of the host's
    """Raised by a host function to end the guest with a trap of this message, and with its backtrace."""


class Callbacks:
    """The Python functions that the engine calls in one store; kept by the store.

    Attributes:
        functions: by number, what belongs to each function that the engine may call.
    """

    def __init__(self) -> None:
        self.functions: dict[int, Any] = {}
        self._numbers = itertools.count(1)
        self._entered: list[None] = []  # a mark for each call that has begun, and not ended
        self._active = 0  # calls whose Python function has begun, and not ended
        self._made: dict[Any, Any] = {}
        self._layers: list[Any] = []

    def add(self, function: Any) -> int:
        """Keep what belongs to a function; return its number, the first argument of calls of it."""
        number = next(self._numbers)
        self.functions[number] = function
        return number

    def c_function(self, prototype: Any, call: _Answer, failed: Callable[[BaseException], int]) -> Any:
        """Return a C function of the type ``prototype``, whose result is null or the address of an error.

        Args:
            prototype: the type.
            call: called with the arguments, addresses as integers.
            failed: makes the result for what it raises.
        """
        found = self._made.get(prototype)
        if found is None:
            found = self._made[prototype] = self._c_function(prototype, call, failed)
        return found

    def _c_function(self, prototype: Any, call: _Answer, failed: Callable[[BaseException], int]) -> Any:
        def called_by_the_engine(*arguments: Any) -> None:
            result = arguments[-2]
            waits, active = HERE.waits, self._active
            try:
                try:
                    self._active = active + 1
                    if len(self._entered) > active + 1:
                        raise lost()
                    call(*arguments[:-2])
                finally:
                    HERE.waits, self._active = waits, active
            except BaseException as exception:
                result[0] = failed(exception)
            self._entered.pop()

        assert called_by_the_engine.__name__ == CALLBACK
        outer, layers = _layered(prototype, called_by_the_engine, self._entered)
        self._layers.append(layers)
        return outer

    def begin(self) -> None:
        """Forget what was: no guest of the store is running."""
        self._entered.clear()
        self._active = 0

    def check(self) -> None:
        """Raise an error if a call was lost, to an exception that nobody could catch."""
        if len(self._entered) > self._active:
            raise lost()


def lost() -> WizerError:
    """Return the error for a call that was lost."""
    return WizerError("a host function was interrupted before it could run; the guest went on without it")


def callbacks_of(store: wasmtime.Store) -> Callbacks:
    """Return the callbacks of a store, which live as long as it; they are made where there are none."""
    found: Callbacks = store.__dict__.setdefault("_wizer_callbacks", Callbacks())
    return found


_POINTER = ctypes.POINTER(ctypes.c_size_t)


def _layered(prototype: Any, function: Callable[..., None], entered: list[None]) -> tuple[Any, Any]:
    """Return a C function that calls a Python function through the layers, and what has to live with it."""
    simple = [ctypes.c_void_p if issubclass(t, ctypes._Pointer) else t for t in prototype._argtypes_]
    kind = ctypes.PYFUNCTYPE(None, *simple, _POINTER, ctypes.c_void_p)
    inner = kind(function)
    # Arguments as they come; a result that is made for the call, and returned; a constant, whose conversion
    # leaves the mark. Only functions of a library can have such parameters, so the address is put in later.
    relay = kind(("Py_IncRef", ctypes.pythonapi), (*[(1,)] * len(simple), (2,), (1, "mark", None)))
    ctypes.c_void_p.from_address(ctypes.addressof(relay)).value = ctypes.cast(inner, ctypes.c_void_p).value
    marking: Any = SimpleNamespace(from_param=entered.append)
    relay.argtypes = (*simple, _POINTER, marking)
    outer = ctypes.CFUNCTYPE(ctypes.c_size_t, *simple)(relay)
    return ctypes.cast(outer, prototype), (inner, relay, outer)


def trap_for(exception: BaseException) -> int:
    """Return the address of a trap for what a host function raised, which `raise_host_exception` raises."""
    if isinstance(exception, GuestTrap):
        return _address(wasmtime.Trap(_encodable(str(exception))))
    HERE.raised.append(exception)
    return _address(wasmtime.Trap(_encodable(f"host function raised {described(exception)}")))


def error_for(exception: BaseException) -> int:
    """Return the address of an error for what a host function of a component raised.

    An error of the engine's goes on as what it is.
    """
    if isinstance(exception, wasmtime.WasmtimeError):
        return _address(exception)
    HERE.raised.append(exception)
    return _address(wasmtime.WasmtimeError(_encodable(f"host function raised {described(exception)}")))


def _address(error: wasmtime.Trap | wasmtime.WasmtimeError) -> int:
    return ctypes.cast(error._consume(), ctypes.c_void_p).value or 0


def _encodable(text: str) -> str:
    """Return a text that the engine takes: UTF-8 without NUL, as C ends texts with that."""
    return text.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def described(exception: BaseException) -> str:
    """Return the class of an exception and what it says, if it can."""
    try:
        text = str(exception)
    except BaseException as error:  # it is about another exception, which must not be lost
        text = f"(its text cannot be made: {type(error).__name__})"
    return f"{type(exception).__name__}: {text}"


def raise_host_exception() -> None:
    """Raise the exception that a Python function called by the guest ended with, if there is one."""
    if HERE.raised:
        exception = HERE.raised[0]
        HERE.raised.clear()
        raise HostError(exception) from exception
    try:
        maybe_raise_last_exn()  # of a `wasmtime.Func` that the caller made of a Python function
    except BaseException as exception:
        raise HostError(exception) from exception
