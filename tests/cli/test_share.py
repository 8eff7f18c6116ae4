"""Shell completions and the manual page: made from the help as it is, and taken by the shells."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SHARE = Path(__file__).parents[2] / "share"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", SHARE / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # its records look for it
    spec.loader.exec_module(module)
    return module


def test_the_files_are_those_of_todays_help(generate: ModuleType) -> None:
    commands = generate.commands()
    assert {command.name for command in commands} >= {"", "audit", "verify", "inspect", "demo"}
    for name, maker in generate.MAKERS.items():
        assert (SHARE / name).read_text("utf-8") == maker(commands), f"run share/generate.py: {name} is old"


def completed(folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of some words."""
    script = (
        f'source "{SHARE}/wizer.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _wizer\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "-c", script, "bash", "wizer", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_commands_options_values_and_files(tmp_path: Path) -> None:
    (tmp_path / "app.wasm").touch()
    (tmp_path / "conf").mkdir()
    assert completed(tmp_path, "au") == ["audit"]
    assert completed(tmp_path, "app") == ["app.wasm"]
    assert completed(tmp_path, "--max-o") == ["--max-output"]
    assert completed(tmp_path, "--layout", "") == ["balanced", "small", "instant"]
    assert completed(tmp_path, "-o", "a") == ["app.wasm"]
    assert completed(tmp_path, "--dir", "") == ["conf"]
    assert "--allow" in completed(tmp_path, "audit", "--")
    assert "--output" not in completed(tmp_path, "audit", "--")
    assert completed(tmp_path, "demo", "--o") == ["--output"]
    assert completed(tmp_path, "audit", "a") == ["app.wasm"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not on PATH")
def test_fish_completes_commands_and_options() -> None:
    def offered(line: str) -> list[str]:
        script = f"source {SHARE}/wizer.fish; complete -C '{line}'"
        done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, check=True)
        return [row.partition("\t")[0] for row in done.stdout.splitlines()]

    assert offered("wizer au")[0] == "audit"
    assert offered("wizer --max-o") == ["--max-output"]
    assert sorted(offered("wizer --layout ")) == ["balanced", "instant", "small"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not on PATH")
def test_zsh_reads_its_completion() -> None:
    subprocess.run(["zsh", "-f", "-n", SHARE / "_wizer"], check=True)


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not on PATH")
def test_man_shows_the_page() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-l", SHARE / "wizer.1"], capture_output=True, text=True, check=True
    )
    assert not done.stderr
    assert "--max-data-segments" in done.stdout
