"""What cannot be frozen, or makes no sense, ends in one clear error."""

from __future__ import annotations

import random

import pytest

from support.components import MANY, frozen
from support.engine import binary
from wizer import Session
from wizer.component.instances import evaluate
from wizer.component.parse import parse_component
from wizer.engine.config import UnknownImports
from wizer.engine.limits import Limits
from wizer.errors import (
    InvalidError,
    LimitError,
    LinkError,
    OptionError,
    ParseError,
    StateError,
    TrapError,
    WizerError,
)

IMPORTED_MODULE = """(component (import "lib" (core module $lib (export "f" (func))))
    (core instance $i (instantiate $lib)))"""
IMPORTED_COMPONENT = """(component (component $c
      (import "lib" (component $lib)) (instance (instantiate $lib)))
    (import "outside" (component $o)) (instance (instantiate $c (with "lib" (component $o)))))"""
ALIASED_MODULE = """(component (import "pkg" (instance $p (export "m" (core module))))
    (alias export $p "m" (core module $m)) (core instance (instantiate $m)))"""


@pytest.mark.parametrize(
    ("wat", "message"),
    [
        (IMPORTED_MODULE, 'core instance 0 .* is made of the imported core module "lib"'),
        (IMPORTED_COMPONENT, 'instance 0 is made of the imported component "outside"'),
        (ALIASED_MODULE, 'is made of the imported core module "pkg.m"'),
    ],
    ids=["module", "component", "module of an instance"],
)
def test_imported_code(wat: str, message: str) -> None:
    with pytest.raises(StateError, match=message):
        Session(binary(wat))


def test_imported_module_that_nobody_instantiates() -> None:
    wasm = binary(
        '(component (import "lib" (core module)) (core module $m) (core instance (instantiate $m)))'
    )
    evaluate(parse_component(wasm))


def section(section_id: int, contents: bytes) -> bytes:
    """A component with one section."""
    return b"\0asm\x0d\0\x01\0" + bytes((section_id, len(contents))) + contents


@pytest.mark.parametrize(
    ("wasm", "message"),
    [
        (section(9, b"\x00\x00\x00"), "start function"),
        (section(12, b"\x01\x7f\x01\x01"), "values"),
        (section(10, b"\x01\x00\x01x\x02\x7f"), 'imports the value "x"'),
    ],
    ids=["start", "value", "imported value"],
)
def test_start_functions_and_values(wasm: bytes, message: str) -> None:
    with pytest.raises(StateError, match=message):
        evaluate(parse_component(wasm))


