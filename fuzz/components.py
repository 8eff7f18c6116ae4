"""Changed components; freezing one comes to a clean error, or to an output that behaves like it."""

from __future__ import annotations

import random
from functools import cache, partial
from pathlib import Path

import wasmtime
import wasmtime.component as wc
from mutations import change_bytes, change_in_place, mutate
from oracle import ENGINE, OracleError, compare_calls, open_output, open_session, snapshot_of

import wizer
from wizer.binary.leb128 import encode_unsigned
from wizer.component.items import CORE_MODULE
from wizer.component.parse import parse_component

_SEEDS = Path(__file__).parent / "seeds" / "components"
_INITS = 4
_ARGUMENTS = ((), (3,), (0x7FFF_FFFF,), ("a",))


def make_input(seed: int) -> bytes:
    """Return the component that a seed stands for."""
    rng = random.Random(f"component {seed}")
    wasm = rng.choice(_seeds())
    for _ in range(rng.choice((0, 1, 1, 2))):
        wasm = _change_a_module(wasm, rng) or wasm
    if rng.random() < 0.3:
        wasm = change_in_place(wasm, rng)
    return change_bytes(wasm, rng) if rng.random() < 0.1 else wasm


def _change_a_module(wasm: bytes, rng: random.Random) -> bytes | None:
    """Change one of the core modules that are not in nested components."""
    section = rng.choice([s for s in parse_component(wasm).sections if s.id == CORE_MODULE])
    module = wasm[section.start : section.end]
    changed = mutate(module, rng.getrandbits(63)) if rng.random() < 0.7 else change_in_place(module, rng)
    if changed is None:
        return None
    return b"".join([wasm[: section.header + 1], encode_unsigned(len(changed)), changed, wasm[section.end :]])


@cache
def _seeds() -> tuple[bytes, ...]:
    return tuple(bytes(wasmtime.wat2wasm(p.read_text("utf-8"))) for p in sorted(_SEEDS.glob("*.wat")))


def freeze_and_compare(wasm: bytes) -> str:
    """Pre-initialise a component by calling some of its functions; return what came of it, in a word.

    It is looked into as well, and compared with its snapshot: both must do with anything.

    Raises:
        OracleError: the output is wrong.
        Exception: wizer fails with something that is no `WizerError`.
    """
    try:
        wizer.inspect(wasm)
        with open_session(wasm, unknown_imports="trap") as session:
            names = list(session.exports)
            for name in names[:_INITS]:
                _call(session, name)
            snapshot = snapshot_of(session, partial(wc.Component, ENGINE))
            wizer.diff(wasm, snapshot)
            frozen = open_output(snapshot, unknown_imports="trap")
            if frozen is None:
                return "LimitError in the snapshot"
            with frozen:
                if list(frozen.exports) != names:
                    raise OracleError(f"the output exports {list(frozen.exports)}, not {names}")
                return compare_calls((name, _call(session, name), _call(frozen, name)) for name in names)
    except wizer.WizerError as error:
        return type(error).__name__


def _call(session: wizer.Session, name: str) -> list[str] | str:
    """Call a function with all arguments that could fit; return what each call comes to, or "limit"."""
    found: list[str] = []
    for arguments in _ARGUMENTS:
        try:
            found.append(repr(session.call(name, *arguments)))
        except wizer.LimitError:
            return "limit"
        except wizer.WizerError as error:
            found.append(type(error).__name__)
    return found
