"""What the engine's messages say: it has one class of errors, and tells in prose what happened."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import wasmtime

from wizer.engine.callbacks import HostError, described
from wizer.errors import ExitError, LimitError, LinkError, TrapError

if TYPE_CHECKING:
    from wizer.engine.limits import Limits

_MINIMUM = re.compile(r"(?P<what>memory|table) minimum size of (?P<count>\d+ \w+) exceeds")
_COUNT = re.compile(r"resource limit exceeded: (?P<what>\w+) count too high at (?P<count>\d+)")


def limit_met(error: BaseException, limits: Limits) -> LimitError | None:
    """Return the error for the bound that the engine's ``error`` tells of, or None if it is about none."""
    text = str(error)
    message = None
    if "all fuel consumed by WebAssembly" in text:
        message = f"initialisation took more than its limit of {limits.fuel} units of fuel"
    elif "GC heap out of memory" in text and limits.max_memory is not None:
        message = f"the heap of GC objects exceeds the limit of {limits.max_memory} bytes"
    elif match := _MINIMUM.search(text):
        unit, bound = {
            "memory": ("bytes", limits.max_memory),
            "table": ("elements", limits.max_table_elements),
        }[match["what"]]
        if bound is not None:
            message = f"a {match['what']} of {match['count']} exceeds the limit of {bound} {unit}"
    elif match := _COUNT.search(text):
        names, bound = {
            "instance": ("instances", limits.max_instances),
            "memory": ("memories", limits.max_memories),
            "table": ("tables", limits.max_tables),
        }.get(match["what"], ("", None))
        if bound is not None:
            message = f"the module needs {match['count']} {names}, more than the limit of {bound}"
    return None if message is None else LimitError(message, causes(error))


def causes(error: BaseException) -> tuple[str, ...]:
    """Split what the engine says of an error into its chain of causes, outermost first.

    The engine writes a message, a blank line, `Caused by:`, and the causes: a single one indented by four
    spaces, several numbered in a column of seven characters that their further lines leave free.
    """
    first, found, rest = str(error).partition("\n\nCaused by:\n")
    chain = [first.strip()]
    if found and _NUMBER.match(rest):
        chain += [_dedent(part, 7) for part in _NUMBER.split(rest) if part]
    elif found:
        chain.append(_dedent(rest, 4))
    return tuple(chain)


_NUMBER = re.compile(r"^(?=[ \d]{4}\d: ) *\d+: ", re.MULTILINE)


def _dedent(text: str, width: int) -> str:
    """Take ``width`` columns of blank space away from each line of a cause."""
    return "\n".join(re.sub(rf"^ {{0,{width}}}", "", line) for line in text.rstrip().split("\n"))


def is_trap(error: BaseException) -> bool:
    """Whether the engine speaks of guest code that ran, and not of what kept it from running."""
    text = str(error)
    return "wasm backtrace" in text or "wasm trap" in text


def of_engine(error: BaseException) -> BaseException:
    """Return the engine's own error where it came through a host function, otherwise what is given."""
    cause = error.__cause__ if isinstance(error, HostError) else None
    if isinstance(cause, wasmtime.Trap | wasmtime.ExitTrap) or (
        isinstance(cause, wasmtime.WasmtimeError) and is_trap(cause)
    ):
        return cause
    return error


def translated(message: str, error: BaseException) -> BaseException:
    """Return our own error, which says ``message``, for one that a run of guest code ended with.

    What is none of the engine's comes back as it is.
    """
    if isinstance(error, HostError):
        cause = error.__cause__
        if not isinstance(cause, Exception):
            return cause or error
        found = TrapError(message, [f"a host function raised {described(cause)}"])
        found.__cause__ = cause
        return found
    if isinstance(error, wasmtime.ExitTrap):
        return ExitError(message, error.code, causes(error))
    if isinstance(error, wasmtime.Trap):
        return TrapError(message, causes(error))
    if isinstance(error, wasmtime.WasmtimeError):
        return (TrapError if is_trap(error) else LinkError)(message, causes(error))
    return error
