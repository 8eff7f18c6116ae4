"""The types of the functions in a component, as far as handles and `wizer.component.abi` need them.

https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md#type-definitions

What a function is called is where the component has it from: ``wasi:cli/stdout@0.2.0.get-stdout``. Whatever
is not understood here has the type None, and nothing is said about the handles that it deals in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from wizer.binary.reader import Reader
from wizer.binary.types import ValType
from wizer.component import items as it
from wizer.component.items import Component, Item, Section, Use
from wizer.component.parse import MAX_DEPTH, read_extern_name, read_externtype
from wizer.errors import ParseError
from wizer.records import record


@record
class Resource:
    """A type of resources: its name, and whether the component itself defines it."""

    name: str
    is_own: bool = False


@record
class Scalar:
    """A number, a flag set, an enumeration: its core type, and its size and alignment in bytes."""

    core: ValType
    size: int


@record
class Handle:
    """``(own r)`` or ``(borrow r)``."""

    resource: Resource
    is_owned: bool


@record
class List:
    """A list, or a string, as one of bytes."""

    element: ValueType


@record
class Record:
    """A record or tuple."""

    fields: tuple[ValueType, ...]


@record
class Variant:
    """A variant, option or result; None stands for a case without payload."""

    cases: tuple[ValueType | None, ...]


ValueType: TypeAlias = "Scalar | Handle | List | Record | Variant"


@record
class Function:
    """A type of functions."""

    params: tuple[ValueType, ...]
    result: ValueType | None


@record
class Instance:
    """A type of instances: the types of what it exports, types as they are, by name."""

    exports: Mapping[str, Type | None]


Type: TypeAlias = "ValueType | Function | Instance | Resource"

STRING: Final = List(Scalar("i32", 1))

_PRIMITIVES: Final[Mapping[int, ValueType]] = {
    **{code: Scalar("i32", 1) for code in (0x7F, 0x7E, 0x7D)},  # bool, s8, u8
    **{code: Scalar("i32", 2) for code in (0x7C, 0x7B)},  # s16, u16
    **{code: Scalar("i32", 4) for code in (0x7A, 0x79, 0x74)},  # s32, u32, char
    **{code: Scalar("i64", 8) for code in (0x78, 0x77)},  # s64, u64
    0x76: Scalar("f32", 4),
    0x75: Scalar("f64", 8),
    0x73: STRING,
    0x64: Handle(Resource("error-context"), True),
}


class _Unknown(Exception):  # noqa: N818  it is no error: a type that is not understood
    """Raised at a type that is not understood."""


@record
class Named:
    """A function or an instance: what it is called, and its type."""

    name: str
    type: Type | None


class Types:
    """What the indices of a component stand for, as far as it is known.

    Attributes:
        types: by the index of a type, the type.
        functions: by the index of a component function.
        instances: by the index of a component instance.
        exports: the types of what it exports.
    """

    def __init__(self, parent: Types | None = None) -> None:
        self.parent = parent
        self.types: list[Type | None] = []
        self.functions: list[Named] = []
        self.instances: list[Named] = []
        self.components: list[Instance | None] = []
        self.exports: dict[str, Type | None] = {}

    def outer(self, levels: int) -> Types:
        """Return the types ``levels`` components out."""
        found: Types = self
        for _ in range(levels):
            if found.parent is None:
                raise _Unknown
            found = found.parent
        return found

    def type(self, index: int | None) -> Type | None:
        """Return a type; None where it is not known."""
        return self.types[index] if index is not None and index < len(self.types) else None


def read_types(component: Component, parent: Types | None = None) -> Types:
    """Return the types of a component, ``parent`` being those of the component around it."""
    types = Types(parent)
    for section in component.sections:
        if section.id == it.TYPE:
            _read_section(component, section, types)
        for item in section.items:
            _add_item(item, types)
    return types


def _read_section(component: Component, section: Section, types: Types) -> None:
    before = len(types.types)
    reader = Reader(component.wasm, section.start, section.end)
    try:
        for _ in range(reader.count()):
            types.types.append(_read_type(reader, types, 0))
    except (_Unknown, ParseError):
        missing = section.hidden - (len(types.types) - before)
        types.types += [None] * missing


def _add_item(item: Item, types: Types) -> None:
    definition = item.definition
    match definition:
        case it.ComponentDefinition(nested) if item.sort == "component":
            types.components.append(Instance(read_types(nested, types).exports))
        case it.Import(name, index):
            found = types.type(index)
            if item.sort == "type":
                found = Resource(name) if index is None else found
            _add(item, types, name, found)
        case it.Export(name, target):
            named = _used(types, target)
            found = named.type
            if isinstance(found, Resource) and found.is_own:
                found = Resource(name, is_own=True)
            types.exports[name] = found
            _add(item, types, named.name or name, found)
        case it.ExportAlias(use, name):
            instance = _used(types, use)
            exports = instance.type.exports if isinstance(instance.type, Instance) else {}
            _add(item, types, f"{instance.name}.{name}" if instance.name else name, exports.get(name))
        case it.OuterAlias(target) if target.sort == "type":
            _add(item, types, "", types.outer(target.outer).type(target.index))
        case it.Instantiation(made):
            known = made.outer == 0 and made.index < len(types.components)
            _add(item, types, "", types.components[made.index] if known else None)
        case it.InlineExports(inline):
            _add(item, types, "", Instance({name: _used(types, use).type for name, use in inline}))
        case it.Canonical():
            _add(item, types, "", types.type(definition.type))
        case _:
            _add(item, types, "", None)


def _add(item: Item, types: Types, name: str, found: Type | None) -> None:
    """Add what an item defines to its index space."""
    match item.sort:
        case "type":
            types.types.append(found)
        case "func":
            types.functions.append(Named(name, found))
        case "instance":
            types.instances.append(Named(name, found))
        case "component":
            types.components.append(None)


def _used(types: Types, use: Use) -> Named:
    """Return what an index stands for."""
    try:
        scope = types.outer(use.outer)
    except _Unknown:
        return Named("", None)
    if use.sort == "type":
        return Named("", scope.type(use.index))
    space = scope.functions if use.sort == "func" else scope.instances if use.sort == "instance" else []
    return space[use.index] if use.index < len(space) else Named("", None)


def _read_type(reader: Reader, types: Types, depth: int) -> Type | None:
    """Read a definition of a type; None where no function that is lowered can have it."""
    if depth > MAX_DEPTH:
        raise _Unknown
    code = reader.byte()
    match code:
        case 0x40 | 0x43:
            params = tuple(_read_value(reader, types) for _ in _labels(reader))
            if reader.byte() == 0:
                return Function(params, _read_value(reader, types))
            reader.byte()
            return Function(params, None)
        case 0x42:
            return Instance(_read_instance(reader, types, depth))
        case 0x3F | 0x3E:
            reader.byte()
            if reader.byte():
                reader.u32()
            if code == 0x3E and reader.byte():
                reader.u32()
            return Resource("resource", is_own=True)
        case 0x41:
            raise _Unknown  # a type of components; where one is imported, nothing can be frozen
    return _read_defined(reader, code, types)


def _labels(reader: Reader) -> Iterator[str]:
    """Yield the labels of a vector of types; each type is read between two of them."""
    for _ in range(reader.count()):
        yield reader.name()


def _read_value(reader: Reader, types: Types) -> ValueType:
    """Read the type of a value: an index, or a primitive type."""
    if 0x64 <= reader.peek() <= 0x7F:
        return _primitive(reader.byte())
    found = types.type(reader.u32())
    if found is None or isinstance(found, Function | Instance | Resource):
        raise _Unknown
    return found


def _primitive(code: int) -> ValueType:
    if code not in _PRIMITIVES:
        raise _Unknown
    return _PRIMITIVES[code]


def _optional(reader: Reader, types: Types) -> ValueType | None:
    return _read_value(reader, types) if reader.byte() else None


def _read_case(reader: Reader, types: Types) -> ValueType | None:
    case = _optional(reader, types)
    reader.byte()
    return case


def _read_defined(reader: Reader, code: int, types: Types) -> ValueType:
    """Read a defined type of values after its code."""
    match code:
        case 0x72:
            return Record(tuple([_read_value(reader, types) for _ in _labels(reader)]))
        case 0x71:
            return Variant(tuple([_read_case(reader, types) for _ in _labels(reader)]))
        case 0x70:
            return List(_read_value(reader, types))
        case 0x6F:
            return Record(tuple([_read_value(reader, types) for _ in range(reader.count())]))
        case 0x6E:
            return _flags(len([*_labels(reader)]))
        case 0x6D:
            return Scalar("i32", discriminant(len([*_labels(reader)])))
        case 0x6B:
            return Variant((None, _read_value(reader, types)))
        case 0x6A:
            return Variant((_optional(reader, types), _optional(reader, types)))
        case 0x69 | 0x68:
            resource = types.type(reader.u32())
            if not isinstance(resource, Resource):
                raise _Unknown
            return Handle(resource, code == 0x69)
        case 0x66 | 0x65:
            _optional(reader, types)
            return Handle(Resource("stream" if code == 0x66 else "future"), True)
    return _primitive(code)


def discriminant(cases: int) -> int:
    """Return the size in bytes of what tells ``cases`` cases apart."""
    return 1 if cases <= 1 << 8 else 2 if cases <= 1 << 16 else 4


def _flags(count: int) -> Scalar:
    if count > 32:
        raise _Unknown
    return Scalar("i32", 1 if count <= 8 else 2 if count <= 16 else 4)


def _read_instance(reader: Reader, outer: Types, depth: int) -> Mapping[str, Type | None]:
    """Read the declarations of a type of instances."""
    types = Types(outer)
    for _ in range(reader.count()):
        match reader.byte():
            case 0x01:
                types.types.append(_read_type(reader, types, depth + 1))
            case 0x02:
                _read_alias(reader, types)
            case 0x04:
                name = read_extern_name(reader)
                sort, index = read_externtype(reader)
                found = types.type(index)
                if sort == "type":
                    found = Resource(name) if index is None else found
                    types.types.append(found)
                elif sort == "instance":
                    types.instances.append(Named(name, found))
                types.exports[name] = found
            case _:
                raise _Unknown
    return types.exports


def _read_alias(reader: Reader, types: Types) -> None:
    if reader.byte() != 0x03:
        raise _Unknown
    match reader.byte():
        case 0x02:
            scope = types.outer(reader.u32())
            types.types.append(scope.type(reader.u32()))
        case 0x00:
            instance = _used(types, Use("instance", reader.u32(), 0, 0))
            name = reader.name()
            exports = instance.type.exports if isinstance(instance.type, Instance) else {}
            types.types.append(exports.get(name))
        case _:
            raise _Unknown
