"""A command line in a process of its own, and what it takes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.command import Ended, environment

# A process's most memory is at least what the one had that started it: so a small one does.
_PROGRAM = """
import os, sys
status = os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ), 0)[1])
import resource
with open(sys.argv[1], "w") as file:
    file.write(f"[{status}, {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}]")
"""


@dataclass(frozen=True)
class Measured(Ended):
    """A process that has ended.

    Attributes:
        seconds: how long it ran.
        peak: the most memory that it had, in bytes.
    """

    seconds: float
    peak: int


def measured(command: Sequence[str], *args: str | Path, cwd: Path) -> Measured:
    """Run a command, the first word of which is a path, to its end."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        started = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-S", "-c", _PROGRAM, str(report), *command, *map(str, args)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=cwd,
            env=environment(),
            timeout=120,
            check=True,
        )
        seconds = time.monotonic() - started
        status, kibibytes = json.loads(report.read_text())
    stderr = run.stderr.decode("utf-8", "backslashreplace")
    return Measured(status, run.stdout, stderr, seconds, kibibytes << 10)
