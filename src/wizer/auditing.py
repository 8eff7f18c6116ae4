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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from wizer.api import Wizer
from wizer.differences import Difference, differences, merged
from wizer.engine.deterministic import Deterministic
from wizer.engine.text import Wasm, to_binary
from wizer.engine.trace import Trace
from wizer.engine.wasi import Wasi
from wizer.errors import TrapError
from wizer.session import Session
from wizer.state import MemoryState
from wizer.symbols import Symbols

SOURCES: Final = ("random", "clock", "env", "files", "other")

_START = 1_000_000_000 * 10**9  # the time of the first run, in nanoseconds since 1970
_GAP = 7  # equal bytes between two that differ that still are one range

# The calls that tell that a source is asked for.
_ASKS: Final[Mapping[str, frozenset[str]]] = {
    "random": frozenset({"random_get"}),
    "clock": frozenset(
        {"clock_time_get", "clock_res_get", "poll_oneoff", "fd_filestat_get", "path_filestat_get"}
    ),
    "env": frozenset({"environ_get", "environ_sizes_get"}),
    "files": frozenset({"fd_readdir", "fd_filestat_get", "path_filestat_get"}),
}


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        findings: places that depend on chance, time and the like, by source and place.
        calls: how often initialisation called which import, by module and name, most often first.
        files: the paths that it opened.
        left_open: those that it did not close, by file descriptor: the number means nothing later.
        variables: the environment variables whose values are in the snapshot.
        failures: the sources under whose change initialisation failed, and how.
    """

    findings: tuple[Finding, ...]
    calls: Mapping[tuple[str, str], int]
    files: tuple[str, ...]
    left_open: Mapping[int, str]
    variables: tuple[str, ...]
    failures: Mapping[str, str]

    def frozen(self, allow: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the sources that the snapshot depends on, without those in ``allow``."""
        found = {finding.source for finding in self.findings} | set(self.failures)
        return tuple(source for source in SOURCES if source in found and source not in allow)


def audit(wasm: Wasm, imports: Mapping[str, Any] | None = None, **options: Any) -> Audit:
    """Find out what of chance, time, environment and files initialisation leaves in a snapshot.

    Args:
        wasm: the module.
        imports: what it imports; see `Session`.
        options: see `Wizer`; ``deterministic`` has no effect here.

    Raises:
        WizerError: as for `Wizer.run`; only the first run's failure is an error.
    """
    return audit_with(Wizer(**options), wasm, imports)


def audit_with(
    wizer: Wizer,
    wasm: Wasm,
    imports: Mapping[str, Any] | None = None,
    *,
    wasi: Wasi | None = None,
    quiet: bool = False,
    **options: Any,
) -> Audit:
    """Audit what ``wizer`` makes of ``wasm``.

    Args:
        wizer: the pre-initialiser.
        wasm: the module.
        imports: what it imports; see `Session`.
        wasi: what ``wizer`` was given; its standard input is empty here, and only the first run prints.
        quiet: not even the first run prints.
        options: further ones for sessions.
    """
    wasi = wizer.wasi if wasi is None else wasi
    binary = to_binary(wasm)
    first_wasi = (
        wasi if wasi is None else replace(wasi, stdin="null" if wasi.stdin == "inherit" else wasi.stdin)
    )

    def run(world: Deterministic, wasi: Wasi | None, trace: Trace | None = None) -> Session:
        session = wizer.session(binary, imports, wasi=wasi, deterministic=world, trace=trace, **options)
        try:
            wizer.initialize(session)
        except BaseException:
            session.close()
            raise
        return session

    trace = Trace()
    printing = first_wasi if not quiet or first_wasi is None else _silent(first_wasi)
    with run(Deterministic(start=_START), printing, trace) as first:
        return _Audit(first, trace, run, first_wasi).result()


def _silent(wasi: Wasi) -> Wasi:
    return replace(wasi, stdout="null", stderr="null")


