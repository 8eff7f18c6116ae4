"""Random object graphs: a module whose initialisation builds one, and the state that this must leave.

Some objects are born in initialisers of globals and in passive element segments, the others in ``init``, each
after those that its immutable and non-nullable fields hold. Then mutable fields are set to any object, which
makes sharing and cycles, and roots are set: globals, mutable or not, nullable or not, and tables.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

from core.heap.types import Field, RefType, Types, random_ref, random_types, subtype
from wizer.binary.values import Number
from wizer.core.state import I31, NULL, Array, Exn, FuncRef, HeapObject, ObjectRef, Ref, Struct, Value

FUNCTIONS = 2
WIDTHS = {"i8": 1, "i16": 2, "i32": 4, "i64": 8, "f32": 4, "f64": 8, "v128": 16}


@dataclass
class Node:
    """An object: its type, and its fields or elements. An exception has type None."""

    typeidx: int | None
    fields: list[Value]


@dataclass
class Graph:
    """A module, and what its globals, tables, element segments and heap must hold after ``init``."""

    wat: str
    globals: dict[int, Value]
    tables: dict[int, list[Value]]
    elements: dict[int, list[Value]]
    heap: list[HeapObject]


def random_graph(seed: int) -> Graph:
    """Make a graph; equal seeds make equal graphs."""
    return _Builder(Random(seed)).build()


@dataclass
class _Builder:
    random: Random
    types: Types = ()
    nodes: list[Node] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    table_types: list[RefType] = field(default_factory=list)
    table_values: dict[int, list[Value]] = field(default_factory=dict)
    code: list[str] = field(default_factory=list)
    roots: dict[int, Value] = field(default_factory=dict)
    segments: dict[int, list[Value]] = field(default_factory=dict)
    # How constant expressions get at an object, and which of these have a nullable type.
    constants: dict[int, str] = field(default_factory=dict)
    nullable: set[int] = field(default_factory=set)

    def build(self) -> Graph:
        self.types = random_types(self.random)
        for _ in range(self.random.randint(0, 2)):
            self._table()
        for _ in range(self.random.randint(0, 3)):
            self._born_in_global()
        if self.random.random() < 0.4:
            self._segment()
        for _ in range(self.random.randint(1, 12)):
            self._born_in_init()
        self._set_mutable_slots()
        for _ in range(self.random.randint(1, 4)):
            self._root()
        for number in range(len(self.tables)):
            self._set_elements(number)
        heap = [self._heap_object(node) for node in self.nodes]
        return Graph(self._module(), self.roots, self.table_values, self.segments, heap)

    # Values.

    def _number(self, storage: str) -> Number:
        bits = 8 * WIDTHS[storage]
        value = self.random.choice((0, 1, (1 << bits) - 1, 1 << bits - 1, self.random.getrandbits(bits)))
        return Number(storage, value)

    def _candidates(self, heap: str | int, known: set[int]) -> list[int]:
        found = []
        for number in sorted(known):
            typeidx = self.nodes[number].typeidx
            if heap == "exn" if typeidx is None else subtype(self.types, typeidx, heap):
                found.append(number)
        return found

    def _value(self, storage: str | RefType, known: set[int], constant: bool = False) -> Value | None:
        """A value for a place, from the objects in ``known``; None where there is none."""
        if isinstance(storage, str):
            return self._number(storage)
        if storage.nullable and self.random.random() < 0.15:
            return NULL
        if storage.heap == "func":
            return FuncRef(self.random.randrange(FUNCTIONS))
        scalar = storage.heap in ("any", "eq", "i31", "extern")
        if constant and not storage.nullable:
            known = known - self.nullable
        candidates = self._candidates(storage.heap, known)
        if scalar and (not candidates or self.random.random() < 0.15):
            return I31(self.random.choice((0, 1, 0x7FFF_FFFF, 0x4000_0000, self.random.getrandbits(31))))
        if candidates:
            return ObjectRef(self.random.choice(candidates))
        return NULL if storage.nullable else None

    def _code(self, value: Value, storage: str | RefType, constant: bool) -> str:
        """The instructions for a value in a place of a type."""
        match value:
            case Number(kind, bits):
                return _const(kind, bits)
            case FuncRef(index):
                return f"(ref.func $f{index})"
            case I31(bits):
                code = f"(ref.i31 (i32.const {bits}))"
            case ObjectRef(node):
                if self.nodes[node].typeidx is None:
                    return f"(local.get $o{node})"
                code = self.constants[node] if constant else f"(ref.as_non_null (local.get $o{node}))"
            case _:
                assert isinstance(storage, RefType)
                return f"(ref.null {storage.heap})"
        if isinstance(storage, RefType) and storage.heap == "extern":
            return f"(extern.convert_any {code})"
        return code

    # Objects.

    def _field_types(self, typeidx: int, length: int) -> tuple[Field, ...]:
        type_ = self.types[typeidx]
        return type_.fields * length if type_.array else type_.fields

    def _new(self, typeidx: int, known: set[int], constant: bool) -> str | None:
        """Add an object of a type; return the code that makes it, or None where a field cannot be filled."""
        type_ = self.types[typeidx]
        length = self.random.choice((0, 1, 2, 3, 5)) if type_.array else len(type_.fields)
        fields = self._field_types(typeidx, length)
        values: list[Value] = []
        for each in fields:
            value = self._value(each.storage, known, constant)
            if value is None:
                return None
            values.append(value)
        if type_.array and length > 1 and self.random.random() < 0.3:
            values = [values[0]] * length
        operands = "".join(
            self._code(value, each.storage, constant) for value, each in zip(values, fields, strict=True)
        )
        self.nodes.append(Node(typeidx, values))
        new = f"array.new_fixed {typeidx} {length}" if type_.array else f"struct.new {typeidx}"
        return f"({new} {operands})"

    def _new_of_any_type(self, known: set[int], constant: bool) -> tuple[int, str] | None:
        for typeidx in self.random.sample(range(len(self.types)), len(self.types)):
            code = self._new(typeidx, known, constant)
            if code is not None:
                return typeidx, code
        return None

    def _born_in_global(self) -> None:
        made = self._new_of_any_type({*self.constants}, constant=True)
        if made is None:
            return
        node, globalidx = len(self.nodes) - 1, len(self.globals)
        ref = self._wider(made[0])
        mutable = self.random.random() < 0.3
        value = made[1] if ref.heap != "extern" else f"(extern.convert_any {made[1]})"
        self.globals.append(f"(global {f'(mut {ref})' if mutable else ref} {value})")
        self.roots[globalidx] = ObjectRef(node)
        got = f"(global.get {globalidx})"
        if not mutable and ref.heap == made[0]:
            self.constants[node] = got
            if ref.nullable:
                self.nullable.add(node)
        down = f"(any.convert_extern {got})" if ref.heap == "extern" else got
        self.code.append(f"(local.set $o{node} (ref.cast (ref {made[0]}) {down}))")

    def _wider(self, typeidx: int) -> RefType:
        """A reference type that an object of this type fits in."""
        wide = [h for h in ("any", "eq", "struct", "array", "extern") if subtype(self.types, typeidx, h)]
        heap = typeidx if self.random.random() < 0.6 else self.random.choice(wide)
        return RefType(heap, self.random.random() < 0.5)

    def _segment(self) -> None:
        """A passive element segment, some of whose objects are born in it."""
        typeidx = self.random.randrange(len(self.types))
        ref = RefType(typeidx, nullable=True)
        items: list[str] = []
        values: list[Value] = []
        for _ in range(self.random.randint(1, 3)):
            code = (
                self._new(typeidx, {*self.constants}, constant=True) if self.random.random() < 0.6 else None
            )
            if code is not None:
                node = len(self.nodes) - 1
                values.append(ObjectRef(node))
                self.code.append(
                    f"(table.init $scratch 0 (i32.const 0) (i32.const {len(items)}) (i32.const 1))"
                    f"(local.set $o{node} (ref.cast (ref {typeidx}) (table.get $scratch (i32.const 0))))"
                )
            else:
                value = self._value(ref, {*self.constants}, constant=True) or NULL
                values.append(value)
                code = self._code(value, ref, constant=True)
            items.append(f"(item {code})")
        self.elements.append(f"(elem {ref} {' '.join(items)})")
        self.segments[0] = values

    def _born_in_init(self) -> None:
        known = set(range(len(self.nodes)))
        if self.random.random() < 0.08:
            anyref = RefType("any", nullable=True)
            number, held = self._number("i64"), self._value(anyref, known) or NULL
            operands = self._code(number, "i64", False) + self._code(held, anyref, False)
            self.nodes.append(Node(None, [number, held]))
            code = (
                "(block $caught (result exnref)"
                f" (try_table (catch_all_ref $caught) (throw $tag {operands})) unreachable)"
            )
        else:
            made = self._new_of_any_type(known, constant=False)
            if made is None:
                return
            code = made[1]
        self.code.append(f"(local.set $o{len(self.nodes) - 1} {code})")

    def _set_mutable_slots(self) -> None:
        known = set(range(len(self.nodes)))
        for number, node in enumerate(self.nodes):
            if node.typeidx is None:
                continue
            array = self.types[node.typeidx].array
            for slot, each in enumerate(self._field_types(node.typeidx, len(node.fields))):
                if not each.mutable or self.random.random() < 0.4:
                    continue
                value = self._value(each.storage, known)
                if value is None:
                    continue
                node.fields[slot] = value
                place = f"(ref.cast (ref {node.typeidx}) (local.get $o{number}))"
                operand = self._code(value, each.storage, constant=False)
                if array:
                    self.code.append(f"(array.set {node.typeidx} {place} (i32.const {slot}) {operand})")
                else:
                    self.code.append(f"(struct.set {node.typeidx} {slot} {place} {operand})")

    # Roots.

    def _root(self) -> None:
        ref = random_ref(self.random, len(self.types))
        value = self._value(ref, set(range(len(self.nodes))))
        if value is None:
            return
        globalidx = len(self.globals)
        if ref.nullable:
            initial = f"(ref.null {ref.heap})"
        else:
            first = self._value(ref, {*self.constants}, constant=True)
            if first is None:
                return
            initial = self._code(first, ref, constant=True)
        self.globals.append(f"(global (mut {ref}) {initial})")
        self.code.append(f"(global.set {globalidx} {self._code(value, ref, constant=False)})")
        self.roots[globalidx] = value

    def _table(self) -> None:
        """Add a table, which may have an initialiser that makes an object."""
        number = len(self.tables)
        ref = random_ref(self.random, len(self.types))
        size = self.random.randint(1, 5)
        first: Value = NULL
        initial = ""
        if not ref.nullable or self.random.random() < 0.2:
            made = self._new(ref.heap, set(), constant=True) if isinstance(ref.heap, int) else None
            if made is not None:
                node = len(self.nodes) - 1
                first, initial = ObjectRef(node), made
                got = f"(table.get {number} (i32.const 0))"
                self.code.append(f"(local.set $o{node} (ref.cast (ref {ref.heap}) {got}))")
            else:
                first = self._value(ref, set()) or NULL
                ref = RefType(ref.heap, ref.nullable or first == NULL)
                initial = self._code(first, ref, constant=True)
        self.tables.append(f"(table {size} {ref} {initial})")
        self.table_types.append(ref)
        self.table_values[number] = [first] * size

    def _set_elements(self, number: int) -> None:
        """Set some elements of a table."""
        ref = self.table_types[number]
        for slot in range(len(self.table_values[number])):
            value = self._value(ref, set(range(len(self.nodes))))
            if value is not None and self.random.random() < 0.6:
                self.table_values[number][slot] = value
                operand = self._code(value, ref, constant=False)
                self.code.append(f"(table.set {number} (i32.const {slot}) {operand})")

    # The module.

    def _heap_object(self, node: Node) -> HeapObject:
        if node.typeidx is None:
            return Exn(0, tuple(node.fields))
        if not self.types[node.typeidx].array:
            return Struct(node.typeidx, tuple(node.fields))
        storage = self.types[node.typeidx].fields[0].storage
        if isinstance(storage, RefType):
            return Array(node.typeidx, elements=_references(node.fields))
        data = b"".join(
            value.bits.to_bytes(WIDTHS[storage], "little")
            for value in node.fields
            if isinstance(value, Number)
        )
        return Array(node.typeidx, data=data)

    def _module(self) -> str:
        locals_ = " ".join(
            f"(local $o{number} {'exnref' if node.typeidx is None else f'(ref null {node.typeidx})'})"
            for number, node in enumerate(self.nodes)
        )
        lines = [
            f"(rec {' '.join(f'(type {type_})' for type_ in self.types)})",
            *(f"(func $f{number})" for number in range(FUNCTIONS)),
            f"(elem declare func {' '.join(f'$f{number}' for number in range(FUNCTIONS))})",
            *self.tables,
            "(table $scratch 1 anyref)",
            "(tag $tag (param i64 anyref))",
            *self.globals,
            f'(func (export "init") {locals_}',
            *self.code,
            "(table.set $scratch (i32.const 0) (ref.null none)))",
        ]
        return "(module\n" + "\n".join([*lines[:1], *self.elements, *lines[1:]]) + ")"


def _references(values: list[Value]) -> list[Ref]:
    return [value for value in values if not isinstance(value, Number)]


def _const(kind: str, bits: int) -> str:
    """The constant expression for a number by its bits."""
    match kind:
        case "f32":
            return f"(f32.const {_float_text(bits, 32)})"
        case "f64":
            return f"(f64.const {_float_text(bits, 64)})"
        case "v128":
            return f"(v128.const i64x2 {bits & (1 << 64) - 1} {bits >> 64})"
        case "i64":
            return f"(i64.const {bits})"
    return f"(i32.const {bits})"


def _float_text(bits: int, width: int) -> str:
    """A float of the text format by its bits, NaN payloads included."""
    exponent, fraction = (8, 23) if width == 32 else (11, 52)
    sign = "-" if bits >> width - 1 else ""
    payload = bits & (1 << fraction) - 1
    if bits >> fraction & (1 << exponent) - 1 == (1 << exponent) - 1:
        return f"{sign}nan:{payload:#x}" if payload else f"{sign}inf"
    magnitude = bits & (1 << width - 1) - 1
    (value,) = struct.unpack("<f" if width == 32 else "<d", magnitude.to_bytes(width // 8, "little"))
    return sign + float(value).hex()
