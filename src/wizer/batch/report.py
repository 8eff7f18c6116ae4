"""What came of a build, for machines and for people: a JSON document, a page, JUnit's XML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from wizer.batch.jobs import Result

_WORDS: Final = {"made": "made", "current": "up to date", "failed": "failed"}


def document(results: Sequence[Result], titles: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return a JSON document about a build.

    Args:
        results: what came of the jobs that began.
        titles: those of all jobs.
        seconds: what all took together, wall time.
    """
    import wizer

    begun = {result.job for result in results}
    return {
        "wizer": wizer.__version__,
        "seconds": round(seconds, 3),
        "counts": {outcome: sum(r.outcome == outcome for r in results) for outcome in _WORDS},
        "not_begun": [title for title in titles if title not in begun],
        "snapshots": [
            {
                "name": result.job,
                "output": str(result.output),
                "outcome": result.outcome,
                "size": result.size,
                "seconds": round(result.seconds, 6),
                "warnings": list(result.warnings),
                "chance": list(result.chance),
                "error": None if result.error is None else str(result.error),
            }
            for result in sorted(results, key=lambda result: result.job)
        ],
    }


_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #8885; vertical-align: top; }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
tr.failed td:nth-child(2) {{ color: #d33; font-weight: 600; }}
pre {{ white-space: pre-wrap; margin: 0; font-size: .85rem; }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
<table><thead><tr><th>snapshot<th>outcome<th>output<th class="n">bytes<th class="n">ms<th>notes</thead>
<tbody>
{rows}
</tbody></table>
</html>
"""


def page(made: dict[str, Any]) -> str:
    """Return a page of HTML about a build; it loads nothing and runs nothing.

    Args:
        made: what `document` returned.
    """
    counts = made["counts"]
    left = len(made["not_begun"])
    summary = ", ".join(f"{counts[outcome]} {word}" for outcome, word in _WORDS.items())
    return _PAGE.format(
        title="Wizer: a build",
        summary=f"{summary}{f', {left} not begun' if left else ''}; {made['seconds']:.2f} s",
        rows="\n".join(map(_row, made["snapshots"])),
    )


def _row(snapshot: dict[str, Any]) -> str:
    notes = [snapshot["error"] or "", *snapshot["warnings"]]
    if snapshot["chance"]:
        notes.append(f"looked at {' and '.join(snapshot['chance'])} without `deterministic`")
    text = html.escape("\n".join(note for note in notes if note))
    return (
        f'<tr class="{snapshot["outcome"]}"><td>{html.escape(snapshot["name"])}'
        f"<td>{_WORDS[snapshot['outcome']]}<td>{html.escape(snapshot['output'])}"
        f'<td class="n">{snapshot["size"]:,}<td class="n">{snapshot["seconds"] * 1000:.1f}'
        f"<td><pre>{text}</pre>"
    )


def junit(made: dict[str, Any]) -> str:
    """Return JUnit's XML about a build, as CI servers read it: a test for each snapshot.

    https://github.com/testmoapp/junitxml

    Args:
        made: what `document` returned.
    """
    cases = [_case(snapshot) for snapshot in made["snapshots"]]
    cases += [
        f'<testcase classname="wizer" name={quoteattr(_legal(name))}><skipped message="not begun"/>'
        "</testcase>"
        for name in made["not_begun"]
    ]
    counts = f'tests="{len(cases)}" failures="{made["counts"]["failed"]}" skipped="{len(made["not_begun"])}"'
    lines = "\n".join(cases)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites><testsuite name="wizer build" {counts} time="{made["seconds"]}">\n{lines}\n'
        "</testsuite></testsuites>\n"
    )


def _case(snapshot: dict[str, Any]) -> str:
    name = quoteattr(_legal(snapshot["name"]))
    opening = f'<testcase classname="wizer" name={name} time="{snapshot["seconds"]}"'
    if snapshot["error"] is None:
        warnings = "\n".join(snapshot["warnings"])
        inside = f"<system-err>{escape(_legal(warnings))}</system-err>" if warnings else ""
        return f"{opening}>{inside}</testcase>" if inside else f"{opening}/>"
    first = quoteattr(_legal(snapshot["error"].splitlines()[0]))
    text = escape(_legal(snapshot["error"]))
    return f"{opening}><failure message={first}>{text}</failure></testcase>"


def _legal(text: str) -> str:
    """Return text with the characters that XML 1.0 has no place for escaped."""
    return "".join(
        c
        if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
        else c.encode("unicode_escape").decode()
        for c in text
    )
