"""The element section for states made by hand: each segment, without an engine."""

from __future__ import annotations

import pytest

from support.states import contents, initial, inits, module_of, rewritten, struct, with_objects
from wizer.binary import sections as sec
from wizer.binary.externs import Export
from wizer.binary.module import Module, parse_module
from wizer.binary.values import Number
from wizer.core.state import I31, NULL, FuncRef, ObjectRef, Ref, State, TableState

FUNCS = "(func $a) (func $b) (func $c)"
EXPORTS = '(export "a" (func $a)) (export "b" (func $b)) (export "c" (func $c))'

# Code refers to element segments by index.
USES = "(func (table.init $t 0 (i32.const 0) (i32.const 0) (i32.const 0)))"


def elements(module: Module) -> list[bytes]:
    return [segment.code for segment in module.elements]


def changed(size: int, elements: dict[int, Ref]) -> State:
    return State(tables={0: TableState(size, elements)})


def test_an_unchanged_table_keeps_its_segments_byte_for_byte() -> None:
    module = module_of(f"(module (table 4 funcref) {FUNCS} (elem (i32.const 1) $a $b) (elem func $a))")
    out = rewritten(module, State(tables={0: TableState(9)}))
    assert contents(out, sec.ELEMENT) == contents(module, sec.ELEMENT)
    assert out.tables[0].type.limits.minimum == 9


def test_a_table_that_was_emptied_has_no_segments() -> None:
    module = module_of(f"(module (table 4 funcref) {FUNCS} (elem (i32.const 1) $a $b))")
    assert rewritten(module, changed(4, {})).section(sec.ELEMENT) is None


def test_functions_are_written_by_their_indices_in_runs() -> None:
    module = module_of(f"(module (table 200 funcref) {FUNCS} (elem (i32.const 0) $c))")
    out = rewritten(module, changed(200, {1: FuncRef(2), 2: FuncRef(0), 128: FuncRef(1)}))
    assert elements(out) == [b"\x00\x41\x01\x0b\x02\x02\x00", b"\x00\x41\x80\x01\x0b\x01\x01"]
    out = rewritten(module, changed(200, {1: FuncRef(2), 3: FuncRef(0)}))
    assert elements(out) == [b"\x00\x41\x01\x0b\x01\x02", b"\x00\x41\x03\x0b\x01\x00"]


def test_functions_of_another_table_name_it() -> None:
    module = module_of(f"(module (table 1 funcref) (table i64 4 funcref) {FUNCS})")
    state = State(tables={0: TableState(1), 1: TableState(4, {3: FuncRef(1)})})
    assert elements(rewritten(module, state)) == [b"\x02\x01\x42\x03\x0b\x00\x01\x01"]


def test_cheap_gaps_between_expressions_are_filled_with_the_initial_value() -> None:
    """Of up to three elements; the values that are not functions make them expressions."""
    module = module_of("(module (table 20 anyref))")
    out = rewritten(module, changed(20, {0: I31(1), 4: I31(2), 9: I31(3)}))
    one, two, three = (bytes((0x41, n, 0xFB, 0x1C, 0x0B)) for n in (1, 2, 3))
    null = b"\xd0\x6e\x0b"
    assert elements(out) == [
        b"\x06\x00\x41\x00\x0b\x6e\x05" + one + 3 * null + two,
        b"\x06\x00\x41\x09\x0b\x6e\x01" + three,
    ]


def test_null_in_a_table_that_begins_with_functions() -> None:
    module = module_of(f"(module {FUNCS} (table 9 funcref (ref.func $a)) {EXPORTS})")
    out = rewritten(module, changed(9, {0: NULL, 2: FuncRef(1), 3: NULL}))
    # In the gap between them is what the table begins with, and what the first segment wrote.
    assert elements(out) == [
        b"\x00\x41\x02\x0b\x01\x01",
        b"\x04\x41\x00\x0b\x04\xd0\x70\x0b\xd2\x00\x0b\xd2\x01\x0b\xd0\x70\x0b",
    ]
    assert out.tables[0].init == module.tables[0].init


