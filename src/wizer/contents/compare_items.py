"""Where two modules differ that is not memory: functions, globals, tables and all other items.

Functions are the same ones where they have the same name; where names do not say so, by their index. An
export is a name where both modules have it: a snapshot does not export its initialisation any more. What
refers to a function is compared by that, so a function more in front of all others changes nothing but itself
and the bodies that hold indices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from wizer.binary import sections as sec
from wizer.binary.expr import Expr
from wizer.binary.externs import ExternKind, numbered
from wizer.binary.instructions import bodies
from wizer.binary.module import Module
from wizer.binary.names import read_names
from wizer.binary.types import ArrayType, FieldType, StructType, SubType
from wizer.contents.changes import Change
from wizer.contents.items import shown
from wizer.errors import ParseError
from wizer.records import record

_SHOWN: Final = 200  # characters of what an item is


@record
class Named:
    """A module, and what its items are called in a comparison.

    Attributes:
        module: the module.
        keys: by kind, what identifies each item: its name, or its index where it has none of its own.
        bodies: where the body of each function that it defines stands.
    """

    module: Module
    keys: Mapping[ExternKind, Sequence[str | int]]
    bodies: Sequence[tuple[int, int]]

    def place(self, kind: ExternKind, index: int) -> str:
        """Return what to call an item."""
        return self.module.describe(kind, index).replace("func ", "function ", 1)

    def key(self, kind: ExternKind, index: int) -> str | int:
        """Return what identifies an item, its index where that leads nowhere."""
        keys = self.keys[kind]
        return keys[index] if index < len(keys) else index

    def body(self, funcidx: int) -> memoryview:
        """Return the body of a function; nothing of an import."""
        number = funcidx - self.module.import_counts["func"]
        if not 0 <= number < len(self.bodies):
            return memoryview(b"")
        start, end = self.bodies[number]
        return memoryview(self.module.wasm)[start:end]


def named(module: Module, other: Module) -> Named:
    """Return a module with what its items are called beside those of another one."""
    names = {(imported.kind, index): imported.name for index, imported in numbered(module.imports)}
    for export in module.exports:
        if export.name in other.exports_by_name:
            names[export.kind, export.index] = export.name
    for reader in module.custom_sections("name"):
        names.update(read_names(reader))
    spaces: Mapping[ExternKind, int] = {
        "func": len(module.funcs),
        "table": len(module.tables),
        "memory": len(module.memories),
        "global": len(module.globals),
        "tag": len(module.tags),
    }
    keys = {kind: _keys(names, kind, count) for kind, count in spaces.items()}
    section = module.section(sec.CODE)
    found: list[tuple[int, int]] = []
    with suppress(ParseError):
        for span in bodies(section.reader(module.wasm)) if section else ():
            found.append(span)
    return Named(module, keys, found)


def _keys(names: Mapping[tuple[ExternKind, int], str], kind: ExternKind, count: int) -> Sequence[str | int]:
    own = [names.get((kind, index)) for index in range(count)]
    uses = Counter(own)
    return [index if name is None or uses[name] > 1 else name for index, name in enumerate(own)]


def item_changes(first: Module, second: Module) -> Iterator[Change]:
    """Yield the items that differ between two modules."""
    one, other = named(first, second), named(second, first)
    yield from _counted("type", map(_type, first.types), map(_type, second.types))
    yield from _mapped("import", _imports(first), _imports(second))
    yield from _mapped("export", _exports(one), _exports(other))
    yield from _paired("func", one, other)
    yield from _paired("table", one, other)
    yield from _paired("memory", one, other)
    yield from _paired("tag", one, other)
    yield from _paired("global", one, other)
    if (start := _start(one)) != (other_start := _start(other)):
        yield Change("start", None, "start function", start, other_start)
    yield from _elements(one, other)
    yield from _counted("element segment", _segments(one), _segments(other))
    yield from _data(first, second)
    yield from _custom(first, second)


def _type(subtype: SubType) -> str:
    """Return a type as the text format has it, more or less."""
    comp = subtype.comp
    match comp:
        case StructType(fields):
            text = f"struct {' '.join(map(_field, fields))}"
        case ArrayType(element):
            text = f"array {_field(element)}"
        case _:
            text = str(comp)
    supers = "".join(f" of type {index}" for index in subtype.supertypes)
    return f"{'' if subtype.final else 'open '}{text}{supers}"


def _field(field: FieldType) -> str:
    return f"{'mut ' * field.mutable}{field.storage}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _counted(kind: str, items: Iterator[str], others: Iterator[str]) -> Iterator[Change]:
    """Yield what stands more often in the one or the other module, wherever it stands."""
    held, found = Counter(items), Counter(others)
    for text in held | found:
        if held[text] != found[text]:
            left, right = (_times(text, count) for count in (held[text], found[text]))
            yield Change(kind, None, f"{kind} {_cut(text)}", left, right)


def _times(text: str, count: int) -> str:
    return "" if not count else _cut(text) if count == 1 else f"{count} times"


def _mapped(kind: str, items: Mapping[str, str], others: Mapping[str, str]) -> Iterator[Change]:
    """Yield what is something else under the same name."""
    for name in {**items, **others}:
        left, right = items.get(name, ""), others.get(name, "")
        if left != right:
            yield Change(kind, None, f"{kind} {name}", left, right)


def _imports(module: Module) -> dict[str, str]:
    found: Counter[str] = Counter()
    imports = {}
    for index, imported in numbered(module.imports):
        name = f"`{imported.module}::{imported.name}`"
        found[name] += 1
        times = f" ({found[name]})" if found[name] > 1 else ""
        imports[name + times] = _definition(module, imported.kind, index)
    return imports


def _exports(named_: Named) -> dict[str, str]:
    return {f"`{e.name}`": f"{e.kind} {named_.key(e.kind, e.index)}" for e in named_.module.exports}


def _start(named_: Named) -> str:
    return "" if named_.module.start is None else named_.place("func", named_.module.start)


def _paired(kind: ExternKind, one: Named, other: Named) -> Iterator[Change]:
    """Yield where the items of an index space differ."""
    title = "function" if kind == "func" else kind
    indices = {key: index for index, key in enumerate(other.keys[kind])}
    for index, key in enumerate(one.keys[kind]):
        there = indices.pop(key, None)
        place = one.place(kind, index)
        left = _definition(one.module, kind, index)
        right = "" if there is None else _definition(other.module, kind, there)
        if kind == "func" and there is not None and left == right:
            body, body_there = one.body(index), other.body(there)
            if body != body_there:
                left, right = (f"{len(each)} bytes" for each in (body, body_there))
                right = f"{len(body)} other bytes" if left == right else right
        if left != right:
            yield Change(title, index, place, left, right)
    for index in indices.values():
        yield Change(title, index, other.place(kind, index), "", _definition(other.module, kind, index))


def _definition(module: Module, kind: ExternKind, index: int) -> str:
    """Return what an item is, without what is compared elsewhere."""
    match kind:
        case "func" | "tag":
            typeidx = (module.funcs if kind == "func" else module.tags)[index]
            text = str(module.types[typeidx].comp) if typeidx < len(module.types) else f"type {typeidx}"
        case "table":
            table = module.tables[index]
            init = f", {shown(table.init)}" if table.init is not None else ""
            limits = table.type.limits
            text = f"{_range(limits.minimum, limits.maximum)} elements of {table.type.element}{init}"
        case "memory":
            memory = module.memories[index]
            limits = memory.limits
            flags = ", 64 bits" * limits.is64 + ", shared" * limits.shared
            size = f" of {memory.page_size} bytes" if memory.page_size_log2 != 16 else ""
            most = "" if limits.maximum is None else f", at most {limits.maximum}"
            text = f"pages{size}{most}{flags}"
        case "global":
            global_ = module.globals[index]
            mutable = "mut " * global_.type.mutable
            init = f" = {shown(global_.init)}" if global_.init is not None else ""
            text = f"{mutable}{global_.type.valtype}{init}"
    return _cut(text)


def _range(minimum: int, maximum: int | None) -> str:
    return f"{minimum}" if maximum is None else f"{minimum} to {maximum}"


def _elements(one: Named, other: Named) -> Iterator[Change]:
    """Yield where the elements of tables differ that active segments set."""
    for tableidx in range(min(len(one.module.tables), len(other.module.tables))):
        held, found = _table(one, tableidx), _table(other, tableidx)
        if held == found:
            continue
        for position in sorted({*held, *found}):
            left, right = held.get(position, "null"), found.get(position, "null")
            if left != right:
                place = f"{one.place('table', tableidx)} element {position}"
                yield Change("element", position, place, left, right)


def _table(named_: Named, tableidx: int) -> dict[int, str]:
    elements: dict[int, str] = {}
    for element in named_.module.elements:
        start = element.constant_offset
        if element.mode == "active" and element.tableidx == tableidx and start is not None:
            elements.update(enumerate((_element(named_, item) for item in element.items), start))
    return {position: text for position, text in elements.items() if text != "null"}


def _element(named_: Named, item: int | Expr) -> str:
    if isinstance(item, Expr):
        if item.value is None or item.value[0] != "func" or item.value[1] is None:
            return shown(item)
        item = item.value[1]
    key = named_.key("func", item)
    return f"function {key}" if isinstance(key, int) else f'function "{key}"'


def _segments(named_: Named) -> Iterator[str]:
    """Yield the element segments that are not in a table when the module is instantiated."""
    for element in named_.module.elements:
        if element.mode == "active" and element.constant_offset is not None:
            continue
        where = f" at {shown(element.offset)} of table {element.tableidx}" if element.offset else ""
        if element.items or where:
            yield f"{element.mode}{where}: {', '.join(_element(named_, item) for item in element.items)}"


def _data(first: Module, second: Module) -> Iterator[Change]:
    """Yield the data segments that differ and are not in a memory when the module is instantiated."""
    held, found = list(_unplaced(first)), list(_unplaced(second))
    for number in range(max(len(held), len(found))):
        left = held[number] if number < len(held) else None
        right = found[number] if number < len(found) else None
        if left is None or right is None or left[1:] != right[1:]:
            dataidx = left[0] if left else right[0] if right else 0
            texts = ["" if each is None else f"{each[1]}, {len(each[2])} bytes" for each in (left, right)]
            if texts[0] == texts[1]:
                texts[1] += ", others"
            yield Change("data segment", dataidx, f"data segment {dataidx}", *texts)


def _unplaced(module: Module) -> Iterator[tuple[int, str, memoryview]]:
    for dataidx, segment in enumerate(module.data):
        passive = segment.mode == "passive"
        if segment.end > segment.start and (passive or segment.constant_offset is None):
            where = "" if segment.offset is None else f" at {shown(segment.offset)}"
            yield dataidx, segment.mode + where, memoryview(module.wasm)[segment.start : segment.end]


def _custom(first: Module, second: Module) -> Iterator[Change]:
    held, found = custom_sections(first), custom_sections(second)
    for name in {**held, **found}:
        left, right = held.get(name), found.get(name)
        if left != right:
            texts = ["" if each is None else f"{len(each)} bytes" for each in (left, right)]
            if texts[0] == texts[1]:
                texts[1] = f"{len(left or b'')} other bytes"
            yield Change("custom section", None, f"custom section {name}", *texts)


def custom_sections(module: Module) -> dict[str, memoryview]:
    """Return the contents of the custom sections by name; further ones are told apart by a number."""
    counts: Counter[str] = Counter()
    found = {}
    for section in module.sections:
        if section.id == sec.CUSTOM:
            counts[section.name] += 1
            number = f" ({counts[section.name]})" if counts[section.name] > 1 else ""
            found[f"`{section.name}`{number}"] = memoryview(module.wasm)[section.start : section.end]
    return found
