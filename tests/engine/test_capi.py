"""What capi.py uses of the engine's Python package beyond its public classes is where it was.

An upgrade of the package that moves something fails here, with the name of what moved.
"""

from __future__ import annotations

import ast
import ctypes
import importlib
import importlib.util
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from wasmtime import _ffi as ffi

import wizer
from support import hostile
from support.command import environment
from support.engine import binary, engine
from support.guest import Guest
from wizer import Session, TrapError
from wizer.binary.types import RefType, SubType
from wizer.binary.values import Number
from wizer.engine import capi, capi_values
from wizer.engine.callbacks import HostError

# What each file of the package uses of `wasmtime._ffi`, and imports from the engine's private modules.
SYMBOLS: set[tuple[str, str]] = set()
PRIVATE: set[tuple[str, str, str]] = set()
for path in sorted(Path(wizer.__file__).parent.rglob("*.py")):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id="ffi"), attr=symbol):
                SYMBOLS.add((path.stem, symbol))
            case ast.ImportFrom(module=str(module)) if re.match(r"wasmtime\b", module):
                PRIVATE.update(
                    (path.stem, module, alias.name)
                    for alias in node.names
                    if "._" in f"{module}.{alias.name}"
                )


def test_there_is_something_to_look_for() -> None:
    assert ("capi", "wasmtime_func_call_unchecked") in SYMBOLS
    assert ("capi", "wasmtime._extern", "wrap_extern") in PRIVATE
    assert {file for file, *_ in SYMBOLS | PRIVATE} >= {"capi", "capi_config", "component"}


@pytest.mark.parametrize(("file", "symbol"), sorted(SYMBOLS))
def test_every_symbol_of_the_c_api_is_there(file: str, symbol: str) -> None:
    assert hasattr(ffi, symbol), f"wasmtime._ffi has lost `{symbol}`, which wizer.engine.{file} uses"


@pytest.mark.parametrize(("file", "module", "name"), sorted(PRIVATE))
def test_every_private_name_is_there(file: str, module: str, name: str) -> None:
    found = importlib.import_module(module)
    assert hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}"), (
        f"{module} has lost `{name}`, which wizer.engine.{file} uses"
    )


@pytest.mark.parametrize(
    ("owner", "attribute"),
    [
        (wasmtime.Func, "_from_raw"),
        (wasmtime.Instance, "_from_raw"),
        (wasmtime.Trap, "_from_ptr"),
        (wasmtime.Trap, "_consume"),
        (wasmtime.WasmtimeError, "_from_ptr"),
        (wasmtime.Store, "_context"),
        (wasmtime.Module, "ptr"),
        (wasmtime.SharedMemory, "ptr"),
    ],
)
def test_every_private_method_is_there(owner: type, attribute: str) -> None:
    assert hasattr(owner, attribute), f"wasmtime.{owner.__name__} has lost `{attribute}`"


@pytest.mark.parametrize(
    ("wat", "attribute"),
    [
        ('(func (export "x"))', "_func"),
        ('(table (export "x") 1 funcref)', "_table"),
        ('(global (export "x") i32 (i32.const 0))', "_global"),
    ],
)
def test_every_private_attribute_is_there(wat: str, attribute: str) -> None:
    extern = Guest(binary(f"(module {wat})")).export("x")
    assert hasattr(extern, attribute), f"wasmtime.{type(extern).__name__} has lost `{attribute}`"


def test_the_kinds_of_values_have_their_numbers() -> None:
    numbers = [
        getattr(ffi, f"WASMTIME_{kind}").value for kind in ("I32", "I64", "F32", "F64", "V128", "FUNCREF")
    ]
    assert numbers == [0, 1, 2, 3, 4, 5]
    assert ffi.WASMTIME_EXTERNREF.value == 6


def test_a_raw_value_is_two_words() -> None:
    assert ctypes.sizeof(ffi.wasmtime_val_raw_t) == 16
    assert ctypes.sizeof(ctypes.c_void_p) == 8, "raw references are read as words of 64 bits"


