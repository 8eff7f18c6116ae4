"""The wheel, the installed command, and the documents."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import wizer

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(ROOT.glob("*.md"))


def output_of(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    (path,) = folder.iterdir()
    assert path.name == f"wizer-{wizer.__version__}-py3-none-any.whl"
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    text = wheel.read(f"wizer-{wizer.__version__}.dist-info/METADATA").decode()
    return Parser().parsestr(text)


def test_the_wheel_holds_the_whole_package(wheel: zipfile.ZipFile) -> None:
    folder = ROOT / "src" / "wizer"
    source = {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = wheel.namelist()
    packed = {name for name in names if ".dist-info/" not in name and ".data/" not in name}
    assert packed == source
    assert {name.partition(".data/data/")[2] for name in names if ".data/" in name} == {
        "share/bash-completion/completions/wizer",
        "share/fish/vendor_completions.d/wizer.fish",
        "share/man/man1/wizer.1",
        "share/zsh/site-functions/_wizer",
    }
    assert {"wizer/include/wizer.h", "wizer/demo/search.js", "wizer/py.typed"} <= packed


def test_the_package_is_text() -> None:
    for path in (ROOT / "src").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            path.read_text("utf-8")


def test_what_the_wheel_says_of_itself(metadata: Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    needed = {str(line) for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert {re.split(r"[<>=]", name)[0] for name in needed} == {"wasmtime", "numpy", "rich"}


@pytest.mark.parametrize("command", [["wizer"], ["python", "-m", "wizer"]], ids=" ".join)
def test_the_command_is_installed(command: list[str]) -> None:
    programs = Path(sys.executable).parent
    assert output_of(programs / command[0], *command[1:], "--version") == f"wizer {wizer.__version__}\n"


def test_everything_public_is_documented_and_there() -> None:
    for name in wizer.__all__:
        item = getattr(wizer, name)
        assert name == "__version__" or item.__doc__, name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), target


SOURCES = sorted((ROOT / "src").rglob("*.py"))
TEXTS = [*DOCUMENTS, *sorted(ROOT.glob("*/*.md")), *SOURCES]


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_are_there(text: Path) -> None:
    """From the root of the project, the package or the tests, or from the folder of the text."""
    folders = (ROOT, ROOT / "src" / "wizer", ROOT / "tests", text.parent)
    content = text.read_text("utf-8")
    made = {
        "fuzz/crashes/",
        *re.findall(r"^<!-- file: (.*?) -->$", content, re.MULTILINE),
    }  # by those who run it
    named = re.findall(r"`((?:[\w.-]+/)*[\w-]+(?:\.py|/))`", content)
    assert [n for n in named if n not in made and not any((folder / n).exists() for folder in folders)] == []


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r"^readme (\w+)$", script, re.MULTILINE)
    assert named == ["demo", "test"]
    assert re.findall(r"<!-- command: (\w+) -->", readme) == named
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
