"""Programs that keep something of one source, and programs that look at it and keep nothing.

Each program of the first kind is told to depend on its source, by name; one of the second kind is told to
keep nothing, although it asked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import wizer
from support.command import environment
from support.tools import assembled
from wizer import Audit, Wasi, audit
from wizer.trust.audit import encoded
from wizer.trust.worlds import RUNS

_W = "wasi_snapshot_preview1"
_IMPORTS = {
    "random": f'(import "{_W}" "random_get" (func $random (param i32 i32) (result i32)))',
    "time": f'(import "{_W}" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))',
    "resolution": f'(import "{_W}" "clock_res_get" (func $resolution (param i32 i32) (result i32)))',
    "env_sizes": f'(import "{_W}" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))',
    "env": f'(import "{_W}" "environ_get" (func $env (param i32 i32) (result i32)))',
    "args_sizes": f'(import "{_W}" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))',
    "args": f'(import "{_W}" "args_get" (func $args (param i32 i32) (result i32)))',
    "open": f'(import "{_W}" "path_open"'
    " (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))",
    "read": f'(import "{_W}" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))',
    "list": f'(import "{_W}" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))',
    "link": f'(import "{_W}" "path_readlink" (func $link (param i32 i32 i32 i32 i32 i32) (result i32)))',
    "fdstat": f'(import "{_W}" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))',
    "host": '(import "host" "number" (func $host (result i32)))',
}
_READ_FILE = """(drop (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 4) (i32.const 0)
    (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 32)))
  (i32.store (i32.const 40) (i32.const 0x100)) (i32.store (i32.const 44) (i32.const 256))
  (drop (call $read (i32.load (i32.const 32)) (i32.const 40) (i32.const 1) (i32.const 48)))"""
_READ_STDIN = """(i32.store (i32.const 40) (i32.const 0x100)) (i32.store (i32.const 44) (i32.const 256))
  (drop (call $read (i32.const 0) (i32.const 40) (i32.const 1) (i32.const 48)))"""
_ENV = """(drop (call $env_sizes (i32.const 32) (i32.const 36)))
  (drop (call $env (i32.const 64) (i32.const 0x100)))"""
_ARGS = """(drop (call $args_sizes (i32.const 32) (i32.const 36)))
  (drop (call $args (i32.const 64) (i32.const 0x100)))"""

# By name: the source, how it is asked, and what is kept of it, given that all else is cleared.
_BYTE = "(i32.load8_u (i32.const 0x{:x}))"
_LOOKS: Mapping[str, tuple[str, tuple[str, ...], str, str]] = {
    "resolution of a clock": (
        "clock",
        ("resolution",),
        "(drop (call $resolution (i32.const 1) (i32.const 0x100)))",
        "(i32.and (i32.load (i32.const 0x100)) (i32.const 1))",
    ),
    **{
        f"random bit {bit}": (
            "random",
            ("random",),
            "(drop (call $random (i32.const 0x100) (i32.const 1)))",
            f"(i32.and (i32.shr_u {_BYTE.format(0x100)} (i32.const {bit})) (i32.const 1))",
        )
        for bit in range(8)
    },
    "parity of random bits": (
        "random",
        ("random",),
        "(drop (call $random (i32.const 0x100) (i32.const 8)))",
        "(i32.and (i32.wrap_i64 (i64.popcnt (i64.load (i32.const 0x100)))) (i32.const 1))",
    ),
    "two random bits of the same value": (
        "random",
        ("random",),
        "(drop (call $random (i32.const 0x100) (i32.const 1)))",
        f"(i32.eq (i32.and {_BYTE.format(0x100)} (i32.const 1))"
        f" (i32.shr_u {_BYTE.format(0x100)} (i32.const 7)))",
    ),
    "the parity of the day": (
        "clock",
        ("time",),
        "(drop (call $time (i32.const 0) (i64.const 1) (i32.const 0x100)))",
        "(i32.wrap_i64 (i64.and (i64.div_u (i64.load (i32.const 0x100)) (i64.const 86400000000000))"
        " (i64.const 1)))",
    ),
    "time passed": (
        "clock",
        ("time",),
        "(drop (call $time (i32.const 1) (i64.const 1) (i32.const 0x100)))"
        "(drop (call $time (i32.const 1) (i64.const 1) (i32.const 0x108)))",
        "(i32.wrap_i64 (i64.sub (i64.load (i32.const 0x108)) (i64.load (i32.const 0x100))))",
    ),
    "the number of variables": ("env", ("env_sizes", "env"), _ENV, "(i32.load (i32.const 32))"),
    "the size of variables": ("env", ("env_sizes", "env"), _ENV, "(i32.load (i32.const 36))"),
    "a bit of a variable": (
        "env",
        ("env_sizes", "env"),
        _ENV,
        f"(i32.and {_BYTE.format(0x105)} (i32.const 1))",
    ),
    "the number of arguments": ("args", ("args_sizes", "args"), _ARGS, "(i32.load (i32.const 32))"),
    "a bit of an argument": (
        "args",
        ("args_sizes", "args"),
        _ARGS,
        f"(i32.and {_BYTE.format(0x101)} (i32.const 1))",
    ),
    "a bit of a file": (
        "files",
        ("open", "read"),
        _READ_FILE,
        f"(i32.and {_BYTE.format(0x103)} (i32.const 1))",
    ),
    "a number in a file": (
        "files",
        ("open", "read"),
        _READ_FILE,
        f"(i32.rem_u (i32.sub {_BYTE.format(0x105)} (i32.const 48)) (i32.const 3))",
    ),
    "a bit of a link": (
        "files",
        ("link",),
        "(drop (call $link (i32.const 3) (i32.const 20) (i32.const 4) (i32.const 0x100) (i32.const 64)"
        " (i32.const 48)))",
        f"(i32.and {_BYTE.format(0x101)} (i32.const 1))",
    ),
    "the first name in a directory": (
        "files",
        ("list",),
        "(drop (call $list (i32.const 3) (i32.const 0x100) (i32.const 4096) (i64.const 2) (i32.const 48)))",
        _BYTE.format(0x118),
    ),
    "a bit of standard input": (
        "stdin",
        ("read",),
        _READ_STDIN,
        f"(i32.and {_BYTE.format(0x102)} (i32.const 1))",
    ),
    "a terminal": (
        "terminal",
        ("fdstat",),
        "(drop (call $fdstat (i32.const 1) (i32.const 0x100)))",
        f"(i32.eq {_BYTE.format(0x100)} (i32.const 2))",
    ),
    "a host function": (
        "other",
        ("host",),
        "(i32.store (i32.const 0x100) (call $host))",
        f"(i32.and {_BYTE.format(0x100)} (i32.const 1))",
    ),
}

_LINK = (
    "(drop (call $link (i32.const 3) (i32.const 20) (i32.const 4) (i32.const 0x100) (i32.const 64)"
    " (i32.const 48)))"
)
_PARITY = "(i32.and (i32.wrap_i64 (i64.popcnt (i64.load (i32.const 0x{:x})))) (i32.const 1))"
_THIRD = "(i32.rem_u (i32.load (i32.const 0x{:x})) (i32.const 3))"
_RANDOM = "(drop (call $random (i32.const 0x100) (i32.const 8)))"
_TIME = "(drop (call $time (i32.const 0) (i64.const 1) (i32.const 0x100)))"
_LOOKS = {
    **_LOOKS,
    "a third of random numbers": ("random", ("random",), _RANDOM, _THIRD.format(0x100)),
    "a third of all moments": ("clock", ("time",), _TIME, _THIRD.format(0x100)),
    "the parity of a variable": ("env", ("env_sizes", "env"), _ENV, _PARITY.format(0x105)),
    "a third of a variable's values": ("env", ("env_sizes", "env"), _ENV, _THIRD.format(0x105)),
    "a third of another variable's": ("env", ("env_sizes", "env"), _ENV, _THIRD.format(0x114)),
    "the parity of an argument": ("args", ("args_sizes", "args"), _ARGS, _PARITY.format(0x108)),
    "a third of an argument's values": ("args", ("args_sizes", "args"), _ARGS, _THIRD.format(0x108)),
    "a bit of another argument": (
        "args",
        ("args_sizes", "args"),
        _ARGS,
        f"(i32.and {_BYTE.format(0x10A)} (i32.const 2))",
    ),
    "the parity of a file": ("files", ("open", "read"), _READ_FILE, _PARITY.format(0x108)),
    "a third of a file's contents": ("files", ("open", "read"), _READ_FILE, _THIRD.format(0x100)),
    "the parity of a link": ("files", ("link",), _LINK, _PARITY.format(0x100)),
    "the parity of standard input": ("stdin", ("read",), _READ_STDIN, _PARITY.format(0x100)),
    "a third of standard input": ("stdin", ("read",), _READ_STDIN, _THIRD.format(0x104)),
    "the second line of standard input": (
        "stdin",
        ("read",),
        _READ_STDIN,
        f"(i32.and {_BYTE.format(0x110)} (i32.const 4))",
    ),
    "a third of what a host function returns": (
        "other",
        ("host",),
        "(i32.store (i32.const 0x100) (call $host))",
        _THIRD.format(0x100),
    ),
}


def program(look: str, *, keep: bool) -> bytes:
    """A program that looks, keeps something or nothing in a global, and clears its memory."""
    _, imports, asks, kept = _LOOKS[look]
    declared = " ".join(_IMPORTS[name] for name in imports)
    keeps = f"(global.set $kept {kept})" if keep else f"(drop {kept})"
    return assembled(
        f"""(module {declared} (memory (export "memory") 1)
        (global $kept (export "kept") (mut i32) (i32.const 0))
        (data (i32.const 16) "filelink")
        (func (export "wizer-initialize") {asks} {keeps}
          (memory.fill (i32.const 32) (i32.const 0) (i32.const 0xffe0))))"""
    )


@pytest.fixture(name="world")
def made_world(tmp_path: Path) -> dict[str, Any]:
    """What the programs may see of the host; `host.number` is for those that import it."""
    (tmp_path / "file").write_text("mode 7 token = hunter2-secret\n")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "aaa").touch()
    counter = iter(range(10_000))
    wasi = Wasi(
        mapdirs={"/d": tmp_path},
        env={"MODE": "release-7", "HOST": "builder"},
        args=("program", "argument"),
        stdin=b"the first line\nthe second\n",
    )
    return {"wasi": wasi, "imports": {"host": {"number": lambda: hash(str(next(counter))) & 0xFF}}}


def look_around(look: str, world: dict[str, Any], *, keep: bool) -> Audit:
    """Audit a program, which is given what it imports."""
    imports = world["imports"] if "host" in _LOOKS[look][1] else None
    return audit(program(look, keep=keep), imports, wasi=world["wasi"])


@pytest.mark.parametrize("look", _LOOKS)
def test_what_is_kept_is_told(look: str, world: dict[str, Any]) -> None:
    found = look_around(look, world, keep=True)
    assert found.frozen() == (_LOOKS[look][0],), found
    assert {f.difference.place for f in found.findings} <= {'global 0 ("kept")'}


@pytest.mark.parametrize("look", _LOOKS)
def test_what_is_only_looked_at_is_not(look: str, world: dict[str, Any]) -> None:
    found = look_around(look, world, keep=False)
    assert found.frozen() == (), found
    source = _LOOKS[look][0]
    assert source == "other" or source in found.asked
    if look == "a bit of a file":
        assert [name.partition(" ")[0] for name in found.read] == ["/d/file"]


def test_there_are_forty_of_each() -> None:
    assert len(_LOOKS) == 40


def test_a_bit_is_missed_less_than_once_in_a_million_audits() -> None:
    """One change is the opposite of every bit; the others are independent of it and of each other."""
    assert 0.5 ** (RUNS - 1) < 1e-6


STACK = """(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $__stack_pointer (mut i32) (i32.const 4096))
  (data (i32.const 4096) "data")
  (func (export "wizer-initialize")
    (drop (call $random (i32.const {at}) (i32.const 8)))))"""


@pytest.mark.parametrize(("at", "dead"), [(2048, True), (4088, True), (4092, False), (4200, False)])
def test_what_is_dead_in_the_stack_is_told_apart(at: int, dead: bool) -> None:
    found = audit(assembled(STACK.format(at=at)), wasi=Wasi())
    assert {finding.dead for finding in found.findings} == {dead}
    assert found.frozen() == (() if dead else ("random",))


def test_contents_count_even_where_they_are_dead(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mode 7 token = hunter2-secret\n")
    wat = f"""(module {_IMPORTS["open"]} {_IMPORTS["read"]} (memory (export "memory") 2)
      (global $__stack_pointer (mut i32) (i32.const 4096)) (data (i32.const 4096) "data")
      (data (i32.const 4112) "file")
      (func (export "wizer-initialize") {_READ_FILE.replace("(i32.const 16)", "(i32.const 4112)")}))"""
    found = audit(assembled(wat), wasi=Wasi(mapdirs={"/d": tmp_path}))
    assert all(finding.dead for finding in found.findings if finding.size > 8)
    assert found.frozen() == ("files",)


def test_contents_are_named_with_both_paths(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mode 7 token = hunter2-secret\n")
    wat = f"""(module {_IMPORTS["open"]} {_IMPORTS["read"]} (memory (export "memory") 1)
      (data (i32.const 16) "file") (func (export "wizer-initialize") {_READ_FILE}))"""
    found = audit(assembled(wat), wasi=Wasi(mapdirs={"/conf": tmp_path}))
    contents = [f for f in found.findings if (f.difference.span or (0, 0))[0] >= 0x100]
    assert {f.origin for f in contents} == {f"/conf/file (host: {tmp_path / 'file'})"}
    assert found.read == ()


def test_a_file_that_only_one_text_goes_with_is_searched_for(tmp_path: Path) -> None:
    """Initialisation fails wherever its file is changed."""
    (tmp_path / "file").write_text("mode 7 token = hunter2-secret\n")
    wat = f"""(module {_IMPORTS["open"]} {_IMPORTS["read"]} (memory (export "memory") 1)
      (data (i32.const 16) "file")
      (func (export "wizer-initialize") {_READ_FILE}
        (if (i32.ne (i32.load (i32.const 0x100)) (i32.const 0x65646f6d)) (then (unreachable)))))"""
    found = audit(assembled(wat), wasi=Wasi(mapdirs={"/d": tmp_path}))
    assert found.frozen() == ("files",)
    assert "unreachable" in found.failures["files"]
    assert any(f.difference.span == (0x100, 0x11D) for f in found.findings)


def test_encodings() -> None:
    assert "пароль".encode("utf-16-le") in encoded("пароль".encode())
    assert "Straße".encode("latin-1") in encoded("Straße".encode())
    assert encoded(b"\xff\x00") == [b"\xff\x00"]


COPIES = """(module
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize") (local $i i32)
    (drop (call $env (i32.const 64) (i32.const 0x100)))
    (loop $next ;; as UTF-16
      (i32.store16 (i32.add (i32.const 0x1000) (i32.shl (local.get $i) (i32.const 1)))
        (i32.load8_u (i32.add (i32.const 0x109) (local.get $i))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 17))))
    (memory.fill (i32.const 64) (i32.const 0) (i32.const 0x400))))"""


def test_variables_in_another_encoding() -> None:
    found = audit(assembled(COPIES), wasi=Wasi(env={"PASSWORD": "hunter2-is-secret"}))
    assert found.variables == ("PASSWORD",)
    assert {f.origin for f in found.findings} == {"PASSWORD"}
    assert found.frozen() == ("env",)


def test_variables_that_are_not_ascii() -> None:
    wat = """(module
      (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "wizer-initialize") (drop (call $env (i32.const 64) (i32.const 0x100)))))"""
    found = audit(assembled(wat), wasi=Wasi(env={"PASSWORD": "пароль"}))
    assert found.frozen() == ("env",)
    assert found.variables == ("PASSWORD",)


def test_every_run_sees_the_same_standard_input(tmp_path: Path) -> None:
    """Audit, verify and --verify run initialisation more than once; the input is there for all of them."""
    wat = f"""(module {_IMPORTS["read"]} (memory (export "memory") 1)
      (func (export "wizer-initialize") {_READ_STDIN}))"""
    (tmp_path / "in.wasm").write_bytes(assembled(wat))

    def command(*args: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "wizer", *args],
            input=b"stdin-secret\n",
            capture_output=True,
            cwd=tmp_path,
            env=environment({}),
            check=False,
        )

    run = command("audit", "--allow-wasi", "--json", "in.wasm")
    document = json.loads(run.stdout)
    assert (run.returncode, document["frozen"]) == (3, ["stdin"])
    assert any(finding["origin"] == "standard input" for finding in document["findings"])
    made = command("--allow-wasi", "--verify", "--warn-frozen", "in.wasm", "-o", "out.wasm")
    assert made.returncode == 0, made.stderr
    assert b"standard input" in made.stderr
    assert b"stdin-secret" in (tmp_path / "out.wasm").read_bytes()
    assert command("verify", "--allow-wasi", "in.wasm", "out.wasm").returncode == 0
    with wizer.Session(tmp_path / "in.wasm", wasi=Wasi(stdin=b"another one\n")) as session:
        session.call("wizer-initialize")
        (tmp_path / "other.wasm").write_bytes(session.snapshot(remove=["wizer-initialize"]))
    assert command("verify", "--allow-wasi", "in.wasm", "other.wasm").returncode == 3
