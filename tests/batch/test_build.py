"""The library builds many: with threads, with processes of either kind, and again only what changed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from batch.conftest import TRAPS, numbered
from wizer import InputError, Job, LimitError, Limits, OptionError, TrapError, Wizer, build, wizen

Modules = Callable[[int], list[Path]]

EXECUTORS: dict[str, Callable[[], Executor]] = {
    "threads": lambda: ThreadPoolExecutor(2),
    "spawned": lambda: ProcessPoolExecutor(1, multiprocessing.get_context("spawn")),
    "forked": lambda: ProcessPoolExecutor(1, multiprocessing.get_context("fork")),
}


def jobs(paths: list[Path]) -> list[Job]:
    return [Job(input=path, output=path.parent / "out" / path.name) for path in paths]


@pytest.mark.parametrize("name", EXECUTORS)
def test_every_executor_makes_what_one_run_makes(name: str, modules: Modules) -> None:
    paths = modules(4)
    with EXECUTORS[name]() as executor:
        results = list(build(jobs(paths), executor))
    assert [result.outcome for result in results] == ["made"] * 4
    for path in paths:
        output = path.parent / "out" / path.name
        assert output.read_bytes() == wizen(path)
        assert {result.size for result in results if result.output == output} == {output.stat().st_size}


def test_workers_of_its_own(modules: Modules) -> None:
    paths = modules(3)
    assert [result.outcome for result in build(jobs(paths), workers=1)] == ["made"] * 3
    assert (paths[0].parent / "out" / paths[0].name).read_bytes() == wizen(paths[0])


def test_nothing_is_made_twice_but_what_changed(modules: Modules) -> None:
    paths = modules(3)
    with ThreadPoolExecutor(2) as executor:
        list(build(jobs(paths), executor))
        paths[1].write_bytes(numbered(99))
        results = {Path(result.job).name: result.outcome for result in build(jobs(paths), executor)}
        assert results == {"0.wasm": "current", "1.wasm": "made", "2.wasm": "current"}
        assert [result.outcome for result in build(jobs(paths), executor, force=True)] == ["made"] * 3


def test_other_options_are_another_snapshot(modules: Modules) -> None:
    (path,) = modules(1)
    output = path.parent / "out.wasm"
    with ThreadPoolExecutor(1) as executor:
        for keep, outcome in [(False, "made"), (True, "made"), (True, "current")]:
            job = Job(input=path, output=output, wizer=Wizer(keep_init_func=keep))
            assert [result.outcome for result in build([job], executor)] == [outcome]


def test_an_output_that_is_not_what_was_written_is_made_again(modules: Modules) -> None:
    (path,) = modules(1)
    output = path.parent / "out.wasm"
    with ThreadPoolExecutor(1) as executor:
        list(build([Job(input=path, output=output)], executor))
        contents = output.read_bytes()
        output.write_bytes(contents)  # the same, at another time
        assert [r.outcome for r in build([Job(input=path, output=output)], executor)] == ["current"]
        output.write_bytes(contents[:-1] + b"\0")
        assert [r.outcome for r in build([Job(input=path, output=output)], executor)] == ["made"]
        assert output.read_bytes() == contents


def test_a_job_fails_alone(modules: Modules, tmp_path: Path) -> None:
    bad = [
        Job(input=TRAPS, output=tmp_path / "traps.wasm", name="traps"),
        Job(input=tmp_path / "nothing", output=tmp_path / "nothing.wasm", name="nothing"),
        Job(
            input=numbered(1),
            output=tmp_path / "large.wasm",
            name="large",
            wizer=Wizer(limits=Limits(max_memory=1 << 40)),
        ),
    ]
    with ThreadPoolExecutor(2) as executor:
        results = list(build([*bad, *jobs(modules(2))], executor, max_memory=1 << 30))
    assert {r.job: type(r.error) for r in results if r.error} == {
        "traps": TrapError,
        "nothing": InputError,
        "large": LimitError,
    }
    assert sum(result.outcome == "made" for result in results) == 2
    assert not (tmp_path / "traps.wasm").exists()


def test_modules_travel_once_to_each_worker(modules: Modules) -> None:
    (path,) = modules(1)
    alone = wizen(path)
    every = [Job(input=path, output=path.parent / f"out{number}.wasm") for number in range(4)]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        results = build(every, executor, shared_files=False)
        first = next(results)
        path.unlink()
        outcomes = [result.outcome for result in (first, *results)]
    assert outcomes == ["made"] * 4
    assert {job.output.read_bytes() for job in every if isinstance(job.output, Path)} == {alone}


def test_two_jobs_with_one_output_are_refused(tmp_path: Path) -> None:
    one, other = (
        Job(input=numbered(1), output=tmp_path / "out.wasm", name=name) for name in ("one", "other")
    )
    with pytest.raises(OptionError, match="`one` and `other` have one output"):
        build([one, other])


def test_whoever_stops_looking_ends_the_build(modules: Modules) -> None:
    paths = modules(4)
    results = build(jobs(paths), workers=1)
    first = next(results)
    results.close()
    assert first.outcome == "made"
    assert not list((paths[0].parent / "out").glob(".wizer-*"))
