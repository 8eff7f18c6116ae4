"""Another platform, seen by Wizer's own modules and by nothing else.

``WIZER_PLATFORM`` names it: ``darwin``, ``win32``, or ``bare``, a Linux with neither ``/proc`` nor glibc.
What a module of `wizer` imports of the standard library lacks what is not there, and behaves as it does there
where it matters. Tests load this before `wizer`::

    WIZER_PLATFORM=win32 python -m pytest -p support.other_platform ...
    WIZER_PLATFORM=win32 python -c "import support.other_platform; ..."

It finds what needs a system that is not there; it does not replace a run on that system.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import importlib
import os
import select
import signal
import stat
import sys
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any

PLATFORM = os.environ.get("WIZER_PLATFORM", "")

_LINUX_OS = {
    *("O_TMPFILE", "memfd_create", "sched_getaffinity", "pidfd_open", "copy_file_range", "splice", "O_PATH"),
    *("posix_fallocate", "posix_fadvise", "O_DIRECT", "O_NOATIME", "pipe2", "eventfd"),
}
_POSIX_OS = {
    *("uname", "getuid", "geteuid", "getgid", "getegid", "mkfifo", "mknod", "fork", "forkpty", "openpty"),
    *(
        "writev",
        "readv",
        "pread",
        "pwrite",
        "sysconf",
        "sysconf_names",
        "fchmod",
        "fchown",
        "chown",
        "lchown",
    ),
    *("nice", "getpgid", "setsid", "setpgid", "killpg", "wait", "waitid", "O_NONBLOCK", "O_CLOEXEC"),
    *("O_NOFOLLOW", "O_DIRECTORY", "set_blocking", "get_blocking", "getpriority", "sendfile", "pathconf"),
    *("statvfs", "ttyname", "getpgrp", "getlogin", "register_at_fork"),
}
_POSIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty", "posix", "readline"}
_WINDOWS_SIGNALS = {"SIGINT", "SIGTERM", "SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV", "SIG_DFL", "SIG_IGN"}
_POSIX_SIGNALS = {
    *(name for name in dir(signal) if name.startswith("SIG") and name not in _WINDOWS_SIGNALS),
    *(
        "setitimer",
        "getitimer",
        "alarm",
        "pthread_kill",
        "pthread_sigmask",
        "sigwait",
        "siginterrupt",
        "pause",
    ),
}


def _seen(name: str, without: Collection[str], other: Mapping[str, object]) -> types.ModuleType:
    """Return a module as it is on the other platform: without some names, and with others."""
    real = importlib.import_module(name)

    class Seen(types.ModuleType):
        def __getattr__(self, attribute: str) -> Any:
            if attribute in without:
                raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
            return getattr(real, attribute)

        def __setattr__(self, attribute: str, value: object) -> None:
            setattr(real, attribute, value)

    seen = Seen(name)
    seen.__dict__.update(other)
    return seen


def _without_proc(path: Any, *args: Any, **kwargs: Any) -> int:
    if str(path).startswith("/proc"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return _open(path, *args, **kwargs)


_open = os.open


class _OwnLibrary:
    """What is known of the C library: nothing that only glibc has."""


def _library(name: str | None, *args: Any, **kwargs: Any) -> Any:
    return _OwnLibrary() if name is None else ctypes.CDLL(name, *args, **kwargs)


def _no_library(name: str | None, *args: Any, **kwargs: Any) -> Any:
    if name is None:
        raise TypeError("argument of type 'NoneType' is not iterable")
    return ctypes.CDLL(name, *args, **kwargs)


# Windows' rules.


def _is_socket(fd: Any) -> bool:
    return stat.S_ISSOCK(os.fstat(fd if isinstance(fd, int) else fd.fileno()).st_mode)


def _select(reads: Any, writes: Any, others: Any, timeout: float | None = None) -> Any:
    for fd in (*reads, *writes, *others):
        if not _is_socket(fd):
            raise OSError(10038, "an operation was attempted on something that is not a socket")
    return select.select(reads, writes, others, timeout)


def _set_wakeup_fd(fd: int, **options: Any) -> int:
    if fd != -1 and not _is_socket(fd):
        raise ValueError("it is not a socket")
    return signal.set_wakeup_fd(fd, **options)


def _signal(number: int, handler: Any) -> Any:
    if signal.Signals(number).name not in _WINDOWS_SIGNALS:
        raise ValueError("invalid signal value")
    return signal.signal(number, handler)


def _write(fd: int, data: Any) -> int:
    if _is_socket(fd):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return os.write(fd, data)


def _kill(_pid: int, number: int) -> None:
    sys.stdout.flush()
    os._exit(number)  # as `TerminateProcess`


def _is_read_only(path: Any) -> bool:
    try:
        return not os.stat(path).st_mode & stat.S_IWUSR  # noqa: PTH116  of what `os` is given
    except OSError:
        return False


def _writing(path: Any, flags: int, *args: Any, **options: Any) -> int:
    if flags & (os.O_WRONLY | os.O_RDWR) and _is_read_only(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return _open(path, flags, *args, **options)


def _refusing(function: Callable[..., Any], position: int) -> Callable[..., Any]:
    """Return what refuses, as Windows does, to do something to a read-only file."""

    def call(*paths: Any, **options: Any) -> Any:
        if _is_read_only(paths[position]):
            raise PermissionError(errno.EACCES, "Access is denied", str(paths[position]))
        return function(*paths, **options)

    return call


def _make() -> tuple[Mapping[str, types.ModuleType], Collection[str]]:
    """Return the modules that differ, and those that are not there."""
    if PLATFORM == "darwin":
        seen = {
            "os": _seen("os", _LINUX_OS, {"open": _without_proc}),
            "sys": _seen("sys", (), {"platform": "darwin"}),
            "ctypes": _seen("ctypes", (), {"CDLL": _library, "PyDLL": _library}),
        }
        return seen, ()
    if PLATFORM == "bare":
        seen = {
            "os": _seen("os", (), {"open": _without_proc}),
            "ctypes": _seen("ctypes", (), {"CDLL": _library, "PyDLL": _library}),
        }
        return seen, {"fcntl", "pwd"}
    assert PLATFORM == "win32", f"no platform is called {PLATFORM!r}"
    os.environ.setdefault("PROCESSOR_ARCHITECTURE", "AMD64")
    # `pathlib` calls these, too.
    os.replace = _refusing(os.replace, 1)
    os.unlink = _refusing(os.unlink, 0)
    windows = {"name": "nt", "O_BINARY": 0, "kill": _kill, "write": _write, "open": _writing}
    seen = {
        "os": _seen("os", _LINUX_OS | _POSIX_OS, windows),
        "sys": _seen("sys", (), {"platform": "win32"}),
        "select": _seen("select", {"poll", "epoll"}, {"select": _select}),
        "signal": _seen("signal", _POSIX_SIGNALS, {"set_wakeup_fd": _set_wakeup_fd, "signal": _signal}),
        "ctypes": _seen("ctypes", (), {"CDLL": _no_library, "PyDLL": _no_library}),
    }
    return seen, _POSIX_MODULES


def _install() -> None:
    seen, absent = _make()
    real = builtins.__import__

    def import_(name: str, *args: Any, **kwargs: Any) -> types.ModuleType:
        importer = args[0] if args else kwargs.get("globals")
        level = args[3] if len(args) > 3 else kwargs.get("level", 0)
        if level == 0 and str((importer or {}).get("__name__", "")).partition(".")[0] == "wizer":
            if name.partition(".")[0] in absent:
                raise ModuleNotFoundError(f"No module named {name!r} on {PLATFORM}", name=name)
            if name in seen:
                return seen[name]
        return real(name, *args, **kwargs)

    builtins.__import__ = import_


if PLATFORM:
    assert "wizer" not in sys.modules, "it has seen this platform already"
    _install()
