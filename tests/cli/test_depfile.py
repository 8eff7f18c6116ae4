"""``--depfile``, as Make and Ninja read it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Tool

READER = """(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\20\\00\\00\\00\\20\\00\\00\\00%s")
  (func (export "wizer-initialize")
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const %d)
      (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 100)))
    (drop (call $read (i32.load (i32.const 100)) (i32.const 0) (i32.const 1) (i32.const 104)))))"""

NAMES = [
    "plain.txt",
    "two words",
    "dol$lar",
    "ha#sh",
    "co:lon",
    "all $of #them: here",
    "back\\slash",
    "x\\ y",
]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def built(module: Callable[..., Path], wizer: Tool, name: str) -> list[str]:
    """Build ``out.wasm`` from a module that reads the file of this name; return the command."""
    folder = wizer.cwd / "host dir"
    folder.mkdir()
    (folder / name).write_text("contents")
    escaped = name.replace("\\", "\\\\")
    module(READER % (escaped, len(name)), f"{name}.in.wasm")
    command = ["--allow-wasi", "--dir", "host dir::/d", "--depfile", "out.d", f"{name}.in.wasm"]
    assert wizer(*command, "-o", "out.wasm").status == 0
    return [f"{name}.in.wasm", f"host dir/{name}"]


def test_make_makes_the_output_anew_when_any_of_its_files_changes(built: list[str], wizer: Tool) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no `make` on PATH")
    (wizer.cwd / "Makefile").write_text("out.wasm:\n\t@echo made\ninclude out.d\n")

    def makes() -> bool:
        ended = subprocess.run([make, "out.wasm"], cwd=wizer.cwd, capture_output=True, text=True, check=True)
        return ended.stdout == "made\n"

    assert not makes()
    for file in built:
        os.utime(wizer.cwd / file, (2**32, 2**32))
        assert makes(), file
        os.utime(wizer.cwd / file, (0, 0))
        assert not makes()
    (wizer.cwd / built[1]).unlink()
    assert makes()


def test_ninja_makes_the_output_anew_when_any_of_its_files_changes(built: list[str], wizer: Tool) -> None:
    ninja = shutil.which("ninja")
    if ninja is None:
        pytest.skip("there is no `ninja` on PATH")
    (wizer.cwd / "build.ninja").write_text(
        "rule freeze\n  command = cp kept.d out.d && touch out.wasm\n  depfile = out.d\n  deps = gcc\n"
        "build out.wasm: freeze\n"
    )
    shutil.copy(wizer.cwd / "out.d", wizer.cwd / "kept.d")

    def makes() -> bool:
        ended = subprocess.run([ninja], cwd=wizer.cwd, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout
        return "no work to do" not in ended.stdout

    makes()
    assert not makes()
    for file in built:
        os.utime(wizer.cwd / file, (2**32, 2**32))
        assert makes(), file
        os.utime(wizer.cwd / file, (0, 0))
        makes()


def test_everything_that_was_read_is_named_and_directories_are_not(
    module: Callable[..., Path], wizer: Tool
) -> None:
    module(READER % ("a", 1))
    module('(module (func (export "f")))', "lib.wasm")
    (wizer.cwd / "a").mkdir()
    (wizer.cwd / "settings.toml").write_text("")
    command = ("--allow-wasi", "--dir", ".::/d", "--preload", "lib=lib.wasm", "--config", "settings.toml")
    assert wizer(*command, "in.wasm", "-o", "out.wasm", "--depfile", "out.d").status == 0
    rule, *empty = (wizer.cwd / "out.d").read_text().replace(" \\\n ", "").splitlines()
    assert rule == "out.wasm: in.wasm lib.wasm settings.toml"
    assert empty == ["in.wasm:", "lib.wasm:", "settings.toml:"]


def test_a_rule_needs_a_file(module: Callable[..., Path], wizer: Tool) -> None:
    source = module('(module (func (export "wizer-initialize")))')
    ended = wizer(source, "--depfile", "out.d")
    assert ended.status == 2
    assert "needs '--output'" in ended.stderr
    (wizer.cwd / "line\nend.wasm").write_bytes(source.read_bytes())
    ended = wizer("line\nend.wasm", "-o", "out.wasm", "--depfile", "out.d")
    assert ended.status == 4
    assert r"no rule of a depfile can name the file 'line\nend.wasm'" in ended.stderr
    assert not (wizer.cwd / "out.wasm").exists()


def test_a_failed_run_leaves_no_rule(module: Callable[..., Path], wizer: Tool) -> None:
    source = module('(module (func (export "wizer-initialize") unreachable))')
    assert wizer(source, "-o", "out.wasm", "--depfile", "out.d").status == 1
    assert not (wizer.cwd / "out.d").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--depfile", "out.wasm"], "'--depfile <FILE>' and '--output <OUTPUT>' name one file, out.wasm"),
        (
            ["--precompile", "x", "--depfile", "./x"],
            "'--depfile <FILE>' and '--precompile <FILE>' name one file",
        ),
        (
            ["--report", "r.json", "--depfile", "r.json"],
            "'--report <FILE>' and '--depfile <FILE>' name one file",
        ),
        (["--depfile", "in.wasm"], "'--depfile <FILE>' names what is read, in.wasm"),
        (["--preload", "m=m.json", "--report", "m.json"], "'--report <FILE>' names what is read, m.json"),
    ],
)
def test_no_file_is_written_over_another(
    words: list[str], message: str, module: Callable[..., Path], wizer: Tool
) -> None:
    before = module('(module (func (export "wizer-initialize")))', "in.wasm").read_bytes()
    ended = wizer("in.wasm", "-o", "out.wasm", *words)
    assert ended.status == 2
    assert message in ended.first_line
    assert (wizer.cwd / "in.wasm").read_bytes() == before
    assert not (wizer.cwd / "out.wasm").exists()


def test_what_is_no_file_takes_all(module: Callable[..., Path], wizer: Tool) -> None:
    module('(module (func (export "wizer-initialize")))', "in.wasm")
    assert wizer("in.wasm", "-o", os.devnull, "--depfile", os.devnull).status == 0
