"""The worker's side: what one process or thread does with the jobs it is given, and keeps between them.

What travels is a `Parcel`, with digests in the place of modules. A worker has a module from an earlier one,
or reads it where the parcel says it is; where it can do neither, it answers so, and is sent the contents.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from wizer.api import freeze, wizen_with
from wizer.batch import uptodate
from wizer.binary.assemble import Chunk
from wizer.engine.config import EngineConfig
from wizer.engine.text import read_file, to_binary
from wizer.engine.trace import Trace
from wizer.errors import InputError, OutputError, StateError, WizerError
from wizer.kept import Kept, keeping
from wizer.notices import collected, warn
from wizer.options import Options
from wizer.output import discard_unfinished, write_path
from wizer.records import record, replace
from wizer.session import initialized

_MOST_KEPT = 256 << 20  # bytes of modules that a worker keeps
_LOOK = 0.5  # seconds between two looks for the parent


@record(kw_only=True)
class Parcel:
    """A job as it travels to a worker.

    Attributes:
        ingredients: what goes into the output, with the digests of its modules.
        paths: where modules are, by digest; those that are not here have to be sent.
        sent: contents of modules, by digest.
        options: all options but those modules.
        allow: the sources that an audit may find frozen; None: there is no audit.
        output: the file to write.
        writes: whether the worker writes it, or sends the snapshot back.
        remembered: whether a record says what the output was made from.
        alone: whether nothing else computes beside this job.
        shared: whether other jobs are of the same module.
    """

    ingredients: uptodate.Ingredients
    paths: Mapping[str, Path]
    sent: Mapping[str, bytes]
    options: Options
    allow: Sequence[str] | None
    output: Path
    writes: bool
    remembered: bool
    alone: bool
    shared: bool

    @property
    def digests(self) -> set[str]:
        """The digests of all modules that it takes."""
        return {self.ingredients.wasm, *self.ingredients.preload.values()}


@record(kw_only=True)
class Answer:
    """What came of a parcel.

    Attributes:
        missing: digests of modules that the worker does not have; nothing has been done.
        size: bytes of the snapshot.
        digest: that of the snapshot.
        snapshot: it, where the worker did not write it.
        sources: what the run looked at.
        seconds: wall time.
        warnings: those of the run.
        error: why there is no snapshot.
    """

    missing: tuple[str, ...] = ()
    size: int = 0
    digest: str = ""
    snapshot: bytes | None = None
    sources: uptodate.Sources | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    error: WizerError | None = None


class _MissingError(Exception):
    """A module is not here."""


class _Modules:
    """Modules by their digest, as many as there is room for; those not used for longest go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, digest: str, parcel: Parcel) -> bytes:
        """Return a module: a kept one, one that was sent or the contents of a file.

        Raises:
            InputError: the file holds something else by now.
            _MissingError: it is not here.
        """
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
                return self._kept[digest]
        found = parcel.sent.get(digest)
        if found is None:
            found = _read(digest, parcel)
        with self._lock:
            if digest not in self._kept:
                self._size += len(found)
            self._kept[digest] = found
            while self._size > _MOST_KEPT and len(self._kept) > 1:
                self._size -= len(self._kept.popitem(last=False)[1])
        return found

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()
            self._size = 0


def _read(digest: str, parcel: Parcel) -> bytes:
    path = parcel.paths.get(digest)
    if path is None:
        raise _MissingError
    return unchanged(path, digest)


def unchanged(path: str | os.PathLike[str], digest: str) -> bytes:
    """Return the contents of a file that has a digest.

    Raises:
        InputError: it cannot be read, or holds something else by now.
    """
    found = read_file(path)
    if uptodate.digest(found) != digest:
        raise InputError(f"`{os.fspath(path)}` was changed while the build ran", ["build again"])
    return found


_MODULES = _Modules()


def forget() -> None:
    """Let go of the modules that workers in this process have; another build that runs reads them again."""
    _MODULES.clear()


class _Process:
    """What is known of a process that is a worker of ours; ``words`` is where its last words go."""

    words: Path | None = None


def begin(parent: int, words: str) -> None:
    """Prepare a process that is a worker: it ends with its parent, who alone listens to Ctrl-C.

    Args:
        parent: the process that started it.
        words: a folder; `last_words` finds there why a worker has ended itself.
    """
    _Process.words = Path(words)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


def _end(words: Path, output: Path, error: BaseException) -> None:
    """End this process: a guest waits inside of the engine, beyond its limit, and nothing else ends that."""
    (words / str(os.getpid())).write_bytes(pickle.dumps((output, error)))
    discard_unfinished()
    os._exit(1)


def last_words(folder: Path) -> dict[Path, WizerError]:
    """Return why workers have ended themselves, by the outputs of the jobs that they did, and forget it."""
    found = {}
    for path in [*folder.iterdir()]:
        with suppress(OSError, EOFError, pickle.UnpicklingError):  # it died in the middle of a word
            output, error = pickle.loads(path.read_bytes())
            found[output] = error
        path.unlink()
    return found


