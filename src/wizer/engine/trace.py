"""What initialisation did to the outside: which imports it called, and which files it opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Trace:
    """Fills while guests run.

    Attributes:
        calls: how often each imported function was called, by module and name.
        files: the paths of the files that were opened, in order, below the name of their preopened directory.
        read: the paths of the files and links that were read, each once, in order.
        looked: the paths that were looked at in any way, whether or not there was anything, each once, in
            order.
        stdin: whether standard input was read.
        open: the paths of those that are open still, by file descriptor.
        preopens: the names of the preopened directories, by file descriptor.
        unobserved: imported functions whose calls are not noted, by module and name.
    """

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.files: list[str] = []
        self.read: dict[str, None] = {}
        self.looked: dict[str, None] = {}
        self.stdin: bool = False
        self.preopens: dict[int, str] = {}
        self.open: dict[int, str] = {}
        self.unobserved: list[tuple[str, str]] = []

    def called(self, module: str, name: str) -> None:
        """Note a call."""
        self.calls[module, name] += 1

    def traced(self, module: str, name: str, function: Callable[..., object]) -> Callable[..., object]:
        """Return a function that notes its calls."""

        def call(*args: object) -> object:
            self.called(module, name)
            return function(*args)

        return call

    def looked_at(self, directory: int, path: str = "") -> None:
        """Note that somebody looked at a path below an open directory, or at the directory itself."""
        self.looked[self._below(directory, path)] = None

    def opened(self, fd: int, directory: int, path: str) -> None:
        """Note that a file was opened as ``fd``, by its path below the open directory ``directory``."""
        path = self._below(directory, path)
        self.files.append(path)
        self.open[fd] = path

    def has_read(self, fd: int) -> None:
        """Note that something was read from a file descriptor."""
        if fd in self.open:
            self.read[self.open[fd]] = None
        elif fd == 0:
            self.stdin = True

    def followed(self, directory: int, path: str) -> None:
        """Note that it was asked where a link below an open directory leads."""
        self.read[self._below(directory, path)] = None

    def _below(self, directory: int, path: str) -> str:
        base = self.open.get(directory, self.preopens.get(directory))
        return path if base is None else f"{base.rstrip('/')}/{path}" if path else base

    def closed(self, fd: int) -> None:
        """Note that a file was closed."""
        self.open.pop(fd, None)

    def renumbered(self, fd: int, to: int) -> None:
        """Note that a file descriptor took the place of another."""
        if fd in self.open:
            self.open[to] = self.open.pop(fd)
