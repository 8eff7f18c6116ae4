"""The types of component values as plain data, and the Python values that the engine's package uses for them.

A value is: bool, int, float, str (char, string, enum case), bytes (``list<u8>``), list, tuple, set (flags),
an object with the fields as attributes (record). Variants, options and results are the payload itself, None
where there is none, as long as Python's types tell the cases apart; otherwise `VariantValue` (``tagged``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import wasmtime.component as wc
from wasmtime.component import Record as RecordValue
from wasmtime.component import Variant as VariantValue
from wasmtime.component._types import VariantLikeType

from wizer.errors import OptionError
from wizer.records import record

__all__ = ["RecordValue", "VariantValue"]


@record
class Primitive:
    """``bool``, ``s8`` … ``u64``, ``f32``, ``f64``, ``char`` or ``string``."""

    name: str

    def __str__(self) -> str:
        return self.name


@record
class ListOf:
    """A list."""

    element: ValueType

    def __str__(self) -> str:
        return f"list<{self.element}>"


@record
class Record:
    """A record: the types of its fields by name."""

    fields: tuple[tuple[str, ValueType], ...]

    def __str__(self) -> str:
        return f"record {{ {_named(self.fields)} }}"


@record
class Tuple:
    """A tuple."""

    elements: tuple[ValueType, ...]

    def __str__(self) -> str:
        return f"tuple<{', '.join(map(str, self.elements))}>"


@record
class Variant:
    """A variant, option or result.

    Attributes:
        kind: ``"variant"``, ``"option"`` (cases ``none`` and ``some``) or ``"result"`` (``ok`` and ``err``).
        cases: the payload types by the names of the cases; None: no payload.
        tagged: whether values are `VariantValue`.
    """

    kind: str
    cases: tuple[tuple[str, ValueType | None], ...]
    tagged: bool

    def __str__(self) -> str:
        if self.kind == "variant":
            cases = (name if case is None else f"{name}({case})" for name, case in self.cases)
            return f"variant {{ {', '.join(cases)} }}"
        payloads = [str(case or "_") for name, case in self.cases if name != "none"]
        if self.kind == "result" and payloads[-1] == "_":
            payloads.pop()
        return self.kind if payloads in ([], ["_"]) else f"{self.kind}<{', '.join(payloads)}>"


@record
class Enum:
    """An enumeration."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"enum {{ {', '.join(self.names)} }}"


@record
class Flags:
    """A set of flags."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"flags {{ {', '.join(self.names)} }}"


@record
class Handle:
    """What text cannot express: a resource, future, stream or error context."""

    name: str

    def __str__(self) -> str:
        return self.name


ValueType: TypeAlias = "Primitive | ListOf | Record | Tuple | Variant | Enum | Flags | Handle"


@record
class FunctionType:
    """The type of a component function; as text, in the notation of WIT."""

    params: tuple[tuple[str, ValueType], ...]
    result: ValueType | None

    def __str__(self) -> str:
        result = "" if self.result is None else f" -> {self.result}"
        return f"func({_named(self.params)}){result}"


def _named(items: tuple[tuple[str, ValueType], ...]) -> str:
    return ", ".join(f"{name}: {valtype}" for name, valtype in items)


_PRIMITIVES: Mapping[type, str] = {
    wc.Bool: "bool",
    wc.S8: "s8",
    wc.S16: "s16",
    wc.S32: "s32",
    wc.S64: "s64",
    wc.U8: "u8",
    wc.U16: "u16",
    wc.U32: "u32",
    wc.U64: "u64",
    wc.F32: "f32",
    wc.F64: "f64",
    wc.Char: "char",
    wc.String: "string",
}


def describe_function(functype: wc.FuncType) -> FunctionType:
    """Return the type of a function as plain data.

    Raises:
        OptionError: it has a type that the engine's package does not know.
    """
    try:
        params = tuple((name, describe(valtype)) for name, valtype in functype.params)
        result = functype.result
    except TypeError as error:
        raise OptionError(f"a type in the function's signature is not supported: {error}") from None
    return FunctionType(params, None if result is None else describe(result))


def describe(valtype: wc.ValType) -> ValueType:
    """Return a value type as plain data."""
    name = _PRIMITIVES.get(type(valtype))
    if name is not None:
        return Primitive(name)
    match valtype:
        case wc.ListType():
            return ListOf(describe(valtype.element))
        case wc.RecordType():
            return Record(tuple((name, describe(field)) for name, field in valtype.fields))
        case wc.TupleType():
            return Tuple(tuple(describe(element) for element in valtype.elements))
        case wc.EnumType():
            return Enum(tuple(valtype.names))
        case wc.FlagsType():
            return Flags(tuple(valtype.names))
        case VariantLikeType():
            kinds: dict[type, str] = {wc.OptionType: "option", wc.ResultType: "result"}
            cases = tuple(
                (case, None if payload is None else describe(payload)) for case, payload in valtype._cases()
            )
            return Variant(kinds.get(type(valtype), "variant"), cases, valtype._tagged())
    return Handle(type(valtype).__name__.removesuffix("Type").lower())


def make_record(fields: Mapping[str, Any]) -> RecordValue:
    """Return a record."""
    record = RecordValue()
    record.__dict__.update(fields)
    return record
