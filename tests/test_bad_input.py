"""Bad input ends in one clear error that names the place, quickly, and with nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.engine import binary
from wizer import (
    EngineConfig,
    ExitError,
    InvalidError,
    LimitError,
    Limits,
    LinkError,
    OptionError,
    OutputError,
    ParseError,
    Session,
    TrapError,
    Wasi,
    Wizer,
    WizerError,
    wizen,
)
from wizer.binary.module import parse_module

HEADER = b"\0asm\1\0\0\0"
FINE = '(module (func (export "wizer-initialize")))'


@pytest.mark.parametrize(
    ("wasm", "message", "offset"),
    [
        (b"\0asm", "unknown binary version", 4),
        (b"\x7fELF\2\1\1\0\0\0\0\0", "this is not WebAssembly: the magic number is missing", 0),
        (HEADER + b"\x01\x7f", "the type section is truncated: 127 bytes announced, 0 left", 8),
        (HEADER + b"\x01\x80\x80\x80\x80\x80\x00", "integer representation too long", 9),
        (HEADER + b"\x0a\xff\xff\xff\xff\x0f", "the code section is truncated", 8),
        (HEADER + b"\x01\x05\x01\x60\x00\x00\x00", "unexpected bytes at the end of the type section", 14),
        (HEADER + b"\x03\x05\xff\xff\xff\xff\x0f", "4294967295 items announced in 0 bytes", 10),
        (HEADER + b"\x01\x01\x00\x01\x01\x00", "the type section is out of order, or there are two", 11),
    ],
)
def test_malformed_modules(wasm: bytes, message: str, offset: int) -> None:
    for run in (lambda: wizen(wasm), lambda: Session(wasm), lambda: Wizer().instrument(wasm)):
        with pytest.raises(ParseError, match=message) as error:
            run()
        assert error.value.offset == offset
        assert f"(at offset {offset:#x})" in str(error.value)


def test_every_truncation_inside_a_section_is_a_parse_error() -> None:
    wasm = binary(
        """(module (memory 1) (data (i32.const 0) "abc") (table 1 funcref) (elem (i32.const 0) func $f)
             (global $g (mut i32) (i32.const 0)) (func $f (export "wizer-initialize") (global.set $g
               (i32.const 1))))"""
    )
    ends = {8, *(section.end for section in parse_module(wasm).sections)}
    for length in set(range(len(wasm))) - ends:
        with pytest.raises(ParseError):
            wizen(wasm[:length])


@pytest.mark.parametrize(
    ("wat", "part"),
    [
        ("(module", "expected"),
        ("(module (func $f (call $nothing)))", "unknown func: failed to find name"),
        ("(modul)", "expected valid module field"),
        ("just words", "expected"),
    ],
)
def test_malformed_text(wat: str, part: str) -> None:
    for form in (wat, wat.encode()):
        with pytest.raises(InvalidError, match=part):
            wizen(form)


@pytest.mark.parametrize(
    ("wat", "part"),
    [
        ("(module (func (result i32)))", "type mismatch"),
        ("(module (func (local.get 5)))", "unknown local 5"),
        ('(module (func (export "a")) (func (export "a")))', "duplicate export name `a`"),
        ("(module (memory 2 1))", "size minimum must not be greater than maximum"),
        ("(module (global i32 (i64.const 0)))", "type mismatch"),
        ('(module (func (export "f") (param i32)) (start 0))', "start function"),
    ],
)
def test_invalid_modules(wat: str, part: str) -> None:
    with pytest.raises(InvalidError, match=part):
        wizen(wat)


def test_a_feature_that_is_switched_off() -> None:
    wat = '(module (func (export "wizer-initialize") (drop (v128.const i64x2 0 0))))'
    with pytest.raises(InvalidError, match="SIMD"):
        wizen(wat, engine=EngineConfig(features={"simd": False, "relaxed-simd": False}))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WizerError, match=r"failed to read .*nothing\.wasm") as error:
        wizen(tmp_path / "nothing.wasm")
    assert error.value.causes == ("No such file or directory",)
    with pytest.raises(WizerError, match="failed to read") as error:
        wizen(tmp_path)
    assert error.value.causes == ("Is a directory",)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.wasm").write_bytes(b"")
    with pytest.raises(ParseError, match="this is not WebAssembly"):
        wizen(tmp_path / "empty.wasm")


@pytest.mark.parametrize(
    ("wat", "init_func", "message"),
    [
        ("(module)", "wizer-initialize", "the Wasm module does not have a `wizer-initialize` export"),
        ('(module (memory (export "m") 1))', "m", "the Wasm module's `m` export is not a function"),
        ('(module (func (export "f") (param i32)))', "f", "takes 1"),
        ('(module (func (export "f")))', "f(1)", "takes 0"),
        ('(module (func (export "f") (param i32)))', "f(x)", "f"),
        ('(module (func (export "f") (param i32)))', "f(4294967296)", "i32"),
        ('(module (func (export "f") (param externref)))', "f(1)", "externref|ref null extern"),
        ('(module (func (export "f")))', "f(", "f"),
    ],
)
def test_init_functions_that_cannot_be_called(wat: str, init_func: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        wizen(wat, init_func=init_func)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("unreachable", "wasm `unreachable` instruction executed"),
        ("(drop (i32.load (i32.const 65536)))", "out of bounds memory access"),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", "integer divide by zero"),
        ("(call $init)", "call stack exhausted"),
        ("(throw $t)", "uncaught exception|thrown Wasm exception"),
        ("(drop (ref.as_non_null (ref.null func)))", "null reference"),
        ("(call_indirect (i32.const 0))", "uninitialized element"),
    ],
)
def test_traps_have_their_reason(body: str, reason: str) -> None:
    wat = f"""(module (memory 1) (table 1 funcref) (tag $t)
        (func $init (export "wizer-initialize") {body}))"""
    with pytest.raises(TrapError, match=reason) as error:
        wizen(wat)
    assert error.value.message == "the `wizer-initialize` function trapped"
    assert error.value.causes


def test_traps_at_instantiation() -> None:
    for wat in (
        "(module (start 0) (func unreachable))",
        '(module (memory 1) (data (i32.const 65536) "x"))',
        "(module (table 1 funcref) (elem (i32.const 1) func 0) (func))",
    ):
        with pytest.raises(TrapError, match="failed to instantiate the module"):
            Session(wat)


def test_a_trap_in_initialize_is_named_by_it() -> None:
    with pytest.raises(TrapError, match="the `_initialize` function trapped"):
        wizen('(module (func (export "_initialize") unreachable) (func (export "wizer-initialize")))')


@pytest.mark.parametrize("code", [0, 1, 125])
def test_proc_exit(code: int) -> None:
    wat = f"""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "wizer-initialize") (call $exit (i32.const {code}))))"""
    with pytest.raises(ExitError, match=f"Exited with i32 exit status {code}") as error:
        wizen(wat, wasi=Wasi())
    assert error.value.code == code


@pytest.mark.parametrize("limits", [Limits(timeout=0.1), Limits(fuel=100_000)])
def test_endless_loops_end(limits: Limits, tmp_path: Path) -> None:
    wat = '(module (func (export "wizer-initialize") (loop $l (br $l))))'
    with pytest.raises(LimitError):
        Wizer(limits=limits).write(wat, tmp_path / "out.wasm")
    assert list(tmp_path.iterdir()) == []


def test_a_memory_that_cannot_be_allocated() -> None:
    with pytest.raises((LinkError, LimitError), match="memory"):
        Session("(module (memory i64 0x100000000000))")


def test_a_memory_larger_than_its_addresses() -> None:
    with pytest.raises(WizerError, match=r"memory 0 of 4587520000 bytes|memory size must be at most"):
        Session("(module (memory 70000))")


def test_a_memory_beyond_the_limit() -> None:
    with pytest.raises((LinkError, LimitError)):
        Session("(module (memory 100))", limits=Limits(max_memory=1 << 20))


def test_an_unwritable_output_after_a_good_run(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="failed to write the output"):
        Wizer().write(FINE, tmp_path / "no" / "such" / "folder.wasm")


def test_a_limit_that_leaves_no_segment() -> None:
    wat = """(module (memory 1) (memory 1) (data $a "a") (data $b "b")
        (func (export "wizer-initialize") (i32.store8 0 (i32.const 1) (i32.const 1)) (i32.store8 1
          (i32.const 1) (i32.const 1)))
        (func (memory.init $a (i32.const 0) (i32.const 0) (i32.const 1))))"""
    with pytest.raises(OptionError, match="segment"):
        wizen(wat, max_data_segments=2)


def test_every_error_is_one_of_ours() -> None:
    import wizer

    errors = [getattr(wizer, name) for name in wizer.__all__ if name.endswith("Error")]
    assert len(errors) == 12
    assert all(issubclass(error, WizerError) for error in errors)
    assert issubclass(ExitError, TrapError)
    assert issubclass(LimitError, TrapError)


def test_messages_have_the_shape_that_programs_parse() -> None:
    assert str(WizerError("one")) == "one"
    assert str(WizerError("one", ["two"])) == "one\n\nCaused by:\n    two"
    assert str(WizerError("one", ["two\nlines", "three"])) == (
        "one\n\nCaused by:\n    0: two\n       lines\n    1: three"
    )
