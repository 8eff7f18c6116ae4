"""Parse: a component's bytes become sections and items, nested components included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from wizer.binary.reader import Reader
from wizer.binary.sections import COMPONENT_VERSION, MAGIC, read_section_header
from wizer.component import items as it
from wizer.component.items import Component, Item, Section, Sort, Use
from wizer.errors import ParseError

# Deeper nesting than any tool makes; the engine has a limit of its own.
MAX_DEPTH: Final = 100


def parse_component(wasm: bytes) -> Component:
    """Parse a component.

    Raises:
        ParseError: with the byte offset of what is malformed. What is well-formed but invalid is left for
            the engine to find.
    """
    if wasm[:4] != MAGIC:
        raise ParseError("this is not WebAssembly: the magic number is missing", 0)
    return _component(wasm, 0, len(wasm), 0)


def _component(wasm: bytes, start: int, end: int, depth: int) -> Component:
    if depth > MAX_DEPTH:
        raise ParseError(f"components are nested more than {MAX_DEPTH} deep", start)
    if end - start < 8 or wasm[start : start + 8] != MAGIC + COMPONENT_VERSION:
        raise ParseError("this is not a component", start)
    reader = Reader(wasm, start + 8, end)
    sections: list[Section] = []
    while not reader.at_end:
        sections.append(_section(reader, depth))
    return Component(wasm, start, end, tuple(sections), _appended(wasm, sections))


def _appended(wasm: bytes, sections: Sequence[Section]) -> range:
    """Return which sections a snapshot has at its end, as long as nothing but custom sections follows."""
    for number in range(len(sections) - 1, -1, -1):
        section = sections[number]
        if section.id == it.CUSTOM and section.name == it.APPENDED:
            last = number + 1 + Reader(wasm, section.start, section.end).u32()
            if last <= len(sections) and all(other.id == it.CUSTOM for other in sections[last:]):
                return range(number, last)
    return range(0)


def _section(reader: Reader, depth: int) -> Section:
    header = reader.pos
    section_id, end = read_section_header(reader, it.TITLES)
    start, reader.pos = reader.pos, end
    contents = Reader(reader.wasm, start, end)
    match section_id:
        case it.CUSTOM:
            name = contents.name()
            return Section(section_id, header, contents.pos, end, name=name)
        case it.CORE_MODULE:
            item = Item(start, end, "core module", it.ModuleDefinition())
            return Section(section_id, header, start, end, (item,))
        case it.COMPONENT:
            nested = _component(reader.wasm, start, end, depth + 1)
            item = Item(start, end, "component", it.ComponentDefinition(nested))
            return Section(section_id, header, start, end, (item,))
        case it.TYPE | it.CORE_TYPE:
            return Section(section_id, header, start, end, hidden=contents.count())
        case it.START | it.VALUE:
            item = Item(start, end, "value" if section_id == it.VALUE else None, it.Opaque())
            return Section(section_id, header, start, end, (item,))
    items = contents.vector(_READERS[section_id])
    if not contents.at_end:
        raise contents.fail(f"unexpected bytes at the end of the {it.TITLES[section_id]} section")
    return Section(section_id, header, start, end, items)


def _use(reader: Reader, sort: Sort, outer: int = 0) -> Use:
    start = reader.pos
    index = reader.u32()
    return Use(sort, index, start, reader.pos, outer)


def _sort(reader: Reader) -> Sort:
    """Read a sort: https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md#instance-definitions."""
    start = reader.pos
    code = reader.byte()
    sort = it.CORE_SORTS.get(reader.byte()) if code == 0 else it.SORTS.get(code)
    if sort is None:
        raise reader.fail("malformed sort", start)
    return sort


def _core_sort(reader: Reader) -> Sort:
    start = reader.pos
    sort = it.CORE_SORTS.get(reader.byte())
    if sort is None:
        raise reader.fail("malformed core sort", start)
    return sort


def _sort_and_use(reader: Reader) -> Use:
    return _use(reader, _sort(reader))


