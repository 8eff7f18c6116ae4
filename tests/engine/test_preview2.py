"""Components that look at files, wait and ask for terminals: made up where that is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.command import environment
from support.files import NAMES, component, folder_of_files
from wizer import LimitError, Limits, OptionError, Session, TrapError, Wasi, wizen
from wizer.engine.deterministic import Deterministic

EVERYTHING = ("list", "stat", "hash", "clock", "read", "close", "terminal", "environment")


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two directories with the same files, made in another order."""
    made = []
    for number, names in enumerate((NAMES, NAMES[::-1])):
        made.append(folder_of_files(tmp_path / str(number), names, number))
    return made


def opened(folder: Path, *, deterministic: Any = True, **wasi: Any) -> Session:
    return Session(
        component(),
        wasi=Wasi(mapdirs={"/d": folder}, **wasi),
        unknown_imports="error",
        deterministic=deterministic,
    )


def memory(session: Session) -> bytes:
    (_, _, state) = session.states()[1]
    assert not state.memories
    return bytes(session.states()[0][2].memories[0].view)


def test_directories_are_in_order(folders: list[Path]) -> None:
    with opened(folders[0]) as session:
        session.call("list")
        names = memory(session)[0x4000:].replace(b"/d", b"").split(b"\0")
        assert [name for name in names if name.strip(b"\0")][-4:] == [b"Z", b"a", b"file", b"zebra"]


def test_files_have_the_time_of_the_start(folders: list[Path]) -> None:
    with opened(folders[0], deterministic=Deterministic(start=77 * 10**9 + 5)) as session:
        session.call("stat")
        (kind, links, size) = (session.call("load", 0x108 + 8 * i) for i in range(3))
        assert (kind & 0xFF, links, size) == (3, 1, 0)
        times = [[session.call("load", 0x120 + 24 * i + 8 * j) for j in range(3)] for i in range(3)]
        assert [(some & 0xFF, seconds, part & 0xFFFF_FFFF) for some, seconds, part in times] == [
            (1, 77, 5)
        ] * 3
        session.call("hash")
        assert [session.call("load", 0x208 + 8 * i) for i in range(2)] == [1, 0]


def test_sleeping_takes_no_time(folders: list[Path]) -> None:
    with opened(folders[0]) as session:
        assert session.call("sleep") == 11  # the second pollable, and one
        session.call("clock")
        assert session.call("load", 0x300) >= 86_400 * 10**9


def test_files_are_always_ready(folders: list[Path]) -> None:
    with opened(folders[0]) as session:
        assert session.call("ready-at-once") == 111  # it is, and so is the second of two pollables, and one
        session.call("read")
        assert session.call("load", 0x400) == 4


def test_same_bytes(folders: list[Path]) -> None:
    made = {
        wizen(
            component(),
            init_func=("sleep", *EVERYTHING),
            keep_init_func=True,
            wasi=Wasi(mapdirs={"/d": folder}, env={"B": "1", "A": "2"}),
            unknown_imports="error",
            deterministic=3,
            open_handles="drop",
        )
        for folder in (*folders, folders[0])
    }
    assert len(made) == 1


TERMINAL = """
import sys
from pathlib import Path
from wizer import Wasi, wizen
wasi = Wasi(stdin="inherit", stdout="inherit", stderr="inherit")
for path, init in (("module", ("look_out", "look_out_file")), ("component", ("terminal",))):
    options = {"init_func": init, "keep_init_func": True, "unknown_imports": "error"}
    made = wizen(Path(sys.argv[1], f"{path}.wat"), wasi=wasi, deterministic=True, **options)
    with open(sys.argv[2], "ab") as file:
        file.write(made)
"""
STANDARD_OUTPUT = """(module
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fdstat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $filestat (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "look_out") (drop (call $fdstat (i32.const 1) (i32.const 0))))
  (func (export "look_out_file") (drop (call $filestat (i32.const 1) (i32.const 64)))))"""


def test_nothing_is_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "module.wat").write_text(STANDARD_OUTPUT)
    (tmp_path / "component.wat").write_text(component())
    for name in ("terminal", "none"):
        command = [sys.executable, "-c", TERMINAL, str(tmp_path), str(tmp_path / name)]
        pty = pytest.importorskip("pty")
        outer, inner = pty.openpty()
        own = inner if name == "terminal" else subprocess.DEVNULL
        try:
            subprocess.run(command, stdin=own, stdout=own, stderr=own, check=True, env=environment())
        finally:
            os.close(outer)
            os.close(inner)
    assert (tmp_path / "terminal").read_bytes() == (tmp_path / "none").read_bytes()


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("target", ["../secret", "{parent}/secret", "../inside/../secret", "beside"])
def test_links_do_not_lead_out_of_a_directory(target: str, deterministic: bool, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "beside").write_text("no secret")
    (inside / "file").symlink_to(target.format(parent=tmp_path))
    with opened(inside, deterministic=deterministic) as session:
        if target == "beside":
            session.call("read")
            if deterministic:  # the host's streams may have nothing yet
                assert session.call("load", 0x400) == len("no secret")
        else:
            with pytest.raises(TrapError):
                session.call("read")


