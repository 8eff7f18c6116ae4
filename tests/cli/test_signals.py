from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Tool, environment

from . import modules

Write = Callable[..., Path]

SAYS_IT_RUNS = """
(module ;; writes a line, then {after}
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\08\\00\\00\\00\\06\\00\\00\\00runs!\\n")
  (data (i32.const 88) "\\00\\a0\\b8\\30\\46\\03\\00\\00")
  (func (export "wizer-initialize")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
    {after}))
"""
LOOP = SAYS_IT_RUNS.format(after="(loop $forever (br $forever))")
SLEEP = SAYS_IT_RUNS.format(
    after="(drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 256)))"
)


def ended(process: subprocess.Popen[bytes]) -> int:
    status = process.wait(timeout=20)
    process.communicate()
    return status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("guest", [LOOP, SLEEP], ids=["loop", "sleep"])
def test_signal_ends_initialisation(guest: str, number: signal.Signals, wizer: Tool, module: Write) -> None:
    path = module(guest)
    (wizer.cwd / "out.wasm").write_bytes(b"old")
    with wizer.start("--allow-wasi", path, "-o", "out.wasm") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"runs!\n"
        process.send_signal(number)
        assert ended(process) in (-number, 128 + number)
    assert sorted(p.name for p in wizer.cwd.iterdir()) == ["in.wasm", "out.wasm"]
    assert (wizer.cwd / "out.wasm").read_bytes() == b"old"


def test_ctrl_c_while_waiting_for_input(wizer: Tool) -> None:
    with wizer.start("-o", "out.wasm") as process:
        time.sleep(1)  # there is nothing to wait for: the process sits in a read
        process.send_signal(signal.SIGINT)
        assert ended(process) in (-signal.SIGINT, 128 + signal.SIGINT)
    assert not list(wizer.cwd.iterdir())


def test_ctrl_c_says_nothing(wizer: Tool, module: Write) -> None:
    with wizer.start("--allow-wasi", module(LOOP), "-o", "out.wasm") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert stderr == b""
    assert process.returncode == -signal.SIGINT  # the shell sees that it was Ctrl-C


def test_reader_that_goes_away(wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    for args in ([path], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        with wizer.start(*args, stdout=writer) as process:
            os.close(writer)
            _, stderr = process.communicate(timeout=20)
        assert stderr == b""
        assert process.returncode == -signal.SIGPIPE


ALMOST_THERE = """
import os, signal, sys, time
from wizer.cli import files
ignore = files.ignore
def between():
    ignore()
    os.kill(os.getpid(), signal.{name})
    time.sleep(0.5)
files.ignore = between
from wizer.cli import run_process
run_process()
"""


STARTS = """
import sys, threading, time, os, signal
before = set(sys.modules)
def interrupt():
    while len(sys.modules) < len(before) + {modules}:
        pass
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
from wizer.__main__ import main
main()
time.sleep(5)
"""


@pytest.mark.parametrize("modules_", [5, 20, 40, 60, 100, 140])
def test_ctrl_c_at_the_start_says_nothing(modules_: int, wizer: Tool, module: Write) -> None:
    """From the first line of our own on; what Python itself does before is Python's."""
    path = module(modules.COUNTER)
    command = [sys.executable, "-c", STARTS.format(modules=modules_), str(path), "-o", "out.wasm"]
    run = subprocess.run(command, cwd=wizer.cwd, env=environment(), check=False, capture_output=True)
    assert run.stderr == b""
    assert run.returncode in (0, -signal.SIGINT)


def test_next_to_nothing_is_imported_before_ctrl_c_says_nothing() -> None:
    """What Python itself and the script that starts us import before that, is not ours."""
    program = "import sys; before = {*sys.modules}; import wizer.__main__; print(*{*sys.modules} - before)"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert {*run.stdout.split()} <= {"__future__", "wizer", "wizer.__main__"}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_as_the_output_takes_its_place(name: str, wizer: Tool, module: Write) -> None:
    """The exit status says which output is there: from then on it is the new one."""
    path = module(modules.COUNTER)
    command = [sys.executable, "-c", ALMOST_THERE.format(name=name), str(path), "-o", "out.wasm"]
    run = subprocess.run(command, cwd=wizer.cwd, env=environment(), check=False)
    assert run.returncode == 0
    assert (wizer.cwd / "out.wasm").read_bytes()[:4] == b"\0asm"


def test_signals_are_heard_again(wizer: Tool, module: Write) -> None:
    from wizer.cli import main

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert main([str(module(modules.COUNTER)), "-o", str(wizer.cwd / "out.wasm")]) == 0
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
