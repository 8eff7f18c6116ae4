"""What came of a build is written for people and for CI."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import wasmtime

from batch.conftest import TRAPS
from batch.test_command import TABLE
from support.command import Tool

Modules = Callable[[int], list[Path]]


class Rows(HTMLParser):
    """Collects the text of the cells of a page's tables."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self.scripts += tag in ("script", "link", "img")
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_reports_name_what_was_made_what_failed_and_what_did_not_begin(
    wizer: Tool, modules: Modules, tmp_path: Path
) -> None:
    modules(4)
    (tmp_path / "0.wasm").write_bytes(wasmtime.wat2wasm(TRAPS))
    (tmp_path / "wizer.toml").write_text(TABLE)
    files = ("--report", "r.json", "--report", "r.html", "--junit", "r.xml")
    ended = wizer("build", "-j", "1", *files)
    assert ended.status == 1
    made = json.loads((tmp_path / "r.json").read_text())
    left = made["not_begun"]
    assert made["counts"]["failed"] == 1
    assert made["counts"]["made"] + len(left) == 3
    failed = next(snapshot for snapshot in made["snapshots"] if snapshot["outcome"] == "failed")
    assert failed["name"] == "all[0.wasm]"
    assert failed["error"].startswith("the `wizer-initialize` function trapped")

    suite = ElementTree.parse(tmp_path / "r.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", str(len(left)))
    failure = suite.find("testcase[@name='all[0.wasm]']/failure")
    assert failure is not None
    assert failure.get("message") == "the `wizer-initialize` function trapped"

    page = Rows()
    page.feed((tmp_path / "r.html").read_text())
    assert page.scripts == 0
    assert [row[:2] for row in page.rows[1:]] == [[s["name"], s["outcome"]] for s in made["snapshots"]]


def test_names_of_strangers_stay_text(wizer: Tool, tmp_path: Path) -> None:
    (tmp_path / "a.wasm").write_bytes(wasmtime.wat2wasm(TRAPS))
    (tmp_path / "wizer.toml").write_text(
        '[snapshots."<b>&\\u001b"]\ninput = "a.wasm"\noutput = "out.wasm"\ninit = "\\u0001<i>"\n'
    )
    ended = wizer("build", "--report", "r.html", "--junit", "r.xml")
    assert ended.status == 1
    assert "<b>&" not in (tmp_path / "r.html").read_text().replace("&lt;b&gt;", "")
    case = ElementTree.parse(tmp_path / "r.xml").getroot()[0][0]
    assert case.get("name") == "<b>&\\x1b"


def test_a_report_of_another_kind_is_refused_before_anything_is_made(
    wizer: Tool, modules: Modules, tmp_path: Path
) -> None:
    modules(1)
    (tmp_path / "wizer.toml").write_text(TABLE)
    assert wizer("build", "--report", "r.txt").status == 2
    assert not (tmp_path / "out").exists()
