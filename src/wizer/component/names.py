"""The ``component-name`` custom section: what people call the items of a component.

https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md#name-section
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from wizer.binary.leb128 import encode_unsigned
from wizer.binary.names import name_map
from wizer.binary.reader import Reader
from wizer.binary.vectors import encode_bytes, encode_name, encode_vector
from wizer.component.items import CORE_SORTS, CUSTOM, SORT_CODES, SORTS, Component, Section, Sort
from wizer.errors import ParseError

NAME_SECTION: Final = "component-name"


def read_component_names(component: Component) -> Mapping[tuple[Sort, int], str]:
    """Read the names of items; a malformed section yields what stands before the fault."""
    names: dict[tuple[Sort, int], str] = {}
    for section in component.sections:
        if section.id == CUSTOM and section.name == NAME_SECTION:
            try:
                for _, sort, entries in _subsections(component.wasm, section):
                    if sort is not None:
                        names.update({(sort, index): name for index, name in entries})
            except ParseError:
                pass
    return names


def _subsections(wasm: bytes, section: Section) -> Iterator[tuple[bytes, Sort | None, list[tuple[int, str]]]]:
    """Yield each subsection: its bytes, and its sort and names where it is a map of names."""
    reader = Reader(wasm, section.start, section.end)
    while not reader.at_end:
        start = reader.pos
        kind, size = reader.byte(), reader.u32()
        contents = Reader(wasm, reader.pos, min(reader.pos + size, reader.end))
        reader.skip(size)
        raw = wasm[start : reader.pos]
        sort = _sort(contents) if kind == 1 else None
        entries = list(name_map(contents)) if sort else []
        yield raw, sort, entries


def _sort(reader: Reader) -> Sort | None:
    code = reader.byte()
    return CORE_SORTS.get(reader.byte()) if code == 0 else SORTS.get(code)


def renumber_names(
    wasm: bytes, section: Section, moved: Callable[[Sort, int], int | None], sorts: frozenset[Sort]
) -> bytes | None:
    """Return the contents of the section, its name included, with new indices.

    Args:
        wasm: the input.
        section: the section.
        moved: gives the new index of an item, None where it is gone.
        sorts: the index spaces in which something moved; all other subsections stay as they are.

    Returns:
        None where the section is malformed: nobody can say what its indices mean then.
    """
    out = [encode_name(NAME_SECTION)]
    try:
        for raw, sort, entries in _subsections(wasm, section):
            if sort is None or sort not in sorts:
                out.append(raw)
                continue
            kept = [(index, name) for old, name in entries if (index := moved(sort, old)) is not None]
            if kept:
                out.append(_encode(sort, sorted(kept)))
    except ParseError:
        return None
    return b"".join(out)


def _encode(sort: Sort, entries: list[tuple[int, str]]) -> bytes:
    names = [encode_unsigned(index) + encode_name(name) for index, name in entries]
    return b"\x01" + encode_bytes(SORT_CODES[sort] + encode_vector(names))