class _Audit:
    """One audit: the first run, and the others beside it."""

    def __init__(
        self,
        first: Session,
        trace: Trace,
        run: Callable[[Deterministic, Wasi | None], Session],
        wasi: Wasi | None,
    ) -> None:
        self._first = (first.module, first.state())
        self._trace = trace
        self._run = run
        self._wasi = None if wasi is None else _silent(wasi)
        self._symbols = Symbols(first.module)
        self._failures: dict[str, str] = {}

    def result(self) -> Audit:
        own = self._differences("other", [(Deterministic(start=_START), self._wasi)])
        findings = [*self._findings("other", own)]
        for source, changed in self._changes():
            found = self._differences(source, changed)
            findings += self._findings(source, _without(found, own))
        return Audit(
            tuple(sorted(findings, key=lambda finding: SOURCES.index(finding.source))),
            dict(self._trace.calls.most_common()),
            tuple(self._trace.files),
            dict(self._trace.open),
            self._variables(findings),
            self._failures,
        )

    def _changes(self) -> Iterator[tuple[str, list[tuple[Deterministic, Wasi | None]]]]:
        """Yield the sources that were asked for, and how to change each of them."""
        called = {name for _, name in self._trace.calls}
        worlds = {
            "random": [Deterministic(seed=seed, start=_START) for seed in (1, 2)],
            "clock": [
                Deterministic(start=_START + 123_456_789_012_345_678, step=1_234_567),
                Deterministic(start=_START + 45_678_901_234_567_890, step=7_654_321),
            ],
            "files": [Deterministic(start=_START, reverse=True)],
        }
        for source, asks in _ASKS.items():
            if not called & asks:
                continue
            if source == "env":
                variables = _variables(self._wasi)
                if self._wasi is not None and variables:
                    first = Deterministic(start=_START)
                    yield (
                        source,
                        [
                            (first, replace(self._wasi, inherit_env=False, env=_shifted(variables, by)))
                            for by in (1, 2)
                        ],
                    )
            else:
                yield source, [(world, self._wasi) for world in worlds[source]]

    def _differences(
        self, source: str, changed: Sequence[tuple[Deterministic, Wasi | None]]
    ) -> list[Difference]:
        """Return where changed runs differ from the first, each place once and memory in ranges."""
        places: dict[str, Difference] = {}
        for world, wasi in changed:
            try:
                session = self._run(world, wasi)
            except TrapError as error:
                self._failures[source] = str(error)
                continue
            with session:
                for difference in differences(self._first, (session.module, session.state())):
                    places.setdefault(difference.place, difference)
        ranges: dict[int, list[tuple[int, int]]] = {}
        for difference in places.values():
            if difference.span is not None:
                ranges.setdefault(difference.index, []).append(difference.span)
        found = [
            self._range(memidx, start, end)
            for memidx, spans in ranges.items()
            for start, end in merged(sorted(spans), _GAP)
        ]
        return found + [difference for difference in places.values() if difference.span is None]

    def _range(self, memidx: int, start: int, end: int) -> Difference:
        name = self._first[0].describe("memory", memidx)
        place = f"{name} at {start:#x}" + (f"..{end:#x}" if end - start > 1 else "")
        held = bytes(self._memory(memidx).view[start : min(end, start + 16)]).hex(" ")
        return Difference("memory", memidx, place, held, "other bytes", (start, end))

    def _memory(self, memidx: int) -> MemoryState:
        return self._first[1].memories[memidx]

    def _findings(self, source: str, found: Sequence[Difference]) -> Iterator[Finding]:
        for difference in found:
            name = ""
            if difference.span is not None:
                name = self._symbols.name(difference.index, difference.span[0])
            yield Finding(source, difference, name)

    def _variables(self, findings: Sequence[Finding]) -> tuple[str, ...]:
        """Return the variables whose values stand where the environment made a difference."""
        found: set[str] = set()
        variables = _variables(self._wasi)
        for finding in findings:
            span = finding.difference.span
            if finding.source != "env" or span is None:
                continue
            view = self._memory(finding.difference.index).view
            around = bytes(view[max(span[0] - 4096, 0) : span[1] + 4096])
            low = min(span[0], 4096)
            start = around.rfind(b"\0", 0, low) + 1
            end = around.find(b"\0", low + span[1] - span[0])
            text = around[start : end if end >= 0 else None]
            found |= {name for name, value in variables.items() if value and value.encode() in text}
        return tuple(sorted(found))


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


def _without(found: Sequence[Difference], own: Sequence[Difference]) -> list[Difference]:
    """Return the differences that are not where two runs of the same kind differ, too."""
    places = {difference.place for difference in own}
    spans = [(d.index, *d.span) for d in own if d.span is not None]
    return [
        difference
        for difference in found
        if difference.place not in places
        and not (
            difference.span is not None
            and any(
                difference.index == memidx and low <= difference.span[0] and difference.span[1] <= high
                for memidx, low, high in spans
            )
        )
    ]
