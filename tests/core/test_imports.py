"""Imports: Python functions, the engine's externs, other modules, WASI, and what nobody gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

from support.engine import binary, engine
from support.guest import Guest, frozen, survives
from support.tools import assembled
from wizer import EngineConfig, ExitError, InvalidError, LinkError, Session, TrapError, Wasi, Wizer, wizen
from wizer.binary import sections as sec
from wizer.binary.module import parse_module
from wizer.engine.text import Wasm
from wizer.engine.versions import has_setting

LIB = """(module (global $n (mut i32) (i32.const 0)) (memory (export "memory") 1)
    (func (export "_initialize") (global.set $n (i32.const 40)))
    (func (export "next") (result i32) (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (global.get $n)))"""
USER = """(module (import "lib" "next" (func $next (result i32))) (global $g (mut i32) (i32.const 0))
    (func (export "init") (global.set $g (call $next))) (func (export "g") (result i32) (global.get $g)))"""


def test_python_functions_are_typed_by_the_import() -> None:
    wat = """(module
        (import "env" "f" (func $f (param i32 i64 f32 f64 v128 externref anyref)
          (result i32 f64 v128 externref)))
        (func (export "init") (param externref) (result i32 f64 v128 externref)
          (call $f (i32.const -1) (i64.const -2) (f32.const 1.5) (f64.const 2.5) (v128.const i64x2 1 0)
            (local.get 0) (ref.i31 (i32.const 3)))))"""
    seen: list[object] = []

    def f(*args: object) -> tuple[object, ...]:
        seen.extend(args)
        return 7, 3, bytes(range(16)), args[5]

    thing = object()
    with Session(wat, imports={"env": {"f": f}}) as session:
        assert session.call("init", thing) == (7, 3.0, bytes(range(16)), thing)
    assert seen[:6] == [-1, -2, 1.5, 2.5, b"\1" + bytes(15), thing]


@pytest.mark.skipif(not has_setting("wasm_compact_imports"), reason="wasmtime 50 has compact imports")
def test_imports_that_share_a_module_or_a_type_stay_as_they_are_written() -> None:
    wat = """(module
        (import "m" (item "one" (func $one (result i32))) (item "base" (func $base (result i32))))
        (import "n" (item "a") (item "b") (func)) (global $g (mut i32) (i32.const 0))
        (func (export "init") (global.set $g (i32.add (call $base) (call $one))))
        (func (export "g") (result i32) (global.get $g)))"""
    wasm = assembled(wat)
    imports = {"m": {"one": lambda: 1, "base": lambda: 41}, "n": {}}
    snapshot = frozen(wasm, imports=imports, remove=["init"])
    assert Guest(snapshot, imports)("g") == 42
    before, after = (parse_module(each).section(sec.IMPORT) for each in (wasm, snapshot))
    assert before is not None
    assert after is not None
    assert snapshot[after.start : after.end] == wasm[before.start : before.end]


def test_what_a_python_function_raises_is_the_cause() -> None:
    wat = '(module (import "env" "f" (func $f)) (func (export "init") (call $f)) (func (export "ok")))'

    def f() -> None:
        raise ValueError("no such file")

    with Session(wat, imports={"env": {"f": f}}) as session:
        with pytest.raises(TrapError) as error:
            session.call("init")
        session.call("ok")
    assert isinstance(error.value.__cause__, ValueError)
    assert error.value.message == "the `init` function trapped"
    assert "a host function raised ValueError: no such file" in error.value.causes


def test_what_a_python_function_raises_in_the_start_function_is_the_cause() -> None:
    def f() -> None:
        raise ValueError("early")

    wat = '(module (import "env" "f" (func $f)) (start $f))'
    with pytest.raises(TrapError) as error:
        Session(wat, imports={"env": {"f": f}})
    assert isinstance(error.value.__cause__, ValueError)
    with Session('(module (func (export "t") unreachable))') as session, pytest.raises(TrapError) as other:
        session.call("t")
    assert other.value.__cause__ is None, "the exception of another session does not come up again"


def test_interrupts_and_exits_of_a_python_function_are_passed_on() -> None:
    wat = '(module (import "env" "f" (func $f)) (func (export "init") (call $f)))'
    for exception in (KeyboardInterrupt, SystemExit):

        def f(raised: type[BaseException] = exception) -> None:
            raise raised

        with Session(wat, imports={"env": {"f": f}}) as session, pytest.raises(exception):
            session.call("init")


@pytest.mark.parametrize("returned", [None, "x", 1.5, 2**40, (1, 2)])
def test_a_python_function_that_returns_what_does_not_fit(returned: object) -> None:
    wat = '(module (import "env" "f" (func $f (result i32))) (func (export "init") (drop (call $f))))'
    with (
        Session(wat, imports={"env": {"f": lambda: returned}}) as session,
        pytest.raises(TrapError, match="the `init` function trapped") as error,
    ):
        session.call("init")
    assert isinstance(error.value.__cause__, TypeError | OverflowError | ValueError)


def test_a_python_function_may_call_back_into_the_session() -> None:
    wat = """(module (import "env" "f" (func $f (result i32))) (memory (export "m") 1)
        (func (export "twice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
        (func (export "init") (result i32) (call $f)))"""
    sessions: list[Session] = []
    with Session(wat, imports={"env": {"f": lambda: sessions[0].call("twice", 21)}}) as session:
        sessions.append(session)
        assert session.call("init") == 42


def test_externs_of_the_engine() -> None:
    wat = """(module (import "env" "m" (memory 1)) (import "env" "t" (table 1 funcref))
        (import "env" "g" (global (mut i32))) (import "env" "f" (func $f (result i32)))
        (func (export "init") (i32.store (i32.const 0) (call $f)) (global.set 0 (i32.const 9))))"""
    instrumented = Wizer().instrument(wat)
    store = wasmtime.Store(engine())
    provider = Guest(
        binary(
            """(module (memory (export "m") 1) (table (export "t") 1 funcref)
                 (global (export "g") (mut i32) (i32.const 0)) (func (export "f") (result i32)
                   (i32.const 5)))"""
        ),
        store=store,
    )
    externs = {"env": {name: provider.export(name) for name in provider.exports}}
    live = Guest(instrumented.wasm, externs, store)
    live("init")
    kept = instrumented.snapshot(store, live.instance)
    assert parse_module(kept).data == ()
    captured = instrumented.snapshot(
        store, live.instance, capture_imports=[("memory", 0), ("table", 0), ("global", 0)]
    )
    assert [captured[data.start : data.end] for data in parse_module(captured).data] == [b"\5"]


@pytest.mark.parametrize("form", ["text", "bytes", "path"])
@pytest.mark.parametrize("way", ["imports", "preload"])
def test_another_module(form: str, way: str, tmp_path: Path) -> None:
    (tmp_path / "lib.wat").write_text(LIB)
    forms: dict[str, Wasm] = {"text": LIB, "bytes": binary(LIB), "path": tmp_path / "lib.wat"}
    given = {"lib": forms[form]}
    if way == "imports":
        snapshot = wizen(USER, given, init_func="init")
    else:
        snapshot = wizen(USER, preload=given, init_func="init")
    provider = Guest(binary(LIB))
    guest = Guest(snapshot, {"lib": {"next": provider.export("next")}}, provider.store)
    assert guest("g") == 41, "its `_initialize` ran"


def test_preloaded_modules_see_each_other_in_their_order() -> None:
    middle = """(module (import "lib" "next" (func $next (result i32)))
        (func (export "next") (result i32) (i32.mul (call $next) (i32.const 2))))"""
    with Session(USER.replace('"lib"', '"middle"'), preload={"lib": LIB, "middle": middle}) as session:
        session.call("init")
        assert session.call("g") == 82


def test_a_preloaded_module_that_winch_does_not_know() -> None:
    lib = """(module (type $s (struct (field i32)))
        (func (export "next") (result i32) (struct.get $s 0 (struct.new $s (i32.const 6)))))"""
    with Session(USER, preload={"lib": lib}) as session:
        session.call("init")
        assert session.call("g") == 6
    with pytest.raises(InvalidError):
        Session(USER, preload={"lib": lib}, engine=EngineConfig(compiler="winch"))


def test_a_preloaded_module_that_traps_is_named() -> None:
    lib = '(module (start $s) (func $s unreachable) (func (export "next") (result i32) (i32.const 1)))'
    with pytest.raises(TrapError, match="the preloaded module `lib` could not be instantiated"):
        Session(USER, preload={"lib": lib})


def test_a_missing_function_traps_when_it_is_called_and_is_named() -> None:
    with (
        Session(USER) as session,
        pytest.raises(TrapError, match="unknown import: `lib::next` has not been defined"),
    ):
        session.call("init")


def test_a_missing_function_that_is_not_called_does_no_harm() -> None:
    frozen('(module (import "lib" "next" (func)) (func (export "init")))')


def test_a_missing_function_is_an_error_where_that_is_asked_for() -> None:
    with pytest.raises(LinkError, match="unknown import: `lib::next` has not been defined"):
        Session(USER, unknown_imports="error")


def test_a_missing_function_returns_defaults_where_that_is_asked_for() -> None:
    wat = """(module (import "env" "f" (func $f (result i32 i64 f32 f64 v128 externref funcref anyref)))
        (import "env" "nothing" (func $nothing))
        (func (export "init") (result i32 i64 f32 f64 v128 externref funcref anyref)
          (call $nothing) (call $f)))"""
    with Session(wat, unknown_imports="default") as session:
        assert session.call("init") == (0, 0, 0.0, 0.0, bytes(16), None, None, None)


def test_a_missing_function_without_default_results_traps() -> None:
    wat = """(module (import "env" "f" (func $f (result (ref func)))) (func (export "init") (drop
      (call $f))))"""
    with Session(wat, unknown_imports="default") as session, pytest.raises(TrapError, match="`env::f`"):
        session.call("init")


def test_missing_items_are_made_and_captured() -> None:
    wat = """(module (import "env" "m" (memory 1)) (import "env" "t" (table 2 funcref))
        (import "env" "g" (global (mut i64))) (import "env" "c" (global i32)) (import "env" "tag" (tag
          (param i32)))
        (func $f (export "f") (result i32) (i32.const 4)) (type $t (func (result i32)))
        (func (export "init") (i32.store (i32.const 8) (i32.const 3)) (table.set (i32.const 1) (ref.func $f))
          (global.set 0 (i64.const -9)))
        (func (export "m") (result i32) (i32.load (i32.const 8)))
        (func (export "t") (result i32) (call_indirect (type $t) (i32.const 1)))
        (func (export "g") (result i64) (global.get 0)))"""
    survives(wat, "m", "t", "g", imports={"env": {"g": 0, "c": 0}})


@pytest.mark.parametrize(
    ("import_", "message"),
    [
        ("(table 1 (ref func))", r"`env::x` is missing, and a table of \(ref func\) has no default value"),
    ],
)
def test_missing_items_without_a_default_are_an_error(import_: str, message: str) -> None:
    with pytest.raises(LinkError, match=message):
        Session(f'(module (import "env" "x" {import_}))')


@pytest.mark.parametrize(
    ("import_", "given", "message"),
    [
        ("(memory 1)", len, "a Python function is given for `env::x`, which is a memory"),
        ("(memory 1)", 5, "5 is given for `env::x`, which is a memory"),
        ("(func)", "text", "'text' is given for `env::x`, which is a func"),
        ("(global i32)", "text", "'text' is given for `env::x`, a global of i32"),
        ("(global i32)", 2**32, "4294967296 is given for `env::x`, a global of i32"),
        (
            "(global (ref extern))",
            None,
            "None is given for `env::x`, a global of (ref extern), which is never",
        ),
    ],
)
def test_imports_of_another_kind(import_: str, given: object, message: str) -> None:
    with pytest.raises(LinkError) as error:
        Session(f'(module (import "env" "x" {import_}))', imports={"env": {"x": given}})
    assert message in str(error.value)


def test_an_import_of_another_type() -> None:
    with pytest.raises(LinkError, match="failed to instantiate the module") as error:
        Session('(module (import "env" "memory" (memory 5)))', imports={"env": LIB})
    assert "memory types incompatible" in str(error.value)


def test_kept_and_captured_imports_side_by_side() -> None:
    wat = """(module (import "env" "given" (global $given (mut i32))) (import "env" "made" (global $made
      (mut i32)))
        (func (export "init") (global.set $given (i32.const 5)) (global.set $made (i32.const 6)))
        (func (export "given") (result i32) (global.get $given)) (func (export "made") (result i32)
          (global.get $made)))"""
    lib = '(module (global (export "given") (mut i32) (i32.const 1)))'
    with Session(wat, imports={"env": {"made": 0}}, preload={"env": lib}) as session:
        session.call("init")
        snapshot = session.snapshot()
    provider = Guest(binary(lib))
    guest = Guest(snapshot, {"env": {"given": provider.export("given")}}, provider.store)
    assert (guest("given"), guest("made")) == (1, 6)


WASI = """(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32)
  (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00") (data
      (i32.const 16) "hello\\n")
    (func (export "hello") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func (export "exit") (param i32) (call $exit (local.get 0))))"""


def test_wasi_is_off_unless_asked_for() -> None:
    with (
        Session(WASI) as session,
        pytest.raises(TrapError, match="`wasi_snapshot_preview1::fd_write` has not been defined"),
    ):
        session.call("hello")


def test_wasi_where_asked_for(tmp_path: Path) -> None:
    with Session(WASI, wasi=Wasi(stdout=tmp_path / "out")) as session:
        session.call("hello")
        with pytest.raises(ExitError) as error:
            session.call("exit", 3)
    assert (tmp_path / "out").read_text() == "hello\n"
    assert error.value.code == 3


def test_an_import_of_ones_own_goes_before_wasi() -> None:
    written: list[tuple[int, ...]] = []

    def write(*args: int) -> int:
        written.append(args)
        return 0

    with Session(WASI, imports={"wasi_snapshot_preview1": {"fd_write": write}}, wasi=Wasi()) as session:
        session.call("hello")
    assert written == [(1, 0, 1, 8)]
