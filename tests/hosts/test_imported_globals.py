"""Imported globals: given, not made up; what the next host gives is right, or refused."""

from __future__ import annotations

import math
import struct
import warnings

import pytest
import wasmtime

import wizer
from support.engine import binary, engine
from support.guest import Guest, frozen, refrozen, validate
from wizer import LinkError, OptionError, Session, StateError, WizerWarning, wizen
from wizer.binary import sections as sec
from wizer.binary.module import parse_module

BASE = """(module (import "env" "memory" (memory 1)) (import "env" "__memory_base" (global $mb i32))
  (import "env" "__table_base" (global $tb i32)) (import "env" "table" (table 4 funcref))
  (func $f (result i32) (i32.const 5)) (elem (global.get $tb) func $f)
  (data (global.get $mb) "\\07\\00\\00\\00")
  (func (export "__wasm_apply_data_relocs") (i32.store (i32.add (global.get $mb) (i32.const 4))
    (i32.add (global.get $mb) (i32.const 100))))
  (type $t (func (result i32)))
  (func (export "call") (result i32) (call_indirect (type $t) (global.get $tb)))
  (func (export "get") (result i32) (i32.load (global.get $mb)))
  (func (export "reloc") (result i32) (i32.load offset=4 (global.get $mb))))"""


def test_an_immutable_one_that_nobody_gives_is_an_error() -> None:
    with pytest.raises(LinkError) as error:
        wizen(BASE, init_func="__wasm_apply_data_relocs")
    assert "`env::__memory_base`, an immutable global of i32, is not given" in str(error.value)
    assert 'imports={"env": {"__memory_base": 1024}} (--global env.__memory_base=1024)' in str(error.value)
    with pytest.raises(LinkError, match="env::__memory_base"):
        wizen(BASE, init_func="__wasm_apply_data_relocs", unknown_imports="error")


def test_made_up_only_where_asked_for_and_said() -> None:
    with pytest.warns(WizerWarning) as caught:
        snapshot = wizen(BASE, init_func="__wasm_apply_data_relocs", unknown_imports="default")
    assert [str(warning.message).partition(",")[0] for warning in caught] == [
        "the import `env::__memory_base`",
        "the import `env::__table_base`",
    ]
    assert Guest(snapshot)("get") == 7


def test_an_immutable_one_holds_for_the_snapshot() -> None:
    given = {"env": {"__memory_base": 1024, "__table_base": 1}}
    snapshot = frozen(binary(BASE), "__wasm_apply_data_relocs", imports=given, remove=())
    guest = Guest(snapshot, given)
    assert (guest("get"), guest("reloc"), guest("call")) == (7, 1124, 5)
    for other in ({"__memory_base": 2048, "__table_base": 1}, {"__memory_base": 1024, "__table_base": 2}):
        with pytest.raises(wasmtime.Trap, match="unreachable"):
            Guest(snapshot, {"env": other})


NAN = struct.unpack("<d", bytes.fromhex("0100000000 00f87f".replace(" ", "")))[0]


@pytest.mark.parametrize(
    ("type_", "value", "other"),
    [
        ("i32", -1, 0),
        ("i64", 2**63 - 1, -1),
        ("f32", 0.5, 0.25),
        ("f64", -0.0, 0.0),
        ("f64", NAN, float("nan")),
        ("v128", bytes(range(16)), bytes(16)),
    ],
)
def test_numbers_of_every_type(type_: str, value: object, other: object) -> None:
    wat = f"""(module (import "m" "g" (global $g {type_})) (func (export "init"))
        (func (export "g") (result {type_}) (global.get $g)))"""
    snapshot = frozen(binary(wat), imports={"m": {"g": value}})
    validate(snapshot)
    result = Guest(snapshot, {"m": {"g": value}})("g")
    assert result == value or (value is NAN and math.isnan(result))
    with pytest.raises(wasmtime.Trap, match="unreachable"):
        Guest(snapshot, {"m": {"g": other}})
    assert len(refrozen(snapshot, {"m": {"g": value}})) == len(snapshot)
    features = "mvp,simd" if type_ == "v128" else "mvp"
    validate(snapshot, features)


def test_a_wasmtime_value_and_what_does_not_fit() -> None:
    wat = '(module (import "m" "g" (global $g i32)) (func (export "g") (result i32) (global.get $g)))'
    with Session(wat, imports={"m": {"g": wasmtime.Val.i32(6)}}) as session:
        assert session.call("g") == 6
    for value in (2**32, "x", 1.5, None):
        with pytest.raises(LinkError, match="is given for `m::g`, a global of i32"):
            Session(wat, imports={"m": {"g": value}})


