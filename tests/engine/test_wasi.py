"""What a WASI guest sees, in processes of their own where the process's own streams are at stake."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from support.command import environment
from wizer import Limits, Session
from wizer.engine.streams import outlet as make_outlet
from wizer.engine.wasi import Wasi, configure
from wizer.errors import OptionError

GUEST = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 64)
  (func (export "write") (param $fd i32) (result i32)
    (i64.store (i32.const 0) (i64.const 0x0000000500000010))
    (i64.store (i32.const 16) (i64.const 0x6f6c6c6568))
    (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func (export "read") (result i32)
    (i64.store (i32.const 0) (i64.const 0x0000006400000400))
    (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func (export "environ") (drop (call $environ_sizes (i32.const 0) (i32.const 4)))
    (drop (call $environ (i32.const 8192) (i32.const 65536))))
  (func (export "args") (drop (call $args_sizes (i32.const 0) (i32.const 4)))
    (drop (call $args (i32.const 8192) (i32.const 65536))))
  (func (export "prestat") (param $fd i32) (result i32) (call $prestat (local.get $fd) (i32.const 0)))
  (func (export "dir_name") (param $fd i32)
    (drop (call $dir_name (local.get $fd) (i32.const 65536) (i32.const 64))))
  (func (export "create") (param $fd i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 0x66))
    (call $open (local.get $fd) (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 1)
      (i64.const 0x40) (i64.const 0) (i32.const 0) (i32.const 0)))
)"""


class Guest:
    """An instance that sees what ``wasi`` allows."""

    def __init__(self, wasi: Wasi, **options: Any) -> None:
        engine = wasmtime.Engine()
        self.store = wasmtime.Store(engine)
        self.streams = configure(wasi, self.store, **options)
        linker = wasmtime.Linker(engine)
        linker.define_wasi()
        self.exports = linker.instantiate(self.store, wasmtime.Module(engine, GUEST)).exports(self.store)

    def call(self, name: str, *args: int) -> Any:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        return function(self.store, *args)

    def memory(self, start: int, end: int) -> bytes:
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        return bytes(memory.read(self.store, start, end))

    def strings(self, name: str) -> list[str]:
        self.call(name)
        count, size = struct.unpack("<II", self.memory(0, 8))
        found = self.memory(65536, 65536 + size).split(b"\0")[:-1]
        assert len(found) == count
        return [text.decode() for text in found]

    def stdin(self) -> bytes:
        assert self.call("read") == 0
        return self.memory(1024, 1024 + struct.unpack("<I", self.memory(8, 12))[0])


def test_nothing_is_seen_by_default() -> None:
    guest = Guest(Wasi(stdout="null", stderr="null"))
    assert guest.strings("environ") == []
    assert guest.strings("args") == []
    assert guest.stdin() == b""
    assert guest.call("prestat", 3) == 8  # badf: no directory
    assert guest.call("write", 1) == 0


