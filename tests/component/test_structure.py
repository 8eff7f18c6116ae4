"""Components of every shape: modules instantiated twice, nested components, aliases, exports that go."""

from __future__ import annotations

import pytest

from support.components import COUNTER, MANY, SHIMMED, Running, counter, frozen
from support.engine import binary
from support.tools import printed, wasm_tools
from wizer import Session
from wizer.errors import OptionError, StateError


def test_module_instantiated_three_times() -> None:
    wasm = binary(
        f"""(component {COUNTER}
          (core instance $a (instantiate $m)) (core instance $b (instantiate $m))
          {counter("a", "a")} {counter("b", "b")}
          (core instance $c (instantiate $m)) {counter("c", "c")})"""
    )
    snapshot = frozen(wasm, ["a-add(1)", "b-add(2)", "c-add(3)"])
    run = Running(snapshot)
    assert [run("a-get"), run("b-get"), run("c-get")] == [1, 2, 3]
    assert snapshot.count(b"\0asm\x01\0\0\0") == 3


def test_module_instantiated_in_nested_components() -> None:
    wasm = binary(
        f"""(component
          {COUNTER}
          (component $inner
            (alias outer 1 $m (core module $mine))
            (core instance $i (instantiate $mine))
            {counter("x", "i")})
          (instance $a (instantiate $inner)) (instance $b (instantiate $inner))
          (export "a" (instance $a)) (export "b" (instance $b)))"""
    )
    snapshot = frozen(wasm, ["a.x-add(5)", "b.x-add(6)"], keep=True)
    run = Running(snapshot)
    assert (run("a|x-get"), run("b|x-get")) == (5, 6)


def test_component_with_its_own_module_instantiated_twice() -> None:
    wasm = binary(
        f"""(component
          (component $inner {COUNTER} (core instance $i (instantiate $m)) {counter("x", "i")})
          (instance $a (instantiate $inner))
          (component $middle
            (alias outer 1 $inner (component $mine))
            (instance $i (instantiate $mine))
            (export "i" (instance $i)))
          (instance $m (instantiate $middle))
          (alias export $m "i" (instance $b))
          (export "a" (instance $a)) (export "b" (instance $b)))"""
    )
    snapshot = frozen(wasm, ["a.x-add(5)", "b.x-add(6)"], keep=True)
    run = Running(snapshot)
    assert (run("a|x-get"), run("b|x-get")) == (5, 6)
    run("b|x-add", 1)
    assert (run("a|x-get"), run("b|x-get")) == (5, 7)


def test_deeply_nested() -> None:
    inner = f"""{COUNTER} (core instance $i (instantiate $m)) {counter("x", "i")}"""
    for _ in range(5):
        inner = f"""(component $c {inner}) (instance $i (instantiate $c))
            (alias export $i "x-add" (func $add)) (alias export $i "x-get" (func $get))
            (export "x-add" (func $add)) (export "x-get" (func $get))"""
    run = Running(frozen(binary(f"(component {inner})"), "x-add(9)"))
    assert run("x-get") == 9
    assert not run.exports("x-add")


def test_module_passed_to_a_nested_component() -> None:
    wasm = binary(
        f"""(component
          {COUNTER}
          (component $user
            (import "m" (core module $m (export "add" (func (param i32))) (export "get" (func (result i32)))))
            (core instance $a (instantiate $m)) (core instance $b (instantiate $m))
            {counter("a", "a")} {counter("b", "b")})
          (instance $i (instantiate $user (with "m" (core module $m))))
          (export "i" (instance $i)))"""
    )
    snapshot = frozen(wasm, ["i.a-add(1)", "i.b-add(2)"], keep=True)
    run = Running(snapshot)
    assert (run("i|a-get"), run("i|b-get")) == (1, 2)


def test_component_passed_to_a_nested_component() -> None:
    wasm = binary(
        f"""(component
          (component $inner {COUNTER} (core instance $i (instantiate $m)) {counter("x", "i")})
          (component $user
            (import "c" (component $c (export "x-add" (func (param "n" u32)))
              (export "x-get" (func (result u32)))))
            (instance $i (instantiate $c))
            (export "i" (instance $i)))
          (instance $i (instantiate $user (with "c" (component $inner))))
          (alias export $i "i" (instance $j))
          (export "i" (instance $j)))"""
    )
    run = Running(frozen(wasm, "i.x-add(3)", keep=True))
    assert run("i|x-get") == 3


LIBRARY = f"""(component $library %s
      (component $counter %s {COUNTER} (core instance $i (instantiate $m)) {counter("x", "i")})
      (export "counter" (component $counter)))
    (instance $l (instantiate $library)) (alias export $l "counter" (component $c))"""
