"""The objects that a module makes when it is instantiated, by type.

Those of constant expressions are counted as they stand there. A snapshot's restore function makes others,
most of them in functions that go through a range of numbers, which their callers give as constants (see
`wizer.core.heap.loop`)::

    (call $make (i32.const 0) (i32.const 1000))

Code of others is not looked at: how often it runs, nobody can tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from wizer.binary import sections as sec
from wizer.binary.expr import Expr
from wizer.binary.instructions import bodies, skip_immediates, skip_locals
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.binary.types import ArrayType, StructType
from wizer.contents.records import ObjectInfo
from wizer.contents.symbols import TYPE_NAMES, names_of
from wizer.core.previous import previous

_NEW = frozenset((0, 1, 6, 7, 8, 9, 10))  # struct.new, array.new and their variants
_LOOP, _CALL, _I32_CONST, _PREFIX = 0x03, 0x10, 0x41, 0xFB


def objects(module: Module) -> tuple[ObjectInfo, ...]:
    """Return how many objects of each type are made; the most numerous first."""
    if not any(isinstance(subtype.comp, StructType | ArrayType) for subtype in module.types):
        return ()
    counts: Counter[int] = Counter()
    for expr in _constants(module):
        counts.update(_made(Reader(expr.code)))
    restored = _Restored(module)
    counts.update(restored.counts)
    names = dict(names_of(module, TYPE_NAMES))
    found: list[ObjectInfo] = []
    form: Literal["struct", "array"]
    for typeidx, count in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        comp = module.types[typeidx].comp if typeidx < len(module.types) else None
        if isinstance(comp, StructType | ArrayType):
            form = "struct" if isinstance(comp, StructType) else "array"
            exact = typeidx not in restored.uncounted
            found.append(ObjectInfo(typeidx, names.get(typeidx, ""), form, count, exact))
    return tuple(found)


def _constants(module: Module) -> Iterator[Expr]:
    for global_ in module.globals:
        if global_.init is not None:
            yield global_.init
    for table in module.tables:
        if table.init is not None:
            yield table.init
    for element in module.elements:
        yield from (item for item in element.items if isinstance(item, Expr))


def _made(reader: Reader) -> Iterator[int]:
    """Yield the type of each object that straight code makes."""
    while not reader.at_end:
        opcode = reader.byte()
        if opcode == _PREFIX and (made := _new(reader)) is not None:
            yield made
        else:
            skip_immediates(reader, opcode)


class _Restored:
    """What a snapshot's restore function makes.

    Attributes:
        counts: how many objects by type.
        uncounted: the types of which it makes more, as many as its data say.
    """

    def __init__(self, module: Module) -> None:
        self.counts: Counter[int] = Counter()
        self.uncounted: set[int] = set()
        appended = previous(module) if module.start is not None else None
        section = module.section(sec.CODE)
        if appended is None or section is None:
            return
        self._module = module
        self._first = len(module.funcs) - appended.funcs
        self._bodies = [*bodies(section.reader(module.wasm))][-appended.funcs :] if appended.funcs else []
        self._seen: set[int] = set()
        if self._bodies:
            self._straight(len(module.funcs) - 1)

    def _reader(self, funcidx: int) -> Reader:
        reader = Reader(self._module.wasm, *self._bodies[funcidx - self._first])
        skip_locals(reader)
        return reader

    def _straight(self, funcidx: int) -> None:
        """Count what a function makes that runs once."""
        self._seen.add(funcidx)
        reader = self._reader(funcidx)
        numbers: list[int] = []  # the constants that stand before an instruction
        while not reader.at_end:
            opcode = reader.byte()
            if opcode == _I32_CONST:
                numbers.append(reader.s32())
                continue
            if opcode == _CALL:
                self._called(reader.u32(), numbers[-2:])
            elif opcode == _PREFIX and (made := _new(reader)) is not None:
                self.counts[made] += 1
            else:
                skip_immediates(reader, opcode)
            numbers.clear()

    def _called(self, funcidx: int, numbers: Sequence[int]) -> None:
        if funcidx < self._first:
            return
        if self._module.functype(funcidx).params != ("i32", "i32"):
            if funcidx not in self._seen:
                self._straight(funcidx)
            return
        reader = self._reader(funcidx)
        looping = False
        while not reader.at_end:
            opcode = reader.byte()
            looping |= opcode == _LOOP
            made = _new(reader) if opcode == _PREFIX and looping else None
            if made is None:
                skip_immediates(reader, opcode)
            elif len(numbers) == 2:
                self.counts[made] += max(numbers[1] - numbers[0], 0)
            else:
                self.uncounted.add(made)


def _new(reader: Reader) -> int | None:
    """Read an instruction behind its prefix if it makes an object, and return of which type."""
    ahead = Reader(reader.wasm, reader.pos, reader.end)
    number = ahead.u32()
    if number not in _NEW:
        return None
    made = ahead.u32()
    if number >= 8:  # array.new_fixed, array.new_data, array.new_elem have another immediate
        ahead.u32()
    reader.pos = ahead.pos
    return made
