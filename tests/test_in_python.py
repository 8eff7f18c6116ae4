"""What the library is like to people at a prompt, in a notebook, and to programs that listen."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest

import wizer
from support.command import environment
from support.engine import binary
from wizer import OptionError, Session, Wizer, WizerWarning

HOSTILE = "<script>alert(1)</script>\"'&"
WAT = """(module
  (import "env" "<b>log" (func $log (param i32 f64)))
  (import "env" "table" (table 2 funcref))
  (memory (export "memory") 1 3) (memory (export "other") 1)
  (global (export "<script>alert(1)</script>") (mut i64) (i64.const 7))
  (func (export "wizer-initialize"))
  (func (export "f") (param i32) (result i32) (local.get 0))
  (func (export "<img src=x>") (result i32) (i32.const 3))
  (data (i32.const 16) "hello\\00") (data (memory 1) (i32.const 65530) "world!"))"""


@pytest.fixture(scope="module")
def large() -> bytes:
    """A module with many data segments."""
    return binary(
        "(module (memory 100)"
        + "".join(f'(data (i32.const {n * 60}) "some of the contents")' for n in range(5_000))
        + ")"
    )


class Tags(HTMLParser):
    """The elements of a text in HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.found.add(tag)


def objects(wasm: bytes | str) -> list[object]:
    session = Session(wasm)
    if "<img src=x>" in session.exports:
        session.call("<img src=x>")
    preload = {HOSTILE: binary("(module)")}
    found = [session, Wizer(preload=preload), Wizer().instrument(wasm), session.module, session.state()]
    return [*found, wizer.audit(wasm, init_func=()), wizer.inspect(wasm), wizer.diff(wasm, "(module)")]


def test_everything_is_shown_in_a_line_and_in_a_small_table(large: bytes) -> None:
    for wasm in (WAT, large):
        for shown in objects(wasm):
            assert len(repr(shown)) < 300
            assert "\n" not in repr(shown)
            html = shown._repr_html_()  # type: ignore[attr-defined]
            assert len(html) < 3000
            assert Tags(html).found <= {"table", "caption", "tr", "th", "td"}


def test_what_is_shown_says_what_it_is() -> None:
    session = Session(WAT)
    assert repr(session) == "<Session: of a module, exports: 6, imports: 2, calls: 0>"
    assert repr(session.module).startswith("<Module: ")
    session.call("f", 3)
    assert "last: 'f'" in repr(session)
    session.close()
    assert repr(session) == "<Session: is closed>"
    assert repr(Wizer()) == "Wizer()"
    assert repr(Wizer(init_func="boot", verify=True)) == "Wizer(init_func='boot', verify=True)"
    assert repr(wizer.audit(WAT)) == "<Audit: nothing frozen, 0 places>"
    with Session("(component)") as other:
        assert "component" in repr(other)


def test_a_session_is_shown_while_another_thread_uses_it() -> None:
    inside, go = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        go.wait(60)

    wat = '(module (import "e" "wait" (func $w)) (memory 1) (func (export "f") (call $w)))'
    with Session(wat, imports={"e": {"wait": wait}}) as session:
        thread = threading.Thread(target=session.call, args=("f",))
        thread.start()
        inside.wait(60)
        assert repr(session).startswith("<Session: of a module")
        go.set()
        thread.join()


def test_exports_and_imports_have_types() -> None:
    with Session(WAT) as session:
        assert {name: str(extern.type) for name, extern in session.exports.items()} == {
            "memory": "1 3",
            "other": "1",
            "<script>alert(1)</script>": "(mut i64)",
            "wizer-initialize": "[] -> []",
            "f": "[i32] -> [i32]",
            "<img src=x>": "[] -> [i32]",
        }
        assert [str(extern) for extern in session.imports] == [
            "func `env::<b>log`: [i32 f64] -> []",
            "table `env::table`: 2 (ref null func)",
        ]
        assert session.exports["f"].kind == "func"


def test_a_component_has_types_in_the_notation_of_wit() -> None:
    wat = """(component (import "log" (func))
      (import "my:pkg/times" (instance (export "now" (func (param "zone" string) (result (list u8))))))
      (core module $m (func (export "f") (param i32 i32) (result i32) (local.get 0)))
      (core instance $i (instantiate $m))
      (func (export "f") (param "a" u32) (param "b" bool) (result u32)
        (canon lift (core func $i "f"))))"""
    with Session(wat) as session:
        assert str(session.exports["f"]) == "func `f`: func(a: u32, b: bool) -> u32"
        assert [str(extern) for extern in session.imports] == [
            "func `log`: func()",
            "func `my:pkg/times::now`: func(zone: string) -> list<u8>",
        ]
        with pytest.raises(OptionError, match="no memory"):
            session.read_string(0)


