"""Rewriting states made by hand: every item of the output, without an engine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.command import environment
from support.states import (
    array,
    contents,
    data,
    exception,
    initial,
    inits,
    memory,
    module_of,
    rewritten,
    struct,
    with_objects,
)
from support.tools import assembled
from wizer.binary import sections as sec
from wizer.binary.assemble import assemble
from wizer.binary.externs import Export
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module, parse_module
from wizer.binary.types import StructType
from wizer.binary.values import Number
from wizer.core.rewrite import dropped_custom_sections, rewrite
from wizer.core.state import I31, NULL, FuncRef, GlobalRef, MemoryState, ObjectRef, State, TableState, Value
from wizer.errors import OptionError
from wizer.records import replace

EXAMPLE = """(module
  (memory 1)
  (global $g (mut i32) (i32.const 0))
  (func $s)
  (func $init (export "wizer-initialize") (global.set $g (i32.const 7)))
  (func (export "get") (result i32) (global.get $g))
  (start $s))"""


def test_the_example_at_the_head_of_the_module() -> None:
    module = module_of(EXAMPLE)
    state = State(globals={0: Number("i32", 7)}, memories={0: memory(bytes(1024) + b"hello", pages=3)})
    out = rewritten(module, state, [module.exports_by_name["get"]])
    assert [item.limits.minimum for item in out.memories] == [3]
    assert inits(out) == {0: b"\x41\x07\x0b"}
    assert out.globals[0].type == module.globals[0].type
    assert out.start is None
    assert out.exports == (Export("get", "func", 2),)
    assert data(out) == [("active", 0, b"\x41\x80\x08\x0b", b"hello")]
    assert contents(out, sec.CODE) == contents(module, sec.CODE)
    assert (out.types, out.funcs, out.data_count) == (module.types, module.funcs, None)


def test_no_engine_is_needed() -> None:
    """Neither to be imported, nor to rewrite every kind of state."""
    module = module_of(EXAMPLE)
    program = """
import sys
sys.modules["wasmtime"] = None  # importing it is an error
from wizer.binary.module import Module, parse_module
from wizer.binary.types import StructType
from wizer.binary.values import Number
from wizer.core.rewrite import rewrite
from wizer.core.state import MemoryState, State
module = parse_module(bytes.fromhex(sys.argv[1]))
memory = MemoryState(3, memoryview(bytes(1024) + b"hello" + bytes(3 * 65536 - 1029)))
state = State(globals={0: Number("i32", 7)}, memories={0: memory})
print(b"".join(rewrite(module, state, module.exports, 9)).hex())
print(*sorted(name for name in sys.modules if name.startswith("wizer.engine")))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, module.wasm.hex()],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    wasm, modules = ended.stdout.split("\n")[:2]
    out = parse_module(bytes.fromhex(wasm))
    assert inits(out) == {0: b"\x41\x07\x0b"}
    assert data(out) == [("active", 0, b"\x41\x80\x08\x0b", b"hello")]
    assert modules == ""


@pytest.mark.parametrize(
    ("type_", "bits", "code"),
    [
        ("i32", 0xFFFF_FFFF, b"\x41\x7f"),
        ("i32", 0x8000_0000, b"\x41\x80\x80\x80\x80\x78"),
        ("i64", 64, b"\x42\xc0\x00"),
        ("i64", 0x8000_0000_0000_0000, b"\x42\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f"),
        ("f32", 0x7FA0_0001, b"\x43\x01\x00\xa0\x7f"),
        ("f64", 0xFFF0_0000_0000_0001, b"\x44\x01\x00\x00\x00\x00\x00\xf0\xff"),
        ("v128", 1 << 127 | 5, b"\xfd\x0c\x05" + bytes(14) + b"\x80"),
    ],
)
def test_globals_have_their_bits(type_: str, bits: int, code: bytes) -> None:
    zero = "v128.const i32x4 0 0 0 0" if type_ == "v128" else f"{type_}.const 0"
    module = module_of(f"(module (global (mut {type_}) ({zero})) (global (mut {type_}) ({zero})))")
    out = rewritten(module, State(globals={1: Number(type_, bits)}))
    assert inits(out) == {0: inits(module)[0], 1: code + b"\x0b"}
    assert [item.type for item in out.globals] == [item.type for item in module.globals]


