"""The fuzzer of the library: random calls of everything public, in any order, with any arguments.

    python fuzz/calls.py --runs 1000            # from seed 0, on all processors
    python fuzz/calls.py --runs 1000 --jobs 1   # on one
    python fuzz/calls.py --seed 4711 --runs 1   # again what failed
    python fuzz/calls.py --script 4711          # print what a seed stands for: a Python script

A seed stands for a script: sessions of modules and components are opened, called, frozen, shared with
threads, closed at the wrong moment, given what is another's, and forgotten. Many scripts run in a process,
half of them under an allocator that notices corruption, the others with forks. It is a failure if the process
dies or is silent for 30 seconds, or if anything comes out that the documentation does not promise (see
`misuse.py`). A script that fails is made short and written to `--crashes` (default: a folder `crashes` beside
this file). Exit status 1 if there is any.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE))

from commandline import parser_of  # noqa: E402  this folder is no package
from scripts import BATCH, checks_memory, make_script  # noqa: E402

_SECONDS = 30.0
_MALLOC_DEBUG = "libc_malloc_debug.so.0"


def main() -> int:
    """Run from the command line."""
    parser = parser_of(__doc__, "scripts")
    parser.add_argument("--script", type=int, help="print the script of this seed only")
    given = parser.parse_args()
    if given.worker:
        _worker()
        return 0
    if given.script is not None:
        print(as_program(make_script(given.script)))
        return 0
    return _fuzz(given.seed, given.runs, given.jobs, given.crashes)


# Running scripts.


def as_program(lines: Sequence[str]) -> str:
    """Return lines as a script to run by itself."""
    body = "\n".join(f"    with step: {line}" for line in lines)
    return (
        f"import sys\nsys.path.insert(0, {str(_HERE.name)!r})\nfrom misuse import *\n\n"
        f"with folder():\n{body}\n    finish()\n    collect()\n"
    )


def _worker() -> None:
    """Run the scripts of the standard input, each a JSON list of lines; say what comes of each."""
    import misuse

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what guests print does not get between the answers
    for text in sys.stdin:
        lines = json.loads(text)
        misuse.step.outcomes.clear()
        line: dict[str, Any] = {}
        try:
            program = as_program(lines).partition("import *\n")[2]
            exec(compile(program, "<script>", "exec"), vars(misuse).copy())
            gc.collect()
        except BaseException:  # whatever it is, it is found
            line["failure"] = traceback.format_exc()
        line["outcomes"] = Counter(misuse.step.outcomes)
        sys.stderr.flush()
        print(json.dumps(line), flush=True, file=answers)


class _Process:
    """A process that runs scripts."""

    def __init__(self, checks: bool, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        environment = {
            **os.environ, "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "85", "PYTHONMALLOC": "malloc",
            "RUST_BACKTRACE": "0",
        }  # fmt: skip
        if checks and any(Path("/lib").glob(f"*/{_MALLOC_DEBUG}")):
            environment["LD_PRELOAD"] = _MALLOC_DEBUG
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", __file__, "--worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        )  # fmt: skip
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._errors: list[bytes] = []
        self._readers = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def run(self, lines: Sequence[str]) -> dict[str, Any]:
        """Run a script; a failure of which the process died, or would not end, is also ``fatal``."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(lines).encode() + b"\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=self._seconds)
        except BrokenPipeError:
            line = b""
        except queue.Empty:
            self._process.send_signal(signal.SIGABRT)  # says where its threads are
            self.end()
            return {"failure": f"silent for {self._seconds} s\n{self.said()}", "fatal": True}
        if not line:
            self.end()
            return {"failure": f"exit status {self._process.returncode}\n{self.said()}", "fatal": True}
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> int:
        """End it; return its exit status."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(self._seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return -9
        for reader in self._readers:
            reader.join(5)
        return self._process.returncode

    def said(self) -> str:
        return b"".join(self._errors[-60:]).decode(errors="replace")

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)


class Trials:
    """Runs scripts to see whether they fail; in one process as long as it lives."""

    def __init__(self, checks: bool) -> None:
        self._checks = checks
        self._process: _Process | None = None

    def failure(self, lines: Sequence[str]) -> str:
        """Return how a script fails, or nothing."""
        self._process = self._process or _Process(self._checks)
        found = self._process.run(lines)
        if found.get("fatal"):
            self._process = None
        return str(found.get("failure", ""))

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None


def shrink(lines: Sequence[str], fails: Callable[[Sequence[str]], bool]) -> list[str]:
    """Return the shortest script that fails, by leaving out ever smaller pieces."""
    left = list(lines)
    piece = max(len(left) // 2, 1)
    while True:
        at = 0
        while at < len(left):
            shorter = left[:at] + left[at + piece :]
            if shorter and fails(shorter):
                left = shorter
            else:
                at += piece
        if piece == 1:
            return left
        piece //= 2


def _fuzz(first: int, runs: int, jobs: int, crashes: Path) -> int:
    outcomes: Counter[str] = Counter()
    failures: list[int] = []
    done = 0
    batches = iter(range(first - first % BATCH, first + runs, BATCH))
    lock = threading.Lock()

    kinds: set[str] = set()

    def failed(seed: int, failure: str) -> None:
        lines, kind = make_script(seed), _kind(failure)
        with lock:
            failures.append(seed)
            if kind in kinds:
                print(f"seed {seed}: {kind} (again)", flush=True)
                return
            kinds.add(kind)
        trials = Trials(checks_memory(seed))
        if _kind(trials.failure(lines)) == kind:
            lines = shrink(lines, lambda shorter: _kind(trials.failure(shorter)) == kind)
        else:
            failure = f"not by itself, but after others\n{failure}"
        trials.end()
        with lock:
            crashes.mkdir(parents=True, exist_ok=True)
            (crashes / f"{seed}.py").write_text(as_program(lines), encoding="utf-8")
            (crashes / f"{seed}.txt").write_text(failure, encoding="utf-8")
            print(f"seed {seed}: {_kind(failure)}\n{as_program(lines)}", flush=True)

    def work() -> None:
        nonlocal done
        while True:
            with lock:
                start = next(batches, None)
            if start is None:
                return
            process: _Process | None = None
            for seed in range(max(start, first), min(start + BATCH, first + runs)):
                process = process or _Process(checks_memory(seed))
                found = process.run(make_script(seed))
                with lock:
                    done += 1
                    outcomes.update(found.get("outcomes", {}))
                if "failure" in found:
                    failed(seed, found["failure"])
                if found.get("fatal"):
                    process = None
            status = process.end() if process else 0
            if status:
                failed(seed, f"exit status {status} at the end of a process\n{process.said()}")

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome, count in outcomes.most_common():
        print(f"{count:8} {outcome}")
    print(f"{done:8} scripts")
    print(f"{len(failures):8} failures{f' in {crashes}' if failures else ''}")
    return 1 if failures else 0


def _kind(failure: str) -> str:
    """Return what tells a failure from another one."""
    lines = failure.strip().splitlines()
    if not lines:
        return ""
    if lines[0].startswith("not by itself"):
        del lines[0]
    if lines[0].startswith(("exit status", "silent")):
        return lines[0]
    return lines[-1][:200]


if __name__ == "__main__":
    sys.exit(main())
