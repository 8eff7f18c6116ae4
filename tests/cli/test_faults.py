"""Whatever happens during a run: the old output or the new one, whole, and the exit status says which."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wasmtime

from support.command import WIZER, environment, wizer

KILLS = int(os.environ.get("WIZER_KILLS", "12"))
OLD = b"the output of another run"

# Memory that does not repeat, so that the output takes a moment to write.
LARGE = """(module
  (memory (export "memory") 400)
  (func (export "wizer-initialize") (local $at i32) (local $x i64)
    (local.set $x (i64.const 88172645463325252))
    (loop $next
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      (i64.store (local.get $at) (local.get $x))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8)))
                             (i32.const 26214400))))))"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.wasm"
    path.write_bytes(wasmtime.wat2wasm(LARGE))
    return path


def expected(large: Path) -> bytes:
    run = wizer(large, "-o", "-")
    assert run.returncode == 0, run.stderr
    return run.stdout


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_killed_at_any_moment(large: Path, tmp_path: Path, say: Callable[[str], None]) -> None:
    """`WIZER_KILLS=200` kills more often."""
    whole = expected(large)
    output = tmp_path / "out" / "app.wasm"
    output.parent.mkdir()
    output.write_bytes(OLD)
    command = [*WIZER, str(large), "-o", str(output)]
    start = time.monotonic()
    subprocess.run(command, check=True, env=environment())
    duration = time.monotonic() - start
    assert output.read_bytes() == whole
    chance = random.Random(6)
    outcomes = {OLD: 0, whole: 0}
    for _ in range(KILLS):
        output.write_bytes(OLD)
        with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
            time.sleep(chance.uniform(0, 1.1 * duration))
            process.kill()
        found = output.read_bytes()
        assert found in outcomes, f"{len(found)} bytes"
        outcomes[found] += 1
        assert process.returncode in (0, -signal.SIGKILL)
        assert (process.returncode == 0) <= (found == whole)
    say(f"killed {KILLS} times: old output {outcomes[OLD]}, new output {outcomes[whole]}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_asked_to_end(number: signal.Signals, large: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "app.wasm"
    output.parent.mkdir()
    output.write_bytes(OLD)
    chance = random.Random(number)
    command = [*WIZER, str(large), "-o", str(output)]
    for _ in range(3):
        with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
            time.sleep(chance.uniform(0.05, 0.4))
            process.send_signal(number)
        assert left_over(output.parent) == []
        if process.returncode != 0:
            assert output.read_bytes() == OLD
        output.write_bytes(OLD)


def test_disk_full(large: Path, tmp_path: Path) -> None:
    """A limit on the size of files fails writes as a full disk does, with another error."""
    resource = pytest.importorskip("resource")
    output = tmp_path / "out" / "app.wasm"
    output.parent.mkdir()
    output.write_bytes(OLD)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10 << 20, 10 << 20))

    command = [*WIZER, str(large), "-o", str(output)]
    run = subprocess.run(command, check=False, env=environment(), capture_output=True, preexec_fn=limit)
    assert run.returncode == 4
    assert b"File too large" in run.stderr
    assert b"Traceback" not in run.stderr
    assert output.read_bytes() == OLD
    assert left_over(output.parent) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    mounted = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("this process may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_file_system(large: Path, small_disk: Path) -> None:
    output = small_disk / "app.wasm"
    output.write_bytes(OLD)
    run = wizer(large, "-o", output)
    assert run.returncode == 4
    assert b"No space left on device" in run.stderr
    assert output.read_bytes() == OLD
    assert left_over(small_disk) == []


def test_output_on_another_file_system(large: Path, tmp_path: Path) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system at /dev/shm")
    output = shm / f"wizer-{os.getpid()}.wasm"
    try:
        run = wizer(large, "-o", output, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert output.read_bytes() == expected(large)
    finally:
        output.unlink(missing_ok=True)


def test_output_is_input(large: Path) -> None:
    whole = expected(large)
    run = wizer(large, "-o", large)
    assert run.returncode == 0, run.stderr
    assert large.read_bytes() == whole


def test_output_is_a_link_to_the_input(large: Path, tmp_path: Path) -> None:
    whole = expected(large)
    link = tmp_path / "link.wasm"
    link.symlink_to(large)
    run = wizer(large, "-o", link)
    assert run.returncode == 0, run.stderr
    assert link.is_symlink()
    assert large.read_bytes() == whole


def test_two_runs_to_one_output(large: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wat"
    other.write_text(
        '(module (memory 1) (func (export "wizer-initialize") (i32.store (i32.const 0) (i32.const 7))))'
    )
    outputs = {expected(large), expected(other)}
    output = tmp_path / "out" / "app.wasm"
    output.parent.mkdir()
    for _ in range(3):
        processes = [
            subprocess.Popen([*WIZER, str(given), "-o", str(output)], env=environment())
            for given in (large, other)
        ]
        assert [process.wait() for process in processes] == [0, 0]
        assert output.read_bytes() in outputs
        assert left_over(output.parent) == []


def truncate(folder: Path) -> None:
    for path in kept(folder):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(folder: Path) -> None:
    for path in kept(folder):
        path.write_bytes(b"no compiled module")


def empty(folder: Path) -> None:
    for path in kept(folder):
        path.write_bytes(b"")


def flip(folder: Path) -> None:
    """Change a byte in every 64, as no disk does; a compiled module like that would do anything."""
    for path in kept(folder):
        contents = bytearray(path.read_bytes())
        for at in range(1024, len(contents), 64):
            contents[at] ^= 0x55
        path.write_bytes(contents)


def read_only(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o500 if path.is_dir() else 0o400)
    folder.chmod(0o500)


def in_the_way(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file where the cache is expected")


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("harm", [truncate, overwrite, empty, flip, read_only, in_the_way])
def test_a_cache_that_is_of_no_use(harm: Callable[[Path], None], tmp_path: Path) -> None:
    """What is wrong with the cache is no reason to fail, and has no effect on the output."""
    given = tmp_path / "in.wat"
    body = " ".join(f"(i32.store (i32.const {i * 4}) (i32.const {i * 77}))" for i in range(2000))
    given.write_text(f'(module (memory 1) (func (export "wizer-initialize") {body}))')
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    whole = wizer(given, "-o", "-", env=home).stdout
    assert whole
    assert wizer(given, "-o", "-", env=home).stdout == whole
    cache = tmp_path / "cache"
    assert kept(cache), "nothing was kept: the test would prove nothing"
    harm(cache)
    run = wizer(given, "-o", "-", env=home)
    assert run.returncode == 0, run.stderr
    assert run.stdout == whole
