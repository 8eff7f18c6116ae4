"""Parsing whole modules: what is found, and that nothing but `ParseError` comes of bytes that are damaged."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from support.engine import binary
from wizer import Session
from wizer.binary import sections as sec
from wizer.binary.assemble import assemble, encode_section
from wizer.binary.expr import MAX_OPERANDS
from wizer.binary.externs import Export, FuncIndex, GlobalType, Import
from wizer.binary.module import Module, parse_module
from wizer.binary.types import FuncType, RefType
from wizer.core.instrument import instrument
from wizer.errors import LimitError, ParseError, WizerError

WAT = """(module
    (type $f (func (param i32) (result i64))) (type $s (struct (field (mut anyref)))) (tag $tag (param i32))
    (import "env" "f" (func $imported (type $f))) (import "env" "t" (table $it 1 2 funcref))
    (import "env" "m" (memory $im 1)) (import "env" "g" (global $ig (mut i32))) (import "env" "tag" (tag
      (param i64)))
    (memory $m i64 2 5) (table $t 3 (ref func) (ref.func $a))
    (global $g (mut (ref null $s)) (struct.new $s (ref.i31 (i32.const 5))))
    (func $a (type $f) (unreachable)) (func $b (export "b")) (start $b)
    (elem $p func $a $b) (elem (table $it) (i32.const 0) func $imported)
    (data $d "passive") (data (memory $m) (i64.const 8) "active")
    (func $c (data.drop $d) (elem.drop $p)) (@custom "notes" "some bytes"))"""


def test_index_spaces_begin_with_the_imports() -> None:
    module = parse_module(binary(WAT))
    assert module.imports[0] == Import("env", "f", "func", FuncIndex(0))
    assert module.import_counts == dict.fromkeys(("func", "table", "memory", "global", "tag"), 1)
    assert [len(s) for s in (module.funcs, module.tables, module.memories, module.globals, module.tags)] == [
        *(4, 2, 2, 2, 2),
    ]
    assert module.imported("func", 0)
    assert not module.imported("func", 1)
    assert module.functype(1) == FuncType(("i32",), ("i64",))
    assert module.globals[1].type == GlobalType(RefType(nullable=True, heap=1), mutable=True)
    assert module.tables[1].init is not None
    assert module.tables[1].init.funcs == (1,)
    assert (module.start, module.data_count) == (2, 2)
    assert [element.mode for element in module.elements] == ["passive", "active"]
    assert [data.mode for data in module.data] == ["passive", "active"]
    assert module.exports_by_name == {"b": Export("b", "func", 2)}


def test_the_functions_that_may_be_referred_to() -> None:
    module = parse_module(
        binary(
            """(module (table 1 funcref) (global funcref (ref.func 1)) (table 1 (ref func) (ref.func 2))
                 (elem declare func 3) (elem (i32.const 0) funcref (ref.func 4)) (export "e" (func 5))
                 (func) (func) (func) (func) (func) (func) (func) (start 0))"""
        )
    )
    assert module.refs == {1, 2, 3, 4, 5}


HEADER = "00 61 73 6d 01 00 00 00 "


@pytest.mark.parametrize(
    ("wasm", "message"),
    [
        ("01 04 01 60 00 00 03 02 01 00", "1 functions are declared and 0 have bodies"),
        ("0a 04 01 02 00 0b", "0 functions are declared and 1 have bodies"),
        ("0c 01 01", "the data count section announces 1 segments, there are 0"),
        ("01 05 01 60 00 00 00", "unexpected bytes at the end of the type section"),
        ("08 01 05", "unknown func 5"),
        ("07 05 01 01 61 00 09", "unknown func 9"),
        ("07 05 01 01 61 02 00", "unknown memory 0"),
        ("0b 07 01 00 41 00 0b 01 61", "unknown memory 0"),
        ("09 07 01 00 41 00 0b 01 00", "unknown (func|table) 0"),
        ("02 07 01 01 61 01 62 00 03", "type 3 is not a function type"),
        ("02 08 01 01 61 01 62 04 00 03", "type 3 is not a function type"),
        ("06 07 01 63 05 00 d0 05 0b", "unknown type 5"),
        ("01 05 01 5f 01 63 09", "unexpected end"),
        ("01 06 01 5f 01 63 09 00", "unknown type 9"),
        ("01 06 01 50 01 07 5f 00", "unknown type 7"),
        ("01 06 01 50 01 00 5f 00", "type 0 has a supertype that does not stand before it"),
        ("04 06 01 40 01 70 00 01", "unknown reference type 0x40"),
    ],
)
def test_sections_that_lie_about_each_other(wasm: str, message: str) -> None:
    with pytest.raises(ParseError, match=message) as error:
        parse_module(bytes.fromhex(HEADER + wasm))
    assert 8 <= error.value.offset <= 8 + len(bytes.fromhex(wasm))


def survivors(wasm: bytes) -> Module | None:
    """The module, or None where it is malformed. Any other exception is a fault."""
    try:
        module = parse_module(wasm)
    except ParseError as error:
        return None if 0 <= error.offset <= len(wasm) else pytest.fail(f"{error} of {len(wasm)}")
    # What later stages look at must be there, too.
    _ = (module.names, module.refs, module.exports_by_name)
    for funcidx in range(len(module.funcs)):
        module.functype(funcidx)
    return module


def instrumented(wasm: bytes) -> None:
    """Instrument what can be parsed: the stage before the engine's validation must not stumble either."""
    module = survivors(wasm)
    if module is not None:
        with suppress(WizerError):
            instrument(module)


