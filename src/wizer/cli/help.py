"""The text of `wizer --help`, and how wide all help texts are."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Sequence

from wizer.cli.spec import FEATURES, OPTIONS, Option, Takes

_COMMANDS = (
    ("audit IN", "Say what initialisation saw, and what of it is in the output"),
    ("verify ORIGINAL SNAPSHOT", "Check a snapshot against the module it was made from"),
    ("inspect FILE...", "Show what is in modules, components and snapshots"),
    ("diff FIRST SECOND", "Show where two modules, components or snapshots differ"),
    ("build [TARGET]...", "Make the snapshots that wizer.toml names, those that are not up to date"),
    ("demo", "Freeze a JavaScript engine, time both"),
)

_ARGUMENTS = (
    ("[INPUT]", "Module or component, binary or text [default: - (stdin)]"),
    ("-- ARGS", "Arguments of the guest, behind its own name; with --allow-wasi"),
)

_EXIT_STATUSES = (
    ("0", "The output is written; `audit`: nothing is frozen; `verify`: the same; `build`: all made"),
    ("1", "Initialisation failed, or the module is at fault; `verify`, `diff`: different; `build`: not all"),
    ("2", "The command line makes no sense"),
    ("3", "`audit`: something is frozen; `verify`: it cannot be told"),
    ("4", "A file could not be read or written"),
    ("5", "A limit was met: of time, fuel, memory, output"),
    ("128+N", "Ended by signal N"),
)

_EXAMPLES = (
    ("Run the export `wizer-initialize` and freeze what it left behind", "wizer app.wasm -o app.fast.wasm"),
    (
        "A WASI program that reads its configuration once, now",
        "wizer --allow-wasi --dir conf::/etc/app -r _start=wizer.resume app.wasm -o app.fast.wasm",
    ),
    (
        "A module that knows nothing of Wizer: call what it exports",
        "wizer -f _initialize -f 'set_size(640, 480)' lib.wasm -o lib.ready.wasm",
    ),
    ("In a pipe, with bounds", "wizer --timeout 10s --max-memory 256MiB <in.wasm >out.wasm"),
)

_ABOUT = (
    "Don't wait for a WebAssembly module to initialise itself every time it starts. Wizer runs its "
    "initialisation once, now, and writes a module that starts in the state it left behind."
)


def render(version: str) -> str:
    """Return the help text, filling the terminal up to 100 columns."""
    width = _width()
    blocks = [
        f"Wizer {version}, the WebAssembly pre-initialiser",
        textwrap.fill(_ABOUT, width),
        "Usage: wizer [OPTIONS] [INPUT] [-- ARGS]\n       wizer <COMMAND> [OPTIONS]",
        _section("Arguments", _ARGUMENTS, width),
        _section("Commands", _COMMANDS, width),
    ]
    groups = dict.fromkeys(option.group for option in OPTIONS if option.group)
    for group in groups:
        rows = [(_flags(option), option.help) for option in OPTIONS if option.group == group]
        blocks.append(_section(group, rows, width))
    blocks.append(_section("Exit status", _EXIT_STATUSES, width))
    return "\n\n".join([*blocks, _examples(width)]) + "\n"


def fold(text: str) -> str:
    """Return a command's help folded at the terminal's width, up to 100 columns.

    Lines of one indentation are a paragraph. An indented line of two columns, two spaces or more between
    them, is a row: what stands below its second column belongs to that.
    """
    folded: list[tuple[str, int]] = []  # lines, and where each goes on
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line and folded and folded[-1][0] and folded[-1][1] == indent:
            before, column = folded.pop()
            folded.append((f"{before} {line.lstrip()}", column))
        else:
            row = re.match(r" +\S.*? {2,}(?=\S)", line)
            folded.append((line, row.end() if row else indent))
    return "\n".join(
        textwrap.fill(
            line, _width(), subsequent_indent=" " * column, break_on_hyphens=False, break_long_words=False
        )
        for line, column in folded
    )


def _width() -> int:
    """Return how many columns a text fills."""
    return max(40, min(_columns(), 100))


def _columns() -> int:
    """Return the terminal's width, 80 if there is none; ``shutil`` does the same at five times the price."""
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        try:
            return os.get_terminal_size(1).columns or 80
        except OSError:
            return 80


def _flags(option: Option) -> str:
    """Return the first column of an option: its names, and what it takes unless the heading says so."""
    short = f"-{option.short}, " if option.short else "    "
    value = f" {option.metavar}" if option.takes is Takes.VALUE else ""
    if option.takes in (Takes.BOOL, Takes.SPACED_BOOL) and option.group != FEATURES:
        value = f"[={option.metavar or 'BOOL'}]"
    return f"{short}--{option.name}{value}"


_COLUMN = 34


def _section(title: str, rows: Sequence[tuple[str, str]], width: int) -> str:
    """Lay out rows of two columns under a heading; a long first column gets a line of its own."""
    lines = [f"{title}:"]
    for left, right in rows:
        text = textwrap.wrap(right, width - _COLUMN, break_on_hyphens=False)
        head = f"  {left}"
        if len(head) > _COLUMN - 2:
            lines.append(head)
            head = ""
        lines += [
            f"{first:<{_COLUMN}}{part}" for first, part in zip([head] + [""] * len(text), text, strict=False)
        ]
    return "\n".join(lines)


def _examples(width: int) -> str:
    """Return the examples, a comment and a command each; commands are broken where a shell allows it."""
    lines = ["Examples:"]
    for comment, command in _EXAMPLES:
        lines += textwrap.wrap(comment, width, initial_indent="  # ", subsequent_indent="  # ")
        parts = textwrap.wrap(command, width - 8, break_on_hyphens=False, break_long_words=False)
        lines += [" \\\n".join("  " + "    " * bool(i) + part for i, part in enumerate(parts)), ""]
    return "\n".join(lines).rstrip()