def test_memory_is_read_and_written_with_types() -> None:
    with Session(WAT) as session:
        assert session.read_string(16) == session.read_string(16, 5) == "hello"
        assert session.read_string(65530, 6, memory="other") == "world!"
        session.pack("Hq", 64, 0x0102, -2)
        assert bytes(session.memory()[64:74]) == b"\x02\x01\xfe" + b"\xff" * 7  # no gap, and little-endian
        assert session.unpack("<Hq", 64) == (0x0102, -2)
        array = session.array("u2", 64, 3)
        assert array.tolist() == [0x0102, 0xFFFE, 0xFFFF]
        array[:] = [1, 2, 3]
        assert bytes(session.memory()[64:70]) == b"\1\0\2\0\3\0"
        assert session.array(np.float64, 0, 0).dtype == np.dtype("<f8")
        assert np.asarray(session.memory()[64:70]).tolist() == [1, 0, 2, 0, 3, 0]
        frozen = session.snapshot()
    with Session(frozen) as session:
        assert session.unpack("HHH", 64) == (1, 2, 3)


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda s: s.read_string(65536, 1), 'memory 0 ("memory") has 65536 bytes'),
        (lambda s: s.read_string(-1), "from -0x1"),
        (
            lambda s: s.read_string(65530, memory="other"),
            'no byte of memory 1 ("other") from 0xfffa on is zero',
        ),
        (lambda s: s.unpack("I", 65533), "there are none from 0xfffd to 0x10001"),
        (lambda s: s.pack("I", 65536, 1), "has 65536 bytes"),
        (lambda s: s.array("u8", 0, 8193), "there are none from 0x0 to 0x10008"),
        (lambda s: s.array("u8", 1 << 64, 1 << 64), "has 65536 bytes"),
        (lambda s: s.array("u8", 0, -1), "has 65536 bytes"),
        (lambda s: s.array(object, 0, 1), "no elements of type object"),
        (lambda s: s.array("nothing", 0, 1), "is no type of NumPy's"),
        (lambda s: s.array("u4", 0, "x"), "are whole numbers"),
        (lambda s: s.unpack(">I", 0), "memory is little-endian"),
        (lambda s: s.unpack("k", 0), "is no format"),
        (lambda s: s.pack("B", 0, 300), "do not fit the format"),
        (lambda s: s.pack("B", 0), "do not fit the format"),
        (lambda s: s.unpack("I", 1.5), "are whole numbers"),
        (lambda s: s.read_string(16, 5, encoding="klingon"), "knows no encoding"),
        (lambda s: s.read_string(0, 4, memory="none"), "does not have a memory export `none`"),
    ],
)
def test_what_is_not_there_is_named(misuse: Callable[[Session], object], message: str) -> None:
    with Session(WAT) as session:
        before = bytes(session.memory())
        with pytest.raises(OptionError) as caught:
            misuse(session)
        assert message in str(caught.value)
        assert bytes(session.memory()) == before


def test_text_that_is_no_text_is_an_error() -> None:
    with Session(WAT) as session:
        session.memory()[100:102] = b"\xff\xfe"
        with pytest.raises(OptionError, match="no utf-8 text from 0x64 to 0x66"):
            session.read_string(100, 2)


def test_dir_and_help_know_the_public_names() -> None:
    program = "import wizer; print(dir(wizer)); help(wizer)"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=True, text=True
    )
    names, _, text = ended.stdout.partition("\n")
    assert {name for name in eval(names) if not name.startswith("__")} == {
        name for name in wizer.__all__ if not name.startswith("__")
    }
    for name in ("Session", "Wizer", "Audit", "TrapError"):
        assert f"class {name}(" in text


def test_stages_notes_and_warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wizer")
    many = "".join(f'(data (i32.const {n * 1000}) "x")' for n in range(60))
    wat = f'(module (memory 1) (func (export "boot")) {many})'
    with pytest.warns(WizerWarning, match="imports: nothing is imported"):
        Wizer(init_func="boot", max_data_segments=9).run(wat, imports={"nothing": {}})
    logged = {record.getMessage(): record.levelname for record in caplog.records}
    assert {record.name for record in caplog.records} == {"wizer"}
    for stage in ("parsing", "instrumenting", "linking", "initialising `boot`", "capturing", "scanning"):
        assert logged[stage] == "DEBUG"
    assert [level for text, level in logged.items() if re.fullmatch(r"compiling 0\.\d KiB", text)] == [
        "DEBUG"
    ]
    assert "INFO" in {level for text, level in logged.items() if "leaves room for 9: 60 ranges" in text}
    assert "WARNING" in {level for text, level in logged.items() if text.startswith("imports: nothing")}


def test_who_does_not_ask_for_the_log_sees_none_of_it() -> None:
    program = (
        "import logging, warnings, wizer; warnings.simplefilter('ignore');"
        "wizer.wizen('(module (func (export \"f\")))', imports={'x': {}}, init_func='f')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=True, text=True
    )
    assert ended.stderr == ""


def test_an_isolated_run_is_logged_in_the_parent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wizer")
    Wizer(init_func="f", isolate=True).run('(module (func (export "f")))')
    assert "initialising `f`" in caplog.messages
