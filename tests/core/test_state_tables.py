"""Tables of every kind survive: their size and each of their elements."""

from __future__ import annotations

import pytest

from support.engine import binary
from support.guest import Guest, frozen, outcome, survives
from wizer import Session, StateError
from wizer.binary.module import parse_module
from wizer.core.instrument import instrument

FUNCREFS = """(module (type $f (func (result i32)))
    (import "env" "imported" (func $imported (result i32)))
    (table $t (export "t") %s 8 20 funcref)
    (elem (table $t) (%s.const 1) func $one $two)
    (elem declare func $hidden $imported)
    (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
    (func $hidden (result i32) (i32.const 3))
    (func (export "init")
      (table.set $t (%s.const 2) (ref.null func)) (table.set $t (%s.const 7) (ref.func $hidden))
      (table.set $t (%s.const 0) (ref.func $imported))
      (drop (table.grow $t (ref.func $two) (%s.const 3)))
      (table.copy $t $t (%s.const 4) (%s.const 0) (%s.const 2))
      (table.fill $t (%s.const 9) (ref.func $one) (%s.const 1)))
    (func (export "size") (result %s) (table.size $t))
    (func (export "call") (param %s) (result i32) (call_indirect $t (type $f) (local.get 0)))
    (func (export "grow") (param %s) (result %s) (table.grow $t (ref.null func) (local.get 0))))"""


@pytest.mark.parametrize("index", ["i32", "i64"])
def test_funcref_tables_set_grown_copied_and_filled(index: str) -> None:
    survives(
        FUNCREFS.replace("%s 8", "8" if index == "i32" else "i64 8").replace("%s", index),
        "size",
        *(("call", i) for i in range(12)),
        *(("grow", 9), ("grow", 1)),
        imports={"env": {"imported": lambda: 77}},
    )


REFERENCES = """(module
    (type $f (func (result i32))) (type $s (struct (field i32))) (type $a (array i8)) (tag $tag (param i32))
    (table $t {index} {size} {type} {initialiser})
    (func $k (type $f) (i32.const 5)) (func $l (type $f) (i32.const 6)) (elem declare func $k $l)
    (func (export "init")
      (table.set $t ({index}.const 1) {first})
      (drop (table.grow $t {second} ({index}.const 2))))
    (func (export "size") (result {index}) (table.size $t))
    (func (export "read") (param $i {index}) (result i32)
      (if (ref.is_null (table.get $t (local.get $i))) (then (return (i32.const -1))))
      {read}))"""

STRUCTS = ("(struct.new $s (i32.const 7))", "(struct.new $s (i32.const 8))")
READ = "(struct.get $s 0 (ref.cast (ref $s) {}))"
ELEMENT = "(table.get $t (local.get $i))"


