"""How the accessors of `wizer.core.instrument_heap` hand out what objects hold.

Numbers go to a memory, references to a table for each hierarchy: the fields of a structure, the payload of an
exception, or so many elements of an array at a time. References of the extern hierarchy go with the others of
the any hierarchy, converted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wizer.binary.module import Module
from wizer.binary.types import ArrayType, FieldType, RefType, StorageType, StructType, hierarchy
from wizer.binary.values import BITS
from wizer.records import record

# The tables in which references are handed out, each for the hierarchies of one kind.
ANY: Final = 0
FUNC: Final = 1
EXN: Final = 2
_TABLES: Final = {"any": ANY, "extern": ANY, "func": FUNC, "exn": EXN}

# Entries of the queue of objects: a new one is not begun on once so many are in it.
QUEUE: Final = 8192
# The bytes of numbers after which no new object is begun on.
DATA: Final = 1 << 18
# Bytes of an entry: kind, entry of the object that refers to it, and where its numbers and references begin.
ENTRY: Final = 24
# The most entries that are visited in a call, and where the numbers begin in the memory after them.
VISITED: Final = 4096
DATA_START: Final = VISITED * ENTRY
# Up to this many elements an array is handed out with its length; a longer one in parts.
INLINE: Final = 64
# The most elements of a part.
PART: Final = 8192


@record
class Layout:
    """Where the slots of an object are handed out.

    Attributes:
        types: the types of the slots.
        offsets: for numbers where their bytes begin, for references how many of their table are before.
        tables: for references the table, otherwise None. Of a continuation, a byte tells whether it is null.
        size: the bytes of all numbers.
        counts: how many references there are in each table.
    """

    types: tuple[StorageType, ...]
    offsets: tuple[int, ...]
    tables: tuple[int | None, ...]
    size: int
    counts: tuple[int, int, int]


def layout(module: Module, types: Sequence[StorageType]) -> Layout:
    """Return the layout of slots of these types."""
    offsets, tables, size = [], [], 0
    counts = [0, 0, 0]
    for type_ in types:
        table = _TABLES.get(hierarchy(type_.heap, module.types)) if isinstance(type_, RefType) else None
        tables.append(table)
        if table is None:
            offsets.append(size)
            size += width(type_)
        else:
            offsets.append(counts[table])
            counts[table] += 1
    return Layout(tuple(types), tuple(offsets), tuple(tables), size, (counts[0], counts[1], counts[2]))


def width(type_: StorageType) -> int:
    """Return the bytes of a number; of a continuation, one tells whether it is null."""
    return BITS[type_] // 8 if isinstance(type_, str) else 1


def slot_types(module: Module, typeidx: int) -> tuple[StorageType, ...]:
    """Return the types of a structure's fields, or that of an array's elements."""
    return tuple(field.storage for field in fields(module, typeidx))


def fields(module: Module, typeidx: int) -> Sequence[FieldType]:
    """Return a structure's fields, or an array's element."""
    comp = module.types[typeidx].comp
    if isinstance(comp, StructType):
        return comp.fields
    return (comp.element,) if isinstance(comp, ArrayType) else ()
