"""What a worker keeps of modules that are alike, and optimises: nothing of that shows in what it makes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import wasmtime

import wizer.engine.compile as compiling
from support.engine import binary
from wizer import InvalidError, wizen
from wizer.api import wizen_with
from wizer.engine.config import Compiler, EngineConfig, machine
from wizer.kept import Kept, keeping
from wizer.options import Options

QUICK = "winch" if machine() in ("x86_64", "amd64") else "cranelift"

COUNT = '(func (export "wizer-initialize") (i32.store8 (i32.const 0) (i32.load8_u (i32.const 100))))'

ALIKE = {
    "one segment": f'(module (memory 1) {COUNT} (data (i32.const 100) "%s"))',
    "two that overlap": f'(module (memory 1) {COUNT} (data (i32.const 99) "%s") (data (i32.const 100) "b"))',
    "the second memory": f'(module (memory 1) (memory 1) {COUNT} (data (memory 1) (i32.const 100) "%s"))',
    "64 bits": '(module (memory i64 1) (func (export "wizer-initialize")) (data (i64.const 9) "%s"))',
    "shared": f'(module (memory 1 2 shared) {COUNT} (data (i32.const 100) "%s"))',
    "pages of a byte": '(module (memory 99 (pagesize 1)) (func (export "wizer-initialize"))'
    '(data (i32.const 90) "%s"))',
    "passive": """(module (memory 1) (data $d "%s") (data (i32.const 100) "%s")
      (func (export "wizer-initialize") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))))""",
    "active and dropped": """(module (memory 1) (data $d (i32.const 100) "%s")
      (func (export "wizer-initialize") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))))""",
    "a start function": f"""(module (memory 1) (data (i32.const 100) "%s") (start $s) {COUNT}
      (func $s (i32.store (i32.const 8) (i32.load (i32.const 100)))))""",
    "no data": f'(module (memory 1) {COUNT} (global (export "g") i32 (i32.const 3)))',
}


class Compilations:
    """What has been compiled, by the compiler's name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compilers: list[Compiler] = []
        make = compiling.Compiled

        def noted(
            engine: wasmtime.Engine, code: wasmtime.Module, compiler: Compiler
        ) -> compiling.Compiled[wasmtime.Module]:
            self.compilers.append(compiler)
            return make(engine, code, compiler)

        monkeypatch.setattr(compiling, "Compiled", noted)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> Compilations:
    return Compilations(monkeypatch)


@pytest.fixture
def worker() -> Iterator[None]:
    """A worker whose jobs have a module each."""
    with keeping(Kept(), modules=False, alone=False):
        yield


def options(**engine: str | bool) -> Options:
    return Options(engine=EngineConfig(cache=False, **engine))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ALIKE.values(), ids=ALIKE.keys())
def test_modules_that_differ_in_their_data_come_out_as_when_made_alone(text: str) -> None:
    modules = [
        binary(text.replace("%s", letters)) for letters in ("a", "bc", "defghijk", "\\00\\00", "", "a")
    ]
    alone = [wizen(wasm) for wasm in modules]
    with keeping(Kept(), modules=False, alone=False):
        assert [wizen_with(wasm, options()) for wasm in modules] == alone


@pytest.mark.usefixtures("worker")
def test_they_are_compiled_once_it_is_known_that_they_are_alike(compilations: Compilations) -> None:
    for letter in "abcdef":
        wizen_with(binary(ALIKE["one segment"].replace("%s", letter)), options(compiler="cranelift"))
    assert compilations.compilers == ["cranelift"] * 2


@pytest.mark.usefixtures("worker")
def test_other_code_is_another_module(compilations: Compilations) -> None:
    for number in range(4):
        text = '(module (memory 1) (data (i32.const 0) "a") (func (export "wizer-initialize") (drop %s)))'
        wizen_with(binary(text.replace("%s", f"(i32.const {number})")), options(compiler="cranelift"))
    assert compilations.compilers == ["cranelift"] * 4


@pytest.mark.usefixtures("worker")
def test_an_invalid_module_stays_invalid() -> None:
    wrong = b"\0asm\1\0\0\0" + bytes.fromhex(
        "01040160000003020100050301000107140110 77697a65722d696e697469616c697a65 0000"
    )
    wrong += bytes.fromhex("0a05010300200b")  # a body that ends in the middle of an instruction
    for _ in range(3):
        with pytest.raises(InvalidError):
            wizen_with(wrong, options())


LOOPS = """(module (memory 1) (data (i32.const 100) "%s")
  (func (export "wizer-initialize") (local i32)
    (loop
      (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (local.get 0)))
      (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 3000000))))))"""


@pytest.mark.usefixtures("worker")
def test_code_that_has_run_for_long_is_optimised(compilations: Compilations) -> None:
    modules = [binary(LOOPS.replace("%s", letter)) for letter in "abcdef"]
    made = [wizen_with(wasm, options()) for wasm in modules]
    # Twice each: the first time, nothing says that there are more.
    assert compilations.compilers == [QUICK, QUICK, "cranelift", "cranelift"]
    assert made == [wizen(wasm, engine=EngineConfig(cache=False)) for wasm in modules]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("asked", [{"opt_level": "speed_and_size"}, {"nan_canonicalization": False}])
def test_it_is_as_it_was_asked_for_where_that_was_said(
    asked: dict[str, str | bool], compilations: Compilations
) -> None:
    for letter in "abcd":
        wizen_with(binary(LOOPS.replace("%s", letter)), options(**asked))
    assert len(compilations.compilers) == 2
