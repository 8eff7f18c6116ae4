"""What every snapshot promises, one test for each part of each promise."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from support.command import environment
from support.engine import binary
from support.guest import Guest, custom_sections, frozen, refrozen, survives, validate
from support.tools import complaint, printed
from wizer import EngineConfig, Session, StateError, wizen
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module, parse_module
from wizer.core.previous import Appended, checked_contents, marker
from wizer.records import field_names

MVP = """(module (type $f (func (result i32))) (import "env" "f" (func $imported))
    (memory 1) (table 4 funcref) (elem (i32.const 1) $one $init) (data (i32.const 8) "hello") (data
      (i32.const 99) "x")
    (global $g (mut i32) (i32.const 0)) (global $d (mut f64) (f64.const 0))
    (func $one (result i32) (i32.const 1))
    (func $init (export "init") (i32.store (i32.const 1000) (i32.const 7)) (global.set $g (i32.const 1))
      (global.set $d (f64.const nan)) (drop (memory.grow (i32.const 1))))
    (func (export "read") (result i32)
      (i32.add (i32.load (i32.const 1000)) (call_indirect (type $f) (i32.const 1)))))"""


# Promise 1: valid in, valid out, under the same features.


def test_an_mvp_module_stays_an_mvp_module() -> None:
    snapshot = frozen(MVP)
    assert complaint(snapshot, "mvp") == ""
    assert not {12} & {section.id for section in parse_module(snapshot).sections}, "no DataCount section"


def test_the_snapshot_of_an_mvp_module_works() -> None:
    survives(MVP, "read")


@pytest.mark.parametrize(
    ("features", "wat"),
    [
        ("mvp,bulk-memory", '(memory 1) (data $d "a") (func (export "init") (data.drop $d))'),
        (
            "mvp,reference-types,bulk-memory",
            '(table 1 externref) (func (export "init") (drop (table.grow (ref.null extern) (i32.const 2))))',
        ),
        (
            "mvp,simd",
            "(global $v (mut v128) (v128.const i64x2 0 0))"
            '(func (export "init") (global.set $v (v128.const i64x2 1 2)))',
        ),
        (
            "mvp,multi-memory",
            '(memory 1) (memory $m 1) (func (export "init") (i32.store $m (i32.const 1) (i32.const 2)))',
        ),
        ("mvp,memory64", '(memory i64 1) (func (export "init") (i32.store (i64.const 1) (i32.const 2)))'),
        ("mvp,threads", '(memory 1 1 shared) (func (export "init") (i32.store (i32.const 1) (i32.const 2)))'),
        (
            "wasm2",
            "(table 3 funcref) (elem declare func $f) (func $f)"
            '(func (export "init") (table.set (i32.const 1) (ref.func $f)))',
        ),
        (
            "wasm2,function-references,gc-types,gc",
            "(type $s (struct (field i32))) (global $g (mut (ref null $s)) (ref.null $s))"
            '(func (export "init") (global.set $g (struct.new $s (i32.const 1))))',
        ),
    ],
)
def test_no_feature_is_added(features: str, wat: str) -> None:
    wasm = binary(f"(module {wat})")
    assert complaint(wasm, features) == ""
    assert complaint(frozen(wasm), features) == ""


# Promise 2: bodies, index spaces and custom sections.


def bodies(module: Module) -> list[bytes]:
    """The function bodies, sizes included."""
    section = module.section(10)
    if section is None:
        return []
    reader = section.reader(module.wasm)
    found = []
    for _ in range(reader.count()):
        start = reader.pos
        reader.skip(reader.u32())
        found.append(module.wasm[start : reader.pos])
    assert reader.at_end
    return found


EVERYTHING = """(module (type $s (struct (field (mut anyref)))) (tag $t (param i32))
    (memory 1) (table 4 funcref) (elem declare func $a) (data (i32.const 8) "hello")
    (global $cycle (mut (ref null $s)) (ref.null $s)) (global $exn (mut exnref) (ref.null exn))
    (func $a (result i32) (i32.const 1)) (func $b)
    (func (export "init") (local $s (ref null $s)) (local.set $s (struct.new $s (ref.null any)))
      (struct.set $s 0 (local.get $s) (local.get $s)) (global.set $cycle (local.get $s))
      (table.set (i32.const 0) (ref.func $a))
      (global.set $exn (block $h (result exnref)
        (try_table (catch_all_ref $h) (throw $t (i32.const 5))) unreachable))))"""


@pytest.mark.parametrize("wat", [MVP, EVERYTHING])
def test_bodies_are_byte_identical(wat: str) -> None:
    before, after = parse_module(binary(wat)), parse_module(frozen(wat))
    assert bodies(after)[: len(bodies(before))] == bodies(before)


@pytest.mark.parametrize("wat", [MVP, EVERYTHING])
def test_index_spaces_only_grow_at_the_end(wat: str) -> None:
    before, after = parse_module(binary(wat)), parse_module(frozen(wat))
    for space in ("types", "funcs", "tags", "imports", "exports"):
        old = getattr(before, space)
        assert getattr(after, space)[: len(old)] == old
    for space in ("globals", "tables"):
        old = [item.type for item in getattr(before, space)]
        new = [item.type for item in getattr(after, space)]
        assert [getattr(item, "valtype", getattr(item, "element", None)) for item in new[: len(old)]] == [
            getattr(item, "valtype", getattr(item, "element", None)) for item in old
        ]
    assert len(after.memories) == len(before.memories)


def test_sections_in_an_overlong_encoding_keep_their_bodies() -> None:
    """A body whose integers are longer than they need be is not encoded anew."""
    padded = b"\x0a\x00\x41\x80\x80\x80\x80\x00\x1a\x01\x0b"  # i32.const 0 in five bytes, drop, nop
    wasm = bytearray(binary('(module (global $g (mut i32) (i32.const 0)) (func $p) (func (export "init")))'))
    section = parse_module(bytes(wasm)).section(10)
    assert section is not None
    code = b"\x02" + padded + b"\x02\x00\x0b"
    wasm[section.start - 2 : section.end] = b"\x0a" + encode_unsigned(len(code)) + code
    validate(bytes(wasm))
    assert bodies(parse_module(frozen(bytes(wasm)))) == [padded, b"\x02\x00\x0b"]


def custom(name: str, contents: bytes) -> bytes:
    """A custom section."""
    body = encode_unsigned(len(name)) + name.encode() + contents
    return b"\x00" + encode_unsigned(len(body)) + body


def with_custom(wat: str, *sections: tuple[int, str, bytes]) -> bytes:
    """A module with custom sections before its n-th section, -1 for the end."""
    wasm = binary(wat)
    plain = [s for s in parse_module(wasm).sections if s.id != 0]
    edges = [8, *(section.end for section in plain)]
    out = wasm[:8]
    for number, (start, end) in enumerate(pairwise(edges)):
        out += b"".join(custom(name, data) for place, name, data in sections if place == number)
        out += wasm[start:end]
    return out + b"".join(custom(name, data) for place, name, data in sections if place == -1)


WITH_STATE = """(module (memory 1) (global $g (mut i32) (i32.const 0))
    (func (export "init") (i32.store (i32.const 4) (i32.const 5)) (global.set $g (i32.const 1))))"""


def test_custom_sections_keep_their_bytes_and_order() -> None:
    sections = (
        (0, "dylink.0", b"\x01\x04\x00\x00\x00\x00"),
        (2, ".debug_info", b"\x00\xff" * 50),
        (3, ".debug_info", b"again"),
        (-1, "name", b"\x00\x02\x01m"),
        (-1, "producers", b"\x01"),  # malformed: see test_producers.py
        (-1, "", b""),
    )
    snapshot = frozen(with_custom(WITH_STATE, *sections))
    assert custom_sections(snapshot) == [(name, data) for _, name, data in sections]
    ids = [section.id for section in parse_module(snapshot).sections]
    assert ids[0] == 0, "dylink.0 stays first"
    assert ids[-3:] == [0, 0, 0], "the others stay last, after the new data section"


def test_custom_sections_of_an_all_custom_module() -> None:
    wasm = with_custom('(module (func (export "init")))', (0, "a", b"1"), (1, "b", b"2"), (-1, "c", b"3"))
    assert custom_sections(frozen(wasm)) == [("a", b"1"), ("b", b"2"), ("c", b"3")]


def test_sections_of_a_relocatable_object_go() -> None:
    wasm = with_custom(
        WITH_STATE,
        *((0, "linking", b"\x02"), (-1, "reloc.CODE", b"\x00\x00"), (-1, "reloc..debug_info", b"\x00\x00")),
        *((-1, "relocated", b"no relation"), (-1, "target_features", b"\x00")),
    )
    assert [name for name, _ in custom_sections(frozen(wasm))] == ["relocated", "target_features"]


def test_a_section_of_others_that_is_called_as_ours_stays() -> None:
    sections = ((0, "wizer", b"not ours"), (-1, "wizer", b""), (-1, "wizer", bytes(40)))
    snapshot = frozen(with_custom(WITH_STATE, *sections))
    assert custom_sections(snapshot) == [(name, data) for _, name, data in sections]


@pytest.mark.parametrize("name", ["funcs", "tables", "globals", "elements", "data"])
def test_a_marker_that_cannot_be_true_is_not_believed(name: str) -> None:
    wasm = binary(WITH_STATE)
    nothing = dict.fromkeys(field_names(Appended), 0)
    for funcs in (0, 1):
        appended = Appended(**{**nothing, "funcs": funcs, name: 2})
        assert frozen(wasm + marker(appended, checked_contents(parse_module(wasm)))) == frozen(wasm)


def test_dwarf_still_fits_since_code_offsets_are_the_same() -> None:
    wasm = binary(WITH_STATE)
    before, after = parse_module(wasm), parse_module(frozen(wasm))
    old, new = before.section(10), after.section(10)
    assert old is not None
    assert new is not None
    assert wasm[old.start : old.end] == after.wasm[new.start : new.end]


# Promise 3: every kind of state is carried, or the run fails and names the item.


@pytest.mark.parametrize(
    ("kind", "wat", "place"),
    [
        (
            "global",
            "(global $g (mut externref) (ref.null extern)) {} (global.set $g (local.get 0))))",
            'global 0 ("g") holds a host externref',
        ),
        (
            "table",
            "(table $handlers 9 externref) {} (table.set (i32.const 7) (local.get 0))))",
            'table 0 ("handlers") element 7 holds a host externref',
        ),
        (
            "array",
            "(type $a (array (mut externref))) (table $t 9 (ref null $a)) {}"
            " (table.set (i32.const 7) (array.new_fixed $a 1 (local.get 0)))))",
            'table 0 ("t") element 7 leads to an object of type 0, which holds a host externref',
        ),
        (
            "exception",
            "(tag $t (param externref)) (global $e (mut exnref) (ref.null exn)) {}"
            " (global.set $e (block $h (result exnref)"
            " (try_table (catch_all_ref $h) (throw $t (local.get 0))) unreachable))))",
            'global 0 ("e") leads to an exception of tag 0, which holds a host externref',
        ),
    ],
)
def test_what_no_module_can_express_is_an_error_that_names_the_place(kind: str, wat: str, place: str) -> None:
    init = '(func (export "init") (param externref)'
    with Session(f"(module {wat.format(init)}") as session:
        session.call("init", object())
        with pytest.raises(StateError) as error:
            session.snapshot()
    assert str(error.value).startswith(place), kind


# Promise 4: the same input makes the same bytes.


@pytest.mark.parametrize("wat", [MVP, EVERYTHING])
def test_every_run_makes_the_same_bytes(wat: str) -> None:
    assert len({frozen(wat) for _ in range(3)}) == 1


def test_another_process_with_another_hash_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(EVERYTHING)
    program = (
        "import sys, pathlib, wizer;"
        "sys.stdout.buffer.write(wizer.wizen(pathlib.Path(sys.argv[1]), init_func='init'))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "in.wat")],
            env={**environment(), "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {wizen(EVERYTHING, init_func="init")}


def test_the_compiler_does_not_show_in_the_bytes() -> None:
    engines = (EngineConfig(compiler="winch"), EngineConfig(compiler="cranelift"))
    assert len({frozen(MVP, engine=engine) for engine in engines}) == 1


# Promise 5: a snapshot of a snapshot.


@pytest.mark.parametrize("wat", [MVP, EVERYTHING, WITH_STATE])
def test_a_snapshot_of_a_snapshot_is_the_same(wat: str) -> None:
    snapshot = frozen(wat)
    again = refrozen(snapshot)
    assert printed(again) == printed(snapshot)
    assert again == snapshot
    assert refrozen(again) == again


def test_state_changed_after_a_snapshot_is_in_the_next_one() -> None:
    with Session(
        """(module (global $g (mut i32) (i32.const 0))
             (func (export "bump") (global.set $g (i32.add (global.get $g) (i32.const 1))))
             (func (export "get") (result i32) (global.get $g)))"""
    ) as session:
        snapshots = []
        for _ in range(3):
            session.call("bump")
            snapshots.append(session.snapshot())
    assert [Guest(snapshot)("get") for snapshot in snapshots] == [1, 2, 3]
