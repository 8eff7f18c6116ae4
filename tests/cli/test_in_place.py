"""In place of the Rust tools: names, calls, words of the command line, and exit statuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.command import wizer as run_wizer
from support.engine import binary
from support.guest import Guest
from wizer import InputError, OptionError, Session, cli, wizen

OLD = """(module (global $g (mut i32) (i32.const 0)) (func (export "get") (result i32) (global.get $g))
  (func (export "wizer.initialize") (global.set $g (i32.const 5))))"""
ODD = """(module (global $g (mut i32) (i32.const 0)) (func (export "get") (result i32) (global.get $g))
  (func (export "init: func() -> ()") (global.set $g (i32.const 6)))
  (func (export "x(1)") (global.set $g (i32.const 7))) (func (export "x(") (global.set $g (i32.const 8))))"""


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `wizer` in a folder."""
    done = run_wizer(*words, cwd=folder)
    return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"old": OLD, "odd": ODD}.items():
        (tmp_path / f"{name}.wasm").write_bytes(binary(text))
    return tmp_path


def test_the_standalone_tool_s_name_up_to_version_10(folder: Path) -> None:
    assert command(folder, "old.wasm", "-o", "out.wasm").returncode == 0
    guest = Guest((folder / "out.wasm").read_bytes())
    assert guest("get") == 5
    assert guest.exports == ["get"]
    assert Guest(wizen(OLD))("get") == 5
    with pytest.raises(OptionError, match="does not have a `wizer-initialize` export") as error:
        wizen(OLD, init_func="wizer-initialize")
    assert error.value.causes == ("it exports `wizer.initialize`, `get`",)
    both = OLD.replace('"get"', '"wizer-initialize"').replace("(result i32) (global.get $g)", "")
    assert "wizer.initialize" in Guest(wizen(both)).exports


@pytest.mark.parametrize(("name", "value"), [("init: func() -> ()", 6), ("x(1)", 7), ("x(", 8)])
def test_an_export_of_exactly_that_name(name: str, value: int, folder: Path) -> None:
    assert command(folder, "odd.wasm", "-f", name, "-o", "out.wasm").returncode == 0
    guest = Guest((folder / "out.wasm").read_bytes())
    assert guest("get") == value
    assert name not in guest.exports
    assert Guest(wizen(ODD, init_func=name))("get") == value
    with Session(ODD) as session:
        session.call_text(name)
        assert session.call("get") == value
    assert name in Guest(wizen(ODD, init_func=name, keep_init_func=True)).exports


def test_what_is_no_export_is_read_as_a_call(folder: Path) -> None:
    done = command(folder, "odd.wasm", "-f", "get(1, 2)", "-o", "out.wasm")
    assert (done.returncode, "gives 2 argument(s)" in done.stderr) == (1, True)
    done = command(folder, "odd.wasm", "-f", "init(})", "-o", "out.wasm")
    assert (done.returncode, "has a `}` that closes nothing" in done.stderr) == (2, True)


def test_keep_init_func_as_a_word_of_its_own(folder: Path) -> None:
    for value, kept in (("true", True), ("false", False)):
        arguments = ["--keep-init-func", value, "old.wasm", "-o", "out.wasm"]
        assert command(folder, *arguments).returncode == 0
        assert ("wizer.initialize" in Guest((folder / "out.wasm").read_bytes()).exports) == kept
    assert command(folder, "--keep-init-func", "old.wasm", "-o", "out.wasm").returncode == 0
    assert "wizer.initialize" in Guest((folder / "out.wasm").read_bytes()).exports


def test_a_missing_function_lists_those_that_are_there_the_closest_first() -> None:
    wat = '(module (func (export "main")) (func (export "memcpy")) (func (export "initialise")))'
    with pytest.raises(OptionError) as error:
        wizen(wat, init_func="initialize")
    assert error.value.message == "the Wasm module does not have a `initialize` export"
    assert error.value.causes == ("it exports `initialise`, `main`, `memcpy`",)
    many = "(module " + "".join(f'(func (export "f{i}"))' for i in range(20)) + ")"
    with pytest.raises(OptionError, match="and 12 more"):
        wizen(many, init_func="g")
    with pytest.raises(OptionError, match="it exports no function"):
        wizen("(module)")


def test_one_export_under_several_names(folder: Path) -> None:
    done = command(folder, "old.wasm", "-r", "a=get", "-r", "b=get", "-o", "out.wasm")
    assert done.returncode == 0, done.stderr
    assert Guest((folder / "out.wasm").read_bytes()).exports == ["a", "b"]
    assert Guest(wizen(OLD, rename={"a": "get", "b": "get"})).exports == ["a", "b"]


ARGUMENTS = """(module (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32)
    (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize") (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $get (i32.const 8) (i32.const 100)))))"""


