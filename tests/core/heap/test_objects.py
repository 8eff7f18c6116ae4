"""Objects of the heap survive: what they hold, which of them are one, and their exact types."""

from __future__ import annotations

import pytest

from support.guest import Guest, frozen, survives
from wizer import Session, StateError


def test_every_numeric_field() -> None:
    survives(
        """(module
             (type $s (struct (field (mut i8)) (field (mut i16)) (field (mut i32)) (field (mut i64))
               (field (mut f32)) (field (mut f64)) (field (mut v128))))
             (global $g (mut (ref null $s)) (ref.null $s))
             (func (export "init") (global.set $g (struct.new $s (i32.const -1) (i32.const 0x18001)
               (i32.const 0x80000000) (i64.const -2) (f32.reinterpret_i32 (i32.const 0x7fa00001))
               (f64.reinterpret_i64 (i64.const 0xfff0000000000001)) (v128.const i64x2 -3 4))))
             (func (export "0s") (result i32) (struct.get_s $s 0 (global.get $g)))
             (func (export "0u") (result i32) (struct.get_u $s 0 (global.get $g)))
             (func (export "1s") (result i32) (struct.get_s $s 1 (global.get $g)))
             (func (export "1u") (result i32) (struct.get_u $s 1 (global.get $g)))
             (func (export "2") (result i32) (struct.get $s 2 (global.get $g)))
             (func (export "3") (result i64) (struct.get $s 3 (global.get $g)))
             (func (export "4") (result i32) (i32.reinterpret_f32 (struct.get $s 4 (global.get $g))))
             (func (export "5") (result i64) (i64.reinterpret_f64 (struct.get $s 5 (global.get $g))))
             (func (export "6") (result v128) (struct.get $s 6 (global.get $g))))""",
        *("0s", "0u", "1s", "1u", "2", "3", "4", "5", "6"),
    )


@pytest.mark.parametrize(
    ("storage", "get", "values"),
    [
        ("i8", "array.get_u", ("i32.const 0", "i32.const 255", "i32.const 0x180")),
        ("i16", "array.get_s", ("i32.const 0", "i32.const 0x8000", "i32.const 0x17fff")),
        ("i32", "array.get", ("i32.const 0", "i32.const -1", "i32.const 0x80000000")),
        ("i64", "array.get", ("i64.const 0", "i64.const -1", "i64.const 0x8000000000000000")),
        ("f32", "array.get", ("f32.const -0", "f32.const inf", "f32.const 0x1p-149")),
        ("f64", "array.get", ("f64.const -0", "f64.const -inf", "f64.const 0x1p-1074")),
        ("v128", "array.get", ("v128.const i64x2 0 0", "v128.const i64x2 1 -1", "v128.const i64x2 -1 0")),
    ],
)
@pytest.mark.parametrize("mutable", [True, False])
@pytest.mark.parametrize("repeat", [1, 100])
def test_arrays_of_every_number(
    storage: str, get: str, values: tuple[str, ...], mutable: bool, repeat: int
) -> None:
    result = "i32" if storage in ("i8", "i16") else storage
    field = f"(mut {storage})" if mutable else storage
    items = " ".join(f"({value})" for value in values) * repeat
    survives(
        f"""(module (type $a (array {field})) (global $g (mut (ref null $a)) (ref.null $a))
              (func (export "init")
                (global.set $g (array.new_fixed $a {len(values) * repeat} {items})))
              (func (export "length") (result i32) (array.len (global.get $g)))
              (func (export "get") (param i32) (result {result})
                ({get} $a (global.get $g) (local.get 0))))""",
        *("length", ("get", 0), ("get", 1), ("get", 2), ("get", 3 * repeat - 1), ("get", 3 * repeat)),
    )


@pytest.mark.parametrize("length", [0, 1, 64, 65, 10_000, 10_001])
def test_arrays_of_equal_elements_are_small(length: int) -> None:
    snapshot = survives(
        f"""(module (type $a (array (mut i64))) (global $g (mut (ref null $a)) (ref.null $a))
              (func (export "init") (global.set $g (array.new $a (i64.const -5) (i32.const {length}))))
              (func (export "length") (result i32) (array.len (global.get $g)))
              (func (export "get") (param i32) (result i64) (array.get $a (global.get $g) (local.get 0))))""",
        *("length", ("get", 0), ("get", length - 1)),
    )
    assert len(snapshot) < 250


