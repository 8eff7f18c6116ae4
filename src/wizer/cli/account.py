"""What a run did and what it took: collected while it runs, said at its end under ``--verbose``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Self

from wizer.cli.files import STDIO
from wizer.cli.report import Manner
from wizer.engine.trace import Trace
from wizer.progress import PROGRESS
from wizer.units import written_size

if TYPE_CHECKING:
    from wizer.binary.module import Module
    from wizer.cli.options import RunOptions
    from wizer.options import Options
    from wizer.pages.document import RunInfo
    from wizer.session import Session

_MOST_NAMED: Final = 12  # imports and functions that are named


class Account:
    """Collects what there is to say of a run, while one is inside of it.

    Attributes:
        trace: is told of the calls of imports, and of files.
        notes: what the run met that is neither an error nor a warning.
        remarks: what was said that is no error.
    """

    def __init__(self) -> None:
        self.trace: Trace = Trace()
        self.notes: list[str] = []
        self.remarks: list[str] = []

    def __enter__(self) -> Self:
        PROGRESS.listeners.append(self._heard)
        Manner.remarks = self.remarks
        return self

    def __exit__(self, *_: object) -> None:
        PROGRESS.listeners.remove(self._heard)
        Manner.remarks = None

    def _heard(self, kind: str, *content: object) -> None:
        if kind == "note":
            self.notes.append(str(content[0]))

    def info(self, given: RunOptions, options: Options, session: Session, output: bytes) -> RunInfo:
        """Return what the run did up to now, for a report."""
        from wizer.cli.depfile import files_read

        PROGRESS.end()
        trace = self.trace
        return {
            "input": given.input,
            "output": given.output or STDIO,
            "layout": options.layout,
            "seconds": dict(PROGRESS.times),
            "ran": [{"name": n, "count": c} for n, c in Counter(name for name, _ in session.results).items()],
            "calls": [{"module": m, "name": n, "count": c} for (m, n), c in trace.calls.most_common()],
            "unobserved": [{"module": module, "name": name} for module, name in trace.unobserved],
            "files": list(files_read(given, options.wasi, trace)),
            "warnings": [text.partition(": ")[2] for text in self.remarks if text.startswith("warning: ")],
            "notes": self.notes,
            "limits": _limits(options, session, _modules(output)),
        }

    def lines(self, options: Options, session: Session, source: bytes, output: bytes) -> Iterator[str]:
        """Yield what the run did, each fact with a heading."""
        from wizer.engine.text import to_binary

        PROGRESS.end()
        yield f"time: {_times(PROGRESS.times)}"
        before = len(to_binary(source))  # of text, too
        yield f"size: {before} bytes in, {len(output)} bytes out, {len(output) / before:.2f} times as large"
        modules = _modules(output)
        for module in modules:
            yield from _memory_lines(module, options)
        for name, count in _shortened(Counter(name for name, _ in session.results)):
            yield f"ran: {name}{_often(count)}"
        for name, count in _shortened(Counter({f"`{m}::{n}`": c for (m, n), c in self.trace.calls.items()})):
            yield f"called: {name}{_often(count)}"
        if self.trace.unobserved:
            names = _shortened(Counter(f"`{module}::{name}`" for module, name in self.trace.unobserved))
            yield f"calls not counted: {', '.join(name for name, _ in names)}"
        if used := _limits(options, session, modules):
            yield f"limits: {', '.join(used)}"
        for note in self.notes:
            yield f"note: {note}"


def _times(times: Mapping[str, float]) -> str:
    """Word a total and its parts, the longest first: ``0.41 s (compiling 0.30 s, initialising 0.11 s)``."""
    parts = sorted(times.items(), key=lambda part: -part[1])
    named = ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in parts if seconds >= 0.001)
    return f"{sum(times.values()):.3f} s ({named})"


def _shortened(counts: Counter[str]) -> list[tuple[str, int]]:
    """Return names and counts, the highest first; of many, what is left together."""
    ordered = counts.most_common()
    if len(ordered) <= _MOST_NAMED:
        return ordered
    rest = ordered[_MOST_NAMED:]
    return [*ordered[:_MOST_NAMED], (f"{len(rest)} others", sum(count for _, count in rest))]


def _often(count: int) -> str:
    return "" if count == 1 else f", {count} times"


def _modules(output: bytes) -> list[Module]:
    """Return the module that an output is, or those in a component, as often as they are instantiated."""
    from wizer.binary.module import parse_module
    from wizer.binary.sections import is_component

    if not is_component(output):
        return [parse_module(output)]
    from wizer.component.instances import evaluate
    from wizer.component.parse import parse_component

    return [core.module for core in evaluate(parse_component(output)).cores]


def _memory_lines(module: Module, options: Options) -> Iterator[str]:
    """Say what memories hold, in how many segments, and whether instances copy it."""
    from wizer.contents.mapping import active, obstacle

    for memidx, memory in enumerate(module.memories):
        own = active(module, memidx)
        held = sum(segment.end - segment.start for segment in own)
        name, size = module.describe("memory", memidx), memory.limits.minimum * memory.page_size
        segments = f"{len(own)} data segment{'s' * (len(own) != 1)}"
        yield f"{name}: {held} of {size} bytes in {segments} (layout {options.layout})"
        if why := obstacle(module, memidx):
            yield f"note: every instance copies what {name} holds: {why}"


def _limits(options: Options, session: Session, modules: Sequence[Module]) -> list[str]:
    """Say how near the run came to its limits."""
    bounds, used = options.bounds, list[str]()
    if bounds.timeout is not None:
        used.append(f"{PROGRESS.times.get('initialising', 0.0):.3f} s of {bounds.timeout:g} s")
    if bounds.fuel is not None:
        used.append(f"{bounds.fuel - session.store.get_fuel()} of {bounds.fuel} units of fuel")
    if bounds.max_memory is not None:
        size = sum(m.limits.minimum * m.page_size for module in modules for m in module.memories)
        used.append(f"{written_size(size)} of {written_size(bounds.max_memory)} of memory")
    return used
