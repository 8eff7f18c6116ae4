"""What goes wrong in the middle of a build: every other output is whole, the next build finishes the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import wasmtime

from batch.conftest import numbered
from cli.modules import SLEEPS
from support.command import WIZER, Tool, environment
from support.hosts import end_process
from wizer import Job, Wizer, WizerError, build, wizen

TABLE = '[snapshots.all]\ninputs = "in/*.wasm"\noutput = "out/{stem}.wasm"\n'
COUNT = 8

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="who a process's children are, /proc tells on Linux"
)


def slow(number: int, count: int = 150_000_000) -> bytes:
    """Return a module whose initialisation takes a moment."""
    return bytes(
        wasmtime.wat2wasm(
            f"""(module (memory (export "memory") 1)
              (func (export "wizer-initialize") (local $n i32)
                (local.set $n (i32.const {count}))
                (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (i32.store (i32.const 16) (i32.const {number}))))"""
        )
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with slow modules, and a file that names them."""
    (tmp_path / "in").mkdir()
    for number in range(COUNT):
        (tmp_path / "in" / f"{number}.wasm").write_bytes(slow(number + 1))
    (tmp_path / "wizer.toml").write_text(TABLE)
    return tmp_path


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [*WIZER, "build", "-j", "2", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def outputs(folder: Path) -> list[Path]:
    return sorted((folder / "out").glob("*.wasm")) if (folder / "out").exists() else []


def wait_for_output(folder: Path) -> None:
    until = time.monotonic() + 60
    while not outputs(folder):
        assert time.monotonic() < until, "no output came"
        time.sleep(0.01)


def assert_whole(folder: Path) -> None:
    """Check that all outputs are what they are when they are made alone, and that nothing else is there."""
    for output in outputs(folder):
        assert output.read_bytes() == wizen(folder / "in" / output.name)
    left = {path.name for path in (folder / "out").rglob(".*")}
    assert left <= {".wizer"}
    records = {path.name for path in (folder / "out" / ".wizer").glob("*")}
    assert records <= {"records.jsonl"}


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@linux
def test_a_worker_that_is_killed_costs_nothing_but_time(folder: Path) -> None:
    with started(folder) as process:
        wait_for_output(folder)
        os.kill(children(process.pid)[-1], signal.SIGKILL)
        _, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, b"")
    assert len(outputs(folder)) == COUNT
    assert_whole(folder)


def test_ctrl_c_leaves_what_is_whole_and_the_next_build_goes_on(wizer: Tool, folder: Path) -> None:
    with started(folder) as process:
        wait_for_output(folder)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (-signal.SIGINT, b"")
    done = len(outputs(folder))
    assert 0 < done < COUNT
    assert_whole(folder)
    ended = wizer("build", "-j", "2")
    assert ended.status == 0
    made = int(ended.stdout.split()[0])
    assert COUNT - done <= made <= COUNT - done + 2  # of two, the records may have been missing
    assert_whole(folder)


def test_no_room_fails_what_needs_it_and_the_next_build_makes_it(wizer: Tool, tmp_path: Path) -> None:
    """The bound on a file's size stands for a full disk: it takes no root to set, and is as sudden."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"{number}.wasm").write_bytes(numbered(number + 1))
    large = '(module (memory (export "memory") 4) (func (export "wizer-initialize") {}))'
    fill = "(memory.fill (i32.const 0) (i32.const 7) (i32.const 200000))"
    (tmp_path / "in" / "1.wasm").write_bytes(wasmtime.wat2wasm(large.format(fill)))
    (tmp_path / "wizer.toml").write_text(TABLE)
    program = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000)); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *WIZER[1:], "build", "-j", "1", "--keep-going"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.decode().startswith("Error: all[in/1.wasm]: failed to write the output")
    assert [output.name for output in outputs(tmp_path)] == ["0.wasm", "2.wasm"]
    assert_whole(tmp_path)
    assert wizer("build").stdout.startswith(b"1 made; 2 up to date; ")
    assert_whole(tmp_path)


def test_a_job_that_ends_its_worker_is_given_up_and_no_other(tmp_path: Path) -> None:
    calls = """(module (import "env" "end" (func $end)) (memory (export "memory") 1)
      (func (export "wizer-initialize") (call $end)))"""
    jobs = [Job(input=numbered(n), output=tmp_path / f"{n}.wasm", name=str(n)) for n in range(1, 5)]
    poisoned = Job(
        input=calls, output=tmp_path / "poisoned.wasm", imports={"env": {"end": end_process}}, name="poisoned"
    )
    results = {result.job: result for result in build([*jobs[:2], poisoned, *jobs[2:]], workers=2)}
    error = results.pop("poisoned").error
    assert isinstance(error, WizerError)
    assert error.message == "its worker died, 3 times"
    assert {result.outcome for result in results.values()} == {"made"}
    assert sorted(path.name for path in tmp_path.glob("*.wasm")) == ["1.wasm", "2.wasm", "3.wasm", "4.wasm"]


def test_a_job_that_ends_its_worker_takes_none_of_its_message_along(tmp_path: Path) -> None:
    # Small jobs travel several together, once it is known how long they take.
    calls = wasmtime.wat2wasm(
        '(module (import "env" "end" (func $e)) (func (export "wizer-initialize") (call $e)))'
    )
    jobs = [Job(input=numbered(n), output=tmp_path / f"{n}.wasm", name=str(n)) for n in range(120)]
    poisoned = Job(
        input=calls, output=tmp_path / "poisoned.wasm", imports={"env": {"end": end_process}}, name="poisoned"
    )
    results = {result.job: result for result in build([*jobs[:60], poisoned, *jobs[60:]], workers=2)}
    error = results.pop("poisoned").error
    assert error is not None
    assert error.message == "its worker died, 3 times"
    assert {result.outcome for result in results.values()} == {"made"}
    for number, job in enumerate(jobs):
        assert Path(job.output).read_bytes() == wizen(numbered(number))


def test_a_guest_that_waits_in_the_engine_is_ended_at_its_limit(wizer: Tool, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.wasm").write_bytes(wasmtime.wat2wasm(SLEEPS))
    (tmp_path / "in" / "1.wasm").write_bytes(numbered(1))
    (tmp_path / "wizer.toml").write_text(f'{TABLE}timeout = "300ms"\nwasi = true\n')
    ended = wizer("build", "-j", "1", "--keep-going")
    assert ended.status == 1
    assert ended.first_line == "Error: all[in/0.wasm]: initialisation took longer than its limit of 0.3 s"
    assert [output.name for output in outputs(tmp_path)] == ["1.wasm"]


def test_options_reach_the_workers(tmp_path: Path) -> None:
    job = Job(input=numbered(1), output=tmp_path / "out.wasm", wizer=Wizer(keep_init_func=True))
    assert [result.error for result in build([job], workers=1)] == [None]
    assert (tmp_path / "out.wasm").read_bytes() == wizen(numbered(1), keep_init_func=True)