def test_functions_in_a_table_of_a_type_of_functions_are_expressions() -> None:
    """Function indices stand for elements of type ``(ref func)``, which are of no more special type."""
    module = module_of(f"(module (type $f (func)) (table 4 (ref null $f)) {FUNCS} {EXPORTS})")
    out = rewritten(module, changed(4, {1: FuncRef(2)}))
    assert elements(out) == [b"\x06\x00\x41\x01\x0b\x63\x00\x01\xd2\x02\x0b"]


def test_segments_of_functions_stand_in_front() -> None:
    """Of those of another table, which expressions write, and those that stay as they are."""
    module = module_of(
        f"""(module (table $kept 4 funcref) (table $objects 4 anyref) (table $functions 4 funcref) {FUNCS}
          {EXPORTS} (elem (table $kept) (i32.const 0) funcref (ref.func $a)))"""
    )
    kept = module.elements[0].code
    tables = {0: TableState(4), 1: TableState(4, {0: I31(1)}), 2: TableState(4, {1: FuncRef(1)})}
    object_ = b"\x06\x01\x41\x00\x0b\x6e\x01\x41\x01\xfb\x1c\x0b"
    function = b"\x02\x02\x41\x01\x0b\x00\x01\x01"
    assert elements(rewritten(module, State(tables=tables))) == [function, kept, object_]


def test_more_than_fifty_thousand_runs_of_functions_become_expressions() -> None:
    module = module_of(f"(module (table 250000 funcref) {FUNCS})")
    few = rewritten(module, changed(250_000, {4 * i: FuncRef(0) for i in range(50_000)}))
    assert len(few.elements) == 50_000
    assert all(segment.indices == (0,) for segment in few.elements)
    many = rewritten(module, changed(250_000, {4 * i: FuncRef(0) for i in range(50_001)}))
    (segment,) = many.elements
    assert segment.indices is None
    assert len(segment.items) == 200_001


def test_gaps_between_expressions_stay_where_only_a_run_tells_what_is_in_them() -> None:
    module = module_of(
        '(module (import "" "g" (global anyref)) (table 9 anyref (global.get 0)) (export "t" (table 0)))'
    )
    out = rewritten(module, changed(9, {0: I31(1), 2: I31(2)}))
    assert elements(out) == [
        b"\x06\x00\x41\x00\x0b\x6e\x01\x41\x01\xfb\x1c\x0b",
        b"\x06\x00\x41\x02\x0b\x6e\x01\x41\x02\xfb\x1c\x0b",
    ]


def test_there_are_never_more_segments_than_engines_allow() -> None:
    """Up to 10,000 segments of expressions stand as they are; then wider gaps are filled."""
    module = module_of(f"(module {FUNCS} (table 60000 funcref (ref.func $a)) {EXPORTS})")
    some = rewritten(module, changed(60_000, {5 * i: NULL for i in range(10_000)}))
    assert len(some.elements) == 10_000
    more = rewritten(module, changed(60_000, {5 * i: NULL for i in range(10_001)}))
    assert [len(segment.items) for segment in more.elements] == [50_001]


@pytest.mark.parametrize(
    "use",
    [
        "(elem.drop 0)",
        "(table.init $t 0 (i32.const 0) (i32.const 0) (i32.const 0))",
        "(drop (array.new_elem $refs 0 (i32.const 0) (i32.const 0)))",
        "(array.init_elem $refs 0 (ref.null $refs) (i32.const 0) (i32.const 0) (i32.const 0))",
    ],
)
def test_whatever_refers_to_segments_is_found(use: str) -> None:
    text = f"""(module (type $refs (array (mut funcref))) (table $t 4 funcref) {FUNCS} {EXPORTS}
      (func %s) (elem (i32.const 0) $a))"""
    assert rewritten(module_of(text % ""), changed(4, {})).elements == ()
    assert elements(rewritten(module_of(text % use), changed(4, {}))) == [b"\x03\x00\x00"]


