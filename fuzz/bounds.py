"""What a run with bounds must come to: an end near them, an output or an error, and nothing half done."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import wasmtime

from support.command import WIZER
from support.measured import measured

TIMEOUT: Final = 2.0  # seconds
MEMORY: Final = 64 << 20  # bytes
MORE_SECONDS: Final = 5.0
MORE_MEMORY: Final = 256 * 10**6

LAST_RESORT: Final = 60.0
"""Seconds after which the fuzzer itself ends a run."""

_COMMAND: Final = (*WIZER, f"--timeout={TIMEOUT}s", f"--max-memory={MEMORY}", "-C", "cache=n")

_EMPTY: Final = bytes(wasmtime.wat2wasm('(module (func (export "wizer-initialize")))'))
_EMPTY_SECONDS: Final = 0.3


class BoundsError(Exception):
    """A run was beyond its bounds, or left something behind."""


def check(wasm: bytes) -> dict[str, Any]:
    """Run the command line on a module; return the outcome, and the seconds and mebibytes that it took.

    Raises:
        BoundsError: it took more than it may, or ended as it must not.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "in.wasm").write_bytes(wasm)
        run = measured(_COMMAND, "in.wasm", "-o", "out.wasm", cwd=place)
        left = {path.name for path in place.iterdir()} - {"in.wasm"}
    _judge(run.status, run.stderr, left)
    said = run.first_line or "no error"
    if run.seconds > TIMEOUT + MORE_SECONDS + _busy():
        raise BoundsError(f"{run.seconds:.1f} s for a limit of {TIMEOUT:g} s: {said}")
    if run.peak > MEMORY + MORE_MEMORY:
        raise BoundsError(f"{run.peak >> 20} MiB for a limit of {MEMORY >> 20} MiB: {said}")
    return {"outcome": _outcome(run.first_line), "seconds": run.seconds, "mebibytes": run.peak / (1 << 20)}


def _busy() -> float:
    """Return how many seconds too long an empty module takes now: others use the machine, too."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.wasm").write_bytes(_EMPTY)
        run = measured(_COMMAND, "in.wasm", "-o", "out.wasm", cwd=Path(folder))
    return 2 * max(run.seconds - _EMPTY_SECONDS, 0.0)


def _judge(status: int, text: str, left: set[str]) -> None:
    """Check how a run has ended."""
    if status not in (0, 1, 4, 5) or "Traceback" in text or (status and not text.startswith("Error: ")):
        raise BoundsError(f"it ended with {status}: {text}")
    if left != ({"out.wasm"} if status == 0 else set()):
        raise BoundsError(f"it ended with {status} and left {sorted(left)}: {text}")


def _outcome(line: str) -> str:
    """Return what a run came to, in a few words: the error without what differs from one to the next."""
    if "took more than the limit of the run" in line:
        return line.removeprefix("Error: ")
    return "another error" if line.startswith("Error: ") else "an output"
