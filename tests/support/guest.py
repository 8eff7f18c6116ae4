"""What the tests of core modules share: making, checking, freezing and running them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import wasmtime

from support.engine import engine
from support.tools import complaint
from wizer import Session, TrapError
from wizer.binary.externs import GlobalType
from wizer.binary.module import Module, parse_module
from wizer.engine import capi, capi_values
from wizer.engine.link import Linker, default_value
from wizer.options import Layout

INIT = "init"

# An export to call: its name, or the name and arguments.
Probe: TypeAlias = "str | tuple[Any, ...]"


def validate(wasm: bytes, features: str = "all") -> None:
    """Have `wasm-tools` check a module under a feature set, and the engine with everything on."""
    problem = complaint(wasm, features)
    assert not problem, problem
    wasmtime.Module(engine(), wasm)


class Guest:
    """A module running in the engine without Wizer; imports that are not given are made, or trap."""

    def __init__(
        self, wasm: bytes, imports: Mapping[str, Any] | None = None, store: wasmtime.Store | None = None
    ) -> None:
        self.module: Module = parse_module(wasm)
        self.store = store or wasmtime.Store(engine())
        compiled = wasmtime.Module(engine(), wasm)
        linker = Linker(self.store)
        for imported in self.module.imports:
            if isinstance(imported.type, GlobalType):
                linker.supply(imported.module, {imported.name: default_value(imported.type.valtype)})
        for name, items in (imports or {}).items():
            linker.supply(name, items)
        self.instance = capi.instantiate(self.store, compiled, linker.link(self.module, compiled).externs)

    def export(self, name: str) -> Any:
        """An export as the engine's package has it."""
        return capi.export_of(self.store, self.instance, name)

    def __call__(self, name: str, *args: object) -> Any:
        functype = self.module.functype(self.module.exports_by_name[name].index)
        kinds = [capi_values.value_kind(param, self.module.types) for param in functype.params]
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
    again = refrozen(snapshot, imports, options.get("layout", "balanced"))
    assert len(again) == len(snapshot), "a snapshot of the snapshot has another size"
    return snapshot


def refrozen(snapshot: bytes, imports: Mapping[str, Any] | None = None, layout: Layout = "balanced") -> bytes:
    """A snapshot of a snapshot, taken at once."""
    with Session(snapshot, imports=imports, layout=layout) as session:
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
