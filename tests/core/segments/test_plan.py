"""Segments: what the plan promises, on contents that fit on a screen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wizer.core.segments import DataRange, MemoryImage, plan
from wizer.errors import OptionError


def image(contents: bytes, memidx: int = 0, is64: bool = False) -> MemoryImage:
    return MemoryImage(memidx, is64, memoryview(contents))


def spans(contents: bytes, limit: int = 10_000) -> list[tuple[int, int]]:
    return [(segment.start, segment.end) for segment in plan([image(contents)], limit, "small").ranges]


def test_empty_and_all_zero_memories_need_no_segment() -> None:
    assert plan([], 0).ranges == []
    assert plan([image(b""), image(bytes(65536), 1)], 0).ranges == []


def test_a_gap_that_costs_less_than_a_header_is_kept_inside() -> None:
    assert spans(b"\0\0a\0\0\0\0b\0\0") == [(2, 8)]


def test_a_gap_that_costs_as_much_as_a_segment_is_kept_inside() -> None:
    """flags, i32.const, offset, end, length: five bytes at an offset below 64."""
    assert spans(b"a" + bytes(5) + b"b") == [(0, 7)]
    assert spans(b"a" + bytes(6) + b"b") == [(0, 1), (7, 8)]


def test_offsets_from_64_take_another_byte() -> None:
    assert spans(bytes(70) + b"a" + bytes(6) + b"b") == [(70, 78)]
    assert spans(bytes(70) + b"a" + bytes(7) + b"b") == [(70, 71), (78, 79)]


def test_a_memory_index_takes_a_byte() -> None:
    assert plan([image(b"a" + bytes(6) + b"b", memidx=1)], 2).ranges == [DataRange(1, False, 0, 8)]


def test_ranges_never_cross_memories() -> None:
    chosen = plan([image(b"b" * 8, memidx=1), image(b"a" * 8, memidx=0, is64=True)], 2)
    assert chosen.ranges == [DataRange(0, True, 0, 8), DataRange(1, False, 0, 8)]


def test_the_limit_merges_the_smallest_gap() -> None:
    contents = b"a" + bytes(100) + b"b" + bytes(50) + b"c"
    assert spans(contents, limit=2) == [(0, 1), (101, 153)]
    assert spans(contents, limit=1) == [(0, 153)]


def test_fewer_segments_than_memories_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"2 memories hold data.*the limit is 1"):
        plan([image(b"a"), image(b"b", memidx=1)], 1)


def test_small_plans_do_not_import_numpy() -> None:
    program = (
        "import sys; from wizer.core.segments import MemoryImage, plan; "
        "plan([MemoryImage(0, False, memoryview(b'hello' + bytes(65531)))], 9); print('numpy' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
