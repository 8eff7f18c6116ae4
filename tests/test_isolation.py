"""Runs in a process of their own: the same results, the same errors, and an end to everything."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import wasmtime

import wizer
from support import hostile, hosts
from support.command import environment
from wizer import errors
from wizer.batch.config import ConfigError
from wizer.isolation.failures import error_of, failure_of
from wizer.trust.differences import Difference

GUEST = """(module (import "env" "f" (func $f (result i32))) (memory (export "memory") 1)
  (func (export "wizer-initialize") (i32.store (i32.const 8) (call $f))))"""
ATOMIC_WAIT = """(module (memory 1 1 shared) (func (export "wizer-initialize"))
  (func $start (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))) (start $start))"""
SHORT = wizer.Limits(timeout=0.2, max_memory=16 << 20)


def given(function: Callable[..., object]) -> dict[str, dict[str, object]]:
    return {"env": {"f": function}}


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No process, no file."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    before = children()
    descriptors = len([*Path("/proc/self/fd").iterdir()])
    yield
    assert children() == before
    assert len([*Path("/proc/self/fd").iterdir()]) <= descriptors
    assert not [*folder.iterdir()]


def test_a_snapshot_is_the_same(tmp_path: Path) -> None:
    expected = wizer.wizen(GUEST, given(hosts.seven))
    apart = wizer.Wizer(isolate=True)
    assert wizer.wizen(GUEST, given(hosts.seven), isolate=True) == expected
    assert apart.run(GUEST, given(hosts.seven)) == expected
    assert apart.write(GUEST, tmp_path / "out.wasm", given(hosts.seven)) == len(expected)
    assert (tmp_path / "out.wasm").read_bytes() == expected
    with (tmp_path / "stream").open("wb") as stream:
        apart.write(GUEST, stream, given(hosts.seven))
    assert (tmp_path / "stream").read_bytes() == expected


def test_a_snapshot_is_compiled_ahead(tmp_path: Path) -> None:
    snapshot = wizer.wizen(GUEST, given(hosts.seven), isolate=True, precompile=tmp_path / "apart.cwasm")
    assert snapshot == wizer.wizen(GUEST, given(hosts.seven), precompile=tmp_path / "here.cwasm")
    assert (tmp_path / "apart.cwasm").read_bytes() == (tmp_path / "here.cwasm").read_bytes()
    assert sorted(p.name for p in tmp_path.glob("*.cwasm")) == ["apart.cwasm", "here.cwasm"]


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "path"])
def test_a_module_is_given_in_any_form(kind: str, tmp_path: Path) -> None:
    wasm = bytes(wasmtime.wat2wasm(GUEST))
    (tmp_path / "in.wasm").write_bytes(wasm)
    forms = {"bytes": wasm, "bytearray": bytearray(wasm), "memoryview": memoryview(wasm)}
    form: Any = forms.get(kind, tmp_path / "in.wasm")
    assert wizer.wizen(form, given(hosts.seven), isolate=True) == wizer.wizen(wasm, given(hosts.seven))


def test_verify_and_audit() -> None:
    snapshot = wizer.wizen(GUEST, given(hosts.seven))
    wizer.verify(GUEST, snapshot, given(hosts.seven), isolate=True)
    other = wizer.wizen(GUEST, given(hosts.nine))
    with pytest.raises(wizer.VerificationError) as here:
        wizer.verify(GUEST, other, given(hosts.seven))
    with pytest.raises(wizer.VerificationError) as there:
        wizer.verify(GUEST, other, given(hosts.seven), isolate=True)
    assert str(there.value) == str(here.value)
    assert there.value.differences == here.value.differences
    with pytest.raises(wizer.VerificationError):
        wizer.Wizer(isolate=True).check(GUEST, other, given(hosts.seven))
    assert wizer.audit(GUEST, given(hosts.seven), isolate=True) == wizer.audit(GUEST, given(hosts.seven))


def test_a_session_is_not_isolated() -> None:
    with pytest.raises(wizer.OptionError, match="a session is not isolated"):
        wizer.Wizer(isolate=True).session(GUEST)
    with pytest.raises(wizer.OptionError, match="no option `isolate`"):
        wizer.Session(GUEST, isolate=True)  # type: ignore[call-arg]


DIFFERENCE = Difference("memory", 0, "memory 0 at 0x8", "07", "09", (8, 9))
ERRORS = [
    errors.WizerError("message", ["first", "second\nline"]),
    errors.ParseError("malformed", 17),
    errors.InvalidError("invalid", ["why"]),
    errors.OptionError("option"),
    errors.LinkError("link", ["why"]),
    errors.TrapError("trap", ["why"]),
    errors.ExitError("exit", 3, ["why"]),
    errors.LimitError("limit", ["why"]),
    errors.StateError("state"),
    errors.InputError("input", ["why"]),
    errors.OutputError("output", ["why"]),
    wizer.VerificationError([DIFFERENCE], undecided=True),
]


def classes(base: type[errors.WizerError] = errors.WizerError) -> set[type]:
    return {base}.union(*map(classes, base.__subclasses__()))


def test_every_error_crosses_over() -> None:
    # A file of snapshots to build is read here and not in a process of its own: its error never crosses.
    own = {cls for cls in classes() if cls.__module__.startswith("wizer.")} - {ConfigError}
    assert own == {type(error) for error in ERRORS}
    for error in ERRORS:
        error.__cause__ = LookupError("behind it")
        again = error_of(failure_of(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert isinstance(again.__cause__, LookupError)
        assert again.__cause__.args == ("behind it",)


def test_errors_are_those_of_the_run() -> None:
    with pytest.raises(wizer.ParseError) as caught:
        wizer.wizen(b"\0asm\x01\0\0\0\xff\x00", isolate=True)
    assert caught.value.offset == 8
    with pytest.raises(wizer.OptionError, match="does not have a `nothing` export"):
        wizer.wizen(GUEST, init_func="nothing", isolate=True)
    with pytest.raises(wizer.LimitError, match=r"longer than its limit of 0\.2 s"):
        wizer.wizen('(module (func (export "wizer-initialize") (loop (br 0))))', limits=SHORT, isolate=True)


def test_what_a_host_function_raised_is_the_cause() -> None:
    with pytest.raises(wizer.TrapError) as caught:
        wizer.wizen(GUEST, given(hosts.fail), isolate=True)
    assert isinstance(caught.value.__cause__, LookupError)
    assert caught.value.__cause__.args == ("no such thing",)
    assert "in fail" in caught.value.__cause__.__notes__[0]


def test_an_exception_that_cannot_be_sent_is_shown() -> None:
    with pytest.raises(wizer.TrapError) as caught:
        wizer.wizen(GUEST, given(hosts.fail_strangely), isolate=True)
    assert isinstance(caught.value.__cause__, wizer.WizerError)
    assert "this and that" in str(caught.value.__cause__)


def test_what_cannot_be_sent_is_named() -> None:
    store = wasmtime.Store()
    func = wasmtime.Func(store, wasmtime.FuncType([], [wasmtime.ValType.i32()]), lambda: 7)
    for function in (lambda: 7, func):
        expected = re.escape("`imports`['env']['f'] cannot be given to a worker process")
        with pytest.raises(wizer.OptionError, match=expected):
            wizer.wizen(GUEST, given(function), isolate=True)
    lines: list[bytes] = []
    with pytest.raises(wizer.OptionError, match=re.escape("`wasi`.stdout cannot be given")):
        wizer.wizen(GUEST, wasi=wizer.Wasi(stdout=lines.append), isolate=True)


def test_warnings_come_through() -> None:
    with pytest.warns(wizer.WizerWarning, match="mind the gap") as caught:
        wizer.wizen(GUEST, given(hosts.warn), isolate=True)
    assert [Path(warning.filename).name for warning in caught] == ["hosts.py"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(wizer.WizerWarning):
            wizer.wizen(GUEST, given(hosts.warn), isolate=True)


def test_a_wait_in_the_engine_ends() -> None:
    with pytest.raises(wizer.LimitError, match=r"initialisation took more than the limit of the run, 0\.2 s"):
        wizer.wizen(ATOMIC_WAIT, limits=SHORT, isolate=True)


def test_a_wait_in_a_host_function_ends() -> None:
    with pytest.raises(wizer.LimitError, match=r"initialisation took more than the limit of the run, 0\.2 s"):
        wizer.wizen(GUEST, given(hosts.wait), limits=SHORT, isolate=True)


def test_a_compiler_that_takes_too_much_ends() -> None:
    wasm = hostile.nested_loops(20_000, 2000, 40_000)
    expected = "compiling the module took more than the limit of the run, 16777216 bytes of memory"
    engine = wizer.EngineConfig(cache=False)
    with pytest.raises(wizer.LimitError, match=expected):
        wizer.wizen(wasm, limits=wizer.Limits(max_memory=16 << 20), engine=engine, isolate=True)


def test_a_worker_that_dies_is_an_error() -> None:
    with pytest.raises(wizer.WizerError, match="the worker process ended by signal SIGKILL"):
        wizer.wizen(GUEST, given(hosts.die), isolate=True)


def test_several_at_a_time() -> None:
    expected = wizer.wizen(GUEST, given(hosts.seven))
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(wizer.wizen, GUEST, given(hosts.seven), isolate=True) for _ in range(8)]
        assert {run.result() for run in runs} == {expected}


PROGRAM = f"""
import wizer
from support import hosts
try:
    wizer.Wizer(isolate=True).write({GUEST!r}, "out.wasm", {{"env": {{"f": hosts.tell}}}})
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_parent(number: signal.Signals, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    extra = {"WIZER_TEST_PID": str(told), "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-c", PROGRAM]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(extra),
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (told.exists() and told.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker = Path("/proc") / told.read_text()
    assert worker.exists()
    # Ctrl-C goes to all processes of a terminal, what kills to one.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=20)
    assert err == b""
    assert (process.returncode, out) == ((0, b"interrupted\n") if number == signal.SIGINT else (-number, b""))
    deadline = time.monotonic() + 20
    while worker.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not worker.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pid", "tmp"]


MAIN_FUNCTION = f"""
import wizer
def f():
    return 7
try:
    wizer.wizen({GUEST!r}, {{"env": {{"f": f}}}}, isolate=True)
except wizer.OptionError as error:
    print(error)
print(len(wizer.wizen('(module (func (export "wizer-initialize")))', isolate=True)))
"""


def test_a_program_needs_no_guard(tmp_path: Path) -> None:
    """Unlike `multiprocessing`, the worker does not run the program again."""
    program = tmp_path / "program.py"
    program.write_text(MAIN_FUNCTION)
    run = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, env=environment(), check=True, timeout=60
    )
    assert "`f` is defined in the program itself; move it to a module" in run.stdout
    assert run.stdout.splitlines()[-1].isdigit()
    assert run.stderr == ""
