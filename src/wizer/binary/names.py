"""The name section: what people call the items that the format knows by index.

https://webassembly.github.io/spec/core/appendix/custom.html#name-section
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    try:
        for subsection, contents in _subsections(reader):
            if (kind := SUBSECTIONS.get(subsection)) is not None:
                for _ in range(contents.count()):
                    index = contents.u32()
                    names[kind, index] = contents.name()
    except ParseError:
        pass
    return names


def read_field_names(reader: Reader) -> dict[tuple[int, int], str]:
    """Read the names of the fields of structures, by the indices of type and field; see `read_names`."""
    names: dict[tuple[int, int], str] = {}
    try:
        for subsection, contents in _subsections(reader):
            if subsection == _FIELDS:
                for _ in range(contents.count()):
                    typeidx = contents.u32()
                    for _ in range(contents.count()):
                        fieldidx = contents.u32()
                        names[typeidx, fieldidx] = contents.name()
    except ParseError:
        pass
    return names


def _subsections(reader: Reader) -> Iterator[tuple[int, Reader]]:
    while not reader.at_end:
        subsection, size = reader.byte(), reader.u32()
        yield subsection, Reader(reader.wasm, reader.pos, min(reader.pos + size, reader.end))
        reader.skip(size)
