"""Random types of the garbage-collected heap, one recursion group, with subtypes."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

NUMBERS = ("i32", "i64", "f32", "f64", "v128")
PACKED = ("i8", "i16")
ABSTRACT = ("any", "any", "eq", "struct", "array", "i31", "extern", "func", "exn")


@dataclass(frozen=True)
class RefType:
    """A reference type: abstract by name, concrete by type index."""

    heap: str | int
    nullable: bool

    def __str__(self) -> str:
        return f"(ref {'null ' if self.nullable else ''}{self.heap})"


@dataclass(frozen=True)
class Field:
    """A field or the element of an array."""

    storage: str | RefType
    mutable: bool

    def __str__(self) -> str:
        return f"(mut {self.storage})" if self.mutable else str(self.storage)


@dataclass(frozen=True)
class Type:
    """A structure, or an array where ``array`` holds."""

    fields: tuple[Field, ...]
    array: bool
    parent: int | None

    def __str__(self) -> str:
        if self.array:
            comp = f"(array {self.fields[0]})"
        else:
            comp = f"(struct {' '.join(f'(field {field})' for field in self.fields)})"
        return f"(sub {'' if self.parent is None else self.parent} {comp})"


Types = tuple[Type, ...]


def random_types(random: Random) -> Types:
    """Between two and seven types."""
    count = random.randint(2, 7)
    types: list[Type] = []
    for index in range(count):
        parents = [i for i, t in enumerate(types) if not t.array]
        if parents and random.random() < 0.3:
            parent = random.choice(parents)
            own = [_field(random, count) for _ in range(random.randint(0, 2))]
            types.append(Type((*types[parent].fields, *own), array=False, parent=parent))
        elif random.random() < 0.3:
            types.append(Type((_field(random, count),), array=True, parent=None))
        else:
            fields = [_field(random, count) for _ in range(random.randint(0 if index else 1, 4))]
            types.append(Type(tuple(fields), array=False, parent=None))
    return tuple(types)


def _field(random: Random, count: int) -> Field:
    mutable = random.random() < 0.6
    if random.random() < 0.3:
        return Field(random.choice(NUMBERS + PACKED), mutable)
    return Field(random_ref(random, count), mutable)


def random_ref(random: Random, count: int) -> RefType:
    """A reference type that may be in a field, global or table."""
    nullable = random.random() < 0.7
    if random.random() < 0.6:
        return RefType(random.randrange(count), nullable)
    heap = random.choice(ABSTRACT)
    return RefType(heap, nullable or heap == "exn")


def subtype(types: Types, sub: int, heap: str | int) -> bool:
    """Whether an object of type ``sub`` may be where ``heap`` is expected."""
    if isinstance(heap, str):
        return heap in ("any", "eq", "extern", "array" if types[sub].array else "struct")
    current: int | None = sub
    while current is not None:
        if current == heap:
            return True
        current = types[current].parent
    return False
