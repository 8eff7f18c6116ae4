"""``wizer diff FIRST SECOND``: where two modules, components or snapshots differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wizer.cli.files import read
from wizer.cli.pages import check_report, write_report
from wizer.cli.parse import UsageError, parse
from wizer.cli.report import show
from wizer.cli.spec import BY_NAME
from wizer.cli.tables import grouped, many, named, print_table

if TYPE_CHECKING:
    from wizer.contents.changes import Diff, MemoryChange, RangeChange

USAGE = """\
Show where two modules, components or snapshots differ, or a snapshot and what it was made from

Usage: wizer diff [OPTIONS] <FIRST> <SECOND>

Both are modules or components, in the binary or the text format, made by anybody; - is standard input.
Nothing is run. Memories are compared as instantiation leaves them, in whatever data segments their contents
stand; functions and what refers to them by name, where they have names.

Options:
      --json                      Print all that differs as a JSON document
      --exit-code                 Exit with 1 where anything differs, as `git diff` does
      --report FILE               Write it to a page (.html), or to a file of JSON (.json)
  -h, --help                      Print this help

Files that are the same, byte for byte, are met with silence. The JSON document is an object as
`wizer.diff(...).to_dict()` returns it: the fields of `wizer.Diff` and of the records in it.

Exit status: 0 both were read; 1 they differ, and --exit-code was given, or something in one of them is
broken; 4 a file could not be read.
"""
_DIFFERENT = _BROKEN = 1
_SHOWN = 40  # rows of a table of many


def main(argv: Sequence[str]) -> int:
    """Run ``wizer diff`` and return the exit status.

    Raises:
        UsageError: the command line makes no sense.
        InputError: a file cannot be read.
    """
    arguments = parse(argv, [BY_NAME[name] for name in ("json", "exit-code", "report", "help")], several=True)
    if arguments.has("help"):
        from wizer.cli.help import fold

        show(fold(USAGE))
        return 0
    if len(arguments.inputs) != 2:
        raise UsageError("the following required arguments were not provided:\n  <FIRST> <SECOND>")
    check_report(arguments.last("report"))
    from wizer.contents.comparison import diff

    first, second = arguments.inputs
    held, other = (read(name, "failed to open input file") for name in (first, second))
    found = diff(held, other, names=(first, second))
    if (report := arguments.last("report")) is not None:
        from wizer.contents.inspection import inspect

        files = [inspect(held, name=first), inspect(other, name=second)]
        write_report(report, "diff", f"{first} and {second}", files, diff=found.to_dict())
    if arguments.has("json"):
        print(json.dumps(found.to_dict(), indent=2))
    elif found:
        _print(found)
    if found and arguments.has("exit-code"):
        return _DIFFERENT
    return _BROKEN if _is_broken(found) else 0


def _is_broken(found: Diff) -> bool:
    return any(found.problems) or any(map(_is_broken, found.parts))


def _print(found: Diff) -> None:
    """Print what differs in a file or in a part of a component."""
    names = found.first if found.first == found.second else f"{named(found.first)} and {named(found.second)}"
    more = found.second_size - found.first_size
    show(f"{names}: {grouped(found.first_size)} and {grouped(found.second_size)} bytes ({more:+,})")
    for which, problems in zip((found.first, found.second), found.problems, strict=True):
        for problem in problems:
            show(f"{named(which)} is broken at {problem.start:#x}: {problem.message}")
    if not (found.changes or found.memories or found.parts):
        show("all items and memories are the same; what differs is how they are written")
    if found.sections:
        show("")
        rows = [
            (
                named(f"{section.title} {section.name}".strip()),
                *("" if size is None else grouped(size) for size in (section.first, section.second)),
                f"{(section.second or 0) - (section.first or 0):+,}",
            )
            for section in found.sections
        ]
        print_table(("section", "first", "second", ""), rows, "lrrr")
    if found.changes:
        show("")
        changes = [
            (change.how, named(change.place), named(change.first), named(change.second))
            for change in found.changes[:_SHOWN]
        ]
        print_table(("", "item", "first", "second"), changes)
        _left_out(len(found.changes))
    for memory in found.memories:
        _print_memory(memory)
    for part in found.parts:
        show("")
        _print(part)


def _print_memory(memory: MemoryChange) -> None:
    show("")
    name = f' ("{named(memory.name)}")' if memory.name else ""
    pages = many(memory.first_pages, "page")
    if memory.first_pages != memory.second_pages:
        pages = f"{grouped(memory.first_pages)} and {many(memory.second_pages, 'page')}"
    ranges = many(len(memory.ranges), "range")
    count = "1 byte differs" if memory.differing == 1 else f"{grouped(memory.differing)} bytes differ"
    show(f"memory {memory.index}{name}: {pages}, {count} in {ranges}")
    rows = [
        (
            region.name,
            grouped(region.differing),
            *(grouped(size) for size in (region.first_nonzero, region.second_nonzero)),
            *(grouped(size) for size in (region.first_stored, region.second_stored)),
        )
        for region in memory.regions
        if region.differing or region.first_stored != region.second_stored
    ]
    if rows:
        headings = ("region", "differ", "not zero: first", "second", "in segments: first", "second")
        print_table(headings, rows, "lrrrrr")
        show("")
    if memory.ranges:
        print_table(("from..to", "where", "first", "second"), list(map(_range, memory.ranges[:_SHOWN])))
        _left_out(len(memory.ranges))


def _range(found: RangeChange) -> tuple[str, str, str, str]:
    end = f"..{found.end:#x}" if found.end - found.start > 1 else ""
    where = f"{found.start:#x}{end}", named(found.place)
    return *where, _bytes(found.first, found.first_text), _bytes(found.second, found.second_text)


def _bytes(held: str, text: str) -> str:
    """Return bytes with the text that they are."""
    return f"{held}  {text!r}" if text else held


def _left_out(count: int) -> None:
    if count > _SHOWN:
        show(f"  … {grouped(count - _SHOWN)} more (--json lists them)")
