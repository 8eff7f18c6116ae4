"""Writing the output: it appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from wizer.binary.assemble import Chunk
from wizer.errors import OutputError

_BUFFER = 1 << 20  # bytes; small chunks are gathered, larger ones go from live memory to the file
_CHUNKS_A_WRITE = 1024  # as many as Linux, macOS and the BSDs take
_UNFINISHED: set[Path] = set()  # files beside the place of an output


def write_stream(chunks: Iterable[Chunk], stream: BinaryIO) -> int:
    """Write ``chunks`` to an open stream; return the number of bytes."""
    return sum(_write(stream, chunk) for chunk in chunks)


def write_path(
    chunks: Iterable[Chunk], path: str | os.PathLike[str], *, finish: Callable[[], None] | None = None
) -> int:
    """Write ``chunks`` to ``path`` and return the number of bytes.

    A regular file is written beside its place and then moved there, so that whoever looks sees the old
    contents or the new ones. Anything else (a terminal, a pipe, ``/dev/null``) is written to as it is.

    Args:
        chunks: the contents.
        path: where to.
        finish: called when all is written, just before the file is moved; what it raises comes out, and the
            old contents stay.

    Raises:
        OutputError: it could not be written; the old file is untouched and nothing is left beside it.
    """
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            with target.open("wb", buffering=_BUFFER) as stream:
                return write_stream(chunks, stream)
        return _replace(chunks, Path(os.path.realpath(target)), finish)
    except OSError as error:
        raise OutputError(f"failed to write the output `{target}`", [error.strerror or str(error)]) from None


def _replace(chunks: Iterable[Chunk], target: Path, finish: Callable[[], None] | None) -> int:
    mode = _mode(target)
    new = _new_path_beside(target)
    try:
        descriptor = _new_file(new, 0o666 if mode is None else 0o600)
        with os.fdopen(descriptor, "wb", buffering=_BUFFER) as stream:
            size = _gathered(chunks, descriptor) if hasattr(os, "writev") else write_stream(chunks, stream)
        if mode is not None:
            new.chmod(mode)
        if finish is not None:
            finish()
        new.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    finally:
        _UNFINISHED.discard(new)
    return size


def discard_unfinished() -> None:
    """Remove what is written beside an output's place; for who ends the process from another thread."""
    for path in [*_UNFINISHED]:
        with contextlib.suppress(OSError):
            path.unlink()


def _new_path_beside(target: Path) -> Path:
    """Return a name that nothing has; importing tempfile costs 6 ms."""
    path = target.with_name(f".wizer-{os.urandom(12).hex()}")
    _UNFINISHED.add(path)
    return path


def _new_file(path: Path, mode: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)


def _mode(target: Path) -> int | None:
    """Return the permissions of the file that is replaced, None where there is none."""
    with contextlib.suppress(OSError):
        return stat.S_IMODE(target.stat().st_mode)
    return None


def _gathered(chunks: Iterable[Chunk], descriptor: int) -> int:
    """Write from where the chunks are, small ones many at once; return the number of bytes."""
    total = 0
    small: list[Chunk] = []
    for chunk in chunks:
        total += len(chunk)
        if len(chunk) < _BUFFER:
            small.append(chunk)
            if len(small) < _CHUNKS_A_WRITE:
                continue
        _write_small(small, descriptor)
        small.clear()
        if len(chunk) >= _BUFFER:
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
    _write_small(small, descriptor)
    return total


def _write_small(chunks: Sequence[Chunk], descriptor: int) -> None:
    while size := sum(map(len, chunks)):
        done = os.writev(descriptor, chunks)
        if done == size:
            return
        chunks = _after(chunks, done)


def _after(chunks: Sequence[Chunk], done: int) -> list[Chunk]:
    """Return what is left of chunks, of which the first ``done`` bytes are written."""
    for number, chunk in enumerate(chunks):
        if done < len(chunk):
            return [memoryview(chunk)[done:], *chunks[number + 1 :]]
        done -= len(chunk)
    return []


def _write(stream: BinaryIO, chunk: Chunk) -> int:
    rest = memoryview(chunk)
    while rest:  # a stream without a buffer takes less at once, on Linux 2 GiB
        rest = rest[stream.write(rest) :]
    return len(chunk)
