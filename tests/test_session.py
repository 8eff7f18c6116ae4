"""A session: calls, memory, globals, and snapshots at any moment."""

from __future__ import annotations

import math

import pytest
import wasmtime

from support.guest import Guest, validate
from wizer import ExitError, LimitError, Limits, OptionError, Session, TrapError, Wasi
from wizer.binary.values import Number

IDENTITY = """(module
    (func (export "i32") (param i32) (result i32) (local.get 0))
    (func (export "i64") (param i64) (result i64) (local.get 0))
    (func (export "f32") (param f32) (result f32) (local.get 0))
    (func (export "f64") (param f64) (result f64) (local.get 0))
    (func (export "v128") (param v128) (result v128) (local.get 0))
    (func (export "funcref") (param funcref) (result funcref) (local.get 0))
    (func (export "externref") (param externref) (result externref) (local.get 0))
    (func (export "anyref") (param anyref) (result anyref) (local.get 0))
    (func (export "i31ref") (param i31ref) (result i31ref) (local.get 0))
    (func (export "new i31") (result i31ref) (ref.i31 (i32.const 5)))
    (func (export "get i31") (param i31ref) (result i32) (i31.get_u (local.get 0)))
    (func (export "exnref") (param exnref) (result exnref) (local.get 0))
    (func (export "bits") (param f32 f64) (result i32 i64)
      (i32.reinterpret_f32 (local.get 0)) (i64.reinterpret_f64 (local.get 1))))"""


@pytest.mark.parametrize(
    ("name", "given", "returned"),
    [
        ("i32", 0, 0),
        ("i32", -1, -1),
        ("i32", 0xFFFF_FFFF, -1),
        ("i32", -(2**31), -(2**31)),
        ("i32", True, 1),
        ("i64", 2**64 - 1, -1),
        ("i64", -(2**63), -(2**63)),
        ("f32", 1.5, 1.5),
        ("f32", 2, 2.0),
        ("f64", -0.1, -0.1),
        ("f64", math.inf, math.inf),
        ("v128", bytes(range(16)), bytes(range(16))),
        ("v128", 1, b"\1" + bytes(15)),
        ("funcref", None, None),
        ("externref", None, None),
        ("externref", "any object", "any object"),
        ("anyref", None, None),
        ("i31ref", None, None),
        ("exnref", None, None),
    ],
)
def test_values_of_every_type(name: str, given: object, returned: object) -> None:
    with Session(IDENTITY) as session:
        assert session.call(name, given) == returned


def test_objects_of_the_host_and_of_the_guest_keep_their_identity() -> None:
    thing = object()
    with Session(IDENTITY) as session:
        assert session.call("externref", thing) is thing
        scalar = session.call("new i31")
        assert session.call("get i31", session.call("anyref", scalar)) == 5


def test_float_bits_are_passed_as_they_are() -> None:
    with Session(IDENTITY) as session:
        assert session.call("bits", Number("f32", 0x7FA00001), Number("f64", 0xFFF0_0000_0000_0001)) == (
            0x7FA00001,
            0xFFF0_0000_0000_0001 - 2**64,
        )


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("i32", (2**32,)),
        ("i32", (-(2**31) - 1,)),
        ("i32", (1.0,)),
        ("i32", ("1",)),
        ("i32", (None,)),
        ("i64", (2**64,)),
        ("f32", ("1",)),
        ("f64", (None,)),
        ("v128", (b"short",)),
        ("v128", (2**128,)),
        ("v128", (-1,)),
        ("anyref", (object(),)),
        ("funcref", (5,)),
    ],
)
def test_arguments_that_do_not_fit(name: str, args: tuple[object, ...]) -> None:
    with (
        Session(IDENTITY) as session,
        pytest.raises(OptionError, match=f"the arguments of `{name}` do not fit"),
    ):
        session.call(name, *args)


def test_the_wrong_number_of_arguments() -> None:
    with (
        Session(IDENTITY) as session,
        pytest.raises(
            OptionError, match=r"`i32` function has type `\[i32\] -> \[i32\]` and takes 1 arguments, not 2"
        ),
    ):
        session.call("i32", 1, 2)