COUNTER_TYPE = '(component (export "x-add" (func (param "n" u32))) (export "x-get" (func (result u32))))'
USER = f"""(component $user
      (import "c" {COUNTER_TYPE.replace("(component", "(component $c", 1)})
      (instance $a (instantiate $c)) (instance $b (instantiate $c))
      (export "a" (instance $a)) (export "b" (instance $b)))"""
TWO = """(alias export $u "a" (instance $a)) (alias export $u "b" (instance $b))
    (export "a" (instance $a)) (export "b" (instance $b))"""


def test_imported_component_instantiated_twice() -> None:
    wasm = binary(
        f"""(component {LIBRARY % ("", "")} {USER}
          (instance $u (instantiate $user (with "c" (component $c)))) {TWO})"""
    )
    run = Running(frozen(wasm, ["a.x-add(5)", "b.x-add(6)"], keep=True))
    assert (run("a|x-get"), run("b|x-get")) == (5, 6)


def test_imported_component_that_imports_one() -> None:
    """What is copied to where it is instantiated gets copies of what it imports, too."""
    deeper = f"""(component $deeper
      (import "u" (component $u (import "c" {COUNTER_TYPE})
        (export "a" (instance (export "x-add" (func (param "n" u32))) (export "x-get" (func (result u32)))))))
      (import "c" {COUNTER_TYPE.replace("(component", "(component $c", 1)})
      (instance $first (instantiate $u (with "c" (component $c))))
      (instance $second (instantiate $u (with "c" (component $c))))
      (alias export $first "a" (instance $a)) (alias export $second "a" (instance $b))
      (export "a" (instance $a)) (export "b" (instance $b)))"""
    wasm = binary(
        f"""(component {LIBRARY % ("", "")} (component $more {USER} (export "user" (component $user)))
          (instance $m (instantiate $more)) (alias export $m "user" (component $user)) {deeper}
          (instance $u (instantiate $deeper (with "u" (component $user)) (with "c" (component $c)))) {TWO})"""
    )
    run = Running(frozen(wasm, ["a.x-add(5)", "b.x-add(6)"], keep=True))
    assert (run("a|x-get"), run("b|x-get")) == (5, 6)


@pytest.mark.parametrize(
    ("around", "inside"),
    [
        ("(core module $idle)", "(alias outer 1 $idle (core module $mine))"),
        ("(core module $idle)", "(component (alias outer 2 $idle (core module $mine)))"),
        (
            "(type $t u32)",
            '(type (instance (alias outer 2 $t (type $x)) (export "f" (func (param "x" $x)))))',
        ),
    ],
)
def test_imported_component_that_refers_to_what_is_around_it(around: str, inside: str) -> None:
    wasm = binary(
        f"""(component {LIBRARY % (around, inside)} {USER}
          (instance $u (instantiate $user (with "c" (component $c)))) {TWO})"""
    )
    with Session(wasm) as session:
        session.call("a.x-add", 5)
        with pytest.raises(StateError, match=r'instance 1 \("b"\) is made of a component that is passed by'):
            session.snapshot()


def test_module_exported_by_a_nested_component() -> None:
    wasm = binary(
        f"""(component
          (component $library {COUNTER} (export "module" (core module $m)))
          (instance $l (instantiate $library))
          (alias export $l "module" (core module $m))
          (core instance $i (instantiate $m))
          {counter("x", "i")})"""
    )
    run = Running(frozen(wasm, "x-add(4)"))
    assert run("x-get") == 4


def test_exported_module_stays_what_it_is() -> None:
    wasm = binary(
        f"""(component {COUNTER} (core instance $i (instantiate $m)) {counter("x", "i")}
          (export "module" (core module $m)))"""
    )
    snapshot = frozen(wasm, "x-add(4)")
    assert Running(snapshot)("x-get") == 4
    module = wasm[wasm.index(b"\0asm\x01\0\0\0") :]
    assert module[:60] in snapshot
    assert snapshot.count(b"\0asm\x01\0\0\0") == 2


def test_module_that_nobody_instantiates_is_kept() -> None:
    idle = '(core module $idle (func (export "idle")))'
    wasm = binary(f"(component {idle} {COUNTER} (core instance $i (instantiate $m)) {counter('x', 'i')})")
    snapshot = frozen(wasm, "x-add(4)")
    assert b"idle" in snapshot
    assert Running(snapshot)("x-get") == 4


def test_component_without_modules() -> None:
    wasm = binary('(component (component $c) (instance $i (instantiate $c)) (export "i" (instance $i)))')
    with Session(wasm) as session:
        assert session.snapshot() == wasm


