"""Guests that use all the stack they may have: whatever the thread has, that is a trap, and not a crash."""

from __future__ import annotations

import contextvars
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from support.command import environment
from wizer import EngineConfig, LimitError, Limits, OptionError, Session, TrapError, WizerError
from wizer.engine.stack import left_on_this_thread, with_guest_stack

KIB = 1 << 10

# Each guest recurses without end: from the start of its stack, or from within a host function of another's.
GUESTS = '''
import sys, threading
import wizer
from wizer import EngineConfig, Session, Wasi, WizerError

DEEP = """(func $f (param i32) (result i32)
  (i32.add (i32.const 1) (call $f (i32.add (local.get 0) (i32.const 1)))))"""
MODULE = f"""(module (import "host" "here" (func $here)) (memory (export "memory") 1) {DEEP}
  (func (export "deep") (drop (call $f (i32.const 0))))
  (func $last (export "last") (param i32) (result i32) (local i64 i64 i64 i64)
    (if (i32.eqz (local.get 0)) (then (call $here) (return (i32.const 0))))
    (i32.add (i32.const 1) (call $last (i32.sub (local.get 0) (i32.const 1)))))
  (func (export "here") (call $here)))"""
COMPONENT = f"""(component
  (core module $m {DEEP} (func (export "i") (drop (call $f (i32.const 0)))))
  (core instance $i (instantiate $m)) (func (export "deep") (canon lift (core func $i "i"))))"""
ASYNC = f"""(component (core func $return (canon task.return))
  (core module $m (import "" "return" (func $return)) {DEEP}
    (func (export "i") (result i32) (drop (call $f (i32.const 0))) (call $return) (i32.const 0))
    (func (export "c") (param i32 i32 i32) (result i32) (i32.const 0)))
  (core instance $i (instantiate $m (with "" (instance (export "return" (func $return))))))
  (func (export "deep") async (canon lift (core func $i "i") async (callback (core func $i "c")))))"""

def opened(wat, compiler="auto", here=lambda: None):
    imports = {} if wat.startswith("(component") else {"host": {"here": here}}
    return Session(wat, imports=imports, engine=EngineConfig(cache=False, compiler=compiler))

def deep(session):
    try:
        with session:
            session.call("deep")
    except WizerError as error:
        assert str(error).endswith("wasm trap: call stack exhausted"), error
    else:
        raise AssertionError("it came back")

def again():  # in a host function, whose guest has used its stack and calls it with little left
    def inner():
        deep(opened(MODULE))
    with opened(MODULE, here=inner) as session:
        for depth in (0, 1000, 10_000):
            assert session.call("last", depth) == depth

def reentered():  # the guest's own stack goes on to count
    calls = []
    def here():
        calls.append(0)
        session.call("here")
    with opened(MODULE, here=here) as session:
        try:
            session.call("here")
        except (WizerError, RecursionError) as error:
            assert len(calls) > 10
        else:
            raise AssertionError("it came back")

def all_of_them():
    for compiler in ("winch", "cranelift"):
        deep(opened(MODULE, compiler))
    deep(opened(COMPONENT))
    deep(opened(ASYNC))
    again()
    reentered()

def on_a_thread(kib, work, *args):
    try:
        threading.stack_size(kib << 10)
    except ValueError:
        threading.stack_size(128 << 10)  # what aarch64 has at the least
    thread = threading.Thread(target=work, args=args)
    thread.start()
    thread.join()

lost = []
threading.excepthook = lambda args: (lost.append(args), threading.__excepthook__(args))
'''