def test_calls_of_what_is_not_there() -> None:
    with Session('(module (memory (export "m") 1))') as session:
        with pytest.raises(OptionError, match="does not have a `f` export"):
            session.call("f")
        with pytest.raises(OptionError, match="`m` export is not a function"):
            session.call("m")


def test_results_are_recorded() -> None:
    with Session(IDENTITY) as session:
        session.call("i32", 5)
        session.call("bits", 0.0, 0.0)
        assert session.results == [("i32", (5,)), ("bits", (0, 0))]


def test_a_call_given_as_text() -> None:
    with Session(
        '(module (func (export "f") (param i32 f64 i64) (result i64) '
        "(i64.add (i64.extend_i32_s (local.get 0)) (i64.add (i64.trunc_f64_s (local.get 1)) (local.get 2)))))"
    ) as session:
        assert session.call_text("f(3, 2.5e1, -0x10)") == 12


MEMORY = """(module (memory $a (export "a") 1) (memory (export "b") 1)
    (func (export "grow") (drop (memory.grow (i32.const 1))))
    (func (export "read") (param i32) (result i32) (i32.load8_u (local.get 0))))"""


def test_memory_is_a_writable_view() -> None:
    with Session(MEMORY) as session:
        view = session.memory()
        assert (len(view), view.itemsize, view.readonly) == (65536, 1, False)
        view[10:15] = b"hello"
        assert session.call("read", 11) == ord("e")
        assert bytes(session.memory("a")[10:15]) == b"hello"
        assert bytes(session.memory("b")[10:15]) == bytes(5)
        session.call("grow")
        assert len(session.memory()) == 131072
        snapshot = session.snapshot()
    assert Guest(snapshot)("read", 14) == ord("o")


def test_a_memory_that_is_not_there() -> None:
    with Session(MEMORY) as session, pytest.raises(OptionError, match="does not have a memory export `c`"):
        session.memory("c")
    with Session("(module)") as session, pytest.raises(OptionError, match="has no memory"):
        session.memory()


def test_a_memory_that_is_not_exported_is_the_first_one() -> None:
    with Session('(module (memory 1) (data (i32.const 0) "abc"))') as session:
        assert bytes(session.memory()[:3]) == b"abc"


def test_a_memory_of_no_pages_is_an_empty_view() -> None:
    with Session("(module (memory 0))") as session:
        assert len(session.memory()) == 0
        validate(session.snapshot())


GLOBALS = """(module (global $i (export "i") (mut i32) (i32.const 1)) (global (export "const") f64
  (f64.const 2.5))
    (global (export "v") (mut v128) (v128.const i64x2 0 0)) (global (export "e") (mut externref)
      (ref.null extern))
    (global (export "f") (mut f32) (f32.const 0))
    (func (export "f") (result i32) (global.get $i)))""".replace('(func (export "f")', '(func (export "get")')


def test_globals_are_a_mapping() -> None:
    with Session(GLOBALS) as session:
        assert list(session.globals) == ["i", "const", "v", "e", "f"]
        assert len(session.globals) == 5
        assert dict(session.globals) == {"i": 1, "const": 2.5, "v": bytes(16), "e": None, "f": 0.0}
        session.globals["i"] = -7
        session.globals["v"] = bytes(range(16))
        session.globals["f"] = 1.5
        assert session.call("get") == -7
        snapshot = session.snapshot()
    with Session(snapshot) as session:
        assert dict(session.globals) == {"i": -7, "const": 2.5, "v": bytes(range(16)), "e": None, "f": 1.5}


def test_globals_that_cannot_be_set() -> None:
    with Session(GLOBALS) as session:
        with pytest.raises(OptionError, match="the global `const` is immutable"):
            session.globals["const"] = 1.0
        with pytest.raises(OptionError, match="the global `i` cannot be set to 'x'"):
            session.globals["i"] = "x"
        with pytest.raises(KeyError):
            session.globals["nothing"]
        with pytest.raises(OptionError, match="cannot be deleted"):
            del session.globals["i"]