@pytest.mark.parametrize(
    ("type_", "value", "code"),
    [
        ("funcref", FuncRef(0), b"\xd2\x00"),
        ("funcref", NULL, b"\xd0\x70"),
        ("anyref", I31(0x7FFF_FFFF), b"\x41\xff\xff\xff\xff\x07\xfb\x1c"),
        ("anyref", NULL, b"\xd0\x6e"),
        ("externref", GlobalRef(0), b"\x23\x00"),
        ("externref", NULL, b"\xd0\x6f"),
        ("exnref", NULL, b"\xd0\x69"),
    ],
)
def test_globals_have_their_references(type_: str, value: Value, code: bytes) -> None:
    heap = {"funcref": "func", "anyref": "any", "externref": "extern", "exnref": "exn"}[type_]
    module = module_of(
        f"""(module (import "" "e" (global externref)) (func (export "f"))
          (global (mut {type_}) (ref.null {heap})))"""
    )
    out = rewritten(module, State(globals={1: value}))
    assert inits(out) == {1: code + b"\x0b"}


def test_globals_that_are_not_in_the_state_keep_their_initialisers_byte_for_byte() -> None:
    head = sec.MAGIC + sec.MODULE_VERSION
    section = b"\x06\x0e\x02" + b"\x7f\x00\x41\x81\x80\x00\x0b" + b"\x7f\x01\x41\x80\x00\x0b"
    module = parse_module(head + section)
    out = rewritten(module, State(globals={1: Number("i32", 1)}))
    assert inits(out) == {0: b"\x41\x81\x80\x00\x0b", 1: b"\x41\x01\x0b"}


@pytest.mark.parametrize(
    ("type_", "pages", "page_size"),
    [
        ("1", 5, 1 << 16),
        ("1 9", 9, 1 << 16),
        ("i64 1", 2, 1 << 16),
        ("1 2 shared", 2, 1 << 16),
        ("3 (pagesize 1)", 7, 1),
    ],
)
def test_a_memory_is_as_large_as_it_has_become(type_: str, pages: int, page_size: int) -> None:
    module = module_of(f"(module (memory {type_}))")
    out = rewritten(module, State(memories={0: memory(b"x", pages, page_size)}))
    (before,), (after,) = module.memories, out.memories
    assert after == replace(before, limits=replace(before.limits, minimum=pages))


@pytest.mark.parametrize("type_", ["1 funcref", "1 8 funcref", "i64 1 funcref"])
def test_a_table_is_as_large_as_it_has_become(type_: str) -> None:
    module = module_of(f"(module (table {type_}))")
    out = rewritten(module, State(tables={0: TableState(8)}))
    (before,), (after,) = module.tables, out.tables
    limits = replace(before.type.limits, minimum=8)
    assert after == replace(before, type=replace(before.type, limits=limits))


def test_a_table_keeps_its_initialiser() -> None:
    module = module_of("(module (func $f) (table 2 (ref func) (ref.func $f)))")
    out = rewritten(module, State(tables={0: TableState(3)}))
    assert out.tables[0].type.limits.minimum == 3
    assert out.tables[0].init == module.tables[0].init


IMPORTS = """(module
  (import "a" "f" (func)) (import "a" "m" (memory 1 9)) (import "b" "t" (table 2 funcref))
  (import "a" "g" (global (mut i32))) (import "b" "m" (memory 1)) (import "a" "t" (table 2 funcref)))"""


def test_captured_imports_are_as_large_as_they_have_become_and_kept_ones_stay() -> None:
    module = module_of(IMPORTS)
    state = State(
        memories={0: memory(b"x", 4)},
        tables={1: TableState(6)},
        borrowed=frozenset({("memory", 1), ("table", 0), ("global", 0)}),
    )
    out = rewritten(module, state)
    assert [item.limits.minimum for item in out.memories] == [4, 1]
    assert out.memories[0].limits.maximum == 9
    assert [table.type.limits.minimum for table in out.tables] == [2, 6]
    assert [(item.module, item.name) for item in out.imports] == [
        (item.module, item.name) for item in module.imports
    ]
    assert data(out) == [("active", 0, b"\x41\x00\x0b", b"x")]


