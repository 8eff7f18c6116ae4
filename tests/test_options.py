"""Options: declared once, known to type checkers, and refused by name where they make no sense.

That a misspelt and an ill-typed one are errors for a type checker is checked by mypy itself: it complains
about an ignored error that there is not.
"""

from __future__ import annotations

import io
import os
import pydoc
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import wizer
from support.command import environment
from wizer import (
    Deterministic,
    EngineConfig,
    Instrumented,
    Limits,
    OptionError,
    Session,
    Wasi,
    Wizer,
    WizerError,
    wizen,
)
from wizer.cli.help import render
from wizer.cli.options import make_flags, make_options, run_options
from wizer.cli.parse import parse
from wizer.engine.trace import Trace
from wizer.options import (
    MAX_DATA_SEGMENTS,
    Changes,
    ExportChanges,
    Options,
    SessionOptions,
    SnapshotOptions,
    WizerOptions,
)
from wizer.records import field_names

WAT = """(module (global $g (mut i32) (i32.const 1)) (memory 1)
    (func (export "wizer-initialize") (global.set $g (i32.const 42)))
    (func (export "main") (result i32) (global.get $g)))"""


def test_the_record_and_what_functions_take_agree() -> None:
    """A type is written twice, once for a keyword and once for the record: they are the same."""
    names = vars(sys.modules["wizer.options"]) | {"Trace": Trace, "os": os}
    hints = get_type_hints(Options, names, names)
    for kind in (SnapshotOptions, SessionOptions, WizerOptions, Changes):
        assert get_type_hints(kind, names, names).items() <= hints.items()
    keywords = {name for kind in (WizerOptions, Changes) for name in kind.__annotations__}
    assert keywords == set(field_names(Options)) == set(hints)


def test_the_default_of_a_command_line_is_the_library_s() -> None:
    given = run_options(parse(["in.wasm"]))
    made = make_options(given, make_flags(given), None)
    plain = Options()
    told = {
        "imports",
        "preload",
        "rename",
        "limits",
        "engine",
        "hard_exit",
        "init_func",
    }  # empty ones, or the same
    for name in set(field_names(Options)) - told:
        assert getattr(made, name) == getattr(plain, name), name
    assert made.init_funcs == plain.init_funcs
    assert made.bounds == plain.bounds
    assert made.config == plain.config


def test_the_help_says_the_default() -> None:
    text = " ".join(render("0").split())
    assert f"Most data segments to write [default: {MAX_DATA_SEGMENTS}, or as many as the input has]" in text
    assert f"[default: {Options().init_funcs[0]}]" in text


@pytest.mark.parametrize("function", [wizen, wizer.verify, wizer.audit, Wizer, Session])
def test_help_tells_the_options(function: Callable[..., object]) -> None:
    text = pydoc.plain(pydoc.render_doc(function))
    taken = SessionOptions if function is Session else WizerOptions
    for name in taken.__annotations__:
        assert re.search(
            rf"^[ |]+{name} = {re.escape(repr(getattr(Options(), name)))}: \w", text, re.MULTILINE
        )
    assert "some platforms allow\n" in text
    others = {*WizerOptions.__annotations__, *SessionOptions.__annotations__} - {*taken.__annotations__}
    for name in others:
        assert not re.search(rf"^[ |]+{name} = ", text, re.MULTILINE), name


ILL_TYPED: list[tuple[str, object, str]] = [
    ("init_func", 3, "the name of a function, a call or a sequence of them, or None, not 3"),
    ("init_func", ["f", 3], "the name of a function, a call or a sequence of them, or None, not ['f', 3]"),
    ("init_func", b"f", "the name of a function, a call or a sequence of them, or None, not b'f'"),
    ("keep_init_func", "no", "True or False, not 'no'"),
    ("rename", "a=b", "a mapping from strings to strings, or None, not 'a=b'"),
    ("rename", {"a": 1}, "a mapping from strings to strings, or None, not {'a': 1}"),
    ("validate", 1, "True or False, not 1"),
    ("isolate", 1, "True or False, not 1"),
    ("verify", 1, "True or False, not 1"),
    ("precompile", 1, "a path, or None, not 1"),
    ("wasi", True, "a `Wasi`, or None, not True"),
    ("preload", [b""], "a mapping from names to modules, or None, not [b'']"),
    ("preload", {1: b""}, "a mapping from names to modules, or None, not {1: b''}"),
    ("preload", {"env": 3}, "a mapping from names to modules, or None, not {'env': 3}"),
    ("unknown_imports", "ignore", "one of 'trap', 'error', 'default', not 'ignore'"),
    ("unknown_imports", ["trap"], "one of 'trap', 'error', 'default', not ['trap']"),
    ("limits", {"timeout": 3}, "a `Limits`, or None, not {'timeout': 3}"),
    ("engine", {"cache": False}, "an `EngineConfig`, or None, not {'cache': False}"),
    ("deterministic", 1.5, "True, False, a seed (a number or a string), a `Deterministic`, or None, not 1.5"),
    ("deterministic", [1], "True, False, a seed (a number or a string), a `Deterministic`, or None, not [1]"),
    ("max_data_segments", True, "a whole number that is not negative, or None, not True"),
    ("max_data_segments", "5", "a whole number that is not negative, or None, not '5'"),
    ("max_data_segments", -1, "a whole number that is not negative, or None, not -1"),
    ("layout", "tiny", "one of 'balanced', 'small', 'instant', not 'tiny'"),
    ("layout", None, "one of 'balanced', 'small', 'instant', not None"),
    ("max_output", 1e9, "a whole number that is not negative, or None, not 1000000000.0"),
    ("open_handles", "keep", "one of 'reopen', 'error', 'drop', not 'keep'"),
    ("validate", "no", "True or False, not 'no'"),
    ("keep_libc_state", 1, "True or False, not 1"),
    ("producers", 1, "True, False or a version, or None, not 1"),
    ("hard_exit", 1, "a function, or None, not 1"),
    ("trace", print, "a `Trace`, or None, not <built-in function print>"),
    ("initialize", "yes", "True or False, not 'yes'"),
]


