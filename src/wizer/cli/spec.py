"""The options of `wizer`, as a table: what they are called, what they take, what they do.

Both of the Rust tools' command lines are in it: the standalone ``wizer`` 11 and ``wasmtime wizer`` 49. The
parser, the help text and the messages about wrong usage are made from this table.

Its rows are no records: `wizer --help` needs no record otherwise, and starts faster without `wizer.records`.
Nor are they `typing.NamedTuple`, which imports half of the standard library from Python 3.14 on.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Takes(Enum):
    """What follows an option."""

    NOTHING = "nothing"
    VALUE = "value"  # --name VALUE, --name=VALUE, -nVALUE, -n=VALUE
    BOOL = "bool"  # --name or --name=true, --name=false, also as words of their own; with a metavar, --name
    # or --name=VALUE, where "true" and "false" keep their meaning
    SPACED_BOOL = "spaced bool"  # the same, and shown as words of their own


class Option:
    """One option.

    Attributes:
        name: the long name, without dashes.
        group: the heading in the help text under which it stands; empty: not listed.
        help: what it does.
        takes: what follows it.
        metavar: what to call its value.
        short: the short name, one letter, or empty.
        alias: another long name, or empty.
        repeatable: whether it may be given more than once.
    """

    __slots__ = ("alias", "group", "help", "metavar", "name", "repeatable", "short", "takes")

    def __init__(
        self,
        name: str,
        group: str,
        help: str,
        takes: Takes = Takes.VALUE,
        metavar: str = "",
        short: str = "",
        alias: str = "",
        repeatable: bool = False,
    ) -> None:
        self.name: Final = name
        self.group: Final = group
        self.help: Final = help
        self.takes: Final = takes
        self.metavar: Final = metavar
        self.short: Final = short
        self.alias: Final = alias
        self.repeatable: Final = repeatable

    @property
    def value_form(self) -> str:
        """How the value is written, as clap shows it: `` <FILE>`` or ``[=<true|false>]``."""
        forms = {
            Takes.NOTHING: "",
            Takes.VALUE: f" <{self.metavar}>",
            Takes.BOOL: f"[=<{self.metavar or 'true|false'}>]",
            Takes.SPACED_BOOL: " [<true|false>]",
        }
        return forms[self.takes]

    @property
    def display(self) -> str:
        """The option in a message: ``--output <OUTPUT>``."""
        return f"--{self.name}{self.value_form}"


INIT = "Initialisation"
OUTPUT = "Output"
WASI = "WASI (off unless asked for)"
CHECKS = "What is frozen"
ONLY_COMMANDS = "Only for commands"
LIMITS = "Limits"
ENGINE = "Engine"
FEATURES = "WebAssembly features (each takes true or false)"
OTHER = "Other"

_KEYS = "KEY[=VAL[,..]]"
_INIT_FUNC_HELP = (
    "Export to run, or a call: 'setup(3, 0x10)'; several run in order [default: wizer-initialize]"
)

_LAYOUT_HELP = "Choose data segments for speed, for size, or so that instances map memory [default: balanced]"
_SEGMENTS_HELP = "Most data segments to write [default: 10000, or as many as the input has]"
_HANDLES_HELP = (
    "Handles to resources that a component has open: ask the next host for them again, refuse, or do "
    "without [default: reopen]"
)
_ALLOW_HELP = "`audit`: may be frozen: random, clock, env, args, files, stdin, terminal, other"

OPTIONS = (
    Option("init-func", INIT, _INIT_FUNC_HELP, metavar="INIT_FUNC", short="f", repeatable=True),
    Option("keep-init-func", INIT, "Keep the exports that were run", Takes.BOOL),
    Option(
        "rename-func",
        INIT,
        "Rename the function export src to dst",
        metavar="dst=src",
        short="r",
        alias="func-rename",
        repeatable=True,
    ),
    Option("preload", INIT, "Module to import from, as NAME", metavar="NAME=FILE", repeatable=True),
    Option(
        "global",
        INIT,
        "Value of an imported global",
        metavar="MODULE.NAME=NUMBER",
        repeatable=True,
    ),
    Option("output", OUTPUT, "File to write [default: standard output]", metavar="OUTPUT", short="o"),
    Option("precompile", OUTPUT, "File for the output as machine code, too", metavar="FILE"),
    Option(
        "depfile", OUTPUT, "File for a rule of Make or Ninja: what the output was made from", metavar="FILE"
    ),
    Option("report", OUTPUT, "File for a report: a page (.html) or all of it (.json)", metavar="FILE"),
    Option("layout", OUTPUT, _LAYOUT_HELP, metavar="balanced|small|instant"),
    Option("max-data-segments", OUTPUT, _SEGMENTS_HELP, metavar="N"),
    Option("open-handles", OUTPUT, _HANDLES_HELP, metavar="reopen|error|drop"),
    Option("allow-wasi", WASI, "Provide WASI; what it shows is frozen", Takes.NOTHING),
    Option(
        "keep-libc-state", WASI, "Let libc keep the directories and variables of this host", Takes.NOTHING
    ),
    Option("dir", WASI, "Open a directory to the guest", metavar="HOST[::GUEST]", repeatable=True),
    Option("mapdir", WASI, "The same, with the guest's name first", metavar="GUEST::HOST", repeatable=True),
    Option("env", WASI, "Set a variable, or pass on the host's", metavar="NAME[=VAL]", repeatable=True),
    Option("inherit-env", WASI, "Pass on all variables [default: false]", Takes.SPACED_BOOL),
    Option("inherit-stdio", WASI, "Pass on stdin, stdout, stderr [default: true]", Takes.SPACED_BOOL),
    Option(
        "deterministic",
        CHECKS,
        "Make up chance and time, from SEED and SOURCE_DATE_EPOCH: the same output each time",
        Takes.BOOL,
        metavar="SEED",
    ),
    Option(
        "verify", CHECKS, "Compare the output's state with the instance's before writing it", Takes.NOTHING
    ),
    Option(
        "producers",
        OUTPUT,
        "Say in the producers section how the output was made [default: unless the layout is small]",
        Takes.BOOL,
    ),
    Option("no-validate", CHECKS, "Write the output without validating it", Takes.NOTHING),
    Option("warn-frozen", CHECKS, "Say which chance, time and variables are in the output", Takes.NOTHING),
    Option("allow", ONLY_COMMANDS, _ALLOW_HELP, metavar="SOURCE[,..]", repeatable=True),
    Option(
        "json",
        ONLY_COMMANDS,
        "`audit`, `verify`, `inspect`, `diff`: print all that was found as a JSON document",
        Takes.NOTHING,
    ),
    Option("exit-code", ONLY_COMMANDS, "`diff`: exit with 1 where something differs", Takes.NOTHING),
    Option("timeout", LIMITS, "Most time for the run: 2, 1.5s, 100ms [default: 10m]", metavar="TIME"),
    Option("fuel", LIMITS, "Most instructions to execute, roughly", metavar="N"),
    Option("max-memory", LIMITS, "Most memory for the run: 65536, 64KiB [default: 16GiB]", metavar="SIZE"),
    Option("max-output", LIMITS, "Most bytes of output [default: 1GiB]", metavar="SIZE"),
    Option(
        "wasm",
        ENGINE,
        "Features and limits; -W help lists the keys",
        metavar=_KEYS,
        short="W",
        repeatable=True,
    ),
    Option("wasi", ENGINE, "WASI; -S help lists the keys", metavar=_KEYS, short="S", repeatable=True),
    Option(
        "codegen",
        ENGINE,
        "Compiler and cache; -C help lists the keys",
        metavar=_KEYS,
        short="C",
        repeatable=True,
    ),
    Option(
        "optimize",
        ENGINE,
        "Speed and memory; -O help lists the keys",
        metavar=_KEYS,
        short="O",
        repeatable=True,
    ),
    Option("debug", ENGINE, "Debugging; -D help lists the keys", metavar=_KEYS, short="D", repeatable=True),
    Option("config", ENGINE, "The same settings from a TOML file", metavar="FILE"),
    Option("target", ENGINE, "Where to initialise: this machine only", metavar="TARGET"),
    Option("wasm-multi-memory", FEATURES, "Several memories", Takes.SPACED_BOOL),
    Option("wasm-multi-value", FEATURES, "Several results and block parameters", Takes.SPACED_BOOL),
    Option("wasm-bulk-memory", FEATURES, "Bulk memory operations", Takes.SPACED_BOOL),
    Option("wasm-simd", FEATURES, "Vectors of 128 bits", Takes.SPACED_BOOL),
    Option("wasm-relaxed-simd", FEATURES, "Relaxed vector operations", Takes.SPACED_BOOL),
    Option("wasm-reference-types", FEATURES, "References and tables of them", Takes.SPACED_BOOL),
    Option("relaxed-simd-deterministic", FEATURES, "Relaxed, yet the same everywhere", Takes.BOOL),
    Option("verbose", OTHER, "Say at the end what the run did, and what it took", Takes.NOTHING, short="v"),
    Option("quiet", OTHER, "Say nothing but errors", Takes.NOTHING, short="q"),
    Option("include-dir", OTHER, "Print the folder that holds wizer.h", Takes.NOTHING),
    Option("help", OTHER, "Print this help", Takes.NOTHING, short="h"),
    Option("version", OTHER, "Print the version", Takes.NOTHING, short="V"),
    Option("record", "", "", metavar=_KEYS, short="R", repeatable=True),
    Option("gdbstub", "", "", metavar="[ADDR:]PORT", short="g"),
    Option("profile", "", "", metavar="STRATEGY"),
    Option("allow-precompiled", "", "", Takes.NOTHING),
)

BY_NAME = {option.name: option for option in OPTIONS}

ONLY: dict[str, tuple[str, ...]] = {
    "allow": ("audit",),
    "json": ("audit", "diff", "inspect", "verify"),
    "exit-code": ("diff",),
}
"""Options that belong to commands with a name, and to which."""

_CHECKS_ONLY = {
    "output": "nothing is written",
    "precompile": "nothing is written",
    "depfile": "nothing is written",
    "verbose": "there is no output to speak of",
    "verify": "`wizer verify` is a command of its own",
    "warn-frozen": "`wizer audit` is a command of its own",
    "include-dir": "it belongs to `wizer` itself",
    "version": "it belongs to `wizer` itself",
}
REFUSED = {"audit": _CHECKS_ONLY, "verify": {**_CHECKS_ONLY, "report": "`--json` says all that it finds"}}
"""Options of a run that ask for what a command does not do, and why it does not."""

IDLE: dict[str, tuple[str, ...]] = {
    "audit": (
        "keep-init-func",
        "rename-func",
        "layout",
        "max-data-segments",
        "max-output",
        "no-validate",
        "producers",
        "deterministic",
    ),
    "verify": ("producers",),
}
"""Options of a run that change nothing of what a command finds; all others it honours."""

UNSUPPORTED = {
    "record": "recording an execution belongs to `wasmtime run`; initialisation has nothing to replay",
    "gdbstub": "the engine's Python package has no debugger to attach",
    "profile": "the engine's profilers describe compiled code that ends with this run; use `wasmtime run`",
    "allow-precompiled": "a precompiled module holds machine code, from which no WebAssembly can be written; "
    "give the module that it was compiled from",
}
"""Options of the Rust tools that cannot be honoured, and why."""