def test_without_such_an_import_there_is_no_start_function() -> None:
    wat = '(module (global $g (mut i32) (i32.const 0)) (func (export "init") (global.set $g (i32.const 4))))'
    assert parse_module(frozen(binary(wat))).section(sec.START) is None


GOT = """(module (import "GOT.func" "exit" (global $g (mut i32))) (memory (export "memory") 1)
  (func (export "init") (i32.store (i32.const 0) (i32.const 1)))
  (func (export "change") (param i32) (global.set $g (local.get 0)))
  (func (export "get") (result i32) (global.get $g)))"""


@pytest.mark.parametrize("unknown", [False, True], ids=["given", "made-up"])
def test_a_mutable_one_that_did_not_change_is_the_next_hosts(unknown: bool) -> None:
    if unknown:
        with pytest.warns(WizerWarning, match="GOT.func::exit"):
            snapshot = wizen(GOT, init_func="init", unknown_imports="default")
    else:
        snapshot = wizen(GOT, {"GOT.func": {"exit": 5}}, init_func="init")
    assert parse_module(snapshot).section(sec.START) is None
    assert Guest(snapshot, {"GOT.func": {"exit": 77}})("get") == 77


def test_a_mutable_one_that_changed_is_carried() -> None:
    snapshot = wizen(GOT, {"GOT.func": {"exit": 5}}, init_func="change(6)")
    assert Guest(snapshot, {"GOT.func": {"exit": 77}})("get") == 6
    with pytest.raises(LinkError, match=r"`GOT\.func::exit`, a mutable global of i32, is not given"):
        wizen(GOT, init_func="init")


@pytest.mark.parametrize("changed", [False, True])
def test_a_mutable_reference(changed: bool) -> None:
    wat = """(module (import "m" "g" (global $g (mut externref))) (import "m" "f" (global $f (mut funcref)))
      (func $own (export "own")) (func (export "init"))
      (func (export "change") (global.set $g (ref.null extern)) (global.set $f (ref.func $own)))
      (func (export "g") (result externref) (global.get $g))
      (func (export "is-null") (result i32) (ref.is_null (global.get $f))))"""
    given = {"m": {"g": ["this host's"], "f": None}}
    snapshot = wizen(wat, given, init_func="change" if changed else "init")
    guest = Guest(snapshot, {"m": {"g": "the next host's", "f": None}})
    assert guest("g") == (None if changed else "the next host's")
    assert guest("is-null") == (not changed)


def strings(element: str) -> str:
    """A module with string constants of the host's, kept in globals, a structure, a table and an array."""
    return f"""(module
      (import "string_constants" "hello" (global $hello {element}))
      (import "string_constants" "world" (global $world {element}))
      (type $s (struct (field {element}) (field (mut i32)))) (type $a (array externref))
      (global $cur (mut (ref null $s)) (ref.null $s)) (global $cur2 (mut externref) (ref.null extern))
      (global $all (mut (ref null $a)) (ref.null $a)) (table $t 3 externref)
      (func (export "init")
        (global.set $cur (struct.new $s (global.get $hello) (i32.const 5)))
        (global.set $cur2 (global.get $world))
        (global.set $all (array.new_fixed $a 2 (global.get $world) (global.get $hello)))
        (table.set $t (i32.const 2) (global.get $hello)))
      (func (export "get") (result externref) (struct.get $s 0 (global.get $cur)))
      (func (export "n") (result i32) (struct.get $s 1 (global.get $cur)))
      (func (export "get2") (result externref) (global.get $cur2))
      (func (export "first") (result externref) (array.get $a (global.get $all) (i32.const 0)))
      (func (export "element") (result externref) (table.get $t (i32.const 2))))"""


@pytest.mark.parametrize("element", ["externref", "(ref extern)"])
def test_string_constants_are_those_of_the_next_host(element: str) -> None:
    with pytest.raises(LinkError, match="string_constants::hello"):
        Session(strings(element))
    given = {"string_constants": {"hello": "hello", "world": "world"}}
    snapshot = wizen(strings(element), given, init_func="init")
    validate(snapshot)
    guest = Guest(snapshot, {"string_constants": {"hello": "hallo", "world": ["welt"]}})
    assert [guest(name) for name in ("get", "n", "get2", "first", "element")] == [
        "hallo",
        5,
        ["welt"],
        ["welt"],
        "hallo",
    ]


