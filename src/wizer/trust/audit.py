"""Audit: what initialisation saw of chance, time, environment and files, and what of it is in the snapshot.

Initialisation runs in a made-up world, and then in others, in which one source is changed at a time
(`wizer.trust.worlds`). What a run leaves behind otherwise than the first one did comes from that::

    runs         differ from the first in                         so their differences are
    first
    again        nothing                                          "other": threads, what nobody controls
    all at once  every source that was asked for                  from one of these; where there are none,
                                                                  nothing is frozen, and no more runs are made
    random       the bits, all of them, then at random            "random"
    files        order, numbers and contents                      "files"
    …

The contents of files are changed on their way to the guest, letters for letters and digits for digits. Where
initialisation does not get along with that, the originals are searched for instead.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wizer.binary.module import Module
from wizer.contents.symbols import Symbols
from wizer.core.libc import remembered
from wizer.core.state import Array, State
from wizer.engine.text import Wasm, to_binary
from wizer.engine.trace import Trace
from wizer.engine.wasi import Wasi
from wizer.errors import TrapError, asking_for_numpy
from wizer.options import Options
from wizer.records import record, replace
from wizer.session import Initialize, Session, initialized
from wizer.trust.differences import (
    Difference,
    differences_but_bytes,
    differing_ranges,
    joined,
    memory_pairs,
)
from wizer.trust.findings import CONTENTS, Audit, Finding
from wizer.trust.worlds import FIRST, RUNS, SOURCES, World, asked, changed, others, variables

if TYPE_CHECKING:
    from wizer.trust.differences import Ranges

_TEXT: Final = 4096  # bytes of a string looked at on either side
_GAP: Final = 7  # equal bytes between two that differ that still are one range
_MOST_READ: Final = 1 << 24  # bytes of a file that are searched for
_WORD: Final = 8  # bytes
_LINE: Final = 6  # bytes: shorter ones are found everywhere


@asking_for_numpy()
def audit_with(
    options: Options, wasm: Wasm, *, initialize: Initialize | None = None, quiet: bool = False
) -> Audit:
    """Audit what initialisation makes of ``wasm``.

    Args:
        options: how to run it. Every run sees the same standard input, and only the first one prints.
        wasm: the module.
        initialize: initialises in a session, in the place of the functions that ``options`` name.
        quiet: not even the first run prints.
    """
    binary = to_binary(wasm)
    options = with_input(options, binary)

    def run(world: World, trace: Trace | None = None) -> Session:
        given = options.changed(wasi=world.wasi, deterministic=world.settings, trace=trace)
        return initialized(binary, given, initialize)

    trace = Trace()
    world = World(FIRST, None if options.wasi is None else silent(options.wasi))
    with run(world if quiet else World(FIRST, options.wasi), trace) as first:
        found = _Audit(first, trace, run, world).result()
        if options.keep_libc_state:
            return found
        called = {name for _, name in trace.calls}
        kept = [remembered(module, called) for _, module, _ in first.states()]
        return replace(found, remembered={what: name for each in kept for what, name in each.items()})


def with_input(options: Options, wasm: bytes) -> Options:
    """Return options with which every run sees the same standard input: what there is of it is read now.

    That is where the module or component imports what reads it, and it is no terminal.
    """
    wasi = options.wasi
    if wasi is None or wasi.stdin != "inherit":
        return options
    reads = any(name in wasm for name in (b"fd_read", b"wasi:cli/stdin"))
    interactive = sys.stdin is None or sys.stdin.isatty()
    data = sys.stdin.buffer.read() if reads and not interactive else b""
    return options.changed(wasi=replace(wasi, stdin=data))


def silent(wasi: Wasi) -> Wasi:
    """Return what the guest sees of the host, but that it prints nothing."""
    return replace(wasi, stdout="null", stderr="null")


@record
class _Core:
    """The first run's module, or one of the core instances of its component."""

    label: str
    module: Module
    state: State
    symbols: Symbols

    def finding(self, source: str, difference: Difference, origins: Origins) -> Finding:
        """Return a finding; ranges of memory are given what the first run left there."""
        place, held, name, origin, dead = difference.place, difference.first, "", "", False
        if difference.span is not None:
            start, end = difference.span
            memory = self.module.describe("memory", difference.index)
            place = f"{memory} at {start:#x}" + (f"..{end:#x}" if end - start > 1 else "")
            view = self.state.memories[difference.index].view
            held = bytes(view[start : min(end, start + 16)]).hex(" ")
            name = self.symbols.name(difference.index, start)
            origin = origins.of(source, bytes(view[start:end]))
            dead = self.symbols.is_dead(self.state, difference.index, end)
        place = f"{self.label}: {place}" if self.label else place
        return Finding(source, replace(difference, place=place, first=held), name, origin, dead)

    def text_around(self, memidx: int, start: int, end: int) -> bytes:
        """Return what stands around a range of memory."""
        return bytes(self.state.memories[memidx].view[max(start - _TEXT, 0) : end + _TEXT])

    def search(self, pattern: re.Pattern[bytes]) -> Iterator[Difference]:
        """Yield where bytes stand in memory and in arrays."""
        for memidx, memory in self.state.memories.items():
            for match in pattern.finditer(memory.view):
                yield Difference("memory", memidx, "", "", "the contents", match.span())
        for number, held in enumerate(self.state.heap):
            within = pattern.search(held.data) if isinstance(held, Array) else None
            if within is not None:
                shown = within.group()[:16].hex(" ")
                yield Difference("heap", number, f"array {number} of the heap", shown, "the contents")