def _core_arg(reader: Reader) -> tuple[str, Use]:
    name = reader.name()
    if reader.byte() != 0x12:
        raise reader.fail("a core instantiation argument that is not an instance", reader.pos - 1)
    return name, _use(reader, "core instance")


def _core_export(reader: Reader) -> tuple[str, Use]:
    return reader.name(), _use(reader, _core_sort(reader))


def _core_instance(reader: Reader) -> Item:
    start = reader.pos
    definition: it.CoreInstantiation | it.CoreExports
    match reader.byte():
        case 0x00:
            definition = it.CoreInstantiation(_use(reader, "core module"), reader.vector(_core_arg))
        case 0x01:
            definition = it.CoreExports(reader.vector(_core_export))
        case code:
            raise reader.fail(f"malformed core instance {code:#04x}", start)
    return Item(start, reader.pos, "core instance", definition)


def _arg(reader: Reader) -> tuple[str, Use]:
    return reader.name(), _sort_and_use(reader)


def _inline_export(reader: Reader) -> tuple[str, Use]:
    return read_extern_name(reader), _sort_and_use(reader)


def _instance(reader: Reader) -> Item:
    start = reader.pos
    definition: it.Instantiation | it.InlineExports
    match reader.byte():
        case 0x00:
            definition = it.Instantiation(_use(reader, "component"), reader.vector(_arg))
        case 0x01:
            definition = it.InlineExports(reader.vector(_inline_export))
        case code:
            raise reader.fail(f"malformed instance {code:#04x}", start)
    return Item(start, reader.pos, "instance", definition)


def _alias(reader: Reader) -> Item:
    start = reader.pos
    sort = _sort(reader)
    definition: it.ExportAlias | it.CoreExportAlias | it.OuterAlias
    match reader.byte():
        case 0x00:
            definition = it.ExportAlias(_use(reader, "instance"), reader.name())
        case 0x01:
            definition = it.CoreExportAlias(_use(reader, "core instance"), reader.name())
        case 0x02:
            outer = reader.u32()
            definition = it.OuterAlias(_use(reader, sort, outer))
        case code:
            raise reader.fail(f"malformed alias {code:#04x}", start)
    return Item(start, reader.pos, sort, definition)


def _options(reader: Reader) -> tuple[tuple[Use, ...], int | None, bool]:
    """Read the options of a canonical function: the functions, the memory, and whether there is ``async``."""
    functions: list[Use] = []
    memory, is_async = None, False
    for _ in range(reader.count()):
        start = reader.pos
        option = reader.byte()
        if option in (0x04, 0x05, 0x07):  # realloc, post-return, callback
            functions.append(_use(reader, "core func"))
        elif option == 0x03:
            memory = reader.u32()
        elif option == 0x08:  # core-type
            reader.u32()
        elif option == 0x06:
            is_async = True
        elif option not in (0x00, 0x01, 0x02, 0x09):  # encodings, gc
            raise reader.fail(f"unknown canonical option {option:#04x}", start)
    return tuple(functions), memory, is_async


def _skip_valtype(reader: Reader) -> None:
    """Pass over a value type: a primitive one is a negative number, another one an index."""
    reader.s33()


def _skip_results(reader: Reader) -> None:
    start = reader.pos
    match reader.byte():
        case 0x00:
            _skip_valtype(reader)
        case 0x01:
            if reader.byte() != 0:
                raise reader.fail("malformed result list", start)
        case _:
            raise reader.fail("malformed result list", start)