def test_imports_stay_byte_for_byte_where_none_has_grown() -> None:
    module = module_of(IMPORTS)
    everything = [("memory", 0), ("memory", 1), ("table", 0), ("table", 1), ("global", 0)]
    out = rewritten(module, State(borrowed=frozenset(everything)))  # type: ignore[arg-type]
    assert out.wasm == module.wasm


def test_the_value_of_a_captured_imported_global_is_set_at_the_start() -> None:
    module = module_of('(module (import "" "g" (global (mut i32))) (func (export "f")))')
    out = rewritten(module, State(globals={0: Number("i32", 9)}))
    assert out.start == 1
    assert contents(out, sec.CODE) == b"\x02\x02\x00\x0b\x06\x00\x41\x09\x24\x00\x0b"


def test_exports_are_those_that_are_given_in_their_order() -> None:
    module = module_of('(module (memory 1) (func) (export "m" (memory 0)) (export "f" (func 0)))')
    given = [Export("new", "func", 0), Export("m", "memory", 0), Export("", "func", 0)]
    assert rewritten(module, initial(module), given).exports == tuple(given)
    out = rewritten(module, initial(module), [])
    assert out.section(sec.EXPORT) is None


def custom(name: bytes, body: bytes) -> bytes:
    payload = bytes((len(name),)) + name + body
    return b"\x00" + bytes((len(payload),)) + payload


def test_custom_sections_keep_their_bytes_and_order() -> None:
    head = sec.MAGIC + sec.MODULE_VERSION
    first, dwarf, wizer = custom(b"first", b"1"), custom(b".debug_info", b"22"), custom(b"wizer", b"a b")
    wasm = head + first + b"\x05\x03\x01\x00\x01" + dwarf + custom(b"linking", b"\x02")
    wasm += wizer + custom(b"reloc.CODE", b"\x00\x00") + first
    module = parse_module(wasm)
    out = rewritten(module, State(memories={0: memory(b"", 2)}))
    assert out.wasm == head + first + b"\x05\x03\x01\x00\x02" + dwarf + wizer + first
    assert dropped_custom_sections(module) == ["linking", "reloc.CODE"]


@pytest.mark.parametrize("wat", ["(module)", EXAMPLE.replace("(start $s)", ""), IMPORTS])
def test_a_state_like_the_initial_one_changes_nothing(wat: str) -> None:
    module = module_of(wat)
    assert rewritten(module, initial(module)).wasm == module.wasm


def test_memory_is_written_from_where_it_is() -> None:
    module = module_of("(module (memory 1))")
    live = bytearray(1 << 16)
    live[100:105] = b"hello"
    chunks = rewrite(module, State(memories={0: MemoryState(1, memoryview(live))}), [], 9)
    assert [bytes(c) for c in chunks if isinstance(c, memoryview) and c.obj is live] == [b"hello"]


def test_the_limit_of_data_segments_is_held_or_an_error() -> None:
    module = module_of("(module (memory 1) (memory 1))")
    state = State(memories={0: memory(b"a" + bytes(50) + b"b"), 1: memory()})
    assert [item[3] for item in data(rewritten(module, state))] == [b"a", b"b"]
    (only,) = data(rewritten(module, state, max_data_segments=1))
    assert only[3] == b"a" + bytes(50) + b"b"
    with pytest.raises(OptionError, match=r"2 memories hold data .* the limit is 1"):
        rewrite(module, replace(state, memories={0: memory(b"a"), 1: memory(b"b")}), [], 1)
    assert (
        data(rewritten(module, replace(state, memories={0: memory(), 1: memory()}), max_data_segments=0))
        == []
    )
    with pytest.raises(OptionError, match=r"memory holds data, .* the limit is 0"):
        rewrite(module, replace(state, memories={0: memory(b"a"), 1: memory()}), [], 0)


