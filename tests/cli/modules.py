"""Modules for the command line's tests, in the text format."""

from __future__ import annotations

COUNTER = """
(module
  (memory (export "memory") 1)
  (global $n (mut i32) (i32.const 0))
  (func (export "wizer-initialize") (call $set (i32.const 42)))
  (func $set (export "set") (param i32) (global.set $n (local.get 0)))
  (func (export "add") (param i32 i32) (result i32)
    (global.set $n (i32.add (global.get $n) (i32.add (local.get 0) (local.get 1))))
    (global.get $n))
  (func (export "double") (global.set $n (i32.mul (global.get $n) (i32.const 2))))
  (func (export "mixed") (param i64 f32 f64) (result i64 f32 f64)
    (local.get 0) (local.get 1) (local.get 2))
  (func (export "get") (result i32) (global.get $n)))
"""

TRAPS = """
(module (memory (export "memory") 1)
  (func $init (export "wizer-initialize") (call $inner))
  (func $inner unreachable))
"""

START_TRAPS = '(module (func (export "wizer-initialize")) (func $start unreachable) (start $start))'

REACTOR_TRAPS = '(module (func (export "wizer-initialize")) (func (export "_initialize") unreachable))'

NO_INIT = '(module (memory (export "memory") 1))'

NOT_A_FUNCTION = '(module (memory (export "wizer-initialize") 1))'

TAKES_ARGUMENTS = '(module (func (export "wizer-initialize") (param i32)))'

CALLS_IMPORT = '(module (import "env" "f" (func $f)) (func (export "wizer-initialize") (call $f)))'

EXITS = """
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize") (call $exit (i32.const 3))))
"""

LOOPS = '(module (func (export "wizer-initialize") (loop (br 0))))'

RECURSES = '(module (func $f (export "wizer-initialize") (call $f)))'

SLEEPS = """
(module ;; waits an hour inside one call into the host
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 24) "\\00\\a0\\b8\\30\\46\\03\\00\\00")
  (func (export "wizer-initialize")
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))
"""

PRINTS = """
(module ;; writes "hello\\n" to the file descriptor 1
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\08\\00\\00\\00\\06\\00\\00\\00hello\\n")
  (func (export "wizer-initialize")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))
"""

ENVIRONMENT = """
(module ;; keeps the environment at 1024, and how many variables and bytes there are at 0 and 4
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize")
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 8) (i32.const 1024)))))
"""

ARGUMENTS = ENVIRONMENT.replace("environ", "args")

PREOPENS = """
(module ;; keeps the names of the directories that are open, 32 bytes each, from 1024 on
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $stat (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize") (local $fd i32) (local $to i32)
    (local.set $fd (i32.const 3))
    (local.set $to (i32.const 1024))
    (loop $next
      (if (i32.eqz (call $stat (local.get $fd) (i32.const 0)))
        (then
          (drop (call $name (local.get $fd) (local.get $to) (i32.load (i32.const 4))))
          (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
          (local.set $to (i32.add (local.get $to) (i32.const 32)))
          (br $next))))
    (i64.store (i32.const 0) (i64.const 0))))
"""
