"""Building: jobs in, results out, as they finish."""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

from wizer.batch import uptodate
from wizer.batch.jobs import Job, Result
from wizer.batch.schedule import Run, Task, Workers
from wizer.batch.worker import Answer, Parcel, take, unchanged
from wizer.checks import COUNT, SWITCH, expect, instance_kind, or_none, refuse
from wizer.engine.text import Wasm, read_file
from wizer.errors import LimitError, OptionError, WizerError
from wizer.options import DEFAULT_LIMITS, Options
from wizer.records import replace

_EXECUTOR: Final = or_none(instance_kind("an executor of `concurrent.futures`", Executor))


def build(
    jobs: Iterable[Job],
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    max_memory: int | None = None,
    force: bool = False,
    shared_files: bool | None = None,
) -> Generator[Result, None, None]:
    """Make many snapshots, none that is up to date already; yield what comes of each as it finishes.

    A job's failure is its result's ``error``. A worker process that dies costs its job another one, three
    times. Whoever stops iterating (``close``, or an exception) ends the workers that are the build's own, in
    the middle of what they do; no output is there in part.

    Args:
        jobs: what to make. Two of them cannot have one output, and none can read what another, or it itself,
            writes.
        executor: who does it: threads, processes, Dask's ``client.get_executor()``, any other of that kind,
            which stays open; None: new processes, as many as ``workers``.
        workers: how many jobs the executor does at once; None: as it says itself, or the number of cores.
        max_memory: bytes of memory for all guests that run at once: so many jobs are given out as their
            limits allow together, and a job without one may take its share of it.
        force: make all, up to date or not.
        shared_files: whether workers read inputs and write outputs themselves; None: threads and processes
            of `concurrent.futures` do. For others modules and snapshots travel; the guests' directories
            have to be there.

    Raises:
        OptionError: an argument is not of its type, or two jobs are in each other's way; before anything
            is made.
    """
    expect("executor", executor, _EXECUTOR)
    expect("workers", workers, or_none(COUNT))
    expect("max_memory", max_memory, or_none(COUNT))
    expect("force", force, SWITCH)
    expect("shared_files", shared_files, or_none(SWITCH))
    jobs = list(jobs)
    for job in jobs:
        if not isinstance(job, Job):
            refuse("jobs", job, "jobs")
    return Build(jobs, executor, workers, max_memory, force=force, shared_files=shared_files).results()


def _check_files(jobs: Iterable[Job], places: _Places) -> None:
    """Raise `OptionError` where two jobs would write one file, or one would write what is read."""
    writers: dict[str, Job] = {}
    for job in jobs:
        for path in (job.output, job.wizer.options.precompile):
            if path is None:
                continue
            place = places.of(path)
            if place in writers:
                raise OptionError(
                    f"`{writers[place].title}` and `{job.title}` have one output, `{os.fspath(path)}`"
                )
            writers[place] = job
    for job in jobs:
        for wasm in (job.input, *(job.wizer.options.preload or {}).values()):
            if isinstance(wasm, os.PathLike) and (writer := writers.get(places.of(wasm))):
                raise OptionError(
                    f"`{job.title}` reads `{os.fspath(wasm)}`, which `{writer.title}` writes: they cannot be "
                    "made in one build"
                )