class Origins:
    """What was read, to be found again: contents by source and by what to call them."""

    def __init__(self, trace: Trace, wasi: Wasi | None) -> None:
        self.contents: dict[str, dict[str, bytes]] = {"files": {}, "stdin": {}, "env": {}, "args": {}}
        if wasi is None:
            return
        for path in trace.read:
            host = wasi.host_path(path)
            if host is not None:
                self.contents["files"][f"{path} (host: {host})"] = _contents(host)
        if isinstance(wasi.stdin, bytes) and trace.stdin:
            self.contents["stdin"]["standard input"] = wasi.stdin
        self.contents["env"] = {name: value.encode() for name, value in variables(wasi).items() if value}
        self.contents["args"] = {f"argument {arg!r}": arg.encode() for arg in wasi.args if arg}

    def of(self, source: str, held: bytes) -> str:
        """Return whose contents some bytes are; empty where that is not known."""
        known = self.contents.get(source, {})
        for name, data in known.items():
            if any(part and part in data for part in _decoded(held)):
                return name
        return next(iter(known)) if source in ("files", "stdin") and len(known) == 1 else ""

    def patterns(self, source: str) -> Iterator[tuple[str, re.Pattern[bytes]]]:
        """Yield what to call contents and a pattern for their lines, in several encodings."""
        for name, data in self.contents.get(source, {}).items():
            lines = [line for line in {data.strip(), *data.splitlines()} if len(line.strip()) >= _LINE]
            wanted = [re.escape(form) for line in sorted(lines)[:1000] for form in encoded(line.strip())]
            if wanted:
                yield name, re.compile(b"|".join(wanted))


def _contents(path: Path) -> bytes:
    """Return what a file holds, or where a link leads."""
    try:
        if path.is_symlink() and not path.is_file():
            return str(path.readlink()).encode()
        with path.open("rb") as file:
            return file.read(_MOST_READ)
    except OSError:
        return b""


def encoded(data: bytes) -> list[bytes]:
    """Return bytes as they are and, where they are UTF-8, in other encodings of the same text."""
    forms = [data]
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return forms
    forms += [text.encode(name) for name in ("utf-16-le", "utf-16-be", "utf-32-le")]
    if max(text, default="") < "\u0100":
        forms.append(text.encode("latin-1"))
    return list(dict.fromkeys(forms))


