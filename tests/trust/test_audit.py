"""What initialisation saw is told apart by its source, and named; what it did not keep is not reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from support.command import wizer
from support.observer import OBSERVER
from wizer import Wasi, audit
from wizer.binary.module import parse_module
from wizer.contents.symbols import Symbols
from wizer.trust.findings import Audit


def places(found: Audit, source: str) -> list[tuple[str, Any]]:
    return [(f.difference.place, f.difference.span) for f in found.findings if f.source == source]


def observed(*functions: str, **wasi: Any) -> Audit:
    return audit(OBSERVER, wasi=Wasi(**wasi), init_func=functions)


def test_nothing_is_seen() -> None:
    found = observed("forget")
    assert found.frozen() == ()
    assert found.calls == {}


def test_what_is_seen_and_forgotten_is_not_frozen() -> None:
    found = observed("look_random", "look_clock", "forget")
    assert found.frozen() == ()
    assert found.calls["wasi_snapshot_preview1", "random_get"] == 1


def test_chance() -> None:
    found = observed("look_random", "look_clock")
    assert places(found, "random") == [
        ('memory 0 ("memory") at 0x100..0x108', (0x100, 0x108)),
        ('global 0 ("seed")', None),
    ]
    assert found.frozen() == ("random", "clock")
    assert found.frozen(["clock"]) == ("random",)


def test_time() -> None:
    found = observed("look_clock", "look_monotonic")
    spans = [span for _, span in places(found, "clock")]
    assert len(spans) == 1
    assert spans[0][0] == 0x200
    assert 0x205 <= spans[0][1] <= 0x210


def test_one_look_at_the_monotonic_clock_is_seen() -> None:
    assert observed("look_monotonic").frozen() == ("clock",)


def test_environment() -> None:
    found = observed("look_environ", env={"HOST": "builder-7", "MODE": "release", "EMPTY": ""})
    assert found.frozen() == ("env",)
    assert found.variables == ("HOST", "MODE")
    spans = [span for _, span in places(found, "env")]
    # How many there are and their size, where each of them is, and what they say.
    kinds = ((0x600, 0x608), (0x700, 0x720), (0x800, 0x900))
    for start, end in spans:
        assert any(low <= start < end <= high for low, high in kinds)
    assert all(any(low <= start < high for start, _ in spans) for low, high in kinds)


def test_no_environment_no_finding() -> None:
    assert observed("look_environ").frozen() == ()


def test_files(tmp_path: Path) -> None:
    for name in ("link", "file"):
        (tmp_path / name).write_text(name)
    found = observed("look_directory(4096, 0)", "look_file", mapdirs={"/d": tmp_path})
    assert found.frozen() == ("clock", "files")
    assert found.files == ()


def test_files_left_open(tmp_path: Path) -> None:
    for name in ("link", "file"):
        (tmp_path / name).write_text(name)
    found = observed("open(0, 4, 0)", "open(5, 4, 0)", "close(4)", mapdirs={"/d": tmp_path})
    assert found.files == ("/d/file", "/d/link")
    assert found.left_open == {5: "/d/link"}
    assert found.calls["wasi_snapshot_preview1", "path_open"] == 2


def test_what_differs_whatever_is_done() -> None:
    """A Python import that nobody makes up counts as its own source, and hides nothing of the others."""
    counter = iter(range(100))
    module = """(module
      (import "host" "count" (func $count (result i32)))
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "wizer-initialize") (i32.store (i32.const 16) (call $count))
        (drop (call $random (i32.const 32) (i32.const 4)))))"""
    found = audit(module, {"host": {"count": lambda: next(counter)}}, wasi=Wasi())
    assert [span for _, span in places(found, "other")] == [(16, 17)]
    assert [span for _, span in places(found, "random")] == [(32, 36)]
    assert found.calls["host", "count"] == 1


def test_functions_of_other_modules_are_not_counted() -> None:
    library = '(module (func (export "f")))'
    module = '(module (import "lib" "f" (func)) (func (export "wizer-initialize") (call 0)))'
    found = audit(module, preload={"lib": library})
    assert found.unobserved == (("lib", "f"),)
    assert found.calls == {}


def test_heap_fields_and_tables() -> None:
    module = """(module
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (type $t (struct (field i32) (field $salt (mut i32))))
      (memory (export "memory") 1)
      (table $jumps 2 funcref) (elem declare func $a $b)
      (global $cache (mut (ref null $t)) (ref.null $t))
      (func $a) (func $b)
      (func (export "wizer-initialize")
        (drop (call $random (i32.const 0) (i32.const 4)))
        (global.set $cache (struct.new $t (i32.const 1) (i32.load (i32.const 0))))
        (table.set $jumps (i32.and (i32.load8_u (i32.const 0)) (i32.const 1)) (ref.func $a))
        (i32.store (i32.const 0) (i32.const 0))))"""
    found = audit(module, wasi=Wasi())
    named = {place for place, _ in places(found, "random")}
    assert 'global 0 ("cache") field 1 ("salt")' in named
    assert named - {'global 0 ("cache") field 1 ("salt")'} <= {
        'table 0 ("jumps") element 0',
        'table 0 ("jumps") element 1',
    }


def test_initialisation_that_depends_on_a_source_to_succeed() -> None:
    module = """(module
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "wizer-initialize") (drop (call $random (i32.const 0) (i32.const 8)))
        (if (i64.ne (i64.load (i32.const 0)) (i64.const {})) (then (unreachable)))))"""
    from wizer.engine.deterministic import Deterministic, World

    first = int.from_bytes(World(Deterministic()).random(8), "little")
    found = audit(module.format(first), wasi=Wasi())
    assert found.frozen() == ("random",)
    assert "unreachable" in found.failures["random"]


SYMBOLS = """(module
  (memory (export "memory") 2)
  (global $__stack_pointer (mut i32) (i32.const 0x3000))
  (global (export "__heap_base") i32 (i32.const 0x4000))
  (global (export "settings") i32 (i32.const 0x1010))
  (data $.rodata (i32.const 0x400) "constants")
  (data $.data (i32.const 0x1000) "0123456789abcdef0123456789abcdef")
)"""


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0x400, ".rodata"),
        (0x402, ".rodata+0x2"),
        (0x1004, ".data+0x4"),
        (0x1010, "settings"),
        (0x2000, "stack"),
        (0x3800, "uninitialised data"),
        (0x5000, "heap"),
    ],
)
def test_names_of_addresses(address: int, name: str) -> None:
    assert Symbols(parse_module(bytes(wasmtime.wat2wasm(SYMBOLS)))).name(0, address) == name


def test_symbols_of_a_linking_section() -> None:
    """The symbol table of `ld --emit-relocs`: kind 1, flags 0, name, segment, offset, size."""
    wasm = bytes(wasmtime.wat2wasm('(module (memory 1) (data (i32.const 0x400) "0123456789"))'))
    entry = b"\x01\x00\x05table\x00\x04\x03"
    table = b"\x01" + entry
    contents = b"\x07linking\x02\x08" + bytes([len(table)]) + table
    symbols = Symbols(parse_module(wasm + b"\x00" + bytes([len(contents)]) + contents))
    assert symbols.name(0, 0x405) == "table+0x1"
    assert symbols.name(0, 0x408) == "data segment 0+0x8"


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(OBSERVER)
    line: list[str | Path] = ["audit", "--allow-wasi", "-f", "look_random", tmp_path / "in.wat"]
    run = wizer(*line)
    assert run.returncode == 3, run.stderr
    assert 'random  memory 0 ("memory") at 0x100..0x108' in run.stdout.decode()
    assert "imports called: random_get 1" in run.stdout.decode()
    allowed = wizer(*line, "--allow", "clock,random")
    assert allowed.returncode == 0
    assert b"nothing is frozen but what is allowed" in allowed.stdout
    document = json.loads(wizer(*line, "--json").stdout)
    assert document["frozen"] == ["random"]
    assert document["findings"][0]["range"] == [0x100, 0x108]
    described = wizer("audit", "--help").stdout.decode().partition("The JSON document")[2].splitlines()[1:]
    names = [line.split()[0] for line in described[: described.index("")] if line[2] != " "]
    assert sorted(names) == sorted(document)
    assert wizer(*line, "--allow", "luck").returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wat"]


def test_warn_frozen(tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(OBSERVER)
    line = ["--allow-wasi", "-f", "look_random", "--warn-frozen"]
    run = wizer(*line, "-o", tmp_path / "out.wasm", tmp_path / "in.wat")
    assert run.returncode == 0
    warning = (
        'warning: the output depends on random numbers: 2 places, 8 bytes, first memory 0 ("memory") at '
        "0x100..0x108\n"
    )
    assert run.stderr.decode() == warning
    assert (tmp_path / "out.wasm").exists()


def test_options_of_audit_are_refused_elsewhere(tmp_path: Path) -> None:
    run = wizer("--json", tmp_path / "in.wat", "-o", tmp_path / "out.wasm")
    assert run.returncode == 2
    assert b"it belongs to `wizer audit`" in run.stderr
