"""Inspect a component: its sections, and each core module and component inside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from wizer.binary.reader import Reader
from wizer.binary.sections import COMPONENT_VERSION, read_section_header
from wizer.component import items as it
from wizer.component.names import read_component_names
from wizer.component.parse import MAX_DEPTH, parse_component
from wizer.contents.module import inspect_module, problems, section_info
from wizer.contents.records import Inspection, Problem, SectionInfo
from wizer.errors import ParseError

_HEADER: Final = 8
_VECTORS: Final = frozenset(
    (it.CORE_INSTANCE, it.CORE_TYPE, it.INSTANCE, it.ALIAS, it.TYPE, it.CANON, it.IMPORT, it.EXPORT)
)


def inspect_component(wasm: bytes, name: str, base: int = 0, depth: int = 0) -> Inspection:
    """Return what is in a component that stands at ``base`` in its file."""
    labels = _labels(wasm)
    reader = Reader(wasm, _HEADER)
    sections = [section_info(wasm, "header", 0, _HEADER, base)]
    parts: list[Inspection] = []
    faults: list[Problem] = []
    while not reader.at_end:
        start = reader.pos
        try:
            section_id, end = read_section_header(reader, it.TITLES)
        except ParseError as error:
            faults += problems([error], base)
            sections.append(section_info(wasm, "unreadable", start, len(wasm), base))
            break
        contents = Reader(wasm, reader.pos, end)
        reader.pos = end
        title = it.TITLES[section_id]
        if section_id in (it.CORE_MODULE, it.COMPONENT) and depth < MAX_DEPTH:
            label = labels.get(contents.pos, f"{title} {sum(section.title == title for section in sections)}")
            part = _part(wasm[contents.pos : end], label, base + contents.pos, depth)
            parts.append(part)
            size = end - start
            sections.append(SectionInfo(title, "", base + start, size, None, part.compressed))
            continue
        section_name, count = "", None
        try:
            if section_id == it.CUSTOM:
                section_name = contents.name()
            elif section_id in _VECTORS:
                count = contents.u32()
        except ParseError as error:
            faults += problems([error], base)
        sections.append(section_info(wasm, title, start, end, base, section_name, count))
    packed = sum(section.compressed for section in sections)
    return Inspection(
        name,
        "component",
        base,
        len(wasm),
        packed,
        tuple(sections),
        parts=tuple(parts),
        problems=tuple(faults),
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
