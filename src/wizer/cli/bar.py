"""A build on a terminal: a bar for all and a line for each snapshot in the making; a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from wizer.batch.jobs import Result
from wizer.cli.report import Manner, harmless


class Bar:
    """The bar, as long as one is inside of it.

    Args:
        count: how many snapshots there are in all.
        running: returns the names of those that are being made.
    """

    def __init__(self, count: int, running: Callable[[], Sequence[str]]) -> None:
        columns = (TextColumn("building"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns)
        self._task = self._progress.add_task("", total=count)
        self._running = running
        console = Console(stderr=True, highlight=False, markup=False)
        self._live = Live(self, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        """Draw the bar and the lines, as they are now."""
        yield self._progress
        for name in self._running():
            yield Text(f"  {harmless(name)}", overflow="ellipsis", no_wrap=True)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        Manner.erase = self._live.stop  # for a line that stays; the next move draws it again, below that
        return self

    def __exit__(self, *_: object) -> None:
        Manner.erase = None
        self._live.stop()

    def move(self, done: int) -> None:
        """Show that so many are done."""
        self._progress.update(self._task, completed=done)
        self._live.start()


def print_table(results: Sequence[Result]) -> None:
    """Print what came of the snapshots of each table of the file."""
    table = Table("snapshots", *(Column(name, justify="right") for name in _COLUMNS))
    names = dict.fromkeys(result.job.partition("[")[0] for result in results)
    for name in names:
        found = [result for result in results if result.job.partition("[")[0] == name]
        counts = [
            sum(result.outcome == outcome for result in found) for outcome in ("made", "current", "failed")
        ]
        size = sum(result.size for result in found) / 1e6
        seconds = sum(result.seconds for result in found)
        table.add_row(harmless(name), *map(str, counts), f"{size:.1f}", f"{seconds:.2f}")
    Console(highlight=False, markup=False).print(table)


_COLUMNS = ("made", "up to date", "failed", "MB", "s of workers")
