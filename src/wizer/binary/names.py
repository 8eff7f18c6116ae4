"""The name section: what people call the items that the format knows by index.

https://webassembly.github.io/spec/core/appendix/custom.html#name-section
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from wizer.binary.externs import ExternKind
from wizer.binary.reader import Reader
from wizer.errors import ParseError

SUBSECTIONS: Mapping[int, ExternKind] = {1: "func", 5: "table", 6: "memory", 7: "global", 11: "tag"}
_FIELDS = 10


def read_names(reader: Reader) -> dict[tuple[ExternKind, int], str]:
    """Read the names of functions, tables, memories, globals and tags.

    A custom section cannot make a module invalid, so a malformed one yields what stood before the fault.
    """
    names: dict[tuple[ExternKind, int], str] = {}
    with suppress(ParseError):
        for subsection, contents in subsections(reader):
            if (kind := SUBSECTIONS.get(subsection)) is not None:
                for index, name in name_map(contents):
                    names[kind, index] = name
    return names


def read_field_names(reader: Reader) -> dict[tuple[int, int], str]:
    """Read the names of the fields of structures, by the indices of type and field; see `read_names`."""
    names: dict[tuple[int, int], str] = {}
    with suppress(ParseError):
        for subsection, contents in subsections(reader):
            if subsection == _FIELDS:
                for _ in range(contents.count()):
                    typeidx = contents.u32()
                    for fieldidx, name in name_map(contents):
                        names[typeidx, fieldidx] = name
    return names


def subsections(reader: Reader) -> Iterator[tuple[int, Reader]]:
    """Yield the id and the contents of each subsection."""
    while not reader.at_end:
        subsection, size = reader.byte(), reader.u32()
        yield subsection, Reader(reader.wasm, reader.pos, min(reader.pos + size, reader.end))
        reader.skip(size)


def name_map(reader: Reader) -> Iterator[tuple[int, str]]:
    """Yield the indices of a name map, each with its name."""
    for _ in range(reader.count()):
        yield reader.u32(), reader.name()
