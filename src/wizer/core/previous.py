"""What an earlier snapshot appended for its restore function, so that the next one can take it away again.

A restore function has done its work once the module is instantiated. A snapshot of the snapshot would keep it
for ever, for bodies are kept, and append another one. So the module says in a custom section "wizer" what was
appended; a checksum of the code section tells whether other tools have rewritten the module since, in which
case the section is not believed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wizer.binary import sections as sec
from wizer.binary.assemble import Chunk
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.sections import Section, section_header
from wizer.binary.vectors import encode_name
from wizer.core.state import State
from wizer.errors import ParseError
from wizer.records import field_names, record, replace

NAME: Final = "wizer"


@record
class Appended:
    """What a snapshot has for its restore function only.

    Attributes:
        funcs, tables, globals: how many of the last ones.
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


def marker(appended: Appended, code_contents: Iterable[Chunk]) -> bytes:
    """Return the custom section that says what was appended."""
    numbers = b"".join(encode_unsigned(getattr(appended, name)) for name in field_names(Appended))
    contents = encode_name(NAME) + numbers + _checksum(code_contents)
    return section_header(sec.CUSTOM, len(contents)) + contents


def without_previous(module: Module, state: State) -> tuple[Module, State]:
    """Return a module and state without what an earlier snapshot appended for its restore function."""
    appended = _read(module)
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
        dropped_elements=state.dropped_elements.difference(elements),
        dropped_data=state.dropped_data.difference(data),
    )
    return stripped, rest


def is_marker(module: Module, section: Section) -> bool:
    """Whether a section is one that `marker` made; others may use its name as well."""
    return _parsed(module, section) is not None


def _read(module: Module) -> Appended | None:
    """Return what the module's own custom section says, where it is there and still true."""
    found = next(filter(None, (_parsed(module, section) for section in module.sections)), None)
    bodies = module.section(sec.CODE)
    if found is None or bodies is None:
        return None
    appended, checksum = found
    is_true = checksum == _checksum([module.wasm[bodies.start : bodies.end]]) and _fits(module, appended)
    return appended if is_true else None


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
    """Whether the module has as much as was appended to it, the restore function last."""
    imported = module.import_counts
    return (
        module.start == len(module.funcs) - 1
        and 0 < appended.funcs <= len(module.funcs) - imported["func"]
        and appended.tables <= len(module.tables) - imported["table"]
        and appended.globals <= len(module.globals) - imported["global"]
        and appended.first_element + appended.elements <= len(module.elements)
        and appended.first_data + appended.data <= len(module.data)
    )


def _checksum(chunks: Iterable[Chunk]) -> bytes:
    """Return a CRC-32, always in four bytes: no two snapshots differ in size for it."""
    import zlib

    checksum = 0
    for chunk in chunks:
        checksum = zlib.crc32(chunk, checksum)
    return checksum.to_bytes(4, "little")
