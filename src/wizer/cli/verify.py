"""``wizer verify ORIGINAL SNAPSHOT``: check a snapshot against the module that it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from wizer.cli.files import read
from wizer.cli.options import make_flags, make_options, make_wasi, run_options
from wizer.cli.parse import UsageError, parse
from wizer.cli.report import say, show
from wizer.cli.signals import watched
from wizer.cli.spec import OPTIONS, Takes
from wizer.records import replace

if TYPE_CHECKING:
    from wizer.trust.differences import Difference

USAGE = """\
Check a snapshot against the module that it was made from

Usage: wizer verify [OPTIONS] <ORIGINAL> <SNAPSHOT>

ORIGINAL is initialised with the options that SNAPSHOT was made with (`wizer --help` lists them), SNAPSHOT is
instantiated as it is, and has to be, byte for byte, what its own state makes of ORIGINAL; then their states
are compared: memories, globals, tables, objects, segments; then SNAPSHOT with a snapshot of itself.

Options, beside those of a run:
      --json                      Print all differences as a JSON document

The JSON document is an object of
  verdict      "same", "different" or "undecided"
  differences  a list of objects: kind (memory, global, table, heap, segment, export, body, …) and its index;
               place, for people; range, a list of the first address and the one after the last, or null;
               original and snapshot, what the one and the other have there

Exit status: 0 the same; 1 different: the first differences are named; 3 not to be decided, for what differs
can come from chance, time or the outside (--deterministic makes chance and time the same).
"""
DIFFERENT, UNDECIDED = 1, 3


def main(argv: Sequence[str]) -> int:
    """Run ``wizer verify`` and return the exit status.

    Raises:
        UsageError: the command line makes no sense.
        WizerError: the snapshot is not one of the original; the first difference is named.
    """
    positions = list(_positionals(argv))
    arguments = parse([word for at, word in enumerate(argv) if at not in positions[1:2]])
    if arguments.has("help"):
        from wizer.cli.help import fold

        show(fold(USAGE))
        return 0
    if len(positions) != 2:
        raise UsageError("the following required arguments were not provided:\n  <ORIGINAL> <SNAPSHOT>")
    options = run_options(arguments, "verify")
    flags = make_flags(options)
    wasi = make_wasi(options, flags)
    from wizer.binary.module import parse_module
    from wizer.binary.sections import is_component
    from wizer.engine.text import to_binary
    from wizer.trust.verify import MOST, VerificationError, verify_with

    with watched(flags.limits, wasi):
        original = to_binary(read(options.input, "failed to open input file"))
        snapshot = read(argv[positions[1]], "failed to open snapshot file")
        if not is_component(original):
            names = parse_module(original).exports_by_name
            options = replace(options, rename={d: s for d, s in options.rename.items() if s in names})
        reports = arguments.has("json")
        most = None if reports else MOST
        try:
            verify_with(make_options(options, flags, wasi), original, snapshot, most=most)
        except VerificationError as error:
            if reports:
                _report("undecided" if error.undecided else "different", error.differences)
            elif not error.undecided:
                raise
            else:
                say(f"Error: {error}")
            return UNDECIDED if error.undecided else DIFFERENT
    if reports:
        _report("same", ())
    return 0


def _report(verdict: str, differences: Sequence[Difference]) -> None:
    """Print the JSON document."""
    import json

    found = [
        {
            "kind": difference.kind,
            "index": difference.index,
            "place": difference.place,
            "range": difference.span,
            "original": difference.first,
            "snapshot": difference.second,
        }
        for difference in differences
    ]
    print(json.dumps({"verdict": verdict, "differences": found}, indent=2))


def _positionals(argv: Sequence[str]) -> Iterator[int]:
    """Yield where the arguments stand that are neither options nor their values."""
    spaced = {f"--{name}" for o in OPTIONS if o.takes is Takes.VALUE for name in (o.name, o.alias) if name}
    spaced |= {f"-{o.short}" for o in OPTIONS if o.takes is Takes.VALUE and o.short}
    truth = {f"--{o.name}" for o in OPTIONS if o.takes is Takes.SPACED_BOOL}
    at = 0
    while at < len(argv):
        word = argv[at]
        if word == "--":
            yield from range(at + 1, len(argv))
            return
        if not word.startswith("-") or word == "-":
            yield at
        following = argv[at + 1] if at + 1 < len(argv) else ""
        at += 2 if word in spaced or (word in truth and following in ("true", "false")) else 1
