"""A Dask cluster makes what one run makes: a real scheduler and two workers, processes on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batch.conftest import numbered
from batch.test_failures import COUNT, TABLE, assert_whole, outputs, slow, wait_for_output
from support.command import WIZER, Tool, environment
from wizer import Job, build

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'wizer[dask]'")


@dataclass
class Cluster:
    """A scheduler's address, and its workers."""

    address: str
    workers: list[subprocess.Popen[bytes]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler and two workers with one thread each, in a folder of their own."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    file = folder / "scheduler.json"
    quiet = ["--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(file)]
    own = {"DASK_TEMPORARY_DIRECTORY": str(folder), "DASK_DISTRIBUTED__WORKER__RECONNECT": "false"}
    with ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "dask", *arguments]
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    env=environment(own),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
            stack.callback(process.kill)
            return process

        start("scheduler", "--port", "0", *quiet)
        until = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < until, "the scheduler did not start"
            time.sleep(0.05)
        workers = [start("worker", "--nthreads", "1", "--no-nanny", *quiet) for _ in range(2)]
        import distributed

        dask: Any = distributed  # says nothing of its types
        with dask.Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield Cluster(address, workers)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with slow modules, and a file that names them."""
    (tmp_path / "in").mkdir()
    for number in range(COUNT):
        (tmp_path / "in" / f"{number}.wasm").write_bytes(slow(number + 1))
    (tmp_path / "wizer.toml").write_text(TABLE)
    return tmp_path


def test_a_cluster_that_loses_a_worker_in_the_middle_makes_all(
    wizer: Tool, cluster: Cluster, folder: Path
) -> None:
    command = [*WIZER, "build", "--dask", cluster.address]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        wait_for_output(folder)
        cluster.workers[0].send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert len(outputs(folder)) == COUNT
    assert_whole(folder)
    assert wizer("build", "--dask", cluster.address).stdout.startswith(b"0 made; 8 up to date; ")


def test_an_executor_of_dask_is_one_for_the_library(cluster: Cluster, tmp_path: Path) -> None:
    import distributed

    dask: Any = distributed
    module = slow(1)
    jobs = [Job(input=module, output=tmp_path / f"{number}.wasm") for number in range(4)]
    with dask.Client(cluster.address) as client:
        results = list(build(jobs, client.get_executor(), workers=2))
    assert [result.error for result in results] == [None] * 4
    contents = {(tmp_path / f"{number}.wasm").read_bytes() for number in range(4)}
    assert len(contents) == 1


def test_workers_that_see_the_same_files_write_them(wizer: Tool, cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.wasm").write_bytes(numbered(1))
    (tmp_path / "wizer.toml").write_text(TABLE)
    made = wizer("build", "--dask", cluster.address, "--shared-files")
    assert made.stdout.startswith(b"1 made; 0 up to date; "), made.stderr
    assert_whole(tmp_path)
    assert wizer("build").stdout.startswith(b"0 made; 1 up to date; ")
    refused = wizer("build", "--shared-files")
    assert (refused.status, refused.first_line) == (
        2,
        "error: `--shared-files` has no effect without `--dask`",
    )


def test_no_scheduler_is_said(wizer: Tool, folder: Path) -> None:
    ended = wizer("build", "--dask", "nowhere")
    assert ended.status == 1
    assert "Error: there is no Dask scheduler at nowhere" in ended.stderr
    assert not outputs(folder)
