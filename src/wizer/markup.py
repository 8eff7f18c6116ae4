"""Small tables in HTML, for notebooks: what is shown comes from strangers' modules and is escaped."""

from __future__ import annotations

from collections.abc import Iterable


def html_table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Return a table with a heading, and a row for each name and value."""
    from html import escape

    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>{escape(title)}</caption>{cells}</table>"


def counted(count: int, what: str) -> str:
    """Return a number of things: ``1 export``, ``2 memories``."""
    if count == 1:
        return f"1 {what}"
    return f"{count} {what[:-1]}ies" if what.endswith("y") else f"{count} {what}s"
