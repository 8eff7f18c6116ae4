"""What a snapshot appended is taken away by the next one only where the module bears its marker out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.guest import Guest, frozen, validate
from support.tools import assembled, printed
from wizer import Session, wizen
from wizer.binary import sections as sec
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module, parse_module
from wizer.binary.uses import at_least
from wizer.core.previous import Appended, checked_contents, marker, previous
from wizer.engine.versions import major
from wizer.records import field_names

LIST = """(module
  (type $n (struct (field $next (mut (ref null $n))) (field $v (mut i32))))
  (global $head (mut (ref null $n)) (ref.null $n))
  (func (export "init") (local i32)
    (loop (global.set $head (struct.new $n (global.get $head) (local.get 0)))
      (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 2000)))))
  (func (export "clear") (global.set $head (ref.null $n)))
  (func (export "sum") (result i32) (local $at (ref null $n)) (local $sum i32)
    (local.set $at (global.get $head))
    (block $end (loop $next (br_if $end (ref.is_null (local.get $at)))
      (local.set $sum (i32.add (local.get $sum) (struct.get $n $v (local.get $at))))
      (local.set $at (struct.get $n $next (local.get $at))) (br $next)))
    (local.get $sum))
  (func (export "noop")))"""


def test_the_data_count_goes_where_the_data_goes() -> None:
    one = frozen(LIST)
    assert parse_module(one).data_count == 1
    two = frozen(one, "clear")
    validate(two)
    assert parse_module(two).data_count is None
    assert len(two) <= len(frozen(LIST, "clear")) + 16, "only types stay"


def test_globals_of_shared_objects_go_when_nothing_shares_them() -> None:
    wat = """(module (type $s (struct (field (mut i32))))
      (global $a (mut (ref null $s)) (ref.null $s)) (global $b (mut (ref null $s)) (ref.null $s))
      (func (export "init") (global.set $a (struct.new $s (i32.const 1))) (global.set $b (global.get $a)))
      (func (export "again") (call 0))
      (func (export "same") (result i32) (ref.eq (global.get $a) (global.get $b))))"""
    one = frozen(wat)
    assert len(parse_module(one).globals) == 3
    for _ in range(4):
        one = frozen(one, "again")
        assert len(parse_module(one).globals) == 3
        assert Guest(one)("same") == 1


def appended(**counts: int) -> Appended:
    return Appended(**{**dict.fromkeys(field_names(Appended), 0), **counts})


def forged(wat: str, **counts: int) -> bytes:
    """A module with a marker whose checksum is right."""
    wasm = assembled(wat)
    return wasm + marker(appended(**counts), checked_contents(parse_module(wasm)))


USED = {
    "called": ('(func (export "init") (call $x)) (func (export "go")) (func $x) (start $x)', {"funcs": 1}),
    "tail call": (
        '(func (export "init") (return_call $x)) (func (export "go")) (func $x) (start $x)',
        {"funcs": 1},
    ),
    "exported function": ('(func (export "init")) (func $x (export "go")) (start $x)', {"funcs": 1}),
    "in a segment": (
        '(table 1 funcref) (elem (i32.const 0) $x) (func (export "init"))'
        ' (func (export "go") (call_indirect (i32.const 0))) (func $x) (start $x)',
        {"funcs": 1},
    ),
    "referred to": (
        '(global funcref (ref.func $x)) (func (export "init")) (func (export "go")) (func $x) (start $x)',
        {"funcs": 1},
    ),
    "exported global": (
        '(global (export "g") i32 (i32.const 77)) (func (export "init")) (func (export "go"))',
        {"globals": 1},
    ),
    "read global": (
        '(global $g (mut i32) (i32.const 77)) (func (export "init")) (func (export "go")'
        " (drop (global.get $g)))",
        {"globals": 1},
    ),
    "called table": (
        '(table $t 1 funcref) (elem (table $t) (i32.const 0) func 0) (func (export "init"))'
        ' (func (export "go") (call_indirect $t (i32.const 0)))',
        {"tables": 1},
    ),
    "grown table": (
        '(table $t 1 funcref) (func (export "init"))'
        ' (func (export "go") (drop (table.grow $t (ref.null func) (i32.const 1))))',
        {"tables": 1},
    ),
    "data": (
        '(memory 1) (data $d "kept") (func (export "init"))'
        ' (func (export "go") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 4)))',
        {"data": 1},
    ),
    "data count": (
        '(memory 1) (data $d "kept") (func (export "init"))'
        ' (func (export "go") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 4)))',
        {"data_count": 1},
    ),
    "data behind": (
        '(memory 1) (data "first") (data $d "kept") (func (export "init"))'
        ' (func (export "go") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 4)))',
        {"data": 1},
    ),
    "array data": (
        '(type $a (array i8)) (data $d "kept") (func (export "init"))'
        ' (func (export "go") (drop (array.new_data $a $d (i32.const 0) (i32.const 4))))',
        {"data": 1},
    ),
    "elements": (
        '(table 1 funcref) (elem $e func 0) (func (export "init"))'
        ' (func (export "go") (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)))',
        {"elements": 1},
    ),
    "elements behind": (
        '(table 1 funcref) (elem func 0) (elem $e func 0) (func (export "init"))'
        ' (func (export "go") (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)))',
        {"elements": 1},
    ),
    "not the start": (
        '(func $s) (func (export "init")) (func (export "go")) (func) (start $s)',
        {"funcs": 1},
    ),
}


@pytest.mark.parametrize("use", USED)
def test_a_forged_marker_takes_nothing_that_is_used(use: str) -> None:
    wat, counts = USED[use]
    wasm = forged(f"(module {wat})", **counts)
    assert previous(parse_module(wasm)) is None
    snapshot = wizen(wasm, init_func="init")
    validate(snapshot)
    Guest(snapshot)("go")
    assert snapshot == wizen(assembled(f"(module {wat})"), init_func="init")


def test_what_nothing_uses_goes_without_a_trace() -> None:
    """A forger gains what he could have had by leaving it out."""
    wasm = forged(
        '(module (func (export "init")) (func (export "go") (drop (i32.const 0x10))) (func $x) (start $x))',
        funcs=1,
    )
    assert previous(parse_module(wasm)) == appended(funcs=1)
    snapshot = wizen(wasm, init_func="init")
    assert len(parse_module(snapshot).funcs) == 2
    Guest(snapshot)("go")


def _with_global(text: str) -> str:
    count = text.count("\n  (global")
    at = text.index("  (export")
    own = f'  (global $version (;{count};) i32 i32.const 77)\n  (export "version" (global {count}))\n'
    return text[:at] + own + text[at:]


def _with_function(text: str) -> str:
    at = text.rindex(")")
    return f'{text[:at]}(func (export "more") (result i32) i32.const 5))'


TOOLS: dict[str, tuple[Callable[[str], str], str]] = {
    "an exported global": (_with_global, "version"),
    "a function": (_with_function, "more"),
    "an unused memory": (lambda text: f"{text[: text.rindex(')')]}(memory 1))", "sum"),
    "nothing": (lambda text: text, "sum"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_added_to_a_snapshot_stays(tool: str) -> None:
    change, name = TOOLS[tool]
    changed = assembled(change(printed(frozen(LIST))))
    with Session(changed) as session:
        again = session.snapshot()
    validate(again)
    before, after = parse_module(changed), parse_module(again)
    assert [export.name for export in after.exports] == [export.name for export in before.exports]
    assert len(after.memories) == len(before.memories)
    if before.exports_by_name[name].kind == "func":
        assert Guest(again)(name) == Guest(changed)(name)
    else:
        index = after.exports_by_name[name].index
        assert after.globals[index].init == before.globals[index].init
    assert Guest(again)("sum") == 1999000


def test_a_marker_speaks_of_all_but_contents_of_data() -> None:
    snapshot = frozen(LIST)
    assert previous(parse_module(snapshot)) is not None
    module = parse_module(snapshot)
    for section in module.sections:
        if section.id in (sec.CUSTOM, sec.DATA) or section.end - section.start < 3:
            continue
        at = section.end - 2
        changed = snapshot[:at] + bytes((snapshot[at] ^ 1,)) + snapshot[at + 1 :]
        assert previous(parse_module_or_none(changed) or Module(b"")) is None, sec.TITLES[section.id]


def parse_module_or_none(wasm: bytes) -> Module | None:
    from wizer import ParseError

    try:
        return parse_module(wasm)
    except ParseError:
        return None


@pytest.mark.parametrize("least", [0, 1, 3, 0x7F, 0x80, 0x81, 0xFF, 0x100, 0x3FFF, 0x4000, 70_000, 1 << 21])
def test_indices_from_one_on_are_found_by_their_bytes(least: int) -> None:
    import re

    pattern = re.compile(at_least(least), re.DOTALL)
    for value in {0, 1, 2, 5, least - 1, least, least + 1, 2 * least, 127, 128, 16383, 16384, 1 << 27}:
        if value < 0:
            continue
        encodings = [encode_unsigned(value)]
        encodings.append(encodings[0][:-1] + bytes((encodings[0][-1] | 0x80,)) + b"\x00")
        for encoded in encodings:
            found = pattern.fullmatch(encoded) is not None
            assert found or value < least, (value, encoded)
        assert (pattern.fullmatch(encodings[0]) is not None) == (value >= least)


@pytest.mark.parametrize("segments", [9_000, 11_000])
def test_emptied_segments_leave_their_places(segments: int) -> None:
    """Half of many active segments become zero; what code refers to by index stays."""
    data = "".join(f'(data (i32.const {i * 1000}) "x")' for i in range(segments))
    wat = f"""(module (memory 400) {data} (data $p "q")
      (func (export "use") (memory.init $p (i32.const 0) (i32.const 0) (i32.const 1)))
      (func (export "noop"))
      (func (export "init") (local i32) (loop (i32.store8 (local.get 0) (i32.const 0))
        (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 2000)))
                           (i32.const {segments * 1000}))))))"""
    sizes, wasm = [], wizen(assembled(wat), init_func="init", verify=True)
    for _ in range(3):
        sizes.append(len(wasm))
        wasm = wizen(wasm, init_func="noop", keep_init_func=True)
    assert len(set(sizes)) == 1
    Guest(wasm)("use")


def test_places_of_segments_are_used_again() -> None:
    """Sometimes there is much to write and sometimes little; indices do not grow with every change."""
    wat = """(module (memory 1) (data $p "q")
      (func (export "many") (local i32) (loop (i32.store8 (local.get 0) (i32.const 1))
        (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 100))) (i32.const 60000)))))
      (func (export "few") (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)))
      (func (export "use") (memory.init $p (i32.const 0) (i32.const 0) (i32.const 1))))"""
    wasm = assembled(wat)
    counts = []
    for name in ("many", "few", "many", "few", "many"):
        wasm = frozen(wasm, name)
        counts.append(len(parse_module(wasm).data))
    assert counts == [counts[0]] * 5
    Guest(wasm)("use")


@pytest.mark.skipif(major() < 49, reason="wasmtime 48 compiles no more than 32,000 data segments")
def test_no_more_data_segments_than_engines_take() -> None:
    wat = """(module (memory 512) (func (export "init") (local i32) (loop
      (i32.store8 (local.get 0) (i32.const 1))
      (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 200))) (i32.const 33554432))))))"""
    with Session(wat, max_data_segments=1_000_000) as session:
        session.call("init")
        snapshot = session.snapshot()
    validate(snapshot)
    assert 90_000 < len(parse_module(snapshot).data) <= 100_000
