"""`wizer audit` and `wizer verify`: each option of a run is honoured, refused, or warned of."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.command import Tool
from wizer.cli.options import make_flags, make_options, run_options
from wizer.cli.parse import UsageError, parse
from wizer.cli.spec import BY_NAME, IDLE, ONLY, OPTIONS, REFUSED, UNSUPPORTED

EXAMPLES = {
    "init-func": "-f a",
    "keep-init-func": "--keep-init-func",
    "rename-func": "-r a=b",
    "preload": "--preload m=m.wat",
    "global": "--global env.x=1",
    "output": "-o x.wasm",
    "precompile": "--precompile x.cwasm",
    "layout": "--layout small",
    "max-data-segments": "--max-data-segments 5",
    "open-handles": "--open-handles drop",
    "allow-wasi": "--allow-wasi",
    "keep-libc-state": "--keep-libc-state",
    "dir": "--dir x",
    "mapdir": "--mapdir x::y",
    "env": "--env A=1",
    "inherit-env": "--inherit-env",
    "inherit-stdio": "--inherit-stdio false",
    "deterministic": "--deterministic",
    "verify": "--verify",
    "no-validate": "--no-validate",
    "producers": "--producers=false",
    "warn-frozen": "--warn-frozen",
    "allow": "--allow clock",
    "json": "--json",
    "timeout": "--timeout 1s",
    "fuel": "--fuel 5",
    "max-memory": "--max-memory 1MiB",
    "max-output": "--max-output 1MiB",
    "wasm": "-W simd=n",
    "wasi": "-S inherit-env",
    "codegen": "-C cache=n",
    "optimize": "-O memory-reservation=65536",
    "debug": "-D debug-info",
    "config": "--config x.toml",
    "target": "--target host",
    "wasm-multi-memory": "--wasm-multi-memory false",
    "wasm-multi-value": "--wasm-multi-value false",
    "wasm-bulk-memory": "--wasm-bulk-memory false",
    "wasm-simd": "--wasm-simd false",
    "wasm-relaxed-simd": "--wasm-relaxed-simd false",
    "wasm-reference-types": "--wasm-reference-types false",
    "relaxed-simd-deterministic": "--relaxed-simd-deterministic",
    "depfile": "--depfile x.d",
    "report": "--report x.html",
    "verbose": "-v",
    "quiet": "-q",
    "include-dir": "--include-dir",
    "exit-code": "--exit-code",
    "help": "--help",
    "version": "--version",
    "record": "-R path=x",
    "gdbstub": "-g 1234",
    "profile": "--profile perfmap",
    "allow-precompiled": "--allow-precompiled",
}


def options(line: str, command: str) -> Any:
    """What the library is told for a command line, and what the engine is."""
    arguments = parse(shlex.split(line))
    given = run_options(arguments, command)
    flags = make_flags(given)
    return given, make_options(given, flags, flags.wasi)


def test_every_option_is_here() -> None:
    assert set(EXAMPLES) == set(BY_NAME)
    assert all(set(names) <= set(BY_NAME) for names in (*IDLE.values(), *REFUSED.values(), ONLY, UNSUPPORTED))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the files that the examples name."""
    (tmp_path / "m.wat").write_text("(module)")
    (tmp_path / "x.toml").write_text("[wasm]\nfuel = 5\n")
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", ["audit", "verify"])
@pytest.mark.parametrize("name", [option.name for option in OPTIONS])
@pytest.mark.usefixtures("folder")
def test_no_option_is_ignored_silently(name: str, command: str) -> None:
    if name in UNSUPPORTED or name in REFUSED[command] or command not in ONLY.get(name, (command,)):
        with pytest.raises(UsageError) as error:
            options(EXAMPLES[name], command)
        assert f"--{name}" in str(error.value)
        return
    if name in (*ONLY, "help"):
        return  # the command itself looks for them
    (plain, default), (given, made) = options("", command), options(EXAMPLES[name], command)
    if name in IDLE[command]:
        assert given.warnings == (f"for `wizer {command}`, there is no effect of --{name}",)
    elif name not in ("target", "allow-wasi", "quiet", "report"):
        # There is one target; without WASI there is nothing to compare; what is said or reported is the same.
        assert made != default
        assert given.warnings == plain.warnings == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "audit in.wasm --precompile x",
            "'--precompile <FILE>' cannot be used with `wizer audit`: nothing is",
        ),
        ("verify in.wasm in.wasm -o x", "'--output <OUTPUT>' cannot be used with `wizer verify`: nothing is"),
        ("audit in.wasm --warn-frozen", "'--warn-frozen' cannot be used with `wizer audit`"),
    ],
)
def test_what_is_refused_is_named(words: str, message: str, wizer: Tool, module: Callable[..., Path]) -> None:
    module("(module)")
    ended = wizer(*words.split())
    assert ended.status == 2
    assert f"error: the argument {message}" in ended.stderr
    assert [path.name for path in wizer.cwd.iterdir()] == ["in.wasm"]


def test_what_has_no_effect_is_named(wizer: Tool, module: Callable[..., Path]) -> None:
    module('(module (func (export "wizer-initialize")))')
    ended = wizer("audit", "--layout=small", "-r", "a=b", "in.wasm")
    assert ended.stderr == "warning: for `wizer audit`, there is no effect of --rename-func, --layout\n"
    assert (ended.status, ended.stdout) == (0, b"nothing is frozen\n")
