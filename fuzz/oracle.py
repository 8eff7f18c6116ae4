"""What freezing any bytes must come to: a clean error, or a valid output that behaves like the original.

The input is run as a stranger's module would be: no WASI, limits on everything.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import wasmtime

import wizer
from wizer.binary.externs import Export
from wizer.binary.types import RefType
from wizer.binary.values import Number
from wizer.engine.config import EngineConfig, validation_config

LIMITS = wizer.Limits(
    timeout=2.0, fuel=200_000, max_memory=16 << 20, max_table_elements=100_000, max_memories=20, max_tables=20
)

_INITS = 4
_PROBES = 12

# The numbers that functions are called with, in turn.
_NUMBERS = (0, 1, 7, 65_532, 0x7FFF_FFFF)


class OracleError(Exception):
    """The output is not what it has to be."""


def freeze_and_compare(wasm: bytes) -> str:
    """Pre-initialise ``wasm`` by calling some of its exports; return what came of it, in a word.

    Raises:
        OracleError: the output is wrong.
        Exception: wizer fails with something that is no `WizerError`.
    """
    try:
        with open_session(wasm, unknown_imports="default") as session:
            functions = [export for export in session.module.exports if export.kind == "func"]
            for number, export in enumerate(functions[:_INITS]):
                _call(session, export, number)
            snapshot = snapshot_of(session, partial(wasmtime.Module.validate, ENGINE))
            return _compare(session, snapshot, functions)
    except wizer.WizerError as error:
        return type(error).__name__


def open_session(wasm: bytes, unknown_imports: Literal["trap", "default"]) -> wizer.Session:
    """Open a session with `LIMITS`."""
    # One compiler on both sides: NaNs may differ between two.
    config = wizer.EngineConfig(compiler="cranelift", cache=False, parallel_compilation=False)
    return wizer.Session(wasm, unknown_imports=unknown_imports, limits=LIMITS, engine=config)


def open_output(snapshot: bytes, unknown_imports: Literal["trap", "default"]) -> wizer.Session | None:
    """Open a session of an output; None: `LIMITS` are too narrow for it.

    Raises:
        OracleError: anything else is in the way.
    """
    try:
        return open_session(snapshot, unknown_imports)
    except wizer.LimitError:
        return None
    except wizer.WizerError as error:
        raise OracleError(f"the output does not start: {error}") from error


def snapshot_of(session: wizer.Session, validate: Callable[[bytes], object]) -> bytes:
    """Return a session's snapshot, which is valid, and the same when it is taken again.

    Raises:
        OracleError: it is not.
    """
    snapshot = session.snapshot()
    if session.snapshot() != snapshot:
        raise OracleError("two snapshots of one state differ")
    try:
        validate(snapshot)
    except wasmtime.WasmtimeError as error:
        raise OracleError(f"the output is invalid: {error}") from None
    return snapshot


def compare_calls(calls: Iterable[tuple[str, Any, Any]]) -> str:
    """Compare what calls come to in the original and in the output: a name and both, each.

    Raises:
        OracleError: one comes to something else.
    """
    for name, one, other in calls:
        if "limit" in (one, other):
            return "compared, up to a limit"
        if one != other:
            raise OracleError(f"`{name}` comes to {one}, and to {other} in the output")
    return "compared"


ENGINE = wasmtime.Engine(validation_config(EngineConfig()))


def _compare(session: wizer.Session, snapshot: bytes, functions: list[Export]) -> str:
    frozen = open_output(snapshot, unknown_imports="default")
    if frozen is None:
        return "LimitError in the snapshot"
    with frozen:
        exports = [(e.name, e.kind, e.index) for e in frozen.module.exports]
        expected = [(e.name, e.kind, e.index) for e in session.module.exports if e.name != "_initialize"]
        if exports != expected:
            raise OracleError(f"the output exports {exports}, not {expected}")
        _compare_memories(session, frozen)
        outcome = compare_calls(
            (export.name, _call(session, export, number), _call(frozen, export, number))
            for number, export in enumerate(functions[:_PROBES])
            if export.name != "_initialize"
        )
        if outcome == "compared":  # a limit may leave the memories apart
            _compare_memories(session, frozen)
    return outcome


def _compare_memories(session: wizer.Session, frozen: wizer.Session) -> None:
    for export in session.module.exports:
        if export.kind == "memory" and bytes(session.memory(export.name)) != bytes(
            frozen.memory(export.name)
        ):
            raise OracleError(f"the memory `{export.name}` differs")


def _call(session: wizer.Session, export: Export, number: int) -> Any:
    """Call a function; return its numbers, or a word for how it failed."""
    functype = session.module.functype(export.index)
    arguments = [_argument(str(p), number + i) for i, p in enumerate(functype.params) if isinstance(p, str)]
    if len(arguments) < len(functype.params):
        arguments = [None if isinstance(p, RefType) else _argument(p, number) for p in functype.params]
    try:
        results = session.call(export.name, *arguments)
    except wizer.LimitError:
        return "limit"
    except wizer.TrapError as error:
        exhausted = any("call stack exhausted" in cause for cause in error.causes)
        return "limit" if exhausted else "trap"
    except wizer.OptionError:
        return "refused"  # null for a parameter that takes none
    if len(functype.results) == 1:
        results = (results,)
    return list(_described(results or ()))


def _argument(valtype: str, number: int) -> object:
    bits = _NUMBERS[number % len(_NUMBERS)]
    match valtype:
        case "f32":
            return Number("f32", bits)
        case "f64":
            return Number("f64", bits << 32)
        case "v128":
            return bits.to_bytes(16, "little")
    return bits


def _described(results: tuple[object, ...]) -> Iterator[object]:
    for result in results:
        if isinstance(result, float):
            yield struct.pack("<d", result)
        elif result is None or isinstance(result, int | bytes):
            yield result
        else:
            yield "reference"
