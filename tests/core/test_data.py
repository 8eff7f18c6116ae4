"""The data section for states made by hand: each segment, without an engine."""

from __future__ import annotations

import mmap

import pytest

from support.states import contents, data, initial, memory, module_of, rewritten
from wizer.binary import sections as sec
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module, parse_module
from wizer.core.data import data_contents
from wizer.core.state import MemoryState, State
from wizer.records import replace

AT_0 = b"\x41\x00\x0b"

# Code refers to segments by index, so there is a DataCount section.
INDEXED = """(module (memory 1)
  (data $a (i32.const 0) "old") (data $p "passive") (data $b (i32.const 100) "old too") (data $q "other")
  (func (memory.init $p (i32.const 0) (i32.const 0) (i32.const 0)) (data.drop $q)))"""


def islands(*starts: int) -> MemoryState:
    """A memory with one byte, the number of the island, at each place."""
    held = bytearray(1 << 16)
    for number, start in enumerate(starts, 1):
        held[start] = number
    return memory(held)


def test_a_memory_of_zeros_needs_no_data_section() -> None:
    module = module_of('(module (memory 1) (data (i32.const 0) "old"))')
    out = rewritten(module, State(memories={0: memory()}))
    assert out.section(sec.DATA) is None


def test_old_segments_go_where_no_code_refers_to_them() -> None:
    module = module_of('(module (memory 1) (data (i32.const 0) "old") (data "passive"))')
    assert module.data_count is None
    out = rewritten(module, State(memories={0: islands(500)}))
    assert data(out) == [("active", 0, b"\x41\xf4\x03\x0b", b"\x01")]
    assert out.data_count is None


def test_indices_stay_where_code_may_refer_to_them() -> None:
    module = module_of(INDEXED)
    out = rewritten(module, State(memories={0: islands(0, 100, 200)}))
    assert data(out) == [
        ("active", 0, AT_0, b"\x01"),
        ("passive", 0, None, b"passive"),
        ("active", 0, b"\x41\xe4\x00\x0b", b"\x02"),
        ("passive", 0, None, b"other"),
        ("active", 0, b"\x41\xc8\x01\x0b", b"\x03"),
    ]
    assert (module.data_count, out.data_count) == (4, 5)
    assert contents(out, sec.CODE) == contents(module, sec.CODE)


def test_the_place_of_an_old_active_segment_is_empty_where_nothing_takes_it() -> None:
    out = rewritten(module_of(INDEXED), State(memories={0: islands(7)}))
    assert data(out)[0] == ("active", 0, b"\x41\x07\x0b", b"\x01")
    assert data(out)[2] == ("passive", 0, None, b"")
    assert out.data_count == 4


def test_dropped_segments_are_empty() -> None:
    state = State(memories={0: memory()}, dropped_data=frozenset({3}))
    out = rewritten(module_of(INDEXED), state)
    assert [(mode, held) for mode, _, _, held in data(out)] == [
        ("passive", b""),
        ("passive", b"passive"),
        ("passive", b""),
        ("passive", b""),
    ]


def test_a_passive_segment_keeps_the_bytes_of_its_header_too() -> None:
    count, section = b"\x0c\x01\x01", b"\x0b\x09\x01\x01\x84\x80\x00data"
    module = parse_module(sec.MAGIC + sec.MODULE_VERSION + count + section)
    out = rewritten(module, State())
    assert out.wasm == module.wasm
    out = rewritten(module, State(dropped_data=frozenset({0})))
    assert contents(out, sec.DATA) == b"\x01\x01\x00"


def test_offsets_of_a_large_memory_are_negative() -> None:
    pages = (1 << 15) + 1
    live = memoryview(mmap.mmap(-1, pages << 16))
    live[1 << 31] = 7
    state = State(memories={0: MemoryState(pages, live, [(1 << 31, (1 << 31) + 4096)])})
    out = rewritten(module_of("(module (memory 1))"), state)
    assert data(out) == [("active", 0, b"\x41\x80\x80\x80\x80\x78\x0b", b"\x07")]


def test_offsets_of_a_memory_of_64_bits() -> None:
    out = rewritten(module_of("(module (memory i64 1))"), State(memories={0: islands(64)}))
    assert data(out) == [("active", 0, b"\x42\xc0\x00\x0b", b"\x01")]


def test_a_segment_names_its_memory() -> None:
    module = module_of("(module (memory 1) (memory i64 1) (memory 1))")
    state = initial(module)
    state = replace(state, memories={**state.memories, 1: islands(0), 2: islands(1)})
    out = rewritten(module, state)
    assert data(out) == [("active", 1, b"\x42\x00\x0b", b"\x01"), ("active", 2, b"\x41\x01\x0b", b"\x01")]
    assert contents(out, sec.DATA) == b"\x02\x02\x01\x42\x00\x0b\x01\x01\x02\x02\x41\x01\x0b\x01\x01"


def test_what_was_not_touched_is_not_looked_at() -> None:
    held = bytearray(1 << 16)
    held[10], held[5000] = 1, 2
    state = State(memories={0: MemoryState(1, memoryview(held), [(4096, 8192)])})
    assert data(rewritten(module_of("(module (memory 1))"), state)) == [
        ("active", 0, b"\x41\x88\x27\x0b", b"\x02")
    ]


@pytest.mark.parametrize("indexed", [False, True])
def test_segments_of_a_kept_memory_do_not_run_again(indexed: bool) -> None:
    """Its owner has what they wrote."""
    more = '(data $p "p") (func (data.drop $p))' if indexed else ""
    module = module_of(f'(module (import "" "m" (memory 1)) (data (i32.const 0) "old") {more})')
    out = rewritten(module, State(borrowed=frozenset({("memory", 0)})))
    assert data(out) == ([("passive", 0, None, b""), ("passive", 0, None, b"p")] if indexed else [])


def made(module: Module, state: State, *appended: bytes, limit: int = 10_000) -> tuple[int, bytes | None]:
    found = data_contents(module, state, appended, limit)
    return found.count, None if found.contents is None else b"".join(found.contents)


def test_what_the_restore_function_needs_follows_the_old_segments() -> None:
    module = module_of(INDEXED)
    count, section = made(module, State(memories={0: islands(0, 100, 200)}), b"\x01\x01R", b"\x01\x00")
    assert count == 7
    assert section is not None
    after = b"\x01\x05other" + b"\x01\x01R" + b"\x01\x00" + b"\x00\x41\xc8\x01\x0b\x01\x03"
    assert section.startswith(encode_unsigned(7))
    assert section.endswith(after)
    assert made(module_of("(module)"), State()) == (0, None)


def test_passive_segments_count_against_the_limit() -> None:
    """Here two of the module, and two of the restore function: that leaves three for memory."""
    module = module_of(INDEXED.replace('(data $b (i32.const 100) "old too")', ""))
    state = State(memories={0: islands(0, 100, 200, 300, 400)})
    for limit, count in ((10_000, 9), (9, 9), (7, 7), (5, 5)):
        assert made(module, state, b"\x01\x01R", b"\x01\x00", limit=limit)[0] == count
