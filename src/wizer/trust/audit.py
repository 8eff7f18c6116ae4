"""Audit: what initialisation saw of chance, time, environment and files, and what of it is in the snapshot.

Initialisation runs in a made-up world, again and again, with one source of entropy changed at a time. What a
run leaves behind otherwise than the first one did comes from what was changed::

    run          seed  time  variables  directories     differs from the first in
    first           0     a          A   forwards
    again           0     a          A   forwards        "other": threads, imports, what nobody controls
    random       1, 2     a          A   forwards        "random"
    clock           0  b, c          A   forwards        "clock"
    env             0     a       B, C   forwards        "env"
    files           0     a          A   backwards       "files"

Sources that no guest asked for are left out. Each is changed twice, for two values may share some bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from wizer.binary.module import Module
from wizer.core.state import State
from wizer.engine.deterministic import Deterministic
from wizer.engine.text import Wasm, to_binary
from wizer.engine.trace import Trace
from wizer.engine.wasi import Wasi
from wizer.errors import TrapError
from wizer.options import Options
from wizer.records import record, replace
from wizer.session import Initialize, Session, initialized
from wizer.trust.differences import Difference, differences, merged
from wizer.trust.symbols import Symbols

SOURCES: Final = ("random", "clock", "env", "files", "other")

_START = 1_000_000_000 * 10**9  # the time of the first run, in nanoseconds since 1970
_TEXT = 4096  # bytes of a string looked at on either side
_GAP = 7  # equal bytes between two that differ that still are one range

# The calls that tell that a source is asked for.
_ASKS: Final[Mapping[str, frozenset[str]]] = {
    "random": frozenset(
        {
            "random_get",
            "get-random-bytes",
            "get-random-u64",
            "get-insecure-random-bytes",
            "get-insecure-random-u64",
            "insecure-seed",
        }
    ),
    "clock": frozenset(
        {
            "clock_time_get",
            "poll_oneoff",
            "fd_filestat_get",
            "path_filestat_get",
            "now",
            "subscribe-duration",
            "subscribe-instant",
            "[method]descriptor.stat",
            "[method]descriptor.stat-at",
        }
    ),
    "env": frozenset({"environ_get", "environ_sizes_get", "get-environment"}),
    "files": frozenset(
        {
            "fd_readdir",
            "fd_filestat_get",
            "path_filestat_get",
            "[method]descriptor.read-directory",
            "[method]descriptor.metadata-hash",
            "[method]descriptor.metadata-hash-at",
        }
    ),
}


@record
class Finding:
    """A place in the snapshot that depends on a source of entropy.

    Attributes:
        source: one of `SOURCES`.
        difference: the place, and what two runs left there.
        name: what the module calls it, or what part of memory it is in; empty where nothing says.
    """

    source: str
    difference: Difference
    name: str = ""

    @property
    def size(self) -> int:
        """How many bytes of memory it is; 0 for what is not memory."""
        span = self.difference.span
        return 0 if span is None else span[1] - span[0]


@record
class Audit:
    """What an audit found.

    Attributes:
        findings: places that depend on chance, time and the like, by source and place.
        calls: how often initialisation called which import, by module and name, most often first.
        files: the paths that it opened.
        left_open: those that it did not close, by file descriptor: the number means nothing later.
        variables: the environment variables whose values are in the snapshot.
        failures: the sources under whose change initialisation failed, and how.
        unobserved: imported functions whose calls are not counted, by module and name: those of other
            modules, what only ends a component, and what the engine's package has no values for.
    """

    findings: tuple[Finding, ...]
    calls: Mapping[tuple[str, str], int]
    files: tuple[str, ...]
    left_open: Mapping[int, str]
    variables: tuple[str, ...]
    failures: Mapping[str, str]
    unobserved: tuple[tuple[str, str], ...] = ()

    def frozen(self, allow: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the sources that the snapshot depends on, without those in ``allow``."""
        found = {finding.source for finding in self.findings} | set(self.failures)
        return tuple(source for source in SOURCES if source in found and source not in allow)


def audit_with(
    options: Options, wasm: Wasm, *, initialize: Initialize | None = None, quiet: bool = False
) -> Audit:
    """Audit what initialisation makes of ``wasm``.

    Args:
        options: how to run it. Its standard input is empty, and only the first run prints.
        wasm: the module.
        initialize: initialises in a session, in the place of the functions that ``options`` name.
        quiet: not even the first run prints.
    """
    binary = to_binary(wasm)
    wasi = options.wasi
    if wasi is not None and wasi.stdin == "inherit":
        wasi = replace(wasi, stdin="null")

    def run(world: Deterministic, wasi: Wasi | None, trace: Trace | None = None) -> Session:
        return initialized(binary, options.changed(wasi=wasi, deterministic=world, trace=trace), initialize)

    trace = Trace()
    printing = _silent(wasi) if quiet and wasi is not None else wasi
    with run(Deterministic(network=True, start=_START), printing, trace) as first:
        return _Audit(first, trace, run, wasi).result()


def _silent(wasi: Wasi) -> Wasi:
    return replace(wasi, stdout="null", stderr="null")


