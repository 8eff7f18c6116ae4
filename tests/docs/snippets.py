"""The snippets of a page of the documentation, as steps that a reader would take one after the other.

A page is a script. What a fenced block is, its language says, or a comment in front of it:

=============================  =======================================================================
block                          step
=============================  =======================================================================
``sh``                         is run by a shell
``console``                    its lines that begin with ``$`` are run; what they print is compared,
                               where ``…`` stands for anything
``python``                     is run, in one namespace for the page
``text``                       no step: something to look at
``<!-- file: NAME -->``        is written to that file
``<!-- prints -->``            is what the step before it printed
``<!-- not run: REASON -->``   no step
=============================  =======================================================================

``<!-- needs: PROGRAM, PROGRAM -->`` at the top of a page names what a machine may lack. A block in any other
language without a comment is an error: no snippet escapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)
_NEEDS = re.compile(r"^<!-- needs: (.*?) -->$", re.M)


@dataclass(frozen=True)
class Step:
    """One snippet: ``kind`` is ``file``, ``sh``, ``console``, ``python``, ``prints`` or ``none``."""

    kind: str
    code: str
    name: str
    line: int


def pages() -> list[str]:
    """The pages with snippets, as paths within the documentation's folder."""
    found = (path.relative_to(FOLDER) for path in FOLDER.rglob("*.md") if "_build" not in path.parts)
    return sorted(str(path) for path in found if steps(str(path)))


def needs(page: str) -> list[str]:
    """The programs that a page's snippets need and that a machine may lack."""
    found = _NEEDS.search((FOLDER / page).read_text("utf-8"))
    return [name.strip() for name in found[1].split(",")] if found else []


def steps(page: str) -> list[Step]:
    """The snippets of a page, in order."""
    text = (FOLDER / page).read_text("utf-8")
    return [_step(page, found, text.count("\n", 0, found.start()) + 1) for found in _BLOCK.finditer(text)]


def _step(page: str, found: re.Match[str], line: int) -> Step:
    mark, language, code = found["mark"] or "", found["language"], found["code"]
    kind, _, name = (part.strip() for part in mark.partition(":"))
    if kind == "not run":
        assert name, f"{page}:{line}: no reason why this is not run"
        return Step("none", code, name, line)
    if kind == "file":
        return Step("file", code, name, line)
    if kind == "prints":
        return Step("prints", code, "", line)
    if language == "text":
        return Step("none", code, "to look at", line)
    assert language in ("sh", "console", "python"), f"{page}:{line}: what is this block of {language}?"
    return Step(language, code, "", line)


def matches(printed: str, expected: str) -> bool:
    """Whether a text is what a page says, in which ``…`` stands for anything; blanks at line ends aside."""
    pattern = ".*?".join(re.escape(part) for part in _stripped(expected).split("…"))
    return re.fullmatch(pattern, _stripped(printed), re.S) is not None


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
