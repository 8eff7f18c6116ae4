"""Limits and interruptions, on the real engine and with real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import wasmtime

from support.command import environment
from support.engine import compiled
from wizer.binary.module import parse_module
from wizer.engine.config import EngineConfig
from wizer.engine.limits import Limits
from wizer.engine.messages import causes
from wizer.engine.sizes import check_sizes
from wizer.engine.wasi import Wasi, configure
from wizer.engine.watchdog import Watchdog
from wizer.errors import LimitError, OptionError

SPIN = '(module (func (export "spin") (loop $l (br $l))) (func (export "nop")))'
COMPILERS = ["winch", "cranelift"]
Make = Callable[..., "Guest"]


class Guest:
    """An instance of ``text`` under a watchdog."""

    def __init__(self, text: str, limits: Limits, compiler: Any = "cranelift", **options: Any) -> None:
        wasm = bytes(wasmtime.wat2wasm(text))
        config = EngineConfig(compiler=compiler, cache=False)
        self.compiled = compiled(wasm, config, limits)
        self.store = wasmtime.Store(self.compiled.engine)
        self.watchdog = Watchdog(self.store, limits, **options)

    def instantiate(self, imports: list[Any] | None = None) -> None:
        def work() -> wasmtime.Instance:
            return wasmtime.Instance(self.store, self.compiled.code, imports or [])

        self.instance = self.watchdog.run(work)

    def call(self, name: str, *args: int) -> Any:
        function = self.instance.exports(self.store)[name]
        assert isinstance(function, wasmtime.Func)
        return self.watchdog.run(lambda: function(self.store, *args))


@pytest.fixture
def guest() -> Any:
    made: list[Guest] = []

    def make(text: str, limits: Limits | None = None, compiler: str = "cranelift", **options: Any) -> Guest:
        made.append(Guest(text, limits or Limits(), compiler, **options))
        return made[-1]

    yield make
    for one in made:
        one.watchdog.close()
    assert not [t for t in threading.enumerate() if t.name == "wizer-watchdog"]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_time_is_limited(guest: Make, compiler: str) -> None:
    one = guest(SPIN, Limits(timeout=0.1), compiler)
    one.instantiate()
    with pytest.raises(LimitError, match=r"longer than its limit of 0\.1 s") as caught:
        one.call("spin")
    assert caught.value.causes[-1] == "wasm trap: interrupt"
    assert caught.value.causes[0].startswith("error while executing at wasm backtrace:\n    0: ")


def test_time_is_that_of_all_calls_and_of_guest_code_only(guest: Make) -> None:
    one = guest(SPIN, Limits(timeout=0.2))
    one.instantiate()
    time.sleep(0.4)
    one.call("nop")
    with pytest.raises(LimitError):
        one.call("spin")
    with pytest.raises(LimitError):  # nothing is left
        one.call("nop")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_fuel_is_limited(guest: Make, compiler: str) -> None:
    one = guest(SPIN, Limits(fuel=1000), compiler)
    one.instantiate()
    one.call("nop")
    with pytest.raises(LimitError, match="1000 units of fuel") as caught:
        one.call("spin")
    assert caught.value.causes[-1] == "wasm trap: all fuel consumed by WebAssembly"


@pytest.mark.parametrize(
    ("text", "limits", "message"),
    [
        ("(module (memory 17))", Limits(max_memory=1 << 20), "a memory of 17 pages .* 1048576 bytes"),
        (
            "(module (table 11 funcref))",
            Limits(max_table_elements=10),
            "a table of 11 elements .* 10 elements",
        ),
        ("(module (memory 1) (memory 1))", Limits(max_memories=1), "2 memories, more than the limit of 1"),
        ("(module (table 1 funcref) (table 1 funcref))", Limits(max_tables=1), "2 tables, more than .* 1"),
    ],
)
def test_the_engine_s_limits_are_named(guest: Make, text: str, limits: Limits, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        guest(text, limits).instantiate()


def test_instances_are_limited(guest: Make) -> None:
    one = guest(SPIN, Limits(max_instances=1))
    one.instantiate()
    with pytest.raises(LimitError, match="2 instances, more than the limit of 1"):
        one.instantiate()


def test_growth_beyond_the_limit_fails_in_the_guest(guest: Make) -> None:
    one = guest(
        """(module (memory 1) (table 1 funcref)
        (func (export "m") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "t") (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))""",
        Limits(max_memory=2 << 16, max_table_elements=3),
    )
    one.instantiate()
    assert [one.call("m", 2), one.call("m", 1), one.call("m", 1)] == [-1, 1, -1]
    assert [one.call("t", 3), one.call("t", 2), one.call("t", 1)] == [-1, 1, -1]


def test_the_heap_of_gc_objects_is_limited() -> None:
    wasm = wasmtime.wat2wasm(
        """(module (type $a (array i64))
        (func (export "f") (drop (array.new_default $a (i32.const 100000)))))"""
    )
    limits = Limits(max_memory=1 << 16)
    made = compiled(bytes(wasm), EngineConfig(cache=False), limits, simple=False)
    store = wasmtime.Store(made.engine)
    with Watchdog(store, limits) as watchdog:
        function = wasmtime.Instance(store, made.code, []).exports(store)["f"]
        assert isinstance(function, wasmtime.Func)
        with pytest.raises(LimitError, match="the heap of GC objects exceeds the limit of 65536 bytes"):
            watchdog.run(lambda: function(store))


@pytest.mark.parametrize(
    ("text", "limits", "message"),
    [
        ("(module (memory $big 2))", Limits(max_memory=65536), "memory 0.* of 131072 bytes exceeds .* 65536"),
        ("(module (memory 9 (pagesize 1)))", Limits(max_memory=8), "memory 0 of 9 bytes exceeds"),
        (
            "(module (memory 1 3 shared))",
            Limits(max_memory=2 << 16),
            "memory 0 is shared and may grow to 196608",
        ),
        ("(module (table 4 funcref))", Limits(max_table_elements=3), "table 0 of 4 elements exceeds"),
    ],
)
def test_declared_sizes_are_checked_before_compiling(text: str, limits: Limits, message: str) -> None:
    module = parse_module(bytes(wasmtime.wat2wasm(text)))
    with pytest.raises(LimitError, match=message):
        check_sizes(module, limits)
    check_sizes(module, Limits())


@pytest.mark.parametrize("value", [-1, 1 << 63, float("nan"), "5"])
def test_limits_out_of_range(value: Any) -> None:
    with pytest.raises(OptionError, match="limit `timeout` must be"):
        Limits(timeout=value)


def interrupt_soon(number: int = signal.SIGINT) -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()


@pytest.mark.parametrize("compiler", COMPILERS)
def test_ctrl_c_stops_the_guest_and_the_session_goes_on(guest: Make, compiler: str) -> None:
    one = guest(SPIN, compiler=compiler)
    one.instantiate()
    for _ in range(2):
        interrupt_soon()
        with pytest.raises(KeyboardInterrupt):
            one.call("spin")
        one.call("nop")
    assert signal.set_wakeup_fd(-1) == -1


def test_a_handler_of_the_caller_s_own_is_run(guest: Make) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        one = guest(SPIN)
        one.instantiate()
        interrupt_soon()
        with pytest.raises(KeyboardInterrupt):
            one.call("spin")
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


def test_other_signals_do_not_stop_the_guest_and_reach_the_previous_listener(guest: Make) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.set_wakeup_fd(writer)
    try:
        one = guest(SPIN, Limits(timeout=0.6))
        one.instantiate()
        interrupt_soon(signal.SIGUSR1)
        with pytest.raises(LimitError):
            one.call("spin")
    finally:
        assert signal.set_wakeup_fd(-1) == writer
        signal.signal(signal.SIGUSR1, before)
    os.close(writer)
    assert os.read(reader, 10) == bytes([signal.SIGUSR1])
    os.close(reader)


def test_guards_nest(guest: Make) -> None:
    one = guest(
        """(module (import "" "again" (func $again)) (func (export "f") (call $again))
        (func (export "spin") (loop $l (br $l))))""",
        Limits(timeout=0.2),
    )
    caught: list[BaseException] = []

    def again() -> None:
        try:
            one.call("spin")
        except LimitError as error:
            caught.append(error)
            raise

    one.instantiate([wasmtime.Func(one.store, wasmtime.FuncType([], []), again)])
    with pytest.raises(LimitError):
        one.call("f")
    assert len(caught) == 1


def test_other_threads_have_a_time_limit_too(guest: Make) -> None:
    one = guest(SPIN, Limits(timeout=0.1))
    raised: list[BaseException] = []

    def work() -> None:
        try:
            one.instantiate()
            one.call("spin")
        except LimitError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(raised) == 1


def test_what_a_wasi_stream_raises_stops_the_guest(guest: Make) -> None:
    class BrokenError(Exception):
        pass

    def sink(_data: bytes) -> None:
        raise BrokenError

    one = guest(
        """(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1) (data (i32.const 8) "\\10\\00\\00\\00\\04\\00\\00\\00text")
        (func (export "f") (drop (call $w (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 0)))
          (loop $l (br $l))))"""
    )
    streams = configure(Wasi(stdout=sink), one.store, one.watchdog.stop)
    linker = wasmtime.Linker(one.compiled.engine)
    linker.define_wasi()
    one.instance = linker.instantiate(one.store, one.compiled.code)
    with pytest.raises(BrokenError):
        one.call("f")
    one.store.close()
    streams.close()


def test_what_was_raised_elsewhere_comes_out_even_where_the_guest_ended(guest: Make) -> None:
    one = guest('(module (import "" "f" (func $f)) (func (export "f") (call $f)))')
    stop = lambda: one.watchdog.stop(RuntimeError("elsewhere"))  # noqa: E731
    one.instantiate([wasmtime.Func(one.store, wasmtime.FuncType([], []), stop)])
    with pytest.raises(RuntimeError, match="elsewhere"):
        one.call("f")


HARD = """
import os, sys, wasmtime
from wizer.engine.compile import compile_module
from wizer.engine.config import EngineConfig
from wizer.engine.limits import Limits
from wizer.engine.original import Original
from wizer.engine.watchdog import Watchdog

