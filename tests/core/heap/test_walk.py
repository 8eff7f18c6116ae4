"""The walk over a live heap: lists of any shape in few calls, every length of arrays, what cannot be said."""

from __future__ import annotations

from collections import Counter

import pytest
import wasmtime

from support.engine import binary, engine
from wizer import EngineConfig, Session, StateError
from wizer.binary.module import parse_module
from wizer.core import columns
from wizer.core.capture import capture
from wizer.core.instrument import instrument
from wizer.core.live import RawCall
from wizer.core.session import ModuleSession
from wizer.core.state import Array, State, Struct
from wizer.engine import capi
from wizer.engine.reader import LiveInstance


class CountingLive(LiveInstance):
    """Counts the calls of accessors."""

    def __init__(self, store: wasmtime.Store, instance: wasmtime.Instance) -> None:
        super().__init__(store, instance)
        self.calls: Counter[str] = Counter()

    def accessor(self, name: str, slots: int) -> capi.RawFunction:
        return _Counted(super().accessor(name, slots), name, self.calls)  # type: ignore[return-value]


class _Counted:
    def __init__(self, call: RawCall, name: str, calls: Counter[str]) -> None:
        self._call = call
        self._name = name
        self._calls = calls
        self.buffer = call.buffer

    def __call__(self) -> None:
        self._calls[self._name.removeprefix("wizer:")] += 1
        self._call()


def captured(wat: str) -> tuple[State, Counter[str]]:
    """The state after ``init``, and how often each accessor was called."""
    module = parse_module(binary(wat))
    chunks, accessors = instrument(module)
    store = wasmtime.Store(engine())
    instance = capi.instantiate(store, wasmtime.Module(engine(), b"".join(chunks)), ())
    init = capi.export_of(store, instance, "init")
    assert isinstance(init, wasmtime.Func)
    capi.call_function(store, init, (), (), 0)
    live = CountingLive(store, instance)
    return capture(module, accessors, live, frozenset()), live.calls


@pytest.fixture(params=["lists", "arrays"], autouse=True)
def columns_are(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "arrays":
        monkeypatch.setattr(columns, "MANY", 0)


LIST = """(module (rec (type $n (struct (field $i i32) (field $next (mut (ref null $n)))
      (field $back (mut (ref null $n))))))
    (global $g (mut (ref null $n)) (ref.null $n))
    (func (export "init") (local $i i32) (local $n (ref null $n))
      (loop $l
        (local.set $n (struct.new $n (local.get $i) (global.get $g) (ref.null $n)))
        (if (i32.eqz (ref.is_null (global.get $g)))
          (then (struct.set $n $back (global.get $g) {back})))
        (global.set $g (local.get $n))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20000))))))"""


@pytest.mark.parametrize("back", ["(ref.null $n)", "(local.get $n)", "(global.get $g)"])
def test_a_list_is_followed_in_few_calls(back: str) -> None:
    """A plain one, one whose nodes refer to the one before, and one whose nodes refer to themselves."""
    state, calls = captured(LIST.format(back=back))
    assert [object_.fields[0].bits for object_ in state.heap] == list(range(19_999, -1, -1))  # type: ignore[union-attr]
    assert calls["heap.walk"] < 100
    assert calls["heap.push"] < 100


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 8191, 8192, 8193, 20_000])
@pytest.mark.parametrize("storage", ["i8", "i64", "(ref null $s)", "(ref null func)"])
def test_arrays_of_every_length(length: int, storage: str) -> None:
    """Short ones come with their length, long ones in parts; what is between them keeps its order."""
    value = {
        "i8": "(local.get $i)",
        "i64": "(i64.extend_i32_u (local.get $i))",
        "(ref null $s)": "(struct.new $s (local.get $i))",
        "(ref null func)": "(ref.func $f)",
    }[storage]
    state, _ = captured(f"""(module (type $s (struct (field i32))) (type $a (array (mut {storage})))
        (type $pair (struct (field (ref null $s)) (field (ref null $a)) (field (ref null $s))))
        (elem declare func $f) (func $f)
        (global $g (mut (ref null $pair)) (ref.null $pair))
        (func (export "init") (local $i i32) (local $a (ref null $a))
          (local.set $a (array.new_default $a (i32.const {length})))
          (block $end (loop $l (br_if $end (i32.ge_u (local.get $i) (i32.const {length})))
            (array.set $a (local.get $a) (local.get $i) {value})
            (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l)))
          (global.set $g (struct.new $pair (struct.new $s (i32.const -1)) (local.get $a)
            (struct.new $s (i32.const -2))))))""")
    first, array, last = state.heap[1], state.heap[2], state.heap[3]
    assert isinstance(first, Struct)
    assert isinstance(array, Array)
    assert isinstance(last, Struct)
    assert (first.fields[0].bits, last.fields[0].bits) == (0xFFFF_FFFF, 0xFFFF_FFFE)  # type: ignore[union-attr]
    if storage in ("i8", "i64"):
        width = 1 if storage == "i8" else 8
        mask = (1 << 8 * width) - 1
        assert array.data == b"".join((i & mask).to_bytes(width, "little") for i in range(length))
    elif storage == "(ref null func)":
        assert len(array.elements) == length
        assert len(set(array.elements)) <= 1
    else:
        objects = [state.heap[ref.object] for ref in array.elements]  # type: ignore[union-attr]
        assert [object_.fields[0].bits for object_ in objects] == list(range(length))  # type: ignore[union-attr]


