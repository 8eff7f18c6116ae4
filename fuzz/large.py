"""Modules with much of something: many items in a section, a long body, an item of many parts.

    large.generate(4711)   # always the same module

They are valid, or nearly: what is asked of them is that a run ends within its limits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Final

from wizer.binary import sections as sec
from wizer.binary.expr import END, encode_const, encode_ref_func
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.sections import MAGIC, MODULE_VERSION, ORDER, encode_vector_section
from wizer.binary.vectors import encode_bytes, encode_name, encode_vector

_MOST_ITEMS: Final = 2_000_000
_FUNCTYPE: Final = b"\x60\x00\x00"
_EMPTY_BODY: Final = b"\x02\x00\x0b"
_ZERO: Final = encode_const("i32", 0) + END
_NAME: Final = b"\x01a\x01b"

Items = dict[int, list[bytes]]


def generate(seed: int) -> bytes:
    """Return the module that a seed stands for."""
    rng = random.Random(f"large {seed}")
    items: Items = {sec.TYPE: [_FUNCTYPE], sec.FUNCTION: [b"\x00"], sec.CODE: [_EMPTY_BODY], sec.EXPORT: []}
    for kind in rng.sample(sorted(_KINDS), rng.choice((1, 1, 2))):
        _KINDS[kind](items, int(10 ** rng.uniform(2, 6.3)), rng)
    imported = len(items.get(sec.IMPORT, ())) if _imports_functions(items) else 0
    items[sec.EXPORT].append(encode_name("wizer-initialize") + b"\x00" + encode_unsigned(imported))
    custom = b"".join(items.pop(sec.CUSTOM, []))
    order = sorted(items, key=ORDER.__getitem__)
    return MAGIC + MODULE_VERSION + b"".join(encode_vector_section(id_, items[id_]) for id_ in order) + custom


def _imports_functions(items: Items) -> bool:
    return items.get(sec.IMPORT, [b""])[0].endswith(b"\x00\x00")


def _many(section: int, item: Callable[[int], bytes]) -> Callable[[Items, int, random.Random], None]:
    """Return what adds so many items to a section."""

    def add(items: Items, count: int, _: random.Random) -> None:
        items.setdefault(section, []).extend(map(item, range(min(count, _MOST_ITEMS))))

    return add


def _one(section: int, item: Callable[[int], bytes]) -> Callable[[Items, int, random.Random], None]:
    """Return what adds one item with so many parts to a section."""

    def add(items: Items, count: int, _: random.Random) -> None:
        items.setdefault(section, []).append(item(count))

    return add


def _functions(items: Items, count: int, _: random.Random) -> None:
    items[sec.FUNCTION] += [b"\x00"] * count
    items[sec.CODE] += [_EMPTY_BODY] * count


def _body(code: Callable[[int, random.Random], bytes]) -> Callable[[Items, int, random.Random], None]:
    def add(items: Items, count: int, rng: random.Random) -> None:
        items[sec.CODE][0] = encode_bytes(code(count, rng))

    return add


def _loops(count: int, rng: random.Random) -> bytes:
    """Locals that live through nested loops."""
    locals_, depth = min(count, 40_000), rng.randint(1, 4000)
    uses = b"".join(
        b"\x20" + encode_unsigned(rng.randrange(locals_)) + b"\x0d" + encode_unsigned(rng.randrange(depth))
        for _ in range(count)
    )
    return b"\x01" + encode_unsigned(locals_) + b"\x7f" + b"\x03\x40" * depth + uses + END * (depth + 1)


def _growing(count: int, rng: random.Random) -> bytes:
    """Code that never returns, and takes what memory it gets."""
    grow = b"\x41\x01\x40\x00\x1a" * min(count, 1000)
    return b"\x00\x03\x40" + grow + b"\x0c\x00" + END * 2 if rng.random() < 0.5 else b"\x00" + grow + END


def _structure(items: Items, count: int, _: random.Random) -> None:
    """Types that Winch does not know, so that Cranelift has to compile the rest."""
    items[sec.TYPE] += [
        b"\x5f" + encode_vector([b"\x7f\x01"] * (at % 20)) for at in range(min(count, 900_000))
    ]


_KINDS: Final[Mapping[str, Callable[[Items, int, random.Random], None]]] = {
    "imported functions": _many(sec.IMPORT, lambda _: _NAME + b"\x00\x00"),
    "imported globals": _many(sec.IMPORT, lambda at: b"\x01a" + encode_name(str(at)) + b"\x03\x7f\x01"),
    "functions": _functions,
    "structures": _structure,
    "types": _many(sec.TYPE, lambda at: b"\x60" + encode_vector([b"\x7f"] * (at % 30)) + b"\x00"),
    "globals": _many(sec.GLOBAL, lambda _: b"\x7f\x01" + _ZERO),
    "references": _many(sec.GLOBAL, lambda _: b"\x6e\x01\x41\x01\xfb\x1c\x0b"),
    "tables": _many(sec.TABLE, lambda _: b"\x70\x00\x01"),
    "a table": _one(sec.TABLE, lambda count: b"\x70\x00" + encode_unsigned(count * 10)),
    "memories": _many(sec.MEMORY, lambda _: b"\x00\x01"),
    "a memory": _one(sec.MEMORY, lambda count: b"\x00" + encode_unsigned(min(count, 65536))),
    "tags": _many(sec.TAG, lambda _: b"\x00\x00"),
    "exports": _many(sec.EXPORT, lambda at: encode_name(f"f{at}") + b"\x00\x00"),
    "passive elements": _many(sec.ELEMENT, lambda _: b"\x01\x00\x01\x00"),
    "a passive element": _one(sec.ELEMENT, lambda count: b"\x01\x00" + encode_vector([b"\x00"] * count)),
    "element expressions": _one(
        sec.ELEMENT, lambda count: b"\x05\x70" + encode_vector([encode_ref_func(0) + END] * count)
    ),
    "element numbers": _one(
        sec.ELEMENT, lambda count: b"\x05\x6e" + encode_vector([b"\x41\x01\xfb\x1c\x0b"] * count)
    ),
    "passive data": _many(sec.DATA, lambda _: b"\x01\x01x"),
    "a constant expression": _one(
        sec.GLOBAL, lambda count: b"\x7f\x00\x41\x00" + b"\x41\x01\x6a" * count + END
    ),
    "custom sections": _many(sec.CUSTOM, lambda _: b"\x00\x02\x01x"),
    "loops": _body(_loops),
    "growth": _body(_growing),
    "drops": _body(lambda count, _: b"\x00" + b"\xfc\x0d\x00" * count + END),
    "additions": _body(lambda count, _: b"\x00\x41\x00" + b"\x41\x01\x6a" * count + b"\x1a" + END),
}
