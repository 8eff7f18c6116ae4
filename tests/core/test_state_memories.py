"""Memories of every kind survive: contents, size, and what they can still do."""

from __future__ import annotations

import threading

import pytest
import wasmtime

from support.engine import binary, engine
from support.guest import Guest, frozen, survives
from support.tools import complaint
from wizer import Session, Wizer, WizerWarning
from wizer.binary.module import parse_module


def active(wasm: bytes) -> list[tuple[int, tuple[str, int | None] | None, bytes]]:
    """The active data segments: memory, offset and bytes."""
    module = parse_module(wasm)
    return [
        (data.memidx, data.offset.value, wasm[data.start : data.end])
        for data in module.data
        if data.mode == "active" and data.offset is not None
    ]


def test_contents_are_carried() -> None:
    snapshot = survives(
        """(module (memory 1) (data (i32.const 8) "old")
             (func (export "init") (i32.store (i32.const 1024) (i32.const 0x04030201)))
             (func (export "old") (result i32) (i32.load (i32.const 8)))
             (func (export "new") (result i32) (i32.load (i32.const 1024)))
             (func (export "zero") (result i64) (i64.load (i32.const 2048))))""",
        "old",
        "new",
        "zero",
    )
    assert active(snapshot) == [(0, ("i32", 8), b"old"), (0, ("i32", 1024), b"\1\2\3\4")]


def test_data_that_initialisation_zeroed_goes() -> None:
    snapshot = frozen(
        """(module (memory 1) (data (i32.const 8) "secret")
             (func (export "init") (i64.store (i32.const 8) (i64.const 0))))"""
    )
    assert b"secret" not in snapshot
    assert active(snapshot) == []


def test_offsets_from_2_to_the_31_on_are_negative_in_the_format() -> None:
    snapshot = survives(
        """(module (memory 32769) (func (export "init")
               (i32.store (i32.const 0x80000000) (i32.const 11)) (i32.store8 (i32.const 0x8000ffff)
                 (i32.const 12)))
             (func (export "a") (result i32) (i32.load (i32.const 0x80000000)))
             (func (export "b") (result i32) (i32.load8_u (i32.const 0x8000ffff))))""",
        "a",
        "b",
    )
    assert [offset for _, offset, _ in active(snapshot)] == [("i32", 0x8000_0000), ("i32", 0x8000_FFFF)]
    assert b"\x41\x80\x80\x80\x80\x78\x0b" in snapshot  # i32.const -0x80000000, end


def test_the_last_byte_of_four_gibibytes() -> None:
    snapshot = survives(
        """(module (memory 65536) (func (export "init") (i32.store8 (i32.const -1) (i32.const 5)))
             (func (export "a") (result i32) (i32.load8_u (i32.const -1)))
             (func (export "size") (result i32) (memory.size)))""",
        "a",
        "size",
    )
    assert active(snapshot) == [(0, ("i32", 0xFFFF_FFFF), b"\5")]


def test_memory64_offsets_are_i64() -> None:
    snapshot = survives(
        """(module (memory i64 70000) (func (export "init")
               (i64.store (i64.const 0x100000000) (i64.const -2)) (i64.store8 (i64.const 3) (i64.const 1)))
             (func (export "a") (result i64) (i64.load (i64.const 0x100000000)))
             (func (export "b") (result i64) (i64.load8_u (i64.const 3))))""",
        "a",
        "b",
    )
    assert [offset for _, offset, _ in active(snapshot)] == [("i64", 3), ("i64", 0x1_0000_0000)]


def test_several_memories_with_explicit_indices() -> None:
    snapshot = survives(
        """(module (memory $a 1) (memory $b i64 1) (memory $c 2)
             (data (memory $b) (i64.const 5) "bee")
             (func (export "init") (i32.store8 $a (i32.const 1) (i32.const 1))
               (i32.store8 $c (i32.const 65536) (i32.const 3)) (drop (memory.grow $c (i32.const 1))))
             (func (export "a") (result i32) (i32.load8_u $a (i32.const 1)))
             (func (export "b") (result i32) (i32.load $b (i64.const 5)))
             (func (export "c") (result i32) (i32.load8_u $c (i32.const 65536)))
             (func (export "size") (result i32) (memory.size $c)))""",
        *("a", "b", "c", "size"),
    )
    assert [memidx for memidx, _, _ in active(snapshot)] == [0, 1, 2]
    # Flags 2 and the memory index, where there is more than memory 0.
    assert b"\x02\x02\x41\x80\x80\x04\x0b\x01\x03" in snapshot