@pytest.mark.parametrize(("option", "value", "expected"), ILL_TYPED)
def test_ill_typed_options(option: str, value: object, expected: str) -> None:
    """Everywhere the same words: the option, what it takes, what it was given."""
    message = f"the option `{option}` takes {expected}"
    given: Any = {option: value}
    ways: list[Callable[[], object]] = [lambda: Options(**given)]
    if option in WizerOptions.__annotations__:
        ways += [
            lambda: wizen(WAT, **given),
            lambda: Wizer(**given),
            lambda: wizer.verify(WAT, WAT, **given),
            lambda: wizer.audit(WAT, **given),
        ]
    if option in SessionOptions.__annotations__:
        ways += [lambda: Session(WAT, **given), lambda: Wizer().session(WAT, **given)]
    if option in SnapshotOptions.__annotations__:
        ways += [lambda: Instrumented(b"", **given)]
    for way in ways:
        with pytest.raises(OptionError) as error:
            way()
        assert str(error.value) == message


def test_every_option_is_in_the_list() -> None:
    assert {option for option, _, _ in ILL_TYPED} | {"imports"} == set(field_names(Options))


def test_imports_are_a_mapping() -> None:
    given: Any = ["env"]
    message = r"the option `imports` takes a mapping from names, or None, not \['env'\]"
    ways: list[Callable[[], object]] = [
        lambda: wizen(WAT, given),
        lambda: wizer.verify(WAT, WAT, given),
        lambda: wizer.audit(WAT, given),
        lambda: Session(WAT, imports=given),
        lambda: Wizer().run(WAT, given),
        lambda: Wizer().session(WAT, given),
    ]
    for way in ways:
        with pytest.raises(OptionError, match=message):
            way()


def test_what_is_imported_is_a_mapping_or_a_module() -> None:
    with pytest.raises(
        OptionError, match=r"`imports` takes a mapping from names, or a module, for `env`, not 3"
    ):
        Session(WAT, imports={"env": 3})


@pytest.mark.parametrize("wasm", [None, 3, ["a"], Wasi()])
def test_a_module_of_no_form(wasm: Any) -> None:
    for way in (wizen, Session, Wizer().run, Wizer().instrument, wizer.audit):
        with pytest.raises(
            OptionError, match="`wasm` takes bytes, a string in the text format or the path of"
        ):
            way(wasm)


def test_long_values_are_shortened() -> None:
    given: Any = b"x" * 1000
    with pytest.raises(OptionError) as error:
        wizen(WAT, limits=given)
    assert len(str(error.value)) < 130
    assert str(error.value).endswith("x…")


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("max_data_segment", "did you mean `max_data_segments`?"),
        ("tiemout", "did you mean `limits=Limits(timeout=…)`?"),
        ("timeout", "did you mean `limits=Limits(timeout=…)`?"),
        ("mapdirs", "did you mean `wasi=Wasi(mapdirs=…)`?"),
        ("compiler", "did you mean `engine=EngineConfig(compiler=…)`?"),
        ("init", "did you mean `init_func`?"),
        ("zzz", "known are layout, max_data_segments, open_handles, validate, keep_libc_state, producers,"),
    ],
)
def test_misspelt_options(option: str, advice: str) -> None:
    given: Any = {option: 3}
    ways: list[Callable[[], object]] = [
        lambda: wizen(WAT, **given),
        lambda: Wizer(**given),
        lambda: wizer.verify(WAT, WAT, **given),
        lambda: wizer.audit(WAT, **given),
    ]
    for way in ways:
        with pytest.raises(OptionError) as error:
            way()
        assert str(error.value).startswith(f"there is no option `{option}` here; {advice}")


