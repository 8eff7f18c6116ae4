"""Warnings about a snapshot: Python's, or for whoever collects those of one run on its thread; and the log.

Importing ``logging`` takes as long as a small run, so nothing here imports it: as long as nobody else has,
nobody listens to the logger ``wizer``.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

from wizer.errors import WizerWarning

DEBUG: Final = 10  # as `logging` numbers them
INFO: Final = 20
WARNING: Final = 30


_FOUND: ContextVar[list[str] | None] = ContextVar("wizer_warnings", default=None)
"""What the present run collects, on whatever thread it goes on; None: nothing, its warnings are Python's."""


def warn(text: str, stacklevel: int = 2) -> None:
    """Give a `WizerWarning`; ``stacklevel`` is that of ``warnings.warn``, seen from the caller."""
    log(WARNING, text)
    found = _FOUND.get()
    if found is None:
        warnings.warn(text, WizerWarning, stacklevel=stacklevel + 1)
    elif text not in found:
        found.append(text)


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
    found: list[str] = []
    before = _FOUND.set(found)
    try:
        yield found
    finally:
        _FOUND.reset(before)
