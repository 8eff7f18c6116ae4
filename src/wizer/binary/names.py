"""The name section: what people call the items that the format knows by index.

https://webassembly.github.io/spec/core/appendix/custom.html#name-section
"""

from __future__ import annotations

from collections.abc import Mapping

from wizer.binary.externs import ExternKind
from wizer.binary.reader import Reader
from wizer.errors import ParseError

SUBSECTIONS: Mapping[int, ExternKind] = {1: "func", 5: "table", 6: "memory", 7: "global", 11: "tag"}


def read_names(reader: Reader) -> dict[tuple[ExternKind, int], str]:
    """Read the names of functions, tables, memories, globals and tags.

    A custom section cannot make a module invalid, so a malformed one yields what stood before the fault.
    """
    names: dict[tuple[ExternKind, int], str] = {}
    try:
        while not reader.at_end:
            subsection, size = reader.byte(), reader.u32()
            contents = Reader(reader.wasm, reader.pos, min(reader.pos + size, reader.end))
            if (kind := SUBSECTIONS.get(subsection)) is not None:
                for _ in range(contents.count()):
                    index = contents.u32()
                    names[kind, index] = contents.name()
            reader.skip(size)
    except ParseError:
        pass
    return names
