"""What the scripts of `calls.py` are made of: modules, odd values, host functions, and who may raise what.

A script is lines ``with step: …``. `step` lets pass what the documentation promises,
    and no other exception.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import io
import os
import pickle
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NoReturn

import wasmtime
import wasmtime.component as wc

import wizer
from wizer import (
    Deterministic,
    EngineConfig,
    Instrumented,
    Limits,
    Session,
    Wasi,
    Wizer,
    WizerError,
    audit,
    load,
    verify,
    wizen,
)
from wizer.binary.values import Number

__all__ = [
    "COMPONENT",
    "COMPONENT_OF_HOST",
    "GC",
    "HOST",
    "IMPORTS",
    "MEMORIES",
    "PLAIN",
    "SHARED",
    "STARTS",
    "TEXT",
    "VALUES",
    "WASI",
    "Deterministic",
    "EngineConfig",
    "Instrumented",
    "Keeper",
    "Limits",
    "Number",
    "Output",
    "Path",
    "Session",
    "Wasi",
    "Weird",
    "Wizer",
    "WizerError",
    "audit",
    "begin",
    "collect",
    "contextlib",
    "copy",
    "finish",
    "folder",
    "foreign",
    "forked",
    "gc",
    "host",
    "instance_of",
    "io",
    "load",
    "os",
    "pickle",
    "raiser",
    "sink",
    "step",
    "threading",
    "verify",
    "wasmtime",
    "wc",
    "wizen",
]  # fmt: skip

warnings.simplefilter("ignore")

_HERE = str(Path(__file__).parent)
_PACKAGE = str(Path(wizer.__file__).parent)
_ENGINE = str(Path(wasmtime.__file__).parent)


def _binary(wat: str) -> bytes:
    return bytes(wasmtime.wat2wasm(wat))


TEXT = '(module (memory (export "m") 1) (func (export "f")))'
PLAIN = _binary("""(module
  (memory $m (export "m") 1 40) (table $t (export "t") 4 100 funcref) (data $d "abc") (elem $e func $add)
  (global $i (export "i") (mut i32) (i32.const 0)) (global (export "l") (mut i64) (i64.const 0))
  (global (export "s") (mut f32) (f32.const 0)) (global (export "d") (mut f64) (f64.const 0))
  (global (export "v") (mut v128) (v128.const i64x2 0 0)) (global (export "c") i32 (i32.const 7))
  (global (export "x") (mut externref) (ref.null extern)) (global (export "fn") (mut funcref) (ref.null func))
  (func (export "_initialize") (i32.store8 (i32.const 1) (i32.const 1)))
  (func (export "wizer-initialize") (i32.store8 (i32.const 2) (i32.const 1)))
  (func $add (export "add") (param i32) (result i32)
    (global.set $i (i32.add (global.get $i) (local.get 0))) (global.get $i))
  (func (export "spin") (param i32)
    (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "loop") (loop (br 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "more") (param i32) (result i32) (table.grow (ref.null func) (local.get 0)))
  (func (export "read") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "put") (param i32 funcref) (table.set (local.get 0) (local.get 1)))
  (func (export "at") (param i32) (result funcref) (table.get (local.get 0)))
  (func (export "trap") unreachable)
  (func $deep (export "deep") (result i32) (i32.add (call $deep) (call $deep)))
  (func (export "drop") (data.drop $d) (elem.drop $e))
  (func (export "ref") (result funcref) (ref.func $add))
  (func (export "many") (param i32 i64 f32 f64 v128 funcref externref)
    (result i32 i64 f32 f64 v128 funcref externref)
    (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6)))""")
GC = _binary("""(module (type $s (struct (field (mut i32)) (field (mut (ref null $s)))))
  (type $a (array (mut i8))) (tag $tag (param i32))
  (global $g (export "g") (mut anyref) (ref.null any)) (global (export "e") (mut externref) (ref.null extern))
  (table (export "t") 3 anyref)
  (func (export "wizer-initialize") (global.set $g (struct.new $s (i32.const 1) (ref.null $s))))
  (func (export "new") (result anyref) (struct.new $s (i32.const 4) (ref.null $s)))
  (func (export "array") (param i32) (result anyref) (array.new $a (i32.const 1) (local.get 0)))
  (func (export "i31") (result i31ref) (ref.i31 (i32.const 5)))
  (func (export "any") (param anyref) (result anyref) (global.set $g (local.get 0)) (local.get 0))
  (func (export "out") (result externref) (extern.convert_any (global.get $g)))
  (func (export "in") (param externref) (result anyref) (any.convert_extern (local.get 0)))
  (func (export "exn") (result exnref) (block (result exnref) (try_table (catch_all_ref 0)
    (throw $tag (i32.const 3))) (unreachable)))
  (func (export "rethrow") (param exnref) (throw_ref (local.get 0))))""")
HOST = _binary("""(module (import "e" "f" (func $f (param i32) (result i32)))
  (import "e" "x" (func $x (param externref) (result externref)))
  (import "e" "n" (func $n)) (import "e" "r" (func $r (param funcref) (result funcref)))
  (memory (export "m") 1 40) (global (export "i") (mut i32) (i32.const 0)) (table 3 funcref)
  (func (export "wizer-initialize") (drop (call $f (i32.const 0))))
  (func (export "go") (param i32) (result i32) (call $f (local.get 0)))
  (func (export "x") (param externref) (result externref) (call $x (local.get 0)))
  (func (export "n") (call $n))
  (func $self (export "r") (result funcref) (call $r (ref.func $self)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "hot") (param i32)
    (loop (drop (call $f (i32.const 0))) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))""")
STARTS = _binary("""(module (import "e" "f" (func $f (param i32) (result i32))) (memory (export "m") 1)
  (func (export "_initialize") (drop (call $f (i32.const 1))))
  (func $start (drop (call $f (i32.const 0)))) (start $start)
  (func (export "go") (param i32) (result i32) (call $f (local.get 0))))""")
IMPORTS = _binary("""(module (import "e" "m" (memory 1)) (import "e" "t" (table 1 funcref))
  (import "e" "g" (global (mut i32))) (import "e" "f" (func $f (param i32) (result i32)))
  (func (export "go") (param i32) (result i32) (call $f (local.get 0)))
  (func (export "set") (param i32) (global.set 0 (local.get 0)) (i32.store (i32.const 8) (local.get 0))))""")
MEMORIES = _binary("""(module (memory (export "a") 0) (memory (export "b") 1 9) (memory (export "c") i64 1)
  (func (export "grow") (param i32) (result i32)
    (drop (memory.grow 0 (local.get 0))) (drop (memory.grow 2 (i64.const 1))) (memory.grow 1 (local.get 0)))
  (func (export "fill") (memory.fill 1 (i32.const 0) (i32.const 7) (i32.const 65536))))""")
SHARED = _binary("""(module (memory (export "m") 1 9 shared)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "add") (param i32) (result i32) (i32.atomic.rmw.add (i32.const 0) (local.get 0))))""")
WASI = _binary(r"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $e (param i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\05\00\00\00")
  (func (export "wizer-initialize") (drop (call $r (i32.const 64) (i32.const 8))))
  (func (export "say") (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "warn") (drop (call $w (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "exit") (param i32) (call $e (local.get 0))))""")
