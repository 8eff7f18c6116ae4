"""Inspect a component: its sections, and each core module and component inside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from wizer.binary.reader import Reader
from wizer.binary.sections import COMPONENT_VERSION, HEADER, read_section_header
from wizer.component import items as it
from wizer.component.names import read_component_names
from wizer.component.parse import MAX_DEPTH, parse_component
from wizer.contents.module import inspect_module, problems, section_info
from wizer.contents.records import Inspection, SectionInfo
from wizer.errors import ParseError
from wizer.records import record

_VECTORS: Final = frozenset(
    (it.CORE_INSTANCE, it.CORE_TYPE, it.INSTANCE, it.ALIAS, it.TYPE, it.CANON, it.IMPORT, it.EXPORT)
)


@record
class Piece:
    """A section of a component.

    Attributes:
        title: what kind of section it is.
        name: the name of a custom section; of a module or component inside, what to call it.
        count: how many items it has; None where that has no meaning.
        start, contents, end: where it begins, its header included, where its contents do, and where it ends.
        nested: whether it is a module or component.
    """

    title: str
    name: str
    count: int | None
    start: int
    contents: int
    end: int
    nested: bool


def pieces(wasm: bytes) -> tuple[list[Piece], list[ParseError]]:
    """Return what takes the bytes of a component, without gaps, and what cannot be read."""
    labels = _labels(wasm)
    reader = Reader(wasm, HEADER)
    found = [Piece("header", "", None, 0, 0, HEADER, False)]
    faults: list[ParseError] = []
    counts: Counter[str] = Counter()
    while not reader.at_end:
        start = reader.pos
        try:
            section_id, end = read_section_header(reader, it.TITLES)
        except ParseError as error:
            faults.append(error)
            found.append(Piece("unreadable", "", None, start, start, len(wasm), False))
            break
        contents = Reader(wasm, reader.pos, end)
        title, name, count = it.TITLES[section_id], "", None
        nested = section_id in (it.CORE_MODULE, it.COMPONENT)
        try:
            if nested:
                name = labels.get(reader.pos, f"{title} {counts[title]}")
            elif section_id == it.CUSTOM:
                name = contents.name()
            elif section_id in _VECTORS:
                count = contents.u32()
        except ParseError as error:
            faults.append(error)
        counts[title] += 1
        found.append(Piece(title, name, count, start, reader.pos, end, nested))
        reader.pos = end
    return found, faults


def inspect_component(wasm: bytes, name: str, base: int = 0, depth: int = 0) -> Inspection:
    """Return what is in a component that stands at ``base`` in its file."""
    found, faults = pieces(wasm)
    sections: list[SectionInfo] = []
    parts: list[Inspection] = []
    for piece in found:
        if piece.nested and depth < MAX_DEPTH:
            part = _part(wasm[piece.contents : piece.end], piece.name, base + piece.contents, depth)
            parts.append(part)
            size, packed = piece.end - piece.start, part.compressed
            sections.append(SectionInfo(piece.title, "", base + piece.start, size, None, packed))
        else:
            info = section_info(wasm, piece.title, piece.start, piece.end, base, piece.name, piece.count)
            sections.append(info)
    packed = sum(section.compressed for section in sections)
    return Inspection(
        name,
        "component",
        base,
        len(wasm),
        packed,
        tuple(sections),
        parts=tuple(parts),
        problems=tuple(problems(faults, base)),
    )


def _part(wasm: bytes, label: str, base: int, depth: int) -> Inspection:
    if wasm[4:8] == COMPONENT_VERSION:
        return inspect_component(wasm, label, base, depth + 1)
    return inspect_module(wasm, label, base)


def _labels(wasm: bytes) -> Mapping[int, str]:
    """Return what to call the modules and components inside a component, by where they stand."""
    try:
        component = parse_component(wasm)
    except ParseError:
        return {}
    names = read_component_names(component)
    counts: Counter[it.Sort] = Counter()
    labels: dict[int, str] = {}
    for item in component.items:
        if item.sort in ("core module", "component"):
            name = names.get((item.sort, counts[item.sort]))
            labels[item.start] = f"{item.sort} {counts[item.sort]}" + (f' ("{name}")' if name else "")
            counts[item.sort] += 1
    return labels
