"""What a run of the scripts comes to, for people: a line for each script, and the sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .replay import Outcome
from .snapshots import Account


@dataclass(frozen=True)
class Line:
    """A script, a seed, and what came of it without and with snapshots: plain data, for it changes processes.

    Attributes:
        script, seed: which run it is.
        plain, across: how many commands passed without snapshots, and with.
        snapshots, swaps, problems: how many there were.
        refusals: what Wizer refused to freeze, and how often.
        failed: what the engine itself does not pass.
    """

    script: str
    seed: int
    plain: int
    across: int
    snapshots: int
    swaps: int
    problems: int
    refusals: Mapping[str, int]
    failed: Sequence[str]

    def __str__(self) -> str:
        return (
            f"{self.script} (seed {self.seed}): {self.plain} passed without snapshots, {self.across} with; "
            f"{self.snapshots} snapshots, {self.swaps} swaps, {sum(self.refusals.values())} refusals"
        )


def line(script: str, seed: int, plain: Outcome, outcome: Outcome, account: Account) -> Line:
    """The line of a run."""
    return Line(
        script,
        seed,
        len(plain.passed),
        len(outcome.passed),
        account.snapshots,
        account.swaps,
        len(account.problems),
        dict(account.refusals),
        list(plain.failed.values()),
    )


def summary(lines: Sequence[Line]) -> Iterator[str]:
    """The sum of all lines, and the refusals by message."""
    yield (
        f"{len(lines)} runs: {sum(line.plain for line in lines)} commands passed without snapshots, "
        f"{sum(line.across for line in lines)} with; {sum(line.snapshots for line in lines)} snapshots, "
        f"{sum(line.swaps for line in lines)} swaps, {sum(line.problems for line in lines)} problems"
    )
    refusals: Counter[str] = Counter()
    for each in lines:
        refusals.update(each.refusals)
    for message, count in refusals.most_common():
        yield f"refused {count} times: {message}"
    for each in lines:
        for reason in each.failed:
            yield f"not passed by the engine itself: {each.script} {reason}"
