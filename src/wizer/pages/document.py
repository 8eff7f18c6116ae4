"""The document of a report: what `--report FILE.json` writes, and what a page is made of.

It is an object of

===========  ========================================================================================
``format``   1; another number means that what is below has changed its meaning
``wizer``    the version that made it
``kind``     ``"run"``, ``"inspect"``, ``"diff"`` or ``"audit"``
``title``    what it is about, for people
``files``    a list of objects as `wizer.Inspection.to_dict` returns them: of a run the input and the output,
             of a comparison both files; what is looked at is the last
``diff``     as `wizer.Diff.to_dict` returns it, of these two files; otherwise null
``audit``    as `wizer.Audit.to_dict` returns it; otherwise null
``run``      what a run did (`RunInfo`); otherwise null
===========  ========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, TypedDict

Kind: TypeAlias = Literal["run", "inspect", "diff", "audit"]
Json: TypeAlias = Mapping[str, Any]

FORMAT: Final = 1


class Named(TypedDict):
    """An imported function."""

    module: str
    name: str


class Called(Named):
    """An imported function, and how often it was called."""

    count: int


class Ran(TypedDict):
    """An exported function, and how often it was called."""

    name: str
    count: int


class RunInfo(TypedDict):
    """What a run did.

    Keys:
        input, output: the files, as they were named.
        layout: what data segments were chosen for.
        seconds: how long each stage took.
        ran: the functions that were called, in order.
        calls: the imports that the guest called, most often first.
        unobserved: imports whose calls are not counted.
        files: the files that were read.
        warnings, notes: what was said, and what made a difference.
        limits: how near the run came to each, as text.
    """

    input: str
    output: str
    layout: str
    seconds: Mapping[str, float]
    ran: Sequence[Ran]
    calls: Sequence[Called]
    unobserved: Sequence[Named]
    files: Sequence[str]
    warnings: Sequence[str]
    notes: Sequence[str]
    limits: Sequence[str]


class Document(TypedDict):
    """A report; the module says what its keys mean."""

    format: int
    wizer: str
    kind: Kind
    title: str
    files: Sequence[Json]
    diff: Json | None
    audit: Json | None
    run: RunInfo | None


def document(
    kind: Kind,
    title: str,
    files: Sequence[Json] = (),
    *,
    diff: Json | None = None,
    audit: Json | None = None,
    run: RunInfo | None = None,
) -> Document:
    """Return a report on what was found."""
    from importlib.metadata import version

    return {
        "format": FORMAT,
        "wizer": version("wizer"),
        "kind": kind,
        "title": title,
        "files": files,
        "diff": diff,
        "audit": audit,
        "run": run,
    }
