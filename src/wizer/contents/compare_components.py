"""Diff of components: their sections, and the core modules and components in them, one by one.

Those inside belong together that stand in the same place among those of their kind. A snapshot of a component
may have more of them, one for each instance; these are there in addition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from wizer.binary.sections import is_component
from wizer.contents.changes import Change, Diff
from wizer.contents.compare_modules import diff_modules, section_changes
from wizer.contents.component import Piece, pieces
from wizer.contents.module import problems


def diff_components(first: bytes, second: bytes, names: tuple[str, str]) -> Diff:
    """Return where two components differ, or a component and a module."""
    if first == second:
        return Diff(*names, len(first), len(second), True)
    if not (is_component(first) and is_component(second)):
        kinds = ["component" if is_component(wasm) else "module" for wasm in (first, second)]
        changes = (Change("component", None, "file", *(f"a {kind}" for kind in kinds)),)
        return Diff(*names, len(first), len(second), False, changes=changes)
    (held, faults), (found, other_faults) = pieces(first), pieces(second)
    pairs = list(_pairs([p for p in held if p.nested], [p for p in found if p.nested]))
    parts = [
        _part(first[one.contents : one.end], second[other.contents : other.end], (one.name, other.name))
        for one, other in pairs
        if one is not None and other is not None
    ]
    return Diff(
        *names,
        len(first),
        len(second),
        False,
        tuple(section_changes(_named(first, held), _named(second, found))),
        tuple(_unpaired(pairs)),
        parts=tuple(part for part in parts if part),
        problems=(tuple(problems(faults)), tuple(problems(other_faults))),
    )


def _part(first: bytes, second: bytes, names: tuple[str, str]) -> Diff:
    if is_component(first) or is_component(second):
        return diff_components(first, second, names)
    return diff_modules(first, second, names)


def _pairs(held: Sequence[Piece], found: Sequence[Piece]) -> Iterator[tuple[Piece | None, Piece | None]]:
    for title in ("core module", "component"):
        yield from zip_longest(*([p for p in each if p.title == title] for each in (held, found)))


def _unpaired(pairs: Sequence[tuple[Piece | None, Piece | None]]) -> Iterator[Change]:
    for one, other in pairs:
        piece = one or other
        if piece is not None and (one is None or other is None):
            size = f"{piece.end - piece.contents} bytes"
            yield Change(piece.title, None, piece.name, size if one else "", size if other else "")


def _named(wasm: bytes, found: Sequence[Piece]) -> dict[tuple[str, str], memoryview]:
    """Return all sections but those of parts, by what they are."""
    counts: Counter[tuple[str, str]] = Counter()
    named = {}
    for piece in found:
        if not piece.nested:
            counts[piece.title, piece.name] += 1
            number = counts[piece.title, piece.name]
            name = f"{piece.name} ({number})".strip() if number > 1 else piece.name
            named[piece.title, name] = memoryview(wasm)[piece.start : piece.end]
    return named
