"""Python functions for guests to import; they are those of a module, so that other processes find them."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

from wizer import WizerWarning


class UnpicklableError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def seven() -> int:
    return 7


def nine() -> int:
    return 9


def fail() -> int:
    raise LookupError("no such thing")


def fail_strangely() -> int:
    raise UnpicklableError("this", "that")


def warn() -> int:
    warnings.warn("mind the gap", WizerWarning, stacklevel=1)
    return 0


def wait() -> int:
    time.sleep(600)
    return 0


def die() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def tell() -> int:
    """Say in a file which process this is, and wait."""
    with Path(os.environ["WIZER_TEST_PID"]).open("x", encoding="ascii") as file:
        file.write(str(os.getpid()))
    return wait()


def end_process() -> None:
    """End the process, as a crash does."""
    os.kill(os.getpid(), signal.SIGKILL)
