"""A session whatever is done with it: threads, processes, open files, forgetting it."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from wizer import LimitError, Limits, OptionError, Session, Wasi, WizerError, wizen
from wizer.core.calls import MOST_RESULTS
from wizer.engine import cache

LOOP = '(module (memory (export "m") 1) (func (export "f")) (func (export "loop") (loop (br 0))))'
SPIN = """(module (memory (export "m") 1) (func (export "f")) (func (export "spin") (param i32) (result i32)
  (loop (i32.store (i32.const 64) (i32.add (i32.const 1) (i32.load (i32.const 64))))
    (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (i32.load (i32.const 64))))"""
WRITE = r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\05\00\00\00")
  (func (export "f") (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "g")))"""

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


def run(program: str, *args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


# Watching.


def test_more_files_are_open_than_select_knows() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("this system allows fewer files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with Session(LOOP, limits=Limits(timeout=0.2)) as session, pytest.raises(LimitError):
            session.call("loop")
        got: list[bytes] = []
        with Session(WRITE, wasi=Wasi(stdout=got.append)) as session:
            session.call("f")
        assert sum(map(len, got)) == 5
    finally:
        for fd in files:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("timeout", [1e10, 2.0**62, 1e-300, 0])
def test_absurd_times(timeout: float) -> None:
    with Session(LOOP, limits=Limits()) as session:
        session.call("f")
    if timeout >= 1:
        with Session(LOOP, limits=Limits(timeout=timeout)) as session:
            session.call("f")
    else:
        with pytest.raises(LimitError), Session(LOOP, limits=Limits(timeout=timeout)) as session:
            session.call("loop")


@pytest.mark.parametrize("what", ["pipe", "thread"])
def test_a_run_that_cannot_be_watched_does_not_start(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Any:
        raise OSError(24, "Too many open files") if what == "pipe" else RuntimeError("can't start new thread")

    ran: list[int] = []
    wat = '(module (import "e" "f" (func $f)) (func (export "g") (call $f)))'
    with Session(wat, imports={"e": {"f": lambda: ran.append(1)}}, limits=Limits(timeout=1)) as session:
        session._guest._run.shell._watchdog.close()  # type: ignore[attr-defined]  # or it watches already
        if what == "pipe":
            monkeypatch.setattr(os, "pipe", fail)
        else:
            monkeypatch.setattr(threading.Thread, "start", fail)
        with pytest.raises(WizerError, match="cannot be watched"):
            session.call("g")
        monkeypatch.undo()
        assert not ran
        session.call("g")
    assert ran


# Processes.

FORK = """
import os, signal, sys, tempfile, wizer
WAT = '''(module (memory 1) (func (export "loop") (loop (br 0)))
  (func (export "wizer-initialize") (i32.store (i32.const 0) (i32.const 7))))'''
s = wizer.Session(WAT, limits=wizer.Limits(timeout=1))
s.call("wizer-initialize")
first = wizer.wizen(WAT)
child = os.fork()
if child == 0:
    signal.alarm(20)
    assert wizer.wizen(WAT) == first       # compiled anew
    assert wizer.wizen(WAT, limits=wizer.Limits(timeout=5), engine=wizer.EngineConfig(cache=False)) == first
    with tempfile.TemporaryDirectory() as folder:
        s.precompile(folder + "/ahead")    # with an engine of its own
    try:
        s.call("loop")                     # limits hold in a session of the parent's
    except wizer.LimitError:
        os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
idle = os.fork()
if idle == 0:
    signal.alarm(20)
    signal.pause()
signal.alarm(10)
s.close()                                  # does not wait for the child
os.kill(idle, signal.SIGKILL)
os.waitpid(idle, 0)
print("done")
"""


@posix
def test_what_is_forked_compiles_and_keeps_limits_and_nobody_waits_for_it() -> None:
    ran = run(FORK)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr


FORK_IN_A_CALL = """
import os, signal, sys, wizer
def fork():
    signal.alarm(20)
    return os.fork()
s = wizer.Session('''(module (import "e" "fork" (func $fork (result i32)))
  (func (export "f") (result i32)
    (if (call $fork) (then (return (i32.const 1)))) (loop (br 0)) (i32.const 0)))''',
  imports={"e": {"fork": fork}}, limits=wizer.Limits(timeout=1))
try:
    s.call("f")
except wizer.LimitError:
    os._exit(0)
status = os.wait()[1]
print("parent", status)
"""


@posix
def test_what_is_forked_by_a_host_function_keeps_its_limits() -> None:
    ran = run(FORK_IN_A_CALL)
    assert (ran.returncode, ran.stdout) == (0, "parent 0\n"), ran.stderr


FORK_DURING_AN_IMPORT = """
import importlib.abc, os, signal, sys, threading, time, wizer
import wizer.core.session

begun = threading.Event()
class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("wizer.core.capture", "wizer.core.rewrite", "wizer.core.segments"):
            begun.set()
            time.sleep(0.2)
sys.meta_path.insert(0, Slow())
s = wizer.Session('(module (memory 1) (func (export "f")))')
assert begun.wait(10)
if os.fork() == 0:
    signal.alarm(20)
    s.snapshot()
    os._exit(0)
print(os.wait()[1], threading.active_count() < 3)
"""


@posix
def test_what_is_forked_can_import_what_a_thread_was_importing() -> None:
    ran = run(FORK_DURING_AN_IMPORT)
    assert (ran.returncode, ran.stdout) == (0, "0 True\n"), ran.stderr


FORK_WASI = """
import os, signal, sys, wizer
WAT = '''(module (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
  (memory (export "memory") 1) (func (export "f") (drop (call $r (i32.const 0) (i32.const 8)))))'''
s = wizer.Session(WAT, wasi=wizer.Wasi())
s.call("f")
if os.fork() == 0:
    signal.alarm(20)
    for what in (lambda: s.call("f"), lambda: wizer.Session(WAT, wasi=wizer.Wasi())):
        try:
            what()
        except wizer.WizerError as error:
            if "forked" in str(error):
                continue
        os._exit(1)
    os._exit(0)
print(os.wait()[1])
"""


@posix
def test_wasi_after_a_fork_is_an_error_at_once() -> None:
    """Its threads are not there; opening a file would wait for ever."""
    ran = run(FORK_WASI)
    assert (ran.returncode, ran.stdout) == (0, "0\n"), ran.stderr


@posix
def test_a_pipe_in_the_cache_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wat = f'(module (func (export "wizer-initialize") {"nop " * 10_000}))'
    wizen(wat)
    folder = tmp_path / "wizer" / "wasmtime-modules"
    found = [path for path in folder.iterdir() if path.is_file()]
    assert found
    for names in (found[:1], found[1:], found):
        for path in names:
            path.unlink(missing_ok=True)
            os.mkfifo(path)
        done = threading.Thread(target=wizen, args=(wat,), daemon=True)
        done.start()
        done.join(30)
        assert not done.is_alive()
    assert cache.MOST


# Waits for other threads.

WAITS = """
import os, signal, sys, threading, time, wizer
faults, address, pages, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
index = "i64" if faults == "i64" else "i32"
wait = "".join(f"(drop (memory.atomic.{name} ({index}.const {address}) ({value}.const 0) (i64.const -1)))"
    for name, value in (("wait32", "i32"), ("wait64", "i64")))
WAT = f'(module (memory {index} {pages} {pages} shared) (func (export "wait") {wait} (loop (br 0))))'
signal.alarm(60)
fuel = 10**6 if how == "fuel" else None
with wizer.Session(WAT, limits=wizer.Limits(timeout=None if how == "ctrl-c" else 1, fuel=fuel)) as session:
    if how == "ctrl-c":
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        session.call("wait")
    except (wizer.LimitError, KeyboardInterrupt) as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize(
    ("index", "address", "pages", "how", "ends"),
    [
        ("i32", 0, 1, "timeout", "LimitError"),
        ("i32", 0, 1, "fuel", "LimitError"),
        ("i32", 65528, 1, "ctrl-c", "KeyboardInterrupt"),
        ("i64", 65536 * 300 - 8, 300, "timeout", "LimitError"),
    ],
)
def test_a_guest_that_waits_for_another_thread_is_woken(
    index: str, address: int, pages: int, how: str, ends: str
) -> None:
    ran = run(WAITS, index, str(address), str(pages), how)
    assert (ran.returncode, ran.stdout) == (0, f"{ends}\n"), ran.stderr


# Threads.


def test_a_session_is_one_thread_s_at_a_time() -> None:
    with Session(SPIN) as session:
        failed: list[BaseException] = []
        done: list[int] = []

        def work() -> None:
            for _ in range(100):
                try:
                    done.append(session.call("spin", 20_000))
                    bytes(session.memory()[:8])
                    session.snapshot()
                except OptionError as error:
                    failed.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done
        assert all("in use on another thread" in str(error) for error in failed)
        assert max(done) == 20_000 * len(done)


def test_close_during_a_call_is_an_error() -> None:
    session = Session(SPIN)
    entered = threading.Event()

    def call() -> None:
        entered.set()
        session.call("spin", 200_000_000)

    thread = threading.Thread(target=call)
    thread.start()
    entered.wait()
    time.sleep(0.05)
    with pytest.raises(OptionError, match="in use on another thread"):
        session.close()
    thread.join()
    assert session.call("spin", 1) == 200_000_001
    session.close()


def test_a_host_function_cannot_close_its_session() -> None:
    wat = '(module (import "e" "f" (func $f)) (func (export "g") (call $f)))'

    def close() -> None:
        session.close()

    with Session(wat, imports={"e": {"f": close}}) as session:
        with pytest.raises(WizerError) as caught:
            session.call("g")
        assert isinstance(caught.value.__cause__, OptionError)
        assert "cannot be closed" in str(caught.value.__cause__)


def test_views_outlive_the_session() -> None:
    with Session(LOOP) as session:
        view = session.memory()
        part = view[100:200]
        part[0] = 7
        chunks = session.chunks()
    del view
    gc.collect()
    assert (part[0], len(part)) == (7, 100)
    part[1] = 8
    assert bytes(part[:3]) == b"\x07\x08\x00"
    assert b"".join(chunks)
    with pytest.raises(OptionError, match="closed"):
        session.memory()


GROWS = """
import wizer
WAT = '''(module (import "e" "f" (func $f)) (memory (export "m") ADDRESS 1)
  (func (export "nop"))
  (func (export "grow") (param ADDRESS) (result ADDRESS) (memory.grow (local.get 0)))
  (func (export "both") (param ADDRESS) (result ADDRESS) (call $f) (memory.grow (local.get 0))))'''
def session(address="i64", **options):
    f = lambda: held.append(s.memory())
    return wizer.Session(WAT.replace("ADDRESS", address), imports={"e": {"f": f}}, **options)
held = []
for address, pages in (("i64", 70_000), ("i32", 30_000)):    # beyond the 4 GiB that the engine reserves
    s = session(address)
    view = s.memory()
    view[0] = 7
    assert s.call("both", pages) == 1
    s.memory()[0] = 8
    assert (view[0], held.pop()[0], len(view), len(s.memory())) == (8, 8, 65536, (pages + 1) * 65536)
tight = wizer.EngineConfig(memory_reservation=0, memory_reservation_for_growth=0)
for options in ({"address": "i32", "engine": tight}, {"limits": wizer.Limits()}):
    s = session(**options)
    part = s.memory()[:4].cast("I")
    for call in ("nop", "grow"):
        try:
            s.call(call, *[100_000][: call == "grow"])
        except wizer.OptionError as error:
            assert "view" in str(error), error
        else:
            raise AssertionError
    assert part.tolist() == [0]
    part.release()
    try:
        s.call("both", 10)
    except wizer.TrapError as error:
        assert isinstance(error.__cause__, wizer.OptionError), error
    else:
        raise AssertionError
    held.clear()
    assert s.call("grow", 9) == 1
    assert len(s.memory()) == 10 * 65536
    s.snapshot()
    s.call("nop")
print("done")
"""


def test_views_of_memory_that_moves() -> None:
    """There are none: memory stays where it is, or guest code waits until nobody looks at it."""
    ran = run(GROWS)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr


GROWS_IN_A_COMPONENT = """
import wizer
WAT = '''(component (core module $m (memory i64 1)
    (func (export "init") (i64.store (i64.const 8) (i64.const -1)))
    (func (export "grow") (param i32) (result i32)
      (i32.wrap_i64 (memory.grow (i64.extend_i32_u (local.get 0))))))
  (core instance $i (instantiate $m))
  (func (export "init") (canon lift (core func $i "init")))
  (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $i "grow"))))'''
for limits in (wizer.Limits(max_memory=16 << 30), wizer.Limits()):
    s = wizer.Session(WAT, limits=limits)
    s.call("init")
    chunks = s.chunks()
    before = b"".join(chunks)
    try:
        assert s.call("grow", 70_000) == 1
    except wizer.OptionError as error:
        print(str(error)[:33])
    assert b"".join(chunks) == before
"""


def test_views_of_memory_in_a_component_that_moves() -> None:
    ran = run(GROWS_IN_A_COMPONENT)
    assert (ran.returncode, ran.stdout) == (0, "there is a view of the guest's me\n"), ran.stderr


def test_the_store_goes_with_the_last_view() -> None:
    session = Session(LOOP)
    store, view = session.store, session.memory()
    session.close()
    assert len(view) == 65536
    del view, store
    gc.collect()


def test_output_functions_cannot_use_the_session() -> None:
    session: Session
    with (
        Session(WRITE, wasi=Wasi(stdout=lambda _: session.call("g"))) as session,
        pytest.raises(OptionError, match="output cannot use the session"),
    ):
        session.call("f")


# Forgetting.


def resources() -> tuple[int, int]:
    return len([*Path("/proc/self/fd").iterdir()]), threading.active_count()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("options", [{}, {"wasi": Wasi(stdout=lambda _: None)}])
def test_forgotten_sessions_are_closed_with_a_warning(options: dict[str, Any]) -> None:
    gc.collect()
    before = resources()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(50):
            Session(WRITE if options else LOOP, **options).call("f")
        gc.collect()
    assert (
        sum(issubclass(w.category, ResourceWarning) and "not closed" in str(w.message) for w in caught) == 50
    )
    deadline = time.monotonic() + 10
    while resources() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert resources() == before


MANY = """
import gc, os, threading, wizer
WAT = '(module (import "e" "f" (func)) (memory (export "m") 1) (func (export "f")))'
def state():
    gc.collect()
    resident = int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
    return len(os.listdir("/proc/self/fd")), threading.active_count(), resident
def work(count):
    for _ in range(count):
        with wizer.Session(WAT, imports={"e": {"f": lambda: None}}) as s:
            s.call("f")
            s.snapshot()
work(300)
before = state()
work(int(__import__("sys").argv[1]))
after = state()
assert after[:2] == before[:2], (before, after)
assert after[2] <= before[2] + 8, (before, after)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_3_000_sessions_leave_nothing() -> None:
    ran = run(MANY, "3000", timeout=300)
    assert ran.returncode == 0, ran.stderr


def test_results_are_bounded() -> None:
    with Session('(module (func (export "f") (param i32) (result i32) (local.get 0)))') as session:
        for number in range(MOST_RESULTS + 5):
            session.call("f", number)
        assert len(session.results) == MOST_RESULTS
        assert session.results[-1] == ("f", (MOST_RESULTS + 4,))


def random_calls(chance: random.Random) -> None:
    """Open a session, and do whatever comes, also when it is closed."""
    session = Session(SPIN)
    views: list[Any] = []

    def read() -> None:
        for view in views:
            bytes(view[:1])

    store = session.store

    def collect() -> None:
        with suppress(ValueError):  # the package's, where it is closed
            store.gc()

    actions: list[Callable[[], Any]] = [
        *(partial(session.call, *args) for args in (("spin", 3), ("no",), ("spin", "x"), ("spin",), ("f",))),
        lambda: views.append(session.memory()[5:9]),
        lambda: views.extend(session.chunks()),
        session.snapshot,
        session.states,
        lambda: session.globals["g"],
        collect,
        views.clear,
        read,
        session.close,
        gc.collect,
    ]
    for _ in range(20):
        with suppress(WizerError, KeyError, TypeError):
            chance.choice(actions)()
    session.close()


def test_no_order_of_calls_ends_the_process() -> None:
    """20,000 by hand (``WIZER_SEQUENCES``), few here."""
    chance = random.Random(4)
    for _ in range(int(os.environ.get("WIZER_SEQUENCES", "60"))):
        random_calls(chance)
