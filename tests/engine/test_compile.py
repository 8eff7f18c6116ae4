"""Compilers, what they differ in, and the cache."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
import wasmtime

from support.engine import compiled as compiled_by
from support.tools import assembled
from wizer import Session
from wizer.engine import cache
from wizer.engine.compile import Compiled, compile_with, winch_exists
from wizer.engine.config import Compiler, EngineConfig
from wizer.engine.limits import Limits
from wizer.errors import InvalidError, OptionError

MODULE = bytes(wasmtime.wat2wasm('(module (func (export "f") (result i32) (i32.const 42)))'))
TAIL_CALL = bytes(wasmtime.wat2wasm("(module (func $f (return_call $f)))"))
GC = bytes(wasmtime.wat2wasm("(module (type (struct)))"))
x86 = pytest.mark.skipif(
    os.name != "posix" or os.uname().machine != "x86_64", reason="Winch is not tier 1 here"
)


def compiled(
    wasm: bytes, *, simple: bool = True, limits: Limits | None = None, **options: Any
) -> Compiled[wasmtime.Module]:
    config = EngineConfig(**{"cache": False, **options})
    return compiled_by(wasm, config, limits or Limits(), simple=simple)


@x86
@pytest.mark.parametrize(
    ("wasm", "simple", "options", "compiler"),
    [
        (MODULE, True, {}, "winch"),
        (MODULE, False, {}, "cranelift"),
        (TAIL_CALL, True, {}, "cranelift"),
        (MODULE, True, {"compiler": "cranelift"}, "cranelift"),
        (MODULE, True, {"opt_level": "speed"}, "cranelift"),
        (MODULE, True, {"nan_canonicalization": True}, "winch"),
        (MODULE, True, {"compiler": "winch", "opt_level": "speed"}, "winch"),
    ],
)
def test_the_choice_of_compiler(wasm: bytes, simple: bool, options: dict[str, Any], compiler: str) -> None:
    assert compiled(wasm, simple=simple, **options).compiler == compiler


@pytest.mark.skipif(not winch_exists(), reason="there is no Winch for this machine")
@pytest.mark.parametrize(("wasm", "simple"), [(TAIL_CALL, True), (GC, True), (GC, False)])
def test_what_winch_does_not_know_is_an_error_only_where_it_was_asked_for(wasm: bytes, simple: bool) -> None:
    with pytest.raises(InvalidError):
        compiled(wasm, simple=simple, compiler="winch")
    assert compiled(wasm, simple=simple).compiler == "cranelift"


@pytest.mark.parametrize("compiler", get_args(Compiler))
def test_an_invalid_module(compiler: str) -> None:
    broken = MODULE.replace(b"\x41\x2a\x0b", b"\x42\x2a\x0b")  # i64.const where an i32 is due
    with pytest.raises(InvalidError, match="the module does not compile") as caught:
        compiled(broken, compiler=compiler)
    assert "type mismatch" in caught.value.causes[-1]


def test_other_modules_for_the_same_engine() -> None:
    first = compiled(MODULE, compiler="cranelift")
    store = wasmtime.Store(first.engine)
    store.set_epoch_deadline(1)
    wasmtime.Instance(store, compile_with(first, TAIL_CALL), [])
    with pytest.raises(InvalidError):
        compile_with(first, b"\0asm\1\0\0\0\xff")


F32 = (
    0,
    0x80000000,
    0x3F800000,
    0xBFC00000,
    0x7F800000,
    0xFF800000,
    0x7FC00000,
    0xFFC00000,
    0x7FA12345,
    0xFFB54321,
)
F64 = (
    0,
    1 << 63,
    0x3FF << 52,
    0xBFF8 << 48,
    0x7FF << 52,
    0xFFF << 52,
    0x7FF8 << 48,
    0xFFF8 << 48,
    0x7FF4 << 48 | 9,
    0xFFF5 << 48 | 7,
)
UNARY = ("sqrt", "ceil", "floor", "trunc", "nearest", "neg", "abs")
BINARY = ("add", "sub", "mul", "div", "min", "max", "copysign")
Results = dict[tuple[str, tuple[int, ...]], int]


def float_functions() -> Iterator[tuple[str, str, int, int]]:
    """Yield name, body, parameter width and parameter count; bits go in and out as integers."""
    for width, lanes in ((32, "f32x4"), (64, "f64x2")):
        to, back = f"f{width}.reinterpret_i{width}", f"i{width}.reinterpret_f{width}"
        values = [f"({to} (local.get {index}))" for index in (0, 1)]
        for op in UNARY:
            yield f"f{width}.{op}", f"({back} (f{width}.{op} {values[0]}))", width, 1
            vector = f"({lanes}.{op} ({lanes}.splat {values[0]}))"
            yield f"{lanes}.{op}", f"({back} ({lanes}.extract_lane 1 {vector}))", width, 1
        for op in BINARY:
            yield f"f{width}.{op}", f"({back} (f{width}.{op} {' '.join(values)}))", width, 2
        for op in (*BINARY[:-1], "pmin", "pmax"):
            splats = " ".join(f"({lanes}.splat {value})" for value in values)
            yield f"{lanes}.{op}", f"({back} ({lanes}.extract_lane 1 ({lanes}.{op} {splats})))", width, 2
    yield "promote", "(i64.reinterpret_f64 (f64.promote_f32 (f32.reinterpret_i32 (local.get 0))))", 32, 1
    yield "demote", "(i32.reinterpret_f32 (f32.demote_f64 (f64.reinterpret_i64 (local.get 0))))", 64, 1
    yield "vpromote", "(i64x2.extract_lane 0 (f64x2.promote_low_f32x4 (i32x4.splat (local.get 0))))", 32, 1
    yield "vdemote", "(i32x4.extract_lane 0 (f32x4.demote_f64x2_zero (i64x2.splat (local.get 0))))", 64, 1


@pytest.fixture(scope="module")
def float_results() -> Callable[..., Results]:
    """Evaluate every float instruction on every pair of interesting bits, with a compiler."""
    functions = list(float_functions())
    result = {"promote": "i64", "vpromote": "i64", "demote": "i32", "vdemote": "i32"}
    wasm = wasmtime.wat2wasm(
        "(module"
        + "".join(
            f'(func (export "{name}") (param {" ".join([f"i{width}"] * count)}) '
            f"(result {result.get(name, f'i{width}')}) {body})"
            for name, body, width, count in functions
        )
        + ")"
    )

    def evaluate(compiler: str, **options: Any) -> Results:
        made = compiled(bytes(wasm), compiler=compiler, **options)
        store = wasmtime.Store(made.engine)
        store.set_epoch_deadline(1)
        exports = wasmtime.Instance(store, made.code, []).exports(store)
        results = {}
        for name, _, width, count in functions:
            function = exports[name]
            assert isinstance(function, wasmtime.Func)
            for bits in product(F32 if width == 32 else F64, repeat=count):
                signed = [value - (1 << width) if value >> (width - 1) else value for value in bits]
                results[name, bits] = function(store, *signed)
        return results

    return evaluate


def is_nan(bits: int, width: int) -> bool:
    infinity = 0x7F800000 if width == 32 else 0x7FF << 52
    return bits & ((1 << (width - 1)) - 1) > infinity


@pytest.mark.skipif(not winch_exists(), reason="there is no Winch for this machine")
def test_canonical_nans_are_the_same_bits_with_every_compiler(float_results: Callable[..., Results]) -> None:
    winch = float_results("winch")
    assert winch == float_results("cranelift")
    assert winch == float_results("cranelift", opt_level="speed")
    assert winch != float_results("winch", nan_canonicalization=False)


@x86
def test_other_nans_differ_only_in_the_minimum_and_maximum_of_two(
    float_results: Callable[..., Results],
) -> None:
    """Which of two different NaNs `min` and `max` pass on is for an implementation to choose."""
    winch, cranelift = (
        float_results("winch", nan_canonicalization=False),
        float_results("cranelift", nan_canonicalization=False),
    )
    assert cranelift == float_results("cranelift", nan_canonicalization=False, opt_level="speed")
    different = {key for key in winch if winch[key] != cranelift[key]}
    assert {name for name, _ in different} == {"f32.min", "f32.max", "f64.min", "f64.max"}
    for name, bits in different:
        assert all(is_nan(value, 32 if name.startswith("f32") else 64) for value in bits)
        assert bits[0] != bits[1]


PROGRAM = """
import sys, wasmtime
from wizer.engine.compile import compile_module
from wizer.engine.config import EngineConfig
from wizer.engine.limits import Limits
from wizer.engine.original import Original
code = "nop " * 10_000  # less is not worth keeping
wasm = bytes(wasmtime.wat2wasm('(module (func (export "f") (result i32) %s (i32.const 42)))' % code))
made = compile_module(
    [wasm], EngineConfig(), simple=True, code=len(code), limits=Limits(), original=Original(wasm)
)
store = wasmtime.Store(made.engine)
store.set_epoch_deadline(1)
assert wasmtime.Instance(store, made.code, []).exports(store)["f"](store) == 42
"""


def start(home: Path | None) -> subprocess.Popen[bytes]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    if home is not None:
        env["HOME"] = str(home)
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=env, stderr=subprocess.PIPE)


def run(home: Path | None) -> None:
    with start(home) as process:
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, b"")


def code_of(size: int) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module (func {'nop ' * size}))"))


def entries(home: Path) -> list[Path]:
    files = [path for path in home.rglob("*") if path.is_file() and path.parent.name.startswith("wasmtime-")]
    return [path for path in files if path.suffix != ".crc32"]


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the cache folder does not follow HOME")


@linux
def test_compiled_code_is_kept(tmp_path: Path) -> None:
    run(tmp_path)
    (entry,) = entries(tmp_path)
    inode = entry.stat().st_ino
    run(tmp_path)
    assert entries(tmp_path) == [entry]
    assert entry.stat().st_ino == inode


@linux
def test_code_is_kept_for_each_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    code = code_of(10_000)
    for options in ({}, {"opt_level": "speed"}, {"nan_canonicalization": False}):
        compiled(code, cache=True, **options)
    compiled(code, cache=True, limits=Limits(fuel=1000))
    assert len(entries(tmp_path)) == 4


@linux
def test_components_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    wasm = assembled(
        f"(component (core module $m (func {'nop ' * 10_000})) (core instance (instantiate $m)))"
    )
    made = []
    for _ in range(2):
        Session(wasm).close()
        made.append([(entry, entry.stat().st_ino) for entry in entries(tmp_path)])
    assert len(made[0]) == 1
    assert made[0] == made[1]


@linux
@pytest.mark.parametrize("above", [0, 1])
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path, above: int) -> None:
    run(tmp_path)
    (entry,) = entries(tmp_path)
    entry.write_bytes(b"")
    entry.parents[above].chmod(0o777)
    run(tmp_path)
    assert entry.read_bytes() == b""


@linux
def test_the_folder_is_the_users_own_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        run(tmp_path)
    finally:
        os.umask(before)
    (entry,) = entries(tmp_path)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in entry.parents[:2]] == [0o700, 0o700]


@linux
def test_what_was_not_used_for_longest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    sizes = (10_000, 10_001, 10_002)
    names = []
    for age, size in enumerate(sizes):
        compiled(code_of(size), cache=True)
        (new,) = (path for path in entries(tmp_path) if path not in names)
        os.utime(new, (age, age))
        names.append(new)
    compiled(code_of(sizes[0]), cache=True)  # the oldest is the latest used now
    monkeypatch.setattr(cache, "MOST", sum(path.stat().st_size for path in names) - 1)
    compiled(code_of(10_003), cache=True)
    left = entries(tmp_path)
    assert names[0] in left
    assert names[1] not in left


@linux
@pytest.mark.parametrize("damage", [b"", b"garbage"])
def test_a_damaged_entry_is_no_error(tmp_path: Path, damage: bytes) -> None:
    run(tmp_path)
    for path in entries(tmp_path):
        path.write_bytes(damage)
    run(tmp_path)


def test_no_home_no_error(tmp_path: Path) -> None:
    run(None)
    run(tmp_path / "does" / "not" / "exist")
    (tmp_path / "file").touch()
    run(tmp_path / "file")


@linux
def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "wizer").write_text("a file where the folder should be")  # root may write anywhere
    run(tmp_path)


def test_runs_at_the_same_time_share_the_cache(tmp_path: Path) -> None:
    for process in [start(tmp_path) for _ in range(4)]:
        with process:
            _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, b"")


def test_a_cache_of_one_s_own(tmp_path: Path) -> None:
    settings = tmp_path / "cache.toml"
    settings.write_text(f"[cache]\ndirectory = '{tmp_path / 'kept'}'\n")
    compiled(MODULE, cache=str(settings))
    assert len([path for path in entries(tmp_path / "kept") if not path.suffix]) == 1


def test_a_cache_of_one_s_own_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"the cache settings .*nosuch\.toml' cannot be used"):
        compiled(MODULE, cache=str(tmp_path / "nosuch.toml"))


@linux
def test_little_code_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    data = bytes(wasmtime.wat2wasm(f'(module (memory 9) (func) (data (i32.const 0) "{"a" * 500_000}"))'))
    for wasm in (MODULE, data, code_of(1000)):
        compiled(wasm, cache=True)
    assert entries(tmp_path) == []
    compiled(code_of(10_000), cache=True)
    assert len(entries(tmp_path)) == 1
