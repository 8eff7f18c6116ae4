"""What is done to an instance: calls of its functions, and what a host may do with its exports.

Actions are data, and name items by kind and index, so that they can be repeated on another instance of the
same module and on its snapshot. Arguments are recipes: a reference is "the second structure that a call
returned", not an object.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from wizer.binary.externs import ExternKind
from wizer.binary.module import Module
from wizer.binary.types import RefType, ValType, hierarchy

from . import values

Item: TypeAlias = "tuple[ExternKind, int]"


@dataclass(frozen=True, slots=True)
class Bits:
    """A number or vector."""

    kind: int
    bits: int


@dataclass(frozen=True, slots=True)
class Null:
    """A null reference."""

    kind: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """An i31."""

    bits: int


@dataclass(frozen=True, slots=True)
class Host:
    """An object of the host."""

    number: int


@dataclass(frozen=True, slots=True)
class Function:
    """An exported function."""

    index: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """A reference that a call returned with a static type among ``heaps``; null if there is none."""

    kind: int
    heaps: frozenset[str | int]
    number: int


Argument: TypeAlias = "Bits | Null | Scalar | Host | Function | Earlier"


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function."""

    index: int
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """Write bytes into a memory, modulo its size."""

    index: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SetGlobal:
    """Set a mutable global."""

    index: int
    value: Argument


@dataclass(frozen=True, slots=True)
class SetElement:
    """Set an element of a table, modulo its size."""

    index: int
    element: int
    value: Argument


@dataclass(frozen=True, slots=True)
class Grow:
    """Grow a memory or a table."""

    kind: Literal["memory", "table"]
    index: int
    delta: int
    value: Argument


Action: TypeAlias = "Call | Write | SetGlobal | SetElement | Grow"


class Chooser:
    """Chooses actions on a module.

    Args:
        module: the original.
        rng: where choices come from.
        session: only what `wizer.Session` can do: calls, writes to memories and globals, and no functions
            as arguments.
        host_objects: whether objects of the host may be arguments. No snapshot can carry them.
    """

    def __init__(self, module: Module, rng: random.Random, *, session: bool, host_objects: bool) -> None:
        self._module = module
        self._rng = rng
        self._session = session
        self._host_objects = host_objects
        self._exports = sorted({(export.kind, export.index) for export in module.exports})

    def initialisation(self) -> Sequence[Action]:
        """Some calls, and writes among them; functions that make references are likely to be called."""
        rng = self._rng
        calls = [index for kind, index in self._exports if kind == "func"]
        makers = [i for i in calls if any(isinstance(t, RefType) for t in self._module.functype(i).results)]
        chosen: list[Action] = []
        for _ in range(min(len(makers), rng.randint(0, 12))):
            chosen.append(self._call(rng.choice(makers)))
        for _ in range(rng.randint(1, 12)):
            if calls:
                chosen.append(self._call(rng.choice(calls)))
            written = (self._host_action() for _ in range(rng.randint(0, 3)))
            chosen.extend(action for action in written if action is not None)
        return chosen

    def probes(self, items: Sequence[Item]) -> Iterator[Action]:
        """Every function among ``items`` twice, and some writes."""
        functions = [index for kind, index in items if kind == "func"]
        self._exports = list(items)
        for _ in range(2):
            for index in functions:
                yield self._call(index)
                if self._rng.random() < 0.2 and (action := self._host_action()) is not None:
                    yield action
            self._rng.shuffle(functions)

    def _call(self, index: int) -> Call:
        params = self._module.functype(index).params
        return Call(index, tuple(map(self._argument, params)))

    def _host_action(self) -> Action | None:
        rng = self._rng
        others = [item for item in self._exports if item[0] not in ("func", "tag")]
        if not others:
            return None
        kind, index = rng.choice(others)
        match kind:
            case "global":
                globaltype = self._module.globals[index].type
                return SetGlobal(index, self._argument(globaltype.valtype)) if globaltype.mutable else None
            case "memory":
                if not self._session and rng.random() < 0.1:
                    return Grow("memory", index, rng.randint(0, 2), Null(values.ANY))
                offset = rng.choice((rng.randrange(1 << 20), -rng.randint(1, 40), rng.randrange(64)))
                return Write(index, offset, self._bytes())
        if self._session:
            return None
        element = self._argument(self._module.tables[index].type.element)
        if rng.random() < 0.2:
            return Grow("table", index, rng.randint(0, 5), element)
        return SetElement(index, rng.randrange(1 << 16), element)

    def _bytes(self) -> bytes:
        rng = self._rng
        data = rng.randbytes(rng.choice((1, 3, 4, 9, 40)))
        return data + bytes(rng.randint(1, 12)) + data if rng.random() < 0.3 else data

    def _argument(self, valtype: ValType) -> Argument:
        rng = self._rng
        if not isinstance(valtype, RefType):
            kind = values.NAMES.index(valtype)
            return Bits(kind, _number(kind, rng))
        top = hierarchy(valtype.heap, self._module.types)
        kind = {"func": values.FUNC, "extern": values.EXTERN, "any": values.ANY, "exn": values.EXN}[top]
        if rng.random() < 0.1:
            return Null(kind)
        if kind == values.FUNC and not self._session:
            return self._function(valtype)
        if kind == values.EXTERN and self._host_objects and rng.random() < 0.5:
            return Host(rng.randrange(100))
        scalar = kind == values.ANY and not self._session and valtype.heap in ("any", "eq", "i31")
        if scalar and rng.random() < 0.3:
            return Scalar(rng.randrange(1 << 31))
        return Earlier(kind, self._heaps(valtype.heap), rng.randrange(1 << 16))

    def _function(self, valtype: RefType) -> Argument:
        wanted = [
            index
            for kind, index in self._exports
            if kind == "func" and valtype.heap in ("func", self._module.funcs[index])
        ]
        return Function(self._rng.choice(wanted)) if wanted else Null(values.FUNC)

    def _heaps(self, heap: str | int) -> frozenset[str | int]:
        """The static types of results that may well be of type ``heap``."""
        found: set[str | int] = {heap}
        for index, subtype in enumerate(self._module.types):
            if heap in subtype.supertypes or isinstance(heap, str):
                found.add(index)
        if isinstance(heap, str):
            found.update({"any", "eq", "struct", "array", "i31", "extern", "exn", "func"})
        return frozenset(found)


_FLOATS = {
    values.F32: (0, 0x8000_0000, 0x3F80_0000, 0x7FC0_0000, 0x7FA0_0001, 0xFFC1_2345, 0x7F80_0000, 1),
    values.F64: (0, 1 << 63, 0x3FF0_0000_0000_0000, 0x7FF8 << 48, 0x7FF4_0000_0000_0001, 0xFFF0 << 48, 1),
}


def _number(kind: int, rng: random.Random) -> int:
    if kind == values.V128:
        return rng.choice((0, rng.getrandbits(128), (1 << 128) - 1, rng.getrandbits(32)))
    if kind in _FLOATS and rng.random() < 0.6:
        return rng.choice(_FLOATS[kind])
    bits = values.BITS[kind]
    return rng.choice((rng.randrange(16), rng.randrange(1 << 16), rng.getrandbits(bits), (1 << bits) - 1))
