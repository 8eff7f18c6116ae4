"""A large snapshot is verified where the memory stands that it was made of; what is wrong in one is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import wizer
from support.command import WIZER
from support.measured import measured
from wizer import Session
from wizer.binary.module import parse_module
from wizer.trust.verify import VerificationError, verified, verify_session

MOST = 500_000_000  # bytes, of which the live memory is 256 MiB

# Fills a memory with numbers from a generator that never gives 0.
DENSE = """(module
  (memory (export "memory") {pages})
  (global $sum (mut i64) (i64.const 0))
  (func (export "wizer-initialize") (local $i i32) (local $x i64)
    (local.set $x (i64.const 88172645463325252))
    (loop $fill
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      (i64.store (i32.add (i32.const 65536) (local.get $i)) (local.get $x))
      (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const {size}))))
    (i32.store (i32.const 16) (i32.const 0x01020304)))
  {more})"""


def dense(mebibytes: int, more: str = "") -> str:
    size = mebibytes << 20
    return DENSE.format(pages=(size >> 16) + 4, size=size, more=more)


def test_memory_that_verifying_takes(tmp_path: Path) -> None:
    tmp_path.joinpath("in.wat").write_text(dense(256))
    ended = measured(WIZER, "in.wat", "--verify", "-o", "out.wasm", cwd=tmp_path)
    assert ended.status == 0, ended.stderr
    assert tmp_path.joinpath("out.wasm").stat().st_size > 256 << 20
    assert ended.peak <= MOST


@pytest.mark.parametrize(
    "more",
    [
        "",
        '(memory 1) (memory i64 2) (func (export "_initialize") (i64.store 2 (i64.const 9) (i64.const 7)))',
        '(table 2 funcref) (elem (i32.const 1) $f) (func $f) (data "passive")',
        "(func $__wasilibc_reset_preopens (i32.store (i32.const 4096) (i32.const 0)))",
        "(type $o (struct (field (ref null $o)))) (global $g (mut (ref null $o)) (ref.null $o))"
        '(func (export "_initialize") (global.set $g (struct.new $o (struct.new $o (ref.null $o)))))',
    ],
    ids=["one memory", "three memories", "segments", "a libc that forgets", "objects"],
)
def test_large_snapshots_are_verified(more: str) -> None:
    with Session(dense(17, more)) as session:
        session.call("wizer-initialize")
        expected = session.snapshot()
        assert b"".join(verified(session)) == expected
        verify_session(session, expected)
    assert wizer.wizen(dense(17, more), verify=True) == wizer.wizen(dense(17, more))


def _byte(snapshot: bytes, dataidx: int, at: int) -> bytes:
    """Change a byte of a data segment."""
    changed = bytearray(snapshot)
    changed[parse_module(snapshot).data[dataidx].start + at] ^= 0xFF
    return bytes(changed)


def _moved(snapshot: bytes) -> bytes:
    """Have the first segment go four bytes further: from ``i32.const 16`` to ``i32.const 20``."""
    segment = parse_module(snapshot).data[0]
    head = snapshot[segment.code_start : segment.start]
    assert head.count(b"\x41\x10\x0b") == 1
    return snapshot[: segment.code_start] + head.replace(b"\x41\x10", b"\x41\x14") + snapshot[segment.start :]


PLANTED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "small segment": (lambda snapshot: _byte(snapshot, 0, 1), " at 0x11: 03 in the original's state, fc in"),
    "large segment": (lambda snapshot: _byte(snapshot, 1, 5 << 20), " at 0x510000: "),
    "offset": (_moved, " at 0x10..0x18: 04 03 02 01 00 00 00 00 in the original's state, 00 00 00 00 04 03"),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_differs_in_a_large_snapshot_is_named(planted: str) -> None:
    change, expected = PLANTED[planted]
    with Session(dense(17)) as session:
        session.call("wizer-initialize")
        snapshot = session.snapshot()
        with pytest.raises(VerificationError) as caught:
            verify_session(session, change(snapshot))
    assert f'memory 0 ("memory"){expected}' in str(caught.value)


@pytest.mark.parametrize("address", [20, 65536 + (5 << 20), (17 << 20) + 65536, (17 << 20) + 4 * 65536 - 1])
def test_what_has_changed_since_is_named(address: int) -> None:
    with Session(dense(17)) as session:
        session.call("wizer-initialize")
        snapshot = session.snapshot()
        session.memory()[address] ^= 0xFF
        with pytest.raises(VerificationError, match=f"at {address:#x}: ") as caught:
            verify_session(session, snapshot)
    assert [difference.kind for difference in caught.value.differences] == ["memory"]


def test_a_large_snapshot_of_another_size_is_none() -> None:
    with Session(dense(17, '(func (export "grow") (drop (memory.grow (i32.const 1))))')) as session:
        session.call("wizer-initialize")
        snapshot = session.snapshot()
        session.call("grow")
        with pytest.raises(VerificationError, match=r"size of memory 0 .*: 277 pages in .*, 276 pages in"):
            verify_session(session, snapshot)
