"""The reference leaves nothing out, and every page can be reached from the first one."""

from __future__ import annotations

import re
from importlib import import_module

import wizer
from docs.snippets import FOLDER
from wizer.cli import COMMANDS


def test_every_public_name_has_an_entry() -> None:
    text = (FOLDER / "reference/library.md").read_text("utf-8")
    found = set(re.findall(r"^\.\. auto(?:class|exception|function):: wizer\.(\w+)$", text, re.M))
    for name in re.findall(r"^\.\. automodule:: ([\w.]+)$", text, re.M):
        module = import_module(name)
        found |= {
            public for public in wizer.__all__ if getattr(module, public, None) is getattr(wizer, public)
        }
    assert found | {"__version__"} >= set(wizer.__all__)


def test_every_command_has_its_help() -> None:
    text = (FOLDER / "reference/command-line.md").read_text("utf-8")
    assert set(re.findall(r"^```{command-help} (\w+)$", text, re.M)) == set(COMMANDS)


def test_every_page_is_reached_from_the_index() -> None:
    reached, new = set(), {FOLDER / "index.md"}
    while new:
        page = new.pop()
        reached.add(page)
        for tree in re.findall(r"^```{toctree}\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
            names = [line for line in tree.split() if not line.startswith(":") and not line.isdigit()]
            new |= {(page.parent / f"{name}.md").resolve() for name in names} - reached
    assert reached == {page for page in FOLDER.rglob("*.md") if "_build" not in page.parts}
