"""``wizer build [TARGET…]``: make the snapshots that a file names, those that are not up to date."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wizer.cli.files import check_output
from wizer.cli.pages import check_report, is_page
from wizer.cli.parse import CommandParser, UsageError
from wizer.cli.report import Manner, remark, say, show
from wizer.cli.signals import Interrupted
from wizer.errors import OptionError, WizerError
from wizer.output import write_path
from wizer.units import number, size

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from wizer.batch.build import Build
    from wizer.batch.jobs import Job, Result

USAGE = """\
Make the snapshots that wizer.toml names, or [tool.wizer] in pyproject.toml: those that are not up to date

Usage: wizer build [OPTIONS] [TARGET]...

TARGET is the name of a table, of one of its snapshots as the summary has it, or an output; all, where there
is none. The documentation's reference has the keys of the file, and so has --schema.

Options:
  -f, --file FILE                 The file [default: wizer.toml, or pyproject.toml, of this folder]
  -j, --jobs N                    Worker processes [default: the number of cores]
  -k, --keep-going                Go on with the others when one is not made
  -n, --dry-run                   Say what would be made, and make nothing
      --force                     Make all, up to date or not
      --max-memory SIZE           Most memory for all guests that run at once: 4GiB
      --dask ADDRESS              Have Dask's workers do it: the scheduler's address, tcp://…; they need this
                                  version of Wizer, and the folders that guests see
      --shared-files              Dask's workers see the same files, and read modules and write snapshots
                                  themselves
      --report FILE               Write what came of each to a page (.html) or a JSON document (.json)
      --junit FILE                Write it as JUnit's XML, for CI
      --schema                    Print the JSON Schema of the file, for editors
  -q, --quiet                     Say nothing but what went wrong
  -h, --help                      Print this help

An output is up to date if the module, those it imports from, the options, Wizer's and the engine's version,
the files that initialisation looked at and the variables that it asked for are what they were: that is in a
record beside it, in `.wizer/`.

