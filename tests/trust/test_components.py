"""Deterministic components: what WASI 0.2 shows them of chance and time."""

from __future__ import annotations

import pytest

from wizer import Session, Wasi, wizen
from wizer.engine.deterministic import Deterministic, World

COMPONENT = """
(component
  (import "wasi:random/random@0.2.3" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:random/insecure-seed@0.2.0" (instance $seed
    (export "insecure-seed" (func (result (tuple u64 u64))))))
  (import "wasi:clocks/wall-clock@0.2.6" (instance $wall
    (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $record)))
    (export "now" (func (result $datetime)))))
  (import "wasi:io/poll@0.2.3" (instance $poll (export "pollable" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $pollable (eq $outer)))
    (export "now" (func (result u64)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $bytes (canon lower (func $random "get-random-bytes")
    (memory $memory) (realloc (core func $realloc))))
  (core func $number (canon lower (func $random "get-random-u64")))
  (core func $pair (canon lower (func $seed "insecure-seed") (memory $memory)))
  (core func $date (canon lower (func $wall "now") (memory $memory)))
  (core func $now (canon lower (func $clock "now")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core module $main
    (import "" "memory" (memory 1))
    (import "" "bytes" (func $bytes (param i64 i32)))
    (import "" "number" (func $number (result i64)))
    (import "" "pair" (func $pair (param i32)))
    (import "" "date" (func $date (param i32)))
    (import "" "now" (func $now (result i64)))
    (import "" "subscribe" (func $subscribe (param i64) (result i32)))
    (func (export "initialize")
      (call $bytes (i64.const 5) (i32.const 0))
      (i64.store (i32.const 16) (call $number))
      (call $pair (i32.const 32))
      (call $date (i32.const 48))
      (i64.store (i32.const 64) (call $now)))
    (func (export "wait") (result i32) (call $subscribe (i64.const 1)))
    (func (export "load") (param i32) (result i64) (i64.load (local.get 0))))
  (core instance $main (instantiate $main (with "" (instance
    (export "memory" (memory $memory)) (export "bytes" (func $bytes)) (export "number" (func $number))
    (export "pair" (func $pair)) (export "date" (func $date)) (export "now" (func $now))
    (export "subscribe" (func $subscribe))))))
  (func (export "wizer-initialize") (canon lift (core func $main "initialize")))
  (func (export "wait") (result u32) (canon lift (core func $main "wait")))
  (func (export "load") (param "at" u32) (result u64) (canon lift (core func $main "load")))
)
"""


def test_what_a_component_sees() -> None:
    settings = Deterministic(seed=5, start=10**18 + 7)
    world = World(settings)
    with Session(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=settings) as session:
        session.call("wizer-initialize")
        numbers = [int.from_bytes(world.random(length), "little") for length in (5, 8, 8, 8)]
        assert session.call("load", 4096) == numbers[0]
        assert [session.call("load", at) for at in (16, 32, 40)] == numbers[1:]
        assert session.call("load", 48) == 10**9
        assert session.call("load", 56) == 7
        assert session.call("load", 64) == 2_000_000


def test_the_engine_keeps_the_rest_of_an_interface() -> None:
    with Session(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=True) as session:
        assert session.call("wait") > 0


def test_same_bytes() -> None:
    made = {wizen(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=3) for _ in range(2)}
    assert len(made) == 1
    assert wizen(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=4) not in made
    assert len({wizen(COMPONENT, wasi=Wasi(), unknown_imports="error") for _ in range(2)}) == 2


def test_imports_go_before_what_is_made_up() -> None:
    from wizer.engine.preview2 import VERSION

    imports = {f"wasi:random/random@{VERSION}": {"get-random-u64": lambda: 77, "get-random-bytes": bytes}}
    with Session(
        COMPONENT, imports=imports, wasi=Wasi(), unknown_imports="error", deterministic=True
    ) as session:
        session.call("wizer-initialize")
        assert session.call("load", 16) == 77


@pytest.mark.parametrize("deterministic", [True, False])
def test_without_wasi_there_is_nothing(deterministic: bool) -> None:
    from wizer import TrapError

    with Session(COMPONENT, deterministic=deterministic) as session, pytest.raises(TrapError):
        session.call("wizer-initialize")


def test_audit_of_a_component() -> None:
    from wizer import audit

    found = audit(COMPONENT, wasi=Wasi(), unknown_imports="error")
    assert found.frozen() == ("random", "clock")
    spans = {s: [f.difference.span for f in found.findings if f.source == s] for s in ("random", "clock")}
    assert (16, 24) in spans["random"]
    assert (4096, 4101) in spans["random"]
    assert all(start >= 48 for start, _ in (span for span in spans["clock"] if span))
    assert found.calls["wasi:random/random@0.2.12", "get-random-u64"] == 1


def test_verify_a_component() -> None:
    from wizer.trust.verify import VerificationError, verify_session

    with Session(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=1) as session:
        session.call("wizer-initialize")
        snapshot = session.snapshot()
        verify_session(session, snapshot)
        session.call("wizer-initialize")
        with pytest.raises(VerificationError, match=r"core instance 0 .*: memory 0 .* at 0x10"):
            verify_session(session, snapshot)
