"""What misuse comes to: errors of our own, whatever is called in whatever order with whatever arguments."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from wizer import (
    EngineConfig,
    Instrumented,
    InvalidError,
    Limits,
    LinkError,
    OptionError,
    OutputError,
    Session,
    TrapError,
    WizerError,
    load,
    wizen,
)

_FUZZ = Path(__file__).parent.parent / "fuzz" / "calls.py"
MODULE = """(module (memory (export "m") 1) (global (export "i") (mut i32) (i32.const 0))
  (func (export "f") (param i32)) (func (export "wizer-initialize"))
  (func (export "x") (param externref) (result externref) (local.get 0))
  (func (export "i31") (result i31ref) (ref.i31 (i32.const 1))))"""
FUNCTION = """(module (func $f (export "f") (result i32) (i32.const 5))
  (global (mut funcref) (ref.null func))
  (func (export "get") (result funcref) (ref.func $f))
  (func (export "put") (param funcref) (global.set 0 (local.get 0))))"""
HOST = '(module (import "e" "f" (func $f)) (func (export "g") (call $f)))'
HOST_COMPONENT = """(component (import "f" (func $f)) (core func $low (canon lower (func $f)))
  (core module $m (import "e" "f" (func $f)) (func (export "g") (call $f)))
  (core instance $i (instantiate $m (with "e" (instance (export "f" (func $low))))))
  (func (export "g") (canon lift (core func $i "g"))))"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("seed", [0, 100, 200])
def test_random_calls(seed: int, tmp_path: Path) -> None:
    """A hundred scripts each. `fuzz/README.md` says how to run more."""
    command = [sys.executable, str(_FUZZ), "--seed", str(seed), "--runs", "100", "--jobs", "1"]
    run = subprocess.run(
        [*command, "--crashes", str(tmp_path)], capture_output=True, text=True, check=False, timeout=900
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert "     100 scripts\n" in run.stdout
    assert int(run.stdout.split(" returned")[0].split()[-1]) > 300  # most do something


def test_the_fuzzer_finds_what_does_not_belong(tmp_path: Path) -> None:
    """What a script ends with is seen, is told from what may come out, and is made short."""
    sys.path.insert(0, str(_FUZZ.parent))
    try:
        from calls import Trials, shrink  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(_FUZZ.parent))
    trials = Trials(True)
    try:
        fine = [
            "s0 = Session(PLAIN)",
            "s0.call('nosuch')",
            "s0.call()",
            "s0.globals['nosuch']",
            "v0 = s0.memory()",
        ]
        fine += ["v0.release()", "v0[0]", "s1.call('f')", "begin(lambda: s0.call('trap'))"]
        assert trials.failure(fine) == ""
        assert "on a thread" in trials.failure([*fine, "begin(lambda: 1 / 0)"])
        assert "ZeroDivisionError" in trials.failure([*fine, "1/0"])
        assert "exit status -11" in trials.failure([*fine, "os.kill(os.getpid(), 11)"])
        long = [*fine, "os.abort()", *fine]
        assert shrink(long, lambda lines: "exit status -6" in trials.failure(lines)) == ["os.abort()"]
    finally:
        trials.end()
    assert not any(tmp_path.iterdir())


class Textless(Exception):  # noqa: N818
    """An exception whose text is an exception of the worst kind."""

    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


class Nameless:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise LookupError("no text")


ODD: list[Any] = [5, None, 1.5, [], {}, b"f", object(), Nameless(), 10**5000, len]


@pytest.mark.parametrize("value", ODD, ids=lambda value: type(value).__name__)
def test_arguments_of_other_types(value: Any) -> None:
    with Session(MODULE) as session:
        calls: list[Callable[[], Any]] = [
            partial(session.call, value),
            partial(session.call_text, value),
            partial(session.has_run, value),
            partial(session.shown, value, ()),
            partial(session.rebuilt, value),
            partial(session.write, value),
            partial(session.precompile, value),
            partial(session.beside, value),
            partial(Session.of, MODULE, value),
            partial(load, value),
            lambda: EngineConfig(compiler=value),
        ]
        if value is not None:
            calls.append(partial(session.memory, value))
            calls.append(partial(session.shown, "f", value))
        if not isinstance(value, bytes):
            calls.append(partial(Instrumented, value))
        if value not in ([], {}):
            calls.append(partial(session.initialize, value))
        if value not in (None, {}):
            calls.append(partial(session.snapshot, rename=value))
        if value not in ([], {}):
            calls.append(partial(session.snapshot, remove=value))
        for call in calls:
            with pytest.raises(WizerError):
                call()
        with pytest.raises(KeyError):
            session.globals[value]


@pytest.mark.parametrize(
    "value", [10**5000, Nameless(), "\ud800", -(10**5000)], ids=["more", "none", "utf", "less"]
)
def test_values_that_cannot_be_shown(value: Any) -> None:
    with Session(MODULE) as session:
        with pytest.raises(OptionError, match="do not fit"):
            session.call("f", value)
        with pytest.raises(OptionError, match="cannot be set"):
            session.globals["i"] = value
    with pytest.raises(OptionError):
        Limits(timeout=value)
    wat = '(module (import "e" "g" (global i32)))'
    with pytest.raises(LinkError, match="is given for"):
        Session(wat, imports={"e": {"g": value}})


