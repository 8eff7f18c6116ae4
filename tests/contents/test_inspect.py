"""`inspect` accounts for every byte of a file and of memory, whatever the file is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

import wizer
from wizer import Inspection


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def all_of(inspection: Inspection) -> Iterator[Inspection]:
    yield inspection
    for part in inspection.parts:
        yield from all_of(part)


def check(inspection: Inspection) -> None:
    """Every byte of the file and of memory is accounted for, and the record is JSON."""
    for part in all_of(inspection):
        here = part.start
        for section in part.sections:
            assert section.start == here
            here += section.size
        assert here == part.start + part.size
        for memory in part.module.memories if part.module else ():
            assert sum(memory.density) == memory.nonzero == sum(r.nonzero for r in memory.regions)
            ends = [0, *(region.end for region in memory.regions)]
            assert [region.start for region in memory.regions] == ends[:-1]
            assert ends[-1] >= memory.size
    assert json.loads(json.dumps(inspection.to_dict()))["size"] == inspection.size


MODULE = """(module
  (memory (export "memory") 2) (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 4096))
  (global (export "__data_end") i32 (i32.const 2048)) (global (export "__heap_base") i32 (i32.const 4096))
  (table 4 funcref) (elem (i32.const 1) $f $f) (func $f (export "f"))
  (data (i32.const 1024) "hello world") (data (i32.const 1500) "\\00\\01\\00") (data "passive"))"""


def test_a_module() -> None:
    found = wizer.inspect(wat(MODULE), name="m")
    check(found)
    assert found.problems == ()
    module = found.module
    assert module is not None
    (memory,) = module.memories
    assert [(r.name, r.start, r.end, r.nonzero, r.stored) for r in memory.regions] == [
        ("unused", 0, 1024, 0, 0),
        ("static data", 1024, 1503, 12, 14),
        ("bss", 1503, 2048, 0, 0),
        ("stack", 2048, 4096, 0, 0),
        ("heap", 4096, 131072, 0, 0),
    ]
    assert (memory.segments, memory.stored, memory.mapped, memory.strings.longest) == (
        2, 14, True, ((1024, "hello world"),)
    )  # fmt: skip
    assert [(s.mode, s.offset, s.size, s.nonzero) for s in module.segments] == [
        ("active", 1024, 11, 11),
        ("active", 1500, 3, 1),
        ("passive", None, 7, 7),
    ]
    assert [(t.size, t.filled, t.functions) for t in module.tables] == [(4, 2, 1)]
    assert [(g.name, g.mutable, g.value) for g in module.globals] == [
        ("__stack_pointer", True, "4096"),
        ("__data_end", False, "2048"),
        ("__heap_base", False, "4096"),
    ]


@pytest.mark.parametrize("end", [0, 3, 4, 7, 8, 9, 10, 30, 60, 100, 150])
def test_a_cut_file_is_reported_as_far_as_it_goes(end: int) -> None:
    found = wizer.inspect(wat(MODULE)[:end])
    check(found)
    assert found.size == end


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(wizer.InputError):
        wizer.inspect(tmp_path / "none")
