"""Whatever is changed in a snapshot, `verify` finds it: single mutations of snapshots of every kind of state.

`WIZER_MUTATIONS` is how many are tried, `WIZER_MUTATIONS_SEED` the seed. A snapshot is determined by its
original and its state, byte for byte, so there is no mutation that may pass, whether or not it changes what
the module does.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

import wizer
from support.components import COUNTER, counter
from support.tools import assembled
from wizer import Limits, Session
from wizer.binary import sections as sec
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import parse_module
from wizer.binary.reader import Reader
from wizer.binary.sections import is_component
from wizer.trust.verify import VerificationError, verify_session

from .test_verify import STATE

_COUNT = int(os.environ.get("WIZER_MUTATIONS", "400"))
_SEED = os.environ.get("WIZER_MUTATIONS_SEED", "0")

_SHARED = """(module
  (type $s (struct (field (mut i32)) (field (mut (ref null $s)))))
  (global $a (mut (ref null $s)) (ref.null $s)) (global $b (mut (ref null $s)) (ref.null $s))
  (table $t 4 (ref null $s)) (memory 1) (data $p "passive") (data (i32.const 8) "active")
  (elem $e (ref null $s) (item (struct.new $s (i32.const 1) (ref.null $s))))
  (func (export "init")
    (global.set $a (struct.new $s (i32.const 1) (ref.null $s)))
    (global.set $b (global.get $a)) (table.set $t (i32.const 2) (global.get $a)) (data.drop $p))
  (func (export "use") (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
    (memory.init $p (i32.const 0) (i32.const 0) (i32.const 0)))
  (@custom "note" "kept") (@custom "producers" "\\00"))"""

_LIST = """(module
  (type $n (struct (field $next (mut (ref null $n))) (field $v (mut i32)) (field $f (mut funcref))))
  (global $head (mut (ref null $n)) (ref.null $n))
  (elem declare func $g)
  (func $g (export "g"))
  (func (export "init") (local i32)
    (loop (global.set $head (struct.new $n (global.get $head) (local.get 0) (ref.func $g)))
      (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 600))))))"""

_PLAIN = """(module (type $f (func (result i32))) (memory (export "memory") 1 5)
  (table (export "t") 4 funcref)
  (elem (i32.const 1) $one $init) (data (i32.const 8) "hello")
  (global $g (mut i32) (i32.const 0)) (global $constant (export "limit") i32 (i32.const 5))
  (func $one (result i32) (global.get $constant))
  (func $init (export "init") (i32.store (i32.const 1000) (i32.const 7)) (global.set $g (i32.const 1))
    (drop (memory.grow (i32.const 1))))
  (func (export "read") (result i32) (i32.load (i32.const 1000)))
  (@custom "name" "\\00\\02\\01m"))"""

_COMPONENT = f"""(component {COUNTER}
  (core module $other (memory 1) (global $limit i32 (i32.const 5)) (data (i32.const 8) "hello")
    (func (export "init") (i32.store (i32.const 100) (i32.const 77)))
    (func (export "limit") (result i32) (global.get $limit)))
  (core instance $a (instantiate $m)) (core instance $b (instantiate $m))
  (core instance $o (instantiate $other))
  {counter("a", "a")} {counter("b", "b")}
  (func (export "init") (canon lift (core func $o "init")))
  (func (export "limit") (result u32) (canon lift (core func $o "limit"))))"""

SOURCES = {
    "every kind": (STATE, ["init"]),
    "shared objects": (_SHARED, ["init"]),
    "many objects": (_LIST, ["init"]),
    "plain": (_PLAIN, ["init"]),
    "component": (_COMPONENT, ["init", "a-add(3)"]),
}

Mutation: TypeAlias = "Callable[[bytes, random.Random], bytes]"


def flip(wasm: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(8, len(wasm))
    return wasm[:at] + bytes((wasm[at] ^ (1 << rng.randrange(8)),)) + wasm[at + 1 :]


def another_byte(wasm: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(8, len(wasm))
    return wasm[:at] + bytes((rng.randrange(256),)) + wasm[at + 1 :]


def leave_out(wasm: bytes, rng: random.Random) -> bytes:
    start, end = rng.choice(list(_sections(wasm)))
    return wasm[:start] + wasm[end:]


def twice(wasm: bytes, rng: random.Random) -> bytes:
    start, end = rng.choice(list(_sections(wasm)))
    return wasm[:end] + wasm[start:end] + wasm[end:]


def add_custom(wasm: bytes, rng: random.Random) -> bytes:
    at = rng.choice([end for _, end in _sections(wasm)])
    contents = b"\x05wizer" + rng.randbytes(rng.randrange(14)) if rng.random() < 0.5 else b"\x01x"
    return wasm[:at] + b"\x00" + encode_unsigned(len(contents)) + contents + wasm[at:]


def change_items(wasm: bytes, rng: random.Random) -> bytes:
    """Leave an item of a section out, have it twice, or exchange two: what is around it is put right."""
    if is_component(wasm):
        return _in_module(wasm, rng)
    module = parse_module(wasm)
    vectors = [s for s in module.sections if s.id in _READERS]
    section = rng.choice(vectors)
    items = _READERS[section.id](section.reader(wasm))
    at = rng.randrange(len(items)) if items else 0
    match rng.choice(("out", "twice", "exchanged", "last")) if items else "none":
        case "out":
            del items[at]
        case "twice":
            items.insert(at, items[at])
        case "last":
            items.append(items[at])
        case "exchanged":
            other = rng.randrange(len(items))
            items[at], items[other] = items[other], items[at]
    return _with_section(wasm, section, items)


def _with_section(wasm: bytes, section: sec.Section, items: list[bytes]) -> bytes:
    contents = encode_unsigned(len(items)) + b"".join(items)
    header = section.start - 1
    while wasm[header] != section.id or _end_of(wasm, header) != section.end:
        header -= 1
    changed = bytes((section.id,)) + encode_unsigned(len(contents)) + contents
    return wasm[:header] + changed + wasm[section.end :]


def _end_of(wasm: bytes, header: int) -> int:
    reader = Reader(wasm, header + 1)
    size = reader.u32()
    return reader.pos + size


def _in_module(wasm: bytes, rng: random.Random) -> bytes:
    """Change items of a core module inside of a component."""
    found = [(start, end) for start, end in _sections(wasm) if wasm[start] == 1]
    start, end = rng.choice(found)
    reader = Reader(wasm, start + 1)
    size = reader.u32()
    module = wasm[reader.pos : reader.pos + size]
    changed = change_items(module, rng)
    return wasm[:start] + b"\x01" + encode_unsigned(len(changed)) + changed + wasm[end:]


def _sections(wasm: bytes) -> Iterator[tuple[int, int]]:
    reader = Reader(wasm, 8)
    while not reader.at_end:
        start = reader.pos
        reader.byte()
        reader.skip(reader.u32())
        yield start, reader.pos


def _spans(read: Callable[[Reader], object]) -> Callable[[Reader], list[bytes]]:
    def items(reader: Reader) -> list[bytes]:
        found = []
        for _ in range(reader.count()):
            start = reader.pos
            read(reader)
            found.append(reader.wasm[start : reader.pos])
        return found

    return items


def _readers() -> dict[int, Callable[[Reader], list[bytes]]]:
    from wizer.binary import module as m
    from wizer.binary.externs import read_export, read_memorytype, read_tagtype
    from wizer.binary.segments import read_data, read_element

    def body(reader: Reader) -> None:
        reader.skip(reader.u32())

    return {
        sec.FUNCTION: _spans(Reader.u32),
        sec.TABLE: _spans(m._read_table),
        sec.MEMORY: _spans(read_memorytype),
        sec.TAG: _spans(read_tagtype),
        sec.GLOBAL: _spans(m._read_global),
        sec.EXPORT: _spans(read_export),
        sec.ELEMENT: _spans(read_element),
        sec.CODE: _spans(body),
        sec.DATA: _spans(read_data),
    }


_READERS = _readers()

MUTATIONS: tuple[Mutation, ...] = (
    flip,
    flip,
    another_byte,
    leave_out,
    twice,
    add_custom,
    change_items,
    change_items,
    change_items,
)


GIVEN = {"every kind": {"env": {"count": 0}}}


@pytest.mark.parametrize("source", SOURCES)
def test_single_mutations_are_found(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    wat, calls = SOURCES[source]
    rng = random.Random(f"{source} {_SEED}")
    outcomes: Counter[str] = Counter()
    limits, imports = Limits(timeout=1, max_memory=1 << 28), GIVEN.get(source)
    with Session(assembled(wat), imports=imports, limits=limits) as session:
        session.initialize(calls)
        snapshot = session.snapshot()
        verify_session(session, snapshot)
        tried = 0
        while tried < _COUNT // len(SOURCES):
            mutation = rng.choice(MUTATIONS)
            mutated = mutation(snapshot, rng)
            if mutated == snapshot:
                continue
            tried += 1
            try:
                verify_session(session, mutated)
            except VerificationError as error:
                outcomes["undecided" if error.undecided else error.differences[0].kind] += 1
            except wizer.WizerError as error:
                outcomes[type(error).__name__] += 1
            else:
                pytest.fail(f"{mutation.__name__} {tried} of {source!r}, seed {_SEED}: not found")
    with capsys.disabled():
        print(f"\n{source}: {tried} mutations found: {dict(outcomes.most_common())}")
    assert "undecided" not in outcomes
    assert len(outcomes) > 3