def ends_well(program: str, limit: int | None = None) -> None:
    """Run a program on the guests in a process whose main thread's stack is bounded by ``limit`` bytes."""
    resource = pytest.importorskip("resource")
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if limit == resource.RLIM_INFINITY and hard != limit:
        pytest.skip("this process may not lift the limit of its stack (`ulimit -H -s`)")

    def bound() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_STACK, (limit, hard))

    ended = subprocess.run(
        [sys.executable, "-c", GUESTS + textwrap.dedent(program) + "\nassert not lost; print('well')"],
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=bound,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout == "well\n", ended.stderr[-2000:]


UNLIMITED = -1


@pytest.mark.parametrize("limit", [None, 128 * KIB, 512 * KIB, UNLIMITED])
def test_the_main_thread(limit: int | None) -> None:
    ends_well("all_of_them()", limit)


@pytest.mark.parametrize("limit", [128 * KIB, 512 * KIB, UNLIMITED])
def test_a_thread_of_the_system_s_default_size(limit: int) -> None:
    ends_well("on_a_thread(0, all_of_them)", limit)


@pytest.mark.parametrize("kib", [64, 256, 3 << 10])
def test_a_thread_of_a_size_that_is_asked_for(kib: int) -> None:
    ends_well(f"on_a_thread({kib}, all_of_them)")


def test_a_session_that_is_opened_on_one_thread_and_called_on_another() -> None:
    ends_well("on_a_thread(64, deep, opened(MODULE)); deep(opened(MODULE))")
    ends_well("made = []; on_a_thread(64, lambda: made.append(opened(MODULE))); deep(made[0])")


def test_the_whole_way_on_a_thread_with_hardly_any_stack() -> None:
    ends_well(
        """
        nested = " ".join(["block"] * 5000 + ["end"] * 5000)
        wat = f'''(module (type $l (struct (field (ref null $l)) (field i32)))
          (global $g (mut (ref null $l)) (ref.null $l)) (memory (export "memory") 1)
          (import "e" "m" (memory 1)) (func {nested})
          (func (export "wizer-initialize") (i32.store (i32.const 0) (i32.const 7))
            (global.set $g (struct.new $l (global.get $g) (i32.const 5)))))'''
        component = '''(component (core module $m (memory (export "memory") 1)
            (func (export "i") (i32.store (i32.const 0) (i32.const 7))))
          (core instance $i (instantiate $m))
          (func (export "wizer-initialize") (canon lift (core func $i "i"))))'''
        def freeze():
            for compiler in ("auto", "cranelift"):
                config = EngineConfig(cache=False, parallel_compilation=False, compiler=compiler)
                for source in (wat.replace('(import "e" "m" (memory 1))', ""), component):
                    wizer.verify(source, wizer.wizen(source, engine=config), engine=config)
        on_a_thread(64, freeze)
        """
    )


# A guest on a thread of its own is what it is on the caller's.


@contextmanager
def little_stack() -> Iterator[None]:
    """Threads that are started in here have too little stack for a guest."""
    before = threading.stack_size(256 * KIB)
    try:
        yield
    finally:
        threading.stack_size(before)


def on_a_small_thread(work: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def call() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    with little_stack():
        thread.start()
    thread.join()
    if failures:
        raise failures[0]


HOST = """(module (import "host" "f" (func $f)) (memory (export "memory") 1)
  (func (export "call") (call $f)) (func (export "loop") (loop (br 0))) (func (export "trap") unreachable)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))"""


def test_a_host_function_sees_context_variables_and_may_call_the_guest() -> None:
    variable = contextvars.ContextVar("variable", default=0)
    seen: list[object] = []

    def work() -> None:
        def f() -> None:
            seen.extend((variable.get(), threading.get_ident(), session.call("add", 2, 3)))
            with pytest.raises(OptionError, match="cannot be closed while one of its functions runs"):
                session.close()

        variable.set(7)
        with Session(HOST, imports={"host": {"f": f}}) as session:
            session.call("call")
            assert session.call("add", 4, 5) == 9
        assert threading.get_ident() not in seen

    on_a_small_thread(work)
    assert seen[0] == 7
    assert seen[2] == 5


def test_what_a_host_function_raises_comes_through() -> None:
    def f() -> None:
        raise ZeroDivisionError("mine")

    def work() -> None:
        with Session(HOST, imports={"host": {"f": f}}) as session:
            with pytest.raises(TrapError, match="a host function raised ZeroDivisionError: mine") as caught:
                session.call("call")
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            with pytest.raises(TrapError, match="unreachable"):
                session.call("trap")

    on_a_small_thread(work)


def test_time_runs_out_and_others_have_to_wait() -> None:
    refused: list[str] = []

    def f() -> None:
        def use() -> None:
            with pytest.raises(OptionError, match="in use on another thread") as caught:
                session.call("add", 1, 1)
            refused.append(caught.value.message)

        other = threading.Thread(target=use)
        other.start()
        other.join()

    def work() -> None:
        session.call("call")
        with pytest.raises(LimitError, match="longer"):
            session.call("loop")

    with Session(HOST, imports={"host": {"f": f}}, limits=Limits(timeout=0.3)) as session:
        on_a_small_thread(work)
    assert refused


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="setitimer")
def test_signals_end_a_guest_that_the_main_thread_waits_for() -> None:
    ends_well(
        '''
        import os, signal, time
        LOOP = """(module (memory (export "memory") 1) (func (export "loop") (loop (br 0)))
          (func (export "one") (result i32) (i32.const 1)))"""
        class Alarm(Exception): pass
        def alarm(number, frame): raise Alarm
        signal.signal(signal.SIGALRM, alarm)
        for signaled, error in ((signal.SIGALRM, Alarm), (signal.SIGINT, KeyboardInterrupt)):
            with Session(LOOP) as session:
                def send():
                    time.sleep(0.2)
                    os.kill(os.getpid(), signaled)
                threading.Thread(target=send).start()
                try:
                    session.call("loop")
                except error:
                    assert session.call("one") == 1
                else:
                    raise AssertionError("it came back")
        ''',
        512 * KIB,
    )


def test_a_stack_that_is_too_large_for_any_thread() -> None:
    with pytest.raises(WizerError, match="no thread with a stack of 70368750469120 bytes can be started"):
        Session(HOST, imports={"host": {"f": print}}, engine=EngineConfig(max_wasm_stack=1 << 46))


@pytest.mark.skipif(left_on_this_thread() is None, reason="this system does not tell how much stack is left")
def test_what_is_left_is_what_the_thread_has_less_what_is_used() -> None:
    def work() -> None:
        left = left_on_this_thread()
        assert left is not None
        assert 128 * KIB < left < 256 * KIB
        assert with_guest_stack(64 * KIB, threading.get_ident, repr) != threading.get_ident()

    on_a_small_thread(work)
    assert with_guest_stack(64 * KIB, threading.get_ident, repr) == threading.get_ident()


def test_a_recursion_through_guests_on_threads_of_their_own_ends() -> None:
    """Each such thread has a stack of Python's of its own; what waits for it counts all the same."""
    ends_well(
        """
    levels = []
    def here():
        levels.append(threading.active_count())
        assert len(levels) < 500
        with opened(MODULE, here=here) as session:
            session.call("last", 15_000)
    try:
        here()
    except (WizerError, RecursionError):
        assert 10 < len(levels) < 100, len(levels)
    else:
        raise AssertionError("it came back")
"""
    )
