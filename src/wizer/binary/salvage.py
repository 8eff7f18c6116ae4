"""Reading as much as there is of a module that may be broken: what is malformed is noted and passed over.

A module that `parse_module` takes is read as it reads it. Of another one, a section that cannot be read to
its end yields what stands before the fault, and what follows the last section that is one is left out.
Indices are not checked: they may lead nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from wizer.binary import sections as sec
from wizer.binary.module import READERS, Module, module_of_contents
from wizer.binary.reader import Reader
from wizer.binary.sections import Section, read_section_header
from wizer.errors import ParseError

T = TypeVar("T")


def salvage(wasm: bytes) -> tuple[Module, list[ParseError]]:
    """Return what can be read of a module, and what cannot: each with the byte offset of the fault.

    The last section of the module ends where the rest begins, which may be before the end of ``wasm``.
    """
    problems: list[ParseError] = []
    sections: list[Section] = []
    found: dict[int, Any] = {}
    for section in _sections(wasm, problems):
        sections.append(section)
        if section.id in found:
            problems.append(ParseError(f"there are two {sec.TITLES[section.id]} sections", section.start))
        elif section.id != sec.CUSTOM:
            reader = _Salvage(wasm, section.start, section.end)
            try:
                found[section.id] = READERS[section.id](reader)
            except ParseError as error:
                reader.problem = error
            if reader.problem is None and section.id != sec.CODE and not reader.at_end:
                title = sec.TITLES[section.id]
                reader.problem = reader.fail(f"unexpected bytes at the end of the {title} section")
            if reader.problem is not None:
                problems.append(reader.problem)
    return module_of_contents(wasm, sections, found), problems


def _sections(wasm: bytes, problems: list[ParseError]) -> Iterator[Section]:
    """Yield the sections, the last of them cut where the input ends."""
    reader = Reader(wasm, min(8, len(wasm)))
    while not reader.at_end:
        start = reader.pos
        try:
            section_id, end = read_section_header(reader, sec.TITLES)
        except ParseError as error:
            problems.append(error)
            if error.offset != start or wasm[start] not in sec.TITLES:
                return
            section_id, end = wasm[start], reader.end  # it announces more than there is
        section = Section(section_id, reader.pos, end)
        if section_id == sec.CUSTOM:
            contents = section.reader(wasm)
            try:
                name = contents.name()
                section = Section(section_id, contents.pos, end, name)
            except ParseError as error:
                problems.append(error)
        yield section
        reader.pos = end


class _Salvage(Reader):
    """A reader that keeps the items of a vector which stand before a fault."""

    def __init__(self, wasm: bytes, pos: int, end: int) -> None:
        super().__init__(wasm, pos, end)
        self.problem: ParseError | None = None
        self._inside = False

    def vector(self, item: Callable[[Reader], T]) -> tuple[T, ...]:
        """Read the items of a section, or a vector within one of these, which is read whole or not at all."""
        if self._inside:
            return super().vector(item)
        self._inside = True
        items: list[T] = []
        try:
            for _ in range(self.u32()):
                items.append(item(self))
        except ParseError as error:
            self.problem = error
        return tuple(items)
