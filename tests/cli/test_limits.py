"""Every run ends near its limits, whatever it is doing, with an error that says what that was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from support import hostile
from support.command import WIZER, Tool, environment
from support.measured import measured
from wizer.engine.meter import SPARE_SECONDS
from wizer.progress import Stage
from wizer.session import Session

from . import modules

Write = Callable[..., Path]

MOST = 256 * 10**6  # bytes of memory that a run may have beyond its limit

# The command line, with something to do at the beginning of a stage.
AT_A_STAGE = """
import sys
from wizer.progress import PROGRESS
def excess():
    hoard = []
    while True:
        {excess}
def told(kind, *content):
    if kind == "stage" and content[0] == {stage!r}:
        excess()
PROGRESS.listeners.append(told)
{before}
from wizer.cli import run_process
run_process()
"""
HOARD = "hoard.append(bytearray(b'x') * (1 << 20))"


def stage_program(stage: str, excess: str, before: str = "") -> tuple[str, ...]:
    return sys.executable, "-c", AT_A_STAGE.format(stage=stage, excess=excess, before=before)


DOING = {
    "parsing": "parsing the input",
    "instrumenting": "instrumenting the module",
    "compiling": "compiling the module",
    "linking": "linking the imports",
    "initialising": "initialisation",
    "capturing": "capturing the state",
    "scanning": "looking for what memory holds",
    "comparing": "comparing states",
    "writing": "writing the output",
}


def test_all_stages_are_tested() -> None:
    assert {"reading", *DOING} == {*get_args(Stage)}


@pytest.mark.parametrize("stage", DOING)
def test_memory_is_limited_at_every_stage(stage: str, wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    program = stage_program(stage, HOARD)
    ended = measured(program, "--max-memory=16MiB", "--verify", str(path), "-o", "out.wasm", cwd=wizer.cwd)
    assert ended.status == 5
    expected = f"Error: {DOING[stage]} took more than the limit of the run, 16777216 bytes of memory"
    assert ended.first_line == expected
    assert "`max_memory` sets another limit" in ended.stderr
    assert ended.peak <= (16 << 20) + MOST
    assert [p.name for p in wizer.cwd.iterdir()] == ["in.wasm"]


@pytest.mark.parametrize("stage", ["parsing", "capturing"])
def test_time_is_limited_outside_the_guest(stage: str, wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    ended = measured(
        stage_program(stage, "pass"), "--timeout=0.5s", str(path), "-o", "out.wasm", cwd=wizer.cwd
    )
    assert ended.status == 5
    assert ended.first_line == f"Error: {DOING[stage]} took more than the limit of the run, 0.5 s"
    assert f"may take {SPARE_SECONDS:g} s beyond it" in ended.stderr


def test_memory_is_limited_while_the_input_is_read(wizer: Tool) -> None:
    ended = measured(WIZER, "--max-memory=1MiB", "/dev/zero", "-o", "out.wasm", cwd=wizer.cwd)
    assert ended.first_line == "Error: reading the input took more than the limit of the run, " + (
        "1048576 bytes of memory"
    )


def test_a_slow_writer_of_the_input_is_none_of_the_run(wizer: Tool, module: Write) -> None:
    wasm = module(modules.COUNTER).read_bytes()
    with wizer.start("--timeout=2s", "-o", "out.wasm", "-") as process:
        assert process.stdin is not None
        process.stdin.write(wasm[:8])
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2 + SPARE_SECONDS + 0.5)
        process.stdin.write(wasm[8:])
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.mark.parametrize("command", [["audit"], ["verify", "in.wasm"]], ids=["audit", "verify"])
def test_other_commands_are_limited(command: list[str], wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    program = stage_program("capturing", HOARD)
    ended = measured(program, *command, "--max-memory=16MiB", str(path), cwd=wizer.cwd)
    assert ended.status == 5
    assert ended.first_line.startswith("Error: capturing the state took more than the limit")


HALF_WRITTEN = f"""
import wizer.output
gathered = wizer.output._gathered
def half(chunks, descriptor):
    gathered([b"half of it"], descriptor)
    hoard = []
    while True:
        {HOARD}