COMPONENT = _binary("""(component
  (core module $m (memory (export "memory") 1) (global $n (mut i32) (i32.const 1))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 256))
    (func (export "add") (param i32) (global.set $n (i32.add (global.get $n) (local.get 0))))
    (func (export "get") (result i32) (global.get $n))
    (func (export "text") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16))
    (func (export "none")) (func (export "trap") unreachable))
  (core instance $i (instantiate $m))
  (func (export "wizer-initialize") (canon lift (core func $i "none")))
  (func (export "add") (param "n" u32) (canon lift (core func $i "add")))
  (func (export "get") (result u32) (canon lift (core func $i "get")))
  (func (export "trap") (canon lift (core func $i "trap")))
  (func (export "text") (param "s" string) (result string)
    (canon lift (core func $i "text") (memory (core memory $i "memory"))
      (realloc (core func $i "realloc")))))""")
COMPONENT_OF_HOST = _binary("""(component (import "f" (func $f (param "n" u32) (result u32)))
  (core func $low (canon lower (func $f)))
  (core module $m (import "e" "f" (func $f (param i32) (result i32))) (memory (export "memory") 1)
    (func (export "init") (drop (call $f (i32.const 0))))
    (func (export "go") (param i32) (result i32) (call $f (local.get 0))))
  (core instance $i (instantiate $m (with "e" (instance (export "f" (func $low))))))
  (func (export "wizer-initialize") (canon lift (core func $i "init")))
  (func (export "go") (param "n" u32) (result u32) (canon lift (core func $i "go"))))""")


class Odd(BaseException):
    """An exception that is none of Python's own."""


class TextlessError(Exception):
    """An exception whose text cannot be made."""

    def __str__(self) -> str:
        raise Odd("no text")

    __repr__ = __str__


