"""What is taken for granted of the engine: where it keeps the core instances of a component."""

from __future__ import annotations

import sys

import pytest
import wasmtime
import wasmtime.component as wc
from wasmtime import _ffi as ffi

from support.components import COUNTER, Running, counter, frozen
from support.engine import binary
from wizer import Instrumented, Session
from wizer.engine.config import EngineConfig
from wizer.errors import OptionError, TrapError

WAT = f"""(component {COUNTER} (core instance $a (instantiate $m)) (core instance $b (instantiate $m))
    {counter("a", "a")} {counter("b", "b")})"""


def test_handles_are_a_store_and_a_place() -> None:
    assert [one[0] for one in ffi.wasmtime_instance_t._fields_] == ["store_id", "__private"]
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, '(module (global (export "n") i32 (i32.const 7)))')
    first = wasmtime.Instance(store, module, [])
    memory = wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(0, 0)))
    second = wasmtime.Instance(store, module, [])
    place = memory._memory._anon_1
    assert getattr(place, "__private1") == getattr(first._instance, "__private") + 1
    assert getattr(second._instance, "__private") == getattr(first._instance, "__private") + 2
    assert place.store_id == first._instance.store_id


def call(store: wasmtime.Store, instance: wc.Instance, name: str, *args: int) -> object:
    function = instance.get_func(store, name)
    assert function is not None
    return function(store, *args)


def test_two_instances_of_a_component_in_one_store() -> None:
    instrumented = Instrumented(binary(WAT))
    store = wasmtime.Store()
    component = wc.Component(store.engine, instrumented.wasm)
    wasmtime.Instance(store, wasmtime.Module(store.engine, "(module (memory 1))"), [])
    one = wc.Linker(store.engine).instantiate(store, component)
    two = wc.Linker(store.engine).instantiate(store, component)
    for number, instance in enumerate((one, two)):
        call(store, instance, "a-add", 10 + number)
        call(store, instance, "b-add", 20 + number)
    for number, instance in enumerate((one, two)):
        run = Running(instrumented.snapshot(store, instance, remove=["a-add"]))
        assert (run("a-get"), run("b-get")) == (10 + number, 20 + number)
        assert not run.exports("a-add")
    call(store, one, "a-add", 100)
    assert Running(instrumented.snapshot(store, one))("a-get") == 110


def test_module_that_exports_our_names_itself() -> None:
    impostor = """(core module $x (global (export "wizer:module") i32 (i32.const 0))
        (global $n (export "wizer:mark") (mut i32) (i32.const 5)) (memory (export "wizer:memory0") 1)
        (func (export "add") (param i32) (global.set $n (local.get 0)))
        (func (export "get") (result i32) (global.get $n)))"""
    wasm = binary(
        f"""(component {COUNTER} {impostor}
        (core instance $a (instantiate $m)) (core instance $b (instantiate $x))
        (core instance $c (instantiate $m)) {counter("a", "a")} {counter("b", "b")} {counter("c", "c")})"""
    )
    run = Running(frozen(wasm, ["a-add(1)", "b-add(2)", "c-add(3)"]))
    assert [run("a-get"), run("b-get"), run("c-get")] == [1, 2, 3]


def test_component_that_exports_our_function_itself() -> None:
    wasm = binary(
        f"""(component {COUNTER} (core instance $a (instantiate $m)) {counter("a", "a")}
        (func (export "wizer-mark") (result u32) (canon lift (core func $a "get"))))"""
    )
    assert Running(frozen(wasm, "a-add(1)"))("wizer-mark") == 1


def test_instance_of_something_else() -> None:
    instrumented = Instrumented(binary(WAT))
    store = wasmtime.Store()
    instance = wc.Linker(store.engine).instantiate(store, wc.Component(store.engine, binary(WAT)))
    with pytest.raises(OptionError, match="instantiate the `wasm` that `instrument` returned"):
        instrumented.snapshot(store, instance)


@pytest.mark.parametrize("compiler", ["cranelift", "winch"])
def test_both_compilers(compiler: str) -> None:
    if compiler == "winch" and sys.platform != "linux":
        pytest.skip("Winch is not for this machine")
    config = EngineConfig(compiler="winch" if compiler == "winch" else "cranelift", cache=False)
    with Session(binary(WAT), engine=config) as session:
        session.call("a-add", 3)
        assert Running(session.snapshot())("a-get") == 3


def test_session_goes_on_after_a_snapshot() -> None:
    with Session(binary(WAT)) as session:
        session.call("a-add", 3)
        first = session.snapshot()
        session.call("a-add", 4)
        assert session.call("a-get") == 7
        assert Running(session.snapshot())("a-get") == 7
        assert Running(first)("a-get") == 3
        assert session.results == [("a-add", ()), ("a-add", ()), ("a-get", (7,))]


IMPORTING = """(component
    (import "ask" (func $ask (param "n" u32) (result u32)))
    (core func $a (canon lower (func $ask)))
    (core module $m (func $ask (import "" "ask") (param i32) (result i32)) (global $g (mut i32) (i32.const 0))
      (func (export "init") (global.set $g (call $ask (i32.const 5))))
      (func (export "get") (result i32) (global.get $g)))
    (core instance $i (instantiate $m (with "" (instance (export "ask" (func $a))))))
    (func (export "wizer-initialize") (canon lift (core func $i "init")))
    (func (export "get") (result u32) (canon lift (core func $i "get"))))"""


def test_python_function_as_import() -> None:
    with Session(binary(IMPORTING), imports={"ask": lambda n: n * 100}) as session:
        session.call("wizer-initialize")
        snapshot = session.snapshot(remove=["wizer-initialize"])
    assert Running(snapshot)("get") == 500


def test_python_function_that_raises() -> None:
    def ask(_n: int) -> int:
        raise KeyError("answer")

    with Session(binary(IMPORTING), imports={"ask": ask}) as session:
        with pytest.raises(TrapError) as caught:
            session.call("wizer-initialize")
        assert isinstance(caught.value.__cause__, KeyError)
        assert "KeyError: 'answer'" in str(caught.value)


def test_python_function_that_returns_nonsense() -> None:
    with (
        Session(binary(IMPORTING), imports={"ask": lambda _n: "many"}) as session,
        pytest.raises(TrapError, match="expected int"),
    ):
        session.call("wizer-initialize")


def test_python_function_that_is_interrupted() -> None:
    def ask(_n: int) -> int:
        raise KeyboardInterrupt

    with (
        Session(binary(IMPORTING), imports={"ask": ask}) as session,
        pytest.raises(KeyboardInterrupt),
    ):
        session.call("wizer-initialize")
