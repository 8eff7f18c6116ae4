"""Putting a module together again: old sections, new contents in place of some, new sections between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from wizer.binary import sections as sec
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module
from wizer.binary.sections import MAGIC, MODULE_VERSION, Section, encode_vector_section, section_header

Chunk: TypeAlias = "bytes | memoryview"


def assemble(
    module: Module,
    contents: Mapping[int, Sequence[Chunk] | None],
    keep_custom: Callable[[Section], bool] = lambda _: True,
    custom: Mapping[Section, Chunk] = MappingProxyType({}),
) -> list[Chunk]:
    """Return the chunks of ``module`` with other contents in some sections.

    ``contents`` maps the ids of sections to their new contents, or to None to leave a section out. A section
    that the module lacks is put where the order of sections has it; custom sections stay between the same
    neighbours; ``custom`` maps some of them to their new contents, names included.
    """
    wasm = memoryview(module.wasm)
    chunks: list[Chunk] = [MAGIC + MODULE_VERSION]
    present = {section.id for section in module.sections}
    missing = sorted(
        (section_id for section_id in contents if section_id not in present), key=sec.ORDER.__getitem__
    )
    after = {section_id: _neighbour(module, section_id) for section_id in missing}
    for number, section in enumerate(module.sections):
        while missing and after[missing[0]] < number:
            section_id = missing.pop(0)
            chunks.extend(encode_section(section_id, contents[section_id]))
        if section.id in contents:
            chunks.extend(encode_section(section.id, contents[section.id]))
        elif section in custom:
            chunks.extend(encode_section(sec.CUSTOM, [custom[section]]))
        elif section.id != sec.CUSTOM or keep_custom(section):
            chunks.append(_whole(wasm, module, number))
    for section_id in missing:
        chunks.extend(encode_section(section_id, contents[section_id]))
    return chunks


def from_items(items: Mapping[int, Sequence[bytes]]) -> bytes:
    """Return a module made of sections that are vectors: the items of each by its id, in order."""
    return MAGIC + MODULE_VERSION + b"".join(encode_vector_section(*each) for each in items.items())


def _neighbour(module: Module, section_id: int) -> int:
    """Return the number of the section that a missing one follows, or -1 for the module's header.

    That is the last section of lower order, so that trailing custom sections (names, producers) stay at the
    end; where there is none, leading custom sections (dylink.0) still stay in front.
    """
    known = [number for number, section in enumerate(module.sections) if section.id != sec.CUSTOM]
    lower = [number for number in known if sec.ORDER[module.sections[number].id] < sec.ORDER[section_id]]
    if lower:
        return lower[-1]
    return known[0] - 1 if known else len(module.sections) - 1


def _whole(wasm: memoryview, module: Module, number: int) -> memoryview:
    """Return a section as it stands in the input, its header included."""
    start = module.sections[number - 1].end if number else module.origin + sec.HEADER
    return wasm[start : module.sections[number].end]


def encode_section(section_id: int, contents: Sequence[Chunk] | None) -> list[Chunk]:
    """Encode a section, of a module or component, with these contents; nothing where there are none."""
    if contents is None:
        return []
    return [section_header(section_id, sum(map(len, contents))), *contents]


def vector(items: Sequence[Chunk]) -> list[Chunk] | None:
    """Return the contents of a section that is a vector, or None where it is empty."""
    return [encode_unsigned(len(items)), *items] if items else None


def with_bodies(module: Module, bodies: Sequence[bytes]) -> list[Chunk]:
    """Return the contents of the code section with the bodies of ``module.funcs`` and more at its end."""
    section = module.section(sec.CODE)
    count = len(module.funcs) - module.import_counts["func"]
    if section is None:
        return [encode_unsigned(len(bodies)), *bodies]
    reader = section.reader(module.wasm)
    present = reader.u32()
    start, end = reader.pos, section.end
    if present != count:  # the module has been stripped of its last functions
        for _ in range(count):
            reader.skip(reader.u32())
        end = reader.pos
    return [encode_unsigned(count + len(bodies)), memoryview(module.wasm)[start:end], *bodies]


def extended(module: Module, section_id: int, items: Sequence[bytes]) -> list[Chunk]:
    """Return the contents of a section that is a vector, with more items at its end."""
    section = module.section(section_id)
    if section is None:
        return [encode_unsigned(len(items)), *items]
    reader = section.reader(module.wasm)
    count = reader.u32()
    old = memoryview(module.wasm)[reader.pos : section.end]
    return [encode_unsigned(count + len(items)), old, *items]


def without_bodies(module: Module) -> bytes:
    """Return a module whose functions do nothing but trap, without its custom sections."""
    count = len(module.funcs) - module.import_counts["func"]
    bodies = [encode_unsigned(count), b"\x03\x00\x00\x0b" * count]
    contents = {sec.CODE: bodies} if count else {}
    return b"".join(assemble(module, contents, keep_custom=lambda _: False))
