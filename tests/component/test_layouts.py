"""Layouts, for each module inside a component."""

from __future__ import annotations

import pytest

from support.components import Running, frozen
from wizer import Session, WizerWarning
from wizer.options import Layout

# A MiB of every eight is written to; the second module has little.
WAT = """
(component
  (core module $m
    (memory (export "memory") 512)
    (func (export "init") (local $p i32)
      (loop $next
        (memory.fill (local.get $p) (i32.const 7) (i32.const 1048576))
        (br_if $next (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 8388608)))
                               (i32.const 33554432)))))
    (func (export "get") (result i32) (i32.load8_u (i32.const 25165900))))
  (core module $n (memory 1 %s) (data (i32.const 3) "x"))
  (core instance $i (instantiate $m))
  (core instance (instantiate $n))
  (func (export "init") (canon lift (core func $i "init")))
  (func (export "get") (result u32) (canon lift (core func $i "get"))))
"""


@pytest.mark.parametrize(("layout", "mebibytes"), [("balanced", 4), ("small", 4), ("instant", 12.5)])
def test_each_module_is_laid_out(layout: Layout, mebibytes: float) -> None:
    snapshot = frozen(WAT % "", "init", layout=layout)
    assert len(snapshot) == pytest.approx(mebibytes * (1 << 20), rel=0.001)
    assert Running(snapshot)("get") == 7


def test_what_stands_in_the_way_in_one_module_concerns_no_other() -> None:
    with Session(WAT.replace("(memory 1 %s)", "(memory 9 (pagesize 1))"), layout="instant") as session:
        session.call_text("init")
        with pytest.warns(WizerWarning, match="layout `instant`: memory 0 has pages of 1 byte"):
            snapshot = session.snapshot()
    assert len(snapshot) == pytest.approx(12.5 * (1 << 20), rel=0.001)
