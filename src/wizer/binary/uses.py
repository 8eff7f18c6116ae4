"""What function bodies, initialisers, segments and exports refer to by index.

https://webassembly.github.io/spec/core/syntax/modules.html#indices
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias

from wizer.binary import sections as sec
from wizer.binary.expr import Expr
from wizer.binary.instructions import bodies, skip_immediates, skip_locals
from wizer.binary.leb128 import any_unsigned
from wizer.binary.module import Module
from wizer.binary.reader import Reader

Kind: TypeAlias = Literal["func", "table", "global", "element", "data"]
Use: TypeAlias = "tuple[Kind, int]"

# What the index immediates of an instruction mean; None: nothing that is looked for here.
_PLAIN: Final[Mapping[int, tuple[Kind | None, ...]]] = {
    **dict.fromkeys((0x10, 0x12, 0xD2), ("func",)),
    **dict.fromkeys((0x11, 0x13), (None, "table")),
    **dict.fromkeys((0x23, 0x24), ("global",)),
    **dict.fromkeys((0x25, 0x26), ("table",)),
}
_PREFIXED: Final[Mapping[tuple[int, int], tuple[Kind | None, ...]]] = {
    **dict.fromkeys(((0xFB, 9), (0xFB, 18)), (None, "data")),
    **dict.fromkeys(((0xFB, 10), (0xFB, 19)), (None, "element")),
    (0xFC, 8): ("data", None),
    (0xFC, 9): ("data",),
    (0xFC, 12): ("element", "table"),
    (0xFC, 13): ("element",),
    (0xFC, 14): ("table", "table"),
    **dict.fromkeys(((0xFC, 15), (0xFC, 16), (0xFC, 17)), ("table",)),
}


def uses_from(module: Module, first: Mapping[Kind, int], funcs: int) -> Iterator[Use]:
    """Yield what the first ``funcs`` functions refer to of each kind from index ``first[kind]`` on."""
    section = module.section(sec.CODE)
    if section is None:
        return
    reader = section.reader(module.wasm)
    spans = list(bodies(reader))[: funcs - module.import_counts["func"]]
    for start, end in _candidates(module, first, spans):
        for kind, index in _uses(Reader(module.wasm, start, end)):
            if index >= first.get(kind, index + 1):
                yield kind, index


def _candidates(
    module: Module, first: Mapping[Kind, int], spans: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Yield the bodies in which a byte search cannot rule out such a reference."""
    if not spans:
        return
    code = memoryview(module.wasm)[: spans[-1][1]]
    found = (match.start() for match in re.compile(_pattern(first), re.DOTALL).finditer(code, spans[0][0]))
    at = next(found, None)
    for start, end in spans:
        while at is not None and at < start:
            at = next(found, None)
        if at is None:
            return
        if at < end:
            yield start, end


def _pattern(first: Mapping[Kind, int]) -> bytes:
    """Return a regular expression for what such a reference may look like in bytes."""
    looks: Mapping[Kind, bytes] = {
        "func": rb"[\x10\x12\xd2]%b",
        "global": rb"[\x23\x24]%b",
        "table": rb"[\x25\x26]%b|[\x11\x13][\x80-\xff]{0,4}[\x00-\x7f]%b",
    }
    parts = [rb"\xfb(?:%b)" % _any(9, 10, 18, 19), rb"\xfc(?:%b)" % _any(8, 9, *range(12, 18))]
    for kind, look in looks.items():
        if kind in first:
            index = b"(?:%b)" % at_least(first[kind])
            parts.append(look.replace(b"%b", index))
    return b"|".join(parts)


def at_least(number: int) -> bytes:
    """Return a regular expression for every unsigned LEB128 of 32 bits that says ``number`` or more.

    It also finds some that say less, in more bytes than they need.
    """
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    last = len(groups) - 1
    options = [rb"[\x80-\xff]{%d,4}[\x00-\x7f]" % len(groups)]
    for place, group in enumerate(groups):
        least = group if place == 0 else group + 1
        if least > 0x7F:
            continue
        more = 0x80 if place < last else 0
        low, high = re.escape(bytes((least | more,))), re.escape(bytes((0x7F | more,)))
        above = b"".join(
            re.escape(bytes((groups[i] | (0x80 if i < last else 0),))) for i in range(place + 1, last + 1)
        )
        options.append(rb"[\x80-\xff]{%d}[%b-%b]%b" % (place, low, high, above))
    return b"|".join(options)


def _any(*numbers: int) -> bytes:
    return b"|".join(map(any_unsigned, numbers))


def _uses(reader: Reader) -> Iterator[Use]:
    """Yield what a body refers to."""
    skip_locals(reader)
    while not reader.at_end:
        opcode = reader.byte()
        kinds = _PLAIN.get(opcode)
        if kinds is None and opcode in (0xFB, 0xFC):
            start = reader.pos
            kinds = _PREFIXED.get((opcode, reader.u32()))
            if kinds is None:
                reader.pos = start
        if kinds is None:
            skip_immediates(reader, opcode)
            continue
        for kind in kinds:
            index = reader.u32()
            if kind is not None:
                yield kind, index


def expr_uses(expr: Expr) -> Iterator[Use]:
    """Yield what a constant expression refers to."""
    reader = Reader(expr.code)
    while not reader.at_end:
        opcode = reader.byte()
        if opcode in (0x23, 0xD2):
            yield "global" if opcode == 0x23 else "func", reader.u32()
        else:
            skip_immediates(reader, opcode)
