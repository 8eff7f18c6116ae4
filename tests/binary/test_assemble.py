"""Putting sections together again."""

from __future__ import annotations

from support.engine import binary
from support.guest import custom_sections, validate
from wizer.binary import sections as sec
from wizer.binary.assemble import assemble, extended, with_bodies
from wizer.binary.code import encode_body
from wizer.binary.externs import Export, encode_export
from wizer.binary.module import parse_module

WAT = """(module (type (func)) (func (export "f")) (func) (memory 1) (data (i32.const 0) "x"))"""


def joined(chunks: list[bytes | memoryview]) -> bytes:
    return b"".join(chunks)


def test_nothing_changed_is_nothing_changed() -> None:
    wasm = binary(WAT)
    assert joined(assemble(parse_module(wasm), {})) == wasm


def test_sections_with_overlong_sizes_keep_their_bytes() -> None:
    wasm = sec.MAGIC + sec.MODULE_VERSION + b"\x01\x84\x80\x00\x01\x60\x00\x00" + b"\x00\x82\x00\x01n"
    assert joined(assemble(parse_module(wasm), {})) == wasm


def test_sections_are_replaced_and_taken_out() -> None:
    module = parse_module(binary(WAT))
    out = joined(assemble(module, {sec.MEMORY: [b"\x01", b"\x00\x07"], sec.DATA: None}))
    validate(out)
    parsed = parse_module(out)
    assert parsed.memories[0].limits.minimum == 7
    assert parsed.data == ()


def test_missing_sections_go_where_the_order_wants_them() -> None:
    empty = parse_module(sec.MAGIC + sec.MODULE_VERSION)
    out = joined(assemble(empty, {sec.EXPORT: [b"\x01\x01m\x02\x00"], sec.MEMORY: [b"\x01\x00\x01"]}))
    validate(out)
    module = parse_module(binary(WAT))
    contents: dict[int, list[bytes | memoryview] | None] = {
        sec.DATA_COUNT: [b"\x01"],
        sec.GLOBAL: [b"\x01\x7f\x00\x41\x00\x0b"],
        sec.START: [b"\x01"],
        sec.TABLE: [b"\x01\x70\x00\x01"],
    }
    out = joined(assemble(module, contents))
    validate(out)
    assert [section.id for section in parse_module(out).sections] == [
        *(sec.TYPE, sec.FUNCTION, sec.TABLE, sec.MEMORY, sec.GLOBAL, sec.EXPORT, sec.START, sec.DATA_COUNT),
        *(sec.CODE, sec.DATA),
    ]


def test_new_sections_stay_away_from_leading_and_trailing_custom_sections() -> None:
    first, last = b"\x00\x08\x07dylink0", b"\x00\x05\x04name"
    wasm = binary(WAT)
    module = parse_module(wasm[:8] + first + wasm[8:] + last)
    out = joined(assemble(module, {sec.IMPORT: [b"\x00"], sec.DATA: [b"\x00"]}))
    ids = [section.id for section in parse_module(out).sections]
    assert (ids[0], ids[-1]) == (0, 0)
    assert [name for name, _ in custom_sections(out)] == ["dylink0", "name"]


def test_custom_sections_are_kept_where_asked_for() -> None:
    wasm = binary(WAT) + b"\x00\x05\x04drop\x00\x05\x04keep"
    out = joined(assemble(parse_module(wasm), {}, lambda section: section.name == "keep"))
    assert custom_sections(out) == [("keep", b"")]


def test_vectors_are_extended_and_keep_what_they_had() -> None:
    module = parse_module(binary(WAT))
    contents = extended(module, sec.EXPORT, [encode_export(Export("g", "func", 1))])
    out = joined(assemble(module, {sec.EXPORT: contents}))
    validate(out)
    assert [export.name for export in parse_module(out).exports] == ["f", "g"]
    assert joined(extended(module, sec.GLOBAL, [b"a", b"b"])) == b"\x02ab"


def test_bodies_are_appended() -> None:
    module = parse_module(binary(WAT))
    body = encode_body(b"")
    out = joined(
        assemble(
            module,
            {sec.FUNCTION: extended(module, sec.FUNCTION, [b"\x00"]), sec.CODE: with_bodies(module, [body])},
        )
    )
    validate(out)
    assert len(parse_module(out).funcs) == 3