def test_options_of_another_function() -> None:
    with pytest.raises(OptionError, match="there is no option `init_func` here"):
        Session(WAT, init_func="main")  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="there is no option `initialize` here"):
        wizen(WAT, initialize=False)  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="there is no option `limits` here"):
        Instrumented(b"", limits=Limits())  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="there is no option `verify` here"):
        Wizer().session(WAT, verify=True)  # type: ignore[call-arg]


def test_type_checkers_see_them() -> None:
    """The ignored errors are there, or mypy says so."""
    with pytest.raises(OptionError):
        wizen(WAT, tiemout=3)  # type: ignore[call-arg]
    with pytest.raises(OptionError):
        wizen(WAT, limits={"timeout": 3})  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        wizen(None)  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        wizer.verify(WAT, WAT, max_data_segments="5")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        wizer.audit(WAT, rename="a")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        Session(WAT, open_handles="keep")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        Wizer(verify="yes")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        Options().changed(wasi="inherit")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        Wasi(dirs="/tmp", env=["A=1"])  # type: ignore[arg-type]
    with Session(WAT) as session:
        with pytest.raises(OptionError):
            session.snapshot(keeep=["main"])  # type: ignore[call-arg]
        with pytest.raises(OptionError):
            session.write(io.BytesIO(), rename=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rename": "a"}, "the option `rename` takes a mapping from strings to strings, or None, not 'a'"),
        ({"rename": {"a": 3}}, "the option `rename` takes a mapping from strings to strings, or None, not"),
        ({"remove": "main"}, "the option `remove` takes a collection of strings, not 'main'"),
        ({"keep": [1]}, "the option `keep` takes a collection of strings, not [1]"),
        ({"keep": None}, "the option `keep` takes a collection of strings, not None"),
        ({"renam": {}}, "there is no option `renam` here; did you mean `rename`?"),
    ],
)
def test_changes_of_exports(given: Any, message: str) -> None:
    instrumented = Wizer().instrument(WAT)
    ways: list[Callable[[], object]] = [lambda: instrumented.snapshot(None, None, **given)]  # type: ignore[arg-type]
    with Session(WAT) as session:
        ways += [
            lambda: session.snapshot(**given),
            lambda: session.write(io.BytesIO(), **given),
            lambda: session.chunks(**given),
        ]
        for way in ways:
            with pytest.raises(OptionError, match=re.escape(message)):
                way()
        assert session.snapshot(remove={"main"}, keep=("main",), rename=None)
    assert set(ExportChanges.__annotations__) == {"rename", "remove", "keep"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"args": "prog -v"}, "`args` takes a sequence of strings, not 'prog -v'"),
        ({"args": [1]}, "`args` takes a sequence of strings, not [1]"),
        ({"env": ["A=1"]}, "`env` takes a mapping from strings to strings, not ['A=1']"),
        ({"env": {"A": 1}}, "`env` takes a mapping from strings to strings, not {'A': 1}"),
        ({"inherit_env": "yes"}, "`inherit_env` takes True or False, not 'yes'"),
        ({"dirs": "/tmp"}, "`dirs` takes a sequence of directories, not '/tmp'"),
        ({"dirs": [3]}, "`dirs` takes a sequence of directories, not [3]"),
        ({"mapdirs": "a::b"}, "`mapdirs` takes a mapping from the guest's names to directories, not 'a::b'"),
        (
            {"mapdirs": {"a": 3}},
            "`mapdirs` takes a mapping from the guest's names to directories, not {'a': 3}",
        ),
        ({"read_only": 1}, "`read_only` takes True or False, not 1"),
        ({"stdin": 0}, "`stdin` takes 'null', 'inherit', bytes or a path, not 0"),
        ({"stdout": b"x"}, "`stdout` takes 'null', 'inherit', 'stderr', a path or a function, not b'x'"),
        ({"stderr": None}, "`stderr` takes 'null', 'inherit', 'stderr', a path or a function, not None"),
        ({"network": 1}, "`network` takes True or False, not 1"),
        ({"name_lookup": 1}, "`name_lookup` takes True or False, not 1"),
        ({"http": 1}, "`http` takes True or False, not 1"),
    ],
)
def test_ill_typed_parts_of_wasi(given: Any, expected: str) -> None:
    with pytest.raises(OptionError, match=re.escape(f"the option {expected}")):
        Wasi(**given)


