"""What a run says while it runs: on a real terminal, and nowhere else."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support.command import WIZER, Tool, environment

# Goes on for longer than any test waits.
SLOW = """(module (memory (export "memory") 1) (func (export "boot") (local i64)
  (i32.store (i32.const 8) (i32.const 7))
  (loop (local.set 0 (i64.add (local.get 0) (i64.const 1)))
    (br_if 0 (i64.lt_u (local.get 0) (i64.const 1000000000000))))))"""

READER = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\20\\00\\00\\00")
  (func (export "wizer-initialize")
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


class Terminal:
    """A command on a terminal of its own; what it shows is read as it comes."""

    def __init__(
        self, *args: str | Path, cwd: Path, command: Sequence[str] = WIZER, term: str = "xterm"
    ) -> None:
        pty = pytest.importorskip("pty")
        self._near, far = pty.openpty()
        self.process = subprocess.Popen(
            [*command, *map(str, args)],
            stdin=far,
            stdout=far,
            stderr=far,
            cwd=cwd,
            env=environment({"TERM": term, "COLUMNS": "80"}),
            start_new_session=True,
        )
        os.close(far)
        self.shown = b""

    def until(self, pattern: bytes) -> None:
        """Read until a pattern has been shown."""
        deadline = time.monotonic() + 60
        while not re.search(pattern, self.shown):
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown

    def end(self) -> bytes:
        """Read what comes until the command has ended."""
        while self._read():
            pass
        self.process.wait(60)
        os.close(self._near)
        return self.shown

    def type(self, text: bytes) -> None:
        os.write(self._near, text)

    def _read(self) -> bool:
        if not select.select([self._near], [], [], 60)[0]:
            return False
        try:
            part = os.read(self._near, 4096)
        except OSError:  # nobody has the other end
            return False
        self.shown += part
        return bool(part)


def screen(shown: bytes) -> list[str]:
    """Return what is left on a terminal in the end: lines that were taken off are not."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")
    return [re.sub(r".*\r\x1b\[2K", "", line) for line in text.split("\n")]


def test_a_terminal_shows_what_a_long_run_does_and_is_left_clean(
    module: Callable[..., Path], tmp_path: Path
) -> None:
    terminal = Terminal("-f", "boot", module(SLOW), "-o", "out.wasm", cwd=tmp_path)
    terminal.until(rb"running `boot` for [1-9] s")
    terminal.process.send_signal(signal.SIGINT)
    assert screen(terminal.end()) == [""]
    assert terminal.process.returncode == -signal.SIGINT
    assert b"\x1b[?25l" not in terminal.shown  # the cursor is never hidden: a killed run could not show it


def test_an_error_stands_on_a_line_of_its_own(module: Callable[..., Path], tmp_path: Path) -> None:
    terminal = Terminal("-f", "boot", "--timeout", "2s", module(SLOW), "-o", "out.wasm", cwd=tmp_path)
    terminal.until(rb"running `boot`")
    lines = screen(terminal.end())
    assert lines[0].startswith("Error: ")
    assert terminal.process.returncode == 5


def test_a_guest_that_has_the_terminal_keeps_it(module: Callable[..., Path], tmp_path: Path) -> None:
    terminal = Terminal("-f", "boot", "--allow-wasi", module(SLOW), "-o", "out.wasm", cwd=tmp_path)
    terminal.until(rb"running `boot` for 3 s\r\n")
    terminal.process.kill()
    assert not re.search(rb"running `boot` for [12] s", terminal.end())


WITHOUT_RICH = """
import sys
sys.modules["rich"] = sys.modules["rich.console"] = None
from wizer.cli import run_process
run_process()
"""


@pytest.mark.parametrize("lacks", ["rich", "a terminal that takes lines back"])
def test_what_cannot_be_drawn_over_is_said_in_lines(
    module: Callable[..., Path], tmp_path: Path, lacks: str
) -> None:
    args = ("-f", "boot", module(SLOW), "-o", "out.wasm")
    if lacks == "rich":
        terminal = Terminal(*args, cwd=tmp_path, command=(sys.executable, "-c", WITHOUT_RICH))
    else:
        terminal = Terminal(*args, cwd=tmp_path, term="dumb")
    terminal.until(rb"running `boot` for 3 s\r\n")
    terminal.process.kill()
    assert b"\x1b" not in terminal.end()


