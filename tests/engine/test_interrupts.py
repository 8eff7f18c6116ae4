"""Exceptions at any moment of a callback: none gets into the engine, and none is lost.

``WIZER_INTERRUPTS`` is how many interrupts each kind of callback gets; 1,000 by hand, few here.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from wizer import Session, TrapError, WizerError
from wizer.engine.interrupts import CALLBACK, HANDLERS

INTERRUPTS = int(os.environ.get("WIZER_INTERRUPTS", "25"))

# Each program defines `session`, which opens one whose `run` does not end by itself, and `arguments` of it.
MODULES = {
    "host function": """
        def session():
            return wizer.Session('''(module (import "e" "f" (func $f (param i32 f64) (result i32)))
              (func (export "run") (loop $l (drop (call $f (i32.const 7) (f64.const 2))) (br $l))))''',
              imports={"e": {"f": lambda x, y: x}})
        """,
    "host function with references": """
        arguments = [object()]
        def session():
            return wizer.Session('''(module (import "e" "f" (func $f (param externref) (result externref)))
              (func (export "run") (param externref)
                (loop $l (local.set 0 (call $f (local.get 0))) (br $l))))''',
              imports={"e": {"f": lambda x: x}})
        """,
    "host function that calls the guest": """
        def session():
            return wizer.Session('''(module (import "e" "f" (func $f)) (func (export "nop"))
              (func (export "run") (loop $l (call $f) (br $l))))''',
              imports={"e": {"f": lambda: s.call("nop")}})
        """,
    "WASI of ours": """
        def session():
            return wizer.Session('''(module
              (import "wasi_snapshot_preview1" "clock_time_get" (func $c (param i32 i64 i32) (result i32)))
              (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $s (param i32 i32) (result i32)))
              (memory (export "memory") 1)
              (func (export "run") (loop $l (drop (call $c (i32.const 0) (i64.const 1) (i32.const 64)))
                (drop (call $r (i32.const 128) (i32.const 64)))
                (drop (call $s (i32.const 1) (i32.const 256))) (br $l))))''',
              wasi=wizer.Wasi(stdout="null"), deterministic=True)
        """,
}
WITHOUT_PYTHON = {
    "output": """
        def session():
            return wizer.Session(r'''(module
              (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
              (memory (export "memory") 1) (data (i32.const 4) "\\05")
              (func (export "run") (loop $l
                (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $l))))''',
              wasi=wizer.Wasi(stdout=lambda data: None))
        """,
    "limits": """
        def session():
            return wizer.Session('''(module (memory 0 100) (func (export "run") (loop $l
                (drop (memory.grow (i32.const 1))) (br $l))))''',
                limits=wizer.Limits(max_memory=1 << 20, timeout=60))
        """,
}
COMPONENTS = {
    "host function of a component": """
        anew = True
        def session():
            return wizer.Session('''(component
              (import "f" (func $f (param "x" u32) (result u32)))
              (core func $l (canon lower (func $f)))
              (core module $M (import "" "f" (func $f (param i32) (result i32)))
                (func (export "run") (loop $l (drop (call $f (i32.const 7))) (br $l))))
              (core instance $m (instantiate $M (with "" (instance (export "f" (func $l))))))
              (func (export "run") (canon lift (core func $m "run"))))''', imports={"f": lambda x: x})
        """,
    "WASI of a component through a relay, and destructors": """
        anew = True
        def session():
            return wizer.Session('''(component
              (import "wasi:io/poll@0.2.0" (instance $p (export "pollable" (type (sub resource)))))
              (alias export $p "pollable" (type $t))
              (import "wasi:clocks/monotonic-clock@0.2.0" (instance $c
                (alias outer 1 $t (type $o)) (export "pollable" (type $q (eq $o)))
                (export "subscribe-duration" (func (param "when" u64) (result (own $q))))))
              (import "wasi:cli/environment@0.2.0" (instance $r
                (export "initial-cwd" (func (result (option string))))))
              (core module $L (memory (export "m") 1)
                (func (export "r") (param i32 i32 i32 i32) (result i32) (i32.const 64)))
              (core instance $l (instantiate $L))
              (alias core export $l "m" (core memory $m))
              (alias core export $l "r" (core func $re))
              (alias export $r "initial-cwd" (func $ic))
              (alias export $c "subscribe-duration" (func $sd))
              (core func $cwd (canon lower (func $ic) (memory $m) (realloc (core func $re))))
              (core func $sub (canon lower (func $sd)))
              (core func $drop (canon resource.drop $t))
              (core module $M (import "" "cwd" (func $cwd (param i32)))
                (import "" "sub" (func $sub (param i64) (result i32)))
                (import "" "drop" (func $drop (param i32)))
                (func (export "run") (loop $l (call $cwd (i32.const 0)) (call $drop (call $sub (i64.const 5)))
                  (br $l))))
              (core instance $m (instantiate $M (with "" (instance (export "cwd" (func $cwd))
                (export "sub" (func $sub)) (export "drop" (func $drop))))))
              (func (export "run") (canon lift (core func $m "run"))))''',
              wasi=wizer.Wasi(stdout="null"), deterministic=True, trace=wizer.engine.trace.Trace())
        """,
}
PROGRAMS = MODULES | WITHOUT_PYTHON | COMPONENTS

SIGNALS = """
import os, random, signal, sys, textwrap, threading, time
import wizer, wizer.engine.trace
how, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(seed)

