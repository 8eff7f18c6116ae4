"""Nothing is made twice: what an output was made from, in a record beside it.

An output is *current* as long as all that went into it is the same: the module and those it imports from, the
options, this package's version and the engine's, the files, directories and links that initialisation looked
at, the environment and the standard input where it asked for them. What that was, only a run tells: so a
record is made from a run's trace::

    out/app.wasm                  the output
    out/.wizer/records.jsonl      the records of all outputs in the folder, a line each

A record is appended, in one piece and after its output, of which it has the digest; of several, the last one
counts. Whatever ends a build in between, and however many builds run at once, a line that is cut short is no
record, and neither is one that does not fit the output. A file for each would take longer than the output.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from wizer.engine.trace import Trace
from wizer.engine.wasi import Wasi
from wizer.errors import OutputError
from wizer.options import Options
from wizer.output import write_path
from wizer.records import field_names, record, replace
from wizer.trust.worlds import asked, variables

_FORMAT: Final = 2
_SPARE: Final = 8  # lines for each record that counts
_CHANCE: Final = ("random", "clock")


@record(kw_only=True)
class Ingredients:
    """What goes into an output as far as it is known before a run.

    Attributes:
        wasm: the digest of the module.
        preload: those of the modules that it imports from, by name.
        options: that of the options.
        made_by: the versions that make it.
    """

    wasm: str
    preload: Mapping[str, str]
    options: str
    made_by: str


@record(kw_only=True)
class Sources:
    """What a run looked at outside.

    Attributes:
        files: what was found under a host path, relative to the output's folder: the digest of the contents,
            of a directory's names or of a link's target; None: nothing.
        environment: the digest of the guest's variables; None: it did not ask for them.
        clock: ``SOURCE_DATE_EPOCH`` as a deterministic run saw it; None: it was no such run.
        chance: which of "random" and "clock" it asked for, where they were the host's.
    """

    files: Mapping[str, str | None]
    environment: str | None
    clock: str | None
    chance: tuple[str, ...]


def digest(data: bytes) -> str:
    """Return the digest of contents, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def ingredients(
    options: Options, wasm: str, preload: Mapping[str, str], folder: Path, allow: Sequence[str] | None
) -> Ingredients:
    """Return what goes into an output.

    Args:
        options: all options.
        wasm: the digest of the module.
        preload: the digests of the modules it imports from.
        folder: the output's.
        allow: what an audit may find; None: there is none.
    """
    described = repr((_described(options, folder), allow))
    return Ingredients(wasm=wasm, preload=preload, options=digest(described.encode()), made_by=_made_by())


def is_rememberable(options: Options) -> bool:
    """Whether it can be told what a run sees: not what Python functions, a network or another process do."""
    wasi = options.wasi
    networked = wasi is not None and (wasi.network or wasi.name_lookup or wasi.http)
    given = [
        value
        for items in (options.imports or {}).values()
        if isinstance(items, Mapping)
        for value in items.values()
    ]
    modules = [items for items in (options.imports or {}).values() if not isinstance(items, Mapping)]
    return not (options.isolate or networked or modules) and all(
        isinstance(value, int | float) for value in given
    )


@cache
def _made_by() -> str:
    """Return the versions of this package and of the engine."""
    from importlib.metadata import version

    import wizer

    return f"wizer {wizer.__version__}, wasmtime {version('wasmtime')}"


def _described(options: Options, folder: Path) -> str:
    """Return options as text; paths as the output's folder sees them, so that a tree can be moved."""
    wasi = options.wasi
    described = {
        name: getattr(options, name)
        for name in field_names(Options)
        if name not in ("preload", "trace", "hard_exit", "wasi")
    }
    seen = None
    if wasi is not None:
        hosts = [(guest, _relative(Path(host), folder)) for guest, host in wasi.directories.items()]
        stdin = digest(wasi.stdin) if isinstance(wasi.stdin, bytes) else wasi.stdin
        seen = replace(wasi, dirs=(), mapdirs=dict(hosts), stdin="null", env={}), str(stdin)
    return repr((described, seen))


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)


def sources(options: Options, trace: Trace, folder: Path) -> Sources:
    """Return what a run with ``options`` looked at outside, as it is now."""
    wasi, world = options.wasi, options.world
    looked: set[Path] = set()
    if wasi is not None:
        looked = {host for path in trace.looked if (host := wasi.host_path(path)) is not None}
        if trace.stdin and isinstance(wasi.stdin, str | os.PathLike) and wasi.stdin != "null":
            looked.add(Path(wasi.stdin))
    sought = asked(trace.calls, stdin=trace.stdin)
    return Sources(
        files={_relative(path, folder): contents(path) for path in sorted(looked)},
        environment=_environment(wasi) if wasi is not None and "env" in sought else None,
        clock=_clock(options),
        chance=tuple(source for source in _CHANCE if source in sought and world is None),
    )


