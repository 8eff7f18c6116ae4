"""Many seeds in processes of their own: one that dies is a failure of the seed it was at."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.command import environment

# A seed takes less than a second; an endless loop or a deadlock is a failure, too.
_SECONDS = 120

_TESTS = Path(__file__).parent.parent


@dataclass(slots=True)
class Summary:
    """What came of many seeds.

    Attributes:
        compared: how many snapshots were compared.
        failures: what failed, with the command that repeats it.
        skipped: why seeds were skipped, and how often.
        changed: how many initialisations changed this kind of state, "anything" among them.
        outcomes: how many actions came to this, on both sides.
        growth: the sizes of the snapshots less those of the originals, in bytes.
    """

    compared: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    growth: list[int] = field(default_factory=list)

    def add(self, profile: str, line: dict[str, Any]) -> None:
        """Count what came of one seed."""
        if "failure" in line:
            command = f"PYTHONPATH=tests {Path(sys.executable).name} -m differential {profile} {line['seed']}"
            self.failures.append(f"$ {command}\n{line['failure']}")
        elif line["skipped"] is not None:
            self.skipped[line["skipped"].split(":")[0]] += 1
        else:
            self.compared += 1
            self.changed.update(line["changed"])
            self.changed["anything"] += bool(line["changed"])
            self.changed["restored by a start function"] += line["restored"]
            self.outcomes.update(line["outcomes"])
            self.growth.append(line["snapshot"] - line["original"])

    def lines(self, profile: str) -> Iterator[str]:
        """The summary as text."""
        yield f"{profile}: {self.compared} snapshots compared, {len(self.failures)} failures"
        for title, counts in (
            ("skipped", self.skipped),
            ("changed", self.changed),
            ("probes", self.outcomes),
        ):
            yield f"  {title}: " + ", ".join(f"{name} {count}" for name, count in counts.most_common())
        if self.growth:
            growth = sorted(self.growth)
            yield f"  growth: median {growth[len(growth) // 2]}, from {growth[0]} to {growth[-1]} bytes"


def run(profile: str, first: int, wanted: int) -> Summary:
    """Check seeds from ``first`` on until ``wanted`` snapshots were compared; stop at the tenth failure."""
    summary = Summary()
    seeds = iter(range(first, first + 3 * wanted))
    lock = threading.Lock()

    def next_seed() -> int | None:
        with lock:
            enough = summary.compared >= wanted or len(summary.failures) >= 10
            return None if enough else next(seeds, None)

    def add(line: dict[str, Any]) -> None:
        with lock:
            summary.add(profile, line)

    feed(["-m", "differential", profile], next_seed, add, _SECONDS)
    return summary


def feed(
    program: Sequence[str],
    next_seed: Callable[[], int | None],
    add: Callable[[dict[str, Any]], None],
    seconds: float,
    jobs: int | None = None,
) -> None:
    """Feed seeds to several processes, and start another where one dies.

    Args:
        program: what Python runs: it reads seeds, one a line, and writes a JSON object on a line for each.
        next_seed: the next seed, or None at the end; called from several threads.
        add: takes the objects; where a process died, or was silent, one of "seed" and "failure".
        seconds: how long a seed may take.
        jobs: how many processes; None: as many as there are processors.
    """
    threads = [
        threading.Thread(target=_work, args=(program, next_seed, add, seconds))
        for _ in range(jobs or os.cpu_count() or 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _work(
    program: Sequence[str],
    next_seed: Callable[[], int | None],
    add: Callable[[dict[str, Any]], None],
    seconds: float,
) -> None:
    worker: _Worker | None = None
    while (seed := next_seed()) is not None:
        worker = worker or _Worker(program, seconds)
        line = worker.check(seed)
        if line is None:
            add({"seed": seed, "failure": worker.end()})
            worker = None
        else:
            add(line)
    if worker is not None:
        worker.end()


class _Worker:
    """A process that checks seeds."""

    def __init__(self, program: Sequence[str], seconds: float) -> None:
        self._seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment({"PYTHONPATH": os.pathsep.join([str(_TESTS), *sys.path])}),
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def check(self, seed: int) -> dict[str, Any] | None:
        """Check a seed; None: the process died, or takes too long."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{seed}\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=self._seconds)
        except (BrokenPipeError, queue.Empty):
            return None
        return json.loads(line) if line else None

    def end(self) -> str:
        """End the process; return what became of it."""
        if self._lines.empty() and self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return f"no result within {self._seconds} seconds"
        for reader in self._readers:
            reader.join()
        return f"the process ended with {self._process.returncode}\n{''.join(self._errors)[-4000:]}"

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)
