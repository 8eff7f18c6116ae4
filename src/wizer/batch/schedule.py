"""Giving jobs to workers: as many at once as memory allows, again where a worker died.

Jobs that take no time are given out several together: a message takes as long as a small module.

An executor does not say which job its worker died of, only which ones are lost. Those are given out again one
at a time: what a worker dies of then is known, and after three times given up.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from wizer.batch import worker
from wizer.batch.worker import Answer, Parcel
from wizer.errors import InputError, WizerError
from wizer.records import replace

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

ATTEMPTS: Final = 3
"""How often a job is given out whose worker dies."""

_AHEAD: Final = 2  # messages for each worker that are under way
_TOGETHER: Final = 16  # jobs in a message
_MESSAGE: Final = 0.25  # seconds of work in a message of several
_LASTS: Final = 0.9  # how much of a job that took long is expected of the next one


class Task:
    """A job on its way.

    Attributes:
        number: which job it is.
        parcel: what a worker is given.
        memory: bytes that it may take; None: that is not counted.
        suspect: whether it was lost with its worker, and so runs alone until it comes back.
        deaths: how often a worker died with it and nothing else.
    """

    def __init__(self, number: int, parcel: Parcel, memory: int | None) -> None:
        self.number = number
        self.parcel = parcel
        self.memory = memory
        self.deaths = 0
        self.suspect = False


class Workers:
    """An executor, and a new one where its workers have died.

    Args:
        count: how many jobs they do at once.
        given: an executor of the caller's, which is not shut down; None: processes of our own.
    """

    def __init__(self, count: int, given: Executor | None = None) -> None:
        self.count = count
        self._given = given
        self._words: TemporaryDirectory[str] | None = None
        self._own: Executor | None = None
        self._pids: set[int] = set()

    def submit(self, parcels: Sequence[Parcel]) -> Future[list[Answer]]:
        """Give parcels to a worker.

        Raises:
            BrokenExecutor: there are none any more.
        """
        executor = self._given
        if executor is None:
            executor = self._own = self._own or self._processes()
        # Dask takes equal calls for the same, and has the answer of the first one to that.
        options = {"pure": False} if type(executor).__module__.startswith("distributed.") else {}
        future = executor.submit(worker.work_through, parcels, **options)
        self._pids.update(_processes(executor))
        return future

    def _processes(self) -> ProcessPoolExecutor:
        """Start workers that tell why they end themselves."""
        from multiprocessing import get_context

        if self._words is None:
            self._words = TemporaryDirectory(prefix="wizer-")
        given = os.getpid(), self._words.name
        return ProcessPoolExecutor(self.count, get_context("spawn"), initializer=worker.begin, initargs=given)

    def last_words(self) -> dict[Path, WizerError]:
        """Return why workers have ended themselves, by the outputs of their jobs."""
        return {} if self._words is None else worker.last_words(Path(self._words.name))

    def renew(self) -> set[int]:
        """Have other workers from now on; return the processes that were workers."""
        if self._own is not None:
            self._own.shutdown(wait=True, cancel_futures=True)
        self._own = self._given = None
        ended, self._pids = self._pids, set()
        return ended

    def close(self, *, at_once: bool) -> set[int]:
        """End the workers that are ours; return their processes."""
        if self._own is None:
            return set()
        if at_once:
            for process in _processes(self._own).values():
                process.kill()
        ended = self.renew()
        if self._words is not None:
            self._words.cleanup()
        return ended


def _processes(executor: Executor) -> dict[int, BaseProcess]:
    """Return the processes of a pool by their numbers; other executors have none that are known."""
    return dict(getattr(executor, "_processes", None) or {})


class Run:
    """One build's tasks.

    Args:
        tasks: what to do, in order of their beginnings.
        workers: who does it.
        contents: returns the module with a digest.
        memory: bytes that all jobs which run at once may take; None: that is not counted.
        count: how many jobs there are, those included that are no tasks.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        workers: Workers,
        contents: Callable[[str], bytes],
        memory: int | None,
        count: int,
    ) -> None:
        self._rest = iter(tasks)
        self._count = count
        self._seconds: float | None = None  # that a job takes
        self._again: deque[Task] = deque()  # before the rest
        self._suspects: deque[Task] = deque()  # one at a time
        self._running: dict[Future[list[Answer]], Sequence[Task]] = {}
        self._done: SimpleQueue[Future[list[Answer]]] = SimpleQueue()
        self._workers = workers
        self._contents = contents
        self._memory = memory
        self._sent: Counter[str] = Counter()

    @property
    def running(self) -> list[Task]:
        """What runs now, as far as that is known: what was given out first."""
        return [tasks[0] for tasks in self._running.values()][: self._workers.count]

    def stop(self) -> None:
        """Give out no more."""
        self._rest = iter(())
        self._again.clear()
        self._suspects.clear()

    def answers(self) -> Generator[tuple[Task, Answer], None, None]:
        """Yield what comes of tasks, as they finish. Where that is not waited for, what runs is ended."""
        finished = False
        try:
            yield from self._answers()
            finished = True
        finally:
            self._close(at_once=not finished)

    def _answers(self) -> Iterator[tuple[Task, Answer]]:
        while True:
            yield from self._start()
            if not self._running:
                return
            future = self._done.get()
            tasks = self._running.pop(future)
            yield from self._came(tasks, future)

    def _close(self, *, at_once: bool) -> None:
        """End the workers that are ours, and remove what they had half written."""
        for future in self._running:
            future.cancel()
        _sweep(self._workers.close(at_once=at_once), chain.from_iterable(self._running.values()))
        worker.forget()

    def _start(self) -> Iterator[tuple[Task, Answer]]:
        """Give out what there is room for."""
        while tasks := self._next():
            packed: dict[Task, Parcel] = {}
            inside: set[str] = set()
            for task in tasks:
                try:
                    packed[task] = self._packed(task.parcel, inside)
                except InputError as error:
                    yield task, Answer(error=error)
            if not packed:
                continue
            try:
                future = self._workers.submit([*packed.values()])
            except BrokenExecutor as error:
                if not self._running:
                    yield from self._broken([*packed], error)
                    continue
                self._again.extendleft(reversed(packed))  # what runs comes back and says the same
                return
            self._running[future] = [*packed]
            future.add_done_callback(self._done.put)

    def _packed(self, parcel: Parcel, inside: set[str]) -> Parcel:
        """Return a parcel with the modules that its worker may lack: each goes to each worker once.

        ``inside`` are those that are in the message already.
        """
        sent = dict(parcel.sent)
        for digest in parcel.digests - parcel.paths.keys() - sent.keys() - inside:
            if self._sent[digest] < self._workers.count:
                self._sent[digest] += 1
                sent[digest] = self._contents(digest)
                inside.add(digest)
        return replace(parcel, sent=sent) if sent else parcel

    def _next(self) -> list[Task]:
        """Return what to start now in one worker, one after another."""
        running = len(self._running)
        if running and any(tasks[0].suspect for tasks in self._running.values()):
            return []
        if self._suspects:
            return [] if running else [self._suspects.popleft()]
        if running >= self._workers.count * _AHEAD:
            return []
        found: list[Task] = []
        while (task := self._again.popleft() if self._again else next(self._rest, None)) is not None:
            if (found or running) and self._is_full([*found, task]):
                self._again.appendleft(task)
                break
            found.append(task)
            if len(found) >= self._together(task):
                break
        return found

    def _together(self, last: Task) -> int:
        """Return how many to give out together: less towards the end, that no worker has to wait for another.

        ``last`` is the one that was begun last.
        """
        if not self._seconds:
            return 1
        left = (self._count - last.number) // (2 * _AHEAD * self._workers.count)
        return max(min(_TOGETHER, int(_MESSAGE / self._seconds), left), 1)

    def _is_full(self, more: Sequence[Task]) -> bool:
        if self._memory is None:
            return False
        groups = [more, *self._running.values()]
        needs = sorted((max(task.memory or 0 for task in tasks) for tasks in groups), reverse=True)
        return sum(needs[: self._workers.count]) > self._memory  # the others wait at a door

    def _came(self, tasks: Sequence[Task], future: Future[list[Answer]]) -> Iterator[tuple[Task, Answer]]:
        """Deal with tasks that came back."""
        try:
            answers = future.result()
        except BrokenExecutor as error:
            yield from self._broken(tasks, error)
        except CancelledError:
            self._again.extend(tasks)
        except Exception as error:
            if len(tasks) > 1:
                self._suspect(tasks)
            elif type(error).__name__ == "KilledWorker":  # Dask's, which has tried several by itself
                yield tasks[0], _dead(str(error))
            else:
                cause = f"{type(error).__name__}: {error}"
                yield tasks[0], Answer(error=WizerError("the job did not come through", [cause]))
        else:
            for task, answer in zip(tasks, answers, strict=True):
                task.suspect = False
                if answer.missing:
                    self._send(task, answer.missing)
                else:
                    self._seconds = max(answer.seconds, self._seconds * _LASTS if self._seconds else 0.0)
                    yield task, answer

    def _suspect(self, tasks: Iterable[Task]) -> None:
        """Have each of some tasks run alone."""
        for task in tasks:
            task.suspect = True
            self._suspects.append(task)

    def _send(self, task: Task, missing: Iterable[str]) -> None:
        """Send a task again, with the modules that its worker lacked."""
        for digest in missing:
            self._sent[digest] -= 1  # one that was sent has gone to another worker
        self._again.appendleft(task)

    def _broken(self, tasks: Sequence[Task], error: Exception) -> Iterator[tuple[Task, Answer]]:
        """Have new workers; what was lost is suspect, and what was alone with its worker has ended it."""
        running, self._running, self._done = self._running, {}, SimpleQueue()
        out = [*tasks, *chain.from_iterable(running.values())]
        _sweep(self._workers.renew(), out)
        words = self._workers.last_words()
        lost = [*tasks]
        for future, others in running.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                yield from self._came(others, future)
            else:
                lost += others
        for each in lost:
            if (said := words.get(each.parcel.output)) is not None:
                yield each, Answer(error=said)
                continue
            each.deaths += len(out) == 1
            if each.deaths >= ATTEMPTS:
                yield each, _dead(str(error))
            else:
                self._suspect([each])


def _dead(cause: str) -> Answer:
    return Answer(error=WizerError(f"its worker died, {ATTEMPTS} times", [cause]))


def _sweep(pids: Iterable[int], tasks: Iterable[Task]) -> None:
    """Remove what processes that have ended left half written beside outputs."""
    for folder in {task.parcel.output.parent for task in tasks} if pids else ():
        for pid in pids:
            for path in _unfinished(folder, pid):
                with suppress(OSError):
                    path.unlink()


def _unfinished(folder: Path, pid: int) -> Iterator[Path]:
    for place in (folder, folder / ".wizer"):
        yield from place.glob(f".wizer-{pid}-*")