TABLE = """(module (type $s (struct (field i32))) (table $t 40000 (ref null $s))
    (func (export "init") (local $i i32)
      (loop $l
        (table.set $t (local.get $i) (struct.new $s (local.get $i)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 40000)))))
    (func (export "at") (param i32) (result i32) (struct.get $s 0 (table.get $t (local.get 0)))))"""


def test_a_table_of_many_objects_is_held_while_it_is_read() -> None:
    state, calls = captured(TABLE)
    assert [object_.fields[0].bits for object_ in state.heap] == list(range(40_000))  # type: ignore[union-attr]
    assert calls["table0.hold"] == 4  # for each half of it, when it is read and when its objects are


@pytest.mark.parametrize("stack", [None, 1 << 16])
def test_a_table_of_many_objects_takes_no_more_stack_than_there_is(stack: int | None) -> None:
    with Session(binary(TABLE), engine=EngineConfig(max_wasm_stack=stack)) as session:
        session.call("init")
        frozen = session.snapshot()
    with Session(frozen) as session:
        assert [session.call("at", i) for i in (0, 32_767, 32_768, 39_999)] == [0, 32_767, 32_768, 39_999]


def test_the_walk_leaves_nothing_behind() -> None:
    """What it wrote down is zero again, and it keeps nothing alive."""
    with Session(binary(LIST.format(back="(ref.null $n)"))) as session:
        session.call("init")
        session.snapshot()
        guest = session._guest
        assert isinstance(guest, ModuleSession)
        live = guest._run.live
        assert not any(live.memory("wizer:heap.found")[0])
        pull = live.accessor("wizer:heap.pull0", 64)
        pull.buffer[0] = 0
        pull()
        assert not any(pull.buffer[:128:2])


NESTED = """(module (import "h" "x" (global $x externref)) (import "h" "f" (func $f))
    (type $s (struct (field {storage}))) (type $o (struct (field i32) (field (mut (ref null $s)))))
    (global $g (mut (ref null $o)) (ref.null $o)) (table $t 1 funcref)
    (func (export "init") (param externref)
      (global.set $g (struct.new $o (i32.const 1) (struct.new $s {value})))))"""


def test_where_a_host_object_is_held_is_said() -> None:
    wat = NESTED.replace('(import "h" "x" (global $x externref)) (import "h" "f" (func $f))', "")
    with Session(binary(wat.format(storage="externref", value="(local.get 0)"))) as session:
        session.call("init", object())
        with pytest.raises(
            StateError, match=r"^global 0 .* leads to .* type 0, which holds a host externref"
        ):
            session.snapshot()


def test_where_a_host_object_is_held_is_said_of_an_anyref() -> None:
    wat = NESTED.replace('(import "h" "x" (global $x externref)) (import "h" "f" (func $f))', "")
    value = "(any.convert_extern (local.get 0))"
    with Session(binary(wat.format(storage="anyref", value=value))) as session:
        session.call("init", object())
        with pytest.raises(
            StateError, match=r"^global 0 .* leads to .* type 0, which holds an object of the host"
        ):
            session.snapshot()
