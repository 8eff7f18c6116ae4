"""The ``producers`` section: by which tools a module says that it was made, a snapshot by Wizer among them.

Before::

    language      C11
    processed-by  clang 21.1.4

After::

    language      C11
    processed-by  clang 21.1.4, wizer-python "0.1.0 layout=balanced size=1530391 pages=34 data=1024..109448"

The version is followed by options, and by what only the original can tell: the bytes of its file, the pages
of its first memory, and where that has contents to begin with. A snapshot of a snapshot keeps these. A module
without such a section gets none: whoever stripped it wants none.

https://github.com/WebAssembly/tool-conventions/blob/main/ProducersSection.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from wizer.binary import sections as sec
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.binary.sections import Section
from wizer.binary.vectors import encode_name, encode_vector
from wizer.errors import ParseError

PRODUCERS: Final = "producers"
OURS: Final = "wizer-python"
_FIELD: Final = "processed-by"
_OF_THE_ORIGINAL: Final = ("size", "pages", "data")
# The name, and a version behind its length and in front of the options.
_STAMP: Final = encode_name(OURS) + rb"(?:[\x01-\x7f]|[\x80-\xff][\x01-\x03])([0-9][0-9A-Za-z.+!]{0,30}) "

Fields: TypeAlias = "dict[str, dict[str, str]]"  # versions by tool by field


def read_producers(reader: Reader) -> Fields:
    """Return versions of tools by field.

    Raises:
        ParseError: the section is malformed.
    """
    fields: Fields = {}
    for _ in range(reader.count()):
        held = fields.setdefault(reader.name(), {})
        for _ in range(reader.count()):
            name = reader.name()
            held[name] = reader.name()
    if not reader.at_end:
        raise reader.fail("unexpected bytes at the end of the producers section")
    return fields


def _encoded(fields: Fields) -> bytes:
    return encode_vector(
        [
            encode_name(field)
            + encode_vector([encode_name(tool) + encode_name(version) for tool, version in tools.items()])
            for field, tools in fields.items()
        ]
    )


def _fields(module: Module, section: Section) -> Fields | None:
    """Return what a section says, None where it is not written as it would be again."""
    try:
        fields = read_producers(section.reader(module.wasm))
    except ParseError:
        return None
    return fields if _encoded(fields) == module.wasm[section.start : section.end] else None


def stamped(module: Module, stamp: str | None) -> dict[Section, bytes]:
    """Return the new contents of the producers section of a snapshot of ``module``, where there is one.

    ``stamp``: the version and the options; None: the snapshot says nothing of us.
    """
    for section in module.sections:
        if section.id == sec.CUSTOM and section.name == PRODUCERS:
            if stamp is None:
                return {section: encode_name(PRODUCERS) + unstamped(module, section)}
            fields = _fields(module, section)
            if fields is None:
                return {}
            tools = fields.setdefault(_FIELD, {})
            tools[OURS] = " ".join([stamp, *_original(module, tools.get(OURS, ""))])
            return {section: encode_name(PRODUCERS) + _encoded(fields)}
    return {}


def _original(module: Module, before: str) -> Iterator[str]:
    """Yield what the original is like, which an earlier snapshot of it knows."""
    known = options(before)
    if "size" not in known:
        known = {"size": str(len(module.binary))}
        if module.memories:
            known["pages"] = str(module.memories[0].limits.minimum)
        placed = [(start, end) for memidx, start, end in placed_data(module) if memidx == 0]
        if placed:
            known["data"] = f"{min(placed)[0]}..{max(end for _, end in placed)}"
    return (f"{name}={known[name]}" for name in _OF_THE_ORIGINAL if name in known)


def options(stamp: str) -> Mapping[str, str]:
    """Return what a stamp says besides the version, by name."""
    pairs = (word.partition("=") for word in stamp.split(" ")[1:] if "=" in word)
    return {name: value for name, _, value in pairs}


def unstamped(module: Module, section: Section) -> bytes:
    """Return the contents of a custom section, those of producers without what is said of us."""
    if section.name == PRODUCERS and (fields := _fields(module, section)) is not None:
        tools = fields.get(_FIELD, {})
        if tools.pop(OURS, None) is not None and not tools:
            del fields[_FIELD]
        return _encoded(fields)
    return module.wasm[section.start : section.end]


def stamp_version(wasm: bytes) -> str | None:
    """Return the version that a snapshot, module or component, says it was made by; None: it says nothing."""
    found = re.search(_STAMP, wasm)
    return None if found is None else found[1].decode()


def placed_data(module: Module) -> Iterator[tuple[int, int, int]]:
    """Yield memory, start and end of the active segments that hold something at a known address."""
    for segment in module.data:
        start = segment.constant_offset if segment.mode == "active" else None
        if start is not None and segment.end > segment.start:
            yield segment.memidx, start, start + segment.end - segment.start
