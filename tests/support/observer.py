"""Guests that look at everything WASI shows them."""

from __future__ import annotations

WASI = "wasi_snapshot_preview1"

# Through WASI preview 1.
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

# Through WASI 0.2: chance and time.
COMPONENT = """
(component
  (import "wasi:random/random@0.2.3" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:random/insecure-seed@0.2.0" (instance $seed
    (export "insecure-seed" (func (result (tuple u64 u64))))))
  (import "wasi:clocks/wall-clock@0.2.6" (instance $wall
    (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $record)))
    (export "now" (func (result $datetime)))))
  (import "wasi:io/poll@0.2.3" (instance $poll (export "pollable" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $pollable (eq $outer)))
    (export "now" (func (result u64)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $bytes (canon lower (func $random "get-random-bytes")
    (memory $memory) (realloc (core func $realloc))))
  (core func $number (canon lower (func $random "get-random-u64")))
  (core func $pair (canon lower (func $seed "insecure-seed") (memory $memory)))
  (core func $date (canon lower (func $wall "now") (memory $memory)))
  (core func $now (canon lower (func $clock "now")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core module $main
    (import "" "memory" (memory 1))
    (import "" "bytes" (func $bytes (param i64 i32)))
    (import "" "number" (func $number (result i64)))
    (import "" "pair" (func $pair (param i32)))
    (import "" "date" (func $date (param i32)))
    (import "" "now" (func $now (result i64)))
    (import "" "subscribe" (func $subscribe (param i64) (result i32)))
    (func (export "initialize")
      (call $bytes (i64.const 5) (i32.const 0))
      (i64.store (i32.const 16) (call $number))
      (call $pair (i32.const 32))
      (call $date (i32.const 48))
      (i64.store (i32.const 64) (call $now)))
    (func (export "wait") (result i32) (call $subscribe (i64.const 1)))
    (func (export "load") (param i32) (result i64) (i64.load (local.get 0))))
  (core instance $main (instantiate $main (with "" (instance
    (export "memory" (memory $memory)) (export "bytes" (func $bytes)) (export "number" (func $number))
    (export "pair" (func $pair)) (export "date" (func $date)) (export "now" (func $now))
    (export "subscribe" (func $subscribe))))))
  (func (export "wizer-initialize") (canon lift (core func $main "initialize")))
  (func (export "wait") (result u32) (canon lift (core func $main "wait")))
  (func (export "load") (param "at" u32) (result u64) (canon lift (core func $main "load")))
)
"""
