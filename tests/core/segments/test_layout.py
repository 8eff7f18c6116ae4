"""Segments: what the layouts promise of validity, size and number, beside every choice there is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from wizer.core.segments import MemoryImage, bulk_layout, plan
from wizer.core.segments.dense import ALWAYS_MAPPED, dense
from wizer.core.segments.encoding import header_size, uleb_size
from wizer.core.segments.layout import PRICE, lay_out, limited, worth
from wizer.options import Layout

Ranges = Sequence[tuple[int, int]]

LENGTHS = st.one_of(
    st.integers(1, 20),
    st.integers(1, 300),
    st.sampled_from([100, 120, 126, 127, 128, 129, 200, 16_383, 16_384, 17_000]),
)
GAPS = st.one_of(st.integers(8, 14), st.sampled_from([20, 63, 64, 65, 100, 126, 127, 128, 16_400, 20_000]))
STARTS = st.sampled_from([0, 1, 50, 60, 8_000, (1 << 20) - 40, 1 << 20, (1 << 27) - 100, (1 << 31) - 100])
LAYOUTS: tuple[Layout, ...] = ("balanced", "small", "instant")


@st.composite
def memories(draw: st.DrawFn, most: int) -> Ranges:
    at = draw(STARTS)
    ranges = []
    for length, gap in draw(st.lists(st.tuples(LENGTHS, GAPS), min_size=1, max_size=most)):
        ranges.append((at, at + length))
        at += length + gap
    return ranges


def image(memidx: int = 0, is64: bool = False) -> MemoryImage:
    return MemoryImage(memidx, is64, memoryview(b""))


def encoded_overhead(memidx: int, is64: bool, offset: int, length: int) -> int:
    return header_size(memidx, is64, offset) + uleb_size(length)


def cost(segments: Ranges, memidx: int = 0, is64: bool = False) -> int:
    return sum(encoded_overhead(memidx, is64, start, end - start) + end - start for start, end in segments)


def laid_out(ranges: Ranges, layout: Layout, most: int = 10_000) -> Ranges:
    few = limited([image()], [ranges], most)
    [many] = bulk_layout.limited([image()], [np.array(ranges, dtype=np.int64).reshape(-1, 2)], most)
    assert many.tolist() == [list(pair) for pair in few[0]]
    saved = worth(image(), ranges)
    [segments] = lay_out([image()], few, layout, 0, saved)
    assert bulk_layout.lay_out([image()], [many], layout, 0, saved)[0].tolist() == list(map(list, segments))
    return segments


def every_choice(ranges: Ranges) -> list[Ranges]:
    inner = range(1, len(ranges))
    return [
        [(ranges[a][0], ranges[b - 1][1]) for a, b in zip((0, *cuts), (*cuts, len(ranges)), strict=True)]
        for count in range(len(ranges))
        for cuts in combinations(inner, count)
    ]


def as_the_original(ranges: Ranges, most: int = 10_000) -> Ranges:
    """Choose as the Rust original does: gaps up to four bytes are merged, then the smallest ones."""
    places = [place for place in range(1, len(ranges)) if ranges[place][0] - ranges[place - 1][1] > 4]
    places.sort(key=lambda place: ranges[place][0] - ranges[place - 1][1], reverse=True)
    cuts = sorted(places[: most - 1])
    return [(ranges[a][0], ranges[b - 1][1]) for a, b in pairwise((0, *cuts, len(ranges)))]


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
@given(memories(most=9))
def test_small_is_within_a_byte_or_so_for_each_range_of_the_optimum(ranges: Ranges) -> None:
    least = min(cost(other) for other in every_choice(ranges))
    assert 0 <= cost(laid_out(ranges, "small")) - least <= len(ranges)


@settings(deadline=None)
@given(memories(most=60))
def test_small_is_never_larger_than_the_original(ranges: Ranges) -> None:
    assert cost(laid_out(ranges, "small")) <= cost(as_the_original(ranges))


@pytest.mark.parametrize("seed", range(6))
def test_small_is_a_ten_thousandth_larger_than_the_original_at_most_under_a_limit(seed: int) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, random.choice([6, 20, 150, 300, 20_000]), size=6000)
    gaps = np.where(random.random(6000) < 0.8, random.integers(8, 14, 6000), random.integers(14, 90, 6000))
    ends = (1 << 20) + np.cumsum(lengths + gaps)
    ranges = list(zip((ends - lengths).tolist(), ends.tolist(), strict=True))
    for most in 1, 100, 1000, 3000:
        segments = laid_out(ranges, "small", most)
        assert len(segments) == most
        assert cost(segments) <= 1.0001 * cost(as_the_original(ranges, most))


@settings(deadline=None)
@given(memories(most=60), st.integers(1, 60))
def test_balanced_keeps_gaps_up_to_the_price_and_adds_a_fiftieth_at_most(ranges: Ranges, most: int) -> None:
    small, balanced = laid_out(ranges, "small", most), laid_out(ranges, "balanced", most)
    assert set(starts(balanced)) <= set(starts(small))
    assert cost(balanced) <= 1.02 * cost(small)
    gains = [cost([(one[0], other[1])]) - cost([one, other]) for one, other in pairwise(balanced)]
    if min(gains, default=PRICE + 1) <= PRICE:  # then the budget ended it: one gap more is too much
        size = ranges[-1][1] - ranges[0][0] - worth(image(), ranges)
        spent = worth(image(), ranges) - worth(image(), balanced)
        assert spent + min(gains) + 4 > size // 50


def starts(segments: Ranges) -> list[int]:
    return [start for start, _ in segments]


def test_balanced_in_numbers() -> None:
    """A header takes 7 bytes and the length field 3; so does that of two together."""
    at = 1 << 20
    ranges = [(at, at + 50_000)]
    for gap in (10 + PRICE, 10 + PRICE + 1, 10 + PRICE):
        ranges.append((ranges[-1][1] + gap, ranges[-1][1] + gap + 50_000))
    assert len(laid_out(ranges, "small")) == 4
    assert starts(laid_out(ranges, "balanced")) == [at, ranges[2][0]]


def test_the_fiftieth_is_one_of_the_whole_output() -> None:
    ranges = [(start, start + 1000) for start in range(1 << 20, (1 << 20) + 5000, 1200)]
    assert len(laid_out(ranges, "balanced")) == len(ranges)
    assert lay_out([image()], [ranges], "balanced", 1 << 20, worth(image(), ranges)) == [
        [(ranges[0][0], ranges[-1][1])]
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(deadline=None, max_examples=30)
@given(all_ranges=st.lists(memories(most=12), min_size=2, max_size=5), spare=st.integers(0, 20))
def test_every_memory_gets_its_segment(layout: Layout, all_ranges: list[Ranges], spare: int) -> None:
    images = [image(memidx, memidx % 2 == 1) for memidx in range(len(all_ranges))]
    limit = len(images) + spare
    few = limited(images, all_ranges, limit)
    many = bulk_layout.limited(images, [np.array(ranges, dtype=np.int64) for ranges in all_ranges], limit)
    assert [rows.tolist() for rows in many] == [[list(pair) for pair in pairs] for pairs in few]
    saved = sum(map(worth, images, all_ranges))
    chosen = lay_out(images, few, layout, 0, saved)
    assert [rows.tolist() for rows in bulk_layout.lay_out(images, many, layout, 0, saved)] == [
        list(map(list, segments)) for segments in chosen
    ]
    assert sum(map(len, chosen)) <= limit
    for ranges, segments in zip(all_ranges, chosen, strict=True):
        assert (segments[0][0], segments[-1][1]) == (ranges[0][0], ranges[-1][1])
        for start, end in ranges:
            assert sum(first <= start and end <= last for first, last in segments) == 1


FAR = st.one_of(st.integers(1, 300), st.integers(1 << 20, 9 << 20))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3 << 20), FAR), min_size=1, max_size=30))
def test_a_memory_is_made_just_dense_enough(parts: list[tuple[int, int]]) -> None:
    at, ranges = 77, []
    for length, gap in parts:
        ranges.append((at, at + length))
        at += length + gap
    segments = dense(ranges)
    extent = ranges[-1][1] - ranges[0][0]
    size = sum(end - start for start, end in segments)
    before = sum(end - start for start, end in ranges)
    assert extent < ALWAYS_MAPPED or extent < 2 * size  # the engine's rule
    assert size == before or extent >= 2 * (size - 1)  # a byte less would not do
    assert all(end < start for (_, end), (start, _) in pairwise(segments))
    assert (segments[0][0], segments[-1][1]) == (ranges[0][0], max(ranges[-1][1], segments[-1][1]))
    for start, end in ranges:
        assert sum(first <= start and end <= last for first, last in segments) == 1
    assert dense(segments) == segments


def test_the_smallest_gaps_are_filled_first() -> None:
    """Of 18 MiB, four are data, so five and a byte are missing: all of the second gap, most of the third."""
    mib = 1 << 20
    ranges = [(0, mib), (9 * mib, 10 * mib), (12 * mib, 13 * mib), (17 * mib, 18 * mib)]
    assert dense(ranges) == [(0, mib), (9 * mib, 16 * mib + 1), (17 * mib, 18 * mib)]


def test_below_16_mib_nothing_is_filled() -> None:
    ranges = [(5, 6), (5 + ALWAYS_MAPPED - 2, 5 + ALWAYS_MAPPED - 1)]
    assert dense(ranges) == ranges
    assert dense([]) == []


def test_the_limit_of_the_output_stands_in_the_way_of_a_dense_memory() -> None:
    contents = bytearray(40 << 20)
    contents[7] = contents[-9] = 1
    images = [MemoryImage(2, False, memoryview(contents))]
    sparse = plan(images, 10_000, "balanced")
    assert plan(images, 10_000, "instant", max_bytes=1 << 20).ranges == sparse.ranges
    assert plan(images, 10_000, "instant", max_bytes=1 << 20).note.startswith(
        "memory 2 is too sparse: it takes 20971"
    )
    assert (
        sum(segment.end - segment.start for segment in plan(images, 10_000, "instant").ranges)
        == (20 << 20) - 7
    )
    assert not plan(images, 10_000, "instant").note
