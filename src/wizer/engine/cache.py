"""A cache of compiled modules and components, in files that the engine maps instead of reading.

The engine's own cache compresses what it keeps, and unpacks and copies it for every run: 0.1 s for 10 MB of
WebAssembly. A mapped file takes as long as its checksum, and memory only for the code that runs.

The engine checks that a file was made by its version and with its settings, and trusts it beyond that. So the
folder must be the user's, with nobody else allowed to write to it, and a checksum beside each file finds what
was damaged.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from wizer.output import UNFINISHED
from wizer.records import record

if TYPE_CHECKING:
    import wasmtime
    from wasmtime.component import Component

Code = TypeVar("Code", bound="wasmtime.Module | Component")

MOST = 1 << 30
"""Bytes in the cache; beyond that, what was not used for longest goes."""


_CHECKSUM = 4  # bytes
_NOTE, _LATEST = ".valid", ".latest"
_LONGEST = 256  # bytes of a key
_LEAST = 4096  # bytes that a file takes, also an empty one


@record
class Expected:
    """What is likely to be loaded: its key, and the checksum of its file, which was read ahead."""

    key: str
    checksum: bytes


def expected(name: str) -> Expected | None:
    """Read what was last made under this name; None: nothing, or it cannot be read."""
    folder = _folder()
    if folder is None:
        return None
    try:
        with _opened(folder / f"{name}{_LATEST}") as stream:
            key = stream.read(_LONGEST).decode()
        os.utime(folder / f"{name}{_LATEST}")
        return Expected(key, _checksum(folder / key)) if key.isalnum() else None
    except (OSError, ValueError):
        return None


def expect(name: str, key: str) -> None:
    """Leave a note of what was made under this name. Where that is impossible, do nothing."""
    folder = _folder()
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / f"{name}{_LATEST}").write_text(key)


def load(kind: type[Code], engine: wasmtime.Engine, key: str, ahead: Expected | None = None) -> Code | None:
    """Return the module or component with this key, None where there is none that the engine takes.

    Args:
        kind: what it is.
        engine: what it is for.
        key: the key.
        ahead: what was expected, if anything was.
    """
    from wasmtime import WasmtimeError

    folder = _folder()
    if folder is None:
        return None
    path = folder / key
    try:
        os.utime(path)
        with _opened(_beside(path)) as beside:
            right = beside.read(_CHECKSUM + 1)
        if right != (ahead.checksum if ahead is not None and ahead.key == key else _checksum(path)):
            return None
        return cast("Code", kind.deserialize_file(engine, str(path)))
    except (OSError, ValueError, WasmtimeError):  # an empty file cannot be mapped
        return None


def store(code: wasmtime.Module | Component, key: str) -> None:
    """Store a module or component under its key; where that is impossible, do nothing."""
    from wasmtime import WasmtimeError

    from wizer.engine import capi_config

    folder = _folder()
    if folder is None:
        return
    new = folder / f".{os.urandom(6).hex()}"  # it appears whole or not at all
    halves = (new, _beside(new))
    UNFINISHED.update(halves)
    try:
        with contextlib.suppress(OSError, ValueError, WasmtimeError):
            with new.open("xb", buffering=0) as stream:
                capi_config.write_compiled(code, stream)
            _beside(new).write_bytes(_checksum(new))
            _beside(new).replace(_beside(folder / key))  # one of another file is no harm: see `load`
            new.replace(folder / key)
            _tidy(folder)
    finally:
        for path in halves:
            with contextlib.suppress(OSError):
                path.unlink()
        UNFINISHED.difference_update(halves)


def is_noted(key: str) -> bool:
    """Whether there is a note with this key, which counts as used now."""
    folder = _folder()
    if folder is None:
        return False
    try:
        os.utime(folder / f"{key}{_NOTE}")
    except OSError:
        return False
    return True


def note(key: str) -> None:
    """Leave a note: that what has this key was found valid. Where that is impossible, do nothing."""
    folder = _folder()
    if folder is not None:
        with contextlib.suppress(OSError):
            (folder / f"{key}{_NOTE}").touch()


def _beside(path: Path) -> Path:
    """Return the file that holds another one's checksum."""
    return path.with_name(f"{path.name}.crc32")


def _checksum(path: Path) -> bytes:
    """Return the checksum of a file: against accidents, not against whoever may write to the folder."""
    import mmap
    import zlib

    with _opened(path) as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as contents:
        return zlib.crc32(contents).to_bytes(_CHECKSUM, "little")


def _opened(path: Path) -> BinaryIO:
    """Open a regular file; raise `OSError` for a pipe, say, which would wait for somebody to write."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return os.fdopen(fd, "rb", buffering=0)
    os.close(fd)
    raise OSError(f"{path} is not a regular file")


def _folder() -> Path | None:
    """Return the folder, which is made where it is missing; None where there is none to be trusted."""
    caches = _caches()
    if caches is None:
        return None
    folder = caches / "wizer" / "wasmtime-modules"
    return folder if _is_private(folder.parent) and _is_private(folder) else None


def _is_private(folder: Path) -> bool:
    """Make a folder where it is missing; return whether nobody but its owner may change what is in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.stat()
    except OSError:
        return False
    return not hasattr(os, "geteuid") or (info.st_uid == os.geteuid() and not info.st_mode & 0o022)


def _caches() -> Path | None:
    """Return the platform's folder for caches, None where it is not known."""
    if sys.platform == "win32":
        found = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        home = os.environ.get("HOME", "")
        found = home and f"{home}/Library/Caches"
    else:
        home = os.environ.get("HOME", "")
        found = os.environ.get("XDG_CACHE_HOME", "") or (home and f"{home}/.cache")
    return Path(found) if found and Path(found).is_absolute() else None


def _tidy(folder: Path) -> None:
    """Delete what was not used for longest where there is too much; a process that uses it goes on."""
    entries = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            info = path.stat()
            entries.append((info.st_mtime, max(info.st_size, _LEAST), path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= MOST:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
