"""``wizer demo``: what pre-initialisation does for a real program, measured while you watch.

The program is QuickJS running a full-text search engine (``search.js``), which builds an index of Python's
reference manual (``pydoc_data``, part of every Python) when it starts. The demo boots it in a session,
freezes it, and times both modules from instantiation to the first answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from statistics import median
from typing import TYPE_CHECKING, Any

from wizer.records import record

if TYPE_CHECKING:
    from wizer.demo.quickjs import Fresh, QuickJS

QUESTION = "How do I format a number with two decimals?"
ROUNDS = 15


@record
class Figures:
    """What was measured: seconds and bytes."""

    before: float
    after: float
    freezing: float
    size_before: int
    size_after: int
    answer: str


def main(arguments: Sequence[str]) -> int:
    """Run ``wizer demo`` and return the exit status."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="wizer demo", description="Freeze a JavaScript engine with an application in it, and time both."
    )
    parser.add_argument("question", nargs="?", default=QUESTION, help="what to ask the search engine")
    parser.add_argument("-o", "--output", metavar="FILE", help="keep the frozen module")
    options = parser.parse_args(arguments)
    show(options.question, measure(options.question, options.output))
    return 0


def measure(question: str, output: str | None = None, rounds: int = ROUNDS) -> Figures:
    """Freeze the application, and time both modules to the first answer; the median of ``rounds``.

    Both are compiled beforehand, as a server has them; every round has a new store and a new instance, and
    the two take turns, so that what else the machine does meets both.
    """
    from pathlib import Path

    from wizer.demo import quickjs

    original = quickjs.load()
    frozen, freezing = _timed(lambda: freeze(original))
    if output is not None:
        Path(output).write_bytes(frozen)
    start_original, start_frozen = _starter(original), _starter(frozen)
    before, after = [], []
    for _ in range(rounds):
        answer, seconds = _timed(lambda: _ask(start_original(), question, boot=True))
        before.append(seconds)
        same, seconds = _timed(lambda: _ask(start_frozen(), question, boot=False))
        after.append(seconds)
        if answer != same:
            raise AssertionError(f"the frozen module answers {same!r}, not {answer!r}")
    return Figures(median(before), median(after), freezing, len(original), len(frozen), answer)


def freeze(wasm: bytes) -> bytes:
    """Boot QuickJS and the application in a session, and return the module that starts from there."""
    import wizer
    from wizer.demo.quickjs import QuickJS

    with wizer.Session(wasm, wasi=wizer.Wasi()) as session:
        _load_application(QuickJS(session))
        return session.snapshot()


def _load_application(javascript: QuickJS) -> None:
    from pydoc_data.topics import topics

    javascript.boot()
    javascript.define("documents", topics)
    javascript.evaluate(files(__name__).joinpath("search.js").read_text("utf-8"))


def _starter(wasm: bytes) -> Callable[[], Fresh]:
    """Compile ``wasm``; return what makes instances of it."""
    import wasmtime

    from wizer.demo.quickjs import Fresh

    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    module = wasmtime.Module(engine, wasm)
    return lambda: Fresh(linker, module)


def _ask(guest: Fresh, question: str, *, boot: bool) -> str:
    import json

    from wizer.demo.quickjs import QuickJS

    javascript = QuickJS(guest)
    if boot:
        guest.call("_initialize")
        _load_application(javascript)
    return javascript.evaluate(f"search({json.dumps(question)})")


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def show(question: str, figures: Figures) -> None:
    """Print the answer and the figures."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    console.print("QuickJS, running a search engine that indexes Python's manual when it starts.")
    console.print(f"[dim]Question:[/] {question}")
    console.print(f"[dim]Topics:[/]   {figures.answer}\n")
    table = Table()
    for title in ("", "before", "after"):
        table.add_column(title, justify="right" if title else "left")
    table.add_row(
        "instantiate to first answer", f"{figures.before * 1000:.1f} ms", f"{figures.after * 1000:.1f} ms"
    )
    table.add_row("size", f"{figures.size_before / 1e6:.2f} MB", f"{figures.size_after / 1e6:.2f} MB")
    console.print(table)
    console.print(
        f"The frozen module starts [bold]{figures.before / figures.after:.0f} times[/] as fast.\n"
        f"Freezing took {figures.freezing:.2f} s, compilation included.\n"
        f"[dim]Medians of {ROUNDS} starts each, in turns, both compiled beforehand.[/]"
    )