OBJECTS = """(module
  (rec (type $pair (struct (field (mut i32)) (field (mut (ref null $pair))))))
  (type $bytes (array (mut i8)))
  (type $refs (array (mut anyref)))
  (tag $t (param i32))
  (global $a (mut (ref null $pair)) (ref.null $pair))
  (global $b (mut anyref) (ref.null any))
  (global $e (mut exnref) (ref.null exn))
  (func (export "f")))"""


def test_an_object_of_one_place_is_made_there() -> None:
    module = module_of(OBJECTS)
    state = with_objects(State(globals={0: ObjectRef(0)}), struct(0, Number("i32", 5), NULL))
    out = rewritten(module, state)
    assert inits(out)[0] == b"\x41\x05" + b"\xd0\x00" + b"\xfb\x00\x00" + b"\x0b"
    assert len(out.globals) == len(module.globals)
    assert out.start is None


def test_arrays_are_made_of_their_elements() -> None:
    module = module_of(OBJECTS)
    for object_, code in (
        (array(1, data=b"\x07\xff"), b"\x41\x07\x41\xff\x01\xfb\x08\x01\x02"),
        (array(2, [I31(1), NULL]), b"\x41\x01\xfb\x1c\xd0\x6e\xfb\x08\x02\x02"),
        (array(2, [NULL] * 9), b"\xd0\x6e\x41\x09\xfb\x06\x02"),
    ):
        out = rewritten(module, with_objects(State(globals={1: ObjectRef(0)}), object_))
        assert inits(out)[1] == code + b"\x0b"


def test_an_object_of_two_places_is_an_appended_global() -> None:
    """The globals that refer to it stand before it, so they begin with null and are set."""
    module = module_of(OBJECTS)
    state = State(globals={0: ObjectRef(0), 1: ObjectRef(0)})
    out = rewritten(module, with_objects(state, struct(0, Number("i32", 5), NULL)))
    assert inits(out) == {**inits(module), 3: b"\x41\x05" + b"\xd0\x00" + b"\xfb\x00\x00" + b"\x0b"}
    assert not out.globals[3].type.mutable
    assert out.start == 1
    code = contents(out, sec.CODE)
    assert code is not None
    assert code.endswith(b"\x00\x23\x03\x24\x00\x23\x03\x24\x01\x0b")


def test_a_cycle_is_closed_by_a_start_function_which_the_module_names() -> None:
    module = module_of(OBJECTS)
    loop = (struct(0, Number("i32", 1), ObjectRef(1)), struct(0, Number("i32", 2), ObjectRef(0)))
    out = rewritten(module, with_objects(State(globals={0: ObjectRef(0)}), *loop))
    assert [out.globals[index].type.mutable for index in (3, 4)] == [False, False]
    assert out.start == len(module.funcs)
    assert out.funcs[: out.start] == module.funcs
    assert out.exports == module.exports
    assert out.sections[-1].name == "wizer"


def test_the_start_function_of_a_snapshot_goes_and_comes_again() -> None:
    module = module_of(OBJECTS)
    loop = (struct(0, Number("i32", 1), ObjectRef(1)), struct(0, Number("i32", 2), ObjectRef(0)))
    first = rewritten(module, with_objects(State(globals={0: ObjectRef(0)}), *loop))
    same = State(globals={0: ObjectRef(0), 3: ObjectRef(1), 4: ObjectRef(0)})
    assert rewritten(first, with_objects(same, *loop)).wasm == first.wasm
    opened = rewritten(first, State(globals={0: NULL}))
    assert opened.start is None
    assert opened.funcs == module.funcs
    assert contents(opened, sec.CODE) == contents(module, sec.CODE)
    assert [section.name for section in opened.sections if section.id == sec.CUSTOM] == ["name"]
    assert inits(opened) == inits(module)


def test_an_exception_is_thrown_and_caught_at_the_start() -> None:
    module = module_of(OBJECTS)
    out = rewritten(module, with_objects(State(globals={2: ObjectRef(0)}), exception(0, Number("i32", 3))))
    assert inits(out)[2] == b"\xd0\x69\x0b"
    assert out.start is not None
    code = contents(out, sec.CODE)
    assert code is not None
    assert b"\x41\x03\x08\x00" in code  # i32.const 3, throw 0


