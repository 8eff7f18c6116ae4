"""Real command lines: this `wizer` and the Rust tools, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

WIZER = (sys.executable, "-m", "wizer")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for processes that import this package."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RUST_BACKTRACE": "0", **(extra or {})}


def wizer(
    *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run this project's command."""
    return run(WIZER, *args, cwd=cwd, env=env)


def run(
    command: Sequence[str],
    *args: str | Path,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [*command, *map(str, args)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=environment(env),
        timeout=120,
        check=False,
    )


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def first_line(self) -> str:
        return self.stderr.partition("\n")[0]


@dataclass(frozen=True)
class Tool:
    """A command line to compare or to test."""

    command: Sequence[str]
    cwd: Path

    def __call__(self, *args: str | Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ended:
        ended = run(self.command, *args, stdin=stdin, cwd=self.cwd, env=env)
        return Ended(ended.returncode, ended.stdout, ended.stderr.decode())

    def start(self, *args: str | Path, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        """Start the command and return the running process; its input is a pipe that stays open."""
        return subprocess.Popen(
            [*self.command, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=self.cwd,
            env=environment(),
        )
