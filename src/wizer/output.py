"""Writing the output: it appears whole or not at all, wherever a file can be replaced."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from wizer.binary.assemble import Chunk
from wizer.errors import OutputError

_BUFFER = 1 << 20  # bytes; small chunks are gathered, larger ones go from live memory to the file
_CHUNKS_A_WRITE = 1024  # as many as Linux, macOS and the BSDs take

UNFINISHED: set[Path] = set()
"""Files that are written beside their places."""


def write_stream(chunks: Iterable[Chunk], stream: BinaryIO) -> int:
    """Write ``chunks`` to an open stream; return the number of bytes."""
    return sum(_write(stream, chunk) for chunk in chunks)


def write_path(
    chunks: Iterable[Chunk], path: str | os.PathLike[str], *, finish: Callable[[], None] | None = None
) -> int:
    """Write ``chunks`` to ``path`` and return the number of bytes.

    A regular file is written beside its place and then moved there, so that whoever looks sees the old
    contents or the new ones. A file that is standard output, or that cannot be replaced (nothing may be
    made in its folder, or something is mounted on it), is written to where it is; so is anything that is no
    regular file (a terminal, a pipe, ``/dev/null``).

    Args:
        chunks: the contents.
        path: where to.
        finish: called when all is ready, just before the old contents go; what it raises comes out, and
            they stay.

    Raises:
        OutputError: it could not be written, or the file may not be. The old file is untouched, unless it
            cannot be replaced and an error of the device came while it was written.
    """
    try:
        check_target(path)
        target = Path(path)
        if target.exists() and (not target.is_file() or _is_standard_output(target)):
            with target.open("wb", buffering=_BUFFER) as stream:
                return write_stream(chunks, stream)
        return _replace(chunks, Path(os.path.realpath(target)), finish)
    except OSError as error:
        raise OutputError(f"failed to write the output `{path}`", [error.strerror or str(error)]) from None
    except ValueError as error:  # a NUL, or half a character
        raise OutputError(f"failed to write the output {path!r}", [str(error)]) from None


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise the `OSError` that would keep a file from being written, as far as that can be told before."""
    text, target = os.fspath(path), Path(path)
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None  # `exists` says so of a name that is too long, too, from Python 3.14 on
    if text.endswith(("/", "/.")) or (mode is not None and stat.S_ISDIR(mode)):
        raise _system_error(errno.EISDIR)
    if mode is not None:
        if stat.S_ISREG(mode):
            os.close(os.open(target, os.O_WRONLY))  # it may be replaced only if it may be written to
        return
    folder = Path(os.path.realpath(target)).parent
    folder.joinpath("..").stat()  # looks into the folder, so there has to be one
    if not os.access(folder, os.W_OK):
        read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
        raise _system_error(errno.EROFS if read_only else errno.EACCES)


def _system_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _is_standard_output(target: Path) -> bool:
    """Whether standard output goes to a file, as to ``/dev/stdout``: who has it open looks there."""
    with contextlib.suppress(OSError):
        return os.path.samestat(target.stat(), os.fstat(1))
    return False


def _replace(chunks: Iterable[Chunk], target: Path, finish: Callable[[], None] | None) -> int:
    mode = _mode(target)
    new = _new_path_beside(target)
    try:
        try:
            descriptor = _new_file(new, 0o666 if mode is None else 0o600)
        except OSError:
            if mode is None:
                raise
            return _write_in_place(list(chunks), target, finish)
        with os.fdopen(descriptor, "wb", buffering=_BUFFER) as stream:
            chunks = list(chunks)
            if mode is not None:
                _reserve(descriptor, sum(map(len, chunks)))
            size = _gathered(chunks, descriptor) if hasattr(os, "writev") else write_stream(chunks, stream)
        if mode is not None:
            new.chmod(mode)
        if finish is not None:
            finish()
        try:
            new.replace(target)
        except OSError:
            if mode is None:
                raise
            _write_in_place([new.read_bytes()], target, None)
            _remove(new)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(new)
        raise
    finally:
        UNFINISHED.discard(new)
    return size


def _reserve(descriptor: int, size: int) -> None:
    """Have the file system find room for a file that is going to replace another one.

    Where it would do so only later, it does so when the file is renamed, and begins to write it out: 10 ms
    for 18 MB (ext4's ``auto_da_alloc``). Where there is no room, or this is not to be had, writing says so.
    """
    if sys.platform != "linux" or size < _BUFFER:
        return
    import ctypes

    with contextlib.suppress(AttributeError):  # another C library
        fallocate = ctypes.CDLL(None).fallocate
        fallocate(descriptor, 0, ctypes.c_long(0), ctypes.c_long(size))


def _write_in_place(chunks: Sequence[Chunk], target: Path, finish: Callable[[], None] | None) -> int:
    """Write to a file that cannot be replaced, once there is room for all."""
    with target.open("r+b", buffering=0) as stream:
        if finish is not None:
            finish()
        old, size = os.fstat(stream.fileno()).st_size, sum(map(len, chunks))
        if hasattr(os, "posix_fallocate") and size > old:
            try:
                os.posix_fallocate(stream.fileno(), old, size - old)
            except OSError as error:
                stream.truncate(old)
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # not every file system knows it
                    raise
        write_stream(chunks, stream)
        stream.truncate(size)
    return size


def discard_unfinished() -> None:
    """Remove what is written beside its place; for who ends the process from another thread."""
    for path in [*UNFINISHED]:
        with contextlib.suppress(OSError):
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a file; Windows removes none that is read-only, as what it was to replace may have been."""
    if os.name != "posix":
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    path.unlink()


def _new_path_beside(target: Path) -> Path:
    """Return a name that nothing has, and whose it is; importing tempfile costs 6 ms."""
    path = target.with_name(f".wizer-{os.getpid()}-{os.urandom(12).hex()}")
    UNFINISHED.add(path)
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
        rest = rest[_taken(stream, rest) :]
    return len(chunk)


def _taken(stream: BinaryIO, data: memoryview) -> int:
    """Write some of ``data``, which is not empty, to a stream; return how many bytes it took."""
    taken: object = stream.write(data)
    if taken is None and not isinstance(stream, io.RawIOBase):
        return len(data)  # what is like a stream need not say
    if not isinstance(taken, int) or not 0 < taken <= len(data):
        raise OutputError(
            f"the stream took {taken!r} of {len(data)} bytes: it has to wait for what it writes to"
        )
    return taken
