"""A build on an executor of MPI's, with real processes: ``pip install mpi4py mpich``."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from support.command import environment
from support.engine import binary
from wizer import wizen

MPIEXEC = which("mpiexec", path=str(Path(sys.executable).parent))

pytestmark = pytest.mark.skipif(
    MPIEXEC is None or find_spec("mpi4py") is None, reason="MPI is missing: pip install mpi4py mpich"
)

PROGRAM = """
import sys
from pathlib import Path
import wizer
from mpi4py.futures import MPIPoolExecutor

if __name__ == "__main__":
    jobs = [wizer.Job(input=path, output=path.with_suffix(".out")) for path in sorted(Path().glob("*.wasm"))]
    with MPIPoolExecutor() as executor:
        print([result.outcome for result in wizer.build(jobs, executor, workers=2)])
"""


def test_two_workers_of_mpi_make_what_is_made_alone(tmp_path: Path) -> None:
    for number in range(9):
        store = f"(i32.store (i32.const {number}) (i32.const 7))"
        text = f'(module (memory 1) (func (export "wizer-initialize") {store}))'
        (tmp_path / f"{number}.wasm").write_bytes(binary(text))
    (tmp_path / "many.py").write_text(PROGRAM)
    assert MPIEXEC is not None
    command = [MPIEXEC, "-n", "3", sys.executable, "-m", "mpi4py.futures", "many.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"{['made'] * 9}\n"), done.stderr
    for number in range(9):
        assert (tmp_path / f"{number}.out").read_bytes() == wizen(tmp_path / f"{number}.wasm")
