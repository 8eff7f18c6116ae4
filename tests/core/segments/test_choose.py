"""Segments: nothing encodes smaller. Compared with every choice there is, or with all costs by number."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from wizer.core.segments import MemoryImage, encoded_overhead
from wizer.core.segments.bulk_choose import choose_within
from wizer.core.segments.choose import choose
from wizer.core.segments.encoding import header_size
from wizer.core.segments.limit import merge_to_limit

Ranges = list[tuple[int, int]]

LENGTHS = st.one_of(
    st.integers(1, 20),
    st.integers(1, 300),
    st.sampled_from([100, 120, 126, 127, 128, 129, 200, 16_383, 16_384, 17_000]),
)
GAPS = st.one_of(st.integers(5, 14), st.sampled_from([20, 100, 126, 127, 128, 130, 140, 16_400, 20_000]))
STARTS = st.sampled_from([0, 1, 50, 60, 8_000, (1 << 20) - 40, 1 << 20, (1 << 27) - 100, (1 << 31) - 100])


@st.composite
def memories(draw: st.DrawFn, most: int) -> Ranges:
    at = draw(STARTS)
    ranges = []
    for length, gap in draw(st.lists(st.tuples(LENGTHS, GAPS), min_size=1, max_size=most)):
        ranges.append((at, at + length))
        at += length + gap
    return ranges


def image(memidx: int, is64: bool) -> MemoryImage:
    return MemoryImage(memidx, is64, memoryview(b""))


def cost(segments: Ranges, memidx: int, is64: bool) -> int:
    return sum(encoded_overhead(memidx, is64, start, end - start) + end - start for start, end in segments)


def chosen(ranges: Ranges, memidx: int, is64: bool) -> Ranges:
    opens = choose(ranges, [header_size(memidx, is64, start) for start, _ in ranges])
    return [(ranges[first][0], ranges[after - 1][1]) for first, after in pairwise((*opens, len(ranges)))]


def every_choice(ranges: Ranges) -> list[Ranges]:
    inner = range(1, len(ranges))
    return [
        [(ranges[a][0], ranges[b - 1][1]) for a, b in zip((0, *cuts), (*cuts, len(ranges)), strict=True)]
        for count in range(len(ranges))
        for cuts in combinations(inner, count)
    ]


def least_by_number(ranges: Ranges) -> list[int]:
    """Return the least cost in memory 0 of at most 1, 2, ... segments."""
    n = len(ranges)
    far = 1 << 60
    one = np.full((n, n + 1), far, dtype=np.int64)
    for first in range(n):
        for last in range(first, n):
            one[first, last + 1] = cost([(ranges[first][0], ranges[last][1])], 0, False)
    best = np.full(n + 1, far, dtype=np.int64)
    best[0] = 0
    least: list[int] = []
    for _ in range(n):
        best = (best[:n, None] + one).min(axis=0)
        least.append(min(int(best[n]), *least[-1:], far))
    return least


@pytest.mark.parametrize("is64", [False, True])
@pytest.mark.parametrize("memidx", [0, 1, 130])
@pytest.mark.parametrize(
    "offset",
    [0, 63, 64, 8191, 8192, 1 << 20, (1 << 27) - 1, 1 << 27, (1 << 31) - 1, 1 << 31, (1 << 32) - 300],
)
@pytest.mark.parametrize("length", [1, 127, 128])
def test_overhead_is_what_an_assembler_writes(offset: int, length: int, memidx: int, is64: bool) -> None:
    kind, memory = ("i64", "(memory i64 0)") if is64 else ("i32", "(memory 0)")
    segment = f'(data (memory {memidx}) ({kind}.const {offset}) "{"a" * length}")'
    module = wasmtime.wat2wasm(f"(module {memory * (memidx + 1)} {segment})")
    before = wasmtime.wat2wasm(f"(module {memory * (memidx + 1)})")
    content = encoded_overhead(memidx, is64, offset, length) + length + 1  # the number of segments
    section_header = 1 + (1 if content < 128 else 2)
    assert len(module) - len(before) == section_header + content


@settings(deadline=None)
@given(memories(most=9), st.sampled_from([0, 1, 200]), st.booleans())
def test_nothing_encodes_smaller(ranges: Ranges, memidx: int, is64: bool) -> None:
    least = min((cost(other, memidx, is64), len(other)) for other in every_choice(ranges))
    few = chosen(ranges, memidx, is64)
    assert (cost(few, memidx, is64), len(few)) == least
    [many] = choose_within([image(memidx, is64)], [ranges], len(ranges))
    assert cost(many, memidx, is64) == least[0]


@settings(deadline=None)
@given(memories(most=80))
def test_both_ways_to_choose_are_equally_good(ranges: Ranges) -> None:
    few = chosen(ranges, 0, False)
    [many] = choose_within([image(0, False)], [ranges], len(ranges))
    assert cost(many, 0, False) == cost(few, 0, False)


def within(ranges: Ranges, limit: int) -> list[Ranges]:
    """Return what each way to keep a limit in memory 0 chooses."""
    few, many = [chosen(ranges, 0, False)], choose_within([image(0, False)], [ranges], limit)
    if len(few[0]) > limit:
        few = merge_to_limit([image(0, False)], few, limit)
    return [*few, *many]


@settings(deadline=None)
@given(memories(most=40), st.data())
def test_under_a_limit_the_optimum_is_within_four_bytes(ranges: Ranges, data: st.DataObject) -> None:
    limit = data.draw(st.integers(1, len(ranges)))
    for segments in within(ranges, limit):
        assert len(segments) <= limit
        assert 0 <= cost(segments, 0, False) - least_by_number(ranges)[limit - 1] <= 4


def test_under_a_limit_the_optimum_is_nearly_always_met() -> None:
    random = np.random.default_rng(20)
    distances: list[list[int]] = []
    for _ in range(12):
        lengths = random.integers(1, random.choice([6, 20, 150, 300, 20_000]), size=120)
        gaps = np.where(
            random.random(120) < 0.8, random.integers(9, 14, 120), random.choice([20, 130, 17_000], 120)
        )
        ends = (1 << 20) + np.cumsum(lengths + gaps)
        ranges = list(zip((ends - lengths).tolist(), ends.tolist(), strict=True))
        least = least_by_number(ranges)
        for limit in range(1, 121, 7):
            distances.append([cost(s, 0, False) - least[limit - 1] for s in within(ranges, limit)])
    few, many = zip(*distances, strict=True)
    assert min(few) == min(many) == 0
    assert (max(few), max(many)) <= (4, 2)
    assert np.mean(few) < 0.5
    assert np.mean(many) < 0.05


@settings(deadline=None)
@given(st.lists(memories(most=12), min_size=2, max_size=5), st.integers(0, 20))
def test_every_memory_gets_its_segment(all_ranges: list[Ranges], spare: int) -> None:
    images = [image(memidx, memidx % 2 == 1) for memidx in range(len(all_ranges))]
    limit = len(images) + spare
    alone = [chosen(ranges, one.memidx, one.is64) for one, ranges in zip(images, all_ranges, strict=True)]
    for limited in choose_within(images, all_ranges, limit), merge_to_limit(images, alone, limit):
        assert sum(map(len, limited)) <= limit
        for ranges, segments in zip(all_ranges, limited, strict=True):
            assert (segments[0][0], segments[-1][1]) == (ranges[0][0], ranges[-1][1])
            for start, end in ranges:
                assert sum(first <= start and end <= last for first, last in segments) == 1


@settings(deadline=None)
@given(st.lists(memories(most=30), min_size=2, max_size=4))
def test_memories_do_not_get_in_each_others_way(all_ranges: list[Ranges]) -> None:
    images = [image(memidx, memidx % 2 == 1) for memidx in range(len(all_ranges))]
    together = choose_within(images, all_ranges, 1000)
    for one, ranges, segments in zip(images, all_ranges, together, strict=True):
        alone = chosen(ranges, one.memidx, one.is64)
        assert cost(segments, one.memidx, one.is64) == cost(alone, one.memidx, one.is64)


def test_equal_gaps_by_the_hundred_thousand_under_a_limit() -> None:
    """No gap is better than another, and each is long: what neither rule of the levels can settle."""
    starts = (1 << 20) + 256 * np.arange(200_000)
    [segments] = choose_within([image(0, False)], [np.column_stack((starts, starts + 1))], 1000)
    assert len(segments) == 1000
    merged_into_one = cost([(1 << 20, int(starts[-1]) + 1)], 0, False)
    saved_by_a_split = 255 - 7 - 1
    assert cost(segments, 0, False) <= merged_into_one - 999 * saved_by_a_split
