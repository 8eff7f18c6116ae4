"""Check seeds, one line of JSON for each: what `pool` starts, and how to repeat a failure.

    PYTHONPATH=tests python -m differential references 17 18 19
    PYTHONPATH=tests python -m differential references 17 --wasm original.wasm

Without seeds, they are read from the standard input, one a line.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .check import check
from .smith import PROFILES, generate


def main() -> None:
    """Check the seeds."""
    parser = argparse.ArgumentParser(prog="python -m differential")
    parser.add_argument("profile", choices=PROFILES)
    parser.add_argument("seeds", nargs="*", type=int)
    parser.add_argument("--wasm", type=Path, help="only write the module of the seed to this file")
    given = parser.parse_args()
    if given.wasm is not None:
        given.wasm.write_bytes(generate(given.profile, given.seeds[0]) or b"")
        return
    for seed in given.seeds or map(int, sys.stdin):
        print(json.dumps(_line(given.profile, seed)), flush=True)


def _line(profile: str, seed: int) -> dict[str, Any]:
    try:
        report = asdict(check(profile, seed))
    except Exception:  # what is found is a difference or a bug, and the next seeds go on
        return {"seed": seed, "failure": traceback.format_exc()}
    return {"seed": seed, **report, "changed": sorted(report["changed"])}


if __name__ == "__main__":
    main()
