"""A C program with ``wizer.h``: compile it, freeze it with the command line, run both and compare.

    python examples/c/main.py

needs ``pip install ziglang`` for the compiler.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import wasmtime

SOURCE = Path(__file__).with_name("primes.c")
WIZER = [sys.executable, "-m", "wizer"]
ARGUMENTS = ["primes", "1000"]
EXPECTED = "prime 1000 is 7919 (constructors ran 1 time)\n"
ROUNDS = 9


def build(folder: Path) -> Path:
    """Compile the program for WASI, with the folder of ``wizer.h`` on the include path."""
    include = subprocess.run(
        [*WIZER, "--include-dir"], check=True, capture_output=True, text=True
    ).stdout.strip()
    program = folder / "primes.wasm"
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-O2", "-Wl,--strip-debug"]
    subprocess.run([*compiler, "-I", include, str(SOURCE), "-o", str(program)], check=True)
    return program


def freeze(program: Path) -> Path:
    """Run the initialisation; the frozen program resumes in ``main``."""
    frozen = program.with_name("primes.frozen.wasm")
    options = ["--allow-wasi", "-r", "_start=wizer.resume"]
    subprocess.run([*WIZER, *options, str(program), "-o", str(frozen)], check=True)
    return frozen


class Program:
    """A compiled command, ready to be started any number of times."""

    def __init__(self, path: Path) -> None:
        self.engine = wasmtime.Engine()
        self.module = wasmtime.Module.from_file(self.engine, str(path))
        self.linker = wasmtime.Linker(self.engine)
        self.linker.define_wasi()

    def run(self, output: Path) -> tuple[str, float]:
        """Return what one run prints, and how many seconds it takes from instantiation to its end."""
        start = time.perf_counter()
        store = wasmtime.Store(self.engine)
        wasi = wasmtime.WasiConfig()
        wasi.argv = ARGUMENTS
        wasi.stdout_file = str(output)
        store.set_wasi(wasi)
        main = self.linker.instantiate(store, self.module).exports(store)["_start"]
        assert isinstance(main, wasmtime.Func)
        main(store)
        seconds = time.perf_counter() - start
        del store
        return output.read_text(), seconds


def main() -> None:
    """Build, freeze, run both in turns, check what they print, and show the medians."""
    with TemporaryDirectory() as folder:
        original = build(Path(folder))
        frozen = freeze(original)
        runs: list[tuple[Program, list[float]]] = [(Program(original), []), (Program(frozen), [])]
        for _ in range(ROUNDS):
            for program, times in runs:
                text, seconds = program.run(Path(folder) / "output.txt")
                if text != EXPECTED:
                    raise SystemExit(f"the program printed {text!r}, not {EXPECTED!r}")
                times.append(seconds)
        before, after = (median(times) for _, times in runs)
        print(EXPECTED, end="")
        print(f"before: {before * 1000:6.2f} ms, {original.stat().st_size:9,} bytes")
        print(f"after:  {after * 1000:6.2f} ms, {frozen.stat().st_size:9,} bytes")


if __name__ == "__main__":
    main()
