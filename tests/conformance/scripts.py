"""The scripts of the test suite: which there are, and what `wasm-tools json-from-wast` makes of them.

The format is that of WABT's `wast2json` with the additions of wasm-tools: `module_definition`,
`module_instance`, `assert_exception`, and a `binary_filename` beside a module in the text format.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUITE_VARIABLE = "WASM_TESTSUITE"
SEEDS_VARIABLE = "WASM_TESTSUITE_SEEDS"

# The finished proposals are the suite's top level; of the others, those that the engine implements.
PROPOSALS = ("custom-page-sizes", "threads", "wide-arithmetic")

# What the suite leaves out: state that changes, and is asked for again and again.
_OWN = Path(__file__).parent / "own"

Command = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Script:
    """A converted script.

    Attributes:
        name: its path in the suite without the suffix, or `own/` and a name.
        folder: where the files that its commands name are.
        commands: in order; the index of a command in this tuple is its identity.
    """

    name: str
    folder: Path
    commands: tuple[Command, ...]

    def file(self, name: str) -> bytes:
        """Read a file that a command names."""
        return (self.folder / name).read_bytes()


def suite() -> Path | None:
    """The folder of the test suite, or ``None`` where the environment names none."""
    folder = os.environ.get(SUITE_VARIABLE)
    return Path(folder) if folder and Path(folder).is_dir() else None


def seeds() -> tuple[int, ...]:
    """The seeds of the snapshot points: `WASM_TESTSUITE_SEEDS`, numbers with commas between them."""
    return tuple(int(seed) for seed in os.environ.get(SEEDS_VARIABLE, "1").split(","))


def sources() -> dict[str, Path]:
    """All scripts by name, the project's own first; only those where there is no suite."""
    found = {f"own/{path.stem}": path for path in sorted(_OWN.glob("*.wast"))}
    root = suite()
    if root is not None:
        for folder in (root, *(root / "proposals" / proposal for proposal in PROPOSALS)):
            for path in sorted(folder.glob("*.wast")):
                found[path.relative_to(root).with_suffix("").as_posix()] = path
    return found


def convert(name: str, source: Path, tool: str, into: Path) -> Script:
    """Convert the script ``source`` into a new folder under ``into``.

    Raises:
        subprocess.CalledProcessError: the tool does not understand the script.
    """
    folder = into / name.replace("/", "-")
    folder.mkdir()
    output = folder / "script.json"
    subprocess.run(
        [tool, "json-from-wast", str(source), "--wasm-dir", str(folder), "-o", str(output)],
        check=True,
        capture_output=True,
        text=True,
    )
    commands = json.loads(output.read_text(encoding="utf-8"))["commands"]
    return Script(name, folder, tuple(commands))
