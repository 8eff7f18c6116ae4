"""A guest that looks at everything WASI preview 1 shows it, and real command lines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

WASI = "wasi_snapshot_preview1"

OBSERVER = """
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get" (func $resolution (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $stat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (global $seed (export "seed") (mut i32) (i32.const 0))
  (global $error (mut i32) (i32.const 0))
  (data $message (i32.const 0) "file\\00link\\00new")
  (func $ok (param $errno i32) (if (local.get $errno) (then (unreachable))))
  (func (export "look_random") (call $ok (call $random (i32.const 0x100) (i32.const 8)))
    (global.set $seed (i32.load (i32.const 0x100))))
  (func (export "look_clock") (call $ok (call $time (i32.const 0) (i64.const 1) (i32.const 0x200))))
  (func (export "look_monotonic") (call $ok (call $time (i32.const 1) (i64.const 1) (i32.const 0x208))))
  (func (export "look_resolution") (call $ok (call $resolution (i32.const 0) (i32.const 0x210))))
  (func (export "cpu_clock") (result i32) (call $time (i32.const 2) (i64.const 1) (i32.const 0x200)))
  (func (export "far_random") (result i32) (call $random (i32.const 0x1fffc) (i32.const 8)))
  (func (export "sleep") (result i32)
    (i64.store (i32.const 0x300) (i64.const 77))
    (i32.store (i32.const 0x310) (i32.const 1))
    (i64.store (i32.const 0x318) (i64.const 3600000000000))
    (call $ok (call $poll (i32.const 0x300) (i32.const 0x400) (i32.const 1) (i32.const 0x500)))
    (i32.add (i32.load (i32.const 0x500)) (i32.load (i32.const 0x400))))
  (func (export "look_environ") (call $ok (call $sizes (i32.const 0x600) (i32.const 0x604)))
    (call $ok (call $environ (i32.const 0x700) (i32.const 0x800))))
  (func (export "look_directory") (param $length i32) (param $cookie i64)
    (call $ok (call $list (i32.const 3) (i32.const 0x1000) (local.get $length) (local.get $cookie)
                          (i32.const 0xff0))))
  (func (export "look_file") (call $ok (call $stat (i32.const 3) (i32.const 0x2000))))
  (func (export "open") (param $name i32) (param $length i32) (param $create i32) (result i32)
    (call $open (i32.const 3) (i32.const 1) (local.get $name) (local.get $length) (local.get $create)
                (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 0x3000)))
  (func (export "close") (param $fd i32) (call $ok (call $close (local.get $fd))))
  (func (export "exit") (call $exit (i32.const 9)))
  (func (export "forget") (memory.fill (i32.const 0x100) (i32.const 0) (i32.const 0x8000))
    (global.set $seed (i32.const 0)))
)
"""


def wizer(
    *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "wizer", *map(str, args)]
    everything = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RUST_BACKTRACE": "0", **(env or {})}
    return subprocess.run(
        command, capture_output=True, check=False, cwd=cwd, env=everything, stdin=subprocess.DEVNULL
    )