@pytest.mark.parametrize("input_first", [True, False])
def test_arguments_of_the_guest(input_first: bool, folder: Path) -> None:
    (folder / "app.wasm").write_bytes(binary(ARGUMENTS))
    words = ["--allow-wasi", "-o", "out.wasm"]
    given = ["-x", "file.txt", "--", "--help"]
    words += ["app.wasm", "--", *given] if input_first else ["--", "app.wasm", *given]
    done = command(folder, *words)
    assert done.returncode == 0, done.stderr
    guest = Guest((folder / "out.wasm").read_bytes())
    text = bytes(guest.export("memory").read(guest.store, 100, 160))
    assert text.startswith(b"app.wasm\0-x\0file.txt\0--\0--help\0")


def test_arguments_without_wasi_are_said_to_be_idle(folder: Path) -> None:
    done = command(folder, "old.wasm", "-o", "out.wasm", "--", "x")
    assert "warning: without --allow-wasi, there is no effect of -- ARGS" in done.stderr


def test_a_trap_in_an_unknown_import_of_wasi_says_the_way_out(folder: Path) -> None:
    (folder / "app.wasm").write_bytes(binary(ARGUMENTS))
    done = command(folder, "app.wasm", "-o", "out.wasm")
    assert done.returncode == 1
    assert "has not been defined; WASI is off: provide it with wasi=Wasi() (--allow-wasi)" in done.stderr


LOOP = '(module (func (export "wizer-initialize") (loop (br 0))))'
TRAP = '(module (func (export "wizer-initialize") unreachable))'


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["trap.wasm", "-o", "out.wasm"], 1),
        (["old.wasm", "-f", "none", "-o", "out.wasm"], 1),
        (["old.wasm", "--none"], 2),
        (["none.wasm", "-o", "out.wasm"], 4),
        (["old.wasm", "--preload", "m=none.wasm", "-o", "out.wasm"], 4),
        (["old.wasm", "-o", "none/out.wasm"], 4),
        (["loop.wasm", "--timeout", "10ms", "-o", "out.wasm"], 5),
        (["loop.wasm", "--fuel", "1000", "-o", "out.wasm"], 5),
        (["old.wasm", "--max-output", "8", "-o", "out.wasm"], 5),
        (["audit", "--allow-wasi", "random.wasm"], 3),
    ],
)
def test_exit_status_by_kind(words: list[str], status: int, folder: Path) -> None:
    for name, text in {"loop": LOOP, "trap": TRAP, "random": RANDOM}.items():
        (folder / f"{name}.wasm").write_bytes(binary(text))
    done = command(folder, *words)
    assert done.returncode == status, done.stderr
    assert not (folder / "out.wasm").exists()


RANDOM = """(module (import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "wizer-initialize") (drop (call $r (i32.const 0) (i32.const 8)))))"""


def test_files_that_cannot_be_opened_are_named(folder: Path) -> None:
    for words in (
        ["none.wasm", "-o", "o"],
        ["old.wasm", "-o", "none/o"],
        ["old.wasm", "--config", "none.toml"],
    ):
        stderr = command(folder, *words).stderr
        assert "none" in stderr, stderr
        assert "No such file or directory" in stderr
    for word, said in (("help", True), ("none.wasm", False)):
        assert (f"no command is called `{word}`" in command(folder, word).stderr) is said
    with pytest.raises(InputError, match=r"none\.wasm"):
        wizen(folder / "none.wasm")


BASE = """(module (import "env" "base" (global $b i32)) (import "GOT.func" "f" (global $f f64))
  (func (export "wizer-initialize")) (func (export "base") (result i32) (global.get $b))
  (func (export "f") (result f64) (global.get $f)))"""


def test_values_of_imported_globals(folder: Path) -> None:
    (folder / "base.wasm").write_bytes(binary(BASE))
    done = command(folder, "base.wasm", "-o", "out.wasm")
    assert (done.returncode, "(--global env.base=1024)" in done.stderr) == (1, True)
    words = ["--global", "env.base=0x400", "--global=GOT.func.f=0.5", "base.wasm", "-o", "out.wasm"]
    done = command(folder, *words)
    assert done.returncode == 0, done.stderr
    guest = Guest((folder / "out.wasm").read_bytes(), {"env": {"base": 1024}, "GOT.func": {"f": 0.5}})
    assert (guest("base"), guest("f")) == (1024, 0.5)
    for bad in ("base=1", "env.base", "env.base=x"):
        assert command(folder, "--global", bad, "base.wasm", "-o", "out.wasm").returncode == 2


def test_the_statuses_are_in_the_help_of_the_package() -> None:
    assert cli.__doc__ is not None
    for line in ("1     initialisation failed", "2     the command line", "4     a file", "5     a limit"):
        assert line in cli.__doc__
