"""Segments: what the kernel says was touched holds everything that is not zero."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import wasmtime

from wizer.engine.touched import (
    _mappings,
    _queried,
    _relative,
    _scan_by_entries,
    _scan_by_ioctl,
    touched_ranges,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which pages were touched")

PAGE = mmap.PAGESIZE
MEGABYTE = 1 << 20


def address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


@pytest.fixture
def anonymous() -> mmap.mmap:
    return mmap.mmap(-1, 64 * MEGABYTE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def pages(ranges: list[tuple[int, int]] | None) -> set[int]:
    assert ranges is not None
    return {page for start, end in ranges for page in range(start // PAGE, -(-end // PAGE))}


def test_only_pages_written_to_are_touched(anonymous: mmap.mmap) -> None:
    written = set(np.random.default_rng(1).integers(0, len(anonymous) // PAGE, 6000).tolist())
    for page in written:
        anonymous[page * PAGE + page % PAGE] = 1
    assert pages(touched_ranges(address_of(anonymous), len(anonymous))) == written


def test_reading_does_not_make_much_touched(anonymous: mmap.mmap) -> None:
    assert not any(anonymous[:MEGABYTE])
    anonymous[3 * MEGABYTE] = 1
    ranges = touched_ranges(address_of(anonymous), len(anonymous))
    assert ranges is not None
    assert any(low <= 3 * MEGABYTE < high for low, high in ranges)
    assert sum(high - low for low, high in ranges) < len(anonymous) // 2


def test_mappings_are_the_same_asked_for_one_by_one(
    anonymous: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(bytes(3 * PAGE))
        file.flush()
        with (
            mmap.mmap(file.fileno(), 3 * PAGE, flags=mmap.MAP_PRIVATE) as image,
            Path("/proc/self/maps").open() as maps,
        ):
            for memory in (anonymous, image):
                ends = address_of(memory) + PAGE, address_of(memory) + 2 * PAGE
                for first, last in (ends, (ends[0] - (1 << 30), ends[1] + (1 << 30))):
                    try:
                        queried = list(_queried(maps.fileno(), first, last))
                    except OSError as error:
                        pytest.skip(f"the kernel does not tell of one mapping: {error}")
                    with monkeypatch.context() as patch:
                        patch.setattr("wizer.engine.touched._PROCMAP_QUERY", 0)
                        assert _mappings(first, last) == queried
                    assert queried


def test_a_part_of_a_mapping(anonymous: mmap.mmap) -> None:
    anonymous[5 * PAGE + 10] = 1
    start = address_of(anonymous)
    assert touched_ranges(start + 5 * PAGE + 7, 5) == [(0, 5)]
    assert touched_ranges(start + 4 * PAGE, 3 * PAGE) == [(PAGE, 2 * PAGE)]
    assert touched_ranges(start, 0) is None


def test_both_readers_agree(anonymous: mmap.mmap) -> None:
    for at in range(0, len(anonymous), 3 * PAGE):
        anonymous[at] = 1
    start, size = address_of(anonymous), len(anonymous)
    pagemap = os.open("/proc/self/pagemap", os.O_RDONLY)
    try:
        entries = _scan_by_entries(pagemap, start, start + size)
        try:
            scanned = _scan_by_ioctl(pagemap, start, start + size)
        except OSError:
            pytest.skip("this kernel has no PAGEMAP_SCAN")
    finally:
        os.close(pagemap)
    assert _relative(scanned, start, size) == _relative(entries, start, size)


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="no huge pages here")
def test_huge_pages(anonymous: mmap.mmap) -> None:
    anonymous.madvise(mmap.MADV_HUGEPAGE)
    anonymous[20 * MEGABYTE] = 1
    assert 20 * MEGABYTE // PAGE in pages(touched_ranges(address_of(anonymous), len(anonymous)))


@pytest.mark.parametrize("flags", [mmap.MAP_PRIVATE, mmap.MAP_SHARED])
def test_mappings_of_files_count_as_touched(flags: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 16 * PAGE)
        file.flush()
        memory = mmap.mmap(file.fileno(), 16 * PAGE, flags=flags)
    assert touched_ranges(address_of(memory), len(memory)) == [(0, 16 * PAGE)]


def test_shared_anonymous_mappings_count_as_touched() -> None:
    memory = mmap.mmap(-1, 16 * PAGE)
    assert touched_ranges(address_of(memory), len(memory)) == [(0, 16 * PAGE)]


@pytest.mark.parametrize("index_type", ["", "i64"])
def test_initial_data_that_nobody_touched(index_type: str) -> None:
    """The engine maps an image of the data segments: its pages are not zero before anyone reads them."""
    store = wasmtime.Store()
    kind = index_type or "i32"
    module = wasmtime.Module(
        store.engine,
        f"""(module (memory (export "m") {index_type} 1024)
              (data ({kind}.const 100000) "hello") (data ({kind}.const 9000000) "world"))""",
    )
    memory = wasmtime.Instance(store, module, []).exports(store)["m"]
    assert isinstance(memory, wasmtime.Memory)
    address = ctypes.addressof(memory.data_ptr(store).contents)
    memory.write(store, b"late", 50_000_000)
    touched = pages(touched_ranges(address, memory.data_len(store)))
    assert {100_000 // PAGE, 9_000_000 // PAGE, 50_000_000 // PAGE} <= touched
    assert len(touched) < memory.data_len(store) // PAGE // 2