def work_through(parcels: Sequence[Parcel]) -> list[Answer]:
    """Do jobs one after another."""
    return [work(parcel) for parcel in parcels]


def work(parcel: Parcel) -> Answer:
    """Do a job; what goes wrong with it is part of the answer."""
    begin = time.perf_counter()
    with collected() as warnings, keeping(_HERE.kept, modules=parcel.shared, alone=parcel.alone):
        try:
            answer = _made(parcel)
        except _MissingError:
            return Answer(missing=tuple(parcel.digests - parcel.paths.keys() - parcel.sent.keys()))
        except WizerError as error:
            answer = Answer(error=error)
        except MemoryError:
            answer = Answer(error=WizerError("out of memory"))
    return replace(answer, seconds=time.perf_counter() - begin, warnings=tuple(warnings))


class _Here(threading.local):
    """What the present thread keeps."""

    def __init__(self) -> None:
        self.kept = Kept()


_HERE = _Here()


def _made(parcel: Parcel) -> Answer:
    """Make the snapshot; where it goes to is not looked at until it is there."""
    wasm = to_binary(_MODULES.get(parcel.ingredients.wasm, parcel))
    preload = {name: _MODULES.get(digest, parcel) for name, digest in parcel.ingredients.preload.items()}
    trace = Trace() if parcel.remembered and parcel.options.wasi is not None else None
    words = _Process.words
    options = replace(
        parcel.options,
        preload=preload or None,
        trace=trace,
        engine=_engine(parcel),
        hard_exit=None if words is None else partial(_end, words, parcel.output),
    )
    if parcel.allow is not None:
        _audit(options, wasm, parcel.allow)
    if options.precompile is not None:
        _make_folder(Path(options.precompile))
    if options.isolate:
        return _handed_over([wizen_with(wasm, options)], parcel)
    if parcel.shared:  # scanning without numpy is for a run that is alone: this thread has many of them
        import wizer.core.segments.bulk_scan  # noqa: F401
    with initialized(wasm, options) as session:
        answer = _handed_over(freeze(session, options), parcel)
    sources = uptodate.sources(options, trace or Trace(), parcel.output.parent)
    answer = replace(answer, sources=sources)
    if parcel.writes:
        _remember(parcel, answer)
    return answer


def _engine(parcel: Parcel) -> EngineConfig:
    """Return how to compile beside other jobs: on one core, and kept in files where others are the same."""
    config = parcel.options.engine or EngineConfig()
    parallel = config.parallel_compilation and parcel.alone
    return replace(config, parallel_compilation=parallel, cache=config.cache if parcel.shared else False)


def _audit(options: Options, wasm: bytes, allow: Sequence[str]) -> None:
    """Raise `StateError` where what is not allowed is frozen."""
    from wizer.trust.audit import audit_with

    audit = audit_with(options.changed(trace=None), wasm, quiet=True)
    if frozen := audit.frozen(allow):
        shown = [f"{finding.source}: {finding.difference.place}" for finding in audit.findings]
        raise StateError(
            f"the snapshot depends on {', '.join(frozen)}, which `audit` does not allow", shown[:3]
        )


def _handed_over(chunks: Sequence[Chunk], parcel: Parcel) -> Answer:
    """Write the snapshot, or put it into the answer."""
    snapshot = b"".join(chunks)  # hashing and writing them one by one takes longer
    answer = Answer(size=len(snapshot), digest=uptodate.digest(snapshot))
    if not parcel.writes:
        return replace(answer, snapshot=snapshot)
    _write([snapshot], parcel.output)
    return answer


def take(parcel: Parcel, answer: Answer) -> tuple[str, ...]:
    """Write a snapshot that a worker sent, and its record; return what there is to say about that.

    Raises:
        OutputError: it cannot be written.
    """
    assert answer.snapshot is not None
    with collected() as warnings:
        _write([answer.snapshot], parcel.output)
        _remember(parcel, answer)
    return tuple(warnings)


def _write(chunks: Sequence[Chunk], output: Path) -> None:
    _make_folder(output)
    write_path(chunks, output)


def _make_folder(path: Path) -> None:
    """Make the folder of a file to be written."""
    with suppress(OSError):  # writing says what is wrong with it
        path.parent.mkdir(parents=True, exist_ok=True)


def _remember(parcel: Parcel, answer: Answer) -> None:
    """Write the record of an output that is there; without one it is made again the next time."""
    if not parcel.remembered or answer.sources is None:
        return
    try:
        uptodate.remember(parcel.output, answer.digest, parcel.ingredients, answer.sources)
    except OutputError as error:
        warn(f"it will be made again the next time: {error.message}: {', '.join(error.causes)}")