HEAP = """(module (import "env" "__heap_base" (global $hb i32))
  (import "env" "emscripten_resize_heap" (func $grow (param i32) (result i32)))
  (memory (export "memory") 1) (global $brk (mut i32) (i32.const 0))
  (func (export "init") (global.set $brk (i32.add (global.get $hb) (call $grow (i32.const 1)))))
  (func (export "brk") (result i32) (global.get $brk)))"""
ENV = '(module (global (export "__heap_base") i32 (i32.const 1024)))'


def test_a_module_and_python_functions_under_one_name() -> None:
    functions = {"env": {"emscripten_resize_heap": lambda size: size}}
    with Session(HEAP, imports=functions, preload={"env": ENV}) as session:
        session.call("init")
        assert session.call("brk") == 1025
    with pytest.raises(
        OptionError, match=r"`env.__heap_base` is given twice: by the imports, and by the mod"
    ):
        Session(HEAP, imports={"env": {"__heap_base": 1, **functions["env"]}}, preload={"env": ENV})
    with pytest.raises(OptionError, match="two modules are given as `env`"):
        Session(HEAP, imports={"env": ENV}, preload={"env": ENV})


def test_what_is_given_in_vain_is_said() -> None:
    wat = '(module (import "env" "log" (func)))'
    with pytest.warns(WizerWarning) as caught:
        Session(
            wat, imports={"env": {"lgo": print, "log": print}, "evn": {"x": 1}}, preload={"lib": ENV}
        ).close()
    assert [str(warning.message) for warning in caught] == [
        "preload: nothing is imported from `lib`; the module imports env",
        "imports: env.lgo is not imported; the module imports env.log",
        "imports: nothing is imported from `evn`; the module imports env",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Session(wat, imports={"env": {"log": print}}).close()


def test_what_is_given_to_a_component_in_vain_is_said() -> None:
    wat = '(component (import "log" (func)) (import "my:pkg/x@0.2.1" (instance)))'
    with pytest.warns(WizerWarning) as caught:
        Session(wat, imports={"lgo": print, "log": print, "my:pkg/x@0.2.0": {}}).close()
    assert [str(warning.message) for warning in caught] == [
        "imports: `lgo` is not imported; the component imports log"
    ]


MIDDLE = """(module (import "env" "checkpoint" (func $c)) (memory (export "memory") 1)
  (global $sp (export "sp") (mut i32) (i32.const 1000))
  (func (export "run") (global.set $sp (i32.const 936)) (call $c) (global.set $sp (i32.const 1000))))"""


def test_a_snapshot_inside_a_host_call_is_an_error() -> None:
    sessions: list[Session] = []
    errors: list[StateError] = []

    def checkpoint() -> None:
        for take in (sessions[0].snapshot, sessions[0].state):
            with pytest.raises(StateError, match="in the middle of a call") as error:
                take()
            errors.append(error.value)

    with Session(MIDDLE, imports={"env": {"checkpoint": checkpoint}}) as session:
        sessions.append(session)
        session.call("run")
        assert len(errors) == 2
        assert session.snapshot()


def test_a_component_frozen_inside_a_host_call_is_an_error() -> None:
    wat = """(component (import "checkpoint" (func $c)) (core func $low (canon lower (func $c)))
      (core module $m (import "" "c" (func $c)) (func (export "run") (call $c)))
      (core instance $i (instantiate $m (with "" (instance (export "c" (func $low))))))
      (func (export "run") (canon lift (core func $i "run"))))"""
    sessions: list[Session] = []
    errors = []

    def checkpoint() -> None:
        with pytest.raises(StateError, match="in the middle of a call") as error:
            sessions[0].snapshot()
        errors.append(error.value)

    with Session(wat, imports={"checkpoint": checkpoint}) as session:
        sessions.append(session)
        session.call("run")
        assert errors


def test_an_instance_of_ones_own_engine_is_checked_too() -> None:
    prepared = wizer.Wizer().instrument(BASE)
    store = wasmtime.Store(engine())
    guest = Guest(prepared.wasm, {"env": {"__memory_base": 512, "__table_base": 0}}, store)
    snapshot = prepared.snapshot(store, guest.instance, capture_imports=[("memory", 0), ("table", 0)])
    assert Guest(snapshot, {"env": {"__memory_base": 512, "__table_base": 0}})("get") == 7
    with pytest.raises(wasmtime.Trap, match="unreachable"):
        Guest(snapshot, {"env": {"__memory_base": 0, "__table_base": 0}})
