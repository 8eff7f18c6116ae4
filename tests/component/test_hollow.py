"""Hollow modules: to a component they are what they stand for."""

from __future__ import annotations

import pytest
import wasmtime

from support.components import INIT
from support.engine import engine
from support.tools import assembled
from wizer import Session
from wizer.binary.module import parse_module
from wizer.component.freeze import rewritten
from wizer.component.hollow import hollow, linked_names
from wizer.component.instances import evaluate
from wizer.component.parse import parse_component
from wizer.core.state import MemoryState, State, TableState
from wizer.engine.config import EngineConfig
from wizer.engine.original import Original
from wizer.engine.validate import Validator
from wizer.errors import StateError
from wizer.options import Options
from wizer.records import replace

MODULE = """(module
    (type $s (struct (field i32)))
    (tag $t (import "env" "t") (param i64))
    (func $i (export "again") (import "env" "f") (param i32))
    (global $g (import "env" "g") (mut i32))
    (memory (export "m") 1 9)
    (table (export "table") 2 funcref)
    (table $inner 3 externref)
    (tag $own (export "tag") (param f32))
    (global (export "v") (mut v128) (v128.const i64x2 1 2))
    (global (export "n") (ref null $s) (ref.null $s))
    (func $f (param i32) (result f64) (f64.const 1))
    (func (export "f") (param i32) (result f64) (f64.const 1))
    (func (export "unused"))
    (export "f2" (func $f)) (export "f3" (func $f)) (export "g" (global $g))
    (elem (i32.const 0) func $f) (data (i32.const 0) "x")
    (start $last) (func $last))"""


def described(wasm: bytes) -> dict[str, object]:
    """What is exported: its type or the index of it, but for the minimum of sizes."""
    module = parse_module(wasm)
    found: dict[str, object] = {}
    for export in module.exports:
        match export.kind:
            case "func":
                found[export.name] = module.funcs[export.index]
            case "tag":
                found[export.name] = module.tags[export.index]
            case "global":
                found[export.name] = module.globals[export.index].type
            case "memory":
                limits = module.memories[export.index].limits
                found[export.name] = replace(limits, minimum=0)
            case "table":
                table = module.tables[export.index].type
                found[export.name] = replace(table, limits=replace(table.limits, minimum=0))
    return found


def test_imports_and_exports_are_those_of_the_snapshot() -> None:
    module = parse_module(assembled(MODULE))
    state = State(memories={0: MemoryState(5, memoryview(b""))}, tables={0: TableState(7), 1: TableState(3)})
    names = {export.name for export in module.exports} - {"unused"}
    wasm = b"".join(hollow(module, state, names))
    wasmtime.Module.validate(engine(), wasm)
    made = parse_module(wasm)
    assert made.imports == module.imports
    assert described(wasm) == {name: of for name, of in described(module.wasm).items() if name in names}
    assert (made.memories[0].limits.minimum, made.tables[0].type.limits.minimum) == (5, 7)
    assert len(made.funcs) == 3  # the import, and what has two names once
    assert len(made.tables) == 1
    assert not made.data
    assert not made.elements
    assert made.start is None


def test_what_has_no_value_is_kept_as_it_is() -> None:
    module = parse_module(assembled('(module (func $f) (global (export "g") (ref func) (ref.func $f)))'))
    wasm = b"".join(hollow(module, State(), {"g"}))
    wasmtime.Module.validate(engine(), wasm)
    assert described(wasm) == described(module.wasm)


def test_names_of_nested_components_count() -> None:
    text = """(component
      (core module $m (func (export "a")) (func (export "b")) (func (export "c")))
      (core instance $i (instantiate $m))
      (core module $n (import "i" "a" (func)))
      (core instance (instantiate $n (with "i" (instance $i))))
      (component (core module $k (func (export "b"))) (core instance $j (instantiate $k))
        (alias core export $j "b" (core func))))"""
    assert linked_names(evaluate(parse_component(assembled(text)))) == {"a", "b"}


GROWING = f"""(component
    (core module $m (memory (export "m") 1 2) (func (export "grow") (drop (memory.grow (i32.const 1)))))
    (core instance $i (instantiate $m))
    (core module $n (import "i" "m" (memory 1 2)))
    (core instance (instantiate $n (with "i" (instance $i))))
    (func (export "{INIT}") (canon lift (core func $i "grow"))))"""


def test_a_component_that_engines_refuse_is_not_handed_out() -> None:
    with Session(assembled(GROWING)) as session:
        session.call(INIT)
        assert session.snapshot()
    instances = evaluate(parse_component(assembled(GROWING)))
    view = memoryview(bytes(65536))
    too_large = {0: State(memories={0: MemoryState(3, view)}), 1: State()}  # more than the maximum of 2
    with pytest.raises(StateError, match="engines refuse"):
        rewritten(instances, too_large, {}, (), Options(), Validator(EngineConfig(), Original(b"")))