class UnencodableError(Exception):
    """An exception whose text no encoding takes."""

    def __str__(self) -> str:
        return "\ud800\0"


class RefusingError(Exception):
    """An exception that cannot be changed: it takes no cause, and no note."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Weird:
    """An object whose methods raise, as far as it has any."""

    def _fail(self, *_: object) -> NoReturn:
        raise mine(LookupError("weird"))

    __eq__ = __hash__ = __str__ = __repr__ = __len__ = __iter__ = __bool__ = _fail  # type: ignore[assignment]
    __index__ = __float__ = __call__ = __fspath__ = __getitem__ = _fail


class Keeper:
    """An object that does something when nobody holds it any more, unless another one does.

    What it does may make more of them, without end: these do nothing. Not in the depth of a recursion:
    CPython 3.11 ends the process where a finalizer goes 50 calls deep while the error for the limit of
    recursion is made.
    """

    _busy = threading.local()

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.bred = hasattr(self._busy, "keeper")

    def __del__(self) -> None:
        if self.bred or _is_deep() or hasattr(self._busy, "keeper"):
            return
        try:
            self._busy.keeper = self
            with contextlib.suppress(BaseException), step:
                self.action()
        finally:
            del self._busy.keeper


def _is_deep() -> bool:
    try:
        sys._getframe(300)
    except ValueError:
        return False
    return True


class Whole(int):
    """An integer whose methods raise."""

    def _fail(self, *_: object) -> NoReturn:
        raise mine(LookupError("whole"))

    __lt__ = __le__ = __index__ = __str__ = __repr__ = _fail  # type: ignore[assignment]


_raised: list[BaseException] = []


def mine(error: BaseException) -> BaseException:
    """Note an exception as one of the script's own; it may come out."""
    _raised.append(error)
    return error


_KINDS: tuple[Callable[[], BaseException], ...] = (
    lambda: ValueError("host"), KeyboardInterrupt, lambda: SystemExit(3), GeneratorExit, StopIteration, Odd,
    TextlessError, UnencodableError, lambda: RefusingError("no"), RecursionError, MemoryError,
    lambda: wasmtime.Trap("mine"),
    lambda: wasmtime.WasmtimeError("mine"), lambda: WizerError("mine"), lambda: OSError(5, "io"),
    lambda: BaseExceptionGroup("both",
    [ValueError(), Odd()]), StopAsyncIteration, lambda: KeyError("\ud800"),
)  # fmt: skip


def raiser(kind: int) -> Callable[..., NoReturn]:
    """Return a function that raises an exception of a kind."""

    def fail(*_: object) -> NoReturn:
        raise mine(_KINDS[kind % len(_KINDS)]())

    return fail


VALUES: tuple[Any, ...] = (
    0, 1, -1, 5, 2**31, 2**32, 2**63, 2**64, -(2**63) - 1, 10**5000, True, None, 1.5, float("nan"), 1e400,
    "", "x",
    "\ud800", "a\0b", "é" * 300, b"",
    bytes(16), bytearray(16), memoryview(bytes(16)), object(), [], {}, (), (1, 2),
    ..., Weird(), Whole(3), Weird, int, print, Number("f32", 0x7FA00001), Number("i64", 1 << 63), Odd("x"),
    {"x": 1}, {1: 2}, ["add"], {"add"}, [Weird()], {"add": Weird()}, "add", "add(1)", "m", b"add",
    Path("/nowhere/x"),
)  # fmt: skip


class _Step(contextlib.AbstractContextManager["_Step", bool]):
    """Around each line of a script: lets pass what may come out, and says what that was."""

    outcomes: ClassVar[list[str]] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.outcomes.append("returned" if kind is None else kind.__name__)
        return error is None or is_allowed(error)


step = _Step()


def is_allowed(error: BaseException) -> bool:
    """Whether an exception is one of those that the documentation promises."""
    if isinstance(error, WizerError):
        str(error)  # has to have a text
        return True
    if any(error is raised for raised in _raised):
        return True
    files = _files(error)
    where = files[-1]
    if isinstance(error, KeyError) and "_Globals" in str(_innermost(error)):
        return True
    if isinstance(error, ReferenceError | SystemExit | KeyboardInterrupt):
        return False
    ours = where.startswith(_PACKAGE)
    engines = where.startswith(_ENGINE)
    users = [file for file in files if not file.startswith(_ENGINE)]
    if engines and not (users and users[-1].startswith(_PACKAGE)):
        return True  # the script used the engine's package by itself
    if isinstance(error, TypeError) and "cannot be copied or pickled" in str(error):
        return True
    if not ours and not engines and not where.startswith(str(_HERE) + os.sep + "calls"):
        # What Python raises for the script: a wrong number of arguments, a released view, an odd index.
        kinds = (TypeError, ValueError, BufferError, LookupError, NameError, AttributeError)
        kinds += (NotImplementedError, pickle.PicklingError)  # views of two dimensions; functions
        return isinstance(error, kinds) or any(file.endswith(("copy.py", "pickle.py")) for file in files)
    return False