def test_ranges_never_cross_memories() -> None:
    snapshot = frozen(
        """(module (memory $a 1) (memory $b 1)
             (func (export "init") (i32.store8 $a (i32.const 65535) (i32.const 1)) (i32.store8 $b
               (i32.const 0) (i32.const 2))))"""
    )
    assert active(snapshot) == [(0, ("i32", 65535), b"\1"), (1, ("i32", 0), b"\2")]


def test_growth_raises_the_minimum() -> None:
    snapshot = survives(
        """(module (memory 1 10) (func (export "init") (drop (memory.grow (i32.const 2)))
               (i32.store8 (i32.const 196607) (i32.const 9)))
             (func (export "size") (result i32) (memory.size))
             (func (export "last") (result i32) (i32.load8_u (i32.const 196607)))
             (func (export "grow") (result i32) (memory.grow (i32.const 7)))
             (func (export "too far") (result i32) (memory.grow (i32.const 1))))""",
        *("size", "last", "grow", "too far"),
    )
    limits = parse_module(snapshot).memories[0].limits
    assert (limits.minimum, limits.maximum) == (3, 10)


def test_growth_to_the_declared_maximum() -> None:
    snapshot = frozen('(module (memory 0 4) (func (export "init") (drop (memory.grow (i32.const 4)))))')
    limits = parse_module(snapshot).memories[0].limits
    assert (limits.minimum, limits.maximum) == (4, 4)


@pytest.mark.parametrize("log2", [0, 16])  # all that the engine has
def test_pages_of_other_sizes(log2: int) -> None:
    page = 1 << log2
    snapshot = survives(
        f"""(module (memory 3 10 (pagesize {page}))
             (func (export "init") (drop (memory.grow (i32.const 4)))
               (i32.store8 (i32.const {7 * page - 1}) (i32.const 8)))
             (func (export "size") (result i32) (memory.size))
             (func (export "last") (result i32) (i32.load8_u (i32.const {7 * page - 1})))
             (func (export "past") (result i32) (i32.load8_u (i32.const {7 * page}))))""",
        *("size", "last", "past"),
    )
    memory = parse_module(snapshot).memories[0]
    assert (memory.page_size_log2, memory.limits.minimum, memory.limits.maximum) == (log2, 7, 10)


def test_an_empty_memory() -> None:
    snapshot = survives(
        '(module (memory 0) (func (export "init")) (func (export "size") (result i32) (memory.size)))', "size"
    )
    assert active(snapshot) == []


def test_a_shared_memory() -> None:
    snapshot = survives(
        """(module (memory 1 4 shared)
             (func (export "init") (drop (memory.grow (i32.const 1)))
               (drop (i32.atomic.rmw.add (i32.const 65540) (i32.const 77))))
             (func (export "a") (result i32) (i32.atomic.load (i32.const 65540)))
             (func (export "size") (result i32) (memory.size)))""",
        "a",
        "size",
    )
    limits = parse_module(snapshot).memories[0].limits
    assert (limits.minimum, limits.maximum, limits.shared) == (2, 4, True)
    assert active(snapshot) == [(0, ("i32", 65540), b"\x4d")]


def test_a_shared_memory_written_by_a_thread_of_the_host() -> None:
    with Session(
        """(module (memory (export "memory") 1 1 shared)
             (func (export "init")) (func (export "a") (result i32) (i32.atomic.load (i32.const 8))))"""
    ) as session:
        view = session.memory("memory")
        writer = threading.Thread(target=view.__setitem__, args=(8, 42))
        writer.start()
        writer.join()
        snapshot = session.snapshot()
    assert Guest(snapshot)("a") == 42


def test_many_small_islands_are_merged_to_the_limit() -> None:
    wat = """(module (memory 10) (func (export "init") (local i32)
        (loop $l (i32.store8 (local.get 0) (i32.const 1))
          (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 40))) (i32.const 640000)))))
      (func (export "sum") (result i32) (local i32 i32)
        (loop $l (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 31)) (i32.load8_u (local.get 0))))
          (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 655360))))
        (local.get 1)))"""
    with Session(wat, layout="small") as session:
        session.call("init")
        expected = session.call("sum")
        snapshot = session.snapshot()
    with Session(wat, max_data_segments=3) as session:
        session.call("init")
        few = session.snapshot()
    assert len(active(snapshot)) == 10_000
    assert len(active(few)) == 3
    assert Guest(snapshot)("sum") == Guest(few)("sum") == expected