def test_arguments_and_environment_in_a_fixed_order(monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Guest(Wasi(args=["prog", "-x", "é"], env={"B": "2", "A": "1=1"}))
    assert guest.strings("args") == ["prog", "-x", "é"]
    assert guest.strings("environ") == ["A=1=1", "B=2"]
    for name in os.environ:
        monkeypatch.delenv(name)
    monkeypatch.setenv("B", "host")
    monkeypatch.setenv("C", "host")
    assert Guest(Wasi(env={"B": "2"}, inherit_env=True)).strings("environ") == ["B=2", "C=host"]


def test_stdin(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file")
    assert Guest(Wasi(stdin=b"with \0 inside")).stdin() == b"with \0 inside"
    assert Guest(Wasi(stdin=b"")).stdin() == b""
    assert Guest(Wasi(stdin=tmp_path / "in")).stdin() == b"from a file"


def output_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wizer-output"]


def test_output_to_files_and_functions(tmp_path: Path) -> None:
    heard: list[bytes] = []
    guest = Guest(Wasi(stdout=tmp_path / "out", stderr=heard.append))
    assert (guest.call("write", 1), guest.call("write", 2)) == (0, 0)
    guest.streams.drain()
    assert heard == [b"hello"]
    guest.call("write", 2)
    guest.store.close()
    guest.streams.close()
    assert b"".join(heard) == b"hellohello"
    assert (tmp_path / "out").read_bytes() == b"hello"
    assert output_threads() == []


def test_output_is_read_while_the_guest_writes() -> None:
    heard = bytearray()
    guest = Guest(Wasi(stdout=heard.extend))
    for _ in range(40_000):  # three times what a pipe holds
        assert guest.call("write", 1) == 0
    guest.store.close()
    guest.streams.close()
    assert heard == b"hello" * 40_000


def test_a_function_that_raises_is_heard_of(capfd: pytest.CaptureFixture[str]) -> None:
    def sink(_data: bytes) -> None:
        raise RuntimeError("full")

    told = threading.Event()
    raised: list[BaseException] = []

    def on_error(error: BaseException) -> None:
        raised.append(error)
        told.set()

    guest = Guest(Wasi(stdout=sink), on_error=on_error)
    guest.call("write", 1)
    assert told.wait(60)
    assert [str(error) for error in raised] == ["full"]
    guest.store.close()
    guest.streams.close()
    assert output_threads() == []
    assert capfd.readouterr() == ("", "")


def test_what_is_written_after_a_run_whose_function_raised_is_given_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever thread called the function: the one that reads, or the one that ran the guest."""
    for named_pipes in (True, False):
        if not named_pipes:
            monkeypatch.delattr(os, "mkfifo", raising=False)
        for _ in range(15):
            given: list[bytes] = []

            def sink(data: bytes, given: list[bytes] = given) -> None:
                given.append(data)
                raise RuntimeError("full")

            with Session(GUEST, wasi=Wasi(stdout=sink)) as session:
                for calls in range(1, 5):
                    with pytest.raises(RuntimeError, match="full"):
                        session.call("write", 1)
                    assert given == [b"hello"] * calls


def test_what_a_function_raises_on_its_thread_is_raised_by_the_next_drain() -> None:
    called = threading.Event()

    def sink(_data: bytes) -> None:
        called.set()
        raise RuntimeError("full")

    outlet = make_outlet(sink, None)
    writer = os.open(outlet.path, os.O_WRONLY)
    outlet.start()
    os.write(writer, b"x")
    assert called.wait(60)
    with pytest.raises(RuntimeError, match="full"):
        outlet.drain()
    os.close(writer)
    outlet.close()


def test_draining_raises_what_the_function_raises() -> None:
    def sink(_data: bytes) -> None:
        raise RuntimeError("full")

    outlet = make_outlet(sink, None)
    writer = os.open(outlet.path, os.O_WRONLY)
    os.write(writer, b"x")
    with pytest.raises(RuntimeError):
        outlet.drain()
    os.close(writer)
    outlet.start()
    outlet.close()


@pytest.mark.parametrize(
    ("stdout", "stderr", "expected"),
    [
        ("inherit", "inherit", (b"hello", b"hello")),
        ("null", "null", (b"", b"")),
        ("stderr", "stderr", (b"", b"hellohello")),
        ("stderr", "null", (b"", b"hello")),
    ],
)
def test_the_process_s_own_streams(stdout: str, stderr: str, expected: tuple[bytes, bytes]) -> None:
    code = (
        "import sys; from wizer.engine.wasi import Wasi; from tests.engine.test_wasi import Guest\n"
        "guest = Guest(Wasi(stdout=sys.argv[1], stderr=sys.argv[2]))\n"
        "guest.call('write', 1), guest.call('write', 2), guest.streams.drain()"
    )
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", code, stdout, stderr],
        env=environment({"PYTHONPATH": os.pathsep.join([root, *sys.path])}),
        capture_output=True,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == expected


def test_directories(tmp_path: Path) -> None:
    guest = Guest(Wasi(dirs=[tmp_path], mapdirs={"/inside": tmp_path}))
    names = []
    for descriptor in (3, 4):
        assert guest.call("prestat", descriptor) == 0
        length = struct.unpack("<I", guest.memory(4, 8))[0]
        guest.call("dir_name", descriptor)
        names.append(guest.memory(65536, 65536 + length).decode())
    assert names == [str(tmp_path), "/inside"]
    assert guest.call("create", 4) == 0
    assert (tmp_path / "f").exists()


def test_read_only_directories(tmp_path: Path) -> None:
    assert Guest(Wasi(dirs=[tmp_path], read_only=True)).call("create", 3) != 0
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dirs": ["no/such"]}, "the directory 'no/such' for the guest does not exist"),
        ({"mapdirs": {"/g": __file__}}, "is not a directory"),
        ({"mapdirs": {"/g\0": "."}}, "contains a NUL"),
        ({"stdin": Path("no/such")}, "the file 'no/such' for the guest's stdin cannot be read"),
        ({"stdout": "no/such"}, "the file 'no/such' for the guest's stdout cannot be written"),
        ({"stderr": "no/such"}, "the file 'no/such' for the guest's stderr cannot be written"),
        ({"args": ["a\0b"]}, r"argument 'a\\x00b' cannot be passed to the guest: it contains a NUL"),
        ({"env": {"A": "\udcff"}}, "environment variable 'A' cannot be passed to the guest: it is not UTF-8"),
        ({"env": {"A=B": ""}}, "'A=B' cannot be the name of an environment variable"),
        ({"env": {"": "x"}}, "'' cannot be the name"),
    ],
)
def test_errors_name_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Guest(Wasi(**options))


def test_what_an_output_function_raises_comes_through_without_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "mkfifo", raising=False)

    def fail(_: bytes) -> None:
        raise LookupError("sink")

    wat = r"""(module
      (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 0) "\10\00\00\00\05\00\00\00")
      (func (export "f") (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (loop (br 0))))"""
    with (
        Session(wat, wasi=Wasi(stdout=fail), limits=Limits(timeout=30)) as session,
        pytest.raises(LookupError),
    ):
        session.call("f")