TWO_VERSIONS = """(component
  (import "wasi:io/poll@0.2.{version}" (instance $poll (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "{package}@0.2.{version}" (instance $other (export "{resource}" (type $t (sub resource)))
    (alias outer 1 $pollable (type $p)) (export "pollable" (type $p1 (eq $p)))
    (export "[method]{resource}.subscribe" (func (param "self" (borrow $t)) (result (own $p1))))))
  (import "wasi:io/poll@0.2.0" (instance $old-poll (export "pollable" (type (sub resource)))))
  (alias export $old-poll "pollable" (type $old-pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $old-pollable (type $p)) (export "pollable" (type $p1 (eq $p)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $p1))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core module $m (import "" "subscribe" (func $subscribe (param i64) (result i32)))
    (func (export "f") (result i32) (call $subscribe (i64.const 3_600_000_000_000))))
  (core instance $i (instantiate $m (with "" (instance (export "subscribe" (func $subscribe))))))
  (func (export "f") (result u32) (canon lift (core func $i "f"))))"""


@pytest.mark.parametrize("version", [3, 9])
@pytest.mark.parametrize(
    ("package", "resource"), [("wasi:sockets/tcp", "tcp-socket"), ("wasi:io/streams", "input-stream")]
)
def test_everything_that_hands_out_pollables_links(package: str, resource: str, version: int) -> None:
    wat = TWO_VERSIONS.format(package=package, resource=resource, version=version)
    with Session(wat, wasi=Wasi(), unknown_imports="error", deterministic=True) as session:
        assert session.call("f") > 0


@pytest.mark.parametrize("option", ["network", "name_lookup", "http"])
def test_the_network_is_refused(option: str, folders: list[Path]) -> None:
    with pytest.raises(OptionError, match="deterministic initialisation goes without network"):
        opened(folders[0], **{option: True})
    with opened(folders[0], deterministic=False, **{option: True}) as session:
        session.call("terminal")


def test_hostile_amounts_of_random_bytes() -> None:
    greedy = """(component
      (import "wasi:random/random@0.2.3" (instance $random
        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
      (core module $libc (memory (export "memory") 1) (func (export "realloc") (param i32 i32 i32 i32)
        (result i32) (i32.const 0)))
      (core instance $libc (instantiate $libc))
      (core func $get (canon lower (func $random "get-random-bytes")
        (memory (core memory $libc "memory"))
        (realloc (core func $libc "realloc"))))
      (core module $main (import "" "get" (func $get (param i64 i32)))
        (func (export "f") (call $get (i64.const 0xffff_ffff_ffff) (i32.const 0))))
      (core instance $main (instantiate $main (with "" (instance (export "get" (func $get))))))
      (func (export "wizer-initialize") (canon lift (core func $main "f"))))"""
    with pytest.raises(TrapError):
        wizen(greedy, wasi=Wasi(), deterministic=True)


def test_what_is_wizer_s_own_is_not_counted(folders: list[Path]) -> None:
    wasi = Wasi(mapdirs={"/d": folders[0]})
    options: dict[str, Any] = {"wasi": wasi, "unknown_imports": "error", "deterministic": True}
    with Session(component(), limits=Limits(max_instances=2, max_memories=1), **options) as session:
        session.call("list")
    with pytest.raises(LimitError, match="resource limit exceeded"):
        Session(component(), limits=Limits(max_instances=1), **options)


def test_a_python_function_may_be_lent_two_handles() -> None:
    """With its tasks, the engine loses count of these."""
    from wasmtime.component import ResourceHost, ResourceType

    module = """(component
      (import "host" (instance $host (export "thing" (type $t (sub resource)))
        (export "make" (func (result (own $t))))
        (export "same" (func (param "a" (borrow $t)) (param "b" (borrow $t)) (result bool)))))
      (core func $make (canon lower (func $host "make")))
      (core func $same (canon lower (func $host "same")))
      (core module $m (import "" "make" (func $make (result i32)))
        (import "" "same" (func $same (param i32 i32) (result i32)))
        (func (export "f") (result i32) (call $same (call $make) (call $make))))
      (core instance $i (instantiate $m (with "" (instance (export "make" (func $make))
        (export "same" (func $same))))))
      (func (export "f") (result bool) (canon lift (core func $i "f"))))"""

    def same(a: Any, b: Any) -> bool:
        return bool(a.to_host(session.store).rep == b.to_host(session.store).rep)

    make = {"make": lambda: ResourceHost.own(7, 1), "same": same, "thing": ResourceType.host(1)}
    with Session(module, imports={"host": make}) as session:
        assert session.call("f") is True
