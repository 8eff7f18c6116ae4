"""What goes to standard error (the one line that matters, warnings, results), and what a report prints."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# Control characters but for line ends and tabs, and those that change the direction of writing.
_COMMANDS: Final = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Escape what a terminal takes for a command: a message holds names out of modules of strangers."""
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Manner:
    """How this process speaks.

    Attributes:
        quiet: only errors are said.
        erase: takes a line of progress off the terminal; None where there is no such line.
        remarks: collects what is said that is no error; None: nobody wants it.
    """

    quiet: bool = False
    erase: Callable[[], None] | None = None
    remarks: list[str] | None = None


def say(text: str) -> None:
    """Write ``text`` and a line end to standard error, where there is one."""
    if sys.stderr is not None:
        if Manner.erase is not None:
            Manner.erase()
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"{harmless(text)}\n")
            sys.stderr.flush()


def remark(text: str) -> None:
    """Say what is no error: a warning, a note, a result."""
    if Manner.remarks is not None:
        Manner.remarks.append(text)
    if not Manner.quiet:
        say(text)


def show(text: str) -> None:
    """Write ``text`` and a line end to standard output, where there is one, in what letters it has."""
    if sys.stdout is not None:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(harmless(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def worded(error: OSError) -> str:
    """Word an error of the operating system as Rust does."""
    return f"{error.strerror} (os error {error.errno})"