NUMERIC = """(module (type $a (array {field})) (memory 1) (global $g (mut (ref null $a)) (ref.null $a))
    (data $d "{bytes}")
    (func (export "init") (local $i i32) {init})
    (func (export "length") (result i32) (array.len (global.get $g)))
    (func (export "sum") (result i32) (local $i i32) (local $sum i32)
      (loop $l (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31))
          (array.get_u $a (global.get $g) (local.get $i))))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (array.len (global.get $g))))) (local.get $sum)))"""


def test_a_million_numbers() -> None:
    init = """(global.set $g (array.new_default $a (i32.const 1000000)))
        (loop $l (array.set $a (global.get $g) (local.get $i) (i32.mul (local.get $i) (i32.const 77)))
          (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000))))"""
    snapshot = survives(NUMERIC.format(field="(mut i16)", bytes="", init=init), "length", "sum")
    assert len(snapshot) < 2_010_000


def test_a_large_immutable_array() -> None:
    init = "(global.set $g (array.new_data $a $d (i32.const 0) (i32.const 20000)))"
    text = "".join(chr(97 + (i * i) % 23) for i in range(20_000))
    survives(NUMERIC.format(field="i8", bytes=text, init=init), "length", "sum")


REFS = """(module (type $s (struct (field (mut i32)))) (type $a (array {field}))
    (global $g (mut (ref null $a)) (ref.null $a))
    (func (export "init") (local $i i32) (local $s (ref null $s))
      (local.set $s (struct.new $s (i32.const 4)))
      (global.set $g (array.new $a (local.get $s) (i32.const {length})))
      (loop $l (array.set $a (global.get $g) (local.get $i) (ref.i31 (local.get $i)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 3))) (i32.const {length}))))
      (array.set $a (global.get $g) (i32.const 7) (global.get $g)))
    (func (export "same") (param i32 i32) (result i32)
      (ref.eq (array.get $a (global.get $g) (local.get 0)) (array.get $a (global.get $g) (local.get 1))))
    (func (export "self") (result i32) (ref.eq (array.get $a (global.get $g) (i32.const 7)) (global.get $g)))
    (func (export "i31") (param i32) (result i32)
      (i31.get_u (ref.cast (ref i31) (array.get $a (global.get $g) (local.get 0)))))
    (func (export "set") (struct.set $s 0 (ref.cast (ref $s) (array.get $a (global.get $g) (i32.const 1)))
      (i32.const 99)))
    (func (export "get") (param i32) (result i32)
      (struct.get $s 0 (ref.cast (ref $s) (array.get $a (global.get $g) (local.get 0))))))"""


@pytest.mark.parametrize("length", [100, 12_000])
def test_an_array_of_references_with_itself_and_others_in_it(length: int) -> None:
    survives(
        REFS.format(field="(mut eqref)", length=length),
        *("self", ("same", 1, 2), ("same", 1, 0), ("i31", 0), ("i31", 99), "set", ("get", 2), ("get", 98)),
        once=length > 10_000,
    )


def test_many_equal_references() -> None:
    snapshot = survives(
        """(module (type $s (struct (field (mut i32)))) (type $a (array (mut (ref $s))))
             (global $g (mut (ref null $a)) (ref.null $a))
             (func (export "init")
               (global.set $g (array.new $a (struct.new $s (i32.const 4)) (i32.const 30000))))
             (func (export "same") (param i32 i32) (result i32)
               (ref.eq (array.get $a (global.get $g) (local.get 0))
                 (array.get $a (global.get $g) (local.get 1)))))""",
        *(("same", 0, 29_999), ("same", 0, 30_000)),
    )
    assert len(snapshot) < 500


def test_a_list_of_100_000_nodes() -> None:
    wat = """(module (type $n (struct (field i32) (field (ref null $n))))
        (global $g (mut (ref null $n)) (ref.null $n))
        (func (export "init") (local $i i32)
          (loop $l (global.set $g (struct.new $n (local.get $i) (global.get $g)))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000)))))
        (func (export "sum") (result i32) (local $sum i32) (local $n (ref null $n))
          (local.set $n (global.get $g))
          (loop $l (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31))
              (struct.get $n 0 (local.get $n))))
            (br_if $l (i32.eqz (ref.is_null (local.tee $n (struct.get $n 1 (local.get $n)))))))
          (local.get $sum)))"""
    survives(wat, "sum", once=True)