def _innermost(error: BaseException) -> Any:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else trace.tb_frame.f_locals.get("self").__class__


def _files(error: BaseException) -> list[str]:
    found = []
    trace = error.__traceback__
    while trace is not None:
        found.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return found or ["<script>"]


# What scripts call.


def host(*actions: Callable[[], object]) -> dict[str, Any]:
    """Return imports whose function does the action of the number that it is given."""

    def f(number: int) -> object:
        if not actions:
            return number
        found = actions[number % len(actions)]()
        return number if found is None else found

    def x(given: object) -> object:
        for action in actions[:1]:
            action()
        return given

    def n() -> None:
        for action in actions[:1]:
            action()

    functions = {"f": f, "x": x, "n": n, "r": lambda given: given}
    return {"e": functions}


def sink(action: Callable[[], object]) -> Callable[[bytes], object]:
    """Return a function for a guest's output, which does something."""
    return lambda _: action()


class Output:
    """A stream whose ``write`` does as it likes."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def write(self, _: Any) -> Any:
        """Write nothing."""
        return self.answer() if callable(self.answer) and not isinstance(self.answer, Weird) else self.answer


_threads: list[threading.Thread] = []
_failures: list[BaseException] = []


def begin(action: Callable[[], object]) -> None:
    """Do something on another thread."""

    def work() -> None:
        try:
            with step:
                action()
        except BaseException as error:
            _failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    _threads.append(thread)
    thread.start()


def finish() -> None:
    """Wait for the threads; raise what should not have come out of one."""
    for thread in _threads:
        if thread is not threading.current_thread():
            thread.join()
    _threads.clear()
    if _failures:
        error = _failures[0]
        _failures.clear()
        raise AssertionError("on a thread") from error


def collect() -> None:
    """Have what is forgotten go."""
    gc.collect()


def forked(action: Callable[[], object]) -> None:
    """Do something in a process that is forked, and wait for it."""
    child = os.fork()
    if child == 0:
        status = 9
        try:
            signal.alarm(20)
            with step:
                action()
            status = 0
        finally:
            if status:
                import traceback

                traceback.print_exc()
                sys.stderr.flush()
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    if status:
        raise AssertionError(f"the child ended with status {status:#x}")


_engines: list[wasmtime.Engine] = []


def foreign(what: str, store: wasmtime.Store | None = None) -> Any:
    """Return something of the engine's package, in a store of its own or in ``store``."""
    if store is None:
        if not _engines:
            _engines.append(wasmtime.Engine())
        store = wasmtime.Store(_engines[0])
    i32 = wasmtime.ValType.i32()
    match what:
        case "store":
            return store
        case "closed":
            store.close()
            return store
        case "memory":
            return wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, None)))
        case "table":
            return wasmtime.Table(
                store, wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(2, None)), None
            )
        case "global":
            return wasmtime.Global(store, wasmtime.GlobalType(i32, True), wasmtime.Val.i32(3))
        case "func":
            return wasmtime.Func(store, wasmtime.FuncType([i32], [i32]), lambda value: value)
        case "dead":
            made = wasmtime.Func(store, wasmtime.FuncType([i32], [i32]), lambda value: value)
            store.close()
            return made
        case _:
            return wasmtime.Module(store.engine, TEXT)


def instance_of(wasm: bytes, store: wasmtime.Store | None = None) -> tuple[wasmtime.Store, Any]:
    """Instantiate a module or component with the engine's package; return its store, too."""
    if store is None:
        store = foreign("store")
    if wasm[4:8] == b"\x0d\0\1\0":
        component = wc.Component(store.engine, wasm)
        linker = wc.Linker(store.engine)
        linker.define_unknown_imports_as_traps(component)
        return store, linker.instantiate(store, component)
    module = wasmtime.Module(store.engine, wasm)
    core = wasmtime.Linker(store.engine)
    core.define_unknown_imports_as_traps(module)
    return store, core.instantiate(store, module)


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a script a working directory."""
    with tempfile.TemporaryDirectory(prefix="calls-") as name:
        before = Path.cwd()
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)
            _threads.clear()
            _failures.clear()
            _raised.clear()
