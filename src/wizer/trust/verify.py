"""Verifying a snapshot: it is instantiated afresh, and must be what it was made from, item by item.

What it promises whatever its state is, is checked; its bytes have to be those that its own state comes to
(`wizer.trust.rebuild`); and its state is compared with the original's. Where only that differs, and
initialisation has asked for chance, time or the outside, it is run in other worlds: what differs between
these as well is no proof of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from time import monotonic
from typing import Final, TypeAlias, Unpack

from wizer.binary.assemble import Chunk
from wizer.binary.module import Module, parse_module
from wizer.contents.symbols import Symbols
from wizer.core.exports import final_exports
from wizer.core.moved_data import MUCH
from wizer.core.pieces import cut
from wizer.core.previous import without_previous
from wizer.core.producers import stamp_version
from wizer.core.state import State
from wizer.engine.text import Wasm, to_binary
from wizer.engine.trace import Trace
from wizer.errors import WizerError, asking_for_numpy
from wizer.options import ExportChanges, Options
from wizer.records import replace
from wizer.session import Initialize, Session, export_changes, initialized
from wizer.trust.audit import Dependence, Places, is_uncontrolled, silent, with_input
from wizer.trust.differences import Difference, differences
from wizer.trust.in_place import are_same, can_stay, with_held
from wizer.trust.promises import broken_promises
from wizer.trust.rebuild import first_difference, item_differences, restated
from wizer.trust.worlds import FIRST, World, asked

MOST: Final = 100  # differences in an error
_SHOWN: Final = 10  # differences in its text

# Runs of the original before a snapshot is called false: at least, and at most, and for how long.
_RUNS: Final = (42, 1000)
_SECONDS: Final = 4.0


class VerificationError(WizerError):
    """A snapshot is not what it was made from.

    Attributes:
        differences: where, the first of them in the message; at most a hundred unless all were asked for.
        undecided: whether all of these may come from chance, time or the outside, as other runs of the
            original show: only a `deterministic` run can be compared with another.
    """

    def __init__(self, found: Sequence[Difference], *, undecided: bool = False) -> None:
        first, rest = found[0], found[1:]
        if undecided:
            message = "the snapshot cannot be verified: two runs of the original differ from each other"
            causes = [
                f"{first.place}: {first.first} in one run, {first.second} in the snapshot",
                "initialisation depends on chance or time; make and verify the snapshot with the same "
                "`deterministic` option",
            ]
        else:
            message = f"the snapshot is not what it was made from: {sentence(first)}"
            causes = [f"{len(rest)} more differences, the next at {rest[0].place}"] if rest else []
            causes += [sentence(difference) for difference in rest[:_SHOWN]]
        super().__init__(message, causes)
        self.differences: tuple[Difference, ...] = tuple(found)
        self.undecided = undecided


def sentence(difference: Difference) -> str:
    """Say where a difference is, and what the original's state and the snapshot have there."""
    held = f"{difference.first} in the original's state"
    return f"{difference.place}: {held}, {difference.second} in the snapshot"


def verify_with(
    options: Options,
    original: Wasm,
    snapshot: Wasm,
    *,
    initialize: Initialize | None = None,
    most: int | None = MOST,
) -> None:
    """Initialise ``original`` and check that ``snapshot`` is a snapshot of it.

    Args:
        options: those that the snapshot was made with. Every run sees the same standard input.
        original: the module.
        snapshot: what was made of it.
        initialize: initialises in a session, in the place of the functions that ``options`` name.
        most: how many differences are looked for; None: all.

    Raises:
        VerificationError: it is not; the first difference is named.
        WizerError: a module is invalid, or initialisation failed.
    """
    binary, frozen = to_binary(original), to_binary(snapshot)
    options = replace(with_input(options, binary), producers=stamp_version(frozen) or False)
    trace = options.trace or Trace()

    def run(world: World) -> Session:
        given = options.changed(wasi=world.wasi, deterministic=world.settings, trace=None)
        return initialized(binary, given, initialize)

    with initialized(binary, options.changed(trace=trace), initialize) as session:
        broken, states = checked(session, frozen, most, **export_changes(session, options))
        if broken or (states and options.world is not None):
            raise VerificationError([*broken, *states])
        if states:
            rest = _decided(states, _Others(run, session, trace, options))
            raise VerificationError(rest or states, undecided=not rest)


