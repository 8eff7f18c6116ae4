"""Measure large heaps and tables: ``python benchmarks/heap.py``.

Freezes heaps and tables of a million entries, each a few times in processes of their own, and starts what was
made of heaps beside the initialisation that it replaces. Writes ``docs/heap.json`` and ``docs/heap.md``.

runs in an environment with this project; it takes two minutes, 1 GB of memory and 200 MB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from measure import run, typical

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something to freeze.

    Attributes:
        name: names the builder in ``inputs.py``.
        title: what the table calls it.
        before: seconds and MB of version 0.1.0 in the making, when it took a call for each object.
        most: the most seconds and MB.
    """

    name: str
    title: str
    before: tuple[float, int] | None = None
    most: tuple[float, int] | None = None


WORKS = (
    Work(name="heap-1m", title="a heap of 1,000,000 objects", before=(20.9, 767), most=(2.5, 300)),
    Work(name="table-gc", title="a table of 1,000,000 objects", before=(13.2, 856), most=(2.0, 300)),
    Work(
        name="table-kept",
        title="a table of 1,000,000 functions, left alone",
        before=(0.87, 258),
        most=(0.25, 90),
    ),
    Work(name="table-set", title="the same, all set", before=(0.60, 237), most=(0.35, 120)),
    Work(name="heap-1k", title="a heap of 1,000 objects"),
    Work(name="empty", title="nothing at all"),
)

# Heaps whose processor time for each object is compared, beyond what nothing at all takes.
SIZES = {"heap-10k": 10_000, "heap-100k": 100_000, "heap-1m": 1_000_000, "heap-2m": 2_000_000}
WITHIN = 0.2

STARTED = {"heap-1m": "a heap of 1,000,000 objects", "table-gc": "a table of 1,000,000 objects"}
START_BEFORE, START_MOST = 109, 60  # milliseconds, of the heap


def main() -> None:
    """Measure, and write down what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is frozen (default: 5)")
    parser.add_argument("--start", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds = options.rounds
    if options.start:
        print(json.dumps(started(options.start[0], options.start[1], rounds)))
        return
    with tempfile.TemporaryDirectory() as folder:
        results = measured(Path(folder), rounds)
    (DOCS / "heap.json").write_text(json.dumps(results, indent=1) + "\n")
    (DOCS / "heap.md").write_text(page(results))


def measured(folder: Path, rounds: int) -> dict[str, Any]:
    """Return all figures."""
    results: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}",
        "rounds": rounds,
        "frozen": {},
        "started": {},
    }
    for name in dict.fromkeys([*(work.name for work in WORKS), *SIZES]):
        source, target = folder / f"{name}.wasm", folder / f"{name}.out.wasm"
        subprocess.run([sys.executable, str(HERE / "inputs.py"), name, str(source)], check=True)
        command = [sys.executable, "-m", "wizer", str(source), "-o", str(target), "-C", "cache=n"]
        found = typical([run(command, os.environ) for _ in range(rounds)])
        results["frozen"][name] = {"wall": found.wall, "cpu": found.cpu, "peak": found.peak}
        print(f"{name}: {found.wall:.2f} s, {found.peak / 1e6:.0f} MB", file=sys.stderr)
        if name in STARTED:  # in a process of its own, see `measure`
            command = [
                sys.executable,
                __file__,
                "--start",
                str(source),
                str(target),
                "--rounds",
                str(5 * rounds),
            ]
            ended = subprocess.run(command, check=True, capture_output=True, text=True)
            results["started"][name] = json.loads(ended.stdout)
    return results


def started(source: Path, target: Path, rounds: int) -> dict[str, float]:
    """Return the seconds that initialisation takes, and those that a start of what was made of it takes.

    That is in turns, and compiling does not count.
    """
    import wasmtime

    engine = wasmtime.Engine()
    modules = [wasmtime.Module.from_file(engine, str(path)) for path in (source, target)]

    def seconds(work: Callable[[wasmtime.Store], Any]) -> float:
        store = wasmtime.Store(engine)
        begin = time.perf_counter()
        work(store)
        taken = time.perf_counter() - begin
        store.close()
        return taken

    def initialised(store: wasmtime.Store) -> None:
        initialize = wasmtime.Instance(store, modules[0], []).exports(store)["wizer-initialize"]
        assert isinstance(initialize, wasmtime.Func)
        initialize(store)

    def restored(store: wasmtime.Store) -> None:
        wasmtime.Instance(store, modules[1], [])

    taken = [(seconds(initialised), seconds(restored)) for _ in range(rounds)]
    return {"own": median(own for own, _ in taken), "start": median(start for _, start in taken)}


_FROZEN = """Written by `python benchmarks/heap.py`: whole runs of `wizer` without a compilation cache, in
processes of their own; medians of {rounds} on {machine}. *Before* is what the same took when each object was
a call into the guest and some ten objects of Python; those figures are quoted, not measured anew. MB are of
10⁶ bytes."""

_GROWTH = f"""Processor time, beyond what a run takes that has nothing to freeze. The largest may be
{WITHIN:.0%} more than the least; the import of numpy is a part of it from 10,000 objects on."""

_STARTED = """Instantiating what was made, beside the module's own initialisation, which makes as many
objects; compiling does not count. Beyond what allocation takes, the start function reads each reference from
an array of what it has made, and checks its type."""


def page(results: dict[str, Any]) -> str:
    """Return the page in Markdown."""
    return (
        "\n\n".join(
            [
                "# Large heaps and tables",
                _FROZEN.format(rounds=results["rounds"], machine=results["machine"]),
                _table(["work", "before", "at most", "measured", ""], _frozen(results)),
                "## Time for each object",
                _GROWTH,
                _table(["objects", "µs for each", ""], _linear(results)),
                "## Start",
                _STARTED,
                _table(["", "before", "at most", "start, ms", "own, ms", "ratio", ""], _starts(results)),
            ]
        )
        + "\n"
    )


def _verdict(*, met: bool) -> str:
    return "met" if met else "**missed**"


def _frozen(results: dict[str, Any]) -> list[list[str]]:
    rows = []
    for work in WORKS:
        figures = results["frozen"][work.name]
        seconds, megabytes = figures["wall"], figures["peak"] / 1e6
        row = [
            work.title,
            *(f"{pair[0]:g} s, {pair[1]} MB" if pair else "" for pair in (work.before, work.most)),
        ]
        verdict = ""
        if work.most:
            verdict = _verdict(met=seconds <= work.most[0] and megabytes <= work.most[1])
        rows.append([*row, f"{seconds:.2f} s, {megabytes:.0f} MB", verdict])
    return rows


def _linear(results: dict[str, Any]) -> list[list[str]]:
    nothing = results["frozen"]["empty"]["cpu"]
    each = {n: (results["frozen"][name]["cpu"] - nothing) / n * 1e6 for name, n in SIZES.items()}
    least = min(each.values())
    return [[f"{n:,}", f"{taken:.2f}", f"{taken / least:.2f}"] for n, taken in each.items()]


def _starts(results: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, title in STARTED.items():
        own, start = (results["started"][name][key] * 1e3 for key in ("own", "start"))
        wanted = ["", "", ""]
        if name == "heap-1m":
            wanted = [f"{START_BEFORE}", f"{START_MOST}", _verdict(met=start <= START_MOST)]
        rows.append([title, *wanted[:2], f"{start:.1f}", f"{own:.1f}", f"{start / own:.2f}", wanted[2]])
    return rows


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
