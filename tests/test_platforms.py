"""Wizer on platforms that are not this one, as far as that can be tried; see `docs/platforms.md`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.command import environment
from support.engine import binary

HERE = Path(__file__).parent

# Tests of what asks the system for something. Those that are left out try what the other one does not have.
FILES = ("engine/test_watchdog.py", "engine/test_wasi.py", "test_session.py", "test_output.py")
LEFT_OUT = {"darwin": "", "bare": "", "win32": "not other_signals_do_not_stop"}

COMMAND = "import support.other_platform; from wizer.cli import run_process; run_process()"
LOOP = '(module (memory (export "m") 1) (func (export "wizer-initialize") (loop (br 0))))'
DEEP = '(module (memory (export "m") 1) (func $f (export "wizer-initialize") (call $f)))'
WRITER = r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\05\00\00\00")
  (func (export "wizer-initialize")
    (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""

platforms = pytest.mark.parametrize("platform", LEFT_OUT)


def python(platform: str, *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment({"WIZER_PLATFORM": platform}),
        timeout=300,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="another platform is seen from Linux")
@platforms
def test_what_asks_the_system_for_something(platform: str) -> None:
    options = (
        "-q",
        "-n0",
        "-p",
        "support.other_platform",
        "-p",
        "no:cacheprovider",
        "-k",
        LEFT_OUT[platform],
    )
    ended = python(platform, "-m", "pytest", *options, *(str(HERE / file) for file in FILES), cwd=HERE.parent)
    assert ended.returncode == 0, ended.stdout[-4000:]


@platforms
def test_a_function_for_output_and_what_it_raises(platform: str) -> None:
    program = f"""
import support.other_platform
import wizer
got = []
wizer.wizen({WRITER!r}, wasi=wizer.Wasi(stdout=got.append))
assert sum(map(len, got)) == 5, got
def full(data):
    raise ZeroDivisionError("full")
try:
    wizer.wizen({WRITER!r}, wasi=wizer.Wasi(stdout=full))
except ZeroDivisionError as error:
    print(error)
try:
    wizer.wizen({DEEP!r})
except wizer.TrapError as error:
    print(error.causes[-1])
"""
    ended = python(platform, "-c", program)
    assert ended.stdout == "full\nwasm trap: call stack exhausted\n", ended.stderr


@platforms
def test_the_command_line_and_an_output_that_is_there_already(platform: str, tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(binary(LOOP.replace("(loop (br 0))", "")))
    for _ in range(2):
        ended = python(platform, "-c", COMMAND, "in.wasm", "-o", "out.wasm", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wasm", "out.wasm"]


def test_windows_replaces_no_read_only_file_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(binary(LOOP.replace("(loop (br 0))", "")))
    output = tmp_path / "out.wasm"
    output.write_bytes(b"old")
    output.chmod(0o444)
    ended = python("win32", "-c", COMMAND, "in.wasm", "-o", "out.wasm", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wasm", "out.wasm"]
    assert ended.returncode == 4, ended.stderr
    assert "os error 13" in ended.stderr
    assert output.read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_ctrl_c_on_windows_is_no_usage_error(tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(binary(LOOP))
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "in.wasm", "-o", "out.wasm"],
        cwd=tmp_path,
        env=environment({"WIZER_PLATFORM": "win32"}),
        stderr=subprocess.PIPE,
    ) as process:
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.wasm"]