RAW = """(module (type $s (struct (field i32))) (func $f) (func $g) (elem declare func $f $g)
    (global $s (ref $s) (struct.new $s (i32.const 1)))
    (func (export "values") (param i32 v128 f64) (result i32 v128 f64) (local.get 0) (local.get 1)
      (local.get 2))
    (func (export "refs") (result anyref anyref i31ref anyref)
      (global.get $s) (global.get $s) (ref.i31 (i32.const -1)) (ref.null any))
    (func (export "funcs") (result funcref funcref funcref funcref)
      (ref.func $f) (ref.func $g) (ref.func $f) (ref.null func))
    (func (export "trap") unreachable))"""


class Raw:
    """A function of the module above, and the guest that it needs alive."""

    def __init__(self, name: str, slots: int) -> None:
        self.guest = Guest(binary(RAW))
        self.call = capi.RawFunction(self.guest.store, self.guest.export(name), slots)


def test_raw_calls_pass_bits() -> None:
    raw = Raw("values", 3)  # the function needs its store alive
    function = raw.call
    function.buffer[0] = 0xFFFF_FFFF
    function.buffer[2], function.buffer[3] = 2**64 - 2, 5
    function.buffer[4] = 0x7FF0_0000_0000_0001
    function()
    assert function.buffer[0] & 0xFFFF_FFFF == 0xFFFF_FFFF
    assert function.buffer[2:4] == [2**64 - 2, 5]
    assert function.buffer[4] == 0x7FF0_0000_0000_0001


def test_raw_references_are_places_in_a_heap_that_does_not_move() -> None:
    raw = Raw("refs", 4)  # the function needs its store alive
    function = raw.call
    found = []
    for _ in range(2):
        function()
        found.append([word & 0xFFFF_FFFF for word in function.buffer[:8:2]])
    assert found[0] == found[1]
    first, second, scalar, null = found[0]
    assert first == second != 0
    assert scalar == 0xFFFF_FFFF, "a scalar is shifted by one, with the lowest bit set"
    assert null == 0


def test_raw_functions_are_addresses_with_an_identity() -> None:
    raw = Raw("funcs", 4)  # the function needs its store alive
    function = raw.call
    function()
    first, other, again, null = function.buffer[:8:2]
    assert (first, null) == (again, 0)
    assert first != other
    one, same, another = capi.function_identities((first, again, other))
    assert one == same != another


def test_an_imported_function_has_the_identity_of_the_original() -> None:
    provider = Guest(binary('(module (func (export "f")) (func (export "g")))'))
    user = Guest(
        binary(
            """(module (import "lib" "f" (func $f)) (import "lib" "g" (func $g)) (elem declare func $f $g)
                 (table $t (export "t") 2 funcref) (func (export "both") (result funcref funcref)
                   (ref.func $f) (ref.func $g)) (func (export "get") (result funcref) (table.get
                     (i32.const 0))))"""
        ),
        {"lib": {name: provider.export(name) for name in ("f", "g")}},
        provider.store,
    )
    both = capi.RawFunction(user.store, user.export("both"), 2)
    both()
    f, g = both.buffer[:4:2]
    user.export("t").set(user.store, 0, provider.export("f"))
    get = capi.RawFunction(user.store, user.export("get"), 1)
    get()
    found, of_f, of_g = capi.function_identities((get.buffer[0], f, g))
    assert found == of_f != of_g


def test_raw_calls_raise_traps_and_can_go_on() -> None:
    raw = Raw("trap", 0)  # the function needs its store alive
    function = raw.call
    for _ in range(2):
        with pytest.raises(wasmtime.Trap, match="unreachable"):
            function()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("i32", 2**32 - 1, -1),
        ("i64", 2**63, -(2**63)),
        ("f32", Number("f32", 0x3FC0_0000), 1.5),
        ("v128", bytes(range(16)), bytes(range(16))),
        ("v128", 7, b"\x07" + bytes(15)),
    ],
)
def test_numbers_cross_and_come_back(kind: str, value: object, expected: object) -> None:
    store = wasmtime.Store(engine())
    crossed = capi_values.to_engine(store, capi_values.value_kind(kind, ()), value)
    assert capi_values.from_engine(store, crossed) == expected


