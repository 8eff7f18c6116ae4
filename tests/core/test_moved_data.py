"""Segments that are written to memory here: the instance is the one that the engine makes of the module."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import wasmtime

import wizer
from support.engine import binary
from wizer import Session
from wizer.binary import sections as sec
from wizer.binary.assemble import assemble, vector
from wizer.binary.module import parse_module
from wizer.binary.segments import encode_data_header, encode_passive_data
from wizer.core.moved_data import MUCH, movable_data
from wizer.trust.verify import verify_session

LARGE = bytes(range(256)) * (1 << 16)  # 16 MiB
PAGES = 512

PLAIN = f"""(module
  (memory (export "first") {PAGES}) (memory (export "second") i64 1)
  (func (export "init") (param i32) (result i32) (memory.init 0 (i32.const 0) (i32.const 0) (local.get 0))
    (i32.load (i32.const 3)))
  (data (i32.const 0) "") (data (i32.const 0) "") (data (memory 1) (i64.const 0) "") (data ""))"""

# Each one overwrites some of the one before it.
SEGMENTS = [
    encode_data_header(0, 3, len(LARGE), is64=False) + LARGE,
    encode_data_header(0, 100, 5, is64=False) + b"later",
    encode_data_header(1, 65531, 5, is64=True) + b"other",
    encode_passive_data(b"passive"),
]


def with_data(wat: str, segments: Sequence[bytes]) -> bytes:
    """Return a module with another data section."""
    return b"".join(assemble(parse_module(binary(wat)), {sec.DATA: vector(segments)}))


def memories(wasm: bytes) -> list[bytes]:
    """Return what the engine alone puts into the exported memories."""
    config = wasmtime.Config()
    config.wasm_memory64 = config.wasm_multi_memory = True
    store = wasmtime.Store(wasmtime.Engine(config))
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, wasm), []).exports(store)
    found = [exports[name] for name in ("first", "second")]
    return [bytes(memory.read(store)) for memory in found if isinstance(memory, wasmtime.Memory)]


def test_memories_are_as_the_engine_fills_them() -> None:
    wasm = with_data(PLAIN, SEGMENTS)
    assert len(movable_data(parse_module(wasm), MUCH)) == 3
    with Session(wasm) as session:
        assert [bytes(session.memory(name)) for name in ("first", "second")] == memories(wasm)
        snapshot = session.snapshot()
        verify_session(session, snapshot)
    assert memories(snapshot) == memories(wasm)


def test_a_segment_is_as_dropped_as_it_is_after_instantiation() -> None:
    with Session(with_data(PLAIN, SEGMENTS)) as session:
        assert session.call("init", 0) == 0x03020100
        with pytest.raises(wizer.TrapError, match="out of bounds"):
            session.call("init", 1)


def test_a_start_function_sees_what_segments_wrote() -> None:
    wat = PLAIN.replace("(data", "(func $start (i32.store8 (i32.const 0) (i32.load8_u (i32.const 3))) "
                        "(i32.store8 (i32.const 4) (i32.const 99))) (start $start) (data", 1)  # fmt: skip
    wasm = with_data(wat, [encode_data_header(0, 3, len(LARGE), is64=False) + LARGE[::-1], *SEGMENTS[1:]])
    assert movable_data(parse_module(wasm), MUCH) == ()
    with Session(wasm) as session:
        assert bytes(session.memory("first")[:6]) == b"\xff\x00\x00\xff\x63\xfd"


@pytest.mark.parametrize(
    ("segment", "error"),
    [
        (encode_data_header(0, (PAGES << 16) - len(LARGE) + 1, len(LARGE), is64=False), wizer.TrapError),
        (encode_data_header(0, 0, len(LARGE), is64=True), wizer.InvalidError),
    ],
    ids=["past the end", "of another type"],
)
def test_what_the_engine_refuses_is_refused(segment: bytes, error: type[wizer.WizerError]) -> None:
    with pytest.raises(error):
        Session(with_data(PLAIN, [segment + LARGE, *SEGMENTS[1:]]))


def test_an_imported_memory_is_left_to_the_engine() -> None:
    wat = '(module (import "env" "memory" (memory 512)) (data (i32.const 0) ""))'
    wasm = with_data(wat, SEGMENTS[:1])
    assert movable_data(parse_module(wasm), MUCH) == ()
    with Session(wasm) as session:
        assert bytes(session.memory()[3 : 3 + len(LARGE)]) == LARGE
