"""`wizer build` reads its file, makes what is not up to date, and says how that went."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from batch.test_failures import slow
from cli.test_progress import Terminal
from support.command import Tool
from wizer import wizen

Modules = Callable[[int], list[Path]]

TABLE = '[snapshots.all]\ninputs = "*.wasm"\noutput = "out/{stem}.wasm"\n'


def test_all_then_nothing(wizer: Tool, modules: Modules, tmp_path: Path) -> None:
    modules(3)
    (tmp_path / "wizer.toml").write_text(TABLE)
    ended = wizer("build", "-j", "1")
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.startswith(b"3 made; 0 up to date; ")
    assert len(list((tmp_path / "out").glob("*.wasm"))) == 3
    assert wizer("build").stdout.startswith(b"0 made; 3 up to date; ")


def test_a_dry_run_names_what_would_be_made(wizer: Tool, modules: Modules, tmp_path: Path) -> None:
    modules(2)
    (tmp_path / "wizer.toml").write_text(TABLE)
    ended = wizer("build", "--dry-run")
    assert ended.stdout.splitlines() == [b"make all[0.wasm]", b"make all[1.wasm]"]
    assert not (tmp_path / "out").exists()
    wizer("build")
    assert wizer("build", "--dry-run").stdout == b"nothing to make\n"


def test_one_that_fails_is_named_and_the_others_are_made(
    wizer: Tool, modules: Modules, tmp_path: Path
) -> None:
    modules(3)
    (tmp_path / "1.wasm").write_bytes(
        wasmtime.wat2wasm('(module (func (export "wizer-initialize") unreachable))')
    )
    (tmp_path / "wizer.toml").write_text(TABLE)
    ended = wizer("build", "-j", "1", "--keep-going")
    assert ended.status == 1
    assert ended.first_line == "Error: all[1.wasm]: the `wizer-initialize` function trapped"
    assert ended.stdout.startswith(b"2 made; 0 up to date; 1 failed: all[1.wasm]; ")


def test_a_target_is_a_table_a_snapshot_or_an_output(wizer: Tool, modules: Modules, tmp_path: Path) -> None:
    modules(2)
    (tmp_path / "pyproject.toml").write_text(TABLE.replace("snapshots", "tool.wizer.snapshots"))
    for target in ("all", "all[1.wasm]", "out/1.wasm"):
        ended = wizer("build", "--dry-run", target)
        assert ended.stdout.splitlines()[-1] == b"make all[1.wasm]"
    ended = wizer("build", "nothing")
    assert (ended.status, ended.first_line) == (2, "error: there is no snapshot `nothing`; known are all")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('inputs = "*.wasm"\noutput = "out/x.wasm"', "`all[0.wasm]` and `all[1.wasm]` have one output"),
        ('input = "0.wasm"\noutput = "0.wasm"', "which `all` writes: they cannot be made in one build"),
        ('input = "0.wasm"\noutput = "x"\nprecompile = "./x"', "`all` and `all` have one output"),
        (
            'input = "0.wasm"\noutput = "x"\n'
            '[snapshots.b]\ninput = "1.wasm"\npreload = { m = "x" }\noutput = "y"',
            "`b` reads",
        ),
    ],
)
def test_snapshots_in_each_others_way_are_refused(
    table: str, message: str, wizer: Tool, modules: Modules, tmp_path: Path
) -> None:
    before = [path.read_bytes() for path in modules(2)]
    (tmp_path / "wizer.toml").write_text(f"[snapshots.all]\n{table}\n")
    ended = wizer("build", "-j", "1")
    assert ended.status == 2
    assert message in ended.first_line
    assert [path.read_bytes() for path in modules(2)] == before
    assert not (tmp_path / "out").exists()


def test_machine_code_beside_the_snapshots(wizer: Tool, modules: Modules, tmp_path: Path) -> None:
    modules(2)
    (tmp_path / "wizer.toml").write_text(f'{TABLE}precompile = "code/{{stem}}.cwasm"\n')
    assert wizer("build", "-j", "1").stdout.startswith(b"2 made; 0 up to date; ")
    (tmp_path / "code/1.cwasm").unlink()
    assert wizer("build", "-j", "1").stdout.startswith(b"1 made; 1 up to date; ")
    assert {path.name for path in (tmp_path / "code").iterdir()} == {"0.cwasm", "1.cwasm"}


def test_a_terminal_shows_a_bar_what_runs_and_a_table(modules: Modules, tmp_path: Path) -> None:
    first, *_ = modules(3)
    first.write_bytes(slow(1, 1_500_000_000))  # a terminal is drawn anew four times a second
    (tmp_path / "wizer.toml").write_text(TABLE)
    terminal = Terminal("build", "-j", "1", cwd=tmp_path)
    terminal.until(rb"building.*0/3")
    terminal.until(rb"\n  all\[0.wasm\]")
    terminal.until(rb"all[^\n]*3[^\n]*0[^\n]*0")  # a row for the table: made, up to date, failed
    assert b"3 made; 0 up to date; " in terminal.end()
    assert terminal.process.returncode == 0


def test_two_builds_at_once_have_the_same_outputs(wizer: Tool, modules: Modules, tmp_path: Path) -> None:
    paths = modules(12)
    (tmp_path / "wizer.toml").write_text(TABLE)
    builds = [wizer.start("build", "-j", "1") for _ in range(2)]
    for build in builds:
        _, errors = build.communicate(timeout=100)
        assert (build.returncode, errors) == (0, b"")
    for path in paths:
        assert (tmp_path / "out" / path.name).read_bytes() == wizen(path)
    assert {path.name for path in (tmp_path / "out").rglob(".*")} == {".wizer"}
    assert wizer("build").stdout.startswith(b"0 made; 12 up to date; ")
