"""The thread that watches: one for a run by itself, one for all runs of a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.command import environment
from support.engine import binary
from wizer import LimitError, Session
from wizer.engine.limits import Limits
from wizer.engine.watch import Watch
from wizer.kept import Kept, keeping

EMPTY = binary('(module (func (export "f")))')
ENDLESS = binary('(module (func (export "f") (loop (br 0))))')


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "wizer-watchdog"}


@pytest.fixture
def worker() -> Iterator[None]:
    with keeping(Kept(), modules=False, alone=False):
        yield


def run(wasm: bytes, timeout: float | None = 60) -> set[threading.Thread]:
    """Run a module; return the threads that watched it."""
    before = threads()
    with Session(wasm, limits=Limits(timeout=timeout)) as session:
        session.call("f")
        return threads() - before


def test_a_run_by_itself_leaves_no_thread() -> None:
    (thread,) = run(EMPTY)
    assert not thread.is_alive()


@pytest.mark.usefixtures("worker")
def test_runs_of_a_worker_have_one_thread_and_each_its_own_limit() -> None:
    (thread,) = run(EMPTY)
    for _ in range(3):
        assert run(EMPTY) == set()
        with pytest.raises(LimitError, match=r"longer than its limit of 0\.05 s"):
            run(ENDLESS, timeout=0.05)
    assert thread.is_alive()


@pytest.mark.usefixtures("worker")
def test_a_second_session_of_a_worker_has_a_thread_of_its_own_while_the_first_is_open() -> None:
    with Session(ENDLESS, limits=Limits(timeout=60)) as first, Session(EMPTY) as second:
        second.call("f")
        with pytest.raises(LimitError), Session(ENDLESS, limits=Limits(timeout=0.05)) as third:
            third.call("f")
        second.call("f")
        assert len(first.exports) == 1


def test_the_thread_ends_with_the_worker_that_has_it() -> None:
    def work() -> set[threading.Thread]:
        kept = Kept()
        with keeping(kept, modules=False, alone=False):
            return run(EMPTY)

    with ThreadPoolExecutor(1) as executor:
        (thread,) = executor.submit(work).result()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.usefixtures("worker")
def test_a_thread_that_has_ended_is_not_taken_for_one_that_watches() -> None:
    watch = Watch()
    assert watch.is_free
    watch.end()
    assert not watch.is_free


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.usefixtures("worker")
def test_a_process_that_a_worker_forks_watches_by_itself() -> None:
    run(EMPTY)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            run(ENDLESS, timeout=0.05)
        except LimitError:
            status = 7
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(ended) == 7
    with pytest.raises(LimitError):
        run(ENDLESS, timeout=0.05)


IGNORING = """
import signal, threading
signal.signal(signal.SIGINT, signal.SIG_IGN)
from wizer import Session
from wizer.engine.limits import Limits
for timeout in (None, 60):
    with Session('(module (func (export "f")))', limits=Limits(timeout=timeout)) as session:
        session.call("f")
        print(sum(thread.name == "wizer-watchdog" for thread in threading.enumerate()))
"""


def test_there_is_no_thread_where_nothing_can_end_the_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IGNORING],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=True,
    )
    assert done.stdout == "0\n1\n"
    assert callable(signal.getsignal(signal.SIGINT))  # as here, where the first of these would have one
