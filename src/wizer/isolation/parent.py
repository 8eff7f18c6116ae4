"""The parent's side: starts a worker, watches over it, and ends it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, Final, TypeVar

from wizer.engine.limits import Limits
from wizer.engine.meter import Meter
from wizer.errors import OptionError, WizerError
from wizer.isolation.failures import error_of
from wizer.progress import Progress
from wizer.records import field_names

_T = TypeVar("_T")

_METHODS = types.MethodType | types.BuiltinMethodType

# The modules of the worker are found where this process finds its own.
_PROGRAM: Final = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from wizer.isolation.worker import main
main(*map(int, sys.argv[2:]))
"""


def isolated(
    job: Callable[..., _T], args: Sequence[object], limits: Limits, output: BinaryIO | None = None
) -> _T:
    """Do a job in a process of its own.

    Args:
        job: a function of a module.
        args: what it is called with.
        limits: where the process is ended.
        output: a file that the job is given first, open for writing.

    Raises:
        OptionError: an argument cannot be given to another process; it is named.
        LimitError: the process was ended at a limit, or the guest in it.
        WizerError: the process ended by itself.
        BaseException: whatever the job raised.
    """
    if os.name != "posix" or not sys.executable:
        raise OptionError("a run cannot be isolated here: it takes a POSIX system and a Python interpreter")
    payload = _payload(job, args)
    with _started(output) as (process, connection):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended: we shall see why
            connection.send_bytes(payload)
        del payload
        return _Watch(process, connection, limits).result()  # type: ignore[no-any-return]


@contextlib.contextmanager
def _started(output: BinaryIO | None) -> Iterator[tuple[subprocess.Popen[bytes], Connection]]:
    """Start a worker, and end it."""
    near, far = socket.socketpair()
    descriptors = [far.fileno(), -1 if output is None else output.fileno()]
    path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
    command = [sys.executable, "-c", _PROGRAM, path, *map(str, [*descriptors, os.getpid()])]
    process = None
    # Ctrl-C in a terminal is for all processes there: the worker is born deaf to it, and ended from here.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with Connection(near.detach()) as connection:
            try:
                with far:
                    process = subprocess.Popen(command, pass_fds=[fd for fd in descriptors if fd >= 0])
            except OSError as error:
                raise WizerError("no worker process can be started", [str(error)]) from error
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            yield process, connection
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if process is not None:
            process.kill()
            process.wait()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Watch:
    """Hears what a worker says, and looks at what it takes."""

    def __init__(self, process: subprocess.Popen[bytes], connection: Connection, limits: Limits) -> None:
        self._process = process
        self._connection = connection
        self._progress = Progress()
        self._progress.stage = "parsing"
        self._progress.began = time.monotonic()  # should it hang before it begins
        self._meter = Meter(self._progress, limits, process.pid)

    def result(self) -> Any:
        """Return what the job returned, or raise what it raised."""
        while True:
            if self._connection.poll(self._meter.seconds()):
                try:
                    kind, *content = pickle.loads(self._connection.recv_bytes())
                except (EOFError, ConnectionResetError):
                    raise self._gone() from None
                if kind == "result":
                    return content[0]
                if kind == "failure":
                    raise error_of(content[0])
                self._heard(kind, content)
            if (error := self._meter.met()) is not None:
                raise error

    def _heard(self, kind: str, content: list[Any]) -> None:
        if kind == "warning":
            message, category, filename, lineno = content
            warnings.warn_explicit(message, category, filename, lineno)
            return
        if kind == "note":
            self._progress.note(*content)
            return
        stage, subject, begins = content
        if begins:
            self._progress.begin()
        self._progress.at(stage, subject)

    def _gone(self) -> WizerError:
        """Return the error for a worker that has ended without a word."""
        status = self._process.wait()
        how = f"by signal {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return WizerError(f"the worker process ended {how}", [f"it was {self._progress.stage}"])


def _payload(job: Callable[..., object], args: Sequence[object]) -> bytes:
    """Pickle a job; where that cannot be, name what is at fault."""
    try:
        return _pickle((job, args))
    except Exception:
        for arg in args:
            place, error = _culprit("", arg)
            if error is not None:
                raise OptionError(
                    f"{place or 'it'} cannot be given to a worker process", [str(error)]
                ) from error
        raise


def _culprit(place: str, value: object) -> tuple[str, Exception | None]:
    """Return where in a value is what cannot be pickled, as far as that can be told, and why it cannot."""
    try:
        _pickle(value)
    except Exception as error:
        for inner, part in _parts(place, value):
            found, why = _culprit(inner, part)
            if why is not None:
                return found, why
        return place, error
    return place, None


def _parts(place: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield f"{place}[{name!r}]", part
    elif hasattr(value, "__dataclass_fields__"):
        for name in field_names(type(value)):
            yield f"{place}.{name}" if place else f"`{name}`", getattr(value, name)


def _pickle(value: object) -> bytes:
    file = io.BytesIO()
    _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


class _Pickler(pickle.Pickler):
    """Refuses what would be another thing in the worker without a word."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | types.FunctionType) and value.__module__ == "__main__":
            name = value.__qualname__
            raise pickle.PicklingError(f"`{name}` is defined in the program itself; move it to a module")
        if isinstance(value, _METHODS) and not isinstance(value.__self__, type | types.ModuleType):
            name = value.__qualname__
            raise pickle.PicklingError(f"`{name}` would be a method of a copy; give a function of a module")
        return NotImplemented