@record
class _Core:
    """The first run's module, or one of the core instances of its component."""

    label: str
    module: Module
    state: State
    symbols: Symbols

    def finding(self, source: str, difference: Difference) -> Finding:
        """Return a finding; ranges of memory are given what the first run left there."""
        place, held, name = difference.place, difference.first, ""
        if difference.span is not None:
            start, end = difference.span
            memory = self.module.describe("memory", difference.index)
            place = f"{memory} at {start:#x}" + (f"..{end:#x}" if end - start > 1 else "")
            held = bytes(self.state.memories[difference.index].view[start : min(end, start + 16)]).hex(" ")
            name = self.symbols.name(difference.index, start)
        place = f"{self.label}: {place}" if self.label else place
        return Finding(source, replace(difference, place=place, first=held), name)

    def text_around(self, memidx: int, start: int, end: int) -> bytes:
        """Return the zero-terminated string that a range of memory is in."""
        view = self.state.memories[memidx].view
        around = bytes(view[max(start - _TEXT, 0) : end + _TEXT])
        low = min(start, _TEXT)
        stop = around.find(b"\0", low + end - start)
        return around[around.rfind(b"\0", 0, low) + 1 : stop if stop >= 0 else None]


_Found = list[tuple[int, Difference]]  # the core instance's number, and where it differs


class _Audit:
    """One audit: the first run, and the others beside it."""

    def __init__(
        self,
        first: Session,
        trace: Trace,
        run: Callable[[Deterministic, Wasi | None], Session],
        wasi: Wasi | None,
    ) -> None:
        self._cores = [_Core(*core, Symbols(core[1])) for core in first.states()]
        self._trace = trace
        self._run = run
        self._wasi = None if wasi is None else _silent(wasi)
        self._failures: dict[str, str] = {}

    def result(self) -> Audit:
        own = self._differences("other", [(Deterministic(network=True, start=_START), self._wasi)])
        found = {"other": own}
        for source, changed in self._changes():
            found[source] = _without(self._differences(source, changed), own)
        findings = [
            self._cores[number].finding(source, difference)
            for source in SOURCES
            for number, difference in found.get(source, ())
        ]
        return Audit(
            tuple(findings),
            dict(self._trace.calls.most_common()),
            tuple(self._trace.files),
            dict(self._trace.open),
            self._variables(found.get("env", ())),
            self._failures,
            tuple(self._trace.unobserved),
        )

    def _changes(self) -> Iterator[tuple[str, list[tuple[Deterministic, Wasi | None]]]]:
        """Yield the sources that were asked for, and how to change each of them."""
        called = {name for _, name in self._trace.calls}
        worlds = {
            "random": [Deterministic(network=True, seed=seed, start=_START) for seed in (1, 2)],
            "clock": [
                Deterministic(network=True, start=_START + 123_456_789_012_345_678, step=1_234_567),
                Deterministic(network=True, start=_START + 45_678_901_234_567_890, step=7_654_321),
            ],
            "files": [Deterministic(network=True, start=_START, reverse=True)],
        }
        for source, asks in _ASKS.items():
            if not called & asks:
                continue
            if source == "env":
                variables = _variables(self._wasi)
                if self._wasi is not None and variables:
                    first = Deterministic(network=True, start=_START)
                    yield (
                        source,
                        [
                            (first, replace(self._wasi, inherit_env=False, env=_shifted(variables, by)))
                            for by in (1, 2)
                        ],
                    )
            else:
                yield source, [(world, self._wasi) for world in worlds[source]]

    def _differences(self, source: str, changed: Sequence[tuple[Deterministic, Wasi | None]]) -> _Found:
        """Return where changed runs differ from the first, each place once and memory in ranges."""
        places: dict[tuple[int, str], Difference] = {}
        for world, wasi in changed:
            try:
                session = self._run(world, wasi)
            except TrapError as error:
                self._failures[source] = str(error)
                continue
            with session:
                for number, (core, other) in enumerate(zip(self._cores, session.states(), strict=True)):
                    for difference in differences((core.module, core.state), other[1:]):
                        places.setdefault((number, difference.place), difference)
        ranges: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for (number, _), difference in places.items():
            if difference.span is not None:
                ranges.setdefault((number, difference.index), []).append(difference.span)
        found = [
            (number, Difference("memory", memidx, "", "", "other bytes", span))
            for (number, memidx), spans in ranges.items()
            for span in merged(sorted(spans), _GAP)
        ]
        return found + [(number, d) for (number, _), d in places.items() if d.span is None]

    def _variables(self, found: Iterable[tuple[int, Difference]]) -> tuple[str, ...]:
        """Return the variables whose values stand where the environment made a difference."""
        names: set[str] = set()
        for number, difference in found:
            if difference.span is not None:
                text = self._cores[number].text_around(difference.index, *difference.span)
                variables = _variables(self._wasi).items()
                names |= {name for name, value in variables if value and value.encode() in text}
        return tuple(sorted(names))


def _variables(wasi: Wasi | None) -> dict[str, str]:
    """Return the variables that a guest sees."""
    if wasi is None:
        return {}
    return {**os.environ, **wasi.env} if wasi.inherit_env else dict(wasi.env)


def _shifted(variables: Mapping[str, str], by: int) -> dict[str, str]:
    """Return variables of the same lengths whose letters and digits are others of their kind."""
    kinds = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789")
    table = str.maketrans({kind[i]: kind[(i + by) % len(kind)] for kind in kinds for i in range(len(kind))})
    return {name: value.translate(table) for name, value in variables.items()}


def _without(found: _Found, own: _Found) -> _Found:
    """Return the differences that are not where two runs of the same kind differ, too."""
    places = {(number, d.place) for number, d in own if d.span is None}
    spans = [(number, d.index, *d.span) for number, d in own if d.span is not None]
    return [
        (number, difference)
        for number, difference in found
        if (number, difference.place) not in places
        and not (
            difference.span is not None
            and any(
                (number, difference.index) == (core, memidx)
                and low <= difference.span[0]
                and difference.span[1] <= high
                for core, memidx, low, high in spans
            )
        )
    ]