@pytest.mark.parametrize("name", field_names(Limits))
@pytest.mark.parametrize("value", ["3", True, -1, float("nan"), 1 << 63, [1]])
def test_ill_typed_limits(name: str, value: Any) -> None:
    with pytest.raises(
        OptionError, match=re.escape(f"limit `{name}` must be from 0 to 2^63-1, not {value!r}")
    ):
        Limits(**{name: value})


def test_only_time_comes_in_fractions() -> None:
    assert Limits(timeout=0.5).timeout == 0.5
    with pytest.raises(OptionError, match=r"limit `fuel` must be .*, not 0\.5"):
        Limits(fuel=0.5)  # type: ignore[arg-type]


WRONG: Mapping[str, object] = {
    "features": ["simd"],
    "cache": 3,
    "pooling": {"a": "b"},
    "cranelift_flags": "x",
}


@pytest.mark.parametrize("name", field_names(EngineConfig))
def test_ill_typed_settings_of_the_engine(name: str) -> None:
    given: Any = {name: WRONG.get(name, "maybe")}
    with pytest.raises(OptionError, match=f"the option `{name}` takes .*, not "):
        EngineConfig(**given)


@pytest.mark.parametrize(
    "given", [{"seed": 1.5}, {"start": "now"}, {"step": True}, {"reverse": 1}, {"network": 0}]
)
def test_ill_typed_parts_of_deterministic(given: Any) -> None:
    [name] = given
    with pytest.raises(OptionError, match=f"the option `{name}` takes .*, not "):
        Deterministic(**given)


def test_options_do_not_import_the_engine() -> None:
    program = (
        "import sys, wizer\n"
        "from wizer.options import Options\n"
        "from wizer import Deterministic, EngineConfig, Limits, Wasi\n"
        "Options(wasi=Wasi(), limits=Limits(), engine=EngineConfig(), deterministic=Deterministic())\n"
        "print([m for m in ('wasmtime', 'numpy', 'ctypes') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={**environment(), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert run.stdout == "[]\n"


def test_options_that_are_given_are_used() -> None:
    tool = Wizer(init_func=["wizer-initialize"], limits=Limits(fuel=5_000), max_output=10**6)
    assert tool.options.init_funcs == ("wizer-initialize",)
    assert tool.options.bounds == Limits(fuel=5_000)
    with tool.session(WAT, limits=Limits(fuel=7_000)) as session:
        assert session.store.get_fuel() <= 7_000
        assert session.store.get_fuel() > 5_000
    assert tool.run(WAT) == wizen(WAT)


HALF = "half \udc80 a character"
NO_TEXT: dict[str, Callable[[], object]] = {
    "init_func": lambda: wizen(WAT, init_func=HALF),
    "rename to": lambda: wizen(WAT, rename={HALF: "wizer-initialize"}),
    "rename from": lambda: wizen(WAT, rename={"new": HALF}),
    "text": lambda: wizen(f'(module (func (export "wizer-initialize"))) ;; {HALF}'),
    "path": lambda: wizen(Path(HALF)),
    "path with NUL": lambda: wizen(Path("a\0b")),
    "precompile with NUL": lambda: wizen(WAT, precompile="a\0b"),
    "load": lambda: wizer.load(HALF),
    "load with NUL": lambda: wizer.load("a\0b"),
    "cache": lambda: wizen(WAT, engine=EngineConfig(cache=HALF)),
    "cache with NUL": lambda: wizen(WAT, engine=EngineConfig(cache="a\0b")),
    "cranelift_flags": lambda: wizen(WAT, engine=EngineConfig(cranelift_flags={HALF: "x"})),
    "args": lambda: wizen(WAT, wasi=Wasi(args=[HALF])),
    "env": lambda: wizen(WAT, wasi=Wasi(env={HALF: "a"})),
    "dirs with NUL": lambda: wizen(WAT, wasi=Wasi(dirs=["a\0b"])),
    "mapdirs": lambda: wizen(WAT, wasi=Wasi(mapdirs={HALF: "/"})),
    "stdin with NUL": lambda: wizen(WAT, wasi=Wasi(stdin="a\0b")),
    "stdout": lambda: wizen(WAT, wasi=Wasi(stdout=f"/nowhere/{HALF}")),
    "verify": lambda: wizer.verify(WAT, HALF),
}


@pytest.mark.parametrize("way", NO_TEXT)
def test_what_is_no_text_is_an_error_of_ours(way: str) -> None:
    with pytest.raises(WizerError) as error:
        NO_TEXT[way]()
    assert str(error.value)


def test_what_is_no_call_is_an_error_of_ours() -> None:
    wrong: Any = 3
    with Session(WAT) as session:
        for way in (session.call, session.call_text, session.memory, session.initialize):
            with pytest.raises(OptionError):
                way(wrong)
        with pytest.raises(OptionError, match="it is not Unicode"):
            session.snapshot(rename={HALF: "wizer-initialize"})
