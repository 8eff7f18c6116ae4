"""The canonical ABI: how values lie in memory, and as what they are passed.

https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md#alignment
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from wizer.binary.types import ValType
from wizer.component.types import Handle, List, Record, Scalar, ValueType, Variant, discriminant

MOST_PARAMS: Final = 16
"""How many core parameters a function has at most; more are passed in memory."""


def alignment(of: ValueType) -> int:
    """Return the alignment of a type in memory, in bytes."""
    match of:
        case Scalar():
            return of.size
        case Record(fields):
            return max(map(alignment, fields), default=1)
        case Variant(cases):
            alignments = [alignment(case) for case in cases if case is not None]
            return max([discriminant(len(cases)), *alignments])
    return 4


def size(of: ValueType) -> int:
    """Return the size of a type in memory, in bytes."""
    match of:
        case Scalar():
            return of.size
        case Handle():
            return 4
        case List():
            return 8
        case Record(fields):
            end = max((at + size(field) for at, field in offsets(fields)), default=0)
            return _aligned(end, alignment(of))
        case Variant(cases):
            return _aligned(
                payload(of) + max((size(c) for c in cases if c is not None), default=0), alignment(of)
            )


def offsets(fields: Sequence[ValueType]) -> Iterator[tuple[int, ValueType]]:
    """Yield the fields of a record with their places, in bytes from its beginning."""
    end = 0
    for field in fields:
        at = _aligned(end, alignment(field))
        yield at, field
        end = at + size(field)


def payload(of: Variant) -> int:
    """Return where the payload of a variant begins, in bytes from its beginning."""
    most = max((alignment(case) for case in of.cases if case is not None), default=1)
    return _aligned(discriminant(len(of.cases)), most)


def _aligned(at: int, to: int) -> int:
    return -(-at // to) * to


def flat(of: ValueType | None) -> list[ValType]:
    """Return the core types that a value is passed as."""
    match of:
        case None:
            return []
        case Scalar(core):
            return [core]
        case Handle():
            return ["i32"]
        case List():
            return ["i32", "i32"]
        case Record(fields):
            return [core for field in fields for core in flat(field)]
        case Variant(cases):
            joined: list[ValType] = []
            for case in cases:
                for at, core in enumerate(flat(case)):
                    if at < len(joined):
                        joined[at] = _join(joined[at], core)
                    else:
                        joined.append(core)
            return ["i32", *joined]


def _join(a: ValType, b: ValType) -> ValType:
    if a == b:
        return a
    return "i32" if {a, b} == {"i32", "f32"} else "i64"


def owned(of: ValueType | None) -> Iterator[Handle]:
    """Yield the handles that pass from one side to the other with a value."""
    match of:
        case Handle(_, True):
            yield of
        case List(element):
            yield from owned(element)
        case Record(parts) | Variant(parts):
            for part in parts:
                yield from owned(part)