def test_old_active_segments_go_where_no_code_refers_to_segments() -> None:
    module = module_of(f"(module (table 4 funcref) {FUNCS} (elem (i32.const 0) $a) (elem func $b))")
    passive = module.elements[1].code
    assert elements(rewritten(module, changed(4, {}))) == [passive]
    assert elements(rewritten(module, changed(4, {1: FuncRef(2)}))) == [b"\x00\x41\x01\x0b\x01\x02", passive]


def test_indices_stay_where_code_refers_to_segments() -> None:
    """The place of an old active segment is taken by a new one, or by a declarative one."""
    module = module_of(
        f"""(module (table $t 4 funcref) {FUNCS} {EXPORTS} {USES}
          (elem func $a) (elem (i32.const 0) $a) (elem (i32.const 1) funcref (ref.func $b)))"""
    )
    passive = module.elements[0].code
    out = rewritten(module, changed(4, {3: FuncRef(2)}))
    assert elements(out) == [passive, b"\x00\x41\x03\x0b\x01\x02", b"\x07\x70\x00"]
    out = rewritten(module, changed(4, {}))
    assert elements(out) == [passive, b"\x03\x00\x00", b"\x07\x70\x00"]
    out = rewritten(module, changed(4, {0: FuncRef(0), 2: FuncRef(0)}))
    assert elements(out) == [passive, b"\x00\x41\x00\x0b\x01\x00", b"\x00\x41\x02\x0b\x01\x00"]


def test_expressions_do_not_take_the_place_of_indices_whose_type_has_no_null() -> None:
    module = module_of(
        f"""(module {FUNCS} (table $t 4 funcref (ref.func $c)) {EXPORTS} {USES}
          (elem func $a) (elem (i32.const 0) $a) (elem (i32.const 1) funcref (ref.func $b)))"""
    )
    out = rewritten(module, changed(4, {3: NULL}))
    assert elements(out) == [
        module.elements[0].code,
        b"\x03\x00\x00",
        b"\x04\x41\x03\x0b\x01\xd0\x70\x0b",
    ]
    assert contents(out, sec.CODE) == contents(module, sec.CODE)


def test_dropped_segments_are_empty_and_of_the_same_type() -> None:
    module = module_of(
        f"""(module (table $t 4 funcref) {FUNCS} {EXPORTS} {USES}
          (elem func $a $b) (elem funcref (ref.func $c) (ref.null func)) (elem anyref (ref.null any)))"""
    )
    state = State(tables={0: TableState(4)}, dropped_elements=frozenset({0, 1, 2}))
    assert elements(rewritten(module, state)) == [b"\x01\x00\x00", b"\x05\x70\x00", b"\x05\x6e\x00"]
    state = State(tables={0: TableState(4)}, dropped_elements=frozenset({1}))
    assert elements(rewritten(module, state)) == [
        module.elements[0].code,
        b"\x05\x70\x00",
        module.elements[2].code,
    ]


@pytest.mark.parametrize("indexed", [False, True])
def test_segments_of_a_kept_table_do_not_run_again(indexed: bool) -> None:
    """Its owner has what they wrote; what they declared for `ref.func` is declared still."""
    module = module_of(
        f"""(module (import "" "t" (table $t 4 funcref)) {FUNCS} {USES if indexed else ""}
          (func (export "f") (drop (ref.func $b))) (elem (i32.const 0) $a $b) (elem func $c))"""
    )
    out = rewritten(module, State(borrowed=frozenset({("table", 0)})))
    old, passive = module.elements[0].code, module.elements[1].code
    assert old not in elements(out)
    assert elements(out) == [*([b"\x03\x00\x00"] if indexed else []), passive, b"\x03\x00\x01\x01"]


REFERS = f"(module (table 2 funcref) {FUNCS} (func (drop (ref.func $b))) %s)"


