"""What initialisation of a component saw is told apart and named, and its snapshot is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import wizer
from support.files import component, folder_of_files
from support.observer import COMPONENT
from wizer import Session, Wasi, audit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of_files(tmp_path / "0")


def test_audit_of_a_component() -> None:
    found = audit(COMPONENT, wasi=Wasi(), unknown_imports="error")
    assert found.frozen() == ("random", "clock")
    spans = {s: [f.difference.span for f in found.findings if f.source == s] for s in ("random", "clock")}
    assert (16, 24) in spans["random"]
    assert (4096, 4101) in spans["random"]
    assert all(start >= 48 for start, _ in (span for span in spans["clock"] if span))
    assert found.calls["wasi:random/random@0.2.12", "get-random-u64"] == 1


def test_verify_a_component() -> None:
    from wizer.trust.verify import VerificationError, verify_session

    with Session(COMPONENT, wasi=Wasi(), unknown_imports="error", deterministic=1) as session:
        session.call("wizer-initialize")
        snapshot = session.snapshot()
        verify_session(session, snapshot)
        session.call("wizer-initialize")
        with pytest.raises(VerificationError, match=r"core instance 0 .*: memory 0 .* at 0x10"):
            verify_session(session, snapshot)


def test_audit_counts_calls_and_files(folder: Path) -> None:
    found = audit(
        component(),
        init_func=("list", "open", "close", "read", "environment", "clock"),
        wasi=Wasi(mapdirs={"/d": folder}, env={"MODE": "release"}),
        unknown_imports="error",
    )
    calls = {name: count for (_, name), count in found.calls.items()}
    assert calls["[method]directory-entry-stream.read-directory-entry"] == 5
    assert calls["[method]descriptor.open-at"] == 2
    assert calls["get-environment"] == calls["get-directories"] == 1
    assert found.files == ("/d/file", "/d/file")
    assert list(found.left_open.values()) == ["/d/file"]
    assert found.variables == ("MODE",)
    assert found.frozen() == ("clock", "env", "files")
    assert found.unobserved == ()


def test_audit_counts_python_functions() -> None:
    module = """(component (import "count" (func $count (result u32)))
      (core func $c (canon lower (func $count)))
      (core module $m (import "" "c" (func $c (result i32)))
        (func (export "f") (drop (call $c)) (drop (call $c))))
      (core instance $i (instantiate $m (with "" (instance (export "c" (func $c))))))
      (func (export "wizer-initialize") (canon lift (core func $i "f"))))"""
    assert audit(module, {"count": lambda: 1}).calls == {("", "count"): 2}


def test_audit_names_what_it_does_not_observe() -> None:
    leaves = """(component
      (import "wasi:cli/exit@0.2.3" (instance $exit (export "exit" (func (param "status" (result))))))
      (core module $m (func (export "f"))) (core instance $i (instantiate $m))
      (func (export "wizer-initialize") (canon lift (core func $i "f"))))"""
    found = audit(leaves, wasi=Wasi(), unknown_imports="error")
    assert [name for _, name in found.unobserved] == ["exit"]


def test_the_command_audits_components(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(component())
    line: list[str | Path] = ["audit", "--allow-wasi", "--dir", folder, "-f", "list", tmp_path / "in.wat"]
    run = wizer(*line)
    assert run.returncode == 3, run.stderr
    assert "[method]directory-entry-stream.read-directory-entry 5" in run.stdout.decode()
    assert wizer(*line, "--allow", "files").returncode == 0


RANDOM_BIT = """(component
  (import "wasi:random/random@0.2.3" (instance $random (export "get-random-u64" (func (result u64)))))
  (core func $u64 (canon lower (func $random "get-random-u64")))
  (core module $m (import "" "u64" (func $u64 (result i64)))
    (global $kept (export "kept") (mut i32) (i32.const 0))
    (func (export "init") {}))
  (core instance $i (instantiate $m (with "" (instance (export "u64" (func $u64))))))
  (func (export "wizer-initialize") (canon lift (core func $i "init"))))"""


@pytest.mark.parametrize("bit", [0, 1, 2, 7, 31, 62, 63])
def test_every_random_bit_of_a_component(bit: int) -> None:
    value = f"(i32.wrap_i64 (i64.and (i64.shr_u (call $u64) (i64.const {bit})) (i64.const 1)))"
    kept = audit(RANDOM_BIT.format(f"(global.set $kept {value})"), wasi=Wasi(), unknown_imports="error")
    assert kept.frozen() == ("random",)
    assert len(kept.findings) == 1
    dropped = audit(RANDOM_BIT.format(f"(drop {value})"), wasi=Wasi(), unknown_imports="error")
    assert dropped.frozen() == ()
    assert dropped.asked == ("random",)


def test_contents_that_a_component_reads_are_named(folder: Path) -> None:
    (folder / "file").write_text("token = hunter2-secret")
    found = audit(component(), init_func="read", wasi=Wasi(mapdirs={"/d": folder}), open_handles="drop")
    assert found.frozen() == ("files",)
    assert {f.origin for f in found.findings} == {f"/d/file (host: {folder / 'file'})"}
    env = {"PASSWORD": "пароль"}
    found = audit(component(), init_func="environment", wasi=Wasi(env=env), open_handles="drop")
    assert (found.frozen(), found.variables) == (("env",), ("PASSWORD",))


TERMINAL = """(component
  (import "wasi:cli/terminal-%s@0.2.3" (instance $kind (export "terminal-%s" (type (sub resource)))))
  (alias export $kind "terminal-%s" (type $t))
  (import "wasi:cli/terminal-%s@0.2.3" (instance $stream
    (alias outer 1 $t (type $o)) (export "terminal-%s" (type $q (eq $o)))
    (export "get-terminal-%s" (func (result (option (own $q)))))))
  (core module $memory (memory (export "m") 1))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "m" (core memory $m))
  (core func $get (canon lower (func $stream "get-terminal-%s") (memory $m)))
  (core func $drop (canon resource.drop $t))
  (core module $main (import "" "get" (func $get (param i32))) (import "" "drop" (func $drop (param i32)))
    (import "" "m" (memory 1)) (global $kept (export "kept") (mut i32) (i32.const 0))
    (func (export "init")
      (call $get (i32.const 16))
      (global.set $kept (i32.load8_u (i32.const 16)))
      (if (i32.load8_u (i32.const 16)) (then (call $drop (i32.load (i32.const 20)))))
      (i64.store (i32.const 16) (i64.const 0))))
  (core instance $i (instantiate $main (with "" (instance
    (export "get" (func $get)) (export "drop" (func $drop)) (export "m" (memory $m))))))
  (func (export "wizer-initialize") (canon lift (core func $i "init"))))"""


@pytest.mark.parametrize(("stream", "kind"), [("stdin", "input"), ("stdout", "output"), ("stderr", "output")])
def test_whether_a_component_has_a_terminal(stream: str, kind: str) -> None:
    component = TERMINAL % (kind, kind, kind, stream, kind, stream, stream)
    found = audit(component, wasi=Wasi(), unknown_imports="error")
    assert found.frozen() == ("terminal",)
    assert len(found.findings) == 1
    assert found.asked == ("terminal",)
    without = component.replace("(global.set $kept (i32.load8_u (i32.const 16)))", "")
    assert audit(without, wasi=Wasi(), unknown_imports="error").frozen() == ()
