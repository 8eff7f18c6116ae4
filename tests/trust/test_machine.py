"""A deterministic output depends on nothing of the machine: twenty runs with all of it changed at once."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import environment
from support.files import component
from support.tools import assembled

RUNS = 20

# Looks at all that WASI preview 1 shows, and keeps it.
EVERYTHING = """(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get" (func $resolution (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $filestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $path_filestat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_tell" (func $tell (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "first")
  (func $keep (param $at i32) (param $errno i32) (i32.store (local.get $at) (local.get $errno)))
  (func (export "wizer-initialize") (local $fd i32)
    (call $keep (i32.const 0x100) (call $args_sizes (i32.const 0x104) (i32.const 0x108)))
    (call $keep (i32.const 0x10c) (call $args (i32.const 0x200) (i32.const 0x300)))
    (call $keep (i32.const 0x110) (call $env_sizes (i32.const 0x114) (i32.const 0x118)))
    (call $keep (i32.const 0x11c) (call $env (i32.const 0x400) (i32.const 0x500)))
    (call $keep (i32.const 0x120) (call $random (i32.const 0x1000) (i32.const 100)))
    (call $keep (i32.const 0x124) (call $time (i32.const 0) (i64.const 1) (i32.const 0x1100)))
    (call $keep (i32.const 0x128) (call $time (i32.const 1) (i64.const 1) (i32.const 0x1108)))
    (call $keep (i32.const 0x12c) (call $time (i32.const 2) (i64.const 1) (i32.const 0x1110)))
    (call $keep (i32.const 0x130) (call $resolution (i32.const 0) (i32.const 0x1118)))
    (call $keep (i32.const 0x134) (call $resolution (i32.const 1) (i32.const 0x1120)))
    (loop $next
      (call $keep (i32.add (i32.const 0x140) (i32.shl (local.get $fd) (i32.const 2)))
        (call $fdstat (local.get $fd) (i32.add (i32.const 0x2000) (i32.shl (local.get $fd) (i32.const 5)))))
      (call $keep (i32.add (i32.const 0x160) (i32.shl (local.get $fd) (i32.const 2)))
        (call $filestat (local.get $fd) (i32.add (i32.const 0x3000) (i32.shl (local.get $fd) (i32.const 7)))))
      (br_if $next (i32.lt_u (local.tee $fd (i32.add (local.get $fd) (i32.const 1))) (i32.const 5))))
    (call $keep (i32.const 0x180) (call $prestat (i32.const 3) (i32.const 0x184)))
    (call $keep (i32.const 0x18c) (call $name (i32.const 3) (i32.const 0x1200) (i32.const 2)))
    (call $keep (i32.const 0x190) (call $list (i32.const 3) (i32.const 0x4000) (i32.const 4096) (i64.const 0)
      (i32.const 0x194)))
    (call $keep (i32.const 0x198) (call $path_filestat (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5)
      (i32.const 0x6000)))
    (call $keep (i32.const 0x19c) (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5)
      (i32.const 0) (i64.const 0x20006a) (i64.const 0) (i32.const 0) (i32.const 0x1a0)))
    (call $keep (i32.const 0x1a4) (call $fdstat (i32.load (i32.const 0x1a0)) (i32.const 0x6100)))
    (call $keep (i32.const 0x1a8) (call $filestat (i32.load (i32.const 0x1a0)) (i32.const 0x6200)))
    (i32.store (i32.const 0x1b0) (i32.const 0x7000)) (i32.store (i32.const 0x1b4) (i32.const 64))
    (call $keep (i32.const 0x1ac)
      (call $read (i32.load (i32.const 0x1a0)) (i32.const 0x1b0) (i32.const 1) (i32.const 0x1b8)))
    (call $keep (i32.const 0x1bc) (call $tell (i32.load (i32.const 0x1a0)) (i32.const 0x1c0)))
    (i32.store (i32.const 0x1b0) (i32.const 0x7100))
    (call $keep (i32.const 0x1c8)
      (call $read (i32.const 0) (i32.const 0x1b0) (i32.const 1) (i32.const 0x1cc)))
    (i32.store8 (i32.const 0x8008) (i32.const 1)) (i32.store (i32.const 0x8010) (i32.const 0))
    (call $keep (i32.const 0x1d0)
      (call $poll (i32.const 0x8000) (i32.const 0x8100) (i32.const 1) (i32.const 0x1d4)))))"""

NAMES = ("first", "second", "third", "a", "b", "zz", "folder")


def machine(folder: Path, wasm: bytes, rng: random.Random) -> tuple[Path, Path]:
    """Put a module and a directory somewhere, in some order, at some time; return where."""
    place = folder / "".join(rng.choices("abcdefgh ü", k=rng.randrange(1, 20))).strip() / str(rng.random())
    files = place / rng.choice(("data", "d", "some files"))
    files.mkdir(parents=True)
    for name in rng.sample(NAMES, len(NAMES)):
        for _ in range(rng.randrange(3)):  # others, whose inodes are taken and given back
            (files / f"{rng.random()}").touch()
        if name == "folder":
            (files / name).mkdir()
        else:
            (files / name).write_text(f"contents of {name}")
    for other in files.glob("0.*"):
        other.unlink()
    for path in (*files.iterdir(), files):
        os.utime(path, (rng.randrange(1 << 30), rng.randrange(1 << 30)))
    module = place / (rng.choice(("in.wasm", "tmpXYZ12.wasm", "x", "ä b.wasm")))
    module.write_bytes(wasm)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return module, files


def run(module: Path, files: Path, rng: random.Random, *options: str) -> bytes:
    """Initialise in a process of which everything is another one."""
    user = 65534 if hasattr(os, "getuid") and os.getuid() == 0 and rng.random() < 0.5 else None
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

    def change() -> None:
        if processors:
            os.sched_setaffinity(0, rng.sample(processors, rng.randint(1, len(processors))))
        os.umask(rng.choice((0o22, 0o77)))

    cache = rng.choice(((), ("-C", "cache=n")))
    out = "-"
    given = rng.choice((str(module), os.path.relpath(module, module.parent)))
    command = [sys.executable, "-m", "wizer", "--allow-wasi", "--deterministic", "--dir", f"{files}::/d"]
    command += [*cache, *options, given, "-o", out]
    changes = {
        "TZ": rng.choice(("UTC", "Asia/Tokyo", "America/New_York", "")),
        "LANG": rng.choice(("C", "de_DE.UTF-8", "tr_TR.UTF-8")),
        "LC_ALL": rng.choice(("C", "C.UTF-8")),
        "USER": rng.choice(("root", "builder", "")),
        "HOME": str(module.parent),
        "XDG_CACHE_HOME": str(module.parent / f"cache{rng.random()}"),
        "PYTHONHASHSEED": str(rng.randrange(1 << 32)),
        f"VARIABLE{rng.random()}": "x" * rng.randrange(100),
    }
    found = subprocess.run(
        command,
        input=b"the same input",
        capture_output=True,
        cwd=module.parent,
        env=environment(changes),
        preexec_fn=change if os.name == "posix" else None,
        user=user if user is not None and _readable_by_all() else None,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr.decode()
    return found.stdout


def _readable_by_all() -> bool:
    """Whether another user can start this interpreter and import this project."""
    return all(
        parent.stat().st_mode & 0o005 == 0o005
        for path in (Path(sys.executable).resolve(), Path(__file__).resolve())
        for parent in path.parents
    )


@pytest.mark.parametrize("kind", ["module", "component"])
def test_twenty_runs_under_all_at_once(kind: str, tmp_path: Path) -> None:
    if kind == "module":
        wasm, options = assembled(EVERYTHING), ["--env", "MODE=release"]
    else:
        functions = ("list", "stat", "hash", "clock", "read", "terminal", "environment")
        wasm = assembled(component())
        options = [word for name in functions for word in ("-f", name)]
        options += ["--env", "MODE=release", "--open-handles", "drop"]
    made: dict[str, int] = {}
    rng = random.Random(f"machine {kind}")
    for number in range(RUNS):
        folder = tmp_path / str(number)
        module, files = machine(folder, wasm, rng)
        if kind == "component":
            (files / "file").write_text("contents")
        output = run(module, files, rng, *options)
        made.setdefault(hashlib.sha256(output).hexdigest(), number)
    assert len(made) == 1, made


def test_a_deterministic_guest_has_the_same_name(tmp_path: Path) -> None:
    wat = """(module
      (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "wizer-initialize") (drop (call $args (i32.const 0) (i32.const 64)))))"""
    outputs = set()
    for name in ("a.wat", "tmpXYZ12.wat"):
        (tmp_path / name).write_text(wat)
        made = subprocess.run(
            [sys.executable, "-m", "wizer", "--allow-wasi", "--deterministic", name, "-o", "-"],
            capture_output=True,
            cwd=tmp_path,
            env=environment({}),
            check=True,
        ).stdout
        outputs.add(made)
        assert b"main.wasm" in made
    assert len(outputs) == 1
