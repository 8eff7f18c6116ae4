"""What goes to standard error: the one line that matters, warnings, and the results of calls."""

from __future__ import annotations

import contextlib
import sys


def say(text: str) -> None:
    """Write ``text`` and a line end to standard error, where there is one."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def worded(error: OSError) -> str:
    """Word an error of the operating system as Rust does."""
    return f"{error.strerror} (os error {error.errno})"
