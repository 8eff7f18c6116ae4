"""Verifying a snapshot: it is instantiated afresh, and must be what it was made from, item by item.

Its state is captured as an original's is and compared with that one's; what it promises whatever its state
is checked; and a snapshot of it, taken at once, must have the same state and be no longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias, Unpack

from wizer.binary.assemble import Chunk
from wizer.binary.module import Module, parse_module
from wizer.core.exports import final_exports
from wizer.core.previous import without_previous
from wizer.core.state import State
from wizer.engine.deterministic import Deterministic
from wizer.engine.text import Wasm, to_binary
from wizer.errors import WizerError
from wizer.options import ExportChanges, Options
from wizer.records import replace
from wizer.session import Initialize, Session, export_changes, initialized
from wizer.trust.differences import Difference, differences
from wizer.trust.promises import broken_promises
from wizer.trust.rebuild import first_difference, item_differences, restated

_MOST = 100  # differences in an error
_WORD = 8  # bytes
_PIECE = 1 << 20  # bytes compared at once


class VerificationError(WizerError):
    """A snapshot is not what it was made from.

    Attributes:
        differences: where, the first of them in the message; at most a hundred.
        undecided: whether two runs of the original differ at all these places, too: initialisation depends
            on chance or time, and only a `deterministic` run can be compared with another.
    """

    def __init__(self, found: Sequence[Difference], *, undecided: bool = False) -> None:
        first = found[0]
        if undecided:
            message = "the snapshot cannot be verified: two runs of the original differ from each other"
            causes = [
                f"{first.place}: {first.first} in one run, {first.second} in the snapshot",
                "initialisation depends on chance or time; make and verify the snapshot with the same "
                "`deterministic` option",
            ]
        else:
            message = f"the snapshot is not what it was made from: {sentence(first)}"
            rest = len(found) - 1
            causes = [f"{rest} more differences, the next at {found[1].place}"] if rest else []
        super().__init__(message, causes)
        self.differences: tuple[Difference, ...] = tuple(found)
        self.undecided = undecided


def sentence(difference: Difference) -> str:
    """Say where a difference is, and what the original's state and the snapshot have there."""
    held = f"{difference.first} in the original's state"
    return f"{difference.place}: {held}, {difference.second} in the snapshot"


def verify_with(
    options: Options, original: Wasm, snapshot: Wasm, *, initialize: Initialize | None = None
) -> None:
    """Initialise ``original`` and check that ``snapshot`` is a snapshot of it.

    Args:
        options: those that the snapshot was made with.
        original: the module.
        snapshot: what was made of it.
        initialize: initialises in a session, in the place of the functions that ``options`` name.

    Raises:
        VerificationError: it is not; the first difference is named.
        WizerError: a module is invalid, or initialisation failed.
    """
    binary = to_binary(snapshot)
    with initialized(original, options, initialize) as session:
        try:
            verify_session(session, binary, **export_changes(options))
        except VerificationError as error:
            if options.world is not None:
                raise
            with initialized(original, options.changed(deterministic=_ELSEWHERE), initialize) as another:
                raise without_own(error, session, another) from None


# Chance and time of another run than the first.
_ELSEWHERE: Final = Deterministic(
    network=True, seed="elsewhere", start=123_456_789_012_345_678, step=1_234_567
)


def verified(session: Session, **changes: Unpack[ExportChanges]) -> bytes:
    """Return a snapshot of ``session`` that has been checked.

    Raises:
        VerificationError: it is not what it was made from; the first difference is named.
        OptionError, StateError: as for `Session.snapshot`.
    """
    snapshot = session.snapshot(**changes)
    verify_session(session, snapshot, **changes)
    return snapshot


def verify_session(session: Session, snapshot: bytes, **changes: Unpack[ExportChanges]) -> None:
    """Check that ``snapshot`` has the state of ``session``, and exports as `Session.snapshot` was told.

    Raises:
        VerificationError: it has not; the first difference is named.
        WizerError: it is invalid.
    """
    found = []
    for difference in check(session, snapshot, **changes):
        found.append(difference)
        if len(found) == _MOST:
            break
    if found:
        raise VerificationError(found)


def check(session: Session, snapshot: bytes, **changes: Unpack[ExportChanges]) -> Iterator[Difference]:
    """Yield where ``snapshot`` is not what `Session.snapshot` promises.

    First what no state explains: what it promises of itself, and bytes that its own state does not come to.
    Then where its state is another one.
    """
    if not session.is_component:
        exports = final_exports(session.module, **changes)
        broken = list(broken_promises(session.module, exports, parse_module(snapshot)))
        yield from broken
        if any(difference.kind in ("type", "import") for difference in broken):
            return  # there is nothing to compare its state with
    with session.beside(snapshot) as fresh:
        originals, found = session.states(), fresh.states()
        if session.is_component:
            broken = list(_core_promises(originals, found))
            yield from broken
            if any(difference.kind in ("type", "import") for difference in broken):
                return
        yield from _rebuilt(session, originals, found, snapshot, **changes)
        yield from _states(originals, found)
        yield from _again(fresh, snapshot)


def _rebuilt(
    session: Session,
    originals: _Cores,
    found: _Cores,
    snapshot: bytes,
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
    if not _is(chunks, snapshot):
        yield from _byte_differences(b"".join(chunks), snapshot, is_component=session.is_component)


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
    if _is(chunks, snapshot):
        return
    again = b"".join(chunks)
    if len(again) > len(snapshot):
        sizes = (f"{len(snapshot)} bytes", f"{len(again)} bytes")
        yield Difference("growth", 0, "snapshot of the snapshot", *sizes)
    with fresh.beside(again) as third:
        for difference in _states(fresh.states(), third.states()):
            yield _labelled(difference, "snapshot of the snapshot")


def _is(chunks: Sequence[Chunk], wasm: bytes) -> bool:
    """Whether the chunks come to ``wasm``; they are not joined, since each of the two may be large."""
    at = 0
    for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), _PIECE):
            piece = bytes(view[start : start + _PIECE])
            if not wasm.startswith(piece, at):
                return False
            at += len(piece)
    return at == len(wasm)


_Cores: TypeAlias = "Sequence[tuple[str, Module, State]]"


def _states(first: _Cores, second: _Cores) -> Iterator[Difference]:
    for (label, module, state), (_, other, found) in zip(first, second, strict=False):
        pair = without_previous(module, state), without_previous(other, found)
        for difference in differences(*pair):
            yield _labelled(difference, label)


def _labelled(difference: Difference, label: str) -> Difference:
    return replace(difference, place=f"{label}: {difference.place}") if label else difference


def without_own(error: VerificationError, session: Session, another: Session) -> VerificationError:
    """Return the error without what two runs of the original, ``session`` and ``another``, differ in too."""
    own = list(_states(session.states(), another.states()))
    rest = [found for found in error.differences if not _explained(found, own)]
    return VerificationError(rest or error.differences, undecided=not rest)


def _explained(found: Difference, own: Sequence[Difference]) -> bool:
    """Whether two runs of the original differ where the snapshot does."""
    if found.span is None:
        return any(found.place == difference.place for difference in own)
    memory = found.place.partition(" at ")[0]
    spans = [d.span for d in own if d.place.partition(" at ")[0] == memory and d.span is not None]
    position, end = found.span
    for low, high in sorted(spans):
        if low & -_WORD <= position < high:
            position = -(-high // _WORD) * _WORD  # some bytes of a number may be equal by chance
    return position >= end
