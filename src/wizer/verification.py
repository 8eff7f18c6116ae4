"""Verifying a snapshot: it is instantiated afresh, and must be what it was made from, item by item.

Its state is captured as an original's is and compared with that one's; what it promises whatever its state
is checked; and a snapshot of it, taken at once, must have the same state and be no longer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from wizer.binary.module import Module, parse_module
from wizer.differences import Difference, differences
from wizer.errors import WizerError
from wizer.exports import final_exports
from wizer.previous import without_previous
from wizer.promises import broken_promises
from wizer.session import Session
from wizer.state import State

_MOST = 100  # differences in an error
_WORD = 8  # bytes


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
        self.differences = tuple(found)
        self.undecided = undecided


def sentence(difference: Difference) -> str:
    """Say where a difference is, and what the original's state and the snapshot have there."""
    held = f"{difference.first} in the original's state"
    return f"{difference.place}: {held}, {difference.second} in the snapshot"


def verify_session(session: Session, snapshot: bytes, **changes: Any) -> None:
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


def check(session: Session, snapshot: bytes, **changes: Any) -> Iterator[Difference]:
    """Yield where ``snapshot`` is not what `Session.snapshot` promises."""
    module, state = session.module, session.state()
    exports = final_exports(module, **{"rename": {}, **changes})
    broken = list(broken_promises(module, exports, parse_module(snapshot)))
    yield from broken
    if any(difference.kind in ("type", "import") for difference in broken):
        return  # there is nothing to compare its state with
    with session.beside(snapshot) as fresh:
        yield from _states((module, state), (fresh.module, fresh.state()))
        yield from _again(fresh, snapshot)


def _again(fresh: Session, snapshot: bytes) -> Iterator[Difference]:
    """Take a snapshot of a snapshot, and yield where it is another one."""
    names = [export.name for export in fresh.module.exports]
    again = fresh.snapshot(keep=names)
    if again == snapshot:
        return
    if len(again) > len(snapshot):
        yield Difference(
            "growth", 0, "snapshot of the snapshot", f"{len(snapshot)} bytes", f"{len(again)} bytes"
        )
    with fresh.beside(again) as third:
        for difference in _states((fresh.module, fresh.state()), (third.module, third.state())):
            yield Difference(
                difference.kind,
                difference.index,
                f"snapshot of the snapshot: {difference.place}",
                difference.first,
                difference.second,
            )


def _states(first: tuple[Module, State], second: tuple[Module, State]) -> Iterator[Difference]:
    return differences(without_previous(*first), without_previous(*second))


def without_own(error: VerificationError, session: Session, another: Session) -> VerificationError:
    """Return the error without what two runs of the original, ``session`` and ``another``, differ in too."""
    own = list(_states((session.module, session.state()), (another.module, another.state())))
    rest = [found for found in error.differences if not _explained(found, own)]
    return VerificationError(rest or error.differences, undecided=not rest)


def _explained(found: Difference, own: Sequence[Difference]) -> bool:
    """Whether two runs of the original differ where the snapshot does."""
    if found.span is None:
        return any(found.place == difference.place for difference in own)
    spans = [d.span for d in own if d.kind == found.kind and d.index == found.index and d.span is not None]
    position, end = found.span
    for low, high in sorted(spans):
        if low & -_WORD <= position < high:
            position = -(-high // _WORD) * _WORD  # some bytes of a number may be equal by chance
    return position >= end
