"""What a command reads and writes: files, or standard input and output."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wizer.cli.report import worded
from wizer.cli.signals import ignore
from wizer.errors import InputError, OutputError
from wizer.output import check_target, write_path, write_stream

if TYPE_CHECKING:
    from wizer.binary.assemble import Chunk

STDIO = "-"


def read(name: str, failure: str, *, missing: Sequence[str] = ()) -> bytes:
    """Read the input; what goes wrong is said in the words of the Rust tools.

    Args:
        name: the file, or ``-``.
        failure: what has gone wrong where it cannot be opened.
        missing: what else to say where there is none.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if name == STDIO and sys.stdin is None:
            raise _system_error(errno.EBADF)
        with open(0, "rb", closefd=False) if name == STDIO else Path(name).open("rb") as file:
            return file.read()
    except IsADirectoryError as error:
        raise InputError("failed to read input Wasm module", [_named(name, error)]) from None
    except FileNotFoundError as error:
        raise InputError(failure, [_named(name, error), *missing]) from None
    except OSError as error:
        raise InputError(failure, [_named(name, error)]) from None


def is_large(name: str) -> bool:
    """Whether there is a regular file of this name, which can be read without waiting, and it is large."""
    from wizer.engine.original import LARGE

    try:
        info = Path(name).stat()
    except (OSError, ValueError):
        return False
    return name != STDIO and stat.S_ISREG(info.st_mode) and info.st_size >= LARGE


def read_preload(path: str) -> bytes:
    """Read a module to import from."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        causes = [f"failed to read from `{path}`", worded(error)]
        raise InputError("failed to parse preload module", causes) from None


def check_output(output: str | None) -> None:
    """Find out before the run what would keep the output from being written after it."""
    if output is None or output == STDIO:
        return
    try:
        check_target(output)
    except OSError as error:
        raise OutputError("failed to create output file", [_named(str(output), error)]) from None


def write(chunks: Iterable[Chunk], output: str | None) -> None:
    """Write the output to a file, or to standard output."""
    if output not in (None, STDIO):
        write_path(chunks, output, finish=ignore)
        return
    try:
        if sys.stdout is None:
            raise _system_error(errno.EBADF)
        with open(1, "wb", closefd=False) as stream:
            write_stream(chunks, stream)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError("failed to write output file", [worded(error)]) from None


def _named(name: str, error: OSError) -> str:
    """Say what went wrong with a file."""
    return worded(error) if name == STDIO else f"{name}: {worded(error)}"


def _system_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))
