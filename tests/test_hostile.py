"""A stranger's module: what it may not do, with no option given."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from support.command import wizer
from support.observer import OBSERVER
from wizer import LimitError, Limits, ParseError, Session, TrapError, Wasi, wizen
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import parse_module

HEADER = b"\0asm\x01\0\0\0"
MOST = encode_unsigned(0xFFFF_FFFF)


def test_there_is_no_host_unless_asked_for(tmp_path: Path) -> None:
    with Session(OBSERVER) as session, pytest.raises(TrapError, match=r"random_get. has not been defined"):
        session.call("look_random")
    (tmp_path / "in.wat").write_text(OBSERVER)
    run = wizer("-f", "look_environ", tmp_path / "in.wat", "-o", tmp_path / "out.wasm")
    assert run.returncode == 1
    assert not (tmp_path / "out.wasm").exists()


def test_wasi_shows_no_files_and_variables_that_are_not_named() -> None:
    with Session(OBSERVER, wasi=Wasi()) as session:
        assert session.call("open", 0, 4, 0) == 8  # BADF: there is no directory
        session.call("look_environ")
        assert session.memory()[0x600:0x608] == bytes(8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the guest sees; beside it is a secret."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "inside").mkdir()
    return tmp_path / "inside"


@pytest.mark.parametrize("target", ["../secret", "{parent}/secret", "../inside/../secret"])
@pytest.mark.parametrize("create", [0, 1])
def test_links_do_not_lead_out_of_a_directory(target: str, create: int, folder: Path) -> None:
    (folder / "link").symlink_to(target.format(parent=folder.parent))
    with Session(OBSERVER, wasi=Wasi(mapdirs={"/d": folder})) as session:
        assert session.call("open", 5, 4, create) != 0
    assert (folder.parent / "secret").read_text() == "secret"


def test_links_to_directories_do_not_lead_out(folder: Path) -> None:
    (folder / "link").symlink_to("..")
    with Session(OBSERVER, wasi=Wasi(mapdirs={"/d": folder})) as session:
        path = b"link/secret"
        session.memory()[0x40 : 0x40 + len(path)] = path
        assert session.call("open", 0x40, len(path), 0) != 0


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "inside/../../secret", "./../secret", "..\0"])
def test_paths_do_not_lead_out(path: str, folder: Path) -> None:
    (folder / "inside").mkdir()
    with Session(OBSERVER, wasi=Wasi(mapdirs={"/d": folder})) as session:
        name = path.encode()
        session.memory()[0x40 : 0x40 + len(name)] = name
        for create in (0, 1):
            assert session.call("open", 0x40, len(name), create) != 0
    assert sorted(p.name for p in folder.parent.iterdir()) == ["inside", "secret"]


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_guest_creates_files_in_its_directory_only(deterministic: bool, folder: Path) -> None:
    with Session(OBSERVER, wasi=Wasi(mapdirs={"/d": folder}), deterministic=deterministic) as session:
        assert session.call("open", 10, 3, 1) == 0
    assert [path.name for path in folder.iterdir()] == ["new"]
    with Session(OBSERVER, wasi=Wasi(mapdirs={"/d": folder}, read_only=True)) as session:
        assert session.call("open", 0, 4, 1) != 0
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_memories_and_tables_are_bounded_by_default() -> None:
    grow = """(module (memory i64 1) (table 1 funcref)
      (func (export "memory") (result i64) (memory.grow (i64.const 262144)))
      (func (export "table") (result i32) (table.grow (ref.null func) (i32.const 10000000))))"""
    with Session(grow) as session:
        assert session.call("memory") == -1
        assert session.call("table") == -1
    with pytest.raises(LimitError, match="exceeds the limit of 17179869184 bytes"):
        Session("(module (memory i64 262145))")
    with pytest.raises(LimitError, match="exceeds the limit of 10000000 elements"):
        Session("(module (table 10000001 funcref))")
    with Session("(module (memory i64 262145))", limits=Limits()):
        pass


MANY = """(module {memories}
  (func (export "grow") (param i32) (result i32) (local $total i32)
    {growths} (local.get $total)))"""
GROWTH = """(block (loop (br_if 1 (i32.eq (memory.grow {0} (local.get 0)) (i32.const -1)))
      (local.set $total (i32.add (local.get $total) (local.get 0))) (br 0)))"""


@pytest.mark.parametrize("count", [1, 7, 100])
def test_memories_together_are_bounded(count: int) -> None:
    wat = MANY.format(memories="(memory 1) " * count, growths="".join(map(GROWTH.format, range(count))))
    with Session(wat, limits=Limits(max_memory=1000 << 16)) as session:
        assert 1000 - 2 * count < session.call("grow", 1) + count <= 1000


def test_what_a_memory_cannot_use_is_for_others() -> None:
    wat = MANY.format(memories="(memory 1 10) (memory 1)", growths="".join(map(GROWTH.format, range(2))))
    with Session(wat, limits=Limits(max_memory=100 << 16)) as session:
        assert session.call("grow", 1) + 2 == 100


def test_tables_together_are_bounded() -> None:
    tables = "(table 1 funcref) " * 4
    growths = "".join(
        f"(drop (table.grow {n} (ref.null func) (i32.const 24)))"
        f"(drop (table.grow {n} (ref.null func) (i32.const 1)))"
        f"(local.set 1 (i32.add (local.get 1) (table.size {n})))"
        for n in range(4)
    )
    with Session(
        MANY.format(memories=tables, growths=growths), limits=Limits(max_table_elements=100)
    ) as session:
        assert session.call("grow", 0) == 100
    with pytest.raises(
        LimitError, match="the 4 tables have 4 elements together, over the limit of 3 elements"
    ):
        Session(f"(module {tables})", limits=Limits(max_table_elements=3))


def test_preloaded_modules_are_bounded_with_the_others() -> None:
    owner = '(module (memory (export "m") 60))'
    importing = (
        '(module (import "o" "m" (memory 60)) (func (export "f") (result i32) (memory.grow (i32.const 40))))'
    )
    with Session(importing, preload={"o": owner}, limits=Limits(max_memory=100 << 16)) as session:
        assert session.call("f") == 60
    with pytest.raises(LimitError, match="the 2 memories have 7864320 bytes together"):
        Session("(module (memory 60))", preload={"o": owner}, limits=Limits(max_memory=100 << 16))


def test_instances_of_a_component_are_bounded_together() -> None:
    core = "(core module $m (memory 10)) " + "(core instance (instantiate $m)) " * 11
    with pytest.raises(LimitError, match="the 11 memories have 7208960 bytes together"):
        Session(f"(component {core})", limits=Limits(max_memory=100 << 16))
    with pytest.raises(LimitError, match="instance"):
        Session(f"(component {core})", limits=Limits(max_instances=10))


def test_shared_memories_count_with_what_they_may_become() -> None:
    with pytest.raises(LimitError, match="the 2 memories have 6619136 bytes together"):
        Session("(module (memory 1 100 shared) (memory 1))", limits=Limits(max_memory=100 << 16))


FULL = """(module (memory 2) (func (export "wizer-initialize")
  (memory.fill (i32.const 0) (i32.const 7) (i32.const 131072))))"""


def test_the_output_is_bounded(tmp_path: Path) -> None:
    assert len(wizen(FULL, max_output=200_000)) > 131072
    with pytest.raises(LimitError, match=r"the output of \d+ bytes exceeds the limit of 100000 bytes"):
        wizen(FULL, max_output=100_000)
    (tmp_path / "in.wat").write_text(FULL)
    run = wizer("--max-output", "100K", tmp_path / "in.wat", "-o", tmp_path / "out.wasm")
    assert run.returncode == 5
    assert b"exceeds the limit of 102400 bytes" in run.stderr
    assert not (tmp_path / "out.wasm").exists()


def section(number: int, contents: bytes) -> bytes:
    return HEADER + bytes([number]) + encode_unsigned(len(contents)) + contents


LIES = {
    **{f"count of section {number}": section(number, MOST) for number in (1, 2, 3, 4, 5, 6, 7, 9, 11, 13)},
    "size of a section": HEADER + b"\x01" + MOST,
    "size of a custom section": HEADER + b"\x00" + MOST + b"\x01x",
    "length of a name": section(2, b"\x01" + MOST + b"x"),
    "parameters of a function": section(1, b"\x01\x60" + MOST),
    "fields of a structure": section(1, b"\x01\x5f" + MOST),
    "types of a group": section(1, b"\x01\x4e" + MOST),
    "functions of a segment": section(9, b"\x01\x00\x41\x00\x0b" + MOST),
    "bytes of a segment": section(11, b"\x01\x01" + MOST),
    "bodies": section(10, MOST),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_length_is_believed(lie: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ParseError):
            parse_module(LIES[lie])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


DEEP = """
import sys, wizer
N = 50_000
H, C = b"\\0asm\\1\\0\\0\\0", b"\\0asm\\x0d\\0\\1\\0"
def leb(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + leb(n >> 7)
def section(number, contents):
    return bytes([number]) + leb(len(contents)) + contents
def module(types, body):
    export = b"\\1\\x10wizer-initialize\\0\\0"
    return (H + section(1, leb(1 + len(types)) + b"\\x60\\0\\0" + b"".join(types)) + section(3, b"\\1\\0")
        + section(7, export) + section(10, b"\\1" + leb(len(body)) + body))
nested = C
for _ in range(2000):
    nested = C + section(4, nested)
supertypes = [b"\\x50\\0\\x5f\\0", *(b"\\x50\\1" + leb(n) + b"\\x5f\\0" for n in range(1, 5000))]
inputs = {
    "blocks": module([], b"\\0" + b"\\2\\x40" * N + b"\\x0b" * N + b"\\x0b"),
    "operands": module([], b"\\0" + b"\\x41\\0" * N + b"\\x6a" * (N - 1) + b"\\x1a\\x0b"),
    "supertypes": module(supertypes, b"\\0\\x0b"),
    "components": nested,
    "lists": C + section(7, leb(N + 1) + b"\\x70\\x7d" + b"".join(b"\\x70" + leb(n) for n in range(N))),
    "types of components": C + section(7, b"\\1" + b"\\x41\\1\\1" * N),
    "types of instances": C + section(7, b"\\1" + b"\\x42\\1\\1" * N),
    "text": "(module (func " + "(block " * N + ")" * N + "))",
    "brackets": "(" * N,
    "comments": "(;" * N,
}
for name, wasm in inputs.items():
    try:
        wizer.wizen(wasm)
    except wizer.WizerError as error:
        assert str(error)
calls = ["f(" * N, "f(" + "[" * N + ")", "f(" + "{a:" * N + ")", "f(" + "some(" * N + ")",
    "f(" + "(" * N + ")", "f(" + "1" * N + ")", "f(0x" + "f" * N + ")", "f(1e" + "9" * N + ")",
    'f("' + "\\\\" * N + '")']
component = '''(component (core module $m (func (export "f") (param i32))) (core instance $i (instantiate $m))
  (func (export "f") (param "x" u32) (canon lift (core func $i "f"))))'''
for wat in ('(module (func (export "f") (param f64)))', component):
    with wizer.Session(wat) as session:
        for call in calls:
            try:
                session.call_text(call)
            except wizer.WizerError as error:
                assert str(error)
print("done")
"""


def test_nothing_recurses_on_how_deep_the_input_is() -> None:
    """The process would end of it; what is parsed, compiled, called as text and said in errors."""
    run = subprocess.run(
        [sys.executable, "-c", DEEP], capture_output=True, text=True, check=False, timeout=300
    )
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr


def test_names_do_not_steer_a_terminal(tmp_path: Path) -> None:
    wat = r"""(module (import "\1b[31mred" "\07\c2\9b\e2\80\ae" (func))
      (func (export "wizer-initialize") (call 0)))"""
    (tmp_path / "in.wat").write_text(wat)
    run = wizer(tmp_path / "in.wat", "-o", tmp_path / "out.wasm")
    assert run.returncode == 1
    assert rb"`\x1b[31mred::\x07\x9b\u202e`" in run.stderr
    assert b"\x1b" not in run.stderr


def test_names_that_standard_output_has_no_letters_for(tmp_path: Path) -> None:
    wat = """(module (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "wizer-initialize") {}))"""
    calls = "".join(f"(drop (call 0 (i32.const {at}) (i32.const 1)))" for at in range(0, 2048, 64))
    named = '(global $"\\u{1f600}\\1b[2J" (mut i32) (i32.const 0))'
    body = f"{calls} (global.set 0 (i32.load (i32.const 0)))"
    (tmp_path / "in.wat").write_text(wat.format(body).replace("(memory", f"{named} (memory"))
    run = wizer("audit", "--allow-wasi", tmp_path / "in.wat", env={"PYTHONIOENCODING": "ascii"})
    assert run.returncode == 3, run.stderr
    assert rb"\u2026" in run.stdout
    everything = wizer("audit", "--allow-wasi", tmp_path / "in.wat", "--json").stdout
    assert rb"\ud83d\ude00\u001b[2J" in everything
