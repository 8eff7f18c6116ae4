"""What a run is doing, for whoever bounds it from outside: another thread, or another process.

There is one run at a time where that matters: in a command line's process, and in an isolated run's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal[
    "reading",
    "parsing",
    "instrumenting",
    "compiling",
    "linking",
    "initialising",
    "capturing",
    "comparing",
    "writing",
]


class Progress:
    """How far a run is.

    Attributes:
        stage: what it is doing.
        began: when it began, on the monotonic clock; None before. Reading the input is no part of it: the
            input may be a pipe that somebody else is slow to fill.
        listener: is told when a stage begins, and whether a run begins with it.
    """

    def __init__(self) -> None:
        self.stage: Stage = "reading"
        self.began: float | None = None
        self.listener: Callable[[Stage, bool], None] | None = None

    def reset(self) -> None:
        """Be where no run has begun."""
        self.began = None
        self.stage = "reading"

    def begin(self) -> None:
        """Begin a run; verifying and auditing take several, each with limits of its own."""
        self.began = time.monotonic()
        self._tell("parsing", True)

    def at(self, stage: Stage) -> None:
        """Begin another stage."""
        if stage != self.stage:
            self._tell(stage, False)

    def _tell(self, stage: Stage, begins: bool) -> None:
        self.stage = stage
        if self.listener is not None:
            self.listener(stage, begins)


PROGRESS = Progress()
