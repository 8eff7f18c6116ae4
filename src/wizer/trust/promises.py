"""What every snapshot promises of itself, whatever its state is, and where one breaks its word.

It has the imports, types, functions and custom sections of its original; bodies are the same bytes; index
spaces have grown at their ends only; the exports are those that were asked for; no start function of the
original runs again. How large memories and tables are is part of the state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wizer.binary import sections as sec
from wizer.binary.externs import Export, Import, MemoryType, TableType
from wizer.binary.module import Module
from wizer.core.previous import is_marker, without_previous
from wizer.core.producers import unstamped
from wizer.core.rewrite import dropped_custom_sections
from wizer.core.state import State
from wizer.records import replace
from wizer.trust.differences import Difference


def broken_promises(original: Module, exports: Sequence[Export], snapshot: Module) -> Iterator[Difference]:
    """Yield what a snapshot has otherwise than it should.

    Args:
        original: the original module.
        exports: the exports that it should have.
        snapshot: the snapshot.
    """
    stripped, _ = without_previous(original, State())
    yield from _exports(exports, snapshot.exports)
    yield from _imports(stripped, snapshot)
    yield from _definitions(stripped, snapshot)
    yield from _bodies(stripped, snapshot)
    yield from _custom_sections(original, snapshot)
    restored = any(is_marker(snapshot, section) for section in snapshot.sections)
    if snapshot.start is not None and not (restored and snapshot.start >= len(stripped.funcs)):
        yield Difference("start", snapshot.start, "start function", "none", f"function {snapshot.start}")


def _exports(exports: Sequence[Export], found: Sequence[Export]) -> Iterator[Difference]:
    if tuple(exports) == tuple(found):
        return
    expected_by_name = {export.name: export for export in exports}
    found_by_name = {export.name: export for export in found}
    for name in {**expected_by_name, **found_by_name}:
        left, right = (
            "nothing" if export is None else f"{export.kind} {export.index}"
            for export in (expected_by_name.get(name), found_by_name.get(name))
        )
        if left != right:
            yield Difference("export", 0, f"export `{name}`", left, right)
            return
    yield Difference("export", 0, "exports", "in one order", "in another")


def _imports(original: Module, snapshot: Module) -> Iterator[Difference]:
    imports, found = list(map(_sizeless, original.imports)), list(map(_sizeless, snapshot.imports))
    for number, expected in enumerate(imports):
        other = found[number] if number < len(found) else None
        if expected != other:
            place = f"import {number} (`{expected.module}::{expected.name}`)"
            yield Difference("import", number, place, _text(expected), _text(other))
    for number, extra in enumerate(found[len(imports) :], len(imports)):
        yield Difference("import", number, f"import {number}", "none", _text(extra))


def _sizeless(imported: Import) -> Import:
    match imported.type:
        case MemoryType():
            return replace(imported, type=_memory(imported.type))
        case TableType():
            return replace(imported, type=_table(imported.type))
    return imported


def _memory(memory: MemoryType) -> MemoryType:
    return replace(memory, limits=replace(memory.limits, minimum=0))


def _table(table: TableType) -> TableType:
    return replace(table, limits=replace(table.limits, minimum=0))


def _text(imported: Import | None) -> str:
    return "none" if imported is None else f"{imported.module}::{imported.name}: {imported.type}"


def _definitions(original: Module, snapshot: Module) -> Iterator[Difference]:
    """Compare the index spaces, which may have grown at their ends."""
    spaces: tuple[tuple[str, Sequence[object], Sequence[object]], ...] = (
        ("type", original.types, snapshot.types),
        ("function", original.funcs, snapshot.funcs),
        (
            "table",
            [_table(table.type) for table in original.tables],
            [_table(table.type) for table in snapshot.tables],
        ),
        (
            "table initialiser",
            [table.init for table in original.tables],
            [table.init for table in snapshot.tables],
        ),
        ("memory", list(map(_memory, original.memories)), list(map(_memory, snapshot.memories))),
        ("tag", original.tags, snapshot.tags),
        (
            "global",
            [global_.type for global_ in original.globals],
            [global_.type for global_ in snapshot.globals],
        ),
    )
    for kind, expected, found in spaces:
        for index, item in enumerate(expected):
            other = found[index] if index < len(found) else None
            if item != other:
                yield Difference("type", index, f"type of {kind} {index}", str(item), str(other))


def _bodies(original: Module, snapshot: Module) -> Iterator[Difference]:
    first = original.import_counts["func"]
    count = len(original.funcs) - first
    pairs = zip(_code(original, count), _code(snapshot, count), strict=False)
    for number, (body, other) in enumerate(pairs):
        if body != other:
            place = f"body of {original.describe('func', first + number)}"
            yield Difference("body", first + number, place, f"{len(body)} bytes", f"{len(other)} other bytes")


def _code(module: Module, count: int) -> Iterator[bytes]:
    section = module.section(sec.CODE)
    if section is None:
        return
    reader = section.reader(module.wasm)
    for _ in range(min(reader.count(), count)):
        yield reader.raw(reader.u32())


def _custom_sections(original: Module, snapshot: Module) -> Iterator[Difference]:
    dropped = {*dropped_custom_sections(original)}
    kept, found = (
        [
            (section.name, unstamped(module, section))
            for section in module.sections
            if section.id == sec.CUSTOM and section.name not in dropped and not is_marker(module, section)
        ]
        for module in (original, snapshot)
    )
    for number, (name, contents) in enumerate(kept):
        other = found[number] if number < len(found) else ("nothing", b"")
        if other != (name, contents):
            place = f"custom section {number} (`{name}`)"
            left, right = f"{len(contents)} bytes", f"`{other[0]}` of {len(other[1])} bytes"
            yield Difference("custom section", number, place, left, right)
