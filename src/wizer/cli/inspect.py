"""``wizer inspect FILE…``: what is in modules, components and snapshots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wizer.cli.files import STDIO, read
from wizer.cli.pages import check_report, write_report
from wizer.cli.parse import UsageError, parse
from wizer.cli.report import show
from wizer.cli.spec import BY_NAME
from wizer.cli.tables import grouped, many, named, print_table, readable, share

if TYPE_CHECKING:
    from wizer.contents.records import Inspection, Memory, ModuleInfo

USAGE = """\
Show what is in modules, components and snapshots: where their bytes are, and what memory holds

Usage: wizer inspect [OPTIONS] <FILE>...

FILE is a module or component, in the binary or the text format, made by anybody; - is standard input. Nothing
is run. A broken file is reported as far as it can be read.

Options:
      --json                      Print all that was found as a JSON document
      --report FILE               Write it to a page (.html), or to a file of JSON (.json)
  -h, --help                      Print this help

For each memory, the text says what is where: static data, bss, stack and heap, as far as names, exports and
the initial stack pointer tell; how many bytes are not zero, how many stand in data segments, what gzip makes
of these, and their entropy in bits for each byte. Regions that nothing separates are one: "bss, stack".

The JSON document is a list, for each file an object as `wizer.inspect(...).to_dict()` returns it: the fields
of `wizer.Inspection` and of the records in it, which the reference describes.