@pytest.mark.skipif(sys.platform != "linux", reason="what a thread waits for is known on Linux only")
def test_a_run_that_waits_for_somebody_to_type_says_so_once(
    module: Callable[..., Path], tmp_path: Path
) -> None:
    terminal = Terminal("--allow-wasi", module(READER), "-o", "out.wasm", cwd=tmp_path)
    terminal.until(rb"running `wizer-initialize` \(waiting for standard input\)\r\n")
    terminal.type(b"hello\n")
    shown = terminal.end()
    assert terminal.process.returncode == 0
    assert shown.count(b"waiting") == 1
    assert b"hello\n" in (tmp_path / "out.wasm").read_bytes()


@pytest.mark.parametrize("where", ["a pipe", "quiet"])
def test_nothing_is_shown_in_a_pipe_or_when_quiet(
    module: Callable[..., Path], tmp_path: Path, wizer: Tool, where: str
) -> None:
    if where == "quiet":
        terminal = Terminal("-q", "-f", "boot", "-W", "timeout=2s", module(SLOW), "-o", "x", cwd=tmp_path)
        assert screen(terminal.end())[0].startswith("Error: ")
        assert b"running" not in terminal.shown
    else:
        ended = wizer("-f", "boot", "-W", "timeout=2s", module(SLOW), "-o", "x")
        assert ended.stderr.startswith("Error: ")
        assert "running" not in ended.stderr


MANY = """(module (memory (export "memory") 400) (global (export "g") (mut i32) (i32.const 0))
  (func (export "wizer-initialize") (local i32)
    (loop (i32.store8 (local.get 0) (i32.const 1)) (local.set 0 (i32.add (local.get 0) (i32.const 4000)))
      (br_if 0 (i32.lt_u (local.get 0) (i32.const 26000000))))))"""


def test_verbose_says_what_the_run_did_and_which_limits_it_met(
    module: Callable[..., Path], wizer: Tool
) -> None:
    binary = module(MANY).stat().st_size
    (wizer.cwd / "in.wat").write_text(MANY)
    ended = wizer("-v", "--max-data-segments", "50", "in.wat", "-o", "out.wasm")
    assert ended.status == 0
    lines = dict(line.split(": ", 1) for line in ended.stderr.splitlines() if not line.startswith("note"))
    size = (wizer.cwd / "out.wasm").stat().st_size
    assert re.fullmatch(r"\d+\.\d{3} s \(\w+ .*\)", lines["time"])
    assert f"{binary} bytes in, {size} bytes out" in lines["size"]
    assert lines['memory 0 ("memory")'].endswith("of 26214400 bytes in 50 data segments (layout balanced)")
    assert lines["ran"] == "wizer-initialize"
    assert "of 600 s" in lines["limits"]
    assert "note: the limit of data segments leaves room for 50: 6500 ranges of memory" in ended.stderr


def test_verbose_says_that_instances_copy_their_memory(module: Callable[..., Path], wizer: Tool) -> None:
    assert "note: every instance copies what memory 0" in wizer("-v", module(MANY), "-o", "out.wasm").stderr
    assert "every instance copies" not in wizer("-v", "--layout=instant", module(MANY), "-o", "x").stderr


def test_verbose_counts_calls_of_imports(module: Callable[..., Path], wizer: Tool) -> None:
    ended = wizer("-v", "--allow-wasi", module(READER), "-o", "out.wasm", stdin=b"x")
    assert "called: `wasi_snapshot_preview1::fd_read`\n" in ended.stderr


def test_quiet_says_errors_only(module: Callable[..., Path], wizer: Tool) -> None:
    source = module(
        '(module (func (export "wizer-initialize")) (func (export "f") (result i32) i32.const 1))'
    )
    noisy = ("--env", "A=1", "-r", "a=b", "-f", "f", source, "-o", "out.wasm")
    assert {line.split()[0] for line in wizer(*noisy).stderr.splitlines()} == {"warning:", "`f`"}
    assert wizer("-q", *noisy).stderr == ""
    assert wizer("-q", "-f", "none", source, "-o", "out.wasm").stderr.startswith("Error: ")
    assert wizer("-q", "-v", source, "-o", "out.wasm").status == 2