# What follows the opcode of a canonical function other than lift and lower: i(ndex), b(yte), o(ptions),
# r(esults).
_CANONICAL_IMMEDIATES: Final = {
    **dict.fromkeys((0x02, 0x03, 0x04), "i"),  # resource.new, resource.drop, resource.rep
    **dict.fromkeys((0x05, 0x0D, 0x1E, 0x1F, 0x22, 0x23, 0x24, 0x25, 0x26, 0x28, 0x42), ""),
    **dict.fromkeys((0x06, 0x08, 0x0C, 0x29, 0x2A, 0x2B, 0x2C, 0x2D), "b"),
    0x09: "ro",  # task.return
    **dict.fromkeys((0x0A, 0x0B), "bi"),  # context.get, context.set
    **dict.fromkeys((0x0E, 0x13, 0x14, 0x15, 0x1A, 0x1B), "i"),  # stream and future: new, drop
    **dict.fromkeys((0x0F, 0x10, 0x16, 0x17), "io"),  # stream and future: read, write
    **dict.fromkeys((0x11, 0x12, 0x18, 0x19), "ib"),  # stream and future: cancel-read, cancel-write
    **dict.fromkeys((0x1C, 0x1D), "o"),  # error-context.new, error-context.debug-message
    **dict.fromkeys((0x20, 0x21), "bi"),  # waitable-set.wait, waitable-set.poll
    **dict.fromkeys((0x27, 0x41), "ii"),  # thread.new-indirect, thread.spawn-indirect
    0x40: "i",  # thread.spawn-ref
}


def _canonical(reader: Reader) -> Item:
    start = reader.pos
    opcode = reader.byte()
    if opcode in (it.LIFT, it.LOWER) and reader.byte() != 0:
        raise reader.fail("malformed canonical function", start)
    if opcode == it.LIFT:
        lifted = _use(reader, "core func")
        definition = _with_options(opcode, lifted, _options(reader), reader.u32())
        return Item(start, reader.pos, "func", definition)
    if opcode == it.LOWER:
        lowered = _use(reader, "func")
        definition = _with_options(opcode, lowered, _options(reader))
        return Item(start, reader.pos, "core func", definition)
    immediates = _CANONICAL_IMMEDIATES.get(opcode)
    if immediates is None:
        raise reader.fail(f"unknown canonical function {opcode:#04x}", start)
    read = {immediate: _IMMEDIATES[immediate](reader) for immediate in immediates}
    functions = read["o"][0] if "o" in read else ()
    return Item(start, reader.pos, "core func", it.Canonical(opcode, None, functions, read.get("i")))


def _with_options(
    opcode: int, target: Use, options: tuple[tuple[Use, ...], int | None, bool], typeidx: int | None = None
) -> it.Canonical:
    functions, memory, is_async = options
    return it.Canonical(opcode, target, functions, typeidx, memory, is_async)


_IMMEDIATES: Final[dict[str, Callable[[Reader], Any]]] = {
    "i": Reader.u32,
    "b": Reader.byte,
    "o": _options,
    "r": _skip_results,
}


def read_extern_name(reader: Reader) -> str:
    """Read the name of an import or export, with the options that newer encoders add to it."""
    start = reader.pos
    code = reader.byte()
    if code > 2:
        raise reader.fail(f"malformed name {code:#04x}", start)
    name = reader.name()
    if code == 2:
        for _ in range(reader.count()):
            reader.byte()
            reader.name()
    return name


def read_externtype(reader: Reader) -> tuple[Sort, int | None]:
    """Read the type of an import or export: its sort, and the index of its type.

    For a type that is of what it equals, and None where it is any resource.
    """
    start = reader.pos
    sort = _sort(reader)
    match sort:
        case "core module" | "func" | "component" | "instance":
            return sort, reader.u32()
        case "type":
            return sort, reader.u32() if reader.byte() == 0x00 else None
        case "value":
            _skip_valtype(reader)
            return sort, None
    raise reader.fail(f"a {sort} cannot be imported or exported", start)


def _import(reader: Reader) -> Item:
    start = reader.pos
    name = read_extern_name(reader)
    sort, typeidx = read_externtype(reader)
    return Item(start, reader.pos, sort, it.Import(name, typeidx))


def _export(reader: Reader) -> Item:
    start = reader.pos
    name = read_extern_name(reader)
    target = _sort_and_use(reader)
    ascribed = reader.byte() != 0
    if ascribed:
        read_externtype(reader)
    return Item(start, reader.pos, target.sort, it.Export(name, target, ascribed))


_READERS: Final[dict[int, Callable[[Reader], Item]]] = {
    it.CORE_INSTANCE: _core_instance,
    it.INSTANCE: _instance,
    it.ALIAS: _alias,
    it.CANON: _canonical,
    it.IMPORT: _import,
    it.EXPORT: _export,
}
