"""Measure this project beside the Rust tools: ``python benchmarks/run.py``.

Installs what it compares into a folder of its own, builds the inputs, runs the tools in turns, A B C A B C,
checks that the outputs behave alike, and writes ``docs/benchmarks.md`` with its picture and raw figures.

    python benchmarks/run.py                        everything: about half an hour
    python benchmarks/run.py --quick                two rounds, without the largest inputs
    python benchmarks/run.py --only dense,sparse    some cases; nothing is written into docs/
    python benchmarks/run.py --again dense,sparse   some cases, in place of what docs/ says of them
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cases import CASES, Case, Tool
from measure import Sample, in_turns, size_of, typical
from tools import ROOT, Tools, install

DOCS = ROOT / "docs"


def main() -> None:
    """Measure, and write down what was measured."""
    options = _options()
    tools = install(options.cache.resolve())
    cases = [case for case in CASES if _wanted(case, options)]
    if tools.wizer is None:  # there is no npm, from which ComponentizeJS comes, too
        cases = [case for case in cases if not case.script]
    rounds = 2 if options.quick else options.rounds
    if options.again:
        results: dict[str, Any] = json.loads((DOCS / "benchmarks.json").read_text())
        if results["machine"] != _machine():
            raise SystemExit("what docs/ says was measured on another machine")
    else:
        startup = _startup(tools, max(rounds, 11))
        results = {"machine": _machine(), "rounds": rounds, "startup": startup, "cases": {}}
    for case in cases:
        _say(case.title)
        results["cases"][case.name] = measured(tools, case, rounds)
        _say_figures(results["cases"][case.name])
    raw = (options.cache if options.only else DOCS) / "benchmarks.json"
    raw.parent.mkdir(exist_ok=True)
    raw.write_text(json.dumps(results, indent=1) + "\n")
    report = Path(__file__).with_name("report.py")
    subprocess.run([str(tools.python), str(report), str(raw)], check=True)
    _say(f"written: {raw.with_suffix('.md')}")


def _options() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "wizer-benchmarks"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two rounds, without the largest inputs")
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each command runs at least (default: 5)"
    )
    parser.add_argument("--only", default="", help="names of cases, separated by commas")
    parser.add_argument("--again", default="", help="likewise, of those to measure again")
    parser.add_argument("--cache", type=Path, default=cache, help=f"where things are kept (default: {cache})")
    return parser.parse_args()


def _wanted(case: Case, options: argparse.Namespace) -> bool:
    if options.only or options.again:
        return case.name in (options.only or options.again).split(",")
    return not (options.quick and case.heavy)


def measured(tools: Tools, case: Case, rounds: int) -> dict[str, Any]:
    """Return the figures of one case."""
    source = _input(tools, case)
    targets = {tool: tools.folder / "outputs" / f"{case.name}.{tool}.wasm" for tool in _present(tools)}
    for target in targets.values():
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)
    figures: dict[str, Any] = {tool: {} for tool in targets}
    environment, text = tools.environment(), ""
    if case.script:
        environment |= json.loads(source.with_suffix(".env.json").read_text())
        text = source.with_suffix(".stdin").read_text()
    for mode in case.modes:
        # The standalone tool has no cache: it is always cold.
        commands = {
            tool: tools.command(tool, case, mode, source, target)
            for tool, target in targets.items()
            if mode == "cold" or tool != "wizer"
        }
        if mode == "warm":
            in_turns(commands, environment, 1, text)
        for tool, outcome in in_turns(commands, environment, rounds, text).items():
            figures[tool][mode] = _figures(outcome)
    made = {tool: target for tool, target in targets.items() if "failed" not in figures[tool]["cold"]}
    for tool, target in made.items():
        figures[tool]["size"] = size_of(target)
    figures["outputs"] = _outputs(tools, case, made)
    for target in targets.values():
        target.unlink(missing_ok=True)
    return figures


def _present(tools: Tools) -> Sequence[Tool]:
    return ("ours", "wasmtime", "wizer") if tools.wizer is not None else ("ours", "wasmtime")


def _input(tools: Tools, case: Case) -> Path:
    source = tools.folder / "inputs" / f"{case.name}.wasm"
    source.parent.mkdir(exist_ok=True)
    builder = Path(__file__).with_name("inputs.py")
    subprocess.run([str(tools.python), str(builder), case.name, str(source)], check=True)
    return source


def _figures(outcome: list[Sample] | str) -> dict[str, Any]:
    if isinstance(outcome, str):
        return {"failed": outcome}
    sample = typical(outcome)
    return {"wall": sample.wall, "cpu": sample.cpu, "peak": sample.peak, "all": [s.wall for s in outcome]}


def _outputs(tools: Tools, case: Case, made: dict[Tool, Path]) -> dict[str, Any]:
    """Return whether the outputs behave alike, and how fast they start."""
    words = [f"{tool}={path}" for tool, path in made.items()]
    script = str(Path(__file__).with_name("alike.py"))
    try:
        ended = subprocess.run(
            [str(tools.python), script, case.drive, *words],
            env=tools.environment(),
            capture_output=True,
            text=True,
            timeout=case.patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not compiled and compared within {case.patience} s"}
    if ended.returncode:
        return {"failed": (ended.stderr.strip() or f"exit status {ended.returncode}").splitlines()[-1]}
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def _startup(tools: Tools, rounds: int) -> dict[str, float]:
    """Measure what Python and the imports cost, in seconds."""
    empty = _input(tools, next(case for case in CASES if case.name == "empty"))
    python = str(tools.python)
    commands = {
        "pass": [python, "-c", "pass"],
        "version": [str(tools.ours), "--version"],
        "import": [python, "-c", "import wasmtime"],
        "empty": [str(tools.ours), str(empty), "-o", str(tools.folder / "empty.out.wasm")],
    }
    outcomes = in_turns(commands, tools.environment(), rounds)
    return {name: typical(s).wall for name, s in outcomes.items() if not isinstance(s, str)}


def _machine() -> str:
    model = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else ""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores{', ' if model else ''}{model}, {system}"


def _say_figures(figures: dict[str, Any]) -> None:
    for tool, of_tool in figures.items():
        _say(f"  {tool}: {json.dumps(of_tool)}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"error: {error}") from None
