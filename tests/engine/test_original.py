"""What is made of an original: its key, and what of the cache is read ahead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import environment
from support.tools import assembled
from wizer import Session
from wizer.engine import cache
from wizer.engine.addresses import address
from wizer.engine.original import LARGE, Original
from wizer.errors import InputError

SMALL = bytes(range(200)) * 2
LARGE_ONE = bytes(range(256)) * (LARGE // 256)


@pytest.mark.parametrize("wasm", [SMALL, LARGE_ONE])
def test_the_same_pieces_have_the_same_key_wherever_they_are(wasm: bytes) -> None:
    keys = set()
    for copy in (bytes(bytearray(wasm)), bytes(bytearray(wasm))):
        view = memoryview(copy)
        keys.add(Original(copy).key([view[:100], b"between", view[100:]], "settings"))
    assert len(keys) == 1


@pytest.mark.parametrize("wasm", [SMALL, LARGE_ONE])
def test_other_pieces_have_another_key(wasm: bytes) -> None:
    view, other = memoryview(wasm), bytearray(wasm)
    other[-1] ^= 1
    original, changed = Original(wasm), Original(bytes(other))
    keys = [
        original.key([view[:100], b"x", view[100:]], "a"),
        original.key([view[:100], b"x", view[100:]], "b"),
        original.key([view[:100], b"y", view[100:]], "a"),
        original.key([view[:100], view[100:]], "a"),
        original.key([view[:99], b"x", view[99:]], "a"),
        original.key([view[:100], b"x", view[101:]], "a"),
        original.key([view[256:356], b"x", view[100:]], "a"),
        changed.key([memoryview(changed.wasm)[:100], b"x", memoryview(changed.wasm)[100:]], "a"),
    ]
    if wasm is SMALL:  # of a small one, the bytes are read, and these are the same
        assert len({*keys}) == len(keys)
    else:
        assert bytes(view[256:356]) == bytes(view[:100])
        assert len({*keys}) == len(keys)


def test_where_bytes_are() -> None:
    data = bytearray(b"0123456789")
    view = memoryview(data)
    assert address(view[3:]) - address(view) == 3
    whole = bytes(data)
    assert address(memoryview(whole)[7:]) - address(whole) == 7
    assert address(b"") != address(whole)


def test_what_reading_ahead_raised_comes_out() -> None:
    def read() -> bytes:
        raise InputError("no such file")

    original = Original.ahead(read, "settings")
    for _ in range(2):
        with pytest.raises(InputError, match="no such file"):
            original()


FORKED = """
import os, signal, time
from wizer.kept import begin

wait = begin(lambda: time.sleep(0.3) or 7)
if os.fork() == 0:
    signal.alarm(20)
    os._exit(wait())
print(os.waitstatus_to_exitcode(os.wait()[1]), wait())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_what_a_thread_of_the_parent_was_doing_is_done_anew_where_it_is_needed() -> None:
    command = [sys.executable, "-c", FORKED]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["7", "7"]


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the cache folder does not follow HOME")

WITH_MUCH_CODE = f"""(module
    (memory (export "memory") 1)
    (func (export "f") (i32.store8 (i32.const 9) (i32.const 7)))
    (func {"nop " * LARGE}))"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path


def entry(home: Path) -> Path:
    """The file of machine code in the cache."""
    (found,) = (path for path in home.rglob("*") if path.is_file() and not path.suffix)
    return found


@linux
@pytest.mark.parametrize("what", ["module", "component"])
def test_what_was_made_before_is_read_ahead(home: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    text = WITH_MUCH_CODE
    if what == "component":
        text = f"(component {text.replace('(module', '(core module $m')} (core instance (instantiate $m)))"
    wasm = assembled(text)
    checked: list[Path] = []
    checksum = cache._checksum

    def noting_what_is_read(path: Path) -> bytes:
        checked.append(path)
        return checksum(path)

    monkeypatch.setattr(cache, "_checksum", noting_what_is_read)
    loaded: list[tuple[str | None, bool]] = []
    load = cache.load

    def noting(kind: type, engine: object, key: str, ahead: cache.Expected | None = None) -> object:
        found = load(kind, engine, key, ahead)  # type: ignore[arg-type]
        loaded.append((None if ahead is None else ahead.key, found is not None))
        return found

    monkeypatch.setattr(cache, "load", noting)
    for _ in range(2):
        Session(wasm).close()
    key = entry(home).name
    assert loaded == [(None, False), (key, True)]
    assert [path.name for path in checked if path.name == key] == [key]  # once, ahead


@linux
@pytest.mark.parametrize("text", ["", "../../elsewhere", "0" * 64, "\udc80"])
def test_a_damaged_note_is_no_error(home: Path, text: str) -> None:
    wasm = assembled(WITH_MUCH_CODE)
    Session(wasm).close()
    (note,) = home.rglob("*.latest")
    right = note.read_bytes()
    note.write_text(text, errors="surrogateescape")
    Session(wasm).close()
    assert note.read_bytes() == right


@linux
def test_what_was_damaged_is_not_loaded_though_it_was_expected(home: Path) -> None:
    wasm = assembled(WITH_MUCH_CODE)
    Session(wasm).close()
    entry(home).write_bytes(b"garbage")
    with Session(wasm) as session:
        session.call("f")
        assert session.memory()[9] == 7