class Answers:
    """A stream whose ``write`` returns what it was given to return."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.taken = b""

    def write(self, data: memoryview) -> object:
        self.taken += bytes(data)
        return self.answer


class Blocked(io.RawIOBase):
    """A stream that would have to wait."""

    def write(self, _: object) -> None:
        return None


@pytest.mark.parametrize("stream", [Answers(0), Answers(-1), Answers(10**9), Answers("x"), Blocked()])
def test_streams_that_do_not_take_the_output(stream: Any) -> None:
    with Session(MODULE) as session, pytest.raises(OutputError, match="stream"):
        session.write(stream)


def test_streams_that_are_closed_or_full(tmp_path: Path) -> None:
    with Session(MODULE) as session:
        with (tmp_path / "closed").open("wb") as stream:
            pass
        with pytest.raises(OutputError, match="closed file"):
            session.write(stream)
        if Path("/dev/full").exists():
            with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OutputError):
                session.write(full)


def test_a_stream_that_does_not_say_what_it_took() -> None:
    stream = Answers(None)
    with Session(MODULE) as session:
        size = session.write(stream)  # type: ignore[arg-type]
        assert (stream.taken, size) == (session.snapshot(), len(stream.taken))


@pytest.mark.parametrize("path", ["a\0b", "\ud800\0", ""])
def test_paths_that_are_none(path: str) -> None:
    with Session(MODULE) as session, pytest.raises(OutputError):
        session.write(path)
    with pytest.raises(WizerError):
        load(path)
    with pytest.raises(WizerError):
        wizen(Path(path))


def test_names_that_are_none() -> None:
    with Session(MODULE) as session, pytest.raises(OptionError, match="not Unicode"):
        session.snapshot(rename={"\ud800": "f"})
    with pytest.raises(InvalidError, match="not Unicode"):
        wizen('(module (func (export "\ud800")))')


@pytest.mark.parametrize(("wasm", "imports"), [(HOST, "e"), (HOST_COMPONENT, "")])
def test_exceptions_without_a_text(wasm: str, imports: str) -> None:
    raised = Textless()

    def fail() -> None:
        raise raised

    with (
        Session(wasm, imports={"e": {"f": fail}} if imports else {"f": fail}) as session,
        pytest.raises(TrapError, match="its text cannot be made: SystemExit") as caught,
    ):
        session.call("g")
    assert caught.value.__cause__ is raised


def test_a_session_s_store_is_not_closed_by_itself() -> None:
    session: Session

    def close() -> None:
        session.store.close()

    with Session(HOST, imports={"e": {"f": close}}) as session:
        with pytest.raises(TrapError) as caught:
            session.call("g")
        assert isinstance(caught.value.__cause__, OptionError)
        with pytest.raises(OptionError, match="its session's"):
            session.store.close()
        assert session.snapshot()


def test_stores_that_are_none_or_closed() -> None:
    instrumented = Instrumented(bytes(wasmtime.wat2wasm(MODULE)))
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, instrumented.wasm), [])
    for other in (None, 5, instance):
        with pytest.raises(OptionError, match="expected a store"):
            instrumented.snapshot(other, instance)  # type: ignore[arg-type]
    for items in (5, "memory", [["memory", 0]]):
        with pytest.raises(OptionError, match="capture_imports"):
            instrumented.snapshot(store, instance, capture_imports=items)  # type: ignore[arg-type]
    store.close()
    with pytest.raises(OptionError, match="closed"):
        instrumented.snapshot(store, instance)


def test_states_of_another_module() -> None:
    with (
        Session(MODULE) as session,
        Session("(module)") as other,
        pytest.raises(OptionError, match="not of this module"),
    ):
        other.rebuilt([session.state()])


def test_a_function_of_another_session() -> None:
    with Session(FUNCTION) as session, Session(FUNCTION) as other:
        function = session.call("get")
        assert function(session.store) == 5
        session.call("put", function)
        with pytest.raises(OptionError, match="do not fit"):
            other.call("put", function)
        with pytest.raises(OptionError, match="another session"):
            function(other.store)
        with pytest.raises(OptionError, match="another session"):
            function.type(wasmtime.Store())
    with pytest.raises(OptionError, match="closed"):
        function(session.store)


def test_what_the_engine_has_is_there_once() -> None:
    """A copy of a reference would let it go twice, and the allocator would find out some time."""
    with Session(MODULE) as session:
        scalar = session.call("i31")
        for kept in (scalar, session.store):
            for copied in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="cannot be copied or pickled"):
                    copied(kept)
        with pytest.raises(TypeError):
            copy.deepcopy(session)
        copy.copy(session).close()
    with pytest.raises(OptionError, match="closed"):
        session.store.gc()


RACE = """
import sys, threading, wizer
sys.setswitchinterval(1e-6)
for turn in range(300):
    s = wizer.Session('(module (func (export "f")))')
    store, begun = s.store, threading.Barrier(2)
    def use():
        begun.wait()
        try:
            while True:
                store.gc()
                store.set_limits(0)
                s.call("f")
        except wizer.OptionError as error:
            if "closed" not in str(error) and "another thread" not in str(error):
                raise
    thread = threading.Thread(target=use)
    thread.start()
    begun.wait()
    while True:
        try:
            s.close()
            break
        except wizer.OptionError:
            pass
    thread.join()
print("done")
"""


def test_a_store_is_closed_while_another_thread_uses_it() -> None:
    run = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "done\n", "")


EXIT = """
import sys, wizer
class Cycle: pass
def keep():
    cycle = Cycle()
    cycle.itself, cycle.session = cycle, wizer.Session(sys.argv[1])
    cycle.object = cycle.session.call("x", object())
    cycle.scalar = cycle.session.call("i31")
    sys.wizer_is_kept = cycle      # until the interpreter has cleared nearly all else away
keep()
"""


def test_a_session_that_is_open_at_the_interpreter_s_end() -> None:
    """The engine called what Python had cleared away: the process ended by a signal."""
    run = subprocess.run([sys.executable, "-c", EXIT, MODULE], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