@pytest.mark.parametrize("index", ["i32", "i64"])
@pytest.mark.parametrize(
    ("type_", "initialiser", "first", "second", "read"),
    [
        ("(ref null $f)", "", "(ref.func $k)", "(ref.func $l)", f"(call_ref $f {ELEMENT})"),
        ("(ref $f)", "(ref.func $l)", "(ref.func $k)", "(ref.func $k)", f"(call_ref $f {ELEMENT})"),
        ("funcref", "(ref.func $l)", "(ref.func $k)", "(ref.null func)", "(i32.const 1)"),
        ("funcref", "(ref.func $l)", "(ref.null func)", "(ref.func $k)", "(i32.const 1)"),
        ("nullfuncref", "", "(ref.null nofunc)", "(ref.null nofunc)", "(i32.const 1)"),
        ("(ref null $s)", "", *STRUCTS, f"(struct.get $s 0 {ELEMENT})"),
        ("(ref $s)", "(struct.new $s (i32.const 3))", *STRUCTS, f"(struct.get $s 0 {ELEMENT})"),
        ("(ref null $s)", "(struct.new $s (i32.const 3))", *STRUCTS, f"(struct.get $s 0 {ELEMENT})"),
        ("structref", "", *STRUCTS, READ.format(ELEMENT)),
        ("(ref struct)", "(struct.new $s (i32.const 3))", *STRUCTS, READ.format(ELEMENT)),
        ("eqref", "", *STRUCTS, READ.format(ELEMENT)),
        ("anyref", "", *STRUCTS, READ.format(ELEMENT)),
        ("anyref", "(ref.i31 (i32.const 4))", "(ref.null any)", "(ref.i31 (i32.const 9))", "(i32.const 2)"),
        ("(ref any)", "(struct.new $s (i32.const 4))", *STRUCTS, READ.format(ELEMENT)),
        (
            "i31ref",
            "",
            "(ref.i31 (i32.const -1))",
            "(ref.i31 (i32.const 0x3fffffff))",
            f"(i31.get_s {ELEMENT})",
        ),
        ("(ref i31)", "(ref.i31 (i32.const 1))", *["(ref.i31 (i32.const 2))"] * 2, f"(i31.get_u {ELEMENT})"),
        ("arrayref", "", *["(array.new_default $a (i32.const 3))"] * 2, f"(array.len {ELEMENT})"),
        (
            "(ref $a)",
            "(array.new_default $a (i32.const 2))",
            *["(array.new $a (i32.const 1) (i32.const 5))"] * 2,
            f"(array.get_u $a {ELEMENT} (i32.const 1))",
        ),
        ("nullref", "", "(ref.null none)", "(ref.null none)", "(i32.const 1)"),
        ("externref", "", "(ref.null extern)", "(ref.null extern)", "(i32.const 1)"),
        (
            "externref",
            "",
            *(f"(extern.convert_any {struct})" for struct in STRUCTS),
            READ.format(f"(any.convert_extern {ELEMENT})"),
        ),
        (
            "(ref extern)",
            "(extern.convert_any (ref.i31 (i32.const 1)))",
            *["(extern.convert_any (struct.new $s (i32.const 5)))"] * 2,
            "(i32.const 5)",
        ),
        ("nullexternref", "", "(ref.null noextern)", "(ref.null noextern)", "(i32.const 1)"),
        ("nullexnref", "", "(ref.null noexn)", "(ref.null noexn)", "(i32.const 1)"),
        (
            "exnref",
            "",
            *(
                f"(block $h (result exnref) (try_table (catch_all_ref $h) (throw $tag (i32.const {n})))"
                " unreachable)"
                for n in (4, 5)
            ),
            f"(block $h (result i32) (try_table (catch $tag $h) (throw_ref {ELEMENT})) unreachable)",
        ),
    ],
)
def test_every_reference_type(
    index: str, type_: str, initialiser: str, first: str, second: str, read: str
) -> None:
    wat = REFERENCES.format(
        index=index, size=3, type=type_, initialiser=initialiser, first=first, second=second, read=read
    ).replace("(table $t i32", "(table $t")
    survives(wat, "size", *(("read", i) for i in range(6)))


def test_an_unchanged_table_keeps_its_segments_as_they_are() -> None:
    wat = """(module (table 10 funcref) (elem (i32.const 2) func $f $f) (func $f)
        (elem (table 0) (i32.const 5) (ref null func) (ref.func $f) (ref.null func)) (func
          (export "init")))"""
    before, after = parse_module(binary(wat)), parse_module(frozen(wat))
    assert [element.code for element in before.elements] == [element.code for element in after.elements]


def test_a_table_that_was_changed_back_is_unchanged() -> None:
    wat = """(module (table 10 funcref) (elem (i32.const 2) func $f) (func $f) (func (export "init")
        (table.set (i32.const 2) (ref.null func)) (table.set (i32.const 2) (ref.func $f))))"""
    assert parse_module(frozen(wat)).elements == parse_module(binary(wat)).elements


def test_elements_that_initialisation_cleared_stay_null() -> None:
    survives(
        """(module (table 4 funcref) (elem (i32.const 0) func $f $f $f $f) (func $f)
             (func (export "init") (table.fill (i32.const 1) (ref.null func) (i32.const 2)))
             (func (export "null") (param i32) (result i32) (ref.is_null (table.get (local.get 0)))))""",
        *(("null", i) for i in range(4)),
    )