class _Others:
    """Other runs of the original, in which all that initialisation asked for is changed at once."""

    def __init__(
        self, run: Callable[[World], Session], session: Session, trace: Trace, options: Options
    ) -> None:
        sources = asked(trace.calls, stdin=trace.stdin)
        self.possible = bool(sources) or is_uncontrolled(trace)
        self.labels = [label for label, _, _ in session.states()]
        cores = [without_previous(module, state) for _, module, state in session.states()]
        first = World(FIRST, None if options.wasi is None else silent(options.wasi))
        self.dependence = Dependence(cores, run, first, sources)

    def explain(self, places: Places, found: Difference) -> bool:
        """Whether runs differ where a difference is."""
        for number, label in enumerate(self.labels):
            prefix = f"{label}: " if label else ""
            if found.place.startswith(prefix):
                here = replace(found, place=found.place.removeprefix(prefix))
                if places.explains(number, here):
                    return True
        return False


def _decided(states: Sequence[Difference], others: _Others) -> list[Difference]:
    """Return the differences that cannot come from chance, time or the outside.

    How often a place differs is not known, so there are as many runs as there is time for, until they say
    enough. Where they go on to differ in new places, or in more than numbers, there may be any others.
    """
    if not others.possible:
        return list(states)
    sizes: list[int] = []
    end = monotonic() + _SECONDS
    for number, places in enumerate(others.dependence.growing(), 1):
        rest = [found for found in states if not others.explain(places, found)]
        if not rest or others.dependence.failures or places.changes_shape():
            return []
        sizes.append(places.size)
        if number >= _RUNS[1] or (number >= _RUNS[0] and monotonic() > end):
            break
    return [] if sizes[len(sizes) // 2] < sizes[-1] else rest


def verified(session: Session, **changes: Unpack[ExportChanges]) -> list[Chunk]:
    """Return a snapshot of ``session`` that has been checked, in pieces as `Session.chunks` does.

    Raises:
        VerificationError: it is not what it was made from; the first difference is named.
        OptionError, StateError: as for `Session.snapshot`.
    """
    chunks = session.chunks(**changes)
    if _is_plain(session, chunks, **changes):
        return chunks
    snapshot = b"".join(chunks)
    _refuse(*_compared(session, snapshot, MOST, **changes))
    return [snapshot]


@asking_for_numpy()
def _is_plain(session: Session, chunks: Sequence[Chunk], **changes: Unpack[ExportChanges]) -> bool:
    """Whether a large snapshot is seen to be right without a copy of it, or of a memory.

    All that `_compared` compares is compared. Where anything differs, or may, that says what.
    """
    if session.is_component or sum(map(len, chunks)) < MUCH or (parts := cut(chunks)) is None:
        return False
    wasm, held = parts
    module = parse_module(wasm)
    if not can_stay(module, held):
        return False
    exports = final_exports(session.module, **changes)
    if _first(broken_promises(session.module, exports, module), 1):
        return False
    with session.beside(wasm) as fresh:
        originals = session.states()
        state = with_held(fresh.state(), held, originals[0][2])
        if state is None:
            return False
        found = [("", fresh.module, state)]
        if _first(_rebuilt(session, originals, found, chunks, **changes), 1):
            return False
        if _first(_states(originals, found), 1):
            return False
        return are_same(fresh.rebuilt([state], keep=tuple(fresh.module.exports_by_name)), chunks)


def verify_session(session: Session, snapshot: bytes, **changes: Unpack[ExportChanges]) -> None:
    """Check that ``snapshot`` has the state of ``session``, and exports as `Session.snapshot` was told.

    Raises:
        VerificationError: it has not; the first difference is named.
        WizerError: it is invalid.
    """
    _refuse(*checked(session, snapshot, MOST, **changes))


def _refuse(broken: Sequence[Difference], states: Sequence[Difference]) -> None:
    if broken or states:
        raise VerificationError([*broken, *states])


def checked(
    session: Session, snapshot: bytes, most: int | None, **changes: Unpack[ExportChanges]
) -> tuple[list[Difference], list[Difference]]:
    """Return where ``snapshot`` is not what `Session.snapshot` promises.

    Returns:
        What no state explains: what it promises of itself, and bytes that its own state does not come to.
        Then where its state is another one.
    """
    if _is_plain(session, [snapshot], **changes):
        return [], []
    return _compared(session, snapshot, most, **changes)


@asking_for_numpy()
def _compared(
    session: Session, snapshot: bytes, most: int | None, **changes: Unpack[ExportChanges]
) -> tuple[list[Difference], list[Difference]]:
    """Do what `checked` does, with an instance of the snapshot that has memories of its own."""
    broken: list[Difference] = []
    if not session.is_component:
        exports = final_exports(session.module, **changes)
        broken += _first(broken_promises(session.module, exports, parse_module(snapshot)), most)
        if _is_another(broken):
            return broken, []  # there is nothing to compare its state with
    with session.beside(snapshot) as fresh:
        originals, found = session.states(), fresh.states()
        if session.is_component:
            broken += _core_promises(originals, found)
            if _is_another(broken):
                return broken, []
        broken += _first(_rebuilt(session, originals, found, [snapshot], **changes), most)
        states = _first(_states(originals, found), most)
        broken += _first(_again(fresh, snapshot), most)
    return broken, states


def _first(found: Iterable[Difference], most: int | None) -> list[Difference]:
    return list(islice(found, most))


def _is_another(broken: Sequence[Difference]) -> bool:
    """Whether a snapshot is no module like the original at all."""
    return any(difference.kind in ("type", "import") for difference in broken)


def _rebuilt(
    session: Session,
    originals: _Cores,
    found: _Cores,
    snapshot: Sequence[Chunk],
    **changes: Unpack[ExportChanges],
) -> Iterator[Difference]:
    """Yield where a snapshot is not what its own state makes of the original."""
    states = []
    for (label, module, _), (_, other, state) in zip(originals, found, strict=True):
        original, _ = without_previous(module, State())
        translated = restated(original, *without_previous(other, state))
        if translated is None:
            yield _labelled(
                Difference("heap", 0, "state", "is the original's", "speaks of what that lacks"), label
            )
            return
        states.append(translated)
    chunks = session.rebuilt(states, **changes)
    if not are_same(chunks, snapshot):
        joined = b"".join(chunks), b"".join(snapshot)
        yield from _byte_differences(*joined, is_component=session.is_component)


def _byte_differences(expected: bytes, found: bytes, *, is_component: bool) -> Iterator[Difference]:
    if not is_component:
        yield from item_differences(parse_module(expected), parse_module(found))
        return
    at = first_difference(expected, found)
    left, right = (wasm[at : at + 16].hex(" ") or "the end" for wasm in (expected, found))
    yield Difference("bytes", at, f"component byte {at:#x}", left, right)


def _core_promises(originals: _Cores, snapshots: _Cores) -> Iterator[Difference]:
    if len(originals) != len(snapshots):
        counts = (str(len(originals)), str(len(snapshots)))
        yield Difference("type", 0, "number of core instances", *counts)
    for (label, module, _), (_, snapshot, _) in zip(originals, snapshots, strict=False):
        for difference in broken_promises(module, module.exports, snapshot):
            yield _labelled(difference, label)


def _again(fresh: Session, snapshot: bytes) -> Iterator[Difference]:
    """Take a snapshot of a snapshot, and yield where it is another one."""
    names = () if fresh.is_component else tuple(fresh.module.exports_by_name)
    chunks = fresh.chunks(keep=names)
    if are_same(chunks, [snapshot]):
        return
    again = b"".join(chunks)
    if len(again) > len(snapshot):
        sizes = (f"{len(snapshot)} bytes", f"{len(again)} bytes")
        yield Difference("growth", 0, "snapshot of the snapshot", *sizes)
    with fresh.beside(again) as third:
        for difference in _states(fresh.states(), third.states()):
            yield _labelled(difference, "snapshot of the snapshot")


_Cores: TypeAlias = "Sequence[tuple[str, Module, State]]"


def _states(first: _Cores, second: _Cores) -> Iterator[Difference]:
    for (label, module, state), (_, other, found) in zip(first, second, strict=False):
        pair = without_previous(module, state), without_previous(other, found)
        symbols = Symbols(module)
        for difference in differences(*pair):
            name = symbols.name(difference.index, difference.span[0]) if difference.span else ""
            place = f"{difference.place} ({name})" if name else difference.place
            yield _labelled(replace(difference, place=place), label)


def _labelled(difference: Difference, label: str) -> Difference:
    return replace(difference, place=f"{label}: {difference.place}") if label else difference
