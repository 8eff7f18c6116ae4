"""What initialisation looked at outside decides whether an output is up to date: no more, and no less."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import wasmtime

from support.command import Tool
from wizer import Job, Wasi, Wizer, build

# Opens "conf" below the first directory, and reads it where it is there.
READS = """(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "conf")
  (data (i32.const 8) "\\40\\00\\00\\00\\40\\00\\00\\00")
  (func (export "wizer-initialize")
    (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)
                             (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
      (then (drop (call $read (i32.load (i32.const 16)) (i32.const 8) (i32.const 1) (i32.const 20)))))))"""

LISTS = """(module
  (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize")
    (drop (call $list (i32.const 3) (i32.const 64) (i32.const 1024) (i64.const 0) (i32.const 0)))))"""

ASKS = """(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize") (drop (call $sizes (i32.const 0) (i32.const 4)))))"""

IGNORES = '(module (memory (export "memory") 1) (func (export "wizer-initialize")))'

RANDOM = """(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize") (drop (call $random (i32.const 0) (i32.const 8)))))"""


def outcome(wasm: str, output: Path, wasi: Wasi, **options: bool) -> str:
    job = Job(input=wasm, output=output, wizer=Wizer(wasi=wasi, **options))  # type: ignore[arg-type]
    with ThreadPoolExecutor(1) as executor:
        (result,) = build([job], executor)
    assert result.error is None
    return result.outcome


@pytest.fixture
def guest(tmp_path: Path) -> Wasi:
    """What a guest sees: a folder as ``/app``."""
    (tmp_path / "app").mkdir()
    return Wasi(mapdirs={"/app": tmp_path / "app"})


def test_a_file_that_was_read(tmp_path: Path, guest: Wasi) -> None:
    conf, output = tmp_path / "app" / "conf", tmp_path / "out.wasm"
    conf.write_text("one")
    assert outcome(READS, output, guest) == "made"
    (tmp_path / "app" / "other").write_text("nobody reads this")
    assert outcome(READS, output, guest) == "current"
    conf.write_text("two")
    assert outcome(READS, output, guest) == "made"
    assert b"two" in output.read_bytes()
    conf.unlink()
    assert outcome(READS, output, guest) == "made"


def test_a_file_that_was_not_there(tmp_path: Path, guest: Wasi) -> None:
    output = tmp_path / "out.wasm"
    assert outcome(READS, output, guest) == "made"
    assert outcome(READS, output, guest) == "current"
    (tmp_path / "app" / "conf").write_text("now")
    assert outcome(READS, output, guest) == "made"


def test_a_folder_that_was_listed(tmp_path: Path, guest: Wasi) -> None:
    output = tmp_path / "out.wasm"
    assert outcome(LISTS, output, guest) == "made"
    assert outcome(LISTS, output, guest) == "current"
    (tmp_path / "app" / "another").write_text("")
    assert outcome(LISTS, output, guest) == "made"


def test_a_tree_that_was_moved_is_up_to_date(tmp_path: Path) -> None:
    for name in ("one", "two"):
        root = tmp_path / name
        if name == "two":
            (tmp_path / "one").rename(root)
        else:
            (root / "app").mkdir(parents=True)
            (root / "app" / "conf").write_text("x")
        wasi = Wasi(mapdirs={"/app": root / "app"})
        assert outcome(READS, root / "out.wasm", wasi) == ("made" if name == "one" else "current")


def test_variables_count_where_they_were_asked_for(tmp_path: Path) -> None:
    one, other = Wasi(env={"A": "1"}), Wasi(env={"A": "2"})
    asks, ignores = tmp_path / "asks.wasm", tmp_path / "ignores.wasm"
    assert [outcome(ASKS, asks, wasi) for wasi in (one, one, other)] == ["made", "current", "made"]
    assert [outcome(IGNORES, ignores, wasi) for wasi in (one, one, other)] == ["made", "current", "current"]


def test_the_time_that_a_deterministic_run_begins_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, wasi = tmp_path / "out.wasm", Wasi()
    for seconds, expected in [("1", "made"), ("1", "current"), ("2", "made")]:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
        assert outcome(RANDOM, output, wasi, deterministic=True) == expected


def test_chance_does_not_make_it_again_and_is_said(wizer: Tool, tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(wasmtime.wat2wasm(RANDOM))
    table = '[snapshots.dice]\ninput = "in.wasm"\noutput = "out.wasm"\nwasi = true\n'
    (tmp_path / "wizer.toml").write_text(table)
    said = b"1 looked at chance or the clock without `deterministic`, and are up to date all the same: dice"
    for count in (b"1 made; 0 up to date; ", b"0 made; 1 up to date; "):
        first, second = wizer("build").stdout.splitlines()
        assert first.startswith(count)
        assert second == said
    (tmp_path / "wizer.toml").write_text(f"{table}deterministic = true\n")
    assert len(wizer("build").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"format": 2}', '{"format": 99}', '{"format": 2, "name": 3}', "\0\xff"]
)
def test_a_damaged_record_is_none(damage: str, tmp_path: Path) -> None:
    output = tmp_path / "out.wasm"
    assert outcome(IGNORES, output, Wasi()) == "made"
    (tmp_path / ".wizer" / "records.jsonl").write_text(damage)
    assert outcome(IGNORES, output, Wasi()) == "made"
    assert outcome(IGNORES, output, Wasi()) == "current"


@pytest.mark.parametrize("missing", ["output", "files", "chance", "wasm"])
def test_a_record_that_lacks_something_is_none(missing: str, tmp_path: Path) -> None:
    output, records = tmp_path / "out.wasm", tmp_path / ".wizer" / "records.jsonl"
    assert outcome(IGNORES, output, Wasi()) == "made"
    document = json.loads(records.read_text())
    del document[missing]
    records.write_text(json.dumps(document))
    assert outcome(IGNORES, output, Wasi()) == "made"
    assert outcome(IGNORES, output, Wasi()) == "current"


def test_a_record_that_was_cut_short_takes_no_other_with_it(tmp_path: Path) -> None:
    first, second, records = tmp_path / "1.wasm", tmp_path / "2.wasm", tmp_path / ".wizer" / "records.jsonl"
    assert outcome(IGNORES, first, Wasi()) == "made"
    records.write_bytes(records.read_bytes() * 2 + records.read_bytes()[:-20])
    assert outcome(IGNORES, second, Wasi()) == "made"
    assert outcome(IGNORES, first, Wasi()) == "current"
    assert outcome(IGNORES, second, Wasi()) == "current"


def test_records_do_not_grow_for_ever(tmp_path: Path) -> None:
    output, records = tmp_path / "out.wasm", tmp_path / ".wizer" / "records.jsonl"
    assert outcome(IGNORES, output, Wasi()) == "made"
    size = records.stat().st_size
    records.write_bytes(records.read_bytes() * 100)
    assert outcome(IGNORES, output, Wasi()) == "current"
    assert records.stat().st_size == size
