"""What is to be made, and what came of it: `Job` and `Result`, which travel between processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from wizer.api import Wizer
from wizer.checks import NAMED, PATH, TEXT, TEXTS, check, instance_kind, or_none
from wizer.engine.text import WASM, Wasm
from wizer.errors import WizerError
from wizer.options import Imports
from wizer.records import field, record

Outcome: TypeAlias = Literal["made", "current", "failed"]


@record(kw_only=True)
class Job:
    """One snapshot to make.

    Attributes:
        input: a module or component: bytes (binary or text format), a string (text format) or the path of a
            file.
        output: the file to write.
        wizer: the pre-initialiser, which has the options.
        imports: what the module imports; see `wizer.Session`.
        name: what to call it; empty: the output's path.
        allow: the snapshot is made only if an audit finds nothing frozen but of these sources; None: there
            is no audit.

    Raises:
        OptionError: an attribute is not of its type; the message names it.
    """

    input: Wasm
    output: str | os.PathLike[str]
    wizer: Wizer = field(default_factory=Wizer)
    imports: Imports | None = None
    name: str = ""
    allow: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check(self, _KINDS)

    @property
    def title(self) -> str:
        """What to call it."""
        return self.name or os.fspath(self.output)


_KINDS: Final = {
    "input": WASM,
    "output": PATH,
    "wizer": instance_kind("a `Wizer`", Wizer),
    "imports": or_none(NAMED),
    "name": TEXT,
    "allow": or_none(TEXTS),
}


@record(kw_only=True)
class Result:
    """What came of a job.

    Attributes:
        job: the job's title.
        output: the file.
        outcome: "made"; "current": the file was up to date; or "failed": it is as it was before.
        size: bytes of the file; 0 where it failed.
        seconds: what the job took in its worker, wall time.
        warnings: what may go wrong with the snapshot all the same.
        chance: "random" and "clock", where initialisation looked at them and they were the host's: another
            run may make another snapshot.
        error: why it failed.
    """

    job: str
    output: Path
    outcome: Outcome
    size: int = 0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    chance: tuple[str, ...] = ()
    error: WizerError | None = None
