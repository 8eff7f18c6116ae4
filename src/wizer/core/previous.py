"""What a snapshot appended for its restore function, so that the next one can take it away again.

A restore function has done its work once the module is instantiated, and a global that holds an object which
several places share is of no use once they share another. A snapshot of the snapshot would keep both, for
bodies and globals are kept, and append others. So the module says in a custom section "wizer" what was
appended. That is believed only where the module bears it out: it is there, at the ends of the index spaces,
nothing else refers to it, and no other tool has rewritten the module since, for which a checksum stands.
What nothing refers to can go without a trace, so a forged section gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from wizer.binary import sections as sec
from wizer.binary.assemble import Chunk
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.sections import Section, section_header
from wizer.binary.segments import ElementSegment
from wizer.binary.types import FuncType
from wizer.binary.vectors import encode_name
from wizer.core.state import State
from wizer.errors import ParseError
from wizer.records import field_names, record, replace

if TYPE_CHECKING:
    from wizer.binary.uses import Kind, Use

NAME: Final = "wizer"

# What the checksum is of: all but the segments' contents, which tools may change without harm.
_CHECKED: Final = [section_id for section_id in sec.ORDER if section_id != sec.DATA]


@record
class Appended:
    """What a snapshot has for its restore function and for objects that are shared.

    Attributes:
        funcs, tables, globals: how many of the last ones; the restore function is the last of all.
        first_element, elements: which element segments: the first one, and how many.
        first_data, data: which data segments.
        data_count: 1 where the module had no DataCount section before.
    """

    funcs: int
    tables: int
    globals: int
    first_element: int
    elements: int
    first_data: int
    data: int
    data_count: int


def marker(appended: Appended, checked: Iterable[Chunk]) -> bytes:
    """Return the custom section that says what was appended.

    ``checked``: what `checked_contents` yields.
    """
    numbers = b"".join(encode_unsigned(getattr(appended, name)) for name in field_names(Appended))
    contents = encode_name(NAME) + numbers + _checksum(checked)
    return section_header(sec.CUSTOM, len(contents)) + contents


def checked_contents(
    module: Module, contents: Mapping[int, Sequence[Chunk] | None] | None = None
) -> Iterator[Chunk]:
    """Yield what the checksum is of: the sections of a module, with other contents in some of them."""
    changed = contents or {}
    for section_id in _CHECKED:
        section = module.section(section_id)
        if section_id in changed:
            chunks = changed[section_id] or ()
        else:
            chunks = [memoryview(module.wasm)[section.start : section.end]] if section else ()
        if chunks:
            yield bytes((section_id,))
            yield from chunks


def without_previous(module: Module, state: State) -> tuple[Module, State]:
    """Return a module and state without what an earlier snapshot appended for its restore function."""
    appended = previous(module)
    if appended is None:
        return module, state
    tables = len(module.tables) - appended.tables
    globals_ = len(module.globals) - appended.globals
    elements = range(appended.first_element, appended.first_element + appended.elements)
    data = range(appended.first_data, appended.first_data + appended.data)
    stripped = replace(
        module,
        funcs=module.funcs[: len(module.funcs) - appended.funcs],
        tables=module.tables[:tables],
        globals=module.globals[:globals_],
        elements=module.elements[: elements.start] + module.elements[elements.stop :],
        data=module.data[: data.start] + module.data[data.stop :],
        data_count=None if appended.data_count else module.data_count,
    )
    rest = replace(
        state,
        tables={index: table for index, table in state.tables.items() if index < tables},
        globals={index: value for index, value in state.globals.items() if index < globals_},
        elements={
            _moved(index, elements): refs for index, refs in state.elements.items() if index not in elements
        },
        dropped_elements=frozenset(_moved(i, elements) for i in state.dropped_elements.difference(elements)),
        dropped_data=frozenset(_moved(i, data) for i in state.dropped_data.difference(data)),
    )
    return stripped, rest


def _moved(index: int, gone: range) -> int:
    """Return the index of a segment where those of a range are gone."""
    return index - len(gone) if index >= gone.stop else index


def is_marker(module: Module, section: Section) -> bool:
    """Whether a section is one that `marker` made; others may use its name as well."""
    return _parsed(module, section) is not None


def previous(module: Module) -> Appended | None:
    """Return what an earlier snapshot appended, as the module's own custom section says and bears out."""
    found = [parsed for section in module.sections if (parsed := _parsed(module, section)) is not None]
    if not found:
        return None
    checksum = _checksum(checked_contents(module))
    true = (appended for appended, expected in found if expected == checksum)
    return next((appended for appended in true if _fits(module, appended)), None)


