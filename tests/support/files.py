"""A component that looks at files and waits, through WASI 0.2."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

NAMES = ("zebra", "file", "a", "Z")

# https://github.com/WebAssembly/WASI/blob/main/proposals/filesystem/wit/types.wit
_ERRORS = """access would-block already bad-descriptor busy deadlock quota exist file-too-large
illegal-byte-sequence in-progress interrupted invalid io is-directory loop too-many-links message-size
name-too-long no-device no-entry no-lock insufficient-memory insufficient-space not-directory not-empty
not-recoverable unsupported no-tty no-such-device overflow not-permitted pipe read-only invalid-seek
text-file-busy cross-device"""
_ENUM = " ".join(f'"{name}"' for name in _ERRORS.split())

# Each function leaves what it got where it can be seen: `list` the names of the entries one after the other
# from 0x4000 on, `stat` at 0x100, `hash` at 0x200, `clock` at 0x300, `read` the length at 0x400, `terminal`
# at 0x500, `environment` at 0x600.
_FILES = f"""
(component
  (import "wasi:cli/environment@0.2.3" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))))
  (import "wasi:io/error@0.2.3" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-r))
  (import "wasi:io/poll@0.2.3" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.ready" (func (param "self" (borrow $p)) (result bool)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))
    (export "poll" (func (param "in" (list (borrow $p))) (result (list u32))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.3" (instance $streams
    (alias outer 1 $error-r (type $e)) (export "error" (type $e1 (eq $e)))
    (alias outer 1 $pollable (type $p)) (export "pollable" (type $p1 (eq $p)))
    (export "input-stream" (type $i (sub resource)))
    (type $failure (variant (case "last-operation-failed" (own $e1)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]input-stream.read" (func (param "self" (borrow $i)) (param "len" u64)
      (result (result (list u8) (error $stream-error)))))
    (export "[method]input-stream.subscribe" (func (param "self" (borrow $i)) (result (own $p1))))))
  (alias export $streams "input-stream" (type $input-stream))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock
    (alias outer 1 $pollable (type $p)) (export "pollable" (type $p1 (eq $p)))
    (export "now" (func (result u64)))
    (export "subscribe-instant" (func (param "when" u64) (result (own $p1))))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p1))))))
  (import "wasi:clocks/wall-clock@0.2.3" (instance $wall
    (type $d (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $d)))))
  (alias export $wall "datetime" (type $datetime))
  (import "wasi:cli/terminal-output@0.2.3" (instance $terminal
    (export "terminal-output" (type (sub resource)))))
  (alias export $terminal "terminal-output" (type $terminal-output))
  (import "wasi:cli/terminal-stdout@0.2.3" (instance $terminal-stdout
    (alias outer 1 $terminal-output (type $t)) (export "terminal-output" (type $t1 (eq $t)))
    (export "get-terminal-stdout" (func (result (option (own $t1)))))))
  (import "wasi:filesystem/types@0.2.3" (instance $types
    (alias outer 1 $input-stream (type $i)) (export "input-stream" (type $i1 (eq $i)))
    (alias outer 1 $datetime (type $dt)) (export "datetime" (type $datetime (eq $dt)))
    (export "descriptor" (type $d (sub resource)))
    (export "directory-entry-stream" (type $s (sub resource)))
    (type $code (enum {_ENUM})) (export "error-code" (type $error-code (eq $code)))
    (type $kind (enum "unknown" "block-device" "character-device" "directory" "fifo" "symbolic-link"
      "regular-file" "socket")) (export "descriptor-type" (type $type (eq $kind)))
    (type $entry-of (record (field "type" $type) (field "name" string)))
    (export "directory-entry" (type $entry (eq $entry-of)))
    (type $stat-of (record (field "type" $type) (field "link-count" u64) (field "size" u64)
      (field "data-access-timestamp" (option $datetime))
      (field "data-modification-timestamp" (option $datetime))
      (field "status-change-timestamp" (option $datetime))))
    (export "descriptor-stat" (type $stat (eq $stat-of)))
    (type $hash-of (record (field "lower" u64) (field "upper" u64)))
    (export "metadata-hash-value" (type $hash (eq $hash-of)))
    (type $path-flags-of (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $path-flags-of)))
    (type $open-flags-of (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $open-flags-of)))
    (type $flags-of (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
      "mutate-directory")) (export "descriptor-flags" (type $flags (eq $flags-of)))
    (export "[method]descriptor.read-directory" (func (param "self" (borrow $d))
      (result (result (own $s) (error $error-code)))))
    (export "[method]directory-entry-stream.read-directory-entry" (func (param "self" (borrow $s))
      (result (result (option $entry) (error $error-code)))))
    (export "[method]descriptor.stat" (func (param "self" (borrow $d))
      (result (result $stat (error $error-code)))))
    (export "[method]descriptor.metadata-hash" (func (param "self" (borrow $d))
      (result (result $hash (error $error-code)))))
    (export "[method]descriptor.read-via-stream" (func (param "self" (borrow $d)) (param "offset" u64)
      (result (result (own $i1) (error $error-code)))))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $d)) (param "path-flags" $path-flags)
      (param "path" string) (param "open-flags" $open-flags) (param "flags" $flags)
      (result (result (own $d) (error $error-code)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.3" (instance $preopens
    (alias outer 1 $descriptor (type $d)) (export "descriptor" (type $d1 (eq $d)))
    (export "get-directories" (func (result (list (tuple (own $d1) string)))))))

  (core module $libc
    (memory (export "memory") 2)
    (global $at (mut i32) (i32.const 0x4000))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $at (i32.and (i32.add (global.get $at) (i32.const 7)) (i32.const -8)))
      (global.get $at) (global.set $at (i32.add (global.get $at) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  {{lowered}}
  (core module $main
    (import "" "memory" (memory 2))
    {{imports}}
    (data (i32.const 0x10) "file")
    (global $directory (mut i32) (i32.const -1))
    (global $file (mut i32) (i32.const -1))
    (func $ok (param $at i32) (result i32) (if (i32.load8_u (local.get $at)) (then (unreachable)))
      (i32.load (i32.add (local.get $at) (i32.const 4))))
    (func $open-directory (result i32)
      (if (i32.eq (global.get $directory) (i32.const -1)) (then
        (call $get-directories (i32.const 0x20))
        (global.set $directory (i32.load (i32.load (i32.const 0x20))))))
      (global.get $directory))
    (func (export "list") (local $stream i32)
      (call $read-directory (call $open-directory) (i32.const 0x30))
      (local.set $stream (call $ok (i32.const 0x30)))
      (loop $next
        (call $read-directory-entry (local.get $stream) (i32.const 0x40))
        (br_if $next (i32.and (call $ok (i32.const 0x40)) (i32.const 1))))
      (call $drop-listing (local.get $stream)))
    (func (export "stat") (call $stat (call $open-directory) (i32.const 0x100)))
    (func (export "hash") (call $metadata-hash (call $open-directory) (i32.const 0x200)))
    (func (export "clock") (i64.store (i32.const 0x300) (call $now)))
    (func $open
      (call $open-at (call $open-directory) (i32.const 1) (i32.const 0x10) (i32.const 4) (i32.const 0)
                     (i32.const 1) (i32.const 0x50))
      (global.set $file (call $ok (i32.const 0x50))))
    (export "open" (func $open))
    (func (export "close") (call $drop-descriptor (global.get $file)))
    (func (export "read") (local $stream i32)
      (call $open)
      (call $read-via-stream (global.get $file) (i64.const 0) (i32.const 0x60))
      (local.set $stream (call $ok (i32.const 0x60)))
      (call $read (local.get $stream) (i64.const 100) (i32.const 0x70))
      (drop (call $ok (i32.const 0x70)))
      (i32.store (i32.const 0x400) (i32.load (i32.const 0x78)))
      (call $drop-stream (local.get $stream)))
    (func (export "sleep") (result i32) (local $hour i32) (local $day i32)
      (local.set $hour (call $subscribe-duration (i64.const 3_600_000_000_000)))
      (local.set $day (call $subscribe-instant (i64.const 86_400_000_000_000)))
      (i32.store (i32.const 0x80) (local.get $day))
      (i32.store (i32.const 0x84) (local.get $hour))
      (call $poll (i32.const 0x80) (i32.const 2) (i32.const 0x90))
      (call $block (local.get $day))
      (if (i32.eqz (call $ready (local.get $day))) (then (unreachable)))
      (call $drop-pollable (local.get $day)) (call $drop-pollable (local.get $hour))
      (i32.add (i32.load (i32.load (i32.const 0x90))) (i32.mul (i32.const 10) (i32.load (i32.const 0x94)))))
    (func (export "ready-at-once") (result i32) (local $stream i32) (local $pollable i32)
      (call $open)
      (call $read-via-stream (global.get $file) (i64.const 0) (i32.const 0x60))
      (local.set $stream (call $ok (i32.const 0x60)))
      (local.set $pollable (call $subscribe (local.get $stream)))
      (call $ready (local.get $pollable))
      (i32.store (i32.const 0x80) (call $subscribe-duration (i64.const 3_600_000_000_000)))
      (i32.store (i32.const 0x84) (local.get $pollable))
      (call $poll (i32.const 0x80) (i32.const 2) (i32.const 0x90))
      (call $drop-pollable (local.get $pollable)) (call $drop-pollable (i32.load (i32.const 0x80)))
      (call $drop-stream (local.get $stream))
      (i32.add (i32.mul (i32.const 100) (i32.load (i32.load (i32.const 0x90)))))
      (i32.add (i32.mul (i32.const 10) (i32.load (i32.const 0x94)))))
    (func (export "terminal") (call $get-terminal-stdout (i32.const 0x500)))
    (func (export "environment") (call $get-environment (i32.const 0x600)))
    (func (export "load") (param i32) (result i64) (i64.load (local.get 0))))
  (core instance $main (instantiate $main (with "" (instance
    (export "memory" (memory $memory)) {{given}}))))
  {{exports}}
)
"""

_IMPORTS = (
    ("get-environment", "$environment", "get-environment", "(param i32)"),
    ("poll", "$poll", "poll", "(param i32 i32 i32)"),
    ("ready", "$poll", "[method]pollable.ready", "(param i32) (result i32)"),
    ("block", "$poll", "[method]pollable.block", "(param i32)"),
    ("read", "$streams", "[method]input-stream.read", "(param i32 i64 i32)"),
    ("subscribe", "$streams", "[method]input-stream.subscribe", "(param i32) (result i32)"),
    ("now", "$clock", "now", "(result i64)"),
    ("subscribe-instant", "$clock", "subscribe-instant", "(param i64) (result i32)"),
    ("subscribe-duration", "$clock", "subscribe-duration", "(param i64) (result i32)"),
    ("get-terminal-stdout", "$terminal-stdout", "get-terminal-stdout", "(param i32)"),
    ("read-directory", "$types", "[method]descriptor.read-directory", "(param i32 i32)"),
    (
        "read-directory-entry",
        "$types",
        "[method]directory-entry-stream.read-directory-entry",
        "(param i32 i32)",
    ),
    ("stat", "$types", "[method]descriptor.stat", "(param i32 i32)"),
    ("metadata-hash", "$types", "[method]descriptor.metadata-hash", "(param i32 i32)"),
    ("read-via-stream", "$types", "[method]descriptor.read-via-stream", "(param i32 i64 i32)"),
    ("open-at", "$types", "[method]descriptor.open-at", "(param i32 i32 i32 i32 i32 i32 i32)"),
    ("get-directories", "$preopens", "get-directories", "(param i32)"),
)
_DROPS = (
    ("drop-pollable", "$pollable"),
    ("drop-stream", "$input-stream"),
    ("drop-descriptor", "$descriptor"),
    ("drop-listing", "$listing"),
)
_EXPORTS = ("list", "stat", "hash", "clock", "open", "close", "read", "terminal", "environment")


def component() -> str:
    """The component, in the text format."""
    lowered = ['(alias export $types "directory-entry-stream" (type $listing))']
    for name, instance, function, _ in _IMPORTS:
        lowered.append(
            f'(core func ${name} (canon lower (func {instance} "{function}") (memory $memory) '
            "(realloc (core func $realloc))))"
        )
    lowered += [f"(core func ${name} (canon resource.drop {resource}))" for name, resource in _DROPS]
    types = {**{name: functype for name, _, _, functype in _IMPORTS}, **{n: "(param i32)" for n, _ in _DROPS}}
    exports = [f'(func (export "{name}") (canon lift (core func $main "{name}")))' for name in _EXPORTS]
    exports += [
        f'(func (export "{name}") (result u32) (canon lift (core func $main "{name}")))'
        for name in ("sleep", "ready-at-once")
    ]
    exports.append(
        '(func (export "load") (param "at" u32) (result u64) (canon lift (core func $main "load")))'
    )
    return _FILES.format(
        lowered="\n".join(lowered),
        imports="\n".join(
            f'(import "" "{name}" (func ${name} {functype}))' for name, functype in types.items()
        ),
        given=" ".join(f'(export "{name}" (func ${name}))' for name in types),
        exports="\n".join(exports),
    )


def folder_of_files(folder: Path, names: Sequence[str] = NAMES, time: int = 0) -> Path:
    """Make a folder of files that contain their names, and give it a time."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
    os.utime(folder, (time, time))
    return folder
