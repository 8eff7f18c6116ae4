"""A module in pieces is cut at its data segments, wherever the pieces end."""

from __future__ import annotations

import pytest

from support.engine import binary
from wizer.binary.module import parse_module
from wizer.core.pieces import cut

WASM = binary("""(module
  (memory 1) (memory i64 1)
  (func (export "use") (memory.init 0 2 (i32.const 0) (i32.const 0) (i32.const 0)))
  (data (i32.const 16) "first") (data (memory 1) (i64.const 3) "second") (data "passive")
  (data (i32.const 9) "")
  (@custom "after" "custom"))""")


def test_active_segments_are_cut_out_wherever_pieces_end() -> None:
    for size in range(1, len(WASM) + 1):
        pieces = [memoryview(WASM)[at : at + size] for at in range(0, len(WASM), size)]
        parts = cut([b"", *pieces])
        assert parts is not None
        wasm, held = parts
        found = [(h.segment.memidx, h.segment.constant_offset, b"".join(h.contents)) for h in held]
        assert found == [(0, 16, b"first"), (1, 3, b"second"), (0, 9, b"")]
        module = parse_module(wasm)
        assert [(s.mode, wasm[s.start : s.end]) for s in module.data] == [
            *(("active", b""), ("active", b""), ("passive", b"passive"), ("active", b""))
        ]
        assert len(wasm) == len(WASM) - len("firstsecond")


def test_what_is_cut_short_is_not_cut() -> None:
    ends = {0, 8, *(section.end for section in parse_module(WASM).sections)}
    for end in range(len(WASM)):
        assert (cut([WASM[:end]]) is None) == (end not in ends - {0})


@pytest.mark.parametrize("size", [14, 16, 40])
def test_a_data_section_of_another_size_is_not_cut(size: int) -> None:
    wasm = binary('(module (memory 1) (data (i32.const 16) "some text"))')
    header = bytes((11, 15))
    assert wasm.count(header) == 1
    assert cut([wasm]) is not None
    assert cut([wasm.replace(header, bytes((11, size)))]) is None