Exit status: 0 all was read; 1 something is broken and named; 4 a file could not be read.
"""
_BROKEN = 1
_SHOWN = 12  # rows of a table of many


def main(argv: Sequence[str]) -> int:
    """Run ``wizer inspect`` and return the exit status.

    Raises:
        UsageError: the command line makes no sense.
        InputError: a file cannot be read.
    """
    arguments = parse(argv, [BY_NAME[name] for name in ("json", "report", "help")], several=True)
    if arguments.has("help"):
        from wizer.cli.help import fold

        show(fold(USAGE))
        return 0
    if not arguments.inputs:
        raise UsageError("the following required arguments were not provided:\n  <FILE>...")
    check_report(arguments.last("report"))
    from wizer.contents.inspection import inspect

    found = [
        inspect(read(name, "failed to open input file"), name="standard input" if name == STDIO else name)
        for name in arguments.inputs
    ]
    if (report := arguments.last("report")) is not None:
        write_report(report, "inspect", ", ".join(held.name for held in found), found)
    if arguments.has("json"):
        print(json.dumps([inspection.to_dict() for inspection in found], indent=2))
    else:
        for number, inspection in enumerate(found):
            if number:
                show("")
            _print(inspection)
    return _BROKEN if any(_is_broken(inspection) for inspection in found) else 0


def _is_broken(inspection: Inspection) -> bool:
    return bool(inspection.problems) or any(map(_is_broken, inspection.parts))


def _print(inspection: Inspection) -> None:
    """Print a file: first what it is and where its bytes are, then the details."""
    show(_title(inspection))
    for line in _answers(inspection):
        show(line)
    for problem in inspection.problems:
        show(f"broken at {problem.start:#x}: {problem.message}")
    show("")
    rows = [
        (
            named(f"{section.title} {section.name}".strip()),
            "" if section.items is None else grouped(section.items),
            grouped(section.size),
            share(section.size, inspection.size),
            grouped(section.compressed),
        )
        for section in inspection.sections
    ]
    total = ("all", "", grouped(inspection.size), share(inspection.size, inspection.size), "")
    rows = [*rows, (*total[:4], grouped(inspection.compressed))]
    print_table(("section", "items", "bytes", "", "gzip"), rows, "lrrrr")
    if inspection.module is not None:
        _print_module(inspection.module)
    for part in inspection.parts:
        show("")
        _print(part)


def _title(inspection: Inspection) -> str:
    """Say in a line what a file is."""
    name = named(Path(inspection.name).name) if not inspection.start else named(inspection.name)
    what = "no WebAssembly" if inspection.kind == "unknown" else f"a {inspection.kind}"
    sizes = f"{grouped(inspection.size)} bytes, {grouped(inspection.compressed)} with gzip"
    made = inspection.module.provenance if inspection.module else None
    if made is None or not made.snapshot:
        return f"{name}: {what}, {sizes}"
    options = [
        f"{key} {value}" for key, value in made.options.items() if key not in ("size", "pages", "data")
    ]
    by = " ".join(["wizer", *[made.version] * bool(made.version)])
    return f"{name}: a snapshot made by {by}{''.join(f', {option}' for option in options)}: {sizes}"


def _answers(inspection: Inspection) -> Iterator[str]:
    """Say why a file is as large as it is: what memory costs, by region."""
    module = inspection.module
    if module is None:
        return
    size = module.provenance.options.get("size", "")
    if module.provenance.snapshot and size.isdecimal():
        more = inspection.size - int(size)
        word = "larger" if more >= 0 else "smaller"
        yield f"{readable(abs(more))} {word} than the {readable(int(size))} that it was made from"
    for memory in module.memories:
        costs = [(region.stored, region.name) for region in memory.regions if region.stored]
        if costs:
            parts = ", ".join(f"{name} {readable(cost)}" for cost, name in sorted(costs, reverse=True))
            yield f"memory {memory.index} takes {readable(memory.stored + memory.overhead)} of it: {parts}"


def _print_module(module: ModuleInfo) -> None:
    for memory in module.memories:
        _print_memory(memory)
    _print_rest(module)


def _print_memory(memory: Memory) -> None:
    show("")
    show(f"{_item('memory', memory.index, memory.name)}: {', '.join(_facts(memory))}")
    if memory.stored:
        digits = len(f"{max(region.end for region in memory.regions):x}")
        rows = [
            (
                region.name,
                f"{region.start:#0{digits + 2}x}..{region.end:#0{digits + 2}x}",
                *map(grouped, (region.end - region.start, region.nonzero, region.stored, region.compressed)),
                f"{region.entropy:.2f}" if region.stored else "",
            )
            for region in memory.regions
        ]
        headings = ("region", "from..to", "bytes", "not zero", "in segments", "gzip", "entropy")
        print_table(headings, rows, "llrrrrr")
        show("")
        show("largest blocks without 64 zeros in a row")
        blocks = [
            (f"{block.start:#x}", grouped(block.end - block.start), named(block.place))
            for block in memory.blocks
        ]
        print_table(("from", "bytes", "where"), blocks, "lrl")
    if memory.strings.count:
        count, size = grouped(memory.strings.count), grouped(memory.strings.size)
        show(f"text: {count} strings, {size} bytes; the longest")
        for address, text in memory.strings.longest:
            show(f"  {address:#x}  {text}")


def _facts(memory: Memory) -> Iterator[str]:
    """Yield what there is to say of a memory in a line."""
    if memory.imported:
        yield "imported"
    yield f"{many(memory.pages, 'page')} = {many(memory.size, 'byte')}"
    yield f"{grouped(memory.nonzero)} not zero"
    if memory.segments:
        yield f"{many(memory.segments, 'data segment')} of {many(memory.stored, 'byte')}"
        yield f"{many(memory.overhead, 'byte')} to say where they go"
    if memory.mapped is not None:
        yield (
            "wasmtime maps it"
            if memory.mapped
            else f"wasmtime copies it into each instance: {memory.obstacle}"
        )


def _item(kind: str, index: int, name: str) -> str:
    return f'{kind} {index} ("{named(name)}")' if name else f"{kind} {index}"


def _print_rest(module: ModuleInfo) -> None:
    """Print what is not memory: passive segments, tables, globals, objects, functions."""
    passive = [segment for segment in module.segments if segment.mode == "passive"]
    held = [segment for segment in passive if segment.size]
    show("")
    if held:
        sizes = grouped(sum(segment.size for segment in held))
        show(f"passive data segments: {grouped(len(held))} of {sizes} bytes, which code copies")
    if len(passive) > len(held):
        overhead = grouped(sum(segment.overhead for segment in passive if not segment.size))
        show(f"empty data segments: {grouped(len(passive) - len(held))} of {overhead} bytes")
    for table in module.tables:
        facts = (
            f"{grouped(table.size)} elements of type {table.type}, {grouped(table.filled)} set by segments"
        )
        cost = f"{grouped(table.functions)} functions, {grouped(table.stored)} bytes"
        show(f"{_item('table', table.index, table.name)}: {facts}: {cost}")
    if module.globals:
        mutable = sum(global_.mutable for global_ in module.globals)
        show(f"globals: {grouped(len(module.globals))}, {grouped(mutable)} mutable")
        rows = [
            (
                str(g.index),
                named(g.name),
                ("mut " if g.mutable else "") + g.type,
                named(g.value or "imported"),
            )
            for g in module.globals[:_SHOWN]
        ]
        print_table(("", "name", "type", "value"), rows, "rlll")
        _left_out(len(module.globals))
    if module.objects:
        show("objects made when it is instantiated")
        objects = [
            (str(o.typeidx), named(o.name), o.form, ("" if o.exact else "at least ") + grouped(o.count))
            for o in module.objects[:_SHOWN]
        ]
        print_table(("type", "name", "form", "count"), objects, "rllr")
        _left_out(len(module.objects))
    if module.provenance.restore:
        show(f"code that restores objects: {grouped(module.provenance.restore)} bytes")
    if module.largest:
        show(f"functions: {grouped(module.functions)}; the largest")
        functions = [(str(f.index), grouped(f.size), named(f.name)) for f in module.largest]
        print_table(("", "bytes", "name"), functions, "rrl")
    for field, tools in module.provenance.producers.items():
        tools_shown = ", ".join(named(f"{tool} {version}".strip()) for tool, version in tools.items())
        show(f"{named(field)}: {tools_shown}")


def _left_out(count: int) -> None:
    if count > _SHOWN:
        show(f"  … {grouped(count - _SHOWN)} more (--json lists them)")
