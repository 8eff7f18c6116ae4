"""The worker's side: does one job, and tells the parent what comes of it."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from wizer.errors import OptionError
from wizer.isolation.failures import failure_of
from wizer.progress import PROGRESS

_LOOK = 0.2  # seconds between two looks for the parent


class _Teller:
    """Sends to the parent, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tell(self, *message: Any) -> None:
        data = pickle.dumps(message)
        with self._lock:
            self._connection.send_bytes(data)


def main(connection: int, output: int, parent: int) -> None:
    """Do the job that comes over ``connection``.

    Args:
        connection: the file descriptor that joins the two.
        output: the file descriptor of a file that the job is to write to; -1: none.
        parent: the process that has the other end.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    joined = Connection(connection)
    teller = _Teller(joined)
    PROGRESS.listeners.append(teller.tell)
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *where: teller.tell("warning", str(message), *where[:3])
    try:
        job, args = _read(joined.recv_bytes())
        if output >= 0:
            with open(output, "wb", buffering=0) as file:
                result = job(file, *args)
        else:
            result = job(*args)
        message = ("result", result)
        pickle.dumps(message)
    except BaseException as error:
        message = ("failure", failure_of(error))
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    teller.tell(*message)
    time.sleep(_LOOK)  # the parent ends this process


def _read(data: bytes) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    try:
        job, args = pickle.loads(data)
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise OptionError("what was given cannot be made again in the worker process", [cause]) from error
    return job, args


def _end_with(parent: int) -> None:
    """End this process when the parent has ended."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)
