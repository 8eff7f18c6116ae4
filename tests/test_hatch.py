"""The build hook for Hatch: a wheel has snapshots in it, made when it was built."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from batch.conftest import TRAPS, numbered
from support.command import environment
from wizer import wizen

PROJECT = """
[build-system]
requires = ["hatchling", "wizer"]
build-backend = "hatchling.build"
[project]
name = "frozen"
version = "1"
[tool.hatch.build.targets.wheel]
packages = ["src/frozen"]
[tool.hatch.build.hooks.wizer]
[tool.wizer.snapshots.app]
input = "app.wasm"
output = "src/frozen/app.wasm"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose package takes a snapshot with it that its repository does not have."""
    package = tmp_path / "src" / "frozen"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text("/src/frozen/app.wasm\n/src/frozen/.wizer\n")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    return tmp_path


def built(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    return subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


def test_a_wheel_has_the_snapshot_in_it(project: Path) -> None:
    (project / "app.wasm").write_bytes(numbered(5))
    ended = built(project)
    assert ended.returncode == 0, ended.stderr
    (wheel,) = (project / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("frozen/app.wasm") == wizen(numbered(5))
        assert not [name for name in archive.namelist() if ".wizer" in name]


def test_no_wheel_without_its_snapshot(project: Path) -> None:
    (project / "app.wasm").write_text(TRAPS)
    ended = built(project)
    assert ended.returncode != 0
    assert "app: the `wizer-initialize` function trapped" in ended.stderr
    assert not (project / "dist").exists() or not list((project / "dist").iterdir())