Exit status: 0 all are made or up to date; 1 some are not; 2 the command line or the file makes no sense;
130 Ctrl-C: what is written is whole, and the next build goes on from there.
"""

FAILED = 1
_PATIENCE = 30  # seconds that a scheduler has to answer
_T = TypeVar("_T")


def main(argv: Sequence[str]) -> int:
    """Run ``wizer build`` and return the exit status.

    Raises:
        UsageError: the command line or the file makes no sense.
        WizerError: the file cannot be read.
        KeyboardInterrupt: a signal asked for the end; nothing is half written.
    """
    arguments = _parse(argv)
    if arguments.help:
        from wizer.cli.help import fold

        show(fold(USAGE))
        return 0
    if arguments.schema:
        from wizer.batch.schema import schema

        show(json.dumps(schema(), indent=2))
        return 0
    Manner.quiet = arguments.quiet
    for path in arguments.report:
        check_report(path)
    check_output(arguments.junit)
    try:
        jobs = _jobs(arguments)
        from wizer.batch.build import Build

        with _interruptible(), _cluster(arguments) as (executor, workers):
            build = Build(
                jobs,
                executor,
                workers,
                arguments.max_memory,
                force=arguments.force,
                shared_files=arguments.shared_files or None,
            )
            return _dry_run(build) if arguments.dry_run else _build(build, arguments, jobs)
    except OptionError as error:
        raise UsageError(str(error), trailer=False) from None


@contextlib.contextmanager
def _cluster(arguments: argparse.Namespace) -> Iterator[tuple[Executor | None, int | None]]:
    """Connect to Dask where that is asked for; give the executor, and how many jobs it does at once."""
    if arguments.dask is None or arguments.dry_run:
        yield None, arguments.jobs
        return
    try:
        import distributed
    except ImportError:
        raise UsageError(
            'Dask is not installed; get it with: pip install "wizer[dask]"', trailer=False
        ) from None
    dask: Any = distributed  # says nothing of its types
    try:
        client = dask.Client(arguments.dask, timeout=_PATIENCE)
    except (OSError, ValueError) as error:  # nobody answers; no address
        raise WizerError(f"there is no Dask scheduler at {arguments.dask}", [str(error)]) from None
    with client:
        workers = arguments.jobs or sum(client.nthreads().values()) or 1
        yield client.get_executor(), workers


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(prog="wizer build", add_help=False, allow_abbrev=False)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("-f", "--file", type=Path)
    parser.add_argument("-j", "--jobs", type=_reader(number))
    parser.add_argument("-k", "--keep-going", action="store_true")
    parser.add_argument("-n", "--dry-run", action="store_true")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--max-memory", type=_reader(size))
    parser.add_argument("--dask")
    parser.add_argument("--shared-files", action="store_true")
    parser.add_argument("--report", action="append", default=[])
    parser.add_argument("--junit")
    parser.add_argument("--schema", action="store_true")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    arguments = parser.parse_intermixed_args(argv)
    if arguments.shared_files and arguments.dask is None:
        raise UsageError("`--shared-files` has no effect without `--dask`", trailer=False)
    if arguments.jobs == 0:
        raise UsageError("invalid value '0' for '--jobs': one job runs at least", trailer=False)
    return arguments


def _reader(read: Callable[[str], _T]) -> Callable[[str], _T]:
    """Return a reader whose complaint argparse passes on."""

    def reader(text: str) -> _T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"invalid value '{text}': {error}") from None

    return reader


def _jobs(arguments: argparse.Namespace) -> list[Job]:
    """Return what the file and the targets name."""
    from wizer.batch import config, plan

    path = arguments.file or config.find(Path())
    if path is None:
        raise UsageError(
            f"there is no {config.FILE} here, and no [tool.wizer] in {config.PYPROJECT}: name a --file",
            trailer=False,
        )
    return plan.jobs(config.read(path), path.resolve().parent, arguments.targets)


def _dry_run(build: Build) -> int:
    """Say what would be made."""
    failed, idle = False, True
    for job, result in build.plan():
        if result is None:
            idle = False
            show(f"make {job.title}")
        elif result.error is not None:
            failed = True
            _tell(result)
    if idle and not failed:
        show("nothing to make")
    return FAILED if failed else 0


def _build(build: Build, arguments: argparse.Namespace, jobs: Sequence[Job]) -> int:
    """Build, say how it goes, and return the exit status."""
    begin = time.perf_counter()
    results: list[Result] = []
    with _progress(build, len(jobs)) as done, contextlib.closing(build.results()) as coming:
        for result in coming:
            results.append(result)
            done(len(results))
            _tell(result)
            if result.error is not None and not arguments.keep_going:
                build.stop()
    seconds = time.perf_counter() - begin
    _report(arguments, results, jobs, seconds)
    if not arguments.quiet:
        _summary(results, len(jobs), seconds)
    return FAILED if len(results) < len(jobs) or any(result.error for result in results) else 0


def _report(
    arguments: argparse.Namespace, results: Sequence[Result], jobs: Sequence[Job], seconds: float
) -> None:
    """Write the reports that are asked for."""
    if not (arguments.report or arguments.junit):
        return
    from wizer.batch import report

    made = report.document(results, [job.title for job in jobs], seconds)
    for path in arguments.report:
        text = report.page(made) if is_page(path) else json.dumps(made, indent=1)
        write_path([text.encode()], path)
    if arguments.junit is not None:
        write_path([report.junit(made).encode()], arguments.junit)


@contextlib.contextmanager
def _progress(build: Build, count: int) -> Iterator[Callable[[int], None]]:
    """Show a bar for all, and a line for each that runs, on a terminal; give what moves the bar."""
    if Manner.quiet or sys.stderr is None or not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda _: None
        return
    from wizer.cli.bar import Bar

    with Bar(count, lambda: build.running) as bar:
        yield bar.move


def _tell(result: Result) -> None:
    """Say what is worth a line of its own."""
    for warning in result.warnings:
        remark(f"warning: {result.job}: {warning}")
    if result.error is not None:
        say(f"Error: {result.job}: {result.error}")


def _summary(results: Sequence[Result], count: int, seconds: float) -> None:
    """Say what was made; on a terminal, in a table too, with a row for each table of the file."""
    if sys.stdout is not None and sys.stdout.isatty() and find_spec("rich") is not None:
        from wizer.cli.bar import print_table

        print_table(results)
    made = sum(result.outcome == "made" for result in results)
    current = sum(result.outcome == "current" for result in results)
    failed = [result for result in results if result.error is not None]
    parts = [f"{made} made", f"{current} up to date"]
    if failed:
        parts.append(f"{len(failed)} failed: {', '.join(result.job for result in failed[:5])}")
    if left := count - len(results):
        parts.append(f"{left} not begun (--keep-going begins them)")
    show(f"{'; '.join(parts)}; {seconds:.2f} s")
    if chance := [result for result in results if result.chance]:
        show(
            f"{len(chance)} looked at chance or the clock without `deterministic`, and are up to date all "
            f"the same: {', '.join(result.job for result in chance[:5])}{', …' if len(chance) > 5 else ''}"
        )


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Have the first signal that asks for the end raise, and ignore others until that is done."""
    ending = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def end(received: int, _frame: object) -> None:
        for each in ending:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(received)

    before = {each: signal.signal(each, end) for each in ending}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)
