"""The snippets of the documentation, run as a reader would run them, page by page."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.snippets import matches, needs, pages, steps


@pytest.mark.parametrize("page", pages())
def test_the_snippets_of_a_page_do_what_it_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = [program for program in needs(page) if not _is_there(program)]
    if missing:
        pytest.skip(f"{page} needs {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for step in steps(page):
        where = f"docs/{page}:{step.line}"
        if step.kind == "file":
            Path(step.name).parent.mkdir(parents=True, exist_ok=True)
            Path(step.name).write_text(step.code, "utf-8")
        elif step.kind == "sh":
            printed = _shell(step.code, where)
        elif step.kind == "console":
            _console(step.code, where)
        elif step.kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(step.code, where, "exec"), names)
            printed = output.getvalue()
        elif step.kind == "prints":
            assert matches(printed, step.code), f"{where}: printed was\n{printed}"


def _is_there(program: str) -> bool:
    """Whether a program is on the path, or a variable names it: ``RUSTC`` for ``rustc``."""
    return bool(os.environ.get(program.upper().replace("-", "_")) or shutil.which(program))


def _shell(script: str, where: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        env={**os.environ, "PATH": path, "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{where}: `{script}` ended with {done.returncode}\n{done.stdout}"
    return done.stdout


def _console(session: str, where: str) -> None:
    """Run a recorded session; a command's output is what stands behind it."""
    commands = re.findall(r"^\$ (.*?(?:\\\n.*?)*)$\n?((?:^(?!\$ ).*\n)*)", session, re.M)
    assert commands, f"{where}: no line begins with `$`"
    for command, expected in commands:
        printed = _shell(command, where)
        assert matches(printed, expected), f"{where}: `{command}` printed\n{printed}"
