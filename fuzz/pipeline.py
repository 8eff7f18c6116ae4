"""The structured fuzzer: generated and mutated modules through the whole pipeline.

    python fuzz/pipeline.py --runs 1000            # from seed 0, on all processors
    python fuzz/pipeline.py --runs 1000 --jobs 1   # on one
    python fuzz/pipeline.py --seed 4711 --runs 1   # again what failed
    python fuzz/pipeline.py --input crash.wasm     # one file
    python fuzz/pipeline.py --components --runs 1000
    python fuzz/pipeline.py --check-bounds --runs 200

A seed stands for an input: a module of this folder's `seeds`, of the tests' corpus or of `wasm-tools smith`,
changed by `wasm-tools mutate` (which keeps it valid), by changed bytes, or both. An input that fails is
written to `--crashes` (default: a folder `crashes` beside this file). Exit status 1 if there is any.

The oracle is `oracle.freeze_and_compare`; besides, no input may take more than 5 seconds or 1 GB. With
`--components` inputs are components and the oracle is `components.freeze_and_compare`.

With `--check-bounds` every other input is one of `large`, each is given to the command line with bounds on
time and memory, and the oracle is `bounds.check`.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import threading
import time
import traceback
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Literal

import wasmtime

_HERE = Path(__file__).parent
_TESTS = _HERE.parent / "tests"
sys.path[:0] = [str(_HERE), str(_TESTS)]

import bounds  # noqa: E402
import components  # noqa: E402
import large  # noqa: E402
from commandline import parser_of  # noqa: E402
from mutations import change_bytes, mutate  # noqa: E402
from oracle import freeze_and_compare  # noqa: E402

from differential import pool, smith  # noqa: E402  the tests are no package to install

_SECONDS = 5.0
_KIBIBYTES = 1 << 20  # a GiB, as getrusage counts


def main() -> int:
    """Run from the command line."""
    parser = parser_of(__doc__, "inputs")
    parser.add_argument("--input", type=Path, help="run this file only")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--components",
        dest="what",
        action="store_const",
        const="components",
        help="change components, not modules",
    )
    what.add_argument(
        "--check-bounds",
        dest="what",
        action="store_const",
        const="bounds",
        help="look at what a bounded run takes",
    )
    parser.set_defaults(what="modules")
    given = parser.parse_args()
    if given.worker:
        _worker(given.what)
        return 0
    if given.input is not None:
        wasm = given.input.read_bytes()
        print(bounds.check(wasm) if given.what == "bounds" else _ORACLES[given.what](wasm))
        return 0
    return _fuzz(given.seed, given.runs, given.jobs, given.crashes, given.what)


What = Literal["modules", "components", "bounds"]
_ORACLES = {"modules": freeze_and_compare, "components": components.freeze_and_compare}
_OPTIONS: dict[What, list[str]] = {
    "modules": [],
    "components": ["--components"],
    "bounds": ["--check-bounds"],
}


def _fuzz(first: int, runs: int, jobs: int, crashes: Path, what: What) -> int:
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
                _keep(crashes, line, what)
            else:
                outcomes[line["outcome"]] += 1
                most.update({unit: max(line[unit], value) for unit, value in most.items()})

    program = [str(_HERE / "pipeline.py"), "--worker", *_OPTIONS[what]]
    pool.feed(program, next_seed, add, bounds.LAST_RESORT if what == "bounds" else _SECONDS, jobs)
    for outcome, count in outcomes.most_common():
        print(f"{count:8} {outcome}")
    print(f"{most['seconds']:8.2f} seconds for an input at the most")
    print(f"{most['mebibytes']:8.0f} MiB of memory at the most")
    print(f"{len(failures):8} failures{f' in {crashes}' if failures else ''}")
    return 1 if failures else 0


def _keep(crashes: Path, line: dict[str, Any], what: What) -> None:
    """Write down an input that failed, and how."""
    crashes.mkdir(parents=True, exist_ok=True)
    (crashes / f"{line['seed']}.wasm").write_bytes(_input(line["seed"], what) or b"")
    (crashes / f"{line['seed']}.txt").write_text(line["failure"], encoding="utf-8")
    print(f"seed {line['seed']}: {line['failure'].strip().splitlines()[-1]}", flush=True)


def _input(seed: int, what: What) -> bytes | None:
    if what == "components":
        return components.make_input(seed)
    return large.generate(seed) if what == "bounds" and seed % 2 else make_input(seed)


def _worker(what: What) -> None:
    """Run the seeds of the standard input."""
    for text in sys.stdin:
        seed = int(text)
        wasm = _input(seed, what)
        started = time.monotonic()
        try:
            if what == "bounds":
                print(json.dumps({"seed": seed, **bounds.check(wasm or b"")}), flush=True)
                continue
            outcome = "no input" if wasm is None else _ORACLES[what](wasm)
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
        wasm = mutate(wasm, rng.getrandbits(63)) or wasm
    if mutations == 0 or rng.random() < 0.3:
        wasm = change_bytes(wasm, rng)
    return wasm


@cache
def _seeds() -> tuple[bytes, ...]:
    """Return the modules that inputs are made of."""
    folders = (_HERE / "seeds", _TESTS / "differential" / "corpus")
    return tuple(
        bytes(wasmtime.wat2wasm(p.read_text("utf-8"))) for f in folders for p in sorted(f.glob("*.wat"))
    )


if __name__ == "__main__":
    sys.exit(main())