class Alarm(Exception): pass

def handler(number, frame):
    raise Alarm

if how == "handler":
    signal.signal(signal.SIGALRM, handler)
    number, expected = signal.SIGALRM, Alarm
else:
    number, expected = signal.SIGINT, KeyboardInterrupt
arguments, anew = [], False
exec(textwrap.dedent(sys.argv[4]))
main = threading.main_thread().ident
go = threading.Semaphore(0)

def interrupt():
    import ctypes
    while True:
        go.acquire()
        time.sleep(random.random() * 0.004)
        while True:
            if how == "thread":
                target = ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), target)
            else:
                os.kill(os.getpid(), number)
            if ended.wait(3):
                break
            print("again", file=sys.stderr)  # it came in a finalizer, from which nothing gets out
        ended.clear()

ended = threading.Event()
threading.Thread(target=interrupt, daemon=True).start()
got = other = 0
s = None
while got + other < count:
    try:
        if s is None:
            s = session()
        go.release()
        s.call("run", *arguments)
    except BaseException as error:
        found = error
        while found is not None and not isinstance(found, expected):
            found = found.__cause__
        if found is None:
            other += 1
            print(type(error), error, file=sys.stderr)
        else:
            got += 1
    ended.set()
    if anew:  # a component that has trapped lets nobody in
        s.close()
        s = None
print(got, other)
"""


MALLOC_DEBUG = "libc_malloc_debug.so.0"  # glibc's allocator that notices corruption


def interrupted(
    how: str, kind: str, count: int, seed: int = 1, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Interrupt a program so many times, with an allocator that notices corruption."""
    env = {
        **os.environ,
        "MALLOC_CHECK_": "3",
        "MALLOC_PERTURB_": "85",
        "PYTHONMALLOC": "malloc",
        "PYTHONFAULTHANDLER": "1",
    }
    if any(Path("/lib").glob(f"*/{MALLOC_DEBUG}")):
        env["LD_PRELOAD"] = MALLOC_DEBUG
    return subprocess.run(
        [*prefix, sys.executable, "-c", SIGNALS, how, str(count), str(seed), PROGRAMS[kind]],
        env=env,
        capture_output=True,
        text=True,
        timeout=120 + count,
        check=False,
    )


CASES = [
    *(("ctrl-c", kind) for kind in PROGRAMS),
    *((how, kind) for how in ("handler", "thread") for kind in (MODULES | COMPONENTS)),
]


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize(("how", "kind"), CASES)
def test_interrupts_at_random_moments(how: str, kind: str) -> None:
    run = interrupted(how, kind, INTERRUPTS)
    assert (run.returncode, run.stdout) == (0, f"{INTERRUPTS} 0\n"), run.stderr