@pytest.mark.parametrize("length", [1, 2, 3, 50, 500])
def test_cycles_of_several_lengths(length: int) -> None:
    survives(
        f"""(module (type $n (struct (field (mut i32)) (field (mut (ref null $n)))))
              (global $g (mut (ref null $n)) (ref.null $n))
              (func (export "init") (local $i i32) (local $last (ref null $n))
                (local.set $last (struct.new $n (i32.const 0) (ref.null $n)))
                (global.set $g (local.get $last))
                (loop $l (if (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                  (i32.const {length}))
                  (then (global.set $g (struct.new $n (local.get $i) (global.get $g))) (br $l))))
                (struct.set $n 1 (local.get $last) (global.get $g)))
              (func (export "around") (param i32) (result i32) (local $n (ref null $n))
                (local.set $n (global.get $g))
                (loop $l (local.set $n (struct.get $n 1 (local.get $n)))
                  (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (i32.add (i32.shl (ref.eq (local.get $n) (global.get $g)) (i32.const 20))
                  (struct.get $n 0 (local.get $n)))))""",
        *(("around", length), ("around", 1), ("around", 2 * length), ("around", length + 1)),
    )


def test_non_nullable_mutable_fields_in_a_cycle() -> None:
    survives(
        """(module (rec (type $a (struct (field (mut (ref $b))))) (type $b (struct (field (mut
          (ref null $a))))))
             (global $g (mut (ref null $a)) (ref.null $a))
             (func (export "init") (local $b (ref $b)) (local $a (ref $a)) (local $c (ref $b))
               (local.set $b (struct.new $b (ref.null $a))) (local.set $a (struct.new $a (local.get $b)))
               (local.set $c (struct.new $b (local.get $a)))
               (struct.set $a 0 (local.get $a) (local.get $c)) (global.set $g (local.get $a)))
             (func (export "loop") (result i32)
               (ref.eq (global.get $g) (struct.get $b 0 (struct.get $a 0 (global.get $g))))))""",
        "loop",
    )


def test_a_cycle_through_an_immutable_field_inside_a_mutable_one() -> None:
    survives(
        """(module (type $s (struct (field (mut (ref null $s))) (field (ref null $s))))
             (global $g (mut (ref null $s)) (ref.null $s))
             (func (export "init") (local $a (ref null $s)) (local $x (ref null $s)) (local $y (ref null $s))
               (local.set $a (struct.new $s (ref.null $s) (ref.null $s)))
               (local.set $y (struct.new $s (ref.null $s) (local.get $a)))
               (local.set $x (struct.new $s (ref.null $s) (local.get $y)))
               (struct.set $s 0 (local.get $a) (local.get $x)) (global.set $g (local.get $a)))
             (func (export "loop") (result i32) (ref.eq (global.get $g)
               (struct.get $s 1 (struct.get $s 1 (struct.get $s 0 (global.get $g)))))))""",
        "loop",
    )


def test_a_nullable_place_leads_to_a_slot_that_is_not() -> None:
    survives(
        """(module (type $x (struct (field (mut i32)))) (type $p (struct (field (ref null $x))))
             (type $q (struct (field (mut (ref any)))))
             (global $g (ref $p) (struct.new $p (struct.new $x (i32.const 1))))
             (global $h (mut (ref null $q)) (ref.null $q))
             (func (export "init") (global.set $h
               (struct.new $q (ref.as_non_null (struct.get $p 0 (global.get $g))))))
             (func (export "same") (result i32) (ref.eq
               (ref.cast eqref (struct.get $q 0 (global.get $h))) (struct.get $p 0 (global.get $g)))))""",
        "same",
    )


def test_an_object_of_a_segment_in_an_immutable_field() -> None:
    survives(
        """(module (type $s (struct (field (mut i32)))) (type $p (struct (field (ref null $s))))
             (elem $e (ref null $s) (item (struct.new $s (i32.const 1)))) (table $t 1 (ref null $s))
             (global $h (mut (ref null $p)) (ref.null $p))
             (func (export "init") (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
               (global.set $h (struct.new $p (table.get $t (i32.const 0))))
               (table.set $t (i32.const 0) (ref.null $s)))
             (func (export "same") (result i32)
               (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
               (ref.eq (table.get $t (i32.const 0)) (struct.get $p 0 (global.get $h)))))""",
        "same",
    )