def test_an_imported_memory_that_wizer_made_is_captured() -> None:
    wat = """(module (import "env" "memory" (memory 1 8))
        (data (i32.const 0) "data")
        (func (export "init") (drop (memory.grow (i32.const 2))) (i32.store (i32.const 131072) (i32.const 6)))
        (func (export "a") (result i32) (i32.load (i32.const 131072)))
        (func (export "d") (result i32) (i32.load (i32.const 0))))"""
    snapshot = survives(wat, "a", "d")
    imported = parse_module(snapshot).imports[0]
    assert (imported.module, imported.name) == ("env", "memory")
    assert imported.type == parse_module(binary("(module (memory 3 8))")).memories[0]


def test_an_imported_memory_that_the_caller_gave_keeps_its_state() -> None:
    wat = """(module (import "env" "memory" (memory 1)) (global $g (mut i32) (i32.const 0))
        (func (export "init") (i32.store (i32.const 16) (i32.const 99)) (global.set $g (i32.const 3)))
        (func (export "g") (result i32) (global.get $g))
        (func (export "m") (result i32) (i32.load (i32.const 16))))"""
    provider = Guest(binary('(module (memory (export "memory") 1))'))
    with Session(wat, imports={"env": '(module (memory (export "memory") 1))'}) as session:
        session.call("init")
        snapshot = session.snapshot()
    assert active(snapshot) == []
    guest = Guest(snapshot, {"env": {"memory": provider.export("memory")}}, provider.store)
    assert (guest("g"), guest("m")) == (3, 0)


def test_active_segments_of_a_kept_memory_do_not_run_again() -> None:
    wat = """(module (import "env" "memory" (memory 1)) (data (i32.const 0) "first")
        (func (export "init") (i32.store8 (i32.const 0) (i32.const 70)))
        (func (export "m") (result i32) (i32.load8_u (i32.const 0))))"""
    with Session(wat, imports={"env": '(module (memory (export "memory") 1))'}) as session:
        session.call("init")
        snapshot = session.snapshot()
    provider = Guest(binary('(module (memory (export "memory") 1) (data (i32.const 0) "F1"))'))
    assert Guest(snapshot, {"env": {"memory": provider.export("memory")}}, provider.store)("m") == ord("F")


def test_an_imported_shared_memory_that_wizer_made_is_captured() -> None:
    wat = """(module (import "env" "memory" (memory 1 3 shared))
             (func (export "init") (drop (memory.grow (i32.const 1))) (i32.atomic.store (i32.const 65540)
               (i32.const 8)))
             (func (export "a") (result i32) (i32.atomic.load (i32.const 65540))))"""
    with pytest.warns(WizerWarning, match="the word at 0x10004 is zero"):
        snapshot = survives(wat, "a")
    assert parse_module(snapshot).memories[0].limits.minimum == 2
    assert active(snapshot) == [], "the start function writes it, for the first of all threads"


def test_an_imported_shared_memory_of_another_module_keeps_its_state() -> None:
    wat = """(module (import "env" "memory" (memory 1 2 shared))
        (func (export "init") (i32.atomic.store (i32.const 4) (i32.const 8))))"""
    given = {"env": '(module (memory (export "memory") 1 2 shared))'}
    assert active(frozen(wat, imports=given)) == []


def test_a_memory_shared_with_another_instance_keeps_its_state() -> None:
    store = wasmtime.Store(engine())
    memory = wasmtime.SharedMemory(engine(), wasmtime.MemoryType(wasmtime.Limits(1, 2), shared=True))
    wat = """(module (import "env" "memory" (memory 1 2 shared)) (global $n (mut i32) (i32.const 0))
        (func (export "init") (global.set $n (i32.const 5)) (i32.atomic.store (i32.const 4) (i32.const 8)))
        (func (export "read") (result i32) (i32.add (global.get $n) (i32.atomic.load (i32.const 4)))))"""
    instrumented = Wizer().instrument(wat)
    live = Guest(instrumented.wasm, {"env": {"memory": memory}}, store)
    other = Guest(binary(wat), {"env": {"memory": memory}}, store)
    live("init")
    snapshot = instrumented.snapshot(store, live.instance)
    assert active(snapshot) == []
    resumed = Guest(snapshot, {"env": {"memory": memory}}, store)
    assert (resumed("read"), other("read")) == (13, 8)


def test_multi_memory_is_needed_only_where_it_was() -> None:
    snapshot = frozen('(module (memory 1) (func (export "init") (i32.store8 (i32.const 1) (i32.const 1))))')
    assert complaint(snapshot, "mvp") == ""
