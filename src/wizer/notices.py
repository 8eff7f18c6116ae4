"""Warnings about a snapshot: Python's, or for whoever collects those of one run on its thread."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

from wizer.errors import WizerWarning


class _Here(threading.local):
    """What the present thread collects; None: nothing, its warnings are Python's."""

    found: list[str] | None = None


_HERE = _Here()


def warn(text: str, stacklevel: int = 2) -> None:
    """Give a `WizerWarning`; ``stacklevel`` is that of ``warnings.warn``, seen from the caller."""
    if _HERE.found is None:
        warnings.warn(text, WizerWarning, stacklevel=stacklevel + 1)
    elif text not in _HERE.found:
        _HERE.found.append(text)


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
