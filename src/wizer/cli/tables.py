"""Tables on standard output: drawn by ``rich`` on a terminal, plain columns elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from wizer.binary.module import one_line
from wizer.cli.report import harmless, show

_LONGEST = 60  # characters of a name out of a module that a table shows

Row = Sequence[str]


def print_table(headings: Row, rows: Sequence[Row], right: str = "") -> None:
    """Print a table.

    Args:
        headings: what stands above each column.
        rows: the cells.
        right: which columns are flush right, as a letter each: ``"lrr"``; by default none.
    """
    cells = [[harmless(one_line(cell)) for cell in row] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty() and _draw(headings, cells, right):
        return
    table = [list(headings), *cells]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    for row in table:
        padded = [
            cell.rjust(width) if right[at : at + 1] == "r" else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        show(("  " + "  ".join(padded)).rstrip())


def _draw(headings: Row, rows: Sequence[Row], right: str) -> bool:
    """Draw a table with rich, if it is there."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return False
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="right" if right[at : at + 1] == "r" else "left")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, emoji=False).print(table)
    return True


def named(name: str) -> str:
    """Return a name out of a module for a line of text, line ends escaped; long ones without their middle."""
    half = (_LONGEST - 1) // 2
    return one_line(name if len(name) <= _LONGEST else f"{name[:half]}…{name[-half:]}")


def share(part: int, whole: int) -> str:
    """Return a part of a whole in per cent."""
    return f"{100 * part / whole:.1f} %" if whole else ""


def grouped(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"


def many(count: int, what: str) -> str:
    """Return a number of things: ``1 page``, ``65,536 pages``."""
    return f"{grouped(count)} {what}{'s' * (count != 1)}"


def readable(size: int) -> str:
    """Return a number of bytes for a sentence: ``512 bytes``, ``2.9 MB``."""
    if size < 10_000:
        return f"{size:,} byte{'s' * (size != 1)}"
    for unit, scale in (("kB", 1e3), ("MB", 1e6)):
        if size < scale * 999.5:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 1e9:.3g} GB"