SUBTYPES = """(module
    (rec (type $a (sub (struct (field i32)))) (type $b (sub $a (struct (field i32) (field i64))))
      (type $c (sub final $b (struct (field i32) (field i64) (field anyref))))
      (type $twin (sub $a (struct (field i32) (field i64)))))
    (type $v (sub (array (ref null $a)))) (type $w (sub final $v (array (ref null $a))))
    (global $g (mut anyref) (ref.null any)) (global $t (mut (ref null $a)) (ref.null $a))
    (func (export "init") (param i32)
      (if (i32.eq (local.get 0) (i32.const 0)) (then (global.set $t (struct.new $a (i32.const 1)))))
      (if (i32.eq (local.get 0) (i32.const 1)) (then (global.set $t (struct.new_default $b))))
      (if (i32.eq (local.get 0) (i32.const 2)) (then (global.set $t (struct.new_default $c))))
      (if (i32.eq (local.get 0) (i32.const 3)) (then (global.set $t (struct.new_default $twin))))
      (global.set $g (global.get $t))
      (if (i32.eq (local.get 0) (i32.const 4)) (then (global.set $g (array.new_default $v (i32.const 3)))))
      (if (i32.eq (local.get 0) (i32.const 5)) (then (global.set $g (array.new_default $w (i32.const 3))))))
    (func (export "types") (result i32 i32 i32 i32 i32 i32)
      (ref.test (ref $a) (global.get $g)) (ref.test (ref $b) (global.get $g))
      (ref.test (ref $c) (global.get $g)) (ref.test (ref $twin) (global.get $g))
      (ref.test (ref $v) (global.get $g)) (ref.test (ref $w) (global.get $g))))"""


@pytest.mark.parametrize("kind", range(6))
def test_subtypes_keep_their_exact_type(kind: int) -> None:
    survives(SUBTYPES, "types", init=("init", kind))


def test_i31_and_conversions_to_extern_and_back() -> None:
    survives(
        """(module (type $s (struct (field (mut i32))))
             (global $e (mut externref) (ref.null extern)) (global $a (mut anyref) (ref.null any))
             (global $i (mut i31ref) (ref.null i31)) (global $ei (mut externref) (ref.null extern))
             (type $box (struct (field (mut externref)) (field (mut anyref))))
             (global $box (mut (ref null $box)) (ref.null $box))
             (func (export "init") (local $s (ref $s)) (local.set $s (struct.new $s (i32.const 7)))
               (global.set $e (extern.convert_any (local.get $s))) (global.set $a (local.get $s))
               (global.set $i (ref.i31 (i32.const -3)))
               (global.set $ei (extern.convert_any (ref.i31 (i32.const 0x40000000))))
               (global.set $box (struct.new $box (global.get $e) (any.convert_extern (global.get $ei)))))
             (func (export "same") (result i32) (ref.eq (ref.cast eqref (global.get $a))
               (ref.cast eqref (any.convert_extern (global.get $e)))))
             (func (export "boxed") (result i32) (ref.eq (ref.cast eqref (global.get $a))
               (ref.cast eqref (any.convert_extern (struct.get $box 0 (global.get $box))))))
             (func (export "i") (result i32) (i31.get_s (global.get $i)))
             (func (export "ei") (result i32)
               (i31.get_u (ref.cast (ref i31) (any.convert_extern (global.get $ei)))))
             (func (export "bi") (result i32)
               (i31.get_u (ref.cast (ref i31) (struct.get $box 1 (global.get $box))))))""",
        *("same", "boxed", "i", "ei", "bi"),
    )


def test_an_object_in_a_host_value_is_an_error_that_names_the_way_to_it() -> None:
    wat = """(module (type $s (struct (field (mut externref)))) (global $list (export "l") (mut
      (ref null $s)) (ref.null $s))
        (func (export "init") (param externref) (global.set $list (struct.new $s (local.get 0)))))"""
    with Session(wat) as session:
        session.call("init", object())
        with pytest.raises(StateError) as error:
            session.snapshot()
    assert str(error.value) == (
        'global 0 ("list") leads to an object of type 0, which holds a host externref; '
        "no module can express that"
    )


def test_a_host_object_as_anyref_is_an_error() -> None:
    wat = """(module (global $g (mut anyref) (ref.null any))
        (func (export "init") (param externref) (global.set $g (any.convert_extern (local.get 0)))))"""
    with Session(wat) as session:
        session.call("init", object())
        with pytest.raises(StateError, match=r'^global 0 \("g"\) holds an object of the host'):
            session.snapshot()


def test_garbage_is_not_carried() -> None:
    snapshot = frozen(
        """(module (type $a (array i8)) (global $g (mut (ref null $a)) (ref.null $a))
             (data $d "0123456789abcdef")
             (func (export "init") (global.set $g (array.new_data $a $d (i32.const 0) (i32.const 16)))
               (global.set $g (ref.null $a)) (data.drop $d)))"""
    )
    assert b"0123456789abcdef" not in snapshot
    assert Guest(snapshot).exports == ["init"]
