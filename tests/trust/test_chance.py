"""Little that is random: verify cannot tell, and audit names it, however often they are asked."""

from __future__ import annotations

from typing import Final

import pytest

import wizer
from wizer import Wasi
from wizer.api import verify
from wizer.trust.verify import VerificationError

TRIES: Final = 20

_MODULE: Final = """(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1) (global $g (export "g") (mut i32) (i32.const 0)) (table 1 funcref)
  (elem declare func $f) (func $f)
  (func $bit (result i32) (local $drawn i32)
    (drop (call $random (i32.const 1024) (i32.const 1)))
    (local.set $drawn (i32.load8_u (i32.const 1024)))
    (i32.store8 (i32.const 1024) (i32.const 0))
    (i32.and (local.get $drawn) (i32.const 1)))
  (func (export "wizer-initialize") {} )
  (func (export "_start")))"""

_EACH: Final = """(local $i i32) (loop $next
    {}
    (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))"""

UNDECIDED: Final = {
    "one bit of each byte": _EACH.format("(i32.store8 (local.get $i) (call $bit))"),
    "bits of a global": _EACH.format(
        "(global.set $g (i32.or (i32.shl (global.get $g) (i32.const 1)) (call $bit)))"
    ),
    "bytes that are there or not": _EACH.format(
        "(if (call $bit) (then (i32.store8 (local.get $i) (i32.const 7))))"
    ),
}
ONE_BIT: Final = {
    "memory": ("(i32.store8 (i32.const 100) (call $bit))", "memory 0"),
    "global": ("(global.set $g (call $bit))", 'global 0 ("g")'),
    "table": ("(if (call $bit) (then (table.set (i32.const 0) (ref.func $f))))", "table 0"),
}


@pytest.mark.parametrize("what", UNDECIDED)
def test_genuine_snapshots_are_not_called_false(what: str) -> None:
    """Two runs agree in some of what is random, and not in all of it."""
    wat = _MODULE.format(UNDECIDED[what])
    for _ in range(TRIES):
        with pytest.raises(VerificationError) as error:
            verify(wat, wizer.wizen(wat, wasi=Wasi()), wasi=Wasi())
        assert error.value.undecided, error.value


@pytest.mark.parametrize("where", ONE_BIT)
def test_one_random_bit_is_named(where: str) -> None:
    body, place = ONE_BIT[where]
    for _ in range(TRIES):
        found = wizer.audit(_MODULE.format(body), wasi=Wasi())
        assert found.frozen() == ("random",)
        assert [finding.difference.place.startswith(place) for finding in found.findings] == [True]
