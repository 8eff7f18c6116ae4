"""References to functions are carried by identity."""

from __future__ import annotations

import pytest

from support.engine import binary
from support.guest import Guest, frozen, survives
from wizer import Session, StateError
from wizer.binary.module import parse_module

TYPES = """(type $f (func (result i32)))
    (import "env" "a" (func $a (result i32))) (import "env" "b" (func $b (result i32)))
    (func $own (result i32) (i32.const 1)) (func $twin (result i32) (i32.const 1))
    (func $exported (export "exported") (result i32) (i32.const 2))
    (elem declare func $a $own $twin)"""
IMPORTS = {"env": {"a": lambda: 10, "b": lambda: 20}}


@pytest.mark.parametrize("function", ["$a", "$own", "$twin", "$exported"])
@pytest.mark.parametrize("type_", ["funcref", "(ref null $f)"])
def test_a_global(function: str, type_: str) -> None:
    survives(
        f"""(module {TYPES} (global $g (mut {type_}) (ref.null {"func" if type_ == "funcref" else "$f"}))
              (table $t 1 (ref null $f))
              (func (export "init") (global.set $g (ref.func {function})))
              (func (export "call") (result i32)
                (call_ref $f (ref.cast (ref $f) (global.get $g)))))""",
        "call",
        imports=IMPORTS,
    )


def test_an_imported_function_that_nothing_declares() -> None:
    """It reaches a global through another module's table, although no ``ref.func`` could name it."""
    wat = """(module (type $f (func (result i32)))
        (import "lib" "f" (func $f (result i32))) (import "lib" "t" (table $t 1 funcref))
        (global $g (mut funcref) (ref.null func))
        (func (export "init") (global.set $g (table.get $t (i32.const 0))))
        (func (export "call") (result i32) (call_ref $f (ref.cast (ref $f) (global.get $g)))))"""
    lib = """(module (table (export "t") 1 funcref) (elem (i32.const 0) func $f)
        (func $f (export "f") (result i32) (i32.const 33)))"""
    snapshot = frozen(wat, imports={"lib": lib})
    provider = Guest(binary(lib))
    guest = Guest(
        snapshot, {"lib": {name: provider.export(name) for name in provider.exports}}, provider.store
    )
    assert guest("call") == 33


def test_a_function_that_was_never_exported_stays_out_of_the_exports() -> None:
    snapshot = frozen(
        f"""(module {TYPES} (table 1 funcref)
              (func (export "init") (table.set (i32.const 0) (ref.func $own))))""",
        imports=IMPORTS,
    )
    assert Guest(snapshot, IMPORTS).exports == ["exported", "init"]


def test_functions_in_fields_and_arrays() -> None:
    survives(
        f"""(module {TYPES} (type $s (struct (field (ref $f)) (field (mut funcref))))
              (type $v (array (mut (ref null $f))))
              (global $s (mut (ref null $s)) (ref.null $s)) (global $v (mut (ref null $v)) (ref.null $v))
              (func (export "init")
                (global.set $s (struct.new $s (ref.func $twin) (ref.func $a)))
                (global.set $v (array.new_fixed $v 3 (ref.func $own) (ref.null $f) (ref.func $exported))))
              (func (export "s0") (result i32) (call_ref $f (struct.get $s 0 (global.get $s))))
              (func (export "s1") (result i32)
                (call_ref $f (ref.cast (ref $f) (struct.get $s 1 (global.get $s)))))
              (func (export "v") (param i32) (result i32)
                (call_ref $f (array.get $v (global.get $v) (local.get 0)))))""",
        *("s0", "s1", ("v", 0), ("v", 1), ("v", 2)),
        imports=IMPORTS,
    )


def test_two_functions_of_the_same_code_stay_two() -> None:
    wat = """(module (table 4 funcref) (elem (i32.const 0) func $x $y)
        (func $x (export "x")) (func $y (export "y"))
        (func (export "init") (table.set (i32.const 2) (ref.func $y)) (table.set (i32.const 3)
          (ref.func $x))))"""
    module = parse_module(frozen(wat))
    written = [element for element in module.elements if element.mode == "active"]
    assert [element.items for element in written] == [(0, 1, 1, 0)]


def test_the_same_host_function_imported_twice_is_some_import_of_it() -> None:
    wat = """(module (type $f (func (result i32)))
        (import "env" "a" (func $a (result i32))) (import "env" "a" (func $again (result i32)))
        (global $g (mut (ref null $f)) (ref.null $f)) (elem declare func $again)
        (func (export "init") (global.set $g (ref.func $again)))
        (func (export "call") (result i32) (call_ref $f (global.get $g))))"""
    survives(wat, "call", imports={"env": {"a": lambda: 5}})


def test_a_global_with_a_strangers_function_is_an_error_that_names_it() -> None:
    wat = """(module (import "lib" "get" (func $get (result funcref)))
        (global $callback (export "cb") (mut funcref) (ref.null func))
        (func (export "init") (global.set $callback (call $get))))"""
    lib = """(module (func $f) (elem declare func $f)
        (func (export "get") (result funcref) (ref.func $f)))"""
    with Session(wat, imports={"lib": lib}) as session:
        session.call("init")
        with pytest.raises(StateError) as error:
            session.snapshot()
    assert str(error.value) == (
        'global 0 ("callback") holds a function of another instance or of the host that the module does not '
        "import, which no module can express"
    )


def test_more_functions_than_one_accessor_returns() -> None:
    count = 1100
    functions = "".join(f"(func $f{i} (result i32) (i32.const {i}))" for i in range(count))
    items = " ".join(f"$f{i}" for i in range(count))
    survives(
        f"""(module (type $f (func (result i32))) {functions} (table $t {count} funcref)
              (elem $e func {items})
              (func (export "init")
                (table.init $t $e (i32.const 1) (i32.const 0) (i32.const {count - 1})))
              (func (export "call") (param i32) (result i32) (call_indirect (type $f) (local.get 0))))""",
        *(("call", i) for i in (0, 1, 500, 501, 1000, count - 1)),
    )


def test_an_imported_immutable_global_is_a_name_for_a_strangers_function() -> None:
    wat = """(module (type $f (func (result i32))) (import "lib" "g" (global $g funcref)) (table 2 funcref)
        (func (export "init") (table.set (i32.const 1) (global.get $g)))
        (func (export "call") (result i32) (call_indirect (type $f) (i32.const 1))))"""
    lib = """(module (func $f (result i32) (i32.const 8)) (global (export "g") funcref (ref.func $f)))"""
    snapshot = frozen(wat, imports={"lib": lib})
    provider = Guest(binary(lib))
    assert Guest(snapshot, {"lib": {"g": provider.export("g")}}, provider.store)("call") == 8
