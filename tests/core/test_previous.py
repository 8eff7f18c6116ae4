"""What an earlier snapshot appended is recognised, believed only where it is true, and taken away."""

from __future__ import annotations

from typing import Any

import pytest

from support.states import memory, module_of
from wizer.binary import sections as sec
from wizer.binary.module import Module, parse_module
from wizer.binary.values import Number
from wizer.core.previous import Appended, checked_contents, is_marker, marker, without_previous
from wizer.core.state import State, TableState
from wizer.records import replace

# The last function, table and global are appended, and the second segment of each kind.
SNAPSHOT = """(module
  (func (export "f")) (func $restore (memory.init 1 (i32.const 0) (i32.const 0) (i32.const 0)))
  (table 1 funcref) (table 7 anyref)
  (memory 1)
  (global (mut i32) (i32.const 1)) (global (mut i32) (i32.const 2))
  (start $restore)
  (elem func 0) (elem anyref (ref.null any)) (elem declare func 0)
  (data "old") (data "appended") (data "new"))"""
TRUE = Appended(funcs=1, tables=1, globals=1, first_element=1, elements=1, first_data=1, data=1, data_count=0)

STATE = State(
    globals={0: Number("i32", 8), 1: Number("i32", 9)},
    memories={0: memory(b"x")},
    tables={0: TableState(1), 1: TableState(7)},
    dropped_data=frozenset({0, 1}),
    dropped_elements=frozenset({1}),
)


def marked(appended: Appended = TRUE, code: bytes | None = None, wat: str = SNAPSHOT) -> Module:
    """The module with a marker behind it; ``code``: what the checksum is of, if not its code section."""
    module = module_of(wat)
    checked = checked_contents(module, None if code is None else {sec.CODE: [code]})
    return parse_module(module.wasm + marker(appended, checked))


def test_what_was_appended_goes_from_module_and_state() -> None:
    module = marked()
    stripped, state = without_previous(module, STATE)
    assert stripped == replace(
        module,
        funcs=module.funcs[:1],
        tables=module.tables[:1],
        globals=module.globals[:1],
        elements=(module.elements[0], module.elements[2]),
        data=(module.data[0], module.data[2]),
    )
    assert state == replace(
        STATE,
        globals={0: Number("i32", 8)},
        tables={0: TableState(1)},
        dropped_data=frozenset({0}),
        dropped_elements=frozenset(),
    )


def test_a_data_count_that_was_added_goes() -> None:
    stripped, _ = without_previous(marked(replace(TRUE, data_count=1)), STATE)
    assert stripped.data_count is None


def test_a_module_without_a_marker_is_what_it_is() -> None:
    module = module_of(SNAPSHOT)
    assert without_previous(module, STATE) == (module, STATE)


def test_a_module_that_another_tool_has_rewritten_is_not_believed() -> None:
    module = marked(code=b"other code")
    assert without_previous(module, STATE) == (module, STATE)


@pytest.mark.parametrize(
    "lie",
    [
        {"funcs": 0},
        {"funcs": 3},
        {"tables": 3},
        {"globals": 3},
        {"elements": 3},
        {"first_element": 3},
        {"data": 3},
        {"first_data": 3},
    ],
    ids=str,
)
def test_a_marker_that_cannot_be_true_is_not_believed(lie: dict[str, Any]) -> None:
    module = marked(replace(TRUE, **lie))
    assert without_previous(module, STATE) == (module, STATE)


@pytest.mark.parametrize("start", ["", "(start 0)"])
def test_a_start_function_that_is_not_the_last_one_is_not_ours(start: str) -> None:
    module = marked(wat=SNAPSHOT.replace("(start $restore)", start))
    assert without_previous(module, STATE) == (module, STATE)


@pytest.mark.parametrize(
    ("imported", "defined", "too_many"),
    [
        ('(import "" "f" (func))', '(func (export "f"))', {"funcs": 2}),
        ('(import "" "t" (table 1 funcref))', "(table 1 funcref)", {"tables": 2}),
        ('(import "" "g" (global (mut i32)))', "(global (mut i32) (i32.const 1))", {"globals": 2}),
    ],
)
def test_imports_are_never_what_was_appended(imported: str, defined: str, too_many: dict[str, Any]) -> None:
    wat = SNAPSHOT.replace(defined, "").replace("(module", f"(module {imported}")
    module = marked(wat=wat)
    assert without_previous(module, STATE)[0] != module
    module = marked(replace(TRUE, **too_many), wat=wat)
    assert without_previous(module, STATE) == (module, STATE)


def test_the_checksum_is_that_of_zip_files() -> None:
    """CRC-32 of "123456789" is 0xCBF43926: snapshots of other versions have to be recognised."""
    assert marker(TRUE, [b"1234", b"56789"]).endswith(b"\x26\x39\xf4\xcb")


@pytest.mark.parametrize(
    ("contents", "ours"),
    [
        (b"\x05wizer" + bytes(8) + b"\0\1\2\3", True),
        (b"\x05wizer" + bytes(8) + b"\0\1\2\3more", False),
        (b"\x05wizer" + bytes(8), False),
        (b"\x05wizer" + b"\xff" * 12, False),
        (b"\x05wizer", False),
        (b"\x05other" + bytes(8) + b"\0\1\2\3", False),
    ],
    ids=["ours", "longer", "shorter", "no number", "empty", "another name"],
)
def test_a_section_of_ours_is_told_by_its_form(contents: bytes, ours: bool) -> None:
    wasm = sec.MAGIC + sec.MODULE_VERSION + b"\x00" + bytes((len(contents),)) + contents
    module = parse_module(wasm)
    assert is_marker(module, module.sections[0]) is ours
