"""Layouts: what becomes of a module's memory under each, and what is said where one cannot do its work."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from statistics import median

import pytest
import wasmtime

from support.guest import Guest, frozen
from wizer import OptionError, Session, WizerWarning
from wizer.binary.module import parse_module
from wizer.options import Layout

LAYOUTS: tuple[Layout, ...] = ("balanced", "small", "instant")

# A byte in every 64 KiB of 24 MiB: an image that is not dense.
SPARSE = """
(module
  (memory (export "memory") %s)
  (func (export "init") (local $p i32)
    (loop $next
      (i32.store8 offset=77 (local.get $p) (i32.const 5))
      (br_if $next (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 65536)))
                             (i32.const 25165824)))))
  (func (export "sum") (result i32) (local $p i32) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load8_u (local.get $p))))
      (br_if $next (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 7))) (i32.const 25165824))))
    (local.get $sum)))
"""

# Bytes by twos and by the hundred: 3,000 gaps that only `small` leaves out, 3,000 that none fills.
ISLANDS = """
(module
  (memory (export "memory") 64)
  (data (i32.const 3145728) "%s")
  (func (export "init") (local $p i32)
    (loop $next
      (i32.store8 (local.get $p) (i32.const 1))
      (i32.store8 offset=30 (local.get $p) (i32.const 2))
      (br_if $next (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 800)))
                             (i32.const 2400000)))))
  (func (export "sum") (result i32) (local $p i32) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load8_u (local.get $p))))
      (br_if $next (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 1))) (i32.const 2400000))))
    (local.get $sum)))
"""


def segments(wasm: bytes) -> int:
    return len(parse_module(wasm).data)


def test_the_three_layouts_of_one_state() -> None:
    wat = ISLANDS % ("x" * 800_000)
    snapshots = {layout: frozen(wat, layout=layout) for layout in LAYOUTS}
    assert snapshots["balanced"] == frozen(wat) == snapshots["instant"]  # less than 16 MiB is always mapped
    assert segments(snapshots["small"]) == 6001
    assert segments(snapshots["balanced"]) < 5300
    assert len(snapshots["small"]) < len(snapshots["balanced"]) <= 1.02 * len(snapshots["small"])
    sums = {Guest(snapshot)("sum") for snapshot in snapshots.values()}
    assert len(sums) == 1


def test_a_layout_that_is_none() -> None:
    with pytest.raises(OptionError, match="`layout` takes one of 'balanced', 'small', 'instant', not 'tiny'"):
        Session("(module)", layout="tiny")  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_second_snapshot_is_the_same_bytes(layout: Layout) -> None:
    once = frozen(ISLANDS % ("x" * 800_000), layout=layout)
    with Session(once, layout=layout) as session:
        assert session.snapshot() == once


def test_a_module_with_many_segments_may_keep_as_many() -> None:
    data = "".join(f'(data (i32.const {offset}) "x")' for offset in range(0, 12_000 * 400, 400))
    wat = f'(module (memory (export "memory") 80) {data} (func (export "init")))'
    assert segments(frozen(wat)) == 12_000
    assert len(frozen(wat)) <= 1.02 * len(wasmtime.wat2wasm(wat))
    assert len(frozen(wat, layout="small")) <= len(wasmtime.wat2wasm(wat))
    assert segments(frozen(wat, max_data_segments=10_000)) == 10_000


def instantiation(wasm: bytes) -> Callable[[], float]:
    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, wasm)

    def measure() -> float:
        store = wasmtime.Store(engine)
        begin = time.perf_counter()
        wasmtime.Instance(store, module, [])
        return time.perf_counter() - begin

    measure()
    return measure


def test_instant_is_dense_and_the_engine_maps_it() -> None:
    snapshots = []
    for layout in ("balanced", "instant"):
        with Session(SPARSE % 384, layout=layout) as session:
            memory = session.memory()
            for start in range(0, 24 << 20, 1 << 16):  # a fourth of it
                memory[start : start + (1 << 14)] = b"x" * (1 << 14)
            snapshots.append(session.snapshot())
    sparse, dense = snapshots
    assert len(sparse) < 1.01 * (6 << 20)
    assert 0.49 * (24 << 20) < len(dense) < 0.51 * (24 << 20)
    assert Guest(sparse)("sum") == Guest(dense)("sum")
    copied, mapped = instantiation(sparse), instantiation(dense)
    times = [(copied(), mapped()) for _ in range(25)]
    assert median(fast for _, fast in times) < median(slow for slow, _ in times) / 4


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        ("25165824 (pagesize 1)", "memory 0 has pages of 1 byte"),
        ("384", "memory 0 is too sparse: it takes 12550145 bytes of data to be mapped, more than the 49"),
    ],
)
def test_what_stands_in_the_way_of_instant_is_said(memory: str, said: str) -> None:
    wat = SPARSE % memory
    with Session(wat, layout="instant", max_output=50_000) as session:
        session.call("init")
        with pytest.warns(WizerWarning, match=f"layout `instant`: {said}"):
            snapshot = session.snapshot()
    assert snapshot == frozen(wat, layout="balanced")


def test_an_imported_memory_stands_in_the_way_of_instant() -> None:
    wat = (SPARSE % 384).replace('(memory (export "memory") 384)', '(memory (import "env" "m") 384)')
    with Session(wat, layout="instant") as session:
        session.call("init")
        with pytest.warns(WizerWarning, match="layout `instant`: memory 0 is imported"):
            snapshot = session.snapshot()
    assert snapshot == frozen(wat, layout="balanced")


def test_a_memory_with_small_pages_and_nothing_in_it_stands_in_nobodys_way() -> None:
    wat = (SPARSE % 384).replace('(func (export "init")', '(memory 5 (pagesize 1)) (func (export "init")')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(frozen(wat, layout="instant")) > 0.49 * (24 << 20)


@pytest.mark.parametrize("layout", ["balanced", "small"])
def test_four_gibibytes_with_a_byte_in_every_mebibyte_stay_small(layout: Layout) -> None:
    wat = """
        (module
          (memory (export "memory") 65536)
          (func (export "init") (local $i i32)
            (loop $next
              (i32.store8 (i32.shl (local.get $i) (i32.const 20)) (i32.const 9))
              (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                                     (i32.const 4096))))))"""
    assert len(frozen(wat, layout=layout)) < 45_000


def test_four_gibibytes_are_too_much_for_instant() -> None:
    wat = """
        (module
          (memory (export "memory") 65536)
          (func (export "init")
            (i32.store8 (i32.const 3) (i32.const 1))
            (i32.store8 (i32.const -3) (i32.const 1))))"""
    with Session(wat, layout="instant") as session:
        session.call("init")
        with pytest.warns(WizerWarning, match="memory 0 is too sparse: it takes 2147483646 bytes of data"):
            assert len(session.snapshot()) < 200
