"""Segments: the scan finds every byte, in plain Python and in bulk, however memory was touched."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wizer.core.segments import MemoryImage, bulk_scan, plan, wasm_scan
from wizer.core.segments.encoding import header_size
from wizer.core.segments.layout import lay_out, limited, worth
from wizer.core.segments.scan import scan
from wizer.options import Layout

ALL = 1 << 30
TOP = 1 << 32

RUNS = st.lists(
    st.tuples(st.integers(0, 24), st.binary(max_size=24).map(lambda text: text.replace(b"\0", b"\1"))),
    max_size=40,
)


def contents(runs: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes(zeros) + text for zeros, text in runs)


def naive(view: bytes, memidx: int, is64: bool, base: int = 0) -> list[tuple[int, int]]:
    """Go through the bytes, the first of them at offset ``base``, one by one."""
    ranges: list[tuple[int, int]] = []
    for at in (base + np.flatnonzero(np.frombuffer(view, dtype=np.uint8))).tolist():
        if ranges and at - ranges[-1][1] <= header_size(memidx, is64, at):
            ranges[-1] = (ranges[-1][0], at + 1)
        else:
            ranges.append((at, at + 1))
    return ranges


def in_bulk(image: MemoryImage, keep: int = ALL) -> list[tuple[int, int]]:
    return [(start, end) for start, end in bulk_scan.scan(image, keep)[0].tolist()]


def in_wasm(image: MemoryImage) -> list[tuple[int, int]]:
    found = wasm_scan.find([image], ALL, ALL)
    assert found is not None
    return list(found.ranges[0])


@settings(deadline=None)
@given(
    RUNS, st.sampled_from([0, 60, 8150, 9000, (1 << 20) - 60]), st.sampled_from([0, 1, 300]), st.booleans()
)
def test_all_scans_find_what_a_loop_over_bytes_finds(
    runs: list[tuple[int, bytes]], before: int, memidx: int, is64: bool
) -> None:
    view = bytes(before) + contents(runs)
    image = MemoryImage(memidx, is64, memoryview(view))
    expected = naive(view, memidx, is64)
    assert scan(image, ALL) == expected
    assert in_bulk(image) == expected
    assert in_wasm(image) == expected


@settings(deadline=None)
@given(RUNS, st.lists(st.integers(0, 30_000), max_size=12), st.integers(0, 29_000))
def test_any_parts_that_cover_the_contents_will_do(
    runs: list[tuple[int, bytes]], cuts: list[int], at: int
) -> None:
    text = contents(runs)
    view = (bytes(at) + text + bytes(30_000))[:30_000]
    whole = MemoryImage(0, False, memoryview(view))
    parts = [part for part in pairwise(sorted({0, 30_000, *cuts})) if any(view[slice(*part)])]
    image = MemoryImage(0, False, memoryview(view), parts)
    assert scan(image, ALL) == in_bulk(image) == in_wasm(image) == scan(whole, ALL)


@settings(deadline=None)
@given(RUNS)
def test_offsets_below_4_gib_are_short_again(runs: list[tuple[int, bytes]]) -> None:
    text = contents(runs)
    with mmap.mmap(-1, TOP) as memory:  # nothing but what is written takes space
        memory[TOP - 9000 : TOP - 9000 + len(text)] = text
        memory[TOP - len(text) : TOP] = text
        with memoryview(memory) as view:
            image = MemoryImage(0, False, view, [(TOP - 12288, TOP)])
            expected = naive(bytes(view[-12288:]), 0, False, TOP - 12288)
            assert scan(image, ALL) == in_bulk(image) == in_wasm(image) == expected


@settings(deadline=None)
@given(RUNS, st.integers(0, 20))
def test_the_gaps_held_are_those_with_most_to_gain(runs: list[tuple[int, bytes]], keep: int) -> None:
    view = bytes(9000) + contents(runs)
    image = MemoryImage(0, False, memoryview(view))
    ranges = in_bulk(image)
    gains = [
        (end - start - header_size(0, False, end), -end, end) for (_, start), (end, _) in pairwise(ranges)
    ]
    held = {end for *_, end in sorted(gains, reverse=True)[: max(keep, 1)]}
    assert {start for start, _ in in_bulk(image, max(keep, 1))[1:]} == held
    assert bulk_scan.scan(image, max(keep, 1))[1] == worth(image, ranges) == sum(gain for gain, *_ in gains)


@pytest.mark.parametrize("size", [40 << 20, (40 << 20) + 3])
def test_many_chunks_in_threads(size: int) -> None:
    random = np.random.default_rng(4)
    memory = random.integers(0, 2, size, dtype=np.uint8)
    memory[random.integers(0, size - 4000, 4000)[:, None] + np.arange(4000)] = 0
    image = MemoryImage(0, False, memory.data)
    assert in_bulk(image) == scan(image, ALL) == in_wasm(image)


@settings(deadline=None)
@given(
    RUNS,
    st.integers(1, 12),
    st.sampled_from([0, 60, 8150, 9000]),
    st.sampled_from([(0, False), (300, False), (0, True)]),
    st.sampled_from(["small", "balanced"]),
    st.integers(0, 20_000),
)
def test_wasm_lays_out_as_plain_python_does(
    runs: list[tuple[int, bytes]],
    most: int,
    before: int,
    memory: tuple[int, bool],
    layout: Layout,
    beside: int,
) -> None:
    image = MemoryImage(*memory, memoryview(bytes(before) + contents(runs)))
    ranges = scan(image, ALL)
    assert ranges is not None
    found = wasm_scan.laid_out(image, most, layout, beside, ALL)
    if found is None:  # all that are left gain more than it tells apart
        assert most == 1
        return
    kept = limited([image], [ranges], most)
    assert [found[0]] == lay_out([image], kept, layout, beside, worth(image, ranges))
    assert found[1] == len(ranges)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("most", [7, 1000, 100_000])
def test_wasm_lays_out_memories_as_programs_have_them(seed: int, most: int) -> None:
    random = np.random.default_rng(seed)
    memory = random.integers(1, 255, 1 << 20, dtype=np.uint8)
    for _ in range(20_000):
        start, size = int(random.integers(1 << 20)), int(random.exponential(60))
        memory[start : start + size] = 0
    image = MemoryImage(0, False, memory.data)
    ranges = scan(image, ALL)
    assert ranges is not None
    for beside in (0, 1 << 20, 1 << 23):
        found = wasm_scan.laid_out(image, most, "balanced", beside, ALL)
        kept = limited([image], [ranges], most)
        assert found == (lay_out([image], kept, "balanced", beside, worth(image, ranges))[0], len(ranges))


def test_what_gains_very_much_is_told_apart_elsewhere() -> None:
    gaps = [6000, 7000, 6500, 8000]
    view = b"a" + b"".join(bytes(gap) + b"a" for gap in gaps)
    image = MemoryImage(0, False, memoryview(view))
    assert wasm_scan.laid_out(image, 3, "small", 0, ALL) is None
    starts = [0, 1 + 6000 + 1 + 7000, len(view) - 1]  # the gaps of 7,000 and 8,000 bytes stay
    assert [segment.start for segment in plan([image], 3, "small").ranges] == starts


def test_more_ranges_than_there_is_room_for() -> None:
    view = bytes(9000) + (b"a" + bytes(9)) * 200_000
    image = MemoryImage(0, False, memoryview(view))
    assert wasm_scan.laid_out(image, 10, "small", 0, 199_999) is None
    assert len(plan([image], 10, "small").ranges) == 10
    found = wasm_scan.laid_out(image, 10, "small", 0, 200_000)
    assert found is not None
    assert (len(found[0]), found[1]) == (10, 200_000)


def test_few_ranges_of_several_memories_are_found_in_wasm() -> None:
    view = memoryview((b"a" + bytes(99)) * 2000)
    images = [MemoryImage(0, False, view), MemoryImage(1, True, view)]
    assert wasm_scan.find(images, 3000, 3999) is None
    found = wasm_scan.find(images, 3000, 4000)
    assert found is not None
    assert found.count == 4000
    assert sum(map(len, found.ranges)) == 3000


def printed(script: str) -> list[str]:
    """The words that a script prints."""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return run.stdout.split()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.parametrize("before", [True, False])
def test_a_process_that_was_forked_scans_too(before: bool) -> None:
    script = (
        "import os, signal, wasmtime; from wizer.core.segments import MemoryImage, wasm_scan;"
        "images = [MemoryImage(0, False, memoryview((b'a' + bytes(99)) * 5000))];"
        f"before = {before} and wasm_scan.find(images, 10, 10_000);"
        "child = os.fork();"
        "signal.alarm(20);"
        "child and os.wait();"
        "print(wasm_scan.find(images, 10, 10_000).count, flush=True)"
    )
    assert printed(script) == ["5000", "5000"]


def test_without_address_space_there_is_no_scanner_and_the_plan_is_the_same() -> None:
    script = (
        "import resource; from wizer.core.segments import MemoryImage, plan, wasm_scan;"
        "from wizer.engine.scanner import compiled; compiled();"
        "view = memoryview((b'a' + bytes(99)) * 5000);"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30));"
        "images = [MemoryImage(0, False, view)];"
        "print(wasm_scan.find(images, 10, 10_000), len(plan(images, 10).ranges))"
    )
    assert printed(script) == ["None", "10"]


def test_what_the_plan_covers() -> None:
    """The vectorised path, whole: 8 MiB of small things, more than the limit allows."""
    random = np.random.default_rng(5)
    memory = (random.random(8 << 20) < 0.05).astype(np.uint8) * np.uint8(7)
    view = memory.data
    segments = plan(
        [MemoryImage(0, False, view), MemoryImage(3, True, view[: 3 << 20])], 1000, "small"
    ).ranges
    assert len(segments) == 1000
    assert segments == sorted(segments, key=lambda segment: (segment.memidx, segment.start))
    for memidx, size in ((0, 8 << 20), (3, 3 << 20)):
        left = memory[:size].copy()
        for segment in segments:
            if segment.memidx == memidx:
                assert left[segment.start]
                assert left[segment.end - 1]
                left[segment.start : segment.end] = 0
        assert not left.any()