def test_the_kind_of_a_reference_is_that_of_its_hierarchy() -> None:
    types: tuple[SubType, ...] = ()
    names = ("nofunc", "noextern", "i31", "exn")
    kinds = [capi_values.value_kind(RefType(nullable=True, heap=name), types) for name in names]
    assert kinds == [5, 6, 7, 8]


def test_memory_views_are_on_the_live_memory() -> None:
    guest = Guest(
        binary(
            '(module (memory (export "m") 1) (func (export "f") (i32.store8 (i32.const 5) (i32.const 9))))'
        )
    )
    view = capi.memory_view(guest.store, guest.export("m"))
    guest("f")
    assert (len(view), view[5]) == (65536, 9)


def test_a_shared_memory_can_be_handed_over() -> None:
    memory = wasmtime.SharedMemory(engine(), wasmtime.MemoryType(wasmtime.Limits(1, 1), shared=True))
    guest = Guest(
        binary(
            """(module (import "env" "m" (memory 1 1 shared))
                 (func (export "f") (i32.atomic.store8 (i32.const 5) (i32.const 9))))"""
        ),
        {"env": {"m": memory}},
    )
    guest("f")
    assert capi.memory_view(guest.store, memory)[5] == 9


def test_what_raises_in_a_host_function_does_not_stay() -> None:
    def fail() -> None:
        raise LookupError("once")

    guest = Guest(
        binary(
            """(module (import "e" "f" (func $f)) (func (export "f") (call $f))
                 (func (export "t") unreachable))"""
        ),
        {"e": {"f": fail}},
    )
    with pytest.raises(HostError) as error:
        guest("f")
    assert isinstance(error.value.__cause__, LookupError)
    with pytest.raises(wasmtime.Trap, match="unreachable"):
        guest("t")


class SlowError(Exception):
    """Is raised on one thread; what it says takes until another thread has raised its own."""

    def __init__(self, said: threading.Event, other_done: threading.Event) -> None:
        super().__init__()
        self.said = said
        self.other_done = other_done

    def __str__(self) -> str:
        self.said.set()
        self.other_done.wait(60)
        return "slow"


def test_what_raises_in_a_host_function_stays_on_its_thread() -> None:
    wat = '(module (import "m" "f" (func $f)) (func (export "g") (call $f)))'
    said, other_done = threading.Event(), threading.Event()

    def raised(exception: Exception) -> BaseException | None:
        def f() -> None:
            raise exception

        with Session(wat, imports={"m": {"f": f}}) as session, pytest.raises(TrapError) as caught:
            session.call("g")
        return caught.value.__cause__

    slow, quick = SlowError(said, other_done), ValueError("quick")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(raised, slow)
        assert said.wait(60)
        second = pool.submit(raised, quick).result()
        other_done.set()
        assert (first.result(), second) == (slow, quick)


def test_the_packages_own_types_still_abort_which_is_why() -> None:
    """Where this fails, the package has learnt these types, and capi.py can become smaller."""
    program = (
        "import wasmtime\n"
        "store = wasmtime.Store()\n"
        "module = wasmtime.Module(store.engine, '(module (func (export \"f\") (param v128)))')\n"
        "print([str(param) for param in module.exports[0].type.params])"
    )
    run = subprocess.run([sys.executable, "-c", program], env=environment(), capture_output=True, check=False)
    assert run.returncode < 0


def test_the_types_of_imports_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come all at once: a thousand imports would make a million of them."""
    asked = []
    ask = ffi.wasmtime_module_imports

    def asking(*args: Any) -> None:
        asked.append(args)
        ask(*args)

    monkeypatch.setattr(ffi, "wasmtime_module_imports", asking)
    with Session(hostile.imports(1000)):
        assert len(asked) == 1
