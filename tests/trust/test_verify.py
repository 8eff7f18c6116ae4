"""A snapshot is checked against what it was made from; one planted difference of each kind is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import wizer
from support.command import wizer as run_wizer
from support.engine import binary
from wizer import Session
from wizer.api import verify
from wizer.binary import sections as sec
from wizer.binary.module import parse_module
from wizer.trust.verify import VerificationError, verify_session

STATE = """
(module
  (type $pair (struct (field $left (mut (ref null $pair))) (field $right (mut (ref null $pair)))
                      (field $number (mut i64))))
  (type $bytes (array (mut i8)))
  (type $refs (array (mut (ref null $pair))))
  (tag $tag (param i32))
  (import "host" "hook" (func $hook))
  (import "env" "shared" (memory $captured 1))
  (import "env" "slot" (table $slot 2 funcref))
  (import "env" "count" (global $count (mut i32)))
  (memory $first 2 10)
  (memory $wide i64 1)
  (table $handlers 4 16 funcref)
  (table $objects 2 (ref null any))
  (global $seed (mut i32) (i32.const 1))
  (global $ratio (mut f64) (f64.const 0))
  (global $vector (mut v128) (v128.const i64x2 0 0))
  (global $callback (mut funcref) (ref.null func))
  (global $cache (mut (ref null $pair)) (ref.null $pair))
  (global $text (mut (ref null $bytes)) (ref.null $bytes))
  (global $list (mut (ref null $refs)) (ref.null $refs))
  (global $error (mut exnref) (ref.null exn))
  (global $small (mut anyref) (ref.null any))
  (elem $late funcref (ref.func $a) (ref.func $b))
  (data $blob "passive")
  (func $a (export "a")) (func $b (export "b"))
  (func $new (param $n i64) (result (ref $pair))
    (struct.new $pair (ref.null $pair) (ref.null $pair) (local.get $n)))
  (func (export "init") (local $p (ref null $pair)) (local $q (ref null $pair))
    (i32.store $first (i32.const 0x1234) (i32.const 0x64636261))
    (i64.store $wide (i64.const 8) (i64.const 7))
    (i32.store $captured (i32.const 0) (i32.const 5))
    (table.set $handlers (i32.const 1) (ref.func $a))
    (table.set $slot (i32.const 0) (ref.func $a))
    (global.set $seed (i32.const 7))
    (global.set $ratio (f64.const nan:0x4000000000001))
    (global.set $callback (ref.func $a))
    (local.set $q (call $new (i64.const 3)))
    (local.set $p (struct.new $pair (local.get $q) (local.get $q) (i64.const 1)))
    (struct.set $pair $left (local.get $q) (local.get $p))
    (global.set $cache (local.get $p))
    (table.set $objects (i32.const 1) (local.get $q))
    (global.set $text (array.new $bytes (i32.const 0x41) (i32.const 20)))
    (global.set $list (array.new $refs (local.get $q) (i32.const 3)))
    (global.set $small (ref.i31 (i32.const 4)))
    (global.set $error (block $caught (result exnref)
      (try_table (catch_all_ref $caught) (throw $tag (i32.const 1))) (unreachable))))
  (func (export "memory byte") (i32.store8 $first (i32.const 0x1235) (i32.const 0)))
  (func (export "memory zero") (i32.store8 $first (i32.const 0x11000) (i32.const 9)))
  (func (export "memory size") (drop (memory.grow $first (i32.const 1))))
  (func (export "wide memory") (i64.store $wide (i64.const 8) (i64.const 8)))
  (func (export "captured memory") (i32.store $captured (i32.const 0) (i32.const 6)))
  (func (export "captured table") (table.set $slot (i32.const 1) (ref.func $b)))
  (func (export "captured global") (global.set $count (i32.const 2)))
  (func (export "table element") (table.set $handlers (i32.const 1) (ref.func $b)))
  (func (export "table null") (table.set $handlers (i32.const 1) (ref.null func)))
  (func (export "table size") (drop (table.grow $handlers (ref.null func) (i32.const 1))))
  (func (export "table identity") (table.set $objects (i32.const 1) (global.get $cache)))
  (func (export "number") (global.set $seed (i32.const 8)))
  (func (export "nan") (global.set $ratio (f64.const nan:0x4000000000002)))
  (func (export "vector") (global.set $vector (v128.const i64x2 0 1)))
  (func (export "function") (global.set $callback (ref.func $b)))
  (func (export "field") (struct.set $pair $number (global.get $cache) (i64.const 2)))
  (func (export "deep field")
    (struct.set $pair $number (struct.get $pair $left (global.get $cache)) (i64.const 4)))
  (func (export "identity")
    (struct.set $pair $right (global.get $cache) (call $new (i64.const 3)))
    (struct.set $pair $left (struct.get $pair $right (global.get $cache)) (global.get $cache)))
  (func (export "cycle")
    (struct.set $pair $left (struct.get $pair $left (global.get $cache)) (ref.null $pair)))
  (func (export "array byte") (array.set $bytes (global.get $text) (i32.const 17) (i32.const 0x42)))
  (func (export "array length") (global.set $text (array.new $bytes (i32.const 0x41) (i32.const 19))))
  (func (export "array element") (array.set $refs (global.get $list) (i32.const 2) (ref.null $pair)))
  (func (export "scalar") (global.set $small (ref.i31 (i32.const 5))))
  (func (export "class") (global.set $small (global.get $text)))
  (func (export "payload")
    (global.set $error (block $caught (result exnref)
      (try_table (catch_all_ref $caught) (throw $tag (i32.const 2))) (unreachable))))
  (func (export "elements dropped") (elem.drop $late))
  (func (export "data dropped") (data.drop $blob))
  (func (export "uses")
    (table.init $handlers $late (i32.const 0) (i32.const 0) (i32.const 0))
    (memory.init $first $blob (i32.const 0) (i32.const 0) (i32.const 0)))
  (func $hidden (call $hook))
  (@custom "note" "kept")
)
"""

PLANTED = {
    "memory byte": 'memory 1 ("first") at 0x1235: 62 in the original\'s state, 00 in the snapshot',
    "memory zero": 'memory 1 ("first") at 0x11000: 00 in the original\'s state, 09 in the snapshot',
    "memory size": 'size of memory 1 ("first"): 2 pages in',
    "wide memory": 'memory 2 ("wide") at 0x8: 07 in',
    "captured memory": 'memory 0 ("captured") at 0x0: 05 in',
    "captured table": 'table 0 ("slot") element 1: null in the original\'s state, function 2 ("b") in',
    "captured global": 'global 0 ("count"): i32 0 (0x0) in the original\'s state, i32 2 (0x2) in',
    "table element": 'table 1 ("handlers") element 1: function 1 ("a") in',
    "table null": 'table 1 ("handlers") element 1: function 1 ("a") in the original\'s state, null in',
    "table size": 'size of table 1 ("handlers"): 4 elements in',
    "table identity": 'table 2 ("objects") element 1',
    "number": 'global 1 ("seed"): i32 7 (0x7) in the original\'s state, i32 8 (0x8) in the snapshot',
    "nan": 'global 2 ("ratio"): f64 nan (0x7ff4000000000001) in',
    "vector": 'global 3 ("vector"): v128 0x0 in',
    "function": 'global 4 ("callback"): function 1 ("a") in',
    "field": 'global 5 ("cache") field 2 ("number"): i64 1 (0x1) in',
    "deep field": """field 2 ("number"): i64 3 (0x3) in the original's state, i64 4 (0x4) in the snapshot""",
    "identity": """field 1 ("right"): an object also found elsewhere in the original's state""",
    "cycle": """field 0 ("left"): an object in the original's state, null in the snapshot""",
    "array byte": 'global 6 ("text") bytes 17..18: 41 in',
    "array length": 'global 6 ("text"): an array of 20 bytes in',
    "array element": 'global 7 ("list") element 2: an object in the original\'s state, null in',
    "scalar": 'global 9 ("small"): i31 4 in',
    "class": 'global 9 ("small"): i31 4 in the original\'s state, an object in',
    "payload": 'global 8 ("error") field 0: i32 1 (0x1) in',
    "elements dropped": "element segment 0: 2 elements in the original's state, dropped or empty in",
    "data dropped": "data segment 0: 7 bytes in the original's state, dropped or empty in",
}


