"""What a run is doing, on the terminal of whoever waits for it: from half a second on, in one line.

While the guest runs, it may write to the same terminal, and what it writes would end up in the middle of that
line. Then there is no such line, and what is worth knowing is said in lines of their own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from wizer.cli.report import Manner, harmless, remark
from wizer.progress import PROGRESS, Stage

if TYPE_CHECKING:
    from rich.console import Console

    from wizer.engine.wasi import Wasi

_PATIENCE: Final = 0.5  # seconds before anything is said
_LOOK: Final = 0.1  # seconds between two looks
_LINES: Final = (3, 10, 30, 60, 300)  # seconds after each of which a line is said, where none is drawn
_MOST_WAIT: Final = 0.2  # seconds for which a line of progress may keep others waiting

_DOING: Final[dict[Stage, str]] = {
    "reading": "reading the input",
    "parsing": "parsing",
    "instrumenting": "instrumenting",
    "compiling": "compiling",
    "linking": "linking",
    "initialising": "running",
    "capturing": "reading the state",
    "scanning": "scanning memory",
    "comparing": "comparing states",
    "writing": "writing",
}

# The numbers of `read` and `readv`, by machine.
_READS: Final = {"x86_64": ("0", "19"), "aarch64": ("63", "65")}


class Display:
    """Looks at the progress and says what is new, as long as one is inside of it.

    Args:
        wasi: what the guest sees of the terminal.
    """

    def __init__(self, wasi: Wasi | None) -> None:
        self._ended = threading.Event()
        self._drawing = threading.Lock()
        self._line: _Line | None = None
        self._shared = wasi is not None and _shares_terminal(wasi)
        self._reads = wasi is not None and wasi.stdin == "inherit"
        self._said: tuple[float, int] = (0.0, 0)  # of which call, and how many lines
        self._waits_for = 0.0  # the call of which it was said that it waits for somebody to type

    def __enter__(self) -> Self:
        Manner.erase = self._erase
        PROGRESS.listeners.append(self._heard)
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._erase()
        PROGRESS.listeners.remove(self._heard)
        Manner.erase = None

    def _run(self) -> None:
        if self._ended.wait(_PATIENCE):
            return
        line = _line()
        while not self._ended.wait(_LOOK):
            with self._drawing:
                self._line = line
                if not self._ended.is_set():
                    self._look()

    def _erase(self) -> None:
        """Take the line off the terminal: somebody else writes to it now."""
        if self._drawing.acquire(timeout=_MOST_WAIT):
            try:
                if self._line is not None:
                    self._line.erase()
            finally:
                self._drawing.release()

    def _heard(self, kind: str, *content: object) -> None:
        """Leave the terminal to the guest before it begins."""
        if kind == "stage" and content[0] == "initialising" and self._shared:
            self._erase()

    def _look(self) -> None:
        since, seconds = PROGRESS.since, time.monotonic() - PROGRESS.since
        text = _doing(PROGRESS.stage, PROGRESS.subject, seconds)
        if PROGRESS.runs > 1:
            text = f"run {PROGRESS.runs}: {text}"
        guest = PROGRESS.stage == "initialising"
        waits = guest and self._reads and seconds >= _PATIENCE and _waits_for_input()
        if waits:
            text += " (waiting for standard input)"
        typed = waits and sys.stdin is not None and sys.stdin.isatty()
        if self._line is not None and not (guest and self._shared) and not typed:
            self._line.draw(text)
            return
        if self._line is not None:
            self._line.erase()
        if typed and self._waits_for != since:
            self._waits_for = since
            self._say(text)
        elif not typed:
            self._say_at_times(text, since, seconds)

    def _say_at_times(self, text: str, since: float, seconds: float) -> None:
        """Say a line for each of some lengths of time that something takes."""
        due = sum(seconds >= bound for bound in _LINES)
        said = self._said[1] if self._said[0] == since else 0
        if due > said:
            self._said = since, due
            self._say(text)

    def _say(self, text: str) -> None:
        erase, Manner.erase = Manner.erase, None  # this thread has the lock
        try:
            remark(text)
        finally:
            Manner.erase = erase


def _line() -> _Line | None:
    """Return what draws a line; None: there is no rich, or the terminal cannot take a line back."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    return None if console.is_dumb_terminal else _Line(console)


class _Line:
    """A line at the end of the terminal, drawn over and over."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = ""

    def draw(self, text: str) -> None:
        """Show ``text`` in the place of what is there, as much of it as there is room for."""
        if text == self._shown:
            return
        self.erase()
        self._console.print(
            harmless(text), end="", style="dim", no_wrap=True, overflow="ellipsis", crop=True, soft_wrap=False
        )
        self._console.file.flush()
        self._shown = text

    def erase(self) -> None:
        """Leave the terminal as it was."""
        if self._shown:
            from rich.control import Control
            from rich.segment import ControlType

            self._console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
            self._console.file.flush()
            self._shown = ""


def _doing(stage: Stage, subject: str, seconds: float) -> str:
    """Say what is being done: ``compiling 10.4 MB for 3 s``."""
    doing = f"{_DOING[stage]} {subject}".rstrip()
    return f"{doing} for {_time(int(seconds))}" if seconds >= 1 else doing


def _time(seconds: int) -> str:
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"


def _shares_terminal(wasi: Wasi) -> bool:
    """Whether what the guest writes may appear on the terminal that standard error is."""
    return (
        wasi.stderr in ("inherit", "stderr")
        or wasi.stdout == "stderr"
        or (wasi.stdout == "inherit" and os.isatty(1))
    )


def _waits_for_input() -> bool:
    """Whether a thread of this process is reading standard input, as far as that can be told: on Linux."""
    if sys.platform != "linux":
        return False
    reads = _READS.get(os.uname().machine, ())
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            call = (task / "syscall").read_text().split()
            if call[0] in reads and call[1] == "0x0":
                return True
    return False
