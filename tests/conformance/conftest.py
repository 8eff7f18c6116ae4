"""The report at the end of a run: the sum of all scripts, and with `-v` each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .report import Line

_PROPERTY = "specification script"


@pytest.fixture
def record(record_property: Callable[[str, object], None]) -> Callable[[Line], None]:
    """Takes a line of the report. Properties get from the process that runs it to the one that reports."""
    return lambda line: record_property(_PROPERTY, asdict(line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    from .report import Line, summary

    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    properties = [pair for report in calls for pair in report.user_properties]
    recorded = [Line(**value) for name, value in properties if name == _PROPERTY]
    if not recorded:
        return
    terminalreporter.section("specification scripts across snapshots")
    if config.get_verbosity() > 0:
        for line in recorded:
            terminalreporter.write_line(str(line))
    for text in summary(recorded):
        terminalreporter.write_line(text)