def test_a_huge_table_with_few_elements_is_small() -> None:
    snapshot = survives(
        """(module (table 10_000_000 funcref) (func $f (export "f"))
             (func (export "init") (table.set (i32.const 9_999_999) (ref.func $f))
               (table.set (i32.const 5_000_000) (ref.func $f)))
             (func (export "null") (param i32) (result i32) (ref.is_null (table.get (local.get 0)))))""",
        *(("null", i) for i in (0, 4_999_999, 5_000_000, 9_999_999)),
    )
    assert len(snapshot) < 250


def test_a_table_grown_by_many_references_to_one_object() -> None:
    survives(
        """(module (type $s (struct (field (mut i32)))) (table $t 0 (ref null $s))
             (func (export "init")
               (drop (table.grow $t (struct.new $s (i32.const 9)) (i32.const 2000))))
             (func (export "get") (param i32) (result i32) (struct.get $s 0 (table.get (local.get 0))))
             (func (export "set") (struct.set $s 0 (table.get (i32.const 0)) (i32.const 1))))""",
        *(("get", 1999), "set", ("get", 0), ("get", 1000)),
    )


def test_a_table_initialiser_stays_for_the_elements_nobody_touched() -> None:
    snapshot = survives(
        """(module (type $f (func (result i32))) (table $t 100000 (ref $f) (ref.func $one))
             (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
             (elem declare func $two)
             (func (export "init") (table.set (i32.const 500) (ref.func $two)))
             (func (export "call") (param i32) (result i32) (call_ref $f (table.get (local.get 0)))))""",
        *(("call", i) for i in (0, 499, 500, 501, 99999)),
    )
    assert len(snapshot) < 250


