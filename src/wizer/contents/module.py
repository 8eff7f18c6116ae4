"""Inspect a core module: what takes its bytes, and what they say of the instance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wizer.binary import sections as sec
from wizer.binary.module import Module
from wizer.binary.reader import Reader
from wizer.binary.salvage import salvage
from wizer.contents import items
from wizer.contents.memories import memories
from wizer.contents.objects import objects
from wizer.contents.provenance import provenance
from wizer.contents.records import Inspection, ModuleInfo, Problem, SectionInfo
from wizer.contents.statistics import compressed_size
from wizer.errors import ParseError


def inspect_module(wasm: bytes, name: str, base: int) -> Inspection:
    """Return what is in a core module that stands at ``base`` in its file."""
    module, errors = salvage(wasm)
    sections = tuple(_sections(module, base))
    return Inspection(
        name,
        "module",
        base,
        len(wasm),
        sum(section.compressed for section in sections),
        sections,
        _module(module),
        problems=tuple(problems(errors, base)),
    )


def problems(errors: Iterable[ParseError], base: int = 0) -> Iterator[Problem]:
    """Yield errors as problems, whose places count from the beginning of the file."""
    for error in errors:
        message = error.message.removesuffix(f" (at offset {error.offset:#x})")
        yield Problem(message, base + error.offset)


def _sections(module: Module, base: int) -> Iterator[SectionInfo]:
    """Yield what takes the bytes of a module, without gaps."""
    wasm = module.wasm
    here = min(sec.HEADER, len(wasm))
    yield section_info(wasm, "header", 0, here, base)
    for section in module.sections:
        title, count = sec.TITLES[section.id], _count(module, section)
        yield section_info(wasm, title, here, section.end, base, section.name, count)
        here = section.end
    if here < len(wasm):
        yield section_info(wasm, "unreadable", here, len(wasm), base)


def section_info(
    wasm: bytes, title: str, start: int, end: int, base: int, name: str = "", items: int | None = None
) -> SectionInfo:
    """Return what is known of a section of a module or component that stands at ``base`` in its file."""
    packed = compressed_size(memoryview(wasm)[start:end])
    return SectionInfo(title, name, base + start, end - start, items, packed)


def _count(module: Module, section: sec.Section) -> int | None:
    """Return how many items a section says that it has."""
    if section.id in (sec.CUSTOM, sec.START, sec.DATA_COUNT):
        return None
    try:
        return Reader(module.wasm, section.start, section.end).u32()
    except ParseError:
        return None


def _module(module: Module) -> ModuleInfo:
    made_by = provenance(module)
    return ModuleInfo(
        imports=items.counts(imported.kind for imported in module.imports),
        exports=items.counts(export.kind for export in module.exports),
        functions=len(items.body_sizes(module)),
        largest=items.largest(module),
        memories=memories(module, made_by),
        tables=items.tables(module),
        globals=items.globals_(module),
        segments=items.segments(module),
        objects=objects(module),
        start=module.start,
        provenance=made_by,
    )
