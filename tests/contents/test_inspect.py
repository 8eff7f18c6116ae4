"""`inspect` accounts for every byte of a file and of memory, whatever the file is."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest

import wizer
from contents.checking import check_accounts, wat
from support.components import MANY
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.sections import section_header
from wizer.contents.records import Memory

MODULE = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2) (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 4096))
  (global (export "__data_end") i32 (i32.const 2048)) (global (export "__heap_base") i32 (i32.const 4096))
  (global f32 (f32.const 1.5)) (global f64 (f64.const nan:0x123)) (global funcref (ref.func $f))
  (table 4 funcref) (elem (i32.const 1) $f $f) (func $f (export "f"))
  (data (i32.const 1024) "hello world") (data (i32.const 1500) "\\00\\01\\00") (data "passive"))"""


def memory_of(wasm: bytes) -> Memory:
    found = wizer.inspect(wasm)
    check_accounts(found)
    assert found.module is not None
    return found.module.memories[0]


def parts(memory: Memory) -> list[tuple[str, int, int]]:
    return [(region.name, region.start, region.end) for region in memory.regions]


def test_a_module() -> None:
    found = wizer.inspect(wat(MODULE), name="m")
    check_accounts(found)
    assert (found.kind, found.name, found.problems) == ("module", "m", ())
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
    assert (memory.segments, memory.stored, memory.mapped) == (2, 14, True)
    assert memory.strings.longest == ((1024, "hello world"),)
    assert [(b.start, b.end, b.place) for b in memory.blocks] == [
        (1024, 1035, "static data+0x0"),
        (1501, 1502, "static data+0x1dd"),
    ]
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
        ("", False, "1.5"),
        ("", False, "nan:0x7ff0000000000123"),
        ("", False, "func 1"),
    ]
    assert (dict(module.imports), module.functions) == ({"func": 1}, 1)


