"""The library's entry points: `wizen`, `Wizer`, and what they take."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import wasmtime
import wasmtime.component

import wizer
from support.command import environment
from support.engine import binary
from support.guest import Guest
from wizer import EngineConfig, InvalidError, Limits, OptionError, Session, TrapError, Wizer, wizen
from wizer.binary.module import parse_module
from wizer.engine.text import Wasm

WAT = """(module (global $g (mut i32) (i32.const 1))
    (func (export "wizer-initialize") (global.set $g (i32.const 42)))
    (func (export "other") (param i32 i64) (result i32)
      (global.set $g (i32.add (local.get 0) (i32.wrap_i64 (local.get 1)))) (global.get $g))
    (func (export "main") (result i32) (global.get $g)) (func (export "alias") (result i32)
      (i32.const -1)))"""


def test_every_public_name_is_there() -> None:
    for name in wizer.__all__:
        assert getattr(wizer, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = wizer.nothing


def test_importing_the_package_imports_no_engine_and_no_numpy() -> None:
    program = "import sys, wizer; print([m for m in ('wasmtime', 'numpy', 'rich') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=True, text=True
    )
    assert run.stdout == "[]\n"


class NamedPath:
    """An `os.PathLike` that is no `pathlib.Path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def test_every_form_of_input_makes_the_same_snapshot(tmp_path: Path) -> None:
    wasm = binary(WAT)
    (tmp_path / "m.wasm").write_bytes(wasm)
    (tmp_path / "m.wat").write_text(WAT)
    forms: list[Wasm] = [
        wasm,
        bytearray(wasm),
        memoryview(wasm),
        WAT,
        WAT.encode(),
        tmp_path / "m.wasm",
        tmp_path / "m.wat",
        NamedPath(tmp_path / "m.wasm"),
    ]
    assert len({wizen(form) for form in forms}) == 1


def test_a_name_given_as_a_string_is_told_from_the_text_format() -> None:
    with pytest.raises(InvalidError, match=r"give `pathlib\.Path\('app\.wasm'\)`"):
        wizen("app.wasm")


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ("unknown_imports", "'trap', 'error', 'default'"),
        ("open_handles", "'reopen', 'error', 'drop'"),
        ("compiler", "'auto', 'cranelift', 'winch'"),
        ("opt_level", "'none', 'speed', 'speed_and_size'"),
        ("regalloc", "None, 'backtracking', 'single-pass'"),
    ],
)
def test_words_that_mean_nothing(option: str, known: str) -> None:
    given: Any = {option: "fast"}
    with pytest.raises(OptionError, match=f"the option `{option}` takes one of {known}, not 'fast'"):
        wizen(WAT, **given) if option in ("unknown_imports", "open_handles") else EngineConfig(**given)


def test_the_default_init_function_runs_and_goes() -> None:
    guest = Guest(wizen(WAT))
    assert guest("main") == 42
    assert guest.exports == ["other", "main", "alias"]


def test_the_init_function_stays_where_asked_for() -> None:
    assert Guest(wizen(WAT, keep_init_func=True)).exports == ["wizer-initialize", "other", "main", "alias"]


@pytest.mark.parametrize(
    ("init_func", "value", "gone"),
    [
        ("other(3, 0x10)", 19, {"other"}),
        ("other(-1, -1)", -2, {"other"}),
        (["wizer-initialize", "other(1, 2)"], 3, {"wizer-initialize", "other"}),
        (["other(1, 2)", "wizer-initialize"], 42, {"wizer-initialize", "other"}),
        ("main()", 1, {"main"}),
    ],
)
def test_init_functions_as_calls(init_func: str | list[str], value: int, gone: set[str]) -> None:
    guest = Guest(wizen(WAT, init_func=init_func))
    assert {"wizer-initialize", "other", "main", "alias"} - set(guest.exports) == gone
    if "main" in guest.exports:
        assert guest("main") == value


@pytest.mark.parametrize(
    ("rename", "expected"),
    [
        ({"main": "alias"}, {"other": None, "main": -1}),
        ({"new": "main"}, {"other": None, "new": 42, "alias": -1}),
        ({"main": "alias", "alias": "main"}, {"other": None, "main": -1, "alias": 42}),
        ({"wizer-initialize": "main"}, {"other": None, "wizer-initialize": 42, "alias": -1}),
    ],
)
def test_renames(rename: Mapping[str, str], expected: Mapping[str, object]) -> None:
    guest = Guest(wizen(WAT, rename=rename))
    assert {name: guest(name) if name != "other" else None for name in guest.exports} == expected


def test_one_export_may_get_several_names() -> None:
    guest = Guest(wizen(WAT, rename={"a": "main", "b": "main"}))
    assert guest("a") == guest("b")
    assert "main" not in guest.exports


def test_a_wizer_runs_any_number_of_times() -> None:
    tool = Wizer(init_func="other(5, 6)")
    assert tool.run(WAT) == tool.run(binary(WAT))
    assert Guest(tool.run(WAT))("main") == 11


def test_a_session_of_a_wizer_has_its_options_and_has_not_run() -> None:
    with Wizer(limits=Limits(fuel=100_000)).session(WAT) as session:
        assert session.call("main") == 1


def test_write_to_a_path_and_to_a_stream(tmp_path: Path) -> None:
    expected = wizen(WAT)
    assert Wizer().write(WAT, tmp_path / "a.wasm") == len(expected)
    assert (tmp_path / "a.wasm").read_bytes() == expected
    assert Wizer().write(WAT, str(tmp_path / "b.wasm")) == len(expected)
    assert (tmp_path / "b.wasm").read_bytes() == expected
    stream = io.BytesIO()
    assert Wizer().write(WAT, stream) == len(expected)
    assert stream.getvalue() == expected


def test_instrument_leaves_the_original_whole() -> None:
    wasm = binary(WAT)
    instrumented = Wizer().instrument(wasm)
    before, after = parse_module(wasm), parse_module(instrumented.wasm)
    assert after.exports[: len(before.exports)] == before.exports
    assert all(export.name.startswith(instrumented.prefix) for export in after.exports[len(before.exports) :])
    assert after.funcs[: len(before.funcs)] == before.funcs


def test_instrumented_snapshots_rename_and_remove() -> None:
    instrumented = Wizer(rename={"start": "main"}).instrument(WAT)
    live = Guest(instrumented.wasm)
    snapshot = instrumented.snapshot(live.store, live.instance, remove=["alias"], rename={"o": "other"})
    assert Guest(snapshot).exports == ["wizer-initialize", "o", "start"]


def test_a_failed_run_writes_nothing(tmp_path: Path) -> None:
    output = tmp_path / "out.wasm"
    output.write_bytes(b"old")
    with pytest.raises(TrapError):
        Wizer().write('(module (func (export "wizer-initialize") unreachable))', output)
    assert output.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [output]


def test_a_limit_of_data_segments() -> None:
    wat = """(module (memory 10) (func (export "wizer-initialize") (local i32)
        (loop $l (i32.store8 (local.get 0) (i32.const 1))
          (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1000)))
            (i32.const 600000))))))"""
    assert [len(parse_module(wizen(wat, max_data_segments=n)).data) for n in (1, 7, 1000)] == [1, 7, 600]


def test_a_session_is_the_same_as_a_run() -> None:
    with Session(WAT) as session:
        session.call("wizer-initialize")
        snapshot = session.snapshot(remove=["wizer-initialize"])
    assert snapshot == wizen(WAT)


def test_instances_of_other_modules_and_stores_are_refused() -> None:
    one = Wizer().instrument('(module (memory 1) (global (export "g") (mut i32) (i32.const 1)))')
    other = Wizer().instrument("(module (memory 7) (global (mut i64) (i64.const 99)))")
    component = Wizer().instrument("(component)")
    engine = wasmtime.Engine()
    store, elsewhere = wasmtime.Store(engine), wasmtime.Store(engine)
    instance = wasmtime.Instance(store, wasmtime.Module(engine, other.wasm), [])
    inner: Any = wasmtime.component.Linker(engine).instantiate(
        store, wasmtime.component.Component(engine, component.wasm)
    )
    for _ in range(2):  # one does no harm to the next
        with pytest.raises(OptionError, match="not one of this module"):
            one.snapshot(store, instance)
        with pytest.raises(OptionError, match="in another store"):
            other.snapshot(elsewhere, instance)
        with pytest.raises(OptionError, match="in another store"):
            component.snapshot(elsewhere, inner)
        with pytest.raises(OptionError, match="an instance of a module"):
            other.snapshot(store, inner)
        with pytest.raises(OptionError, match="an instance of a component"):
            component.snapshot(store, instance)
        assert other.snapshot(store, instance)
        assert component.snapshot(store, inner)


def test_what_writes_nothing_refuses_to_precompile(tmp_path: Path) -> None:
    wat = '(module (func (export "wizer-initialize")))'
    for what in (lambda **o: wizer.audit(wat, **o), lambda **o: wizer.verify(wat, wizer.wizen(wat), **o)):
        with pytest.raises(wizer.OptionError, match="no effect of the option `precompile`"):
            what(precompile=tmp_path / "ahead")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fields", ['(memory 1) (data (global.get 0) "")', "(func (drop (global.get 0)))"])
def test_an_invalid_module_is_not_instrumented(fields: str) -> None:
    """Although what is appended has a global, too."""
    wasm = binary(f"(module (global i32 (i32.const 1)) {fields})").replace(
        b"\x06\x06\x01\x7f\x00\x41\x01\x0b", b""
    )
    with pytest.raises(InvalidError, match="unknown global"):
        Wizer().instrument(wasm)