def test_several_tables() -> None:
    survives(
        """(module (type $f (func (result i32))) (table $a 2 funcref) (table $b i64 2 funcref)
          (table $c 1 1 funcref)
             (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
             (elem (table $b) (i64.const 0) func $one $two) (elem (table $c) (i32.const 0) func $two)
             (func (export "init") (table.copy $a $b (i32.const 0) (i64.const 0) (i32.const 2))
               (table.set $b (i64.const 0) (ref.null func)))
             (func (export "a") (param i32) (result i32) (call_indirect $a (type $f) (local.get 0)))
             (func (export "b") (param i64) (result i32) (call_indirect $b (type $f) (local.get 0)))
             (func (export "c") (param i32) (result i32) (call_indirect $c (type $f) (local.get 0))))""",
        *(("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0)),
    )


def test_an_imported_table_that_wizer_made_is_captured() -> None:
    wat = """(module (import "env" "t" (table $t 2 funcref)) (type $f (func (result i32)))
        (elem (i32.const 0) func $one)
        (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2)) (elem declare func $two)
        (func (export "init") (drop (table.grow $t (ref.func $two) (i32.const 3)))
          (table.set (i32.const 0) (ref.null func)))
        (func (export "size") (result i32) (table.size $t))
        (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))"""
    snapshot = survives(wat, "size", *(("call", i) for i in range(5)))
    provider = Guest(binary('(module (table (export "t") 9 funcref))'))
    guest = Guest(snapshot, {"env": {"t": provider.export("t")}}, provider.store)
    assert [outcome(guest, ("call", i)) for i in (2, 4)] == [2, 2]


def test_an_imported_table_that_the_caller_gave_keeps_its_state() -> None:
    wat = """(module (import "env" "t" (table $t 2 funcref)) (type $f (func (result i32)))
        (elem (i32.const 0) func $one)
        (func $one (result i32) (i32.const 1))
        (func (export "init") (table.set (i32.const 1) (ref.func $one)))
        (func (export "null") (param i32) (result i32) (ref.is_null (table.get (local.get 0)))))"""
    with Session(wat, imports={"env": '(module (table (export "t") 2 funcref))'}) as session:
        session.call("init")
        snapshot = session.snapshot()
    provider = Guest(binary('(module (table (export "t") 2 funcref))'))
    guest = Guest(snapshot, {"env": {"t": provider.export("t")}}, provider.store)
    assert [guest("null", i) for i in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("", "table 0 element 3 holds"), (' (export "t")', 'table 0 ("t") element 3 holds')],
)
def test_a_host_object_is_an_error_that_names_the_element(name: str, expected: str) -> None:
    wat = f"""(module (table{name} 5 externref)
        (func (export "init") (param externref) (table.set (i32.const 3) (local.get 0))))"""
    with Session(wat) as session:
        session.call("init", object())
        with pytest.raises(StateError) as error:
            session.snapshot()
    assert str(error.value) == f"{expected} a host externref, which no module can express"


def test_the_name_section_names_the_table() -> None:
    wat = """(module (table $first 1 funcref) (table $handlers 5 externref)
        (func (export "init") (param externref) (table.set $handlers (i32.const 3) (local.get 0))))"""
    with Session(wat) as session:
        session.call("init", object())
        with pytest.raises(StateError, match=r'^table 1 \("handlers"\) element 3 holds a host externref'):
            session.snapshot()


def test_a_function_of_the_host_that_is_not_imported_is_an_error() -> None:
    wat = """(module (import "env" "get" (func $get (result funcref))) (table 2 funcref)
        (func (export "init") (table.set (i32.const 1) (call $get))))"""
    with Session(
        wat,
        imports={
            "env": '(module (func $f (export "f")) (func (export "get") (result funcref) (ref.func $f)))'
        },
    ) as session:
        session.call("init")
        with pytest.raises(StateError, match=r"^table 0 element 1 holds a function of another instance"):
            session.snapshot()


@pytest.mark.parametrize(
    ("fields", "changing"),
    [
        ("(table 4 funcref) (elem (i32.const 1) func $f)", ()),
        ("(table 4 (ref null $s))", ()),
        ("(table 4 (ref func) (ref.func $f)) (elem (i32.const 1) funcref (ref.func $g))", ()),
        ('(table (export "t") 4 funcref)', (0,)),
        ('(import "h" "t" (table 4 funcref)) (table 4 funcref)', (0,)),
        ("(table 4 funcref) (table 4 funcref) (func (table.set 1 (i32.const 1) (ref.null func)))", (1,)),
        ("(table 4 funcref) (func (table.fill (i32.const 1) (ref.null func) (i32.const 1)))", (0,)),
        ("(table 4 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))", (0,)),
        ("(table 4 funcref) (func (table.copy (i32.const 0) (i32.const 1) (i32.const 2)))", (0,)),
        (
            "(table 4 funcref) (elem $e func $f) "
            "(func (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)))",
            (0,),
        ),
        ("(table 4 (ref $s) (struct.new $s (i32.const 1)))", (0,)),
        ("(table 4 (ref null $s)) (elem (i32.const 1) (ref $s) (struct.new $s (i32.const 1)))", (0,)),
        (
            '(import "h" "g" (global $at i32)) (table 4 funcref) (elem (offset global.get $at) func $f)',
            (0,),
        ),
    ],
)
def test_only_tables_that_may_change_are_read(fields: str, changing: tuple[int, ...]) -> None:
    imports = fields.count("(import")
    before, after = (
        (fields[: fields.rindex("(table")], fields[fields.rindex("(table") :]) if imports else ("", fields)
    )
    types = "(type $s (struct (field i32)))"
    wat = f"(module {types} {before} (func $f) (func $g) (elem declare func $f $g) {after})"
    assert instrument(parse_module(binary(wat)))[1].tables == changing


def test_a_table_that_nothing_writes_to_stays() -> None:
    survives(
        """(module (type $f (func (result i32))) (table $t 70 funcref) (elem (i32.const 1) func $f)
             (func $f (result i32) (i32.const 7)) (func (export "init"))
             (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))""",
        *(("call", i) for i in (0, 1, 69)),
    )
