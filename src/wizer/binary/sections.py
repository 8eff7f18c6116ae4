"""Sections: cutting a module into them, and putting them together again.

https://webassembly.github.io/spec/core/binary/modules.html#sections
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from wizer.binary.leb128 import encode_unsigned
from wizer.binary.reader import Reader
from wizer.binary.vectors import encode_bytes, encode_vector
from wizer.errors import ParseError
from wizer.records import record

MAGIC: Final = b"\0asm"
MODULE_VERSION: Final = b"\x01\0\0\0"
COMPONENT_VERSION: Final = b"\x0d\0\x01\0"
HEADER: Final = 8
"""Bytes of the magic number and the version."""

CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA, DATA_COUNT, TAG = (
    range(14)
)

# The order in which sections stand, which is not the order of their ids.
ORDER: Final = {
    section: place
    for place, section in enumerate(
        (TYPE, IMPORT, FUNCTION, TABLE, MEMORY, TAG, GLOBAL, EXPORT, START, ELEMENT, DATA_COUNT, CODE, DATA)
    )
}
TITLES: Final = {
    CUSTOM: "custom",
    TYPE: "type",
    IMPORT: "import",
    FUNCTION: "function",
    TABLE: "table",
    MEMORY: "memory",
    GLOBAL: "global",
    EXPORT: "export",
    START: "start",
    ELEMENT: "element",
    CODE: "code",
    DATA: "data",
    DATA_COUNT: "data count",
    TAG: "tag",
}


@record
class Section:
    """A section of the input.

    Attributes:
        id: its id.
        start, end: where its contents stand in the input.
        name: the name of a custom section, whose contents begin after it.
    """

    id: int
    start: int
    end: int
    name: str = ""

    def reader(self, wasm: bytes) -> Reader:
        """Return a reader over the contents."""
        return Reader(wasm, self.start, self.end)


def is_component(wasm: bytes) -> bool:
    """Whether ``wasm`` has the header of a component."""
    return wasm[:4] == MAGIC and wasm[4:8] == COMPONENT_VERSION


def split_sections(wasm: bytes, origin: int = 0, end: int | None = None) -> Iterator[Section]:
    """Yield the sections of the module in ``wasm[origin:end]``; check header, sizes, order and uniqueness."""
    end = len(wasm) if end is None else end
    _check_header(wasm[origin : min(origin + HEADER, end)], origin)
    reader, place = Reader(wasm, origin + HEADER, end), -1
    while not reader.at_end:
        start = reader.pos
        section_id, section_end = read_section_header(reader, TITLES)
        section = Section(section_id, reader.pos, section_end)
        if section_id == CUSTOM:
            contents = section.reader(wasm)
            name = contents.name()
            section = Section(CUSTOM, contents.pos, section.end, name)
        elif ORDER[section_id] <= place:
            raise ParseError(f"the {TITLES[section_id]} section is out of order, or there are two", start)
        else:
            place = ORDER[section_id]
        yield section
        reader.pos = section.end


def read_section_header(reader: Reader, titles: Mapping[int, str]) -> tuple[int, int]:
    """Read what stands before the contents of a section; return its id, and where the contents end."""
    start = reader.pos
    section_id, size = reader.byte(), reader.u32()
    if section_id not in titles:
        raise ParseError(f"malformed section id {section_id}", start)
    left = reader.end - reader.pos
    if size > left:
        title = titles[section_id]
        raise ParseError(f"the {title} section is truncated: {size} bytes announced, {left} left", start)
    return section_id, reader.pos + size


def _check_header(header: bytes, origin: int) -> None:
    magic, version = header[:4], header[4:]
    if magic != MAGIC:
        raise ParseError("this is not WebAssembly: the magic number is missing", origin)
    if version == COMPONENT_VERSION:
        raise ParseError("this is a component where a core module is expected", origin + 4)
    if version != MODULE_VERSION:
        raise ParseError(f"unknown binary version {version.hex(' ') or '(missing)'}", origin + 4)


def section_header(section_id: int, size: int) -> bytes:
    """Encode what stands before the contents of a section of ``size`` bytes."""
    return bytes((section_id,)) + encode_unsigned(size)


def encode_vector_section(section_id: int, items: Sequence[bytes]) -> bytes:
    """Encode a section that is a vector; nothing where the vector is empty."""
    return bytes((section_id,)) + encode_bytes(encode_vector(items)) if items else b""
