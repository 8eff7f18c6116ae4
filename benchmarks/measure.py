"""Running a command and saying what it took.

This process stays small on purpose: Linux counts the memory of the process that starts a program as the
program's own until the program has been loaded, so a large one would spoil the peaks.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

Name = TypeVar("Name", bound=str)

LEAST_ROUNDS, MOST_ROUNDS = 5, 21
SECONDS = 10  # after which no round begins that was not asked for


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: seconds of wall time, seconds of processor time of all threads, bytes of peak memory."""

    wall: float
    cpu: float
    peak: int


class FailedError(Exception):
    """A command ended with another status than 0; the message is the gist of what it said."""


def run(command: Sequence[str], environment: Mapping[str, str], text: str = "") -> Sample:
    """Run ``command``, with ``text`` as its standard input, and return what it took.

    Raises:
        FailedError: it failed.
    """
    begin = time.perf_counter()
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        assert process.stdin is not None
        process.stdin.write(text.encode())  # a line or none, for which a pipe has room
        process.stdin.close()
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise FailedError(_gist(said.decode(errors="replace")) or f"exit status {process.returncode}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _gist(text: str) -> str:
    """Return the error and its last cause, without traces."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [
        line for line in lines if line and not line.startswith(("note:", "Caused by", "Stack backtrace"))
    ]
    if not lines:
        return ""
    last = lines[-1].removeprefix("0: ").removeprefix("1: ").removeprefix("2: ")
    return lines[0] if len(lines) == 1 else f"{lines[0]} … {last}"


def typical(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure."""
    return Sample(
        median(sample.wall for sample in samples),
        median(sample.cpu for sample in samples),
        int(median(sample.peak for sample in samples)),
    )


def in_turns(
    commands: Mapping[Name, Sequence[str]], environment: Mapping[str, str], rounds: int, text: str = ""
) -> dict[Name, list[Sample] | str]:
    """Run commands side by side, in turns: A B C A B C; short ones more often, for they vary more.

    Returns:
        For each its samples, or what it said when it failed; one that failed is not run again.
    """
    results: dict[Name, list[Sample] | str] = {name: [] for name in commands}
    until = time.monotonic() + SECONDS
    for number in range(max(rounds, MOST_ROUNDS if rounds >= LEAST_ROUNDS else 0)):
        if number >= rounds and time.monotonic() > until:
            break
        for name, command in commands.items():
            samples = results[name]
            if isinstance(samples, str):
                continue
            try:
                samples.append(run(command, environment, text))
            except FailedError as error:
                results[name] = str(error)
    return results


def size_of(path: Path) -> int | None:
    """Return the size of a file in bytes, None where there is none."""
    return path.stat().st_size if path.exists() else None
