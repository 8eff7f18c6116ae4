"""Split a command line into options and their values.

`argparse` does the splitting. It has no options whose value is optional and attached (``--keep-init-func`` in
front of the input file must not swallow its name), so such options get their value written out beforehand.
What the values mean is decided in `wizer.cli.options`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

from wizer.cli.spec import BY_NAME, OPTIONS, Option, Takes

USAGE = "Usage: wizer [OPTIONS] [INPUT]"
_TRAILER = "For more information, try '--help'."


class UsageError(Exception):
    """The command line makes no sense; ``str()`` is what to print, in the form that clap gives it."""

    def __init__(self, message: str, *, usage: bool = False, trailer: bool = True) -> None:
        parts = [f"error: {message}", USAGE if usage else "", _TRAILER if trailer else ""]
        super().__init__("\n\n".join(part for part in parts if part))


class Arguments(argparse.Namespace):
    """A command line, split.

    Attributes:
        input: the input as given, or None.
        inputs: all of them, for a command that takes several.
        rest: what follows ``--`` and the input: the guest's arguments.
        given: each option that was given, in order, with its value; None for an option that takes none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input: str | None = None
        self.inputs: list[str] = []
        self.rest: tuple[str, ...] = ()
        self.given: list[tuple[Option, str | None]] = []

    def values(self, name: str) -> list[str]:
        """Return all values given for an option, in order."""
        return [value for option, value in self.given if option.name == name and value is not None]

    def last(self, name: str) -> str | None:
        """Return the value of an option, or None if it was not given."""
        return next(reversed(self.values(name)), None)

    def has(self, name: str) -> bool:
        """Tell whether an option was given."""
        return any(option.name == name for option, _ in self.given)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, usage=True)

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Return what checks metavars; its own way imports what colours the help, from Python 3.14 on."""
        return self.formatter_class(prog=self.prog)


class CommandParser(argparse.ArgumentParser):
    """A parser for a command that is not a run."""

    def error(self, message: str) -> NoReturn:
        """Raise a `UsageError`."""
        raise UsageError(message, trailer=False)


class _Collect(argparse.Action):
    """Append the option and its value to ``Arguments.given``."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        _option_string: str | None = None,
    ) -> None:
        option = BY_NAME[self.dest]
        if namespace.has(option.name) and not option.repeatable:
            raise UsageError(f"the argument '{option.display}' cannot be used multiple times", usage=True)
        namespace.given.append((option, None if option.takes is Takes.NOTHING else str(values)))


def parse(argv: Sequence[str], options: Sequence[Option] = OPTIONS, *, several: bool = False) -> Arguments:
    """Split ``argv``, without the program's name.

    Args:
        argv: the command line.
        options: the options that there are.
        several: whether there may be any number of inputs.

    Raises:
        UsageError: an option is unknown, lacks its value, or is given twice; there are two inputs.
    """
    # Without a width, every option asks for the terminal's size, and imports what it takes to find out.
    layout = partial(argparse.HelpFormatter, width=80)
    parser = _Parser(add_help=False, allow_abbrev=False, exit_on_error=False, formatter_class=layout)
    if not several:
        parser.add_argument("input", nargs="?")
    for option in options:
        _add(parser, option)
    arguments = Arguments()
    try:
        before, rest = _cut(_write_out_bools(argv))
        _, extra = parser.parse_known_args(before, namespace=arguments)
    except argparse.ArgumentError as error:
        raise _explain(error) from None
    if several:
        arguments.inputs = [word for word in extra if not word.startswith("-") or word == "-"] + rest
        extra = [word for word in extra if word.startswith("-") and word != "-"]
    if extra:
        raise _unexpected(extra[0], options)
    if arguments.input is None and rest:
        arguments.input = rest.pop(0)
    arguments.rest = tuple(rest)
    return arguments


def _cut(words: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before the first ``--`` and what stands behind it."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    names = [f"-{option.short}"] * bool(option.short) + [f"--{option.name}"]
    names += [f"--{option.alias}"] * bool(option.alias)
    nargs = 0 if option.takes is Takes.NOTHING else None
    parser.add_argument(*names, action=_Collect, nargs=nargs, dest=option.name)


def _write_out_bools(argv: Sequence[str]) -> list[str]:
    """Give every option whose value may be missing a value: ``--wasm-simd`` becomes ``--wasm-simd=true``."""
    kinds = {f"--{option.name}": option for option in OPTIONS}
    written, rest = list[str](), list(argv)
    while rest and rest[0] != "--":
        word = rest.pop(0)
        option = kinds.get(word)
        if option is None or option.takes not in (Takes.BOOL, Takes.SPACED_BOOL):
            pass
        elif not option.metavar and rest and rest[0] in ("true", "false"):
            word += "=" + rest.pop(0)
        else:
            word += "=true"
        written.append(word)
    return written + rest


def _explain(error: argparse.ArgumentError) -> UsageError:
    """Put what argparse found into clap's words."""
    name = (error.argument_name or "").split("/")[-1].removeprefix("--")
    option = next((o for o in OPTIONS if name in (o.name, o.alias)), None)
    if option is None:
        return UsageError(str(error), usage=True)
    if option.takes is not Takes.NOTHING:
        return UsageError(f"a value is required for '{option.display}' but none was supplied")
    value = error.message.rpartition("'")[0].rpartition("'")[2]
    return UsageError(f"unexpected value '{value}' for '--{name}' found; no more were expected", usage=True)


def _unexpected(word: str, options: Sequence[Option]) -> UsageError:
    """Name the argument that has no place, and what may have been meant."""
    from difflib import get_close_matches

    if not word.startswith("-") or word == "-":
        return UsageError(f"unexpected argument '{word}' found", usage=True)
    name = word.partition("=")[0] if word.startswith("--") else word[:2]
    known = [f"--{option.name}" for option in options if option.group]
    close = get_close_matches(name, known, n=1, cutoff=0.7)
    tip = (
        f"a similar argument exists: '{close[0]}'"
        if close
        else f"to pass '{name}' as a value, use '-- {name}'"
    )
    return UsageError(f"unexpected argument '{name}' found\n\n  tip: {tip}", usage=True)
