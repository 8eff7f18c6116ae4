"""Diff of core modules: their sections, their items, and their memories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from wizer.binary import sections as sec
from wizer.binary.module import Module
from wizer.binary.salvage import salvage
from wizer.contents.changes import Diff, MemoryChange, SectionChange
from wizer.contents.compare_items import item_changes
from wizer.contents.compare_memory import density, differing, range_changes, region_changes
from wizer.contents.image import image_of
from wizer.contents.memories import Parts, place_of
from wizer.contents.module import problems
from wizer.contents.provenance import provenance
from wizer.contents.regions import regions
from wizer.contents.symbols import Symbols
from wizer.errors import ParseError

Name: TypeAlias = "tuple[str, str]"  # of a section: title, and the name of a custom one


def diff_modules(first: bytes, second: bytes, names: tuple[str, str]) -> Diff:
    """Return where two core modules differ."""
    if first == second:
        return Diff(*names, len(first), len(second), True)
    (one, faults), (other, other_faults) = _read(first), _read(second)
    return Diff(
        *names,
        len(first),
        len(second),
        False,
        tuple(section_changes(_by_name(one), _by_name(other))),
        tuple(item_changes(one, other)),
        tuple(_memories(one, other)),
        problems=(tuple(problems(faults)), tuple(problems(other_faults))),
    )


def _read(wasm: bytes) -> tuple[Module, list[ParseError]]:
    if wasm[:4] != sec.MAGIC:
        return Module(wasm), [ParseError("this is not WebAssembly: the magic number is missing", 0)]
    return salvage(wasm)


def section_changes(
    held: Mapping[Name, memoryview], found: Mapping[Name, memoryview]
) -> Iterator[SectionChange]:
    """Yield the sections whose bytes differ, out of all by title and name."""
    for title, name in {**held, **found}:
        left, right = held.get((title, name)), found.get((title, name))
        if left != right:
            sizes = [None if each is None else len(each) for each in (left, right)]
            yield SectionChange(title, name, *sizes)


def _by_name(module: Module) -> dict[Name, memoryview]:
    """Return the sections with their headers."""
    counts: Counter[tuple[int, str]] = Counter()
    found = {}
    here = min(8, len(module.wasm))
    for section in module.sections:
        counts[section.id, section.name] += 1
        number = counts[section.id, section.name]
        name = f"{section.name} ({number})" if number > 1 else section.name
        found[sec.TITLES[section.id], name] = memoryview(module.wasm)[here : section.end]
        here = section.end
    if here < len(module.wasm):
        found["unreadable", ""] = memoryview(module.wasm)[here:]
    return found


def _memories(first: Module, second: Module) -> Iterator[MemoryChange]:
    for memidx in range(min(len(first.memories), len(second.memories))):
        one, other = image_of(first, memidx), image_of(second, memidx)
        pages, other_pages = (module.memories[memidx].limits.minimum for module in (first, second))
        found = differing(one, other)
        if not found.size() and pages == other_pages:
            continue
        parts = _parts(first, second, memidx)
        place = place_of(parts, Symbols(first), memidx)
        bucket, counts = density(found, max(one.size, other.size))
        yield MemoryChange(
            memidx,
            first.names.get(("memory", memidx), "") or second.names.get(("memory", memidx), ""),
            pages,
            other_pages,
            found.size(),
            tuple(region_changes(found, one, other, parts)),
            found.gap,
            tuple(range_changes(found, one, other, place)),
            bucket,
            counts,
        )


def _parts(first: Module, second: Module, memidx: int) -> Parts:
    """Return the regions of the larger memory, as the module has them that knows more of them."""
    both = [regions(module, memidx, provenance(module)) for module in (first, second)]
    known = both[0] if len(both[0]) >= len(both[1]) else both[1]
    last = max(parts[-1][1] for parts in both if parts) if any(both) else 0
    if not known:
        return []
    start, end, name = known[-1]
    return [*known[:-1], (start, max(end, last), name)]
