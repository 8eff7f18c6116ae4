"""What generated and mutated modules found once, as small as it gets."""

from __future__ import annotations

import pytest
import wasmtime

import wizer


def _freeze(wat: str, *inits: str) -> wizer.Session:
    """Call ``inits``, and return a session of the snapshot."""
    with wizer.Session(wat) as session:
        for init in inits:
            session.call(init)
        return wizer.Session(session.snapshot())


def test_a_passive_segment_that_no_code_can_refer_to_is_not_probed() -> None:
    # Without `data.drop` and the like, the text format's encoder writes no DataCount section.
    with _freeze(
        '(module (memory 1) (elem funcref) (data "ab") (func (export "f") (elem.drop 0)))', "f"
    ) as frozen:
        assert frozen.module.data_count is None


_SHARED = """
(module
  (type $s (struct (field (mut i32))))
  (type $p (struct (field (ref $s)) (field (ref $s))))
  (type $a (array (ref $s)))
  {globals}
  (func (export "init") (local $x (ref $s)) (local.set $x (struct.new $s (i32.const 5))) {init})
  (func (export "same") (result i32) (ref.eq {one} {other})))
"""


@pytest.mark.parametrize(
    ("globals_", "init", "one", "other"),
    [
        (
            "(global $g (mut (ref null $a)) (ref.null $a))",
            "(global.set $g (array.new $a (local.get $x) (i32.const 3)))",
            "(array.get $a (global.get $g) (i32.const 0))",
            "(array.get $a (global.get $g) (i32.const 2))",
        ),
        (
            "(global $g (mut (ref null $p)) (ref.null $p))",
            "(global.set $g (struct.new $p (local.get $x) (local.get $x)))",
            "(struct.get $p 0 (global.get $g))",
            "(struct.get $p 1 (global.get $g))",
        ),
        (
            "(global $g (mut (ref null $a)) (ref.null $a)) (global $h (mut (ref null $a)) (ref.null $a))",
            "(global.set $g (array.new $a (local.get $x) (i32.const 3)))"
            "(global.set $h (array.new $a (local.get $x) (i32.const 2)))",
            "(array.get $a (global.get $g) (i32.const 0))",
            "(array.get $a (global.get $h) (i32.const 1))",
        ),
    ],
    ids=["the elements of an array", "two fields", "two arrays"],
)
def test_immutable_slots_share_an_object(globals_: str, init: str, one: str, other: str) -> None:
    with _freeze(_SHARED.format(globals=globals_, init=init, one=one, other=other), "init") as frozen:
        assert frozen.call("same") == 1


def test_a_guest_that_used_up_its_fuel_can_be_frozen() -> None:
    wat = """
    (module (table 3 funcref) (global $g (export "g") (mut i32) (i32.const 0))
      (func (export "f") (loop $l (global.set $g (i32.add (global.get $g) (i32.const 1))) (br $l))))
    """
    with wizer.Session(wat, limits=wizer.Limits(fuel=500)) as session:
        with pytest.raises(wizer.LimitError, match="fuel"):
            session.call("f")
        with wizer.Session(session.snapshot()) as frozen:
            assert frozen.globals["g"] == session.globals["g"] > 0
        with pytest.raises(wizer.LimitError, match="fuel"):
            session.call("f")


_BOUNDED = """
(module (memory 1) (data $d "abc") (func (export "drop") (data.drop $d))
  (func (export "use") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3))))
"""


def _in_a_store_of_ones_own(*, fuel: int, epochs: int) -> tuple[bytes, int]:
    """Freeze with that much fuel left, after so many epochs of one; return the fuel left then, too."""
    config = wasmtime.Config()
    config.consume_fuel = True
    config.epoch_interruption = True
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    store.set_fuel(1000)
    store.set_epoch_deadline(1)
    instrumented = wizer.Wizer().instrument(_BOUNDED)
    instance = wasmtime.Instance(store, wasmtime.Module(engine, instrumented.wasm), [])
    store.set_fuel(fuel)
    for _ in range(epochs):
        engine.increment_epoch()
    return instrumented.snapshot(store, instance), store.get_fuel()


def test_a_store_without_fuel_can_be_frozen_and_stays_without() -> None:
    snapshot, fuel = _in_a_store_of_ones_own(fuel=0, epochs=0)
    assert fuel == 0
    with wizer.Session(snapshot) as frozen:
        frozen.call("use")  # its segment was not taken for a dropped one


def test_a_store_whose_deadline_has_passed_is_refused() -> None:
    with pytest.raises(wizer.LimitError, match="epoch deadline has passed"):
        _in_a_store_of_ones_own(fuel=1000, epochs=1)


@pytest.mark.parametrize("preload", [True, False])
def test_a_fault_in_an_imported_shared_memory_is_a_trap(preload: bool) -> None:
    # The engine aborts where it finds the address in two memories, and an import makes a second one of it.
    wat = """
    (module (import "owner" "memory" (memory 0 4 shared))
      (func (export "wizer-initialize") (drop (i32.load (i32.const 8)))))
    """
    owner = '(module (memory (export "memory") 0 4 shared))'
    with pytest.raises(wizer.TrapError) as error:
        wizer.wizen(wat, preload={"owner": owner} if preload else None)
    assert "out of bounds memory access" in error.value.causes[-1]
    with pytest.raises(wizer.InvalidError, match="use `cranelift`"):
        wizer.wizen(wat, engine=wizer.EngineConfig(compiler="winch"))