def leave(error):
    print(type(error).__name__, error.message if hasattr(error, "message") else "", flush=True)
    os._exit(7)

limits = Limits(timeout=float(sys.argv[1])) if sys.argv[1] else Limits()
wasm = bytes(wasmtime.wat2wasm('(module (memory 1 1 shared) (func (export "f") (drop (memory.atomic.wait32 '
    '(i32.const 0) (i32.const 0) (i64.const -1)))))'))
compiled = compile_module(
    [wasm], EngineConfig(cache=False), simple=True, code=0, limits=limits, original=Original(wasm)
)
store = wasmtime.Store(compiled.engine)
def work():
    function = wasmtime.Instance(store, compiled.code, []).exports(store)["f"]
    print("waiting", flush=True)
    function(store)
with Watchdog(store, limits, hard_exit=leave) as watchdog:
    watchdog.run(work)
"""


def start(*args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HARD, *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


def test_a_guest_in_a_host_function_is_ended_hard_at_its_time_limit() -> None:
    with start("0.1") as process:
        output, _ = process.communicate(timeout=60)
    assert output == "waiting\nLimitError initialisation took longer than its limit of 0.1 s\n"
    assert process.returncode == 7


def test_a_guest_in_a_host_function_is_ended_hard_by_ctrl_c() -> None:
    with start("") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert output == "KeyboardInterrupt \n"
    assert process.returncode == 7


def test_causes_of_an_engine_error() -> None:
    plain = wasmtime.WasmtimeError("just this")
    assert causes(plain) == ("just this",)
    one = wasmtime.WasmtimeError("outer\n\nCaused by:\n    inner\n    more")
    assert causes(one) == ("outer", "inner\nmore")
    several = wasmtime.WasmtimeError(
        "outer\n\nCaused by:\n    0: error while executing at wasm backtrace:\n"
        "           0:     0x34 - a!f\n           1:     0x38 - a!g\n    1: wasm trap: interrupt"
    )
    assert causes(several) == (
        "outer",
        "error while executing at wasm backtrace:\n    0:     0x34 - a!f\n    1:     0x38 - a!g",
        "wasm trap: interrupt",
    )
