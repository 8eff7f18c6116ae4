"""Planning: the tables of a file become jobs, one for each match of a pattern."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from wizer.api import Wizer
from wizer.batch.config import Snapshot
from wizer.batch.jobs import Job
from wizer.batch.keys import BY_NAME
from wizer.engine.config import EngineConfig
from wizer.engine.wasi import Wasi
from wizer.errors import OptionError
from wizer.options import DEFAULT_LIMITS, WizerOptions
from wizer.records import replace

_PROGRAM: Final = "main.wasm"
"""The guest's name of itself: what the file is called is the machine's affair."""


def jobs(snapshots: Sequence[Snapshot], folder: Path, targets: Sequence[str] = ()) -> list[Job]:
    """Return what is to be made.

    Args:
        snapshots: what a file names.
        folder: the file's, to which paths are relative.
        targets: names of tables, titles of single snapshots or outputs; none: all.

    Raises:
        OptionError: a target is nothing's name; a pattern matches nothing, or what is made of its matches.
    """
    every = [(snapshot, job) for snapshot in snapshots for job in _jobs(snapshot, folder)]
    if not targets:
        return [job for _, job in every]
    wanted = {}
    for target in targets:
        output = os.path.realpath(target)
        matched = [
            job
            for snapshot, job in every
            if target in (snapshot.name, job.title) or os.path.realpath(job.output) == output
        ]
        if not matched:
            names = ", ".join(snapshot.name for snapshot in snapshots) or "none"
            raise OptionError(f"there is no snapshot `{target}`; known are {names}")
        wanted.update({job.title: job for job in matched})
    return [job for _, job in every if job.title in wanted]


def _jobs(snapshot: Snapshot, folder: Path) -> Iterator[Job]:
    values = snapshot.values
    pattern = values.get("inputs", values.get("for-each"))
    if pattern is None:
        yield _job(snapshot.name, values, folder)
        return
    try:
        matches = sorted(folder.glob(pattern)) if not Path(pattern).is_absolute() else []
    except (OSError, ValueError, IndexError) as error:  # a name too long, `a**b`, `.`
        raise OptionError(f"[snapshots.{snapshot.name}]: `{pattern}` matches nothing: {error}") from None
    if not matches:
        raise OptionError(f"[snapshots.{snapshot.name}]: nothing matches `{pattern}` in `{folder}`")
    for match in matches:
        relative = match.relative_to(folder)
        words = _words(relative)
        filled = {
            name: _filled(value, words) if BY_NAME[name].pattern else value for name, value in values.items()
        }
        if "inputs" in values:
            filled["input"] = str(relative)
            _check_output(snapshot.name, pattern, os.path.relpath(folder / filled["output"], folder))
        yield _job(f"{snapshot.name}[{relative.as_posix()}]", filled, folder)


def _check_output(name: str, pattern: str, output: str) -> None:
    """Raise `OptionError` where a table's output would be one of its inputs the next time."""
    if _matches(Path(output).parts, Path(pattern).parts):
        raise OptionError(
            f"[snapshots.{name}]: its output `{output}` matches `inputs = {pattern!r}`, and so would be an "
            "input of the next build; write it elsewhere, or let the pattern say more"
        )


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern matches a path as `Path.glob` does; both are given in parts."""
    if not pattern:
        return not path
    first, *rest = pattern
    if first == "**":
        return any(_matches(path[skipped:], rest) for skipped in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], first) and _matches(path[1:], rest)


def _words(match: Path) -> dict[str, str]:
    """Return what stands for the parts of a match."""
    return {
        "{stem}": match.stem,
        "{name}": match.name,
        "{parent}": match.parent.name,
        "{dir}": match.parent.as_posix(),
        "{path}": match.as_posix(),
    }


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """Replace words in a value's strings; what else stands in braces, in WAVE values say, stays."""
    if isinstance(value, str):
        return _WORD.sub(lambda found: words[found[0]], value)
    if isinstance(value, tuple):
        return tuple(_filled(item, words) for item in value)
    if isinstance(value, dict):
        return {name: _filled(item, words) for name, item in value.items()}
    return value


_WORD: Final = re.compile(r"\{(?:stem|name|parent|dir|path)\}")


def _job(name: str, values: Mapping[str, Any], folder: Path) -> Job:
    audit = values.get("audit", False)
    return Job(
        input=folder / values["input"],
        output=folder / values["output"],
        wizer=Wizer(**_options(values, folder)),
        imports=_imports(values.get("globals", {})),
        name=name,
        allow=None if audit is False else () if audit is True else audit,
    )


_SAME: Final = {
    "init": "init_func",
    "keep-init": "keep_init_func",
    "rename": "rename",
    "deterministic": "deterministic",
    "keep-libc-state": "keep_libc_state",
    "layout": "layout",
    "max-data-segments": "max_data_segments",
    "max-output": "max_output",
    "open-handles": "open_handles",
    "unknown-imports": "unknown_imports",
    "verify": "verify",
    "validate": "validate",
    "producers": "producers",
}
"""The keys whose values are those of options."""


def _options(values: Mapping[str, Any], folder: Path) -> WizerOptions:
    options: dict[str, Any] = {option: values[key] for key, option in _SAME.items() if key in values}
    if "preload" in values:
        options["preload"] = {name: folder / path for name, path in values["preload"].items()}
    if "precompile" in values:
        options["precompile"] = folder / values["precompile"]
    bounds = {
        key.replace("-", "_"): values[key] for key in ("timeout", "fuel", "max-memory") if key in values
    }
    options["limits"] = replace(DEFAULT_LIMITS, **bounds)
    engine = {key: values[key] for key in ("compiler", "features") if key in values}
    if engine:
        options["engine"] = EngineConfig(**engine)
    if values.get("wasi"):
        options["wasi"] = _wasi(values, folder)
    found: WizerOptions = {}
    found.update(options)  # type: ignore[typeddict-item]
    return found


def _wasi(values: Mapping[str, Any], folder: Path) -> Wasi:
    dirs = values.get("dirs", ())
    named = dirs if isinstance(dirs, dict) else {path: path for path in dirs}
    return Wasi(
        args=(_PROGRAM, *values.get("args", ())),
        env=values.get("env", {}),
        inherit_env=values.get("inherit-env", False),
        mapdirs={guest: folder / host for guest, host in named.items()},
        read_only=values.get("read-only", False),
        stdin=folder / values["stdin"] if "stdin" in values else "null",
        stdout="stderr",  # what the guest prints is no part of what the command says
    )


def _imports(numbers: Mapping[str, int | float]) -> dict[str, dict[str, int | float]] | None:
    """Return the values of globals by module and name."""
    found: dict[str, dict[str, int | float]] = {}
    for place, number in numbers.items():
        module, _, name = place.rpartition(".")
        found.setdefault(module, {})[name] = number
    return found or None
