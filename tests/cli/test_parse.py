from __future__ import annotations

import re
import shlex
from types import ModuleType

import pytest

from wizer.cli import audit, build, demo, diff, inspect, verify
from wizer.cli.help import fold, render
from wizer.cli.parse import UsageError, parse
from wizer.cli.spec import OPTIONS, UNSUPPORTED, Option, Takes


def split(line: str) -> tuple[str | None, list[str]]:
    arguments = parse(shlex.split(line))
    given = [option.name if value is None else f"{option.name}={value}" for option, value in arguments.given]
    return arguments.input, given


@pytest.mark.parametrize(
    ("line", "file", "given"),
    [
        ("", None, []),
        ("-", "-", []),
        ("a.wasm", "a.wasm", []),
        ("-o out a.wasm", "a.wasm", ["output=out"]),
        ("a.wasm -oout", "a.wasm", ["output=out"]),
        ("a.wasm -o=out", "a.wasm", ["output=out"]),
        ("a.wasm --output=out", "a.wasm", ["output=out"]),
        ("a.wasm --output out", "a.wasm", ["output=out"]),
        ("-o - -", "-", ["output=-"]),
        ("-- -o", "-o", []),
        ("--dir a -- --keep-init-func", "--keep-init-func", ["dir=a"]),
        ("--keep-init-func a.wasm", "a.wasm", ["keep-init-func=true"]),
        ("--keep-init-func false a.wasm", "a.wasm", ["keep-init-func=false"]),
        ("a.wasm --keep-init-func true", "a.wasm", ["keep-init-func=true"]),
        ("--keep-init-func=false a.wasm", "a.wasm", ["keep-init-func=false"]),
        ("--inherit-env a.wasm", "a.wasm", ["inherit-env=true"]),
        ("--inherit-env false a.wasm", "a.wasm", ["inherit-env=false"]),
        ("--inherit-stdio=false a.wasm", "a.wasm", ["inherit-stdio=false"]),
        ("--wasm-simd true a.wasm", "a.wasm", ["wasm-simd=true"]),
        ("--relaxed-simd-deterministic a.wasm", "a.wasm", ["relaxed-simd-deterministic=true"]),
        ("-ra=b --rename-func c=d", None, ["rename-func=a=b", "rename-func=c=d"]),
        ("--func-rename=e=f --func-rename g=h", None, ["rename-func=e=f", "rename-func=g=h"]),
        ("-Wtimeout=1s -W simd,fuel=3", None, ["wasm=timeout=1s", "wasm=simd,fuel=3"]),
        ("-W=a=b --wasm=c --wasm d", None, ["wasm=a=b", "wasm=c", "wasm=d"]),
        ("-f 'f(3, -1)' '-fg(3, -1)'", None, ["init-func=f(3, -1)", "init-func=g(3, -1)"]),
        ("'-f=h(3, 1)' --init-func='i(1, 2)'", None, ["init-func=h(3, 1)", "init-func=i(1, 2)"]),
        ("--env=A=-b --env A= --env A", None, ["env=A=-b", "env=A=", "env=A"]),
        ("-f ''", None, ["init-func="]),
        ("-hV", None, ["help", "version"]),
    ],
)
def test_spellings(line: str, file: str | None, given: list[str]) -> None:
    assert split(line) == (file, given)


USAGE = "\n\nUsage: wizer [OPTIONS] [INPUT]"


def unknown(name: str, tip: str | None = None) -> str:
    tip = f"a similar argument exists: '{tip}'" if tip else f"to pass '{name}' as a value, use '-- {name}'"
    return f"unexpected argument '{name}' found\n\n  tip: {tip}{USAGE}"


def missing(display: str) -> str:
    return f"a value is required for '{display}' but none was supplied"


def repeated(display: str) -> str:
    return f"the argument '{display}' cannot be used multiple times{USAGE}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--bad a.wasm", unknown("--bad")),
        ("--bad=3 a.wasm", unknown("--bad")),
        ("-x a.wasm", unknown("-x")),
        ("--init-fun x", unknown("--init-fun", "--init-func")),
        ("--out=x", unknown("--out", "--output")),
        ("a.wasm extra", f"unexpected argument 'extra' found{USAGE}"),
        ("a.wasm -o", missing("--output <OUTPUT>")),
        ("a.wasm -O", missing("--optimize <KEY[=VAL[,..]]>")),
        ("-f -o x", missing("--init-func <INIT_FUNC>")),
        ("-o a -o b", repeated("--output <OUTPUT>")),
        ("--keep-init-func --keep-init-func", repeated("--keep-init-func[=<true|false>]")),
        (
            "--allow-wasi=true",
            f"unexpected value 'true' for '--allow-wasi' found; no more were expected{USAGE}",
        ),
    ],
)
def test_refusals_have_the_form_of_clap(line: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(shlex.split(line))
    assert str(error.value) == f"error: {message}\n\nFor more information, try '--help'."


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_parses_in_every_spelling(option: Option) -> None:
    name, short, takes = option.name, option.short, option.takes
    spellings = [[f"--{name}", *([] if takes in (Takes.NOTHING, Takes.BOOL) else ["true"])]]
    if takes is not Takes.NOTHING:
        spellings.append([f"--{name}=true"])
    if short and takes is Takes.VALUE:
        spellings += [[f"-{short}", "true"], [f"-{short}true"], [f"-{short}=true"]]
    elif short:
        spellings.append([f"-{short}"])
    for spelling in spellings:
        arguments = parse([*spelling, "in.wasm"])
        assert arguments.input == "in.wasm"
        assert arguments.given == [(option, None if takes is Takes.NOTHING else "true")]


@pytest.mark.parametrize("columns", [40, 80, 120, 300])
def test_help_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = render("1.2.3")
    if columns >= 80:
        assert max(map(len, text.splitlines())) <= columns
    for option in OPTIONS:
        assert (f"--{option.name}" in text) is (option.name not in UNSUPPORTED)
    assert text.isascii()
    assert "-- ARGS" in text
    statuses = text.partition("Exit status:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in statuses if line[2] != " "] == ["0", "1", "2", "3", "4", "5", "128+N"]


@pytest.mark.parametrize("columns", [60, 80, 100, 300])
@pytest.mark.parametrize("command", [audit, build, demo, diff, inspect, verify])
def test_the_help_of_commands_fits_the_terminal(
    command: ModuleType, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = fold(command.USAGE)
    assert max(map(len, text.splitlines())) <= min(columns, 100)
    assert text.split() == command.USAGE.split()
    heads = r"^ +(?:-\w, )?--[\w-]+"
    assert re.findall(heads, text, re.M) == re.findall(heads, command.USAGE, re.M)
