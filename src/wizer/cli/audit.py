"""``wizer audit IN``: what initialisation saw, and what of it is in the output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from wizer.cli.files import read
from wizer.cli.findings import TITLES, remembered, summary
from wizer.cli.options import make_flags, make_options, make_wasi, run_options
from wizer.cli.pages import check_report, write_report
from wizer.cli.parse import Arguments, UsageError, parse
from wizer.cli.report import show
from wizer.cli.signals import watched
from wizer.cli.tables import print_table

if TYPE_CHECKING:
    from wizer.trust.findings import Audit, Finding

USAGE = """\
Say what initialisation saw of chance, time, environment and files, and what of it is in the output

Usage: wizer audit [OPTIONS] [INPUT]

Options, beside those of a run (`wizer --help` lists them) that say how it runs:
      --allow SOURCE[,..]         Sources that may be frozen: random, clock, env, args, files,
                                  stdin, terminal, other
      --json                      Print all that was found as a JSON document
      --report FILE               Write it to a page (.html), or with what is in INPUT as JSON (.json)

INPUT is initialised many times, each time with a source changed; nothing is written. Every run sees the same
standard input, and only the first one prints, to standard error. Random numbers come from a generator, so one
that a program seeds with the clock counts as clock. What only stands in the unused part of the stack is
listed as dead, and counts only where it is contents that were read.

The JSON document is an object of
  frozen      the sources that the output depends on, without those allowed
  findings    a list of objects: source; kind (memory, global, table, heap or segment) and its index; place,
              for people; range, a list of the first address and the one after the last, or null; name, that
              of the symbol there, or null; value, what the first run left there, memory in hexadecimal;
              origin, the file or variable whose contents these are, or null; dead, whether the program
              cannot read it any more
  asked       the sources that initialisation asked for, frozen or not
  read        the files that were read, and "standard input", of which nothing is in the output
  calls       a list of objects: module, name and count of an imported function that was called
  unobserved  a list of objects: module and name of imported functions whose calls are not counted
  files       the paths that were opened, in order
  left_open   an object: by file descriptor, the paths that were not closed
  variables   the environment variables whose values are in the output
  failures    an object: by source, how initialisation fails where that source changes
  remembered  an object: "environment", "preopens" and "arguments", where initialisation asked for them and
              nothing in the module is known to forget them; the function of libc that would, exported, which
              for arguments is empty

Exit status: 0 nothing is frozen but what --allow names; 3 something is.
"""
FROZEN = 3
_SHOWN = 12  # places listed per source


def main(argv: Sequence[str]) -> int:
    """Run ``wizer audit`` and return the exit status.

    Raises:
        UsageError: the command line makes no sense.
        WizerError: the module is invalid, or initialisation failed.
    """
    arguments = parse(argv)
    if arguments.has("help"):
        from wizer.cli.help import fold

        show(fold(USAGE))
        return 0
    allowed = _allowed(arguments)
    options = run_options(arguments, "audit")
    check_report(options.report)
    flags = make_flags(options)
    wasi = make_wasi(options, flags)
    from wizer.trust.audit import audit_with

    with watched(flags.limits, wasi):
        wasm = read(options.input, "failed to open input file")
        audit = audit_with(make_options(options, flags, wasi), wasm)
        if options.report is not None:
            from wizer.contents.inspection import inspect

            held = inspect(wasm, name=options.input)
            title = f"What {options.input} freezes"
            write_report(options.report, "audit", title, [held], audit=audit.to_dict(allowed))
    frozen = audit.frozen(allowed)
    if arguments.has("json"):
        print(json.dumps(audit.to_dict(allowed), indent=2))
    else:
        _print(audit, frozen)
    return FROZEN if frozen else 0


def _allowed(arguments: Arguments) -> list[str]:
    from wizer.trust.worlds import SOURCES

    names = [name for text in arguments.values("allow") for name in text.split(",")]
    for name in names:
        if name not in SOURCES:
            raise UsageError(f"invalid value '{name}' for '--allow': known are {', '.join(SOURCES)}")
    return names


def _print(audit: Audit, frozen: Sequence[str]) -> None:
    rows = list(_rows(audit))
    if rows and sys.stdout is not None and sys.stdout.isatty():
        print_table(("source", "place", "name", "value"), rows)
    else:
        for row in rows:
            show("  ".join(cell for cell in row if cell))
    for text in _facts(audit):
        show(text)
    if not frozen:
        show("nothing is frozen" + (" but what is allowed" if audit.findings else ""))


def _rows(audit: Audit) -> Iterator[tuple[str, str, str, str]]:
    """Yield source, place, name and value of what is frozen; of many places, the first."""
    for source, group in groupby(audit.findings, key=lambda finding: finding.source):
        found = list(group)
        for finding in found[:_SHOWN]:
            yield source, finding.difference.place, _name(finding), finding.difference.first
        if len(found) > _SHOWN:
            yield source, f"… {summary(found[_SHOWN:])} more (--json lists them)", "", ""


def _name(finding: Finding) -> str:
    """Say what a place is called, what stands there, and whether the program can read it."""
    parts = (finding.name, finding.origin and f"from {finding.origin}", "dead" if finding.dead else "")
    return ", ".join(part for part in parts if part)


def _facts(audit: Audit) -> Iterator[str]:
    """Yield what initialisation did beside."""
    for source, error in audit.failures.items():
        yield f"with other {TITLES[source]}, initialisation fails: {error.splitlines()[0]}"
    if audit.asked:
        yield f"sources asked for: {', '.join(TITLES[source] for source in audit.asked)}"
    if audit.read:
        yield f"read, and not found in the output: {', '.join(audit.read)}"
    if audit.calls:
        counts = ", ".join(f"{name} {count}" for (_, name), count in audit.calls.items())
        yield f"imports called: {counts}"
    if audit.unobserved:
        names = ", ".join(f"{module} {name}" for module, name in audit.unobserved)
        yield f"imports whose calls are not counted: {names}"
    if audit.variables:
        yield f"environment variables frozen: {', '.join(audit.variables)}"
    if audit.files:
        yield f"files opened: {', '.join(dict.fromkeys(audit.files))}"
    yield from remembered(audit)
    if audit.left_open:
        opened = ", ".join(f"{path} (as {fd})" for fd, path in audit.left_open.items())
        yield f"files left open, whose numbers will mean nothing: {opened}"
