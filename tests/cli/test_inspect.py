"""`wizer inspect` and `wizer diff`: what they print, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import WIZER, Tool, environment
from wizer.binary.sections import section_header
from wizer.binary.vectors import encode_name

FIRST = """(module (memory (export "memory") 1) (global $seed (mut i32) (i32.const 7)) (func $f (export "f"))
  (data (i32.const 16) "hello world") (data (i32.const 99) "\\01"))"""
SECOND = FIRST.replace("const 7", "const 9").replace("world", "WORLD")
Write = Callable[..., Path]


def test_inspect(wizer: Tool, module: Write) -> None:
    module(FIRST)
    ended = wizer("inspect", "in.wasm")
    assert (ended.status, ended.stderr) == (0, "")
    lines = ended.stdout.decode().splitlines()
    assert lines[0].startswith("in.wasm: a module, ")
    assert lines[1] == "memory 0 takes 23 bytes of it: contents 12 bytes"
    assert any(line.startswith('memory 0 ("memory"): 1 page = 65,536 bytes, 12 not zero') for line in lines)
    assert "  0x10  hello world" in lines


def test_inspect_of_several_files_as_json(wizer: Tool, module: Write) -> None:
    module(FIRST)
    module(SECOND, "other.wasm")
    ended = wizer("inspect", "--json", "in.wasm", "other.wasm")
    document = json.loads(ended.stdout)
    assert [found["name"] for found in document] == ["in.wasm", "other.wasm"]
    assert document[0]["module"]["memories"][0]["nonzero"] == 12


def test_inspect_of_standard_input(wizer: Tool, module: Write) -> None:
    ended = wizer("inspect", "-", stdin=module(FIRST).read_bytes())
    assert ended.stdout.startswith(b"standard input: a module, ")


def test_a_broken_file_is_named_and_reported(wizer: Tool, module: Write) -> None:
    path = module(FIRST)
    path.write_bytes(path.read_bytes()[:-20])
    ended = wizer("inspect", "in.wasm")
    assert ended.status == 1
    assert b"broken at 0x" in ended.stdout
    assert b"hello world" in ended.stdout


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("inspect", 2, "<FILE>"),
        ("inspect none.wasm", 4, "none.wasm: No such file"),
        ("inspect --fuel 3 in.wasm", 2, "unexpected argument '--fuel'"),
        ("diff in.wasm", 2, "<FIRST> <SECOND>"),
        ("diff in.wasm in.wasm in.wasm", 2, "<FIRST> <SECOND>"),
        ("diff in.wasm none.wasm", 4, "none.wasm: No such file"),
        ("in.wasm --exit-code", 2, "it belongs to `wizer diff`"),
    ],
)
def test_mistakes(words: str, status: int, message: str, wizer: Tool, module: Write) -> None:
    module(FIRST)
    ended = wizer(*words.split())
    assert ended.status == status
    assert message in ended.stderr


@pytest.mark.parametrize("command", ["inspect", "diff"])
def test_help(command: str, wizer: Tool) -> None:
    ended = wizer(command, "--help")
    assert ended.status == 0
    assert f"Usage: wizer {command} [OPTIONS]" in ended.stdout.decode()


def test_diff(wizer: Tool, module: Write) -> None:
    module(FIRST)
    module(SECOND, "other.wasm")
    ended = wizer("diff", "in.wasm", "other.wasm")
    assert (ended.status, ended.stderr) == (0, "")
    text = ended.stdout.decode()
    assert 'changed  global 0 ("seed")  mut i32 = 7  mut i32 = 9' in text
    assert "5 bytes differ in 1 range" in text
    assert "0x16..0x1b  contents+0x16  77 6f 72 6c 64  'world'  57 4f 52 4c 44  'WORLD'" in text
    assert wizer("diff", "--exit-code", "in.wasm", "other.wasm").status == 1
    document = json.loads(wizer("diff", "--json", "in.wasm", "other.wasm").stdout)
    assert document["memories"][0]["differing"] == 5


def test_files_that_are_the_same_are_met_with_silence(wizer: Tool, module: Write) -> None:
    module(FIRST)
    ended = wizer("diff", "--exit-code", "in.wasm", "in.wasm")
    assert (ended.status, ended.stdout, ended.stderr) == (0, b"", "")


def test_names_of_strangers_are_harmless(wizer: Tool, module: Write) -> None:
    """Neither commands to the terminal, nor other directions of writing, nor lines of their own."""
    path = module(FIRST)
    name = "\x1b[31m\u202eevil\nbroken at 0x0: forged" + "x" * 5000
    body = encode_name(name) + b"1"
    path.write_bytes(path.read_bytes() + section_header(0, len(body)) + body)
    module(FIRST, "other.wasm")
    for words in (("inspect", "in.wasm"), ("diff", "in.wasm", "other.wasm")):
        text = wizer(*words).stdout.decode()
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert not any(line.startswith("broken at") for line in text.splitlines())
        assert "evil\\nbroken at" in text
        assert max(map(len, text.splitlines())) < 300


@pytest.mark.parametrize("words", ["inspect in.wasm", "diff in.wasm other.wasm"])
def test_on_a_terminal(words: str, module: Write, tmp_path: Path) -> None:
    module(FIRST)
    module(SECOND, "other.wasm")
    text = _on_a_terminal(words.split(), tmp_path)
    assert "─" in text
    assert "contents" in text


def _on_a_terminal(words: list[str], folder: Path) -> str:
    """What the command prints to a terminal."""
    terminal, end = pty.openpty()
    seen = environment({"TERM": "xterm", "COLUMNS": "120"})
    with subprocess.Popen([*WIZER, *words], stdout=end, cwd=folder, env=seen):
        os.close(end)
        written = b""
        with contextlib.suppress(OSError):  # raised once the other end is closed
            while part := os.read(terminal, 65536):
                written += part
    os.close(terminal)
    return written.decode()