EXPORTS = """(module (func (export "a") (result i32) (i32.const 1)) (func (export "b") (result i32)
  (i32.const 2))
    (func (export "_initialize")) (memory (export "memory") 1))"""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"a": 1, "b": 2, "memory": None}),
        ({"remove": ["a"]}, {"b": 2, "memory": None}),
        ({"rename": {"c": "a"}}, {"c": 1, "b": 2, "memory": None}),
        ({"rename": {"b": "a"}}, {"b": 1, "memory": None}),
        ({"rename": {"a": "b", "b": "a"}}, {"a": 2, "b": 1, "memory": None}),
        ({"keep": ["_initialize"]}, {"a": 1, "b": 2, "_initialize": None, "memory": None}),
        ({"remove": ["memory"]}, {"a": 1, "b": 2}),
    ],
)
def test_exports_are_renamed_removed_and_kept(
    changes: dict[str, object], expected: dict[str, object]
) -> None:
    with Session(EXPORTS) as session:
        snapshot = session.snapshot(**changes)  # type: ignore[arg-type]
    guest = Guest(snapshot)
    called = {name: guest(name) if len(name) == 1 else None for name in guest.exports}
    assert called == expected


def test_a_session_goes_on_after_a_snapshot() -> None:
    wat = """(module (memory (export "m") 1) (func (export "store") (param i32)
        (i32.store8 (local.get 0) (local.get 0))) (func (export "load") (param i32) (result i32)
        (i32.load8_u (local.get 0))))"""
    with Session(wat) as session:
        snapshots = []
        for place in (3, 4):
            session.call("store", place)
            snapshots.append(session.snapshot())
        session.call("store", 5)
    loads = [[Guest(snapshot)("load", i) for i in (3, 4, 5)] for snapshot in snapshots]
    assert loads == [[3, 0, 0], [3, 4, 0]]


def test_a_trap_names_the_function_and_leaves_the_session_alive() -> None:
    with Session(
        '(module (func $deep unreachable) (func (export "f") (call $deep)) (func (export "ok")))'
    ) as session:
        with pytest.raises(TrapError) as error:
            session.call("f")
        session.call("ok")
    assert error.value.message == "the `f` function trapped"
    assert "deep" in error.value.causes[0]
    assert error.value.causes[-1] == "wasm trap: wasm `unreachable` instruction executed"


def test_leaving_through_proc_exit() -> None:
    wat = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "f") (call $exit (i32.const 42))))"""
    with Session(wat, wasi=Wasi()) as session, pytest.raises(ExitError) as error:
        session.call("f")
    assert error.value.code == 42


def test_limits_end_a_loop() -> None:
    wat = '(module (func (export "f") (loop $l (br $l))))'
    with Session(wat, limits=Limits(timeout=0.2)) as session, pytest.raises(LimitError):
        session.call("f")
    with Session(wat, limits=Limits(fuel=10_000)) as session, pytest.raises(LimitError):
        session.call("f")


def test_stack_overflow_is_a_trap() -> None:
    with (
        Session('(module (func $f (export "f") (call $f)))') as session,
        pytest.raises(TrapError, match="call stack exhausted"),
    ):
        session.call("f")


def test_the_store_takes_externs_of_the_callers_own() -> None:
    with Session(IDENTITY) as session:
        function = wasmtime.Func(session.store, wasmtime.FuncType([], []), lambda: None)
        returned = session.call("funcref", function)
    assert isinstance(returned, wasmtime.Func)


def test_a_reference_of_another_session_is_refused() -> None:
    with Session(IDENTITY) as session, Session(IDENTITY) as other:
        scalar = other.call("new i31")
        with pytest.raises(OptionError, match="a reference of another session"):
            session.call("anyref", scalar)


def test_a_reference_outlives_its_session() -> None:
    with Session(IDENTITY) as session:
        scalar = session.call("new i31")
    del scalar


def test_closing_twice_is_closing() -> None:
    session = Session(IDENTITY)
    session.close()
    session.close()