def booted() -> Session:
    session = Session(STATE, imports={"env": {"count": 0}})
    session.call("init")
    return session


def test_a_snapshot_is_what_it_was_made_from() -> None:
    with booted() as session:
        verify_session(session, session.snapshot())


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_state_is_found(planted: str) -> None:
    with booted() as session, booted() as other:
        other.call(planted)
        with pytest.raises(VerificationError) as error:
            verify_session(session, other.snapshot())
        assert PLANTED[planted] in error.value.message
        with pytest.raises(VerificationError):
            verify_session(other, session.snapshot())


def _edited(section_id: int, edit: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Return what changes the contents of a section, without changing their length."""

    def plant(wasm: bytes) -> bytes:
        section = next(s for s in parse_module(wasm).sections if s.id == section_id and s.name != "name")
        contents = edit(wasm[section.start : section.end])
        assert contents != wasm[section.start : section.end]
        return wasm[: section.start] + contents + wasm[section.end :]

    return plant


MODULE = {
    "export": (_edited(sec.EXPORT, lambda names: names.replace(b"uses", b"uzes")), "export `uses`: func"),
    "import": (
        _edited(sec.IMPORT, lambda names: names.replace(b"hook", b"kooh")),
        "import 0 (`host::hook`): host::hook",
    ),
    "custom section": (
        _edited(sec.CUSTOM, lambda note: note.replace(b"kept", b"lost")),
        "custom section 0 (`note`): 4 bytes",
    ),
}


def test_a_custom_section_of_our_name_that_is_somebody_else_s_is_missed() -> None:
    wat = '(module (@custom "wizer" "kept") (func (export "init")))'
    with Session(wat) as session:
        snapshot = session.snapshot()
        verify_session(session, snapshot)
        with pytest.raises(VerificationError, match=r"custom section 0 \(`wizer`\)"):
            verify_session(session, snapshot.replace(b"kept", b"lost"))


@pytest.mark.parametrize("planted", MODULE)
def test_planted_changes_of_the_module_are_found(planted: str) -> None:
    plant, message = MODULE[planted]
    with booted() as session, pytest.raises(VerificationError) as error:
        verify_session(session, plant(session.snapshot()))
    assert message in error.value.message


def test_a_changed_body_is_found() -> None:
    one = '(module (memory 1) (func (export "f") (result i32) (i32.const {})))'
    with Session(one.format(2)) as other:
        snapshot = other.snapshot()
    with Session(one.format(1)) as session, pytest.raises(VerificationError, match="body of func 0"):
        verify_session(session, snapshot)


def test_a_start_function_that_would_run_again_is_found() -> None:
    wat = """(module (global $n (mut i32) (i32.const {})) {}
      (func $s (global.set $n (i32.const 2))) (export "n" (global $n)))"""
    unchanged = binary(wat.format(2, "(start $s)"))
    with Session(unchanged) as session, pytest.raises(VerificationError, match="start function: none in"):
        verify_session(session, unchanged)


CLOCK = """
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize") (drop (call $random (i32.const 64) (i32.const 8)))
    (i32.store (i32.const 128) (i32.const {})))
  (func (export "more") (i32.store (i32.const 128) (i32.const 6))))
