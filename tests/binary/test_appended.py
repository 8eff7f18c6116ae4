"""Types and functions to append."""

from __future__ import annotations

from support.engine import binary
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.module import Module, parse_module
from wizer.binary.types import FieldType, FuncType, RefType

ANYREF = RefType(nullable=True, heap="any")


def with_types() -> Module:
    return parse_module(
        binary(
            "(module (type (array i8)) (type (func (param i32))) (type (array (mut anyref))) (type (func)))"
        )
    )


def test_a_type_of_the_module_is_used() -> None:
    types = AppendedTypes(with_types())
    assert types.array("i8") == 0
    assert types.func(FuncType(("i32",), ())) == 1
    assert types.of(FieldType(ANYREF, mutable=True)) == 2
    assert types.func(FuncType((), ())) == 3
    assert types.entries == []


def test_what_is_missing_is_appended_once() -> None:
    types = AppendedTypes(with_types())
    assert types.func(FuncType((), ("i64",))) == 4
    assert types.array("i32") == 5
    assert types.of(FieldType(ANYREF, mutable=False)) == 6
    assert types.func(FuncType((), ("i64",))) == 4
    assert types.array("i32") == 5
    assert types.entries == [b"\x60\x00\x01\x7e", b"\x5e\x7f\x00", b"\x5e\x6e\x00"]


def test_the_body_of_a_function() -> None:
    assert Function(0, ("i32",), b"\x01").body == b"\x05\x01\x01\x7f\x01\x0b"
