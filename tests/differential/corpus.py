"""Modules of which the Rust tools make snapshots, too: what they freeze, and what is easy to get wrong.

All of them initialise in `wizer-initialize`. Most are the files beside this one; here are those that are
computed, and those that differ by options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import wasmtime

INIT = "wizer-initialize"

_FILES = Path(__file__).with_name("corpus")


@dataclass(frozen=True, slots=True)
class Entry:
    """A module and how to pre-initialise it.

    Attributes:
        name: what to call it.
        wasm: the module, in the text or the binary format.
        rename: new export name to old export name.
        keep: whether the initialisation function stays.
        preload: modules that it imports from.
    """

    name: str
    wasm: str | bytes
    rename: Mapping[str, str] | None = None
    keep: bool = False
    preload: Mapping[str, bytes] | None = None


def entries() -> Iterator[Entry]:
    """Yield the corpus but for what is compiled from other languages."""
    for path in sorted(_FILES.glob("*.wat")):
        yield Entry(path.stem, path.read_text(encoding="utf-8"))
    renamed = (_FILES / "renames.wat").read_text(encoding="utf-8")
    yield Entry("renames, two", renamed, {"_start": "resume", "other": "second"})
    yield Entry("renames, to what is there", renamed, {"second": "resume"})
    yield Entry("renames, of the initialisation function", renamed, {"init": INIT}, keep=True)
    yield Entry("the initialisation function kept", renamed, keep=True)
    yield Entry("custom sections", _with_custom_sections(renamed))
    for gap in (1, 2, 3, 4, 5, 6, 7, 8, 16):
        for start in (0, 60, 8_180):
            addresses = [start + i * (gap + 2) for i in range(12)]
            yield Entry(f"gaps of {gap} at {start}", _module(2, _stores(addresses, 2)))
    for distance, pages in ((8, 3), (12, 16), (64, 16), (97, 16)):
        body = _EVERY.format(distance=distance, limit=pages * 65_536)
        yield Entry(f"a byte every {distance} in {pages} pages", _module(pages, body))


def _module(pages: int, body: str) -> str:
    return f"""(module
  (memory (export "memory") {pages})
  (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "{INIT}") {body}))"""


def _stores(addresses: Sequence[int], width: int) -> str:
    """Code that writes ``width`` non-zero bytes at each address."""
    stores = "(i32.store8 (i32.const {}) (i32.const {}))"
    return " ".join(stores.format(at + i, 1 + (at + i) % 250) for at in addresses for i in range(width))


# A loop that writes a byte at every multiple of a distance below a limit.
_EVERY = """(local i32)
  (loop $next
    (i32.store8 (local.get 0) (i32.or (local.get 0) (i32.const 1)))
    (local.set 0 (i32.add (local.get 0) (i32.const {distance})))
    (br_if $next (i32.lt_u (local.get 0) (i32.const {limit}))))"""


def _with_custom_sections(text: str) -> bytes:
    plain = bytes(wasmtime.wat2wasm(text))
    return plain[:8] + b"\x00\x06\x05early" + plain[8:] + b"\x00\x0d\x09producers\x00\x01\x02"
