"""A snapshot says in the producers section that its original has how it was made, and of what."""

from __future__ import annotations

import pytest

import wizer
from support.guest import validate
from support.tools import assembled
from wizer import Session, VerificationError, wizen
from wizer.binary.module import parse_module
from wizer.binary.sections import section_header
from wizer.binary.vectors import encode_name
from wizer.core.producers import read_producers

PRODUCERS = b"\x02\x08language\x01\x03C11\x00\x0cprocessed-by\x01\x05clang\x0221"
MODULE = """(module (memory (export "memory") 3) (data (i32.const 1024) "hello")
  (func (export "init") (i32.store (i32.const 70000) (i32.const 5))))"""
FACTS = "pages=3 data=1024..1029"


def with_producers(contents: bytes = PRODUCERS, wat: str = MODULE) -> bytes:
    body = encode_name("producers") + contents
    return assembled(wat) + section_header(0, len(body)) + body


def stamps(wasm: bytes) -> list[str]:
    readers = parse_module(wasm).custom_sections("producers")
    return [
        version
        for reader in readers
        for tools in read_producers(reader).values()
        for tool, version in tools.items()
        if tool == "wizer-python"
    ]


def test_what_a_snapshot_says() -> None:
    original = with_producers()
    snapshot = wizen(original, init_func="init")
    validate(snapshot)
    said = f"{wizer.__version__} layout=balanced size={len(original)} {FACTS}"
    assert stamps(snapshot) == [said]
    (reader,) = parse_module(snapshot).custom_sections("producers")
    assert read_producers(reader) == {
        "language": {"C11": ""},
        "processed-by": {"clang": "21", "wizer-python": said},
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layout": "instant"}, "layout=instant"),
        ({"max_data_segments": 7}, "layout=balanced segments=7"),
        ({"deterministic": True, "keep_libc_state": True}, "layout=balanced"),
        ({"layout": "small", "producers": True}, "layout=small"),
    ],
)
def test_options_that_are_said(options: dict[str, object], said: str) -> None:
    original = with_producers()
    snapshot = wizen(original, init_func="init", **options)  # type: ignore[arg-type]
    assert stamps(snapshot) == [f"{wizer.__version__} {said} size={len(original)} {FACTS}"]


def test_a_field_is_added_where_there_is_none() -> None:
    assert len(stamps(wizen(with_producers(b"\x00"), init_func="init"))) == 1


@pytest.mark.parametrize("contents", [b"\x01", b"\x80\x00", PRODUCERS + b"\x00", b"\x02" + b"\x01a\x00" * 2])
def test_what_is_malformed_stays_as_it_is(contents: bytes) -> None:
    (reader,) = parse_module(wizen(with_producers(contents), init_func="init")).custom_sections("producers")
    assert reader.wasm[reader.pos : reader.end] == contents


def test_a_module_that_says_nothing_of_tools_goes_on_to() -> None:
    assert b"wizer-python" not in wizen(MODULE, init_func="init")


@pytest.mark.parametrize("options", [{"producers": False}, {"layout": "small"}])
def test_nothing_is_said(options: dict[str, object]) -> None:
    said = wizen(with_producers(), init_func="init", keep_init_func=True)
    for original in (with_producers(), said):  # nor is what an earlier one said
        snapshot = wizen(original, init_func="init", **options)  # type: ignore[arg-type]
        (reader,) = parse_module(snapshot).custom_sections("producers")
        assert reader.wasm[reader.pos : reader.end] == PRODUCERS


def test_a_snapshot_of_a_snapshot_speaks_of_the_same_original() -> None:
    first = wizen(with_producers(), init_func="init", keep_init_func=True)
    with Session(first) as session:
        assert session.snapshot(keep=["init"]) == first
    second = wizen(first, init_func="init", layout="instant")
    assert stamps(second) == [stamps(first)[0].replace("balanced", "instant")]


def test_verify_takes_what_says_something_and_what_does_not() -> None:
    original = with_producers()
    for options in ({}, {"producers": False}, {"producers": "0.0.7"}):
        wizer.verify(original, wizen(original, init_func="init", **options), init_func="init")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"layout=balanced", b"layout=unheard_"),
        (b"size=", b"Size="),
        (b"1024..", b"1025.."),
        (b"clang", b"clung"),
    ],
)
def test_verify_finds_what_is_not_so(old: bytes, new: bytes) -> None:
    original = with_producers()
    snapshot = wizen(original, init_func="init")
    assert snapshot.count(old) == 1
    with pytest.raises(VerificationError):
        wizer.verify(original, snapshot.replace(old, new), init_func="init")