def test_indices_after_a_removed_export_move() -> None:
    snapshot = frozen(binary(MANY), "init(7)")
    run = Running(snapshot)
    assert [run("one"), run("two"), run("three"), run("j|f"), run("k|f")] == [7] * 5
    run("k|g", 3)
    assert run("one") == 10
    assert not run.exports("init")


@pytest.mark.skipif(wasm_tools() is None, reason="there is no wasm-tools to print components with")
def test_names_follow_the_indices() -> None:
    text = printed(frozen(binary(MANY), "init(7)"))
    assert '(alias export $j "f" (func $alias' in text
    assert "(func $gone" not in text
    assert "canon lower (func $two)" in text


def test_everything_is_kept_where_nothing_moves() -> None:
    wasm = binary(MANY)
    with Session(wasm) as session:
        assert session.snapshot() == wasm


def test_function_of_an_instance_made_of_exports_goes() -> None:
    wasm = binary(
        f"""(component {COUNTER} (core instance $i (instantiate $m))
          (func $init (param "n" u32) (canon lift (core func $i "add")))
          (func $get (result u32) (canon lift (core func $i "get")))
          (instance $s (export "boot" (func $init)) (export "get" (func $get)))
          (export "my:pkg/setup@1.0.0" (instance $s)))"""
    )
    snapshot = frozen(wasm, "my:pkg/setup@1.0.0.boot(8)")
    run = Running(snapshot)
    assert run("my:pkg/setup@1.0.0|get") == 8
    with Session(snapshot) as session, pytest.raises(OptionError, match="does not export"):
        session.call("my:pkg/setup.boot", 1)


@pytest.mark.parametrize(
    "more",
    [
        "",
        '(alias export $s "boot" (func $b)) (export "again" (func $b))',
        '(instance $t (instantiate $shim (with "import-func-boot" (func $init)) '
        '(with "import-func-get" (func $get)))) (export "my:pkg/other" (instance $t))',
    ],
    ids=["alone", "aliased", "component used twice"],
)
def test_function_of_an_instance_of_a_component_goes(more: str) -> None:
    snapshot = frozen(binary(SHIMMED % more), "my:pkg/setup@1.0.0.boot(8)")
    run = Running(snapshot)
    assert run("my:pkg/setup@1.0.0|get") == 8
    index = run.instance.get_export_index(run.store, "my:pkg/setup@1.0.0")
    assert run.instance.get_export_index(run.store, "boot", index) is None
    assert run.exports("again") == ("again" in more)


def test_instance_goes_with_its_only_function() -> None:
    wasm = binary(
        f"""(component {COUNTER} (core instance $i (instantiate $m))
          (func $init (param "n" u32) (canon lift (core func $i "add")))
          (instance $s (export "run" (func $init)))
          (export "wasi:cli/run@0.2.0" (instance $s))
          (func (export "get") (result u32) (canon lift (core func $i "get"))))"""
    )
    run = Running(frozen(wasm, "wasi:cli/run@0.2.0.run(8)"))
    assert run("get") == 8
    assert not run.exports("wasi:cli/run@0.2.0")


def test_initialize_that_the_component_uses_stays() -> None:
    """The Rust tool takes `_initialize` away from a module whose component needs it as an argument."""
    wasm = binary(
        """(component
          (core module $m (memory 1)
            (func (export "_initialize")
              (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
            (func (export "init"))
            (func (export "count") (result i32) (i32.load (i32.const 0))))
          (core module $starter (func $s (import "" "") ) (start $s))
          (core instance $i (instantiate $m))
          (alias core export $i "_initialize" (core func $initialize))
          (core instance (instantiate $starter (with "" (instance (export "" (func $initialize))))))
          (func (export "wizer-initialize") (canon lift (core func $i "init")))
          (func (export "count") (result u32) (canon lift (core func $i "count"))))"""
    )
    assert Running(frozen(wasm))("count") == 1


def test_core_export_named_like_the_initialisation_function() -> None:
    """As `wit-component` makes them: the core function has the name of the component's."""
    wasm = binary(
        """(component
          (core module $m (global $n (mut i32) (i32.const 0))
            (func (export "wizer-initialize") (global.set $n (i32.const 3)))
            (func (export "get") (result i32) (global.get $n)))
          (core instance $i (instantiate $m))
          (func (export "wizer-initialize") (canon lift (core func $i "wizer-initialize")))
          (func (export "get") (result u32) (canon lift (core func $i "get"))))"""
    )
    assert Running(frozen(wasm))("get") == 3
    kept = Running(frozen(wasm, keep=True))
    assert kept("get") == 3
    kept("wizer-initialize")
