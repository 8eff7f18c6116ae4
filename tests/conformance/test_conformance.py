"""The specification's scripts: on the engine alone, and across snapshots. Nothing may be lost between them.

The suite is not part of the project: `WASM_TESTSUITE` names its folder (a checkout of
https://github.com/WebAssembly/testsuite), `WASM_TESTSUITE_SEEDS` the seeds of the snapshot points. The
project's own scripts, in `own`, always run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from support.tools import wasm_tools

from . import scripts
from .replay import Outcome, Replay
from .report import Line, line
from .snapshots import SnapshotReplay, points

pytestmark = pytest.mark.skipif(wasm_tools() is None, reason="there is no wasm-tools to convert scripts with")

# What the engine itself does not do, by lines. These scripts are older than multiple tables and memories.
ENGINE_FAILURES = {
    "proposals/threads/imports": {310, 314, 318, 405, 409, 413},
    "proposals/threads/memory": {14, 15},
}

ALL = scripts.sources()
Convert = Callable[[str], scripts.Script]


@pytest.fixture(scope="session")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """Converts scripts, each once."""
    tool = wasm_tools()
    assert tool is not None
    folder: Path = tmp_path_factory.mktemp("scripts")
    converted: dict[str, scripts.Script] = {}

    def convert_once(name: str) -> scripts.Script:
        if name not in converted:
            converted[name] = scripts.convert(name, ALL[name], tool, folder)
        return converted[name]

    return convert_once


@pytest.fixture(scope="session")
def plain(convert: Convert) -> Callable[[str], Outcome]:
    """Runs scripts on the engine alone, each once."""
    outcomes: dict[str, Outcome] = {}

    def run_once(name: str) -> Outcome:
        if name not in outcomes:
            outcomes[name] = Replay(convert(name)).run()
        return outcomes[name]

    return run_once


@pytest.mark.skipif(scripts.suite() is None, reason=f"{scripts.SUITE_VARIABLE} names no folder of scripts")
def test_suite_is_complete() -> None:
    """The folder has scripts, finished ones and those of all proposals."""
    assert "memory" in ALL
    for proposal in scripts.PROPOSALS:
        assert any(name.startswith(f"proposals/{proposal}/") for name in ALL)


@pytest.mark.parametrize("name", ALL)
def test_engine(name: str, convert: Convert, plain: Callable[[str], Outcome]) -> None:
    """The engine passes everything but what is listed, so that the comparison means something."""
    failed = {convert(name).commands[index]["line"]: reason for index, reason in plain(name).failed.items()}
    assert set(failed) == ENGINE_FAILURES.get(name, set()), "\n".join(failed.values())


@pytest.mark.parametrize("seed", scripts.seeds())
@pytest.mark.parametrize("name", ALL)
def test_snapshots(
    name: str, seed: int, convert: Convert, plain: Callable[[str], Outcome], record: Callable[[Line], None]
) -> None:
    """Whatever a script finds on the engine alone, it finds across snapshots too."""
    replay = SnapshotReplay(convert(name), seed)
    outcome = replay.run()
    record(line(name, seed, plain(name), outcome, replay.account))
    lost = [outcome.failed[index] for index in plain(name).passed if index in outcome.failed]
    if wrong := replay.account.problems + lost:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_points_are_chosen(convert: Convert) -> None:
    """Two seeds freeze at other places, one seed always at the same."""
    script = convert("own/tables")
    first, again, other = (points(script, Random(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first
