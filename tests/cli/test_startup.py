"""What is imported is counted: importing is most of what a small run takes.

Beyond the engine's own package, an ordinary run needs its own modules and a few of the standard library's. A
new name in these lists is time for everybody: let it be imported where it is used.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

PROGRAM = """
import sys
before = set(sys.modules)
try:
    {body}
finally:
    print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""
COMMAND = "from wizer.cli import main; main(sys.argv[1:])"

HEAVY = {"wasmtime", "numpy", "rich", "ctypes", "dataclasses", "inspect", "importlib.metadata", "tomllib"}

COMMAND_LINE = {"wizer", "wizer.cli", "wizer.cli.parse", "wizer.cli.report", "wizer.cli.spec", "wizer.errors"}

# The standard library beyond what `import wasmtime` brings; what begins with an underscore comes along.
LIBRARY = {
    "argparse",
    "array",
    "bisect",
    "gc",
    "gettext",
    "importlib",
    "locale",
    "math",
    "resource",
    "select",
}
LIBRARY |= {"contextvars", "signal", "struct", "threading", "weakref"}

MOST_MODULES = 80  # of our own, for an empty module


def imported(body: str, *args: str, cwd: Path | None = None) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM.format(body=body), *args],  # -S: what site imports is not ours
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PYTHONPATH": ":".join(sys.path)},
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.splitlines()[-1].split())


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] == "wizer"}


def others(names: set[str]) -> set[str]:
    packages = {name.partition(".")[0] for name in names - ours(names)}
    return {name for name in packages if not name.startswith("_")}


def test_version_imports_the_command_line_only() -> None:
    names = imported(COMMAND, "--version")
    assert ours(names) == COMMAND_LINE
    assert not others(names) & {"wasmtime", "numpy", "rich", "ctypes", "pathlib", "threading", "dataclasses"}


def test_help_imports_one_module_more() -> None:
    names = imported(COMMAND, "--help")
    assert ours(names) - COMMAND_LINE == {"wizer.cli.help"}
    assert not others(names) & {"wasmtime", "numpy", "rich", "ctypes", "pathlib", "threading", "dataclasses"}


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["-h"], ["--bad"]])
def test_help_and_version_import_little(args: list[str], tmp_path: Path) -> None:
    names = imported(COMMAND, *args, cwd=tmp_path)
    assert "argparse" in names
    assert not names & HEAVY


@pytest.mark.parametrize("args", [["--include-dir"], ["none.wasm"], ["-r", "foo"], ["-Wbad"]])
def test_mistakes_are_found_without_the_engine(args: list[str], tmp_path: Path) -> None:
    assert not imported(COMMAND, *args, cwd=tmp_path) & {"wasmtime", "numpy", "rich"}


@pytest.fixture
def run(tmp_path: Path) -> tuple[str, ...]:
    source = tmp_path / "in.wasm"
    source.write_bytes(wasmtime.wat2wasm('(module (func (export "wizer-initialize")))'))
    return str(source), "-o", str(tmp_path / "out.wasm")


def test_an_empty_module_needs_little_of_the_standard_library(run: tuple[str, ...]) -> None:
    names = imported(COMMAND, *run)
    engine = imported("import wasmtime")
    assert "wasmtime" in others(names)
    assert others(names) - others(engine) <= LIBRARY
    assert "importlib.metadata" not in names


def test_an_empty_module_needs_no_component_and_no_bulk_code(run: tuple[str, ...]) -> None:
    names = ours(imported(COMMAND, *run))
    assert len(names) <= MOST_MODULES
    for unused in (
        "component",
        "demo",
        "core.segments.bulk_scan",
        "core.segments.bulk_layout",
        "core.segments.dense",
        "engine.component",
    ):
        assert not any(name.startswith(f"wizer.{unused}") for name in names)
    assert "wizer.engine.cache" not in names  # so little code is not kept


def test_a_small_module_needs_no_numpy(run: tuple[str, ...]) -> None:
    names = imported(COMMAND, *run)
    assert "wasmtime" in names
    assert not names & {"numpy", "rich", "tomllib"}


def test_importing_the_package_imports_nothing_else() -> None:
    names = imported("import wizer")
    assert ours(names) == {"wizer"}
    assert not others(names) & {"wasmtime", "numpy", "rich", "ctypes", "dataclasses", "inspect"}


# What Python 3.14 does differently, on any version: whoever gets there imports what nobody needs.
LATER = """
import argparse, typing
def imports(*_, **__):
    raise AssertionError("from Python 3.14 on, this imports half of the standard library")
argparse.ArgumentParser._get_formatter = imports
typing.NamedTupleMeta.__new__ = imports
from wizer.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("args", [("--version",), ("--help",), None])
def test_what_imports_more_on_later_pythons_is_not_called(
    run: tuple[str, ...], args: tuple[str, ...] | None
) -> None:
    imported(LATER.replace("\n", "\n    "), *(run if args is None else args))
