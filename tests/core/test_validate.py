"""Each output is validated before it is handed out; what is beyond the limits of engines is an error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import wizer
from support.command import wizer as run_wizer
from support.tools import assembled
from wizer import StateError
from wizer.component.parse import parse_component
from wizer.engine.config import EngineConfig
from wizer.engine.original import Original
from wizer.engine.validate import Validator
from wizer.engine.versions import major


def validate_snapshot(wasm: bytes, config: EngineConfig) -> None:
    Validator(config, Original(wasm)).module([wasm])()


def validate_component_snapshot(wasm: bytes, config: EngineConfig) -> None:
    Validator(config, Original(wasm)).component([wasm])()


def component(instances: int, *, different: bool) -> str:
    """A component of many instances of one module, whose states are equal or not."""
    made = "".join(
        f'(core instance $i{number} (instantiate $m (with "" (instance (export "n" (func $count))))))'
        if different
        else f"(core instance $i{number} (instantiate $m))"
        for number in range(instances)
    )
    counter = """(core module $counter (global $n (mut i32) (i32.const 0))
      (func (export "n") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))
      (core instance $counter (instantiate $counter)) (alias core export $counter "n" (core func $count))"""
    module = (
        """(core module $m (import "" "n" (func $n (result i32))) (global $own (mut i32) (i32.const 0))
        (func $start (global.set $own (call $n))) (start $start))"""
        if different
        else "(core module $m (memory 0))"
    )
    init = """(core module $init (func (export "f"))) (core instance $ii (instantiate $init))
      (func (export "wizer-initialize") (canon lift (core func $ii "f")))"""
    return f"(component {init} {counter if different else ''} {module} {made})"


def modules(wasm: bytes) -> int:
    return sum(item.sort == "core module" for item in parse_component(wasm).items)


many_instances = pytest.mark.skipif(major() < 50, reason="wasmtime 50 takes more than 1,000 core instances")


@many_instances
def test_equal_modules_are_there_once() -> None:
    wasm = wizer.wizen(assembled(component(1200, different=False)))
    assert modules(wasm) == 2


@many_instances
def test_more_modules_than_engines_take_are_an_error() -> None:
    with pytest.raises(StateError, match=r"needs 1102 modules .* engines take 1000"):
        wizer.wizen(assembled(component(1100, different=True)))
    some = wizer.wizen(assembled(component(30, different=True)))
    assert modules(some) == 32


def test_what_the_engine_refuses_is_an_error() -> None:
    for wasm, check in (
        (f"(module {'(table 1 funcref)' * 101})", validate_snapshot),
        (f"(component (core module {'(table 1 funcref)' * 101}))", validate_component_snapshot),
    ):
        with pytest.raises(StateError) as error:
            check(assembled(wasm), EngineConfig())
        assert "tables count exceeds limit of 100" in str(error.value)


def test_without_validation(tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text('(module (func (export "wizer-initialize")))')
    outputs = set()
    for options in ((), ("--no-validate",)):
        run = run_wizer(*options, tmp_path / "in.wat", "-o", tmp_path / "out.wasm")
        assert run.returncode == 0, run.stderr
        outputs.add((tmp_path / "out.wasm").read_bytes())
    assert len(outputs) == 1


def test_modules_and_components_are_told_apart() -> None:
    validate_snapshot(assembled("(module)"), EngineConfig())
    validate_component_snapshot(assembled("(component)"), EngineConfig())
    with pytest.raises(StateError, match="a module that engines refuse"):
        validate_snapshot(assembled("(module)") + b"\x63\x00", EngineConfig())
    with pytest.raises(StateError, match="a component that engines refuse"):
        validate_component_snapshot(assembled("(component)") + b"\x63\x00", EngineConfig())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the cache folder does not follow HOME")
def test_what_was_valid_is_noted_and_what_was_not_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def notes() -> set[str]:
        return {path.name for path in tmp_path.rglob("*.valid")}

    body = "(drop (v128.const i64x2 0 0))" * 5000
    wasm = assembled(f"(module (func {body}))")
    validate_snapshot(wasm, EngineConfig(cache=False))
    assert not notes()
    validate_snapshot(wasm, EngineConfig())
    (note,) = notes()
    validate_snapshot(wasm, EngineConfig())
    assert notes() == {note}
    without = EngineConfig(features={"simd": False, "relaxed-simd": False})
    for _ in range(2):
        with pytest.raises(StateError, match="engines refuse"):
            validate_snapshot(wasm, without)
    assert notes() == {note}
    validate_snapshot(wasm + b"\0\1\0", EngineConfig())
    assert len(notes()) == 2