def _decoded(held: bytes) -> Iterator[bytes]:
    """Yield what bytes may be encoded from."""
    yield held
    whole = held.ljust(-(-len(held) // 4) * 4, b"\0")  # where it ends in a zero, that did not differ
    for name in ("utf-16-le", "utf-32-le", "utf-16-be", "latin-1"):
        with suppress(UnicodeError):
            yield whole.decode(name).strip("\0").encode()


_Found = list[tuple[int, Difference]]  # the core instance's number, and where it differs


class Places:
    """Where runs differ from the first one: each place once, memory in ranges.

    A hash table with another key differs in hundreds of thousands of ranges, so they are kept in arrays.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[int, str], Difference] = {}
        self._spans: dict[tuple[int, int], Ranges] = {}

    def add(self, number: int, first: tuple[Module, State], other: tuple[Module, State]) -> None:
        """Add the places in which two states of a core instance differ."""
        for memidx, held, found in memory_pairs(first, other):
            ranges = differing_ranges(held, found)
            if len(ranges):
                known = self._spans.get((number, memidx))
                self._spans[number, memidx] = ranges if known is None else joined([known, ranges])
        for difference in differences_but_bytes(first, other):
            self._places.setdefault((number, difference.place), difference)

    def __contains__(self, found: tuple[int, Difference]) -> bool:
        number, difference = found
        if difference.span is None:
            return (number, difference.place) in self._places
        import numpy as np

        return self._cover((number, difference.index), np.array([difference.span]))

    def covers(self, others: Places) -> bool:
        """Whether all of other places are among these."""
        return others._places.keys() <= self._places.keys() and all(
            self._cover(key, ranges) for key, ranges in others._spans.items()
        )

    def _cover(self, key: tuple[int, int], ranges: Ranges) -> bool:
        """Whether the ranges of one memory hold others; none of either touch each other."""
        own = self._spans.get(key)
        if own is None:
            return False
        at = own[:, 0].searchsorted(ranges[:, 0], side="right") - 1
        return bool((at >= 0).all() and (ranges[:, 1] <= own[at, 1]).all())

    def explains(self, number: int, difference: Difference) -> bool:
        """Whether runs differ where another difference is, but for some bytes of words that do."""
        if difference.span is None:
            return (number, difference.place) in self._places
        position, end = difference.span
        own = self._spans.get((number, difference.index))
        if own is None:
            return False
        begin = max(0, int(own[:, 0].searchsorted(position, side="right")) - 1)
        for low, high in own[begin:]:
            if low & -_WORD > position:
                break
            if position < high:
                position = -(-int(high) // _WORD) * _WORD
        return position >= end

    @property
    def size(self) -> int:
        """How many places and bytes of memory there are."""
        return len(self._places) + sum(int((own[:, 1] - own[:, 0]).sum()) for own in self._spans.values())

    def changes_shape(self) -> bool:
        """Whether runs differ in more than numbers: in sizes, tables, objects or segments."""
        return any(
            difference.kind in ("table", "heap", "segment") or place.startswith("size of")
            for (_, place), difference in self._places.items()
        )

    def found(self) -> _Found:
        """Return all places; ranges of memory that are close to each other are one."""
        return [
            (number, Difference("memory", memidx, "", "", "other bytes", (start, end)))
            for (number, memidx), own in self._spans.items()
            for start, end in joined([own], _GAP).tolist()
        ] + [(number, difference) for (number, _), difference in self._places.items()]


Run = Callable[[World], Session]


class Dependence:
    """What the state after initialisation depends on: the first run, and others beside it.

    Attributes:
        cores: the states of the first run, by core instance.
        failures: the sources under whose change initialisation failed, and how.
    """

    def __init__(
        self, cores: Sequence[tuple[Module, State]], run: Run, first: World, sources: frozenset[str]
    ) -> None:
        self.cores = cores
        self.failures: dict[str, str] = {}
        self._run = run
        self._first = first
        self._sources = frozenset(source for source in sources if self._can_change(source))

    def _can_change(self, source: str) -> bool:
        wasi = self._first.wasi
        if source in ("env", "args"):
            return wasi is not None and bool(variables(wasi) if source == "env" else wasi.args)
        return True

    def own(self, runs: int) -> Places:
        """Return where runs differ in which nothing is changed."""
        return self._places("other", (self._first for _ in range(runs)), None)

    def growing(self) -> Iterator[Places]:
        """Yield where runs differ in which all is changed at once, after one run, two runs, and so on."""
        places = Places()
        for number in count():
            failure = self._compare(places, changed(self._first, self._sources, number))
            if failure is not None:
                self.failures[""] = failure
            yield places

    def sources(self) -> Iterator[tuple[str, Places]]:
        """Yield each source that was asked for, and where the state depends on it."""
        if not self._sources:
            return
        together = (changed(self._first, self._sources, number) for number in range(1, RUNS + 1))
        every: Places | None = self._places("", together, None)
        if self.failures.pop("", None) is not None:
            every = None
        elif every is not None and not every.size:
            return
        for source in SOURCES:
            if source in self._sources:
                yield source, self._places(source, others(self._first, source), every)

    def _places(self, source: str, worlds: Iterable[World], every: Places | None) -> Places:
        """Return where runs differ from the first; enough of them where they differ in ``every`` place.

        Whoever checks what it reads may fail at other contents; one run that goes well says enough of them.
        """
        places, went_well = Places(), False
        for world in worlds:
            failure = self._compare(places, world)
            went_well |= failure is None
            if failure is not None and not (went_well and source in CONTENTS):
                self.failures[source] = failure
            elif source in CONTENTS:
                self.failures.pop(source, None)
            if every is not None and places.covers(every):
                break
        return places

    def _compare(self, places: Places, world: World) -> str | None:
        """Add where a run differs from the first one; return why it failed, if it did."""
        try:
            session = self._run(world)
        except TrapError as error:
            return str(error)
        with session:
            for number, (core, other) in enumerate(zip(self.cores, session.states(), strict=True)):
                places.add(number, core, other[1:])
        return None


class _Audit:
    """One audit: the first run, and the others beside it."""

    def __init__(self, first: Session, trace: Trace, run: Run, world: World) -> None:
        self._cores = [_Core(*core, Symbols(core[1])) for core in first.states()]
        self._trace = trace
        self._wasi = world.wasi
        self._asked = asked(trace.calls, stdin=trace.stdin)
        self._dependence = Dependence(
            [(core.module, core.state) for core in self._cores], run, world, self._asked
        )
        self._origins = Origins(trace, world.wasi)

    def result(self) -> Audit:
        own = self._dependence.own(RUNS if is_uncontrolled(self._trace) else 1)
        found = {"other": own.found()}
        for source, places in self._dependence.sources():
            found[source] = [place for place in places.found() if place not in own]
        failures = self._dependence.failures
        for source in failures:
            found.setdefault(source, []).extend(self._searched(source, found[source]))
        findings = [
            self._cores[number].finding(source, difference, self._origins)
            for source in SOURCES
            for number, difference in found.get(source, ())
        ]
        named = {finding.origin for finding in findings}
        read = (n for s in ("files", "stdin") for n in self._origins.contents[s] if n not in named)
        return Audit(
            tuple(findings),
            dict(self._trace.calls.most_common()),
            tuple(self._trace.files),
            dict(self._trace.open),
            self._variables(found.get("env", ())),
            dict(failures),
            tuple(self._trace.unobserved),
            tuple(source for source in SOURCES if source in self._asked),
            tuple(read),
        )

    def _searched(self, source: str, found: _Found) -> Iterator[tuple[int, Difference]]:
        """Yield where contents stand that could not be changed."""
        if found:
            return
        for _, pattern in self._origins.patterns(source):
            for number, core in enumerate(self._cores):
                for difference in core.search(pattern):
                    yield number, difference

    def _variables(self, found: Iterable[tuple[int, Difference]]) -> tuple[str, ...]:
        """Return the variables whose values stand where the environment made a difference."""
        names: set[str] = set()
        for number, difference in found:
            if difference.span is not None:
                text = self._cores[number].text_around(difference.index, *difference.span)
                for name, value in self._origins.contents["env"].items():
                    if any(form in text for form in encoded(value)):
                        names.add(name)
        return tuple(sorted(names))


def is_uncontrolled(trace: Trace) -> bool:
    """Whether something was called that no made-up world makes up."""
    known = ("wasi_snapshot_preview1", "wasi:")
    called = any(not module.startswith(known) for module, _ in trace.calls)
    return called or any(not module.startswith("wasi:") for module, _ in trace.unobserved)
