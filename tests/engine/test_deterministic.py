"""Deterministic initialisation: what a guest sees, and that it is the same everywhere."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from support.command import wizer
from support.observer import OBSERVER
from wizer import EngineConfig, ExitError, OptionError, Session, TrapError, Wasi, Wizer, wizen
from wizer.engine.deterministic import Deterministic, World

HOUR = 3600 * 10**9


def observer(wasi: Wasi | None = None, **options: object) -> Session:
    return Session(OBSERVER, wasi=wasi or Wasi(), **{"deterministic": True, **options})  # type: ignore[arg-type]


def test_without_it_chance_and_time_are_real() -> None:
    seen = set()
    for _ in range(2):
        with observer(deterministic=False) as session:
            session.call("look_random")
            session.call("look_clock")
            seen.add(bytes(session.memory()[0x100:0x208]))
    assert len(seen) == 2


def test_random_numbers_are_those_of_the_seed() -> None:
    """The bytes are part of what the mode promises: other versions must give the same."""
    with observer(deterministic=42) as session:
        session.call("look_random")
        first = bytes(session.memory()[0x100:0x108])
        session.call("look_random")
        second = bytes(session.memory()[0x100:0x108])
    assert (first.hex(), second.hex()) == ("8ff5351192922169", "872c669f636fd4cc")
    assert World(Deterministic(seed="42")).random(8) == first
    assert World(Deterministic(seed=43)).random(8) != first


def test_clocks_start_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with observer() as session:
        for call in ("look_clock", "look_monotonic", "look_resolution"):
            session.call(call)
        assert struct.unpack("<QQQ", session.memory()[0x200:0x218]) == (1700000000 * 10**9, 2_000_000, 1_000)
        session.call("look_clock")
        assert struct.unpack("<Q", session.memory()[0x200:0x208]) == (1700000000 * 10**9 + 2_000_000,)
        assert session.call("cpu_clock") == 8
    with observer(deterministic=Deterministic(start=5, step=0)) as session:
        session.call("look_clock")
        assert struct.unpack("<Q", session.memory()[0x200:0x208]) == (5,)


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", "9" * 30])
def test_source_date_epoch_is_checked(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(OptionError, match="SOURCE_DATE_EPOCH must be a number of seconds"):
        observer()


def test_sleep_takes_no_time_and_shows_on_the_clock() -> None:
    with observer() as session:
        assert session.call("sleep") == 1 + 77
        session.call("look_monotonic")
        assert HOUR <= struct.unpack("<Q", session.memory()[0x208:0x210])[0] <= HOUR + 10**9


def test_a_pointer_out_of_bounds_traps_as_in_the_engine() -> None:
    for deterministic in (True, False):
        with observer(deterministic=deterministic) as session, pytest.raises(TrapError):
            session.call("far_random")


def names(raw: bytes) -> list[tuple[int, int, bytes]]:
    found, at = [], 0
    while at + 24 <= len(raw):
        cookie, inode, length = struct.unpack_from("<QQI", raw, at)
        found.append((cookie, inode, raw[at + 24 : at + 24 + length]))
        at += 24 + length
    return found


def test_directories_are_sorted_and_files_numbered(tmp_path: Path) -> None:
    seen = []
    for number, order in enumerate((("zebra", "apple", "mango"), ("mango", "zebra", "apple"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in order:
            (folder / name).write_text(name)
        with observer(Wasi(mapdirs={"/d": folder})) as session:
            session.call("look_directory", 4096, 0)
            (used,) = struct.unpack("<I", session.memory()[0xFF0:0xFF4])
            entries = names(bytes(session.memory()[0x1000 : 0x1000 + used]))
            session.call("look_file")
            seen.append((entries, bytes(session.memory()[0x2000:0x2040])))
    assert [name for _, _, name in seen[0][0]] == [b".", b"..", b"apple", b"mango", b"zebra"]
    assert [cookie for cookie, _, _ in seen[0][0]] == [1, 2, 3, 4, 5]
    assert seen[0] == seen[1]


def test_directories_can_be_listed_in_pieces(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"file-{number:04}-with-a-name-of-some-length").touch()
    with observer(Wasi(mapdirs={"/d": tmp_path})) as session:
        listed, cookie = [], 0
        while True:
            session.call("look_directory", 400, cookie)
            (used,) = struct.unpack("<I", session.memory()[0xFF0:0xFF4])
            entries = names(bytes(session.memory()[0x1000 : 0x1000 + used]))
            whole = entries if used < 400 else entries[:-1]
            listed += [name for _, _, name in whole]
            if used < 400:
                break
            cookie = whole[-1][0]
    assert listed == [b".", b"..", *sorted(path.name.encode() for path in tmp_path.iterdir())]


def test_exit_and_errors_come_through_the_relay() -> None:
    from wizer.engine.trace import Trace

    trace = Trace()
    with observer(trace=trace) as session, pytest.raises(ExitError) as error:
        session.call("exit")
    assert error.value.code == 9
    assert trace.calls["wasi_snapshot_preview1", "proc_exit"] == 1


def test_preloaded_modules_are_in_the_same_world() -> None:
    library = """(module
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "seed") (result i64)
        (drop (call $random (i32.const 0) (i32.const 8))) (i64.load (i32.const 0))))"""
    module = """(module (import "lib" "seed" (func $seed (result i64)))
      (global (export "g") (mut i64) (i64.const 0))
      (func (export "wizer-initialize") (global.set 0 (call $seed))))"""
    options = {"wasi": Wasi(), "preload": {"lib": library}}
    same = {wizen(module, deterministic=1, **options) for _ in range(3)}  # type: ignore[arg-type]
    assert len(same) == 1
    assert wizen(module, deterministic=2, **options) not in same  # type: ignore[arg-type]


EVERYTHING = (
    "look_random",
    "look_clock",
    "look_monotonic",
    "look_environ",
    "look_directory(4096, 0)",
    "look_file",
)


def test_same_bytes_whatever_the_compiler_or_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    wasi = Wasi(mapdirs={"/d": tmp_path}, env={"B": "2", "A": "1"})
    outputs = {
        Wizer(init_func=EVERYTHING, wasi=wasi, deterministic="seed", engine=engine).run(OBSERVER)
        for engine in (
            EngineConfig(),
            EngineConfig(cache=False),
            EngineConfig(compiler="cranelift", opt_level="speed"),
            EngineConfig(compiler="winch", cache=False),
        )
    }
    assert len(outputs) == 1


def test_same_bytes_from_every_process_and_place(tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(OBSERVER)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("text")
    functions: list[str | Path] = [arg for call in EVERYTHING for arg in ("-f", call)]
    common: list[str | Path] = [
        "--allow-wasi",
        "--dir",
        f"{elsewhere}::/d",
        "--env",
        "A=1",
        tmp_path / "in.wat",
        *functions,
    ]
    outputs = []
    for cwd, more in (
        (tmp_path, []),
        (elsewhere.parent, ["-C", "cache=n"]),
        (Path("/"), ["-C", "compiler=cranelift"]),
    ):
        run = wizer(*common, *more, "--deterministic=7", "-o", "-", cwd=cwd, env={"SOURCE_DATE_EPOCH": "12"})
        assert run.returncode == 0, run.stderr
        outputs.append(run.stdout)
    assert len(set(outputs)) == 1
    other = wizer(*common, "--deterministic=8", "-o", "-", env={"SOURCE_DATE_EPOCH": "12"})
    assert other.stdout not in outputs


@pytest.mark.parametrize(
    "given", [{"seed": 10**5000}, {"seed": "\ud800"}, {"start": 10**5000}, {"step": 10**5000}]
)
def test_numbers_and_texts_that_cannot_be_used_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"seed|clock"):
        Deterministic(**given)
