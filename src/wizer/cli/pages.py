"""``--report``: what was found, as a page for people or as JSON, in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wizer.cli.files import check_output
from wizer.cli.parse import UsageError
from wizer.cli.spec import BY_NAME
from wizer.output import write_path

if TYPE_CHECKING:
    from wizer.contents.records import Inspection
    from wizer.pages.document import Kind, RunInfo

_PAGE = (".html", ".htm")


def check_report(path: str | None) -> None:
    """Find out beforehand what would keep a report from being written.

    Raises:
        UsageError: its name does not say what it is to be.
        OutputError: it cannot be written.
    """
    if path is not None and not path.lower().endswith((*_PAGE, ".json")):
        display = BY_NAME["report"].display
        raise UsageError(f"invalid value '{path}' for '{display}': its name must end in .html or .json")
    check_output(path)


def is_page(path: str) -> bool:
    """Whether a report of this name is a page, and no JSON document."""
    return path.lower().endswith(_PAGE)


def write_report(
    path: str,
    kind: Kind,
    title: str,
    files: Sequence[Inspection],
    *,
    diff: Mapping[str, Any] | None = None,
    audit: Mapping[str, Any] | None = None,
    run: RunInfo | None = None,
) -> None:
    """Write a report to a file that `check_report` was asked about.

    Raises:
        OutputError: it cannot be written.
    """
    from wizer.pages.document import document

    made = document(kind, title, [held.to_dict() for held in files], diff=diff, audit=audit, run=run)
    if is_page(path):
        from wizer.pages.page import page

        text = page(made)
    else:
        text = json.dumps(made, indent=1)
    write_path([text.encode(errors="backslashreplace")], path)  # a file's name may be no text