def test_every_truncation_of_a_module_is_malformed_or_shorter() -> None:
    wasm = binary(WAT)
    whole = [len(wasm[:8])] + [section.end for section in parse_module(wasm).sections]
    for length in range(len(wasm)):
        if survivors(wasm[:length]) is not None:
            assert length in whole, "it ends between two sections"


TYPES = """(module
    (rec (type $a (sub (struct (field i32)))) (type $b (sub $a (struct (field i32) (field (ref null $c)))))
      (type $c (sub $b (struct (field i32) (field (ref null $c)) (field exnref)))))
    (type $k (array (mut i8))) (global (mut anyref) (ref.null any)) (table 1 (ref null $c))
    (tag (param (ref null $b))) (elem (ref null $a) (item (struct.new $a (i32.const 1))))
    (func (elem.drop 0)))"""


@pytest.mark.parametrize("wat", [WAT, TYPES])
def test_every_flipped_bit_makes_a_module_or_a_parse_error(wat: str) -> None:
    wasm = binary(wat)
    for place in range(8, len(wasm)):
        for byte in {*(wasm[place] ^ 1 << bit for bit in range(8)), 0, 1, 2, 0x7F, 0xFF}:
            instrumented(wasm[:place] + bytes((byte,)) + wasm[place + 1 :])


def test_every_byte_replaced_by_a_long_number_makes_a_module_or_a_parse_error() -> None:
    wasm = binary(WAT)
    for place in range(8, len(wasm)):
        for number in (b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x00", b"\xff" * 11, b"\x80"):
            survivors(wasm[:place] + number + wasm[place + 1 :])


def test_a_real_module(quickjs: bytes) -> None:
    module = parse_module(quickjs)
    assert len(module.funcs) > 1000
    assert module.sections[-1].end == len(quickjs)


def test_truncations_of_a_real_module(quickjs: bytes) -> None:
    ends = {8, *(section.end for section in parse_module(quickjs).sections)}
    chance = random.Random(1)
    for length in sorted(chance.sample(range(len(quickjs)), 150)):
        assert survivors(quickjs[:length]) is None or length in ends


def test_damage_in_the_headers_of_a_real_module(quickjs: bytes) -> None:
    """Random bytes outside of the bodies and data, where parsing looks."""
    module = parse_module(quickjs)
    spans = [(s.start - 6, min(s.end, s.start + 3000)) for s in module.sections]
    chance = random.Random(2)
    for _ in range(150):
        damaged = bytearray(quickjs)
        start, end = chance.choice(spans)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(max(start, 0), end)] = chance.randrange(256)
        survivors(bytes(damaged))