@pytest.mark.parametrize(
    ("declared_by", "exports", "state"),
    [
        ('(export "b" (func $b))', [], State(tables={0: TableState(2)})),
        ("(elem (i32.const 0) $b)", [], changed(2, {})),
        ("(elem (i32.const 0) $b)", [Export("a", "func", 0)], changed(2, {0: FuncRef(0)})),
        ("(global (mut funcref) (ref.func $b))", [], State({0: NULL}, tables={0: TableState(2)})),
    ],
    ids=["export", "emptied table", "changed table", "global"],
)
def test_what_loses_its_declaration_is_declared(
    declared_by: str, exports: list[Export], state: State
) -> None:
    module = module_of(REFERS % declared_by)
    out = rewritten(module, state, exports)
    assert elements(out)[-1] == b"\x03\x00\x01\x01"
    assert contents(out, sec.CODE) == contents(module, sec.CODE)


@pytest.mark.parametrize(
    ("declared_by", "exports", "state"),
    [
        ("", [Export("new name", "func", 1)], State(tables={0: TableState(2)})),
        ("", [], changed(2, {1: FuncRef(1)})),
        ("(global funcref (ref.func $b))", [], State(tables={0: TableState(2)})),
        ("(global (mut funcref) (ref.null func))", [], State({0: FuncRef(1)}, tables={0: TableState(2)})),
    ],
    ids=["export", "table", "initialiser", "value of a global"],
)
def test_what_is_declared_otherwise_is_not_declared_twice(
    declared_by: str, exports: list[Export], state: State
) -> None:
    module = module_of(REFERS % f'(export "b" (func $b)) {declared_by}')
    out = rewritten(module, state, exports)
    assert not [segment for segment in out.elements if segment.mode == "declarative"]


def test_an_export_that_no_body_refers_to_leaves_nothing() -> None:
    module = module_of(f"(module {FUNCS} {EXPORTS})")
    assert rewritten(module, State(), []).section(sec.ELEMENT) is None


OBJECTS = """(module (type $box (struct (field (mut i32))))
  (table $t 4 anyref)
  (func (export "f") (table.init $t 0 (i32.const 0) (i32.const 0) (i32.const 1)))
  (elem anyref (struct.new $box (i32.const 1)) (ref.null any)))"""


def test_objects_of_a_passive_segment_are_made_as_they_have_become() -> None:
    module = module_of(OBJECTS)
    box = (struct(0, Number("i32", 9)),)
    state = State(tables={0: TableState(4)}, elements={0: [ObjectRef(0), NULL]})
    out = rewritten(module, with_objects(state, *box))
    assert inits(out) == {0: b"\x41\x09\xfb\x00\x00\x0b"}
    assert elements(out) == [b"\x05\x6e\x02" + b"\x23\x00\x0b" + b"\xd0\x6e\x0b"]


def test_an_object_of_a_table_and_a_segment_is_one() -> None:
    module = module_of(OBJECTS)
    box = (struct(0, Number("i32", 9)),)
    state = State(tables={0: TableState(4, {2: ObjectRef(0)})}, elements={0: [ObjectRef(0), NULL]})
    out = rewritten(module, with_objects(state, *box))
    assert inits(out) == {0: b"\x41\x09\xfb\x00\x00\x0b"}
    assert elements(out) == [
        b"\x05\x6e\x02" + b"\x23\x00\x0b" + b"\xd0\x6e\x0b",
        b"\x06\x00\x41\x02\x0b\x6e\x01" + b"\x23\x00\x0b",
    ]


def test_indices_in_an_overlong_encoding_stay() -> None:
    module = module_of(f"(module (table 4 funcref) {FUNCS} (elem (i32.const 1) $a))")
    section = module.section(sec.ELEMENT)
    assert section is not None
    overlong = b"\x01\x00\x41\x81\x80\x00\x0b\x81\x00\x80\x80\x00"
    code = module.section(sec.CODE)
    assert code is not None
    before, after = module.wasm[: section.start - 2], module.wasm[section.end :]
    wasm = before + b"\x09" + bytes((len(overlong),)) + overlong + after
    again = parse_module(wasm)
    assert rewritten(again, initial(again)).wasm == wasm
