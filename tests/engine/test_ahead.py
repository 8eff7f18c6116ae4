"""Compiled ahead: what `precompile` writes starts with `wizer.load`, and only where it belongs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import wasmtime
import wasmtime.component as wc

import wizer
from support.command import Tool
from support.guest import Guest
from wizer.engine.versions import major

COUNTER = """
(module
  (memory (export "memory") 1)
  (global $count (mut i32) (i32.const 0))
  (func (export "wizer-initialize") (global.set $count (i32.const 41)))
  (func (export "next") (result i32) (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (global.get $count)))
"""

COMPONENT = """
(component
  (core module $m
    (global $g (mut i32) (i32.const 0))
    (func (export "init") (global.set $g (i32.const 42)))
    (func (export "get") (result i32) (global.get $g)))
  (core instance $i (instantiate $m))
  (func (export "wizer-initialize") (canon lift (core func $i "init")))
  (func (export "get") (result u32) (canon lift (core func $i "get"))))
"""


def answer(module: wasmtime.Module, engine: wasmtime.Engine) -> object:
    store = wasmtime.Store(engine)
    function = wasmtime.Instance(store, module, []).exports(store)["next"]
    assert isinstance(function, wasmtime.Func)
    return function(store)


def test_a_module_that_was_compiled_starts_where_the_snapshot_does(tmp_path: Path) -> None:
    path = tmp_path / "counter.cwasm"
    snapshot = wizer.wizen(COUNTER, precompile=path)
    module = wizer.load(path)
    assert isinstance(module, wasmtime.Module)
    assert answer(module, module.engine) == answer(module, module.engine) == 42  # each begins anew
    assert Guest(snapshot)("next") == 42


def test_a_plain_module_is_for_a_plain_engine(tmp_path: Path) -> None:
    path = tmp_path / "counter.cwasm"
    wizer.wizen(COUNTER, precompile=str(path))
    engine = wasmtime.Engine()
    assert answer(wasmtime.Module.deserialize_file(engine, str(path)), engine) == 42
    module = wizer.load(path, engine)
    assert module.engine is engine


def test_proposals_that_a_plain_engine_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "counter.cwasm"
    wizer.wizen(COUNTER.replace('"memory") 1', '"memory") 9 (pagesize 1)'), precompile=path)
    module = wizer.load(path)
    assert isinstance(module, wasmtime.Module)
    assert answer(module, module.engine) == 42
    with pytest.raises(wizer.WizerError, match="was not compiled for this engine") as refused:
        wizer.load(path, wasmtime.Engine())
    assert "custom_page_sizes" in refused.value.causes[-1]


def test_a_component_that_was_compiled(tmp_path: Path) -> None:
    path = tmp_path / "component.cwasm"
    wizer.wizen(COMPONENT, precompile=path)
    component = wizer.load(path)
    assert isinstance(component, wc.Component)
    store = wasmtime.Store(component.engine)
    function = wc.Linker(component.engine).instantiate(store, component).get_func(store, "get")
    assert function is not None
    assert function(store) == 42


def test_a_session_is_frozen_into_machine_code(tmp_path: Path) -> None:
    path = tmp_path / "counter.cwasm"
    with wizer.Session(COUNTER) as session:
        session.call("wizer-initialize")
        assert session.precompile(path, remove=["wizer-initialize"]) == path.stat().st_size
    module = wizer.load(path)
    assert isinstance(module, wasmtime.Module)
    assert [export.name for export in module.exports] == ["memory", "next"]
    assert answer(module, module.engine) == 42


def test_settings_have_to_be_the_same(tmp_path: Path) -> None:
    path = tmp_path / "counter.cwasm"
    config = wizer.EngineConfig(memory_guard_size=0, opt_level="speed_and_size")
    wizer.wizen(COUNTER, precompile=path, engine=config)
    module = wizer.load(path, config)
    assert isinstance(module, wasmtime.Module)
    assert answer(module, module.engine) == 42
    with pytest.raises(wizer.WizerError, match="compile the snapshot again") as refused:
        wizer.load(path)
    assert "guard size" in refused.value.causes[-1]


def test_another_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "counter.cwasm"
    wizer.wizen(COUNTER, precompile=path)
    contents = path.read_bytes()
    mine = b"\x02%d\x18" % major()
    assert contents.count(mine) == 1
    path.write_bytes(contents.replace(mine, b"\x0247\x18"))
    message = rf"not compiled for this engine, wasmtime {major()}\."
    with pytest.raises(wizer.WizerError, match=message) as refused:
        wizer.load(path)
    assert "incompatible version '47'" in refused.value.causes[-1]


def test_a_file_that_is_no_machine_code(tmp_path: Path) -> None:
    path = tmp_path / "counter.wasm"
    path.write_bytes(wizer.wizen(COUNTER))
    for contents in path.read_bytes(), b"", b"\x7fELF\x02" + bytes(59):
        path.write_bytes(contents)
        with pytest.raises(wizer.OptionError, match="is not what the engine compiles"):
            wizer.load(path)
    with pytest.raises(wizer.InputError, match="cannot be read"):
        wizer.load(tmp_path / "missing.cwasm")


def test_the_command_line_writes_both(tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(COUNTER)
    run = Tool((sys.executable, "-m", "wizer"), tmp_path)
    done = run("in.wat", "-o", "out.wasm", "--precompile", "out.cwasm")
    assert done.status == 0, done.stderr
    assert Guest((tmp_path / "out.wasm").read_bytes())("next") == 42
    module = wizer.load(tmp_path / "out.cwasm")
    assert isinstance(module, wasmtime.Module)
    assert answer(module, module.engine) == 42
    refused = run("in.wat", "-o", "other.wasm", "--precompile", "none/out.cwasm")
    assert refused.status == 4
    assert not (tmp_path / "other.wasm").exists()
