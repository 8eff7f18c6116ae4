"""The structured fuzzer: generated and mutated modules through the whole pipeline.

    python fuzz/pipeline.py --runs 1000            # from seed 0, on all processors
    python fuzz/pipeline.py --runs 1000 --jobs 1   # on one
    python fuzz/pipeline.py --seed 4711 --runs 1   # again what failed
    python fuzz/pipeline.py --input crash.wasm     # one file
    python fuzz/pipeline.py --check-bounds --runs 200

A seed stands for an input: a module of this folder's `seeds`, of the tests' corpus or of `wasm-tools smith`,
changed by `wasm-tools mutate` (which keeps it valid), by changed bytes, or both. An input that fails is
written to `--crashes` (default: a folder `crashes` beside this file). Exit status 1 if there is any.

The oracle is `oracle.freeze_and_compare`; besides, no input may take more than 5 seconds or 1 GB.

With `--check-bounds` every other input is one of `large`, each is given to the command line with bounds on
time and memory, and the oracle is `bounds.check`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import wasmtime

_HERE = Path(__file__).parent
_TESTS = _HERE.parent / "tests"
sys.path[:0] = [str(_HERE), str(_TESTS)]

import bounds  # noqa: E402
import large  # noqa: E402
from commandline import parser_of  # noqa: E402
from oracle import freeze_and_compare  # noqa: E402

from differential import pool, smith  # noqa: E402  the tests are no package to install
from support.tools import wasm_tools  # noqa: E402

_SECONDS = 5.0
_KIBIBYTES = 1 << 20  # a GiB, as getrusage counts


def main() -> int:
    """Run from the command line."""
    parser = parser_of(__doc__, "inputs")
    parser.add_argument("--input", type=Path, help="run this file only")
    parser.add_argument("--check-bounds", action="store_true", help="look at what a bounded run takes")
    given = parser.parse_args()
    if given.worker:
        _worker(check_bounds=given.check_bounds)
        return 0
    if given.input is not None:
        wasm = given.input.read_bytes()
        print(bounds.check(wasm) if given.check_bounds else freeze_and_compare(wasm))
        return 0
    return _fuzz(given.seed, given.runs, given.jobs, given.crashes, check_bounds=given.check_bounds)


def _fuzz(first: int, runs: int, jobs: int, crashes: Path, *, check_bounds: bool) -> int:
    outcomes: Counter[str] = Counter()
    most = {"seconds": 0.0, "mebibytes": 0.0}
    failures: list[int] = []
    seeds = iter(range(first, first + runs))
    lock = threading.Lock()

    def next_seed() -> int | None:
        with lock:
            return next(seeds, None)

    def add(line: dict[str, Any]) -> None:
        with lock:
            if "failure" in line:
                failures.append(line["seed"])
                _keep(crashes, line, check_bounds=check_bounds)
            else:
                outcomes[line["outcome"]] += 1
                most.update({what: max(line[what], value) for what, value in most.items()})

    program = [str(_HERE / "pipeline.py"), "--worker"]
    if check_bounds:
        pool.feed([*program, "--check-bounds"], next_seed, add, bounds.LAST_RESORT, jobs)
    else:
        pool.feed(program, next_seed, add, _SECONDS, jobs)
    for outcome, count in outcomes.most_common():
        print(f"{count:8} {outcome}")
    print(f"{most['seconds']:8.2f} seconds for an input at the most")
    print(f"{most['mebibytes']:8.0f} MiB of memory at the most")
    print(f"{len(failures):8} failures{f' in {crashes}' if failures else ''}")
    return 1 if failures else 0


def _keep(crashes: Path, line: dict[str, Any], *, check_bounds: bool) -> None:
    """Write down an input that failed, and how."""
    crashes.mkdir(parents=True, exist_ok=True)
    (crashes / f"{line['seed']}.wasm").write_bytes(_input(line["seed"], check_bounds=check_bounds) or b"")
    (crashes / f"{line['seed']}.txt").write_text(line["failure"], encoding="utf-8")
    print(f"seed {line['seed']}: {line['failure'].strip().splitlines()[-1]}", flush=True)


def _input(seed: int, *, check_bounds: bool) -> bytes | None:
    return large.generate(seed) if check_bounds and seed % 2 else make_input(seed)


def _worker(*, check_bounds: bool) -> None:
    """Run the seeds of the standard input."""
    for text in sys.stdin:
        seed = int(text)
        wasm = _input(seed, check_bounds=check_bounds)
        started = time.monotonic()
        try:
            if check_bounds:
                print(json.dumps({"seed": seed, **bounds.check(wasm or b"")}), flush=True)
                continue
            outcome = "no input" if wasm is None else freeze_and_compare(wasm)
            kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            line = {
                "seed": seed,
                "outcome": outcome,
                "seconds": time.monotonic() - started,
                "mebibytes": kibibytes / 1024,
            }
            if kibibytes > _KIBIBYTES:
                line = {"seed": seed, "failure": "more than a GiB of memory"}
        except BaseException:  # whatever it is, it is found
            line = {"seed": seed, "failure": traceback.format_exc()}
        print(json.dumps(line), flush=True)


def make_input(seed: int) -> bytes | None:
    """Return the input that a seed stands for, or None where a generator fails."""
    rng = random.Random(f"fuzz {seed}")
    if rng.random() < 0.4:
        wasm = smith.generate(rng.choice((*smith.PROFILES, smith.PEERS)), seed)
    else:
        wasm = rng.choice(_seeds())
    if wasm is None:
        return None
    mutations = rng.choice((0, 1, 1, 2, 4))
    for _ in range(mutations):
        wasm = _mutate(wasm, rng.getrandbits(63)) or wasm
    if mutations == 0 or rng.random() < 0.3:
        wasm = _change_bytes(wasm, rng)
    return wasm


def _mutate(wasm: bytes, seed: int) -> bytes | None:
    tool = wasm_tools()
    assert tool is not None
    command = [tool, "mutate", "--seed", str(seed), "--fuel", "1000", "-"]
    run = subprocess.run(
        command, input=wasm, capture_output=True, check=False, env={**os.environ, "RUST_BACKTRACE": "0"}
    )
    return run.stdout if run.returncode == 0 else None


def _change_bytes(wasm: bytes, rng: random.Random) -> bytes:
    """Change, repeat, insert or cut bytes, as careless tools and bad disks do."""
    data = bytearray(wasm)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        if not data:
            break
        at = rng.randrange(len(data))
        match rng.randrange(6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x40, 0x0B, 0x70))
            case 2:
                data[at:at] = rng.choice(
                    (b"\x80\x00", b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
                )
            case 3:
                data[at : at + rng.randint(1, 8)] = b""
            case 4:
                end = at + rng.randint(1, 40)
                data[at:at] = data[at:end]
            case 5:
                del data[at:]
    return bytes(data)


@cache
def _seeds() -> tuple[bytes, ...]:
    """Return the modules that inputs are made of."""
    folders = (_HERE / "seeds", _TESTS / "differential" / "corpus")
    return tuple(
        bytes(wasmtime.wat2wasm(p.read_text("utf-8"))) for f in folders for p in sorted(f.glob("*.wat"))
    )


if __name__ == "__main__":
    sys.exit(main())
