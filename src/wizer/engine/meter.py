"""What a run takes of time and memory from its beginning to its end, whatever it is doing.

`wizer.engine.watchdog` ends guest code. Nothing ends a compiler, or Python code in the middle of a million
items, but the end of the process: who may end one looks at a `Meter` often enough, and does so.

Importing this module does not import the engine.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

from wizer.engine.limits import Limits
from wizer.errors import LimitError
from wizer.progress import Progress

SPARE_SECONDS: Final = 2.0
"""What a run may take beyond its limit of time, which is the guest's, before it is ended."""

SPARE_MEMORY: Final = 144 << 20
"""Bytes that a process may take beyond the limit of memory, which is the guest's, before it is ended."""

# A few gigabytes a second are taken at most: until what is left can be full, nobody needs to look.
_FASTEST: Final = 4 << 30
_SHORTEST_LOOK: Final = 0.005
_LONGEST_LOOK: Final = 0.1


class Meter:
    """Compares a process with the limits of its run.

    Memory is what is resident, the guest's memories included. It is known on Linux; elsewhere only of this
    process, and there the most that it ever was.

    Args:
        progress: of the run.
        limits: of the run.
        pid: of another process, which has only just started; None: this one, and what it has now is not the
            run's.
    """

    def __init__(self, progress: Progress, limits: Limits, pid: int | None = None) -> None:
        self._progress = progress
        self._limits = limits
        self._pid = pid
        base = resident() if pid is None else 0
        self._most = None if limits.max_memory is None else base + limits.max_memory + SPARE_MEMORY
        self._room = 0

    def met(self) -> LimitError | None:
        """Return the error for the limit that the run has met, None as long as it has met none."""
        began, timeout = self._progress.began, self._limits.timeout
        if timeout is not None and began is not None and time.monotonic() - began > timeout + SPARE_SECONDS:
            return self._error(f"{timeout:g} s", f"{SPARE_SECONDS:g} s", "timeout")
        if self._most is None:
            return None
        self._room = self._most - resident(self._pid)
        if self._room < 0:
            spare = f"{SPARE_MEMORY >> 20} MiB"
            return self._error(f"{self._limits.max_memory} bytes of memory", spare, "max_memory")
        return None

    def _error(self, limit: str, spare: str, option: str) -> LimitError:
        doing = _DOING[self._progress.stage]
        return LimitError(
            f"{doing} took more than the limit of the run, {limit}",
            [f"what is not the guest's may take {spare} beyond it; `{option}` sets another limit"],
        )

    def seconds(self) -> float:
        """Return for how long nobody needs to look."""
        if self._most is None:
            return _LONGEST_LOOK
        return min(max(self._room / _FASTEST, _SHORTEST_LOOK), _LONGEST_LOOK)


_DOING: Final = {
    "reading": "reading the input",
    "parsing": "parsing the input",
    "instrumenting": "instrumenting the module",
    "compiling": "compiling the module",
    "linking": "linking the imports",
    "initialising": "initialisation",
    "capturing": "capturing the state",
    "scanning": "looking for what memory holds",
    "comparing": "comparing states",
    "writing": "writing the output",
}


def resident(pid: int | None = None) -> int:
    """Return how many bytes of a process are in memory, as far as that can be told; see `Meter`."""
    if sys.platform == "linux":
        try:
            pages = Path(f"/proc/{'self' if pid is None else pid}/statm").read_bytes().split()[1]
        except (OSError, IndexError):  # it has just ended
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    if pid is None and os.name == "posix":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 0