class _Places:
    """Where paths lead, during one build; the way to a folder is gone once for all that are in it."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: str | os.PathLike[str]) -> str:
        """Return where a path leads.

        Raises:
            OptionError: nothing can be there.
        """
        folder, name = os.path.split(os.fspath(path))
        try:
            if name in ("", ".", ".."):
                return os.path.realpath(path)
            if folder not in self._folders:
                self._folders[folder] = os.path.realpath(folder)
            found = os.path.join(self._folders[folder], name)  # noqa: PTH118 - a Path takes as long as the look
            return os.path.realpath(found) if _is_link(found) else found
        except ValueError as error:  # a NUL, or half a character
            raise OptionError(f"{os.fspath(path)!r} is no path of a file: {error}") from None


def _is_link(path: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        return False


class Build:
    """One build; see `build`."""

    def __init__(
        self,
        jobs: Sequence[Job],
        executor: Executor | None,
        workers: int | None,
        memory: int | None,
        *,
        force: bool,
        shared_files: bool | None,
    ) -> None:
        self._places = _Places()
        _check_files(jobs, self._places)
        self._jobs = jobs
        self._memory = memory
        self._force = force
        self._writes = is_local(executor) if shared_files is None else shared_files
        count = workers or getattr(executor, "_max_workers", None) or os.cpu_count() or 1
        self._workers = Workers(min(count, max(len(jobs), 1)) if executor is None else count, executor)
        self._modules = _Modules(self._places)
        self._records = uptodate.Records()
        self._common = Counter(_identity(job.input) for job in jobs)
        self._ready: deque[Result] = deque()
        self._run = Run(self._tasks(), self._workers, self._modules.contents, memory, len(jobs))

    @property
    def running(self) -> list[str]:
        """The titles of the jobs that run now."""
        return [self._jobs[task.number].title for task in self._run.running]

    def results(self) -> Generator[Result, None, None]:
        """Yield what comes of each job."""
        with closing(self._run.answers()) as came:
            for task, answer in came:
                yield from self._current()
                yield self._result(task, answer)
        yield from self._current()

    def _current(self) -> Iterator[Result]:
        """Yield the results that took no worker."""
        while self._ready:
            yield self._ready.popleft()

    def stop(self) -> None:
        """Begin no more jobs; what runs goes on to its end."""
        self._run.stop()

    def plan(self) -> Iterator[tuple[Job, Result | None]]:
        """Yield each job, and its result where no worker has to make it."""
        for number, job in enumerate(self._jobs):
            looked = self._look(number, job)
            yield job, looked if isinstance(looked, Result) else None

    def _tasks(self) -> Iterator[Task]:
        """Yield what workers have to do; what they need not becomes a result."""
        for number, job in enumerate(self._jobs):
            looked = self._look(number, job)
            if isinstance(looked, Result):
                self._ready.append(looked)
            else:
                yield looked

    def _look(self, number: int, job: Job) -> Task | Result:
        """Return what there is to do for a job, or what came of it."""
        try:
            task = self._task(number, job)
        except WizerError as error:
            return _failed(job, error)
        parcel = task.parcel
        code = parcel.options.precompile
        if self._force or not parcel.remembered or not (code is None or Path(code).exists()):
            return task
        found = uptodate.current(
            parcel.output, parcel.options, parcel.ingredients, self._records.of(parcel.output)
        )
        if found is None:
            return task
        size = parcel.output.stat().st_size
        return Result(
            job=job.title, output=Path(job.output), outcome="current", size=size, chance=found.chance
        )

    def _task(self, number: int, job: Job) -> Task:
        """Return what a worker has to do for a job.

        Raises:
            InputError: a module cannot be read.
            LimitError: the job may take more memory than all together.
        """
        options, memory = self._bounded(replace(job.wizer.options, imports=job.imports))
        output = Path(self._places.of(job.output))
        wasm = self._modules.add(job.input)
        preload = {name: self._modules.add(given) for name, given in (options.preload or {}).items()}
        options = replace(options, preload=None)
        given = uptodate.ingredients(options, wasm, preload, output.parent, job.allow)
        parcel = Parcel(
            ingredients=given,
            paths=self._modules.paths({wasm, *preload.values()}) if self._writes else {},
            sent={},
            options=options,
            allow=job.allow,
            output=output,
            writes=self._writes,
            remembered=uptodate.is_rememberable(options),
            alone=self._workers.count == 1,
            shared=self._common[_identity(job.input)] > 1,
        )
        return Task(number, parcel, memory)

    def _bounded(self, options: Options) -> tuple[Options, int | None]:
        """Return options with which a job takes no more memory than it may, and how much that is."""
        total = self._memory
        if total is None:
            return options, None
        limits = options.bounds
        if limits.max_memory in (None, DEFAULT_LIMITS.max_memory):
            limits = replace(limits, max_memory=total // self._workers.count)
        most = limits.max_memory
        assert most is not None
        if most > total:
            raise LimitError(f"the job may take {most} bytes of memory, and all together {total}")
        return replace(options, limits=limits), most

    def _result(self, task: Task, answer: Answer) -> Result:
        job, parcel = self._jobs[task.number], task.parcel
        warnings = answer.warnings
        error = answer.error
        if error is None and answer.snapshot is not None:
            try:
                warnings += take(parcel, answer)
            except WizerError as failure:
                error = failure
        if error is not None:
            return replace(_failed(job, error), seconds=answer.seconds, warnings=warnings)
        return Result(
            job=job.title,
            output=Path(job.output),
            outcome="made",
            size=answer.size,
            seconds=answer.seconds,
            warnings=warnings,
            chance=answer.sources.chance if answer.sources is not None else (),
        )


def is_local(executor: Executor | None) -> bool:
    """Whether the workers of an executor see the files of this process."""
    return executor is None or isinstance(executor, ThreadPoolExecutor | ProcessPoolExecutor)


def _failed(job: Job, error: WizerError) -> Result:
    return Result(job=job.title, output=Path(job.output), outcome="failed", error=error)


def _identity(wasm: Wasm) -> object:
    """Return what is the same for inputs that are known to be the same before they are read."""
    return Path(wasm) if isinstance(wasm, os.PathLike) else id(wasm)


class _Modules:
    """The modules of a build by their digests; files are read once to know it, and again to be sent."""

    def __init__(self, places: _Places) -> None:
        self._places = places
        self._digests: dict[object, str] = {}
        self._found: dict[str, Wasm] = {}

    def add(self, wasm: Wasm) -> str:
        """Return the digest of a module.

        Raises:
            InputError: it cannot be read.
        """
        identity = _identity(wasm)
        if identity not in self._digests:
            digest = uptodate.digest(raw(wasm))
            self._digests[identity] = digest
            self._found.setdefault(digest, wasm)
        return self._digests[identity]

    def contents(self, digest: str) -> bytes:
        """Return the module with a digest.

        Raises:
            InputError: its file was changed, or has gone.
        """
        wasm = self._found[digest]
        return unchanged(wasm, digest) if isinstance(wasm, os.PathLike) else raw(wasm)

    def paths(self, digests: Iterable[str]) -> dict[str, Path]:
        """Return where those of some modules are that are files."""
        found = {digest: self._found[digest] for digest in digests}
        return {
            digest: Path(self._places.of(wasm))
            for digest, wasm in found.items()
            if isinstance(wasm, os.PathLike)
        }


def raw(wasm: Wasm) -> bytes:
    """Return the bytes of an input as it is given, in the binary or the text format.

    Raises:
        InputError: the file cannot be read.
    """
    if isinstance(wasm, os.PathLike):
        return read_file(wasm)
    return wasm.encode(errors="surrogatepass") if isinstance(wasm, str) else bytes(wasm)
