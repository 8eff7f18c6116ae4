"""Functions added to a generated module, to make and link state that random code seldom makes.

A module with a structure type 3 and a passive element segment gets, among others::

    (func (export "make 3") (result (ref 3)) (struct.new_default 3))
    (func (export "set 3 0") (param (ref null 3) i32) (struct.set 3 0 (local.get 0) (local.get 1)))
    (func (export "drop elem 0") (elem.drop 0))

They only use what the module has, and become part of the original: nothing here knows of snapshots.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import wasmtime

from wizer.binary.module import Module, parse_module
from wizer.binary.types import ArrayType, FieldType, FuncType, RefType, StructType, ValType

# What a module may hold of this, at most.
_MOST_TYPES = 6


def add_gadgets(text: bytes, rng: random.Random) -> bytes:
    """Return a module of the text format in the binary format, with gadgets."""
    module = parse_module(bytes(wasmtime.wat2wasm(text)))
    gadgets = "\n".join(_gadgets(module, rng)).encode()
    end = text.rindex(b")")
    return bytes(wasmtime.wat2wasm(text[:end] + gadgets + text[end:]))


def _gadgets(module: Module, rng: random.Random) -> Iterator[str]:
    composites = [i for i, t in enumerate(module.types) if isinstance(t.comp, StructType | ArrayType)]
    for typeidx in rng.sample(composites, min(_MOST_TYPES, len(composites))):
        match module.types[typeidx].comp:
            case StructType(fields):
                yield from _struct(typeidx, fields)
            case ArrayType(element):
                yield from _array(typeidx, element)
    for tagidx, tagtype in enumerate(module.tags):
        yield _exception(tagidx, module.type_as_func(tagtype))
    for tableidx, table in enumerate(module.tables):
        at = "i64" if table.type.limits.is64 else "i32"
        yield (
            f'(func (export "table {tableidx}") (param {at} {_text(table.type.element)})'
            f" (table.set {tableidx} ({at}.and (local.get 0) ({at}.const 3)) (local.get 1)))"
        )
    for index, segment in enumerate(module.elements):
        if segment.mode == "passive":
            yield f'(func (export "drop elem {index}") (elem.drop {index}))'


def _struct(typeidx: int, fields: tuple[FieldType, ...]) -> Iterator[str]:
    if all(_defaultable(field.storage) for field in fields):
        yield f'(func (export "make {typeidx}") (result (ref {typeidx})) (struct.new_default {typeidx}))'
    else:
        params = " ".join(_text(field.storage) for field in fields)
        values = " ".join(f"(local.get {i})" for i in range(len(fields)))
        yield (
            f'(func (export "make {typeidx}") (param {params}) (result (ref {typeidx}))'
            f" (struct.new {typeidx} {values}))"
        )
    mutable = [i for i, field in enumerate(fields) if field.mutable]
    for i in sorted(mutable, key=lambda i: isinstance(fields[i].storage, str))[:4]:
        yield (
            f'(func (export "set {typeidx} {i}") (param (ref null {typeidx}) {_text(fields[i].storage)})'
            f" (struct.set {typeidx} {i} (local.get 0) (local.get 1)))"
        )


def _array(typeidx: int, element: FieldType) -> Iterator[str]:
    length = "(i32.and (local.get 0) (i32.const 15))"
    if _defaultable(element.storage):
        yield (
            f'(func (export "make {typeidx}") (param i32) (result (ref {typeidx}))'
            f" (array.new_default {typeidx} {length}))"
        )
    yield (
        f'(func (export "fill {typeidx}") (param i32 {_text(element.storage)}) (result (ref {typeidx}))'
        f" (array.new {typeidx} (local.get 1) {length}))"
    )
    if element.mutable:
        yield (
            f'(func (export "set {typeidx}") (param (ref null {typeidx}) i32 {_text(element.storage)})'
            f" (array.set {typeidx} (local.get 0) (i32.and (local.get 1) (i32.const 3)) (local.get 2)))"
        )


def _exception(tagidx: int, functype: FuncType) -> str:
    params = " ".join(map(_text, functype.params))
    values = " ".join(f"(local.get {i})" for i in range(len(functype.params)))
    return (
        f'(func (export "catch {tagidx}") (param {params}) (result exnref) (block $caught (result exnref)'
        f" (try_table (catch_all_ref $caught) (throw {tagidx} {values})) (unreachable)))"
    )


def _defaultable(storage: ValType) -> bool:
    return not isinstance(storage, RefType) or storage.nullable


def _text(storage: ValType) -> str:
    """The text format of a type; a packed one is what its values are on the stack."""
    if isinstance(storage, RefType):
        return str(storage)
    return "i32" if storage in ("i8", "i16") else storage
