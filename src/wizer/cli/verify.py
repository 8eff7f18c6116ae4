"""``wizer verify ORIGINAL SNAPSHOT``: check a snapshot against the module that it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wizer.cli.files import read
from wizer.cli.options import make_flags, make_options, make_wasi, run_options
from wizer.cli.parse import UsageError, parse
from wizer.cli.report import say
from wizer.cli.signals import watched
from wizer.cli.spec import OPTIONS, Takes
from wizer.records import replace

USAGE = """\
Check a snapshot against the module that it was made from

Usage: wizer verify [OPTIONS] <ORIGINAL> <SNAPSHOT>

ORIGINAL is initialised with the options that SNAPSHOT was made with (`wizer --help` lists them), SNAPSHOT is
instantiated as it is, and their states are compared: memories, globals, tables, objects, segments; then what
they export and import, bodies and custom sections; then SNAPSHOT with a snapshot of itself.

Exit status: 0 the same; 1 the first difference is named; 3 not to be decided, for two runs of ORIGINAL differ
from each other there (--deterministic makes both the same).
"""
UNDECIDED = 3


def main(argv: Sequence[str]) -> int:
    """Run ``wizer verify`` and return the exit status.

    Raises:
        UsageError: the command line makes no sense.
        WizerError: the snapshot is not one of the original; the first difference is named.
    """
    positions = list(_positionals(argv))
    arguments = parse([word for at, word in enumerate(argv) if at not in positions[1:2]])
    if arguments.has("help"):
        print(USAGE, end="")
        return 0
    if len(positions) != 2:
        raise UsageError("the following required arguments were not provided:\n  <ORIGINAL> <SNAPSHOT>")
    options = run_options(arguments)
    flags = make_flags(options)
    wasi = make_wasi(options, flags)
    from wizer.binary.module import parse_module
    from wizer.binary.sections import is_component
    from wizer.engine.text import to_binary
    from wizer.trust.verify import VerificationError, verify_with

    with watched():
        original = to_binary(read(options.input, "failed to open input file"))
        snapshot = read(argv[positions[1]], "failed to open snapshot file")
        if not is_component(original):
            names = parse_module(original).exports_by_name
            options = replace(options, rename={d: s for d, s in options.rename.items() if s in names})
        try:
            verify_with(make_options(options, flags, wasi), original, snapshot)
        except VerificationError as error:
            if not error.undecided:
                raise
            say(f"Error: {error}")
            return UNDECIDED
    return 0


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