def _environment(wasi: Wasi) -> str:
    return digest(json.dumps(sorted(variables(wasi).items())).encode())


def _clock(options: Options) -> str | None:
    world = options.world
    if world is None or world.start is not None:
        return None
    return os.environ.get("SOURCE_DATE_EPOCH", "")


def contents(path: Path) -> str | None:
    """Return the digest of what is at a path: a file's contents, the names in a directory; None: nothing."""
    try:
        if path.is_dir():
            names = sorted(entry.name for entry in os.scandir(path))
            return f"names {digest(json.dumps(names).encode())}"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def remember(output: Path, chunks: str, given: Ingredients, found: Sources) -> None:
    """Write the record of an output that is there.

    Args:
        output: the file.
        chunks: the digest of its contents.
        given: what it was made from.
        found: what the run looked at.

    Raises:
        OutputError: it cannot be written.
    """
    state = output.stat()
    document = {
        "format": _FORMAT,
        "name": output.name,
        "output": {"digest": chunks, "size": state.st_size, "mtime_ns": state.st_mtime_ns},
        **{name: getattr(given, name) for name in field_names(Ingredients)},
        **{name: getattr(found, name) for name in field_names(Sources)},
    }
    path = _records(output.parent)
    try:
        _append(path, b"\n" + json.dumps(document).encode())  # what was cut short before ends here
    except OSError as error:
        raise OutputError(f"failed to write `{path}`", [error.strerror or str(error)]) from None


def _records(folder: Path) -> Path:
    """Return where the records of the outputs in a folder are."""
    return folder / ".wizer" / "records.jsonl"


def _append(path: Path, line: bytes) -> None:
    """Append to a file; the system writes what is written at once in one piece, whoever else appends."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, flags, 0o666)
    try:
        if (done := os.write(descriptor, line)) < len(line):
            os.write(descriptor, line[done:])  # says why: the disk is full, most likely
    finally:
        os.close(descriptor)


class Records:
    """The records that are there, each folder's read when the first of its outputs is asked for."""

    def __init__(self) -> None:
        self._found: dict[Path, dict[str, dict[str, Any]]] = {}

    def of(self, output: Path) -> dict[str, Any] | None:
        """Return the record of an output, None where there is none."""
        folder = output.parent
        if folder not in self._found:
            self._found[folder] = _read(_records(folder))
        return self._found[folder].get(output.name)


def current(
    output: Path, options: Options, given: Ingredients, document: Mapping[str, Any] | None
) -> Sources | None:
    """Return what the run that made an output looked at; None where it has to be made again.

    Args:
        output: the file.
        options: what it is to be made with.
        given: what it is to be made from.
        document: its record.
    """
    if document is None:
        return None
    try:
        found = Sources(
            files=document["files"],
            environment=document["environment"],
            clock=document["clock"],
            chance=tuple(document["chance"]),
        )
        noted = Ingredients(**{name: document[name] for name in field_names(Ingredients)})
        if noted != given or not _is_output(output, document["output"]):
            return None
        same = _unchanged(output.parent, options, found)
    except (KeyError, TypeError, AttributeError):  # another program's, or somebody's own
        return None
    return found if same else None


def _unchanged(folder: Path, options: Options, found: Sources) -> bool:
    """Whether all that a run looked at is as it was."""
    if found.clock != _clock(options):
        return False
    if found.environment is not None and (
        options.wasi is None or _environment(options.wasi) != found.environment
    ):
        return False
    return all(contents(folder / path) == held for path, held in found.files.items())


def _is_output(output: Path, noted: Mapping[str, object]) -> bool:
    """Whether a file is the one that was noted: what its size and time leave open, its contents say."""
    try:
        state = output.stat()
    except OSError:
        return False
    if (state.st_size, state.st_mtime_ns) == (noted["size"], noted["mtime_ns"]):
        return True
    return state.st_size == noted["size"] and contents(output) == noted["digest"]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the last record of each output in a file; where most are others, the file is made shorter.

    What another build appends at that very moment is lost, and its output is made again the next time.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        if (document := _document(line)) is not None:
            found[document["name"]] = document
    if len(lines) > _SPARE * (len(found) + 1):
        with suppress(OutputError):  # it stays long
            write_path([b"\n" + json.dumps(document).encode() for document in found.values()], path)
    return found


def _document(line: bytes) -> dict[str, Any] | None:
    """Return what a line says; None: it is no record of ours."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if (
        not isinstance(found, dict)
        or found.get("format") != _FORMAT
        or not isinstance(found.get("name"), str)
    ):
        return None
    return cast("dict[str, Any]", found)