@pytest.mark.parametrize(
    ("wasm", "offset"),
    [
        (b"", 0),
        (b"\0asm\x01\0\0\0", 0),
        (b"\0asm\x0d\0\x01", 0),
        (b"\0asm\x0d\0\x01\0\x0e\x00", 8),
        (b"\0asm\x0d\0\x01\0\x01\x7f", 8),
        (section(2, b"\x01\x02\x00"), 11),
        (section(5, b"\xff\xff\xff\xff\x0f"), 10),
        (section(8, b"\x01\x77"), 11),
        (section(8, b"\x01\x00\x00\x00\x01\x0f\x00"), 15),
        (section(6, b"\x01\x03\x03\x00\x00"), 11),
        (section(10, b"\x01\x00\x01\xff\x01\x00"), 12),
        (section(11, b"\x01\x09\x00"), 11),
    ],
)
def test_malformed(wasm: bytes, offset: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse_component(wasm)
    assert caught.value.offset == offset


def test_malformed_module_inside() -> None:
    wasm = section(1, b"\0asm\x01\0\0\0\x0a\x05") + b"\x02\x04\x01\x00\x00\x00"
    with pytest.raises(ParseError, match="the code section is truncated") as caught:
        evaluate(parse_component(wasm))
    assert caught.value.offset == 18


@pytest.mark.parametrize(
    "wasm",
    [
        section(2, b"\x01\x00\x07\x00"),
        section(5, b"\x01\x00\x07\x00"),
        section(6, b"\x01\x04\x02\x01\x00"),
        section(6, b"\x01\x01\x00\x05\x01x"),
        section(11, b"\x01\x00\x01x\x01\x05\x00"),
        section(8, b"\x01\x01\x00\x05\x00"),
    ],
)
def test_indices_that_go_nowhere(wasm: bytes) -> None:
    with pytest.raises(WizerError):
        Session(wasm)


def test_nesting_without_end() -> None:
    def leb128(value: int) -> bytes:
        low = b"" if value < 0x80 else bytes((value & 0x7F | 0x80,))
        return low + (leb128(value >> 7) if low else bytes((value,)))

    wasm = b"\0asm\x0d\0\x01\0"
    for _ in range(120):
        wasm = b"\0asm\x0d\0\x01\0\x04" + leb128(len(wasm)) + wasm
    with pytest.raises(ParseError, match="nested more than 100 deep"):
        parse_component(wasm)


def test_instances_that_multiply() -> None:
    level = "(component $c)"
    for _ in range(8):
        level = f"(component $c {level} {'(instance (instantiate $c))' * 10})"
    wasm = binary(f"(component {level} (instance (instantiate $c)))")
    with pytest.raises(InvalidError, match="more than 10000 component instances"):
        evaluate(parse_component(wasm))


def test_mutated_components_end_in_one_clear_error() -> None:
    source = binary(MANY)
    dice = random.Random(7)
    for _ in range(3000):
        wasm = bytearray(source)
        for _ in range(dice.randint(1, 4)):
            wasm[dice.randrange(8, len(wasm))] = dice.randrange(256)
        try:
            evaluate(parse_component(bytes(wasm)))
        except WizerError:
            continue


def test_truncated_components_end_in_one_clear_error() -> None:
    source = binary(MANY)
    for end in range(len(source)):
        try:
            parse_component(source[:end])
        except ParseError:
            continue


LIFTED = """(component (core module $m %s) (core instance $i (instantiate $m))
    (func (export "wizer-initialize") %s (canon lift (core func $i "init"))))"""


def test_renames() -> None:
    wasm = binary(LIFTED % ('(func (export "init"))', ""))
    with (
        Session(wasm) as session,
        pytest.raises(OptionError, match="do not support renaming functions"),
    ):
        session.snapshot(rename={"a": "wizer-initialize"})


def test_missing_function() -> None:
    wasm = binary(LIFTED % ('(func (export "init"))', ""))
    with Session(wasm) as session:
        with pytest.raises(OptionError, match="does not export a function `nope`; it exports: `wizer-init"):
            session.call_text("nope")
        with pytest.raises(OptionError, match="does not export a function `nope`"):
            session.snapshot(remove=["nope"])


def test_wrong_arguments() -> None:
    wasm = binary(LIFTED % ('(func (export "init") (param i32))', '(param "n" u32)'))
    with Session(wasm) as session:
        with pytest.raises(OptionError, match="the argument `n` is missing"):
            session.call_text("wizer-initialize")
        with pytest.raises(OptionError, match="takes 1 arguments, not 0"):
            session.call("wizer-initialize")
        with pytest.raises(OptionError, match="the argument `n` cannot be 'x'"):
            session.call("wizer-initialize", "x")
        session.call("wizer-initialize", 1)


def test_trap() -> None:
    wasm = binary(LIFTED % ('(func $boom (export "init") unreachable)', ""))
    with Session(wasm) as session, pytest.raises(TrapError) as caught:
        session.call("wizer-initialize")
    assert caught.value.message == "the `wizer-initialize` function trapped"
    assert "unreachable" in str(caught.value)
    assert "boom" in str(caught.value)


def test_time_limit() -> None:
    wasm = binary(LIFTED % ('(func (export "init") (loop (br 0)))', ""))
    with (
        Session(wasm, limits=Limits(timeout=0.2)) as session,
        pytest.raises(LimitError, match="longer"),
    ):
        session.call("wizer-initialize")


def test_memory_limit() -> None:
    wasm = binary(LIFTED % ('(memory 100) (func (export "init"))', ""))
    with pytest.raises(LimitError, match="exceeds the limit"):
        Session(wasm, limits=Limits(max_memory=1 << 20))


def test_instance_limit() -> None:
    wasm = binary(LIFTED % ('(func (export "init"))', ""))
    Session(wasm, limits=Limits(max_instances=1)).close()
    with pytest.raises(LimitError, match="instances"):
        Session(wasm, limits=Limits(max_instances=0))


def test_unknown_imports() -> None:
    wasm = binary(
        """(component (import "my:host/log@1.0.0" (instance $l (export "write" (func))))
          (core func $w (canon lower (func $l "write")))
          (core module $m (func $w (import "" "w")) (func (export "init") (call $w)))
          (core instance $i (instantiate $m (with "" (instance (export "w" (func $w))))))
          (func (export "wizer-initialize") (canon lift (core func $i "init"))))"""
    )
    with Session(wasm) as session, pytest.raises(TrapError, match=r"my:host/log@1\.0\.0#write"):
        session.call("wizer-initialize")
    with pytest.raises(LinkError, match="failed to instantiate"):
        Session(wasm, unknown_imports="error")
    with pytest.raises(OptionError, match="cannot return default values"):
        Session(wasm, unknown_imports="default")
    with pytest.raises(OptionError, match="preloading"):
        Session(wasm, preload={"x": b""})
    written: list[int] = []
    frozen(wasm, imports={"my:host/log@1.0.0": {"write": lambda: written.append(1)}})
    assert written == [1]


def test_invalid_component() -> None:
    wasm = binary(LIFTED % ('(func (export "init"))', "")).replace(b"init", b"tini", 1)
    with pytest.raises(InvalidError, match="the component does not compile"):
        Session(wasm)


def test_an_error_lists_the_exports_of_the_original() -> None:
    wat = """(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
      (func (export "boot") (canon lift (core func $i "f"))))"""
    with Session(wat) as session:
        for name in ("nothing", "wizer-mark"):
            with pytest.raises(
                OptionError, match=rf"does not export a function `{name}`; it exports: `boot`$"
            ):
                session.call(name)
        with pytest.raises(OptionError, match=r"it exports: `boot`$"):
            session.snapshot(remove=["wizer-mark"])


NEEDS_WASI = """(component
    (import "wasi:cli/stdout@0.2.0" (instance $o (export "get-stdout" (func))))
    (core func $get (canon lower (func $o "get-stdout")))
    (core module $m (import "" "get" (func $get)) (func (export "f") (call $get)))
    (core instance $i (instantiate $m (with "" (instance (export "get" (func $get))))))
    (func (export "f") (canon lift (core func $i "f"))))"""


@pytest.mark.parametrize("unknown", ["trap", "error"])
def test_wasi_that_is_off_says_how_to_provide_it(unknown: UnknownImports) -> None:
    with pytest.raises((TrapError, LinkError), match=r"wasi:cli/stdout.*; WASI is off: .*\(--allow-wasi\)"):
        frozen(binary(NEEDS_WASI), "f", unknown_imports=unknown)
