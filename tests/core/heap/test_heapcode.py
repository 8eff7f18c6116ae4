"""What references are in a module, from states made by hand: no engine runs."""

from __future__ import annotations

import pytest

from support.engine import binary
from wizer.binary.module import Module, parse_module
from wizer.binary.values import Number
from wizer.core.heap.encode import encode
from wizer.core.state import I31, NULL, Array, FuncRef, ObjectRef, Ref, State, Struct, TableState

WAT = """(module (type $n (struct (field i32) (field (mut (ref null $n))))) (type $a (array i8))
    (global $g (mut (ref null $n)) (ref.null $n)) (global $i (mut i32) (i32.const 0))
    (global $any (mut anyref) (ref.null any))
    (table $t 10 anyref) (table $f 4 funcref) (func $f (export "f")))"""


@pytest.fixture
def module() -> Module:
    return parse_module(binary(WAT))


def node(value: int, following: int | None) -> Struct:
    return Struct(0, (Number("i32", value), NULL if following is None else ObjectRef(following)))


def test_a_state_without_objects_has_initialisers_only(module: Module) -> None:
    state = State(globals={0: NULL, 1: Number("i32", 7)}, tables={1: TableState(4, {2: FuncRef(0)})})
    heap = encode(module, state)
    assert heap.initialisers == {0: b"\xd0\x00", 1: b"\x41\x07"}
    assert not heap.functions
    assert not heap.globals


def test_few_objects_are_constant_expressions(module: Module) -> None:
    state = State(globals={0: ObjectRef(0)}, heap=[node(1, 1), node(2, None)])
    heap = encode(module, state)
    # The global alone holds them: (struct.new 0 (i32.const 1) (struct.new 0 (i32.const 2) (ref.null 0)))
    second = b"\x41\x02" + b"\xd0\x00" + b"\xfb\x00\x00"
    assert heap.initialisers == {0: b"\x41\x01" + second + b"\xfb\x00\x00"}
    assert not heap.functions


def test_shared_objects_get_a_global_and_elements_refer_to_it(module: Module) -> None:
    elements: dict[int, Ref] = {1: ObjectRef(0), 2: I31(3), 5: ObjectRef(0)}
    heap = encode(module, State(tables={0: TableState(10, elements)}, heap=[node(1, None)]))
    assert len(heap.globals) == 1
    assert heap.elements[0] == {1: b"\x23\x03", 2: b"\x41\x03\xfb\x1c", 5: b"\x23\x03"}
    assert heap.restored_tables == frozenset()


def test_a_cycle_is_closed_by_the_start_function(module: Module) -> None:
    heap = encode(module, State(globals={0: ObjectRef(0)}, heap=[node(1, 1), node(2, 0)]))
    assert len(heap.functions) == 1
    assert len(heap.globals) == 2


def test_many_objects_are_made_from_data(module: Module) -> None:
    objects = [node(i, i + 1 if i < 999 else None) for i in range(1000)]
    text = Array(1, data=b"hello")
    state = State(
        globals={0: ObjectRef(0), 2: ObjectRef(1000)},
        tables={0: TableState(10, {3: ObjectRef(999), 4: NULL})},
        heap=[*objects, text],
    )
    heap = encode(module, state)
    assert heap.restored_tables == {0}
    assert b"hello" in heap.passive_data[0]
    assert len(heap.globals) == 1
    assert sum(len(function.code) for function in heap.functions) < 1000


def test_the_result_is_the_same_every_time(module: Module) -> None:
    state = State(globals={0: ObjectRef(0)}, heap=[node(i, (i + 7) % 600) for i in range(600)])
    assert encode(module, state) == encode(module, state)
