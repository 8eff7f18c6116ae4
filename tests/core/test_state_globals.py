"""Globals of every number type survive, bit for bit."""

from __future__ import annotations

import pytest

from support.engine import binary
from support.guest import Guest, frozen, survives

NUMBERS = """(module
    (global $i (mut i32) (i32.const 0)) (global $l (mut i64) (i64.const 0))
    (global $f (mut f32) (f32.const 0)) (global $d (mut f64) (f64.const 0))
    (func (export "init") (param i32 i64)
      (global.set $i (local.get 0)) (global.set $l (local.get 1))
      (global.set $f (f32.reinterpret_i32 (local.get 0)))
      (global.set $d (f64.reinterpret_i64 (local.get 1))))
    (func (export "i") (result i32) (global.get $i))
    (func (export "l") (result i64) (global.get $l))
    (func (export "f") (result i32) (i32.reinterpret_f32 (global.get $f)))
    (func (export "d") (result i64) (i64.reinterpret_f64 (global.get $d))))"""


@pytest.mark.parametrize(
    ("word", "double"),
    [
        (0, 0),
        (1, 1),
        (-1, -1),
        (63, 63),
        (64, 64),
        (-64, -64),
        (-65, -65),
        (0x7FFF_FFFF, 0x7FFF_FFFF_FFFF_FFFF),
        (-0x8000_0000, -0x8000_0000_0000_0000),
        (0x7F80_0001, 0x7FF0_0000_0000_0001),  # signalling NaN with the least payload
        (0x7FC0_0000, 0x7FF8_0000_0000_0000),  # canonical NaN
        (-0x0000_0002, -0x0000_0000_0000_0002),  # quiet NaN, negative, almost full payload
        (0x7FA0_1234, 0x7FF4_0000_1234_5678),
        (0x0000_0003, 0x0000_0000_0000_0003),  # subnormal
    ],
)
def test_numbers_keep_their_bits(word: int, double: int) -> None:
    guest = Guest(frozen(NUMBERS, ("init", word, double)))
    assert [guest(name) for name in "ilfd"] == [word, double, word, double]


def test_v128_keeps_its_bits() -> None:
    guest = Guest(
        frozen(
            """(module (global $v (mut v128) (v128.const i64x2 0 0))
                 (func (export "init") (param v128) (global.set $v (local.get 0)))
                 (func (export "v") (result v128) (global.get $v)))""",
            ("init", bytes(range(240, 256))),
        )
    )
    assert guest("v") == bytes(range(240, 256))


def test_immutable_globals_keep_their_initialisers() -> None:
    survives(
        """(module (global $a i32 (i32.const 7)) (global $b i32 (i32.add (global.get $a) (i32.const 1)))
             (func (export "init")) (func (export "b") (result i32) (global.get $b)))""",
        "b",
    )


def test_an_initialiser_that_reads_another_global_is_replaced_by_the_value() -> None:
    survives(
        """(module (global $a (mut i32) (i32.const 7)) (global $b (mut i64) (i64.const 1))
             (func (export "init") (global.set $a (i32.const 99)))
             (func (export "a") (result i32) (global.get $a))
             (func (export "b") (result i64) (global.get $b)))""",
        "a",
        "b",
    )


def test_more_globals_than_one_accessor_returns() -> None:
    count = 1203
    globals_ = "".join(f"(global $g{i} (mut i32) (i32.const 0))" for i in range(count))
    sets = "".join(f"(global.set $g{i} (i32.const {i * 7 + 1}))" for i in range(count))
    reads = "".join(
        f'(func (export "{i}") (result i32) (global.get $g{i}))' for i in (0, 499, 500, 999, 1000, 1202)
    )
    guest = Guest(frozen(f'(module {globals_} (func (export "init") {sets}) {reads})'))
    assert {name: guest(name) for name in guest.exports if name != "init"} == {
        str(i): i * 7 + 1 for i in (0, 499, 500, 999, 1000, 1202)
    }


def test_exported_globals_stay_exported_and_mutable() -> None:
    guest = Guest(
        frozen(
            """(module (global $g (export "g") (mut i32) (i32.const 1))
                 (func (export "init") (global.set $g (i32.const 2)))
                 (func (export "bump") (result i32)
                   (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g)))"""
        )
    )
    assert guest("bump") == 3
    assert guest.export("g").value(guest.store) == 3


def test_an_imported_immutable_global_stays_imported() -> None:
    imports = """(module (global (import "env" "base") i32) (global $g (mut i32) (i32.const 0))
        (func (export "init") (global.set $g (i32.add (global.get 0) (i32.const 1))))
        (func (export "sum") (result i32) (i32.add (global.get 0) (global.get $g))))"""
    base = {"env": '(module (global (export "base") i32 (i32.const 40)))'}
    snapshot = frozen(imports, imports=base)
    provider = Guest(binary(base["env"]))
    guest = Guest(snapshot, {"env": {"base": provider.export("base")}}, provider.store)
    assert guest("sum") == 81
