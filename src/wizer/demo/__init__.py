"""``wizer demo``: what pre-initialisation does for a real program, measured while you watch.

The program is QuickJS running a full-text search engine (``search.js``), which builds an index of Python's
reference manual (``pydoc_data``, part of every Python) when it starts. The demo boots it in a session,
freezes it with each layout, and times all modules from instantiation to the first answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from statistics import median
from typing import TYPE_CHECKING, Any

from wizer.records import record

if TYPE_CHECKING:
    from wizer.demo.quickjs import Fresh, QuickJS
    from wizer.options import Layout

QUESTION = "How do I format a number with two decimals?"
ROUNDS = 15
ORIGINAL = "before"


@record
class Figures:
    """What was measured.

    Attributes:
        starts: by layout, and of the original, the seconds from instantiation to the first answer.
        sizes: their sizes in bytes, and compressed by gzip.
        freezing: the seconds that freezing took, compilation included.
        answer: the answer.
    """

    starts: dict[str, float]
    sizes: dict[str, tuple[int, int]]
    freezing: float
    answer: str


def measure(question: str, output: str | None = None, rounds: int = ROUNDS) -> Figures:
    """Freeze the application with each layout, and time all to the first answer; medians of ``rounds``.

    All are compiled beforehand, as a server has them; every round has new stores and new instances, and they
    take turns, so that what else the machine does meets them all.
    """
    import gc
    import zlib
    from pathlib import Path

    from wizer.demo import quickjs

    modules = {ORIGINAL: quickjs.load()}
    modules["balanced"], freezing = _timed(lambda: freeze(modules[ORIGINAL], "balanced"))
    modules["small"] = freeze(modules[ORIGINAL], "small")
    modules["instant"] = freeze(modules[ORIGINAL], "instant")
    if output is not None:
        Path(output).write_bytes(modules["balanced"])
    starters = {name: _starter(wasm) for name, wasm in modules.items()}
    times: dict[str, list[float]] = {name: [] for name in modules}
    answers = set()
    for _ in range(rounds):
        for name, start in starters.items():
            gc.collect()  # earlier stores, before the clock runs
            answer, seconds = _timed(partial(_ask, start, question, boot=name == ORIGINAL))
            times[name].append(seconds)
            answers.add(answer)
    if len(answers) > 1:
        raise AssertionError(f"the modules answer differently: {answers!r}")
    return Figures(
        {name: median(of_one) for name, of_one in times.items()},
        {name: (len(wasm), len(zlib.compress(wasm))) for name, wasm in modules.items()},
        freezing,
        answer,
    )


def freeze(wasm: bytes, layout: Layout) -> bytes:
    """Boot QuickJS and the application in a session, and return the module that starts from there."""
    import wizer
    from wizer.demo.quickjs import QuickJS

    with wizer.Session(wasm, wasi=wizer.Wasi(), layout=layout) as session:
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


def _ask(start: Callable[[], Fresh], question: str, *, boot: bool) -> str:
    import json

    from wizer.demo.quickjs import QuickJS

    guest = start()
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
    print("QuickJS, running a search engine that indexes Python's manual when it starts.")
    print(f"Question: {question}")
    print(f"Topics:   {figures.answer}\n")
    rows = [
        ("", *figures.starts),
        (
            "instantiate to first answer",
            *(f"{seconds * 1000:.1f} ms" for seconds in figures.starts.values()),
        ),
        ("size", *(f"{size / 1e6:.2f} MB" for size, _ in figures.sizes.values())),
        ("size, gzip", *(f"{packed / 1e6:.2f} MB" for _, packed in figures.sizes.values())),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        print("  ".join((name.ljust(widths[0]), *map(str.rjust, cells, widths[1:]))).rstrip())
    gain = figures.starts[ORIGINAL] / figures.starts["balanced"]
    print(
        f"\nThe frozen module starts {gain:.0f} times as fast.\n"
        f"Freezing took {figures.freezing:.2f} s, compilation included.\n"
        "`--layout` makes the difference between the frozen ones; `balanced` is the default.\n"
        f"Medians of {ROUNDS} starts each, in turns, all compiled beforehand."
    )