LAID_OUT = {
    "stack first, as Rust exports it": (
        """(global $__stack_pointer (mut i32) (i32.const 1048576)) (global (export "__data_end") i32
           (i32.const 1050000)) (global (export "__heap_base") i32 (i32.const 1050016))
           (data (i32.const 1048576) "abc")""",
        ["stack 0", "static data 1048576", "bss 1048579", "heap 1050016"],
    ),
    "stack first, nothing but its pointer": (
        '(global $__stack_pointer (mut i32) (i32.const 65536)) (data (i32.const 65536) "abc")',
        ["stack 0", "static data 65536", "bss, heap 65539"],
    ),
    "stack last, nothing but its pointer": (
        '(global $__stack_pointer (mut i32) (i32.const 70000)) (data (i32.const 1024) "abc")',
        ["unused 0", "static data 1024", "bss, stack 1027", "heap 70000"],
    ),
    "a snapshot that says nothing of itself": (
        """(global $__stack_pointer (mut i32) (i32.const 70000)) (data (i32.const 1024) "abc")
           (data (i32.const 80000) "abc")""",
        ["static data, bss, stack 0", "heap 70000"],
    ),
    "AssemblyScript": (
        """(global $~lib/memory/__data_end i32 (i32.const 1100))
           (global $~lib/memory/__stack_pointer (mut i32) (i32.const 33868))
           (global $~lib/memory/__heap_base i32 (i32.const 33868))
           (data (i32.const 1036) "abc")""",
        ["unused 0", "static data 1036", "bss 1039", "stack 1100", "heap 33868"],
    ),
    "Emscripten's names": (
        """(global $__stack_end (mut i32) (i32.const 2000)) (global $__stack_base (mut i32) (i32.const 67536))
           (data (i32.const 1024) "abc")""",
        ["unused 0", "static data 1024", "bss 1027", "stack 2000", "heap 67536"],
    ),
    "nobody says anything": ('(data (i32.const 1024) "abc")', ["contents 0"]),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_regions(name: str) -> None:
    text, expected = LAID_OUT[name]
    memory = memory_of(wat(f"(module (memory 20) {text})"))
    assert [f"{region} {start}" for region, start, _ in parts(memory)] == expected


def test_the_later_segment_has_the_last_word() -> None:
    memory = memory_of(
        wat("""(module (memory 1) (data (i32.const 8) "aaaaaaaa") (data (i32.const 6) "bbbb")
          (data (i32.const 12) "\\00\\00") (data (i32.const 0) "cccccccccccccccccccc"))""")
    )
    assert (memory.nonzero, memory.segments, memory.stored) == (20, 4, 34)
    memory = memory_of(wat('(module (memory 1) (data (i32.const 8) "aaaa") (data (i32.const 9) "\\00\\00"))'))
    assert memory.nonzero == 2


def test_what_is_outside_is_a_region() -> None:
    memory = memory_of(wat('(module (memory 1) (data (i32.const 65530) "0123456789"))'))
    assert parts(memory) == [("contents", 0, 65536), ("outside", 65536, 65540)]
    assert "traps" in memory.obstacle
    wide = '(module (memory i64 1) (data (i64.const -2) "ab"))'
    assert memory_of(wat(wide)).nonzero == 0  # no memory is so large


def test_a_sparse_memory_of_4_gib_is_as_small_as_its_segments() -> None:
    data = "".join(f'(data (i32.const {i << 24}) "x")' for i in range(256))
    wasm = wat(f"(module (memory 65536) {data})")
    tracemalloc.start()
    memory = memory_of(wasm)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (memory.size, memory.nonzero, memory.mapped, len(memory.density)) == (1 << 32, 256, False, 4081)
    assert "too sparse" in memory.obstacle
    assert peak < 32 << 20


def test_objects_are_counted_by_type() -> None:
    wasm = wat("""(module (type $p (struct (field i32))) (type $a (array (ref $p)))
      (memory 1) (global (ref $a) (array.new_fixed $a 2 (struct.new $p (i32.const 1))
      (struct.new $p (i32.const 2)))) (table 1 (ref null $p) (struct.new_default $p)))""")
    found = wizer.inspect(wasm).module
    assert found is not None
    assert [(o.typeidx, o.name, o.form, o.count) for o in found.objects] == [
        (0, "p", "struct", 3),
        (1, "a", "array", 1),
    ]


RING = """(module (type $n (struct (field i32) (field (mut (ref null $n)))))
  (global $g (mut (ref null $n)) (ref.null $n)) (memory 1)
  (func (export "init") (local $i i32) (local $first (ref null $n))
    (local.set $first (struct.new $n (i32.const 0) (ref.null $n)))
    (global.set $g (local.get $first))
    (loop (global.set $g (struct.new $n (local.get $i) (global.get $g)))
      (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const %d))))
    (struct.set $n 1 (local.get $first) (global.get $g))))"""


@pytest.mark.parametrize("count", [3, 5000])
def test_objects_that_a_restore_function_makes_are_counted(count: int) -> None:
    found = wizer.inspect(wizer.wizen(RING % count, init_func="init")).module
    assert found is not None
    assert found.provenance.snapshot
    assert found.provenance.restore > 0
    assert [(o.name, o.exact, o.count) for o in found.objects if o.name == "n"] == [("n", True, count + 1)]


@pytest.mark.parametrize("source", [MODULE, MANY], ids=["module", "component"])
def test_cut_files_are_reported_as_far_as_they_go(source: str) -> None:
    wasm = wat(source)
    for end in range(len(wasm)):
        found = wizer.inspect(wasm[:end])
        check_accounts(found)
        assert found.size == end


@pytest.mark.parametrize("source", [MODULE, MANY], ids=["module", "component"])
def test_changed_files_are_reported_as_far_as_they_make_sense(source: str) -> None:
    wasm, chance = wat(source), random.Random(3)
    for _ in range(400):
        changed = bytearray(wasm)
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(8, len(changed))] = chance.randrange(256)
        found = wizer.inspect(bytes(changed))
        check_accounts(found)
        assert bool(wizer.diff(wasm, bytes(changed))) == (changed != wasm)


def test_what_is_broken_is_named_and_all_else_is_there() -> None:
    wasm = wat(MODULE)
    found = wizer.inspect(wasm[: wasm.index(b"passive") + 3])
    assert found.problems[0].message.startswith("the data section is truncated")
    assert found.module is not None
    assert [segment.size for segment in found.module.segments] == [11, 3]
    twice = wasm + section_header(5, 3) + b"\x01\x00" + encode_unsigned(1)
    assert [p.message for p in wizer.inspect(twice).problems] == ["there are two memory sections"]


@pytest.mark.parametrize("wasm", [b"", b"\x7fELF", b"\0asm", b"\0asm\x07\0\0\0", b"(module"])
def test_what_is_no_webassembly(wasm: bytes) -> None:
    found = wizer.inspect(wasm)
    check_accounts(found)
    assert (found.kind, len(found.problems)) == ("unknown", 1)


def test_the_text_format_and_paths(tmp_path: Path) -> None:
    path = tmp_path / "m.wat"
    path.write_text(MODULE)
    found = wizer.inspect(path)
    assert found.name == str(path)
    assert found.module == wizer.inspect(MODULE).module
    with pytest.raises(wizer.InputError):
        wizer.inspect(tmp_path / "none")


def test_a_component_and_its_parts() -> None:
    found = wizer.inspect(wat(MANY))
    check_accounts(found)
    assert [part.kind for part in found.parts] == ["module", "component", "module"]
    assert [part.name for part in found.parts] == [
        'core module 0 ("m")',
        'component 0 ("c")',
        'core module 1 ("n")',
    ]
    assert all(found.start <= part.start for part in found.parts)