def section(section_id: int, contents: bytes) -> bytes:
    return b"".join(encode_section(section_id, [contents]))


def deep(operands: int, where: str) -> bytes:
    """A valid module with a constant expression that has so many operands at once."""
    code = b"\x41\x00" * operands + b"\x6a" * (operands - 1)
    type_, function = section(sec.TYPE, b"\1\x60\0\0"), section(sec.FUNCTION, b"\1\0")
    table, memory = section(sec.TABLE, b"\1\x70\0\x08"), section(sec.MEMORY, b"\1\0\1")
    ref = code + b"\xfb\x1c\x0b"  # ref.i31
    parts = {
        "global": section(sec.GLOBAL, b"\1\x7f\0" + code + b"\x0b"),
        "element": section(sec.ELEMENT, b"\1\0" + code + b"\x0b\1\0"),
        "item": section(sec.ELEMENT, b"\1\5\x6c\1" + ref),
        "table": section(sec.TABLE, b"\1\x40\0\x6c\0\1" + ref),
        "data": section(sec.DATA, b"\1\0" + code + b"\x0b\0"),
    }
    body = section(sec.CODE, b"\1\2\0\x0b")
    before = table if where == "element" else memory if where == "data" else b""
    after = (body, parts[where]) if where == "data" else (parts[where], body)
    return b"".join((sec.MAGIC, sec.MODULE_VERSION, type_, function, before, *after))


@pytest.mark.parametrize("where", ["global", "element", "item", "table", "data"])
def test_operands_of_constant_expressions_are_bounded(where: str) -> None:
    """The engine keeps them on the stack, and overflows it where there are millions."""
    with pytest.raises(LimitError, match="more than 50000 operands at once"):
        parse_module(deep(MAX_OPERANDS + 1, where))
    if where in ("global", "item", "table"):  # the others would be out of bounds, or not
        with Session(deep(MAX_OPERANDS, where)) as session:
            assert session.snapshot()


def test_operands_are_counted_and_not_instructions() -> None:
    chain = b"\x41\x01" + b"\x41\x01\x6a" * MAX_OPERANDS
    wasm = sec.MAGIC + sec.MODULE_VERSION + section(sec.GLOBAL, b"\1\x7f\0" + chain + b"\x0b")
    assert parse_module(wasm).globals[0].init is not None
    fields = "(field i32) " * 100
    struct = f"(struct.new $s {'(i32.const 1) ' * 100})"
    array = f"(array.new_fixed $a 1000 {struct * 1000})"
    wat = f"(module (type $s (struct {fields})) (type $a (array (ref $s))) (global (ref $a) {array}))"
    assert len(parse_module(binary(wat)).globals) == 1


def test_a_module_is_read_where_it_stands() -> None:
    wasm = binary(WAT)
    alone, inside = parse_module(wasm), parse_module(b"before" + wasm + b"after", 6, 6 + len(wasm))
    assert bytes(inside.binary) == bytes(alone.binary) == wasm
    assert (inside.origin, inside.end) == (6, 6 + len(wasm))
    assert [section.start - 6 for section in inside.sections] == [section.start for section in alone.sections]
    assert (inside.exports, inside.imports, inside.types) == (alone.exports, alone.imports, alone.types)
    assert b"".join(assemble(inside, {})) == wasm
    assert bytes(parse_module(b"xy" + wasm[:8], 2).binary) == wasm[:8]


@pytest.mark.parametrize("cut", [3, 7, -1])
def test_places_in_errors_count_from_the_beginning_of_the_input(cut: int) -> None:
    wasm = binary(WAT)[:cut]
    places = []
    for before in (b"", b"before"):
        with pytest.raises(ParseError) as error:
            parse_module(before + wasm + b"more", len(before), len(before) + len(wasm))
        places.append(error.value.offset - len(before))
    assert places[0] == places[1]
