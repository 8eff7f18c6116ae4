"""What a run is doing, for whoever looks at it from outside: another thread, another process, a log.

There is one run at a time where that matters: in a command line's process, and in an isolated run's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeAlias

from wizer.notices import DEBUG, INFO, log

Stage: TypeAlias = Literal[
    "reading",
    "parsing",
    "instrumenting",
    "compiling",
    "linking",
    "initialising",
    "capturing",
    "scanning",
    "comparing",
    "writing",
]

Listener: TypeAlias = Callable[..., None]


class Progress:
    """How far a run is.

    Attributes:
        stage: what it is doing.
        subject: to what: a function, a size; empty where there is nothing to say.
        since: when it began to, on the monotonic clock.
        began: when the run began; None before. Reading the input is no part of it: the input may be a pipe
            that somebody else is slow to fill.
        runs: how many runs have begun.
        times: the seconds that each stage took which has ended.
        listeners: are told ``("stage", stage, subject, begins)`` when a stage begins, and whether a run
            begins with it; and ``("note", text)`` of what is worth saying to those who want to know all.
    """

    stage: Stage
    subject: str
    since: float
    began: float | None
    runs: int
    times: dict[str, float]

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.reset()

    def reset(self) -> None:
        """Be where no run has begun."""
        self.stage = "reading"
        self.subject = ""
        self.since = time.monotonic()
        self.began = None
        self.runs = 0
        self.times = {}

    def begin(self) -> None:
        """Begin a run; verifying and auditing take several, each with limits of its own."""
        self.began = time.monotonic()
        self.runs += 1
        self._tell("parsing", "", True)

    def at(self, stage: Stage, subject: str = "") -> None:
        """Begin another stage, or the same with another subject."""
        if stage != self.stage or subject != self.subject:
            self._tell(stage, subject, False)

    def end(self) -> None:
        """Count the time of the last stage."""
        now = time.monotonic()
        self.times[self.stage] = self.times.get(self.stage, 0.0) + now - self.since
        self.since = now

    def note(self, text: str) -> None:
        """Note what a run met that is neither an error nor a warning: a limit that made a difference."""
        log(INFO, text)
        for listener in self.listeners:
            listener("note", text)

    def _tell(self, stage: Stage, subject: str, begins: bool) -> None:
        self.end()
        self.stage, self.subject = stage, subject
        log(DEBUG, f"{stage} {subject}".rstrip())
        for listener in self.listeners:
            listener("stage", stage, subject, begins)


PROGRESS = Progress()
