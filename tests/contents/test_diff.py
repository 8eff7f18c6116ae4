"""`diff` names what differs between two files, and nothing else."""

from __future__ import annotations

import json

import wizer
from contents.checking import wat

FIRST = """(module
  (memory (export "memory") 2) (global $seed (mut i32) (i32.const 7)) (global $__stack_pointer (mut i32)
  (i32.const 4096)) (global (export "table") i32 (i32.const 1500))
  (table 4 funcref) (elem (i32.const 1) $f $g) (func $f (export "f")) (func $g (export "g") (nop))
  (data (i32.const 1024) "hello world") (data (i32.const 1500) "\\01\\02\\03\\04"))"""
SECOND = FIRST.replace("i32.const 7", "i32.const 9").replace("\\02", "\\05").replace("hello", "HELLO")


def test_the_same_is_the_same() -> None:
    found = wizer.diff(wat(FIRST), wat(FIRST))
    assert not found
    assert found.identical
    assert (found.sections, found.changes, found.memories) == ((), (), ())


def test_memory_and_globals() -> None:
    found = wizer.diff(wat(FIRST), wat(SECOND))
    assert [(c.kind, c.index, c.place, c.how, c.first, c.second) for c in found.changes] == [
        ("global", 0, 'global 0 ("seed")', "changed", "mut i32 = 7", "mut i32 = 9")
    ]
    (memory,) = found.memories
    assert [
        (r.start, r.end, r.differing, r.place, r.first, r.second, r.first_text) for r in memory.ranges
    ] == [
        (1024, 1029, 5, "static data+0x0", "68 65 6c 6c 6f", "48 45 4c 4c 4f", "hello"),
        (1501, 1502, 1, "static data+0x1dd", "02", "05", ""),
    ]
    assert memory.differing == 6 == sum(region.differing for region in memory.regions) == sum(memory.density)
    assert [section.title for section in found.sections] == ["global", "data"]
    assert json.loads(json.dumps(found.to_dict()))["identical"] is False


def test_other_segments_for_the_same_memory_are_no_difference() -> None:
    other = FIRST.replace(
        '(data (i32.const 1024) "hello world")', '(data (i32.const 1020) "\\00\\00\\00\\00hel")'
    )
    other = other[:-1] + '(data (i32.const 1027) "lo world"))'
    found = wizer.diff(wat(FIRST), wat(other))
    assert (found.changes, found.memories) == ((), ())
    assert [section.title for section in found.sections] == ["data"]


def test_a_function_in_front_of_all_others() -> None:
    """What refers to functions is the same where their names are; only what is new is named."""
    other = FIRST.replace('(func $f (export "f"))', '(func $new) (func $f (export "f"))')
    found = wizer.diff(wat(FIRST), wat(other))
    assert [(c.kind, c.place, c.how) for c in found.changes if c.kind != "custom section"] == [
        ("function", 'function 0 ("new")', "added")
    ]


def test_an_export_that_goes_is_no_other_function() -> None:
    """As in a snapshot, whose names may be stripped."""
    bare = FIRST.replace("(func $f (export", "(func (export").replace("(elem (i32.const 1) $f $g)", "")
    found = wizer.diff(wat(bare), wat(bare.replace('(func (export "f"))', "(func)")))
    assert [(c.kind, c.place, c.how) for c in found.changes if c.kind != "custom section"] == [
        ("export", "export `f`", "removed")
    ]


def test_a_body() -> None:
    found = wizer.diff(wat(FIRST), wat(FIRST.replace("(nop)", "(nop) (nop)")))
    assert [(c.place, c.first, c.second) for c in found.changes] == [
        ('function 1 ("g")', "3 bytes", "4 bytes")
    ]