def _parsed(module: Module, section: Section) -> tuple[Appended, bytes] | None:
    if section.id != sec.CUSTOM or section.name != NAME:
        return None
    reader = section.reader(module.wasm)
    try:
        found = Appended(*(reader.u32() for _ in field_names(Appended))), reader.raw(4)
    except ParseError:
        return None
    return found if reader.at_end else None


def _fits(module: Module, appended: Appended) -> bool:
    """Whether the module has what was appended to it, the restore function last, and only uses it there."""
    return _is_there(module, appended) and not _is_used(module, appended)


def _is_there(module: Module, appended: Appended) -> bool:
    imported = module.import_counts
    elements_end = appended.first_element + appended.elements
    data_end = appended.first_data + appended.data
    return (
        (not appended.funcs or _is_restore(module, module.start))
        and appended.funcs <= len(module.funcs) - imported["func"]
        and appended.tables <= len(module.tables) - imported["table"]
        and appended.globals <= len(module.globals) - imported["global"]
        and elements_end <= len(module.elements)
        and data_end <= len(module.data)
        and appended.data_count in (0, 1)
    )


def _is_restore(module: Module, start: int | None) -> bool:
    return start == len(module.funcs) - 1 and module.functype(start) == FuncType((), ())


def _is_used(module: Module, appended: Appended) -> bool:
    """Whether anything else refers to what was appended."""
    from wizer.binary.uses import uses_from

    first: dict[Kind, int] = {}
    if appended.funcs:
        first["func"] = len(module.funcs) - appended.funcs
    if appended.tables:
        first["table"] = len(module.tables) - appended.tables
    if appended.globals:
        first["global"] = len(module.globals) - appended.globals
    if appended.elements:
        first["element"] = appended.first_element
    if appended.data or appended.data_count:
        first["data"] = 0 if appended.data_count else appended.first_data
    outside = (index >= first.get(kind, index + 1) for kind, index in _outer_uses(module, appended))
    funcs = len(module.funcs) - appended.funcs
    return any(outside) or next(uses_from(module, first, funcs), None) is not None


def _outer_uses(module: Module, appended: Appended) -> Iterator[Use]:
    """Yield what exports, initialisers and segments that stay refer to."""
    from wizer.binary.uses import expr_uses

    for export in module.exports:
        if export.kind in ("func", "table", "global"):
            yield export.kind, export.index
    for table in module.tables[: len(module.tables) - appended.tables]:
        yield from expr_uses(table.init) if table.init is not None else ()
    for global_ in module.globals[: len(module.globals) - appended.globals]:
        yield from expr_uses(global_.init) if global_.init is not None else ()
    gone = range(appended.first_element, appended.first_element + appended.elements)
    for elemidx, element in enumerate(module.elements):
        if elemidx not in gone:
            yield from _element_uses(element)
    for segment in module.data:
        yield from expr_uses(segment.offset) if segment.offset is not None else ()


def _element_uses(element: ElementSegment) -> Iterator[Use]:
    """Yield what a segment refers to; elements that are objects are captured and written anew."""
    from wizer.binary.uses import expr_uses

    if element.mode == "active":
        yield "table", element.tableidx
    yield from expr_uses(element.offset) if element.offset is not None else ()
    for item in element.items:
        if isinstance(item, int):
            yield "func", item
        else:
            uses = expr_uses(item)
            yield from (use for use in uses if use[0] != "global" or element.mode == "declarative")


def _checksum(chunks: Iterable[Chunk]) -> bytes:
    """Return a CRC-32, always in four bytes: no two snapshots differ in size for it."""
    import zlib

    checksum = 0
    for chunk in chunks:
        checksum = zlib.crc32(chunk, checksum)
    return checksum.to_bytes(4, "little")
