"""What a run of the scripts comes to, for people: a line for each script, and the sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .replay import Outcome
from .snapshots import Account


@dataclass(frozen=True, slots=True)
class Line:
    """A script, a seed, and what came of it without and with snapshots."""

    script: str
    seed: int
    plain: Outcome
    outcome: Outcome
    account: Account


def lines(of: Iterable[Line]) -> Iterator[str]:
    """One line for each script and seed."""
    for line in of:
        account = line.account
        yield (
            f"{line.script} (seed {line.seed}): {len(line.plain.passed)} passed without snapshots, "
            f"{len(line.outcome.passed)} with; {account.snapshots} snapshots, {account.swaps} swaps, "
            f"{account.refusals.total()} refusals"
        )


def summary(of: list[Line]) -> Iterator[str]:
    """The sum of all lines, and the refusals by message."""
    accounts = [line.account for line in of]
    snapshots = sum(account.snapshots for account in accounts)
    yield (
        f"{len(of)} runs: {sum(len(line.plain.passed) for line in of)} commands passed without snapshots, "
        f"{sum(len(line.outcome.passed) for line in of)} with; {snapshots} snapshots, "
        f"{sum(account.swaps for account in accounts)} swaps, "
        f"{sum(len(account.problems) for account in accounts)} problems"
    )
    refusals: Counter[str] = sum((account.refusals for account in accounts), Counter())
    for message, count in refusals.most_common():
        yield f"refused {count} times: {message}"
    for line in of:
        for reason in line.plain.failed.values():
            yield f"not passed by the engine itself: {line.script} {reason}"