MANY = """(module
  (import "" "f" (func $imported))
  (type $node (struct (field (mut i32)) (field (mut anyref))))
  (global (mut anyref) (ref.null any))
  (memory 1)
  (func (export "f") (call $imported)) %s)"""


@pytest.mark.parametrize(
    ("segments", "count"),
    [("", None), ('(data $old "old") (func (data.drop $old))', 1)],
    ids=["no DataCount section", "DataCount section"],
)
def test_many_objects_are_made_from_data_that_goes_with_its_function(
    segments: str, count: int | None
) -> None:
    module = module_of(MANY % segments)
    assert module.data_count == count
    typeidx = next(i for i, type_ in enumerate(module.types) if isinstance(type_.comp, StructType))
    chain = [struct(typeidx, Number("i32", n), ObjectRef(n + 1) if n < 999 else NULL) for n in range(1000)]
    owned = {"globals": {0: ObjectRef(0)}, "memories": {0: memory(b"x")}}
    out = rewritten(module, with_objects(State(**owned), *chain))  # type: ignore[arg-type]
    passive = [held for mode, _, _, held in data(out) if mode == "passive"]
    assert passive[:-1] == [b"old"] * (count or 0)
    assert out.data_count == len(out.data) == len(passive) + 1
    assert out.start == len(out.funcs) - 1
    assert inits(out)[0] == inits(module)[0]
    # A snapshot of it: what the function needed goes, with the function's own code, and comes again.
    state = with_objects(State(**owned, dropped_data=frozenset({len(module.data)})), *chain)  # type: ignore[arg-type]
    again = rewritten(out, state)
    assert len(again.wasm) == len(out.wasm)
    if count is None:
        assert again.wasm == out.wasm
    emptied = rewritten(out, State(globals={0: NULL}, memories={0: memory(b"x")}))
    assert emptied.data_count == (None if count is None else 2)
    assert data(emptied)[-1] == ("active", 0, b"\x41\x00\x0b", b"x")
    assert contents(emptied, sec.CODE) == contents(module, sec.CODE)
    assert (emptied.funcs, emptied.start) == (module.funcs, None)


def bodies(module: Module) -> list[bytes]:
    section = module.section(sec.CODE)
    assert section is not None
    reader = section.reader(module.wasm)
    return [reader.raw(reader.u32()) for _ in range(reader.count())]


def test_a_long_start_function_is_several() -> None:
    """Engines refuse bodies of more than 7,654,321 bytes; each global here takes about 22 to set."""
    globals_ = 47_000
    each = b"\x00\x00\x03\x7b\x01"  # of module "" and of no name: a mutable v128
    imports = encode_unsigned(globals_) + globals_ * each
    module = parse_module(
        sec.MAGIC + sec.MODULE_VERSION + sec.section_header(sec.IMPORT, len(imports)) + imports
    )
    values = {index: Number("v128", index) for index in range(globals_)}
    out = rewritten(module, State(globals=values))
    *parts, start = bodies(out)
    assert out.start == len(parts) == 2
    assert start == b"\x00\x10\x00\x10\x01\x0b"
    assert [len(part) < 1_000_010 for part in parts] == [True, True]
    assert b"".join(part[1:-1] for part in parts) == b"".join(
        b"\xfd\x0c" + index.to_bytes(16, "little") + b"\x24" + encode_unsigned(index) for index in values
    )


@pytest.mark.parametrize("custom", ["", '(@custom "linking" "x")', '(@producers (language "C" "17"))'])
def test_a_module_that_holds_nothing_is_what_it_was(custom: str) -> None:
    wat = f'(module {custom} (import "" "f" (func $f)) (func (export "g") (call $f)))'
    module = parse_module(assembled(wat))
    out = b"".join(rewrite(module, State(), module.exports, 10))
    kept = [section for section in module.sections if section.name != "linking"]
    assert out == b"".join(assemble(module, {}, keep_custom=lambda section: section in kept))
    with_other_exports = b"".join(rewrite(module, State(), (), 10))
    assert parse_module(with_other_exports).exports == ()
