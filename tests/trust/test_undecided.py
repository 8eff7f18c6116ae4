"""Genuine snapshots of programs that depend on chance are never called false."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

import wizer
from support.command import wizer as run_wizer
from wizer import Wasi
from wizer.api import verify
from wizer.trust.verify import VerificationError

_PROGRAMS = int(os.environ.get("WIZER_RANDOM_PROGRAMS", "30"))

ONE_BIT_OF_EACH = """(module
  (import "wasi_snapshot_preview1" "random_get" (func $rand (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize") (local $i i32)
    (drop (call $rand (i32.const 0) (i32.const 64)))
    (loop $l
      (i32.store8 (local.get $i) (i32.and (i32.load8_u (local.get $i)) (i32.const 1)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64)))))
  (func (export "_start")))"""

# What a program does with a random byte, in a local, and with a constant.
_USES = (
    "(i32.store8 (i32.const {at}) (i32.and (local.get $r) (i32.const {mask})))",
    "(i32.store (i32.add (i32.const {at}) (i32.mul (local.get $r) (i32.const 4))) (i32.const {value}))",
    "(global.set $g (i32.and (local.get $r) (i32.const {mask})))",
    "(if (i32.lt_u (local.get $r) (i32.const {limit}))"
    " (then (i32.store (i32.const {at}) (i32.const {value}))))",
    "(if (i32.and (local.get $r) (i32.const {bit})) (then (drop (memory.grow (i32.const 1)))))",
    "(table.set (i32.and (local.get $r) (i32.const 3)) (ref.func $f))",
    "(if (i32.and (local.get $r) (i32.const {bit})) (then (data.drop $d)))",
    "(if (i32.and (local.get $r) (i32.const {bit})) (then (global.set $o (struct.new $s (local.get $r)"
    " (global.get $o)))))",
    "(global.set $o (struct.new $s (i32.const {value}) (global.get $o)))",
    "(i32.store (i32.const {at}) (i32.const {value}))",
)


def program(rng: random.Random) -> str:
    """A program that draws some bytes and does something with each."""
    steps = []
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(64, 60_000, 8)
        use = rng.choice(_USES).format(
            at=at,
            mask=rng.choice((1, 2, 3, 15, 128, 255)),
            bit=rng.choice((1, 2, 16, 128)),
            value=rng.randrange(1 << 30),
            limit=rng.choice((8, 16, 32, 64, 128, 250)),
        )
        draw = "(drop (call $rand (i32.const 0) (i32.const 1))) (local.set $r (i32.load8_u (i32.const 0)))"
        steps.append(f"{draw} {use}")
    return f"""(module
      (import "wasi_snapshot_preview1" "random_get" (func $rand (param i32 i32) (result i32)))
      (type $s (struct (field (mut i32)) (field (mut (ref null $s)))))
      (memory (export "memory") 1 40) (table 4 funcref) (data $d "dropped")
      (global $g (export "g") (mut i32) (i32.const 0)) (global $o (mut (ref null $s)) (ref.null $s))
      (elem declare func $f) (func $f)
      (func (export "wizer-initialize") (local $r i32) {" ".join(steps)}
        (i32.store8 (i32.const 0) (i32.const 0)))
      (func (export "use") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))))"""


@pytest.mark.parametrize("seed", range(_PROGRAMS))
def test_a_genuine_snapshot_of_a_random_program_is_not_called_false(seed: int) -> None:
    wat = program(random.Random(f"random program {seed}"))
    wasi = Wasi()
    found: VerificationError | None = None
    try:
        verify(wat, wizer.wizen(wat, wasi=wasi), wasi=wasi)
    except VerificationError as error:
        found = error
    assert found is None or found.undecided, found


def test_one_bit_of_each_byte(tmp_path: Path) -> None:
    module, made = tmp_path / "in.wat", tmp_path / "out.wasm"
    module.write_text(ONE_BIT_OF_EACH)
    for _ in range(5):
        assert run_wizer("--allow-wasi", module, "-o", made).returncode == 0
        run = run_wizer("verify", "--allow-wasi", "--json", module, made)
        document = json.loads(run.stdout)
        assert (run.returncode, document["verdict"]) == (3, "undecided")
        assert all(difference["kind"] == "memory" for difference in document["differences"])
        assert 5 < len(document["differences"]) <= 64


def test_files_and_arguments_may_have_changed(tmp_path: Path) -> None:
    """Another file at the time of the snapshot is the outside."""
    wat = """(module
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 0) "file")
      (func (export "wizer-initialize")
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)
                          (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))
        (i32.store (i32.const 16) (i32.const 256)) (i32.store (i32.const 20) (i32.const 64))
        (drop (call $read (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))))"""
    wasi = Wasi(mapdirs={"/d": tmp_path})
    (tmp_path / "file").write_text("first contents")
    made = wizer.wizen(wat, wasi=wasi)
    verify(wat, made, wasi=wasi)
    (tmp_path / "file").write_text("other contents")
    with pytest.raises(VerificationError) as error:
        verify(wat, made, wasi=wasi)
    assert error.value.undecided


def test_every_difference_is_listed(tmp_path: Path) -> None:
    wat = """(module (memory (export "memory") 1) (global $g (export "g") (mut i32) (i32.const 0))
      (data $names (i32.const 512) "abcdefgh")
      (func (export "wizer-initialize")
        (global.set $g (i32.const {0})) (i32.store (i32.const 600) (i32.const {0}))
        (i32.store (i32.const 512) (i32.const {1}))))"""
    module, made = tmp_path / "in.wat", tmp_path / "out.wasm"
    module.write_text(wat.format(1, 0x64636261))
    (tmp_path / "other.wat").write_text(wat.format(2, 0x44434241))
    assert run_wizer(tmp_path / "other.wat", "-o", made).returncode == 0
    run = run_wizer("verify", "--json", module, made)
    document = json.loads(run.stdout)
    assert (run.returncode, document["verdict"]) == (1, "different")
    # The body of the function is another one, too.
    assert {difference["kind"] for difference in document["differences"]} == {"memory", "global", "body"}
    text = run_wizer("verify", module, made).stderr.decode()
    assert (
        "at 0x200..0x204 (names): 61 62 63 64 ('abcd') in the original's state, 41 42 43 44 ('ABCD')" in text
    )
    assert 'global 0 ("g"): i32 1 (0x1) in the original\'s state, i32 2 (0x2) in the snapshot' in text
    assert run_wizer("verify", "--json", module, "-o", "x").returncode == 2
    same = tmp_path / "same.wasm"
    assert run_wizer(module, "-o", same).returncode == 0
    run = run_wizer("verify", "--json", module, same)
    assert (run.returncode, json.loads(run.stdout)) == (0, {"verdict": "same", "differences": []})
