"""How the findings of an audit are worded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wizer.trust.findings import Audit, Finding

TITLES = {
    "random": "random numbers",
    "clock": "the clock",
    "env": "environment variables",
    "args": "arguments",
    "files": "files, their order, numbers and contents",
    "stdin": "standard input",
    "terminal": "whether there is a terminal",
    "other": "something that differs from run to run whatever is done about it",
}


def warnings(audit: Audit) -> Iterator[str]:
    """Yield a line for each source that the snapshot depends on."""
    for source in audit.frozen():
        found = [finding for finding in audit.findings if finding.source == source]
        if source in audit.failures:
            yield f"with other {TITLES[source]}, initialisation fails"
        if found:
            yield f"the output depends on {TITLES[source]}: {summary(found)}, first {_place(found[0])}"
    yield from remembered(audit)


def remembered(audit: Audit) -> Iterator[str]:
    """Yield a line for what was asked for and is not known to be forgotten."""
    titles = {
        "environment": "environment variables",
        "preopens": "preopened directories",
        "arguments": "arguments",
    }
    for what, name in audit.remembered.items():
        kept = "a program that has kept them will not ask the next host"
        yield f"initialisation asked for {titles[what]}" + (
            f", and no function `{name}` was found to forget them: {kept}; include wizer.h, or link with "
            f"-Wl,--export={name}"
            if name
            else f": {kept}"
        )


def summary(found: Sequence[Finding]) -> str:
    """Say how many places and bytes were found."""
    size = sum(finding.size for finding in found)
    places = f"{len(found)} place{'s' * (len(found) != 1)}"
    return f"{places}, {size} bytes" if size else places


def _place(finding: Finding) -> str:
    return finding.difference.place + (f" ({finding.name})" if finding.name else "")