def test_a_fault_of_a_preloaded_module_in_a_shared_memory_is_a_trap() -> None:
    owner = '(module (memory 0 4 shared) (export "memory" (memory 0)))'
    reader = """(module (import "owner" "memory" (memory 0 4 shared))
      (func (export "read") (drop (i32.load (i32.const 8)))))"""
    wat = '(module (import "reader" "read" (func $read)) (func (export "wizer-initialize") (call $read)))'
    with pytest.raises(wizer.TrapError) as error:
        wizer.wizen(wat, preload={"owner": owner, "reader": reader})
    assert "out of bounds memory access" in error.value.causes[-1]


def test_a_component_that_trapped_cannot_be_frozen() -> None:
    wat = """(component (core module $m (func (export "f") unreachable)) (core instance $i (instantiate $m))
      (func (export "f") (canon lift (core func $i "f"))))"""
    with wizer.Session(wat) as session:
        with pytest.raises(wizer.TrapError):
            session.call("f")
        with pytest.raises(wizer.StateError, match="the engine lets nobody into one that has trapped"):
            session.snapshot()


def test_a_snapshot_that_forgot_its_objects_is_valid() -> None:
    """Making many objects brought a DataCount section, which went with their data."""
    wat = """(module
      (type $node (struct (field (mut i32)) (field (mut anyref))))
      (global $first (mut anyref) (ref.null any))
      (func (export "make") (local $i i32)
        (loop $next
          (global.set $first (struct.new $node (local.get $i) (global.get $first)))
          (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000)))))
      (func (export "forget") (global.set $first (ref.null any)))
      (func (export "forgot") (result i32) (ref.is_null (global.get $first))))"""
    with wizer.Session(wat) as session:
        session.call("make")
        made = session.snapshot()
    with wizer.Session(made) as session:
        session.call("forget")
        forgotten = session.snapshot()
    assert len(forgotten) < len(made)
    with wizer.Session(forgotten) as session:
        assert session.call("forgot") == 1


def _module_with(body: bytes, memory: bytes = b"") -> bytes:
    """A module of one function with one type and a table, whose accessors need more types and functions."""
    code = bytes([len(body) + 2, 0]) + body + b"\x0b"
    sections = (b"\x01\x04\x01\x60\x00\x00", b"\x03\x02\x01\x00", b"\x04\x04\x01\x70\x00\x01", memory)
    exported = b"\x07\x05\x01\x01f\x00\x00"
    return b"\0asm\x01\0\0\0" + b"".join(sections) + exported + b"\x0a" + bytes([len(code) + 1, 1]) + code


@pytest.mark.parametrize("body", [b"\xd0\x01\x1a", b"\xd0\x02\x1a", b"\x41\x00\x41\x01\x10\x01", b"\x10\x01"])
@pytest.mark.parametrize("component", [False, True])
def test_a_body_cannot_refer_to_what_is_appended(body: bytes, component: bool) -> None:
    wasm = _module_with(body)
    if component:
        wasm = b"\0asm\x0d\0\x01\0" + b"\x01" + bytes([len(wasm)]) + wasm + b"\x02\x04\x01\x00\x00\x00"
    with pytest.raises(wizer.InvalidError):
        wizer.Session(wasm)


GROWING = '(module (memory 1) (func (export "grow") (drop (memory.grow (i32.const 1)))))'


@pytest.mark.parametrize("longer", [1, 60])
def test_a_body_is_longer_than_its_section(longer: int) -> None:
    wasm = bytearray(wasmtime.wat2wasm(GROWING))
    wasm[wasm.rindex(b"\x0a") + 3] += longer  # behind the section's id, its size and its count
    with pytest.raises(wizer.ParseError, match=r"unexpected end: .* bytes announced"):
        wizer.Session(bytes(wasm), limits=wizer.Limits(max_memory=1 << 20))  # which has growth looked for


@pytest.mark.parametrize("grow", [b"\x40\x07", b"\xd0\x70\x41\x00\xfc\x0f\x07"], ids=["memory", "table"])
def test_what_is_not_there_is_grown(grow: bytes) -> None:
    memory = b"\x05\x03\x01\x00\x01"
    with pytest.raises(wizer.InvalidError):
        wizer.Session(
            _module_with(b"\x41\x00" + grow + b"\x1a", memory), limits=wizer.Limits(max_memory=1 << 20)
        )


def test_a_body_ends_in_the_middle_of_a_block_type() -> None:
    cut = bytes(wasmtime.wat2wasm(GROWING)).removesuffix(b"\x1a\x0b") + b"\x1a\x02"  # a `block`
    with pytest.raises(wizer.ParseError, match="unexpected end"):
        wizer.Session(cut, limits=wizer.Limits(max_memory=1 << 20))
