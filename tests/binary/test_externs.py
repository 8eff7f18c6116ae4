"""External types, imports and exports."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given

from binary.strategies import exports, globaltypes, imports, memorytypes, tabletypes
from wizer.binary import externs
from wizer.binary.reader import Reader
from wizer.binary.types import FUNCREF
from wizer.errors import ParseError


@given(tabletypes)
def test_table_types_read_back(value: externs.TableType) -> None:
    reader = Reader(externs.encode_tabletype(value))
    assert (externs.read_tabletype(reader), reader.at_end) == (value, True)


@given(memorytypes)
def test_memory_types_read_back(value: externs.MemoryType) -> None:
    reader = Reader(externs.encode_memorytype(value))
    assert (externs.read_memorytype(reader), reader.at_end) == (value, True)
    assert value.page_size == 2**value.page_size_log2


@given(globaltypes)
def test_global_types_read_back(value: externs.GlobalType) -> None:
    reader = Reader(externs.encode_globaltype(value))
    assert (externs.read_globaltype(reader), reader.at_end) == (value, True)


@given(imports)
def test_imports_read_back(value: externs.Import) -> None:
    reader = Reader(externs.encode_import(value))
    assert (externs.read_imports(reader), reader.at_end) == ((value,), True)


def test_imports_that_share_a_module_or_a_type_too_are_read_one_by_one() -> None:
    function, number = externs.FuncIndex(1), externs.GlobalType("i32", mutable=False)
    shared_module = Reader(bytes.fromhex("01 6d 00 7f 02  01 61 00 01  01 62 03 7f 00"))
    assert externs.read_imports(shared_module) == (
        externs.Import("m", "a", "func", function),
        externs.Import("m", "b", "global", number),
    )
    shared_type = Reader(bytes.fromhex("01 6d 00 7e 00 01  02  01 61 01 62"))
    assert externs.read_imports(shared_type) == (
        externs.Import("m", "a", "func", function),
        externs.Import("m", "b", "func", function),
    )
    assert shared_module.at_end
    assert shared_type.at_end


@given(exports)
def test_exports_read_back(value: externs.Export) -> None:
    reader = Reader(externs.encode_export(value))
    assert (externs.read_export(reader), reader.at_end) == (value, True)


def test_the_usual_page_size_is_not_spelled_out() -> None:
    limits = externs.SizeLimits(1)
    assert externs.encode_memorytype(externs.MemoryType(limits)) == b"\x00\x01"
    assert externs.encode_memorytype(externs.MemoryType(limits, 0)) == b"\x08\x01\x00"


def test_limits_are_as_short_as_they_may_be() -> None:
    assert externs.encode_tabletype(externs.TableType(FUNCREF, externs.SizeLimits(200, 300, is64=True))) == (
        b"\x70\x05\xc8\x01\xac\x02"
    )


@pytest.mark.parametrize(
    ("read", "encoded", "message", "offset"),
    [
        (externs.read_tabletype, "70 02 01", "malformed limits flags 0x02", 1),
        (externs.read_tabletype, "70 08 01", "malformed limits flags 0x08", 1),
        (externs.read_tabletype, "7f 00 01", "unknown reference type 0x7f", 0),
        (externs.read_memorytype, "10 01", "malformed limits flags 0x10", 0),
        (externs.read_memorytype, "08 01 11", r"invalid custom page size 2\^17", 2),
        (externs.read_memorytype, "00 ff ff ff ff 1f", "integer too large", 1),
        (externs.read_globaltype, "7f 02", "malformed mutability 0x02", 1),
        (externs.read_tagtype, "01 00", "malformed tag attribute", 0),
        (externs.read_kind, "05", "malformed import or export kind 0x05", 0),
        (externs.read_imports, "01 61 01 62 05 00", "malformed import or export kind 0x05", 4),
        (externs.read_imports, "01 61 01 62 7f 00", "malformed import or export kind 0x7f", 4),
        (externs.read_imports, "01 61 00 7f 04 01 61", "4 items announced in 2 bytes", 4),
        (externs.read_export, "01 61 09 00", "malformed import or export kind 0x09", 2),
    ],
)
def test_malformed(read: Callable[[Reader], object], encoded: str, message: str, offset: int) -> None:
    with pytest.raises(ParseError, match=message) as error:
        read(Reader(bytes.fromhex(encoded)))
    assert error.value.offset == offset


def test_imports_are_numbered_by_kind() -> None:
    memory, func = externs.MemoryType(externs.SizeLimits(1)), externs.FuncIndex(0)
    imports = [
        externs.Import("m", "a", "func", func),
        externs.Import("m", "b", "memory", memory),
        externs.Import("m", "c", "func", func),
    ]
    assert [(index, each.name) for index, each in externs.numbered(imports)] == [(0, "a"), (0, "b"), (1, "c")]


def test_addresses() -> None:
    assert externs.SizeLimits(0).address_type == "i32"
    assert externs.SizeLimits(0, is64=True).address_type == "i64"
    assert externs.SizeLimits(0).address_mask == 0xFFFF_FFFF
