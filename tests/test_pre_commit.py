"""The hook for pre-commit runs a command that there is, and when what it reads changes."""

from __future__ import annotations

import re
from pathlib import Path

from support.command import WIZER, run

HOOK = Path(__file__).parents[1] / ".pre-commit-hooks.yaml"


def test_the_hook_runs_the_command_and_when_it_has_to(tmp_path: Path) -> None:
    lines = dict(re.findall(r"^[- ] (\w+): (.*)$", HOOK.read_text(), re.MULTILINE))
    program, *arguments = lines["entry"].split()
    assert program == "wizer"
    (tmp_path / "wizer.toml").write_text("")
    assert run(WIZER, *arguments, cwd=tmp_path).returncode == 0
    files = re.compile(lines["files"].strip("'"))
    assert all(files.search(name) for name in ("app.wasm", "a/b.wat", "wizer.toml", "sub/pyproject.toml"))
    assert not any(files.search(name) for name in ("app.py", "wizer.toml.md", "notwizer.toml"))