"""


def test_original_and_snapshot() -> None:
    wasi = wizer.Wasi()
    made = wizer.wizen(CLOCK.format(5), wasi=wasi, deterministic=3)
    verify(CLOCK.format(5), made, wasi=wasi, deterministic=3)
    with pytest.raises(VerificationError, match="two runs of the original differ") as undecided:
        verify(CLOCK.format(5), wizer.wizen(CLOCK.format(5), wasi=wasi), wasi=wasi)
    assert undecided.value.undecided
    functions = ("wizer-initialize", "more")
    other = wizer.wizen(CLOCK.format(5), init_func=functions, rename={"more": "more"}, wasi=wasi)
    with pytest.raises(VerificationError, match=r"memory 0 .* at 0x80: 05 in") as error:
        verify(CLOCK.format(5), other, wasi=wasi)
    assert not error.value.undecided
    assert [found.span for found in error.value.differences if found.kind == "memory"] == [(128, 129)]


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(CLOCK.format(5))
    common: list[str | Path] = ["--allow-wasi", tmp_path / "in.wat", "-r", "absent=missing"]
    made = tmp_path / "out.wasm"
    assert run_wizer(*common, "--deterministic=2", "--verify", "-o", made).returncode == 0
    assert run_wizer("verify", *common, made, "--deterministic=2").returncode == 0
    other = run_wizer("verify", *common, made, "--deterministic=3")
    assert other.returncode == 1
    assert b"memory 0" in other.stderr
    assert run_wizer("verify", *common, made).returncode == 3
    assert run_wizer("verify", tmp_path / "in.wat").returncode == 2
    made.write_bytes(b"\0asm")
    broken = run_wizer("verify", *common, made)
    assert broken.returncode == 1
    assert b"Traceback" not in broken.stderr


def test_objects_of_others_are_theirs() -> None:
    """What an imported immutable global holds may have changed in the run; its owner starts afresh."""
    owner = """(module (type $s (struct (field (mut i32))))
      (global (export "g") (ref $s) (struct.new $s (i32.const 1))))"""
    module = """(module (type $s (struct (field (mut i32))))
      (import "owner" "g" (global $g (ref $s)))
      (global $own (mut (ref null $s)) (ref.null $s))
      (table $t 1 (ref null $s))
      (elem $late (ref null $s) (item (global.get $g)) (item (struct.new $s (i32.const 3))))
      (func (export "init") (global.set $own (global.get $g)) (struct.set $s 0 (global.get $g) (i32.const 9)))
      (func (export "use") (table.init $t $late (i32.const 0) (i32.const 0) (i32.const 1))))"""
    with Session(module, preload={"owner": owner}) as session:
        session.call("init")
        verify_session(session, session.snapshot())


def test_segments_that_no_code_refers_to_may_have_moved() -> None:
    wat = """(module (type $s (struct (field i32))) (table 4 funcref) (func $f) (elem $empty funcref)
      (elem $late (ref null $s) (item (struct.new $s (i32.const 3)))) (elem $null (ref null $s) (ref.null $s))
      (elem declare func $f)
      (func (export "init") (table.set (i32.const 1) (ref.func $f))))"""
    with Session(wat) as session:
        session.call("init")
        snapshot = session.snapshot()
        assert parse_module(snapshot).elements[0].mode == "active"
        verify_session(session, snapshot)
        with pytest.raises(VerificationError):
            verify_session(session, snapshot.replace(b"\x41\x03\xfb\x00", b"\x41\x04\xfb\x00"))