IMPORTS = """
import sys, textwrap, threading, time, _thread
import wizer, wizer.engine.trace

class Finder:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread() is threading.main_thread() and not interrupted:
            found.append(name)

def interrupt():
    time.sleep(0.5)
    interrupted.append(True)
    _thread.interrupt_main()

arguments, anew, found, interrupted = [], False, [], []
exec(textwrap.dedent(sys.argv[1]))
s = session()
sys.meta_path.insert(0, Finder())
threading.Thread(target=interrupt).start()
try:
    s.call("run", *arguments)
except KeyboardInterrupt:
    print(found)
"""


@pytest.mark.parametrize("kind", MODULES | COMPONENTS)
def test_callbacks_import_nothing(kind: str) -> None:
    """An import that is interrupted at the wrong step keeps the lock for imports: threads wait for ever."""
    run = subprocess.run(
        [sys.executable, "-c", IMPORTS, PROGRAMS[kind]],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert run.stdout == "[]\n", run.stderr


@pytest.mark.skipif(
    "WIZER_INTERRUPTS" not in os.environ or shutil.which("valgrind") is None, reason="takes minutes"
)
def test_valgrind_sees_nothing_wrong_in_callbacks() -> None:
    """Errors of the interpreter's own that are there without interrupts are none of these."""
    valgrind = ("valgrind", "--quiet", "--error-exitcode=0", "--smc-check=all-non-file")
    run = interrupted("handler", "host function", 5, prefix=valgrind)
    assert (run.returncode, run.stdout) == (0, "5 0\n"), run.stderr
    assert "Invalid read" not in run.stderr
    assert "Invalid write" not in run.stderr
    assert "Invalid free" not in run.stderr


@pytest.fixture
def at_entry() -> Iterator[Callable[[BaseException], None]]:
    """Have an exception raised before the first step of the next callback."""

    def raise_at_entry(error: BaseException) -> None:
        def trace(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_name == CALLBACK:
                raise error  # which ends the tracing, too

        sys.settrace(trace)

    yield raise_at_entry
    sys.settrace(None)


LOOP = """(module (import "e" "f" (func $f (result i32)))
  (global (export "calls") (mut i32) (i32.const 0))
  (func (export "straight") (result i32) (call $f))
  (func (export "loop") (loop $l
    (drop (call $f)) (global.set 0 (i32.add (global.get 0) (i32.const 1)))
    (br_if $l (i32.lt_u (global.get 0) (i32.const 1000000))))))"""


@pytest.mark.parametrize("export", ["straight", "loop"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), LookupError("x"), SystemExit(3)])
def test_what_is_raised_before_the_first_step_ends_the_run(
    at_entry: Callable[[BaseException], None], export: str, error: BaseException
) -> None:
    with Session(LOOP, imports={"e": {"f": lambda: 7}}) as session:
        at_entry(error)
        with pytest.raises(type(error)) as caught:
            session.call(export)
        assert caught.value is error
        assert session.globals["calls"] < 1_000_000
        assert session.call("straight") == 7


def test_a_lost_call_is_noticed_where_its_exception_is_not(
    at_entry: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a second exception comes while the first one is noted."""
    monkeypatch.setattr(HANDLERS, "_unraisable", lambda _: None)
    for export in ("straight", "loop"):
        with Session(LOOP, imports={"e": {"f": lambda: 7}}) as session:
            at_entry(KeyboardInterrupt())
            with pytest.raises(WizerError, match="interrupted before it could run"):
                session.call(export)
            assert session.globals["calls"] <= 1


COMPONENT = """(component (import "f" (func $f (result u32)))
  (core func $l (canon lower (func $f)))
  (core module $M (import "" "f" (func $f (result i32))) (func (export "run") (result i32) (call $f)))
  (core instance $m (instantiate $M (with "" (instance (export "f" (func $l))))))
  (func (export "run") (result u32) (canon lift (core func $m "run"))))"""


def test_what_is_raised_before_the_first_step_ends_the_run_of_a_component(
    at_entry: Callable[[BaseException], None],
) -> None:
    with Session(COMPONENT, imports={"f": lambda: 7}) as session:
        assert session.call("run") == 7
        at_entry(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            session.call("run")


@pytest.mark.parametrize("wat", [LOOP, COMPONENT])
def test_there_is_stack_for_callbacks_or_an_error(wat: str) -> None:
    """The limit of recursion is met before a function's first step as well."""
    depth = 0

    def again() -> int:
        nonlocal depth
        depth += 1
        result: int = session.call("straight" if wat is LOOP else "run")
        return result

    imports: dict[str, Any] = {"e": {"f": again}} if wat is LOOP else {"f": again}
    with Session(wat, imports=imports) as session, pytest.raises((TrapError, RecursionError)):
        session.call("straight" if wat is LOOP else "run")
    assert depth


class Unspeakable(Exception):  # noqa: N818
    """Says nothing."""

    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    "error", [RuntimeError("cannot read /data/\udce9t.bin"), RuntimeError("a\0b"), Unspeakable()]
)
@pytest.mark.parametrize("wat", [LOOP, COMPONENT])
def test_every_exception_is_the_cause(error: Exception, wat: str) -> None:
    def fail() -> int:
        raise error

    imports: dict[str, Any] = {"e": {"f": fail}} if wat is LOOP else {"f": fail}
    with Session(wat, imports=imports) as session, pytest.raises(TrapError) as caught:
        session.call("straight" if wat is LOOP else "run")
    assert caught.value.__cause__ is error
    with (
        Session('(module (func (export "f") unreachable))') as innocent,
        pytest.raises(TrapError, match="unreachable") as caught,
    ):
        innocent.call("f")
    assert caught.value.__cause__ is None


def test_handlers_are_put_back() -> None:
    hook, wakeup = sys.unraisablehook, signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    with Session(LOOP, imports={"e": {"f": lambda: 7}}) as session:
        session.call("straight")
        assert sys.unraisablehook is hook
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.set_wakeup_fd(-1) == wakeup


def test_a_signal_in_a_host_function_is_raised_there() -> None:
    heard: list[str] = []

    def wait() -> int:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(30)
        except KeyboardInterrupt:
            heard.append("there")
            raise
        return 0

    with Session(LOOP, imports={"e": {"f": wait}}) as session, pytest.raises(KeyboardInterrupt):
        session.call("straight")
    assert heard == ["there"]


FINALISERS = """
import gc, sys, wizer
WAT = '''(module (import "e" "make" (func $make (result externref)))
  (global $last (mut externref) (ref.null extern)) (type $a (array (mut i32)))
  (func (export "run") (param i32)
    (loop $l (global.set $last (call $make)) (drop (array.new_default $a (i32.const 100000)))
      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "nop")))'''
ended, busy = [], False
class Ends:
    def __del__(self):
        global busy
        ended.append(sys._getframe(1).f_code.co_name)
        if not busy:
            busy = True
            try:
                s.call("nop")
                raise KeyboardInterrupt
            finally:
                busy = False
sys.unraisablehook = lambda lost: None
s = wizer.Session(WAT, imports={"e": {"make": Ends}})
s.call("run", 2000)
gone = len(ended)
s.close()
print(gone > 1000, len(ended), *{*ended})
"""


def test_what_the_engine_lets_go_ends_outside_of_it() -> None:
    """Its garbage collector would be in the middle of its work when a finaliser enters the guest."""
    run = subprocess.run(
        [sys.executable, "-c", FINALISERS], capture_output=True, text=True, timeout=120, check=False
    )
    assert (run.returncode, run.stdout) == (0, "True 2000 deallocate\n"), run.stderr
