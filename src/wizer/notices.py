"""Warnings about a snapshot: Python's, or for whoever collects those of one run on its thread; and the log.

Importing ``logging`` takes as long as a small run, so nothing here imports it: as long as nobody else has,
nobody listens to the logger ``wizer``.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Final

from wizer.errors import WizerWarning

DEBUG: Final = 10  # as `logging` numbers them
INFO: Final = 20
WARNING: Final = 30


class _Here(threading.local):
    """What the present thread collects; None: nothing, its warnings are Python's."""

    found: list[str] | None = None


_HERE = _Here()


def warn(text: str, stacklevel: int = 2) -> None:
    """Give a `WizerWarning`; ``stacklevel`` is that of ``warnings.warn``, seen from the caller."""
    log(WARNING, text)
    if _HERE.found is None:
        warnings.warn(text, WizerWarning, stacklevel=stacklevel + 1)
    elif text not in _HERE.found:
        _HERE.found.append(text)


def log(level: int, text: str) -> None:
    """Log a text, where somebody may listen."""
    logging = sys.modules.get("logging")
    if logging is None:
        return
    logger = logging.getLogger("wizer")
    if not logger.handlers:  # what no program asks for is not for people to see either
        logger.addHandler(logging.NullHandler())
    logger.log(level, "%s", text)


@contextlib.contextmanager
def collected() -> Iterator[list[str]]:
    """Collect the warnings that are given on this thread; runs on other threads have their own.

    ``warnings.catch_warnings`` is the whole process's, until Python 3.14.
    """
    before, _HERE.found = _HERE.found, []
    try:
        yield _HERE.found
    finally:
        _HERE.found = before
