"""What an audit found: the records that `audit` returns, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wizer.markup import counted, html_table
from wizer.records import field, record
from wizer.trust.differences import Difference
from wizer.trust.worlds import SOURCES

# What initialisation reads is content: its bytes are in the output wherever they stand.
CONTENTS: Final = frozenset({"env", "args", "files", "stdin"})


@record
class Finding:
    """A place in the snapshot that depends on a source of entropy.

    Attributes:
        source: one of `SOURCES`.
        difference: the place, and what two runs left there.
        name: what the module calls it, or what part of memory it is in; empty where nothing says.
        origin: the file, by the guest's path and the host's, or the variable whose contents stand there;
            empty where that is not known.
        dead: whether it is in that part of the stack which no call is using any more: the bytes are in the
            output, but the program cannot read them.
    """

    source: str
    difference: Difference
    name: str = ""
    origin: str = ""
    dead: bool = False

    @property
    def size(self) -> int:
        """How many bytes of memory it is; 0 for what is not memory."""
        span = self.difference.span
        return 0 if span is None else span[1] - span[0]

    def to_dict(self) -> dict[str, Any]:
        """Return it as `Audit.to_dict` has it."""
        return {
            "source": self.source,
            "kind": self.difference.kind,
            "index": self.difference.index,
            "place": self.difference.place,
            "range": self.difference.span,
            "name": self.name or None,
            "value": self.difference.first,
            "origin": self.origin or None,
            "dead": self.dead,
        }


@record
class Audit:
    """What an audit found.

    Attributes:
        findings: places that depend on chance, time and the like, by source and place.
        calls: how often initialisation called which import, by module and name, most often first.
        asked: the sources that it asked for, whether or not anything of them is in the snapshot.
        files: the paths that it opened, below the guest's name of the preopened directory.
        read: the paths that it read, and ``"standard input"``, of which nothing was found in the snapshot.
        left_open: those that it did not close, by file descriptor: the number means nothing later.
        variables: the environment variables whose values are in the snapshot.
        failures: the sources under whose change initialisation failed, and how.
        unobserved: imported functions whose calls are not counted, by module and name: those of other
            modules, what only ends a component, and what the engine's package has no values for.
        remembered: what of ``"environment"``, ``"preopens"`` and ``"arguments"`` it asked for that no
            function was found to forget, and libc's function for that, which for arguments is empty: there is
            none. A program that has kept them will not ask the next host.
    """

    findings: tuple[Finding, ...]
    calls: Mapping[tuple[str, str], int]
    files: tuple[str, ...]
    left_open: Mapping[int, str]
    variables: tuple[str, ...]
    failures: Mapping[str, str]
    unobserved: tuple[tuple[str, str], ...] = ()
    asked: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    remembered: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        frozen = ", ".join(self.frozen()) or "nothing"
        return f"<Audit: {frozen} frozen, {counted(len(self.findings), 'place')}>"

    def _repr_html_(self) -> str:
        found = {source: [f for f in self.findings if f.source == source] for source in SOURCES}
        rows = [
            (source, f"{counted(len(places), 'place')}, first {places[0].difference.place} {places[0].name}")
            for source, places in found.items()
            if places
        ]
        rows += [(source, f"initialisation fails: {error}") for source, error in self.failures.items()]
        return html_table(f"Frozen: {', '.join(self.frozen()) or 'nothing'}", rows)

    def to_dict(self, allow: Sequence[str] = ()) -> dict[str, Any]:
        """Return what `wizer audit --json` prints; the sources in ``allow`` do not count as frozen."""
        return {
            "frozen": list(self.frozen(allow)),
            "findings": [finding.to_dict() for finding in self.findings],
            "asked": list(self.asked),
            "read": list(self.read),
            "calls": [{"module": m, "name": n, "count": count} for (m, n), count in self.calls.items()],
            "files": list(self.files),
            "left_open": {str(fd): path for fd, path in self.left_open.items()},
            "variables": list(self.variables),
            "failures": dict(self.failures),
            "remembered": dict(self.remembered),
            "unobserved": [{"module": module, "name": name} for module, name in self.unobserved],
        }

    def to_html(self) -> str:
        """Return a page of its own that shows what was found: one file, which loads nothing."""
        from wizer.pages.document import document
        from wizer.pages.page import page

        return page(document("audit", "What is frozen", audit=self.to_dict()))

    def frozen(self, allow: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the sources that the snapshot depends on, without those in ``allow``.

        What is only in the dead part of the stack does not count, unless it is contents that were read.
        """
        counted = (f for f in self.findings if not f.dead or f.source in CONTENTS)
        found = {finding.source for finding in counted} | set(self.failures)
        return tuple(source for source in SOURCES if source in found and source not in allow)
