"""The report at the end of a run: the sum of all scripts, and with `-v` each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .report import Line

_LINES = pytest.StashKey[list["Line"]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LINES] = []


@pytest.fixture
def record(pytestconfig: pytest.Config) -> Callable[[Line], None]:
    """Takes a line of the report."""
    return pytestconfig.stash[_LINES].append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    recorded = config.stash[_LINES]
    if not recorded:
        return
    from . import report

    terminalreporter.section("specification scripts across snapshots")
    if config.get_verbosity() > 0:
        for text in report.lines(recorded):
            terminalreporter.write_line(text)
    for text in report.summary(recorded):
        terminalreporter.write_line(text)