wizer.output._gathered = half
"""


def test_a_half_written_output_is_removed(wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    (wizer.cwd / "out.wasm").write_bytes(b"old")
    program = stage_program("", "pass", before=HALF_WRITTEN)
    ended = measured(program, "--max-memory=16MiB", str(path), "-o", "out.wasm", cwd=wizer.cwd)
    assert ended.first_line.startswith("Error: writing the output took more than the limit of the run")
    assert sorted(p.name for p in wizer.cwd.iterdir()) == ["in.wasm", "out.wasm"]
    assert (wizer.cwd / "out.wasm").read_bytes() == b"old"


def test_a_run_ends_where_nobody_reads_what_it_says(wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(writer, "wb", buffering=0, closefd=False) as pipe:
        while pipe.write(bytes(1 << 16)):
            pass
    os.set_blocking(writer, True)
    program = stage_program("capturing", HOARD)
    command = [*program, "--max-memory=16MiB", str(path), "-o", "out.wasm"]
    process = subprocess.Popen(command, stderr=writer, cwd=wizer.cwd, env=environment())
    assert process.wait(30) == 5
    os.close(reader)
    os.close(writer)


def test_nested_loops_with_many_locals(wizer: Tool) -> None:
    """The compiler takes minutes and gigabytes for a module of 250 kB."""
    (wizer.cwd / "in.wasm").write_bytes(hostile.nested_loops(20_000, 2000, 40_000))
    ended = measured(WIZER, "--max-memory=1MiB", "-C", "cache=n", "in.wasm", "-o", "out.wasm", cwd=wizer.cwd)
    assert ended.status == 5
    assert ended.first_line.startswith("Error: compiling the module took more than the limit of the run")
    assert ended.peak <= (1 << 20) + MOST


def test_a_million_elements(wizer: Tool) -> None:
    """The engine takes a kilobyte for each."""
    (wizer.cwd / "in.wasm").write_bytes(hostile.elements(1_000_000))
    ended = measured(WIZER, "--max-memory=1MiB", "-C", "cache=n", "in.wasm", "-o", "out.wasm", cwd=wizer.cwd)
    assert ended.status == 5
    assert ended.first_line.startswith("Error: compiling the module took more than the limit of the run")
    assert ended.peak <= (1 << 20) + MOST


def test_twenty_thousand_imports(wizer: Tool) -> None:
    (wizer.cwd / "in.wasm").write_bytes(hostile.imports(20_000))
    ended = measured(WIZER, "--max-memory=1MiB", "--timeout=10s", "in.wasm", "-o", "out.wasm", cwd=wizer.cwd)
    assert ended.status == 0, ended.stderr
    assert ended.peak <= (1 << 20) + MOST


def test_an_array_of_many_numbers(wizer: Tool) -> None:
    """It ends: with a snapshot, or with the error that says what was beyond which limit."""
    (wizer.cwd / "in.wat").write_text(hostile.array_of_i31(10_000_000))
    limits = ("--max-memory=64MiB", "--timeout=5s")
    ended = measured(WIZER, *limits, "in.wat", "-o", "out.wasm", cwd=wizer.cwd)
    if ended.status:
        assert "took more than the limit of the run" in ended.first_line
        assert not (wizer.cwd / "out.wasm").exists()
    assert ended.peak <= (64 << 20) + MOST


LIST = """(module (type $n (struct (field i32) (field (ref null $n))))
  (global $g (mut (ref null $n)) (ref.null $n))
  (func (export "wizer-initialize") (local $i i32)
    (loop $l
      (global.set $g (struct.new $n (local.get $i) (global.get $g)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5000000))))))"""


def test_time_is_limited_while_objects_are_read(wizer: Tool) -> None:
    """Making them takes a quarter of a second, walking over them some seconds."""
    (wizer.cwd / "in.wat").write_text(LIST)
    ended = measured(WIZER, "--timeout=1s", "in.wat", "-o", "out.wasm", cwd=wizer.cwd)
    assert ended.status == 5
    assert re.search("limit of (the run, )?1 s", ended.first_line)  # who sees it first says it
    assert not (wizer.cwd / "out.wasm").exists()


def test_a_walk_over_objects_ends_by_a_signal(wizer: Tool) -> None:
    (wizer.cwd / "in.wat").write_text(LIST)
    command = stage_program("capturing", "print('capturing', flush=True); break")
    with subprocess.Popen(
        [*command, "in.wat", "-o", "out.wasm"], cwd=wizer.cwd, env=environment(), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"capturing\n"
        process.terminate()
        process.wait()
    assert process.returncode == -signal.SIGTERM
    assert [path.name for path in wizer.cwd.iterdir()] == ["in.wat"]


GROWS = """(module (memory (export "memory") 1)
  (func (export "wizer-initialize")
    (block (br_if 0 (i32.eq (memory.grow (i32.const 1000)) (i32.const -1))) (return)) unreachable)
  (func (export "other") (block unreachable) unreachable))"""


REFUSED = 'memory 0 ("memory") asked to grow to 62.6 MiB: refused by --max-memory 20MiB'


def test_growth_that_the_limit_refused_is_said_with_the_trap(wizer: Tool, module: Write) -> None:
    grows = module(GROWS)
    ended = wizer("--max-memory=20MiB", grows, "-o", "out.wasm")
    assert ended.status == 1
    assert "unreachable" in ended.stderr
    assert f"{REFUSED}, 1 time\n" in ended.stderr
    quietly: list[list[str | Path]] = [[grows, "-f", "other"], ["--max-memory=20MiB", grows, "-f", "other"]]
    for quiet in quietly:
        ended = wizer(*quiet, "-o", "out.wasm")
        assert ended.status == 1
        assert "unreachable" in ended.stderr
        assert "asked to grow" not in ended.stderr
    assert wizer("--max-memory=128MiB", grows, "-o", "out.wasm").stderr == ""


ASKING = """(module (memory (export "memory") 1) (memory $small 1 2) (memory i64 1)
  (func (export "wizer-initialize")
    (drop (memory.grow 0 (i32.const 100))) (drop (memory.grow 0 (i32.const 1000)))
    (drop (memory.grow 0 (i32.const 923))) (drop (memory.grow 0 (i32.const 1000)))
    (drop (memory.grow $small (i32.const 2))) (drop (memory.grow 0 (i32.const 100000)))
    (drop (memory.grow 2 (i64.const 2000)))))"""


def test_growth_that_the_limit_refused_is_said_on_success(wizer: Tool, module: Write) -> None:
    """The most that was asked for, and how often; what a memory may not have anyhow does not count."""
    ended = wizer("--max-memory=20MiB", module(ASKING), "-o", "out.wasm")
    assert ended.status == 0
    assert ended.stderr.splitlines() == [
        'warning: memory 0 ("memory") asked to grow to 68.8 MiB: refused by --max-memory 20MiB, 3 times',
        "warning: memory 2 asked to grow to 125.1 MiB: refused by --max-memory 20MiB, 1 time",
    ]
    unlimited = wizer(module(ASKING), "-o", "all.wasm")
    assert (unlimited.status, unlimited.stderr) == (0, "")


TABLES = """(module (type $s (struct)) (table $t (export "t") 1 funcref)
  (table i64 1 2 externref) (table 1 (ref null $s))
  (memory 1) (func $f (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
  (func (export "wizer-initialize") (table.set $t (i32.const 0) (ref.null func))
    (drop (call $f (i32.const 5))) (drop (call $f (i32.const 50000))) (drop (call $f (i32.const 40000)))
    (drop (table.grow 1 (ref.null extern) (i64.const 300))) ;; more than it may have
    (drop (table.grow 2 (struct.new $s) (i32.const 90000))) (drop (memory.grow (i32.const 1))))
  (func (export "size") (result i32) (table.size $t)))"""


def test_growth_of_tables_that_the_limit_refused_is_said(wizer: Tool, module: Write) -> None:
    ended = wizer("-W", "max-table-elements=20000", module(TABLES), "-o", "out.wasm")
    assert ended.status == 0
    refused = "refused by -W max-table-elements=20000"
    assert ended.stderr.splitlines() == [
        f'warning: table 0 ("t") asked to grow to 50006 elements: {refused}, 2 times',
        f"warning: table 2 asked to grow to 90001 elements: {refused}, 1 time",
    ]
    unlimited = wizer(module(TABLES), "-o", "all.wasm")
    assert (unlimited.status, unlimited.stderr) == (0, "")
    with Session((wizer.cwd / "out.wasm").read_bytes()) as session:
        assert session.call("size") == 6


def test_growth_inside_a_component(wizer: Tool, module: Write) -> None:
    wat = """(component (core module $m (memory 1) (func (export "f") (param i32)
        (drop (memory.grow (i32.const 1000))) (if (local.get 0) (then unreachable))))
      (core instance $i (instantiate $m))
      (func (export "f") (param "n" u32) (canon lift (core func $i "f"))))"""
    said = 'core instance 0 ("i"): memory 0 asked to grow to 62.6 MiB: refused by --max-memory 20MiB, 1 time'
    ended = wizer("--max-memory=20MiB", module(wat), "-f", "f(0)", "-o", "out.wasm")
    assert (ended.status, ended.stderr) == (0, f"warning: {said}\n")
    ended = wizer("--max-memory=20MiB", module(wat), "-f", "f(1)", "-o", "out.wasm")
    assert ended.status == 1
    assert said in ended.stderr
