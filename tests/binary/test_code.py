"""Function bodies that Wizer writes."""

from __future__ import annotations

import pytest

from support.guest import Guest, validate
from wizer.binary import code
from wizer.binary.expr import encode_const
from wizer.binary.module import parse_module
from wizer.binary.sections import MAGIC, MODULE_VERSION, encode_vector_section
from wizer.binary.types import FuncType, RefType, ValType, encode_functype


def module(body: bytes, results: tuple[ValType, ...], locals_: tuple[ValType, ...] = ()) -> bytes:
    """A module with one exported function of this body."""
    return (
        MAGIC
        + MODULE_VERSION
        + encode_vector_section(1, [encode_functype(FuncType((), results))])
        + encode_vector_section(3, [b"\0"])
        + encode_vector_section(7, [b"\x01f\x00\x00"])
        + encode_vector_section(10, [code.encode_body(body, locals_)])
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (encode_const("i32", 0xFFFF_FFFF), -1),
        (encode_const("i32", 5) + code.local_set(0) + code.local_get(0), 5),
        (encode_const("i32", 5) + code.local_tee(0) + code.local_get(0) + code.I32_ADD, 10),
        (code.block(b"\x7f") + encode_const("i32", 3) + code.br(0) + code.END, 3),
        (
            code.BLOCK
            + encode_const("i32", 1)
            + code.br_if(0)
            + code.UNREACHABLE
            + code.END
            + encode_const("i32", 4),
            4,
        ),
        (
            encode_const("i32", 1)
            + code.IF
            + encode_const("i32", 8)
            + code.RETURN
            + code.END
            + encode_const("i32", 9),
            8,
        ),
        (encode_const("i32", 7) + code.REF_I31 + code.ref_cast("i31") + code.I31_GET_U, 7),
        (encode_const("i32", 7) + code.REF_I31 + code.ref_test("array"), 0),
    ],
)
def test_bodies_run(body: bytes, expected: int) -> None:
    wasm = module(body, ("i32",), ("i32",))
    validate(wasm)
    assert Guest(wasm)("f") == expected


def test_locals_of_every_type() -> None:
    locals_: tuple[ValType, ...] = ("i32", "v128", RefType(nullable=True, heap="any"), "f64")
    wasm = module(b"", (), locals_)
    validate(wasm)
    section = parse_module(wasm).section(10)
    assert section is not None
    assert wasm[section.start : section.end] == b"\x01\x0a\x04\x01\x7f\x01\x7b\x01\x6e\x01\x7c\x0b"


def test_immediates_are_leb128() -> None:
    assert code.table_fill(300) == b"\xfc\x11\xac\x02"
    assert code.memory_init(200, 1) == b"\xfc\x08\xc8\x01\x01"
    assert code.ref_cast(64) == b"\xfb\x16\xc0\x00"
