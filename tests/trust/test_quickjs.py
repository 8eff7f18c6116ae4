"""A JavaScript application that seeds a hash table when it boots: frozen twice, audited, made the same."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Unpack

import pytest

from support.command import environment
from wizer import OptionError, Session, Wasi
from wizer.demo.quickjs import QuickJS, load
from wizer.engine.deterministic import Deterministic
from wizer.options import Options, SessionOptions
from wizer.trust.audit import audit_with
from wizer.trust.verify import verify_session

APPLICATION = """
const seed = Math.floor(Math.random() * 2 ** 31) ^ Date.now();
const slots = Array.from({length: 64}, () => []);
const place = key => ((key * 2654435761) ^ seed) >>> 26;
for (let key = 0; key < 100; key++) slots[place(key)].push([key, "value " + key]);
globalThis.find = key => slots[place(key)].find(([held]) => held === key)[1];
globalThis.layout = () => JSON.stringify(slots.map(slot => slot.length));
0"""


def boot(session: Session) -> None:
    """Boot QuickJS with the application."""
    javascript = QuickJS(session)
    javascript.boot()
    javascript.evaluate(APPLICATION)


@pytest.fixture(scope="module")
def quickjs() -> bytes:
    try:
        return load()
    except OptionError as missing:
        pytest.skip(str(missing))


def freeze(quickjs: bytes, **options: Unpack[SessionOptions]) -> bytes:
    options["wasi"] = Wasi()
    with Session(quickjs, **options) as session:
        boot(session)
        snapshot = session.snapshot()
        verify_session(session, snapshot)
    with Session(snapshot, wasi=Wasi()) as frozen:
        assert QuickJS(frozen).evaluate("find(42)") == "value 42"
    return snapshot


def test_two_ordinary_runs_differ(quickjs: bytes) -> None:
    assert freeze(quickjs) != freeze(quickjs)


def test_audit_names_the_ranges_and_the_source(quickjs: bytes) -> None:
    """QuickJS seeds Math.random with the clock."""
    found = audit_with(Options(wasi=Wasi()), quickjs, initialize=boot)
    assert found.frozen() == ("clock",)
    assert found.calls["wasi_snapshot_preview1", "clock_time_get"] >= 2
    assert [*found.remembered] == ["environment"]  # its libc cannot forget that there were no variables
    ranges = [finding for finding in found.findings if finding.difference.span is not None]
    assert ranges
    assert {finding.name.partition("+")[0] for finding in ranges} >= {"heap"}


def test_deterministic_runs_are_identical(quickjs: bytes, tmp_path: Path) -> None:
    """In this process and in others; with a cold cache, in another folder, with the other compiler."""
    expected = hashlib.sha256(freeze(quickjs, deterministic=11)).hexdigest()
    script = (
        "import hashlib, sys\n"
        "from trust.test_quickjs import freeze\n"
        "from wizer import EngineConfig\n"
        "from wizer.demo.quickjs import load\n"
        "engine = EngineConfig(compiler=sys.argv[1], cache=sys.argv[2] == 'cached')\n"
        "print(hashlib.sha256(freeze(load(), deterministic=11, engine=engine)).hexdigest())\n"
    )
    for compiler, cache, home in (
        ("auto", "cached", tmp_path / "cold"),
        ("auto", "cached", tmp_path / "cold"),
        ("cranelift", "uncached", tmp_path),
        ("winch", "uncached", tmp_path),
    ):
        run = subprocess.run(
            [sys.executable, "-c", script, compiler, cache],
            capture_output=True,
            check=True,
            cwd=tmp_path,
            env=environment({"XDG_CACHE_HOME": str(home)}),
        )
        assert run.stdout.decode().strip() == expected, compiler
    later = freeze(quickjs, deterministic=Deterministic(seed=11, start=10**18))
    assert hashlib.sha256(later).hexdigest() != expected
