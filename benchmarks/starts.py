"""Measure what it takes to start much state: ``python benchmarks/starts.py``.

Freezes modules with a million table elements, 100,000 objects, 10,000 globals or 30 memories, and measures in
turns, in wasmtime and in V8, compiling, and from instantiation to the end of a first call: of the snapshot,
of the original, initialised anew each time, and of forms that were not chosen. Writes ``docs/starts.json``
and ``docs/starts.md``. Runs in an environment with this project; V8 is left out where Node is missing.
"""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import wasmtime
from inputs import globals_, heap, table_set

import wizer

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROUNDS = 15
SNAPSHOT, ORIGINAL = "the snapshot", "the original, initialised each time"


def main() -> None:
    """Measure, and write down what was measured."""
    results = {title: measured(forms) for title, forms in cases()}
    (DOCS / "starts.json").write_text(json.dumps(results, indent=1) + "\n")
    (DOCS / "starts.md").write_text(page(results))


def cases() -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield what each is called, and its forms."""
    yield "a table of a million functions", _frozen(table_set())
    functions = [f"$f{i * 31 % 1000}" for i in range(20_000)]
    yield (
        "a table of 20,000 functions, as two forms of segments have it",
        {
            "function indices, as snapshots have them": listed(f"func {' '.join(functions)}"),
            "expressions": listed(f"funcref {' '.join(f'(ref.func {name})' for name in functions)}"),
        },
    )
    yield "100,000 objects", _frozen(heap(100_000)())
    yield "10,000 globals", _frozen(globals_())
    yield "30 memories of 1 MiB, 64 KiB of each random", _frozen(memories(30))


def _frozen(text: str) -> dict[str, bytes]:
    return {SNAPSHOT: wizer.wizen(text), ORIGINAL: bytes(wasmtime.wat2wasm(text))}


def memories(count: int) -> str:
    """Return a module that fills a page of each of its memories."""
    fills = " ".join(
        f"""(local.set $p (i32.const 0))
        (loop $next
          (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 0x5851F42D4C957F2D)) (i64.const 1)))
          (i64.store $m{index} (local.get $p) (local.get $x))
          (local.set $p (i32.add (local.get $p) (i32.const 8)))
          (br_if $next (i32.lt_u (local.get $p) (i32.const 65536))))"""
        for index in range(count)
    )
    return f"""
        (module {" ".join(f"(memory $m{index} 16)" for index in range(count))}
          (func (export "wizer-initialize") (local $p i32) (local $x i64) {fills})
          (func (export "first") (result i64) (i64.load $m{count - 1} (i32.const 4096))))
    """


def listed(segment: str) -> bytes:
    """Return a module with a table of 20,000 functions in one segment; of a million, it takes minutes."""
    functions = " ".join(f"(func $f{i} (result i32) (i32.const {i * 7919 % 1009}))" for i in range(1000))
    return bytes(
        wasmtime.wat2wasm(f"""
        (module (type $function (func (result i32))) (table $table 20000 funcref)
          (elem (table $table) (i32.const 0) {segment})
          {functions}
          (func (export "first") (result i32) (call_indirect $table (type $function) (i32.const 7777))))
        """)
    )


def measured(forms: dict[str, bytes]) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each form: medians of rounds that take turns."""
    figures = in_wasmtime(forms)
    for name, times in in_v8(forms).items():
        figures[name] |= times
    for name, wasm in forms.items():
        figures[name]["bytes"] = len(wasm)
    print(json.dumps(figures), file=sys.stderr)
    return figures


def in_wasmtime(forms: dict[str, bytes]) -> dict[str, dict[str, float]]:
    """Measure in wasmtime; compiling is processor time of all threads."""
    config = wasmtime.Config()
    config.wasm_gc = config.wasm_function_references = True
    engine = wasmtime.Engine(config)
    modules: dict[str, wasmtime.Module] = {}
    found: dict[str, dict[str, float]] = {}
    for name, wasm in forms.items():
        begin = time.process_time()
        modules[name] = wasmtime.Module(engine, wasm)
        found[name] = {"compile": (time.process_time() - begin) * 1000}

    def start(name: str) -> None:
        store = wasmtime.Store(engine)
        exports = wasmtime.Instance(store, modules[name], []).exports(store)
        for function in ("wizer-initialize", "first"):
            called: Any = exports.get(function)
            if called is not None:
                called(store)

    for name, milliseconds in in_turns(list(forms), start).items():
        found[name]["start"] = milliseconds
    return found


def in_turns(names: list[str], work: Callable[[str], None]) -> dict[str, float]:
    """Return the median milliseconds of some work for each name, done in turns: A B C A B C."""
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS + 1):
        for name in names:
            gc.collect()  # stores of earlier rounds, before the clock runs
            begin = time.perf_counter()
            work(name)
            if number:  # the first one warms up
                times[name].append((time.perf_counter() - begin) * 1000)
    return {name: median(of_one) for name, of_one in times.items()}


_V8 = """
const fs = require('fs'), all = {};
for (const [name, path] of JSON.parse(process.argv[1])) {
  const bytes = fs.readFileSync(path);
  try {
    let begin = performance.now();
    const module = new WebAssembly.Module(bytes), times = [];
    const compile = performance.now() - begin;
    for (let round = 0; round < 15; round++) {
      begin = performance.now();
      const exports = new WebAssembly.Instance(module, {}).exports;
      if (exports['wizer-initialize']) exports['wizer-initialize']();
      exports.first();
      times.push(performance.now() - begin);
    }
    all[name] = { v8compile: compile, v8start: times.sort((a, b) => a - b)[7] };
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error;
  }
}
console.log(JSON.stringify(all));
"""


def in_v8(forms: dict[str, bytes]) -> dict[str, dict[str, float]]:
    """Measure in V8; nothing for what it does not compile, or without Node."""
    if shutil.which("node") is None:
        print("node is missing: V8 is left out", file=sys.stderr)
        return {}
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, (name, wasm) in enumerate(forms.items()):
            path = Path(folder) / f"{number}.wasm"
            path.write_bytes(wasm)
            paths.append((name, str(path)))
        ended = subprocess.run(
            ["node", "-e", _V8, json.dumps(paths)], check=True, capture_output=True, text=True
        )
    found: dict[str, dict[str, float]] = json.loads(ended.stdout)
    return found


def page(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return the page in Markdown."""
    version = ""
    if shutil.which("node") is not None:
        v8 = ["node", "-p", "process.versions.v8"]
        version = f" ({subprocess.run(v8, check=True, capture_output=True, text=True).stdout.strip()})"
    parts = [
        "# Starts",
        "Written by `python benchmarks/starts.py`. *Start*: from instantiation to the end of a first call, "
        f"compiled beforehand; medians of {ROUNDS}, in turns. Compiling is once, in wasmtime processor time. "
        f"V8{version} of the Node that was there; a dash: it does not compile the module.",
    ]
    head = ["", "bytes", "compile, ms", "start, ms", "V8 compile, ms", "V8 start, ms"]
    for title, forms in results.items():
        rows = [
            [name, f"{int(of['bytes']):,}", *(_ms(of.get(key)) for key in _TIMES)]
            for name, of in forms.items()
        ]
        lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
        parts += [f"## {title}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts) + "\n"


_TIMES = ("compile", "start", "v8compile", "v8start")


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
