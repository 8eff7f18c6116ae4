from __future__ import annotations

import platform
import shlex
from pathlib import Path

import pytest

from wizer.cli.options import RunOptions, run_options
from wizer.cli.parse import UsageError, parse
from wizer.cli.settings import read_config
from wizer.errors import InputError, OptionError
from wizer.units import number, seconds, size


def options(line: str) -> RunOptions:
    return run_options(parse(shlex.split(line)))


def test_defaults() -> None:
    plain = options("")
    assert (plain.input, plain.output, plain.init_funcs) == ("-", None, None)
    assert not plain.keep_init_func
    assert not plain.allow_wasi
    assert plain.layout is None
    assert plain.max_data_segments is None


def test_all_of_wizer_11() -> None:
    given = options(
        "in.wasm -o out.wasm -f a -r b=c -r d=e=f --keep-init-func --allow-wasi --preload m=m.wat "
        "--relaxed-simd-deterministic --inherit-stdio false --inherit-env true --dir x --mapdir y::z "
        "--wasm-multi-memory false --wasm-simd=false --wasm-bulk-memory"
    )
    assert given.rename == {"b": "c", "d": "e=f"}
    assert given.preload == {"m": "m.wat"}
    assert given.dirs == {"x": "x", "y": "z"}
    assert given.features == {"multi-memory": False, "simd": False, "bulk-memory": True}
    assert (given.keep_init_func, given.allow_wasi, given.relaxed_simd_deterministic) == (True, True, True)
    assert (given.inherit_stdio, given.inherit_env) == (False, True)


@pytest.mark.parametrize("layout", ["balanced", "small", "instant"])
def test_layouts(layout: str) -> None:
    assert options(f"--layout {layout}").layout == layout


def test_a_layout_that_is_none() -> None:
    with pytest.raises(UsageError, match="expected balanced, small or instant"):
        options("--layout tiny")


def test_dir_of_wasmtime() -> None:
    assert options("--dir host::guest --dir C:/x").dirs == {"guest": "host", "C:/x": "C:/x"}


def test_several_init_functions_in_order() -> None:
    assert options("-f b -f 'a(1)' -f b").init_funcs == ("b", "a(1)", "b")


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSED_ON", "1")
    monkeypatch.delenv("NOT_SET", raising=False)
    given = options("--env A=b=c --env PASSED_ON --env NOT_SET --env EMPTY=")
    assert given.env == {"A": "b=c", "PASSED_ON": "1", "EMPTY": ""}
    assert given.warnings == ("the environment variable `NOT_SET` of --env is not set",)


EQUALS = "must contain exactly one equals character ('=')"
BOOLS = "\n  [possible values: true, false]"


@pytest.mark.parametrize(
    ("line", "option", "reason"),
    [
        ("-r foo", "'foo' for '--rename-func <dst=src>'", f": {EQUALS}"),
        ("--preload foo", "'foo' for '--preload <NAME=FILE>'", f": {EQUALS}"),
        ("--keep-init-func=yes", "'yes' for '--keep-init-func[=<true|false>]'", BOOLS),
        ("--wasm-simd=TRUE", "'TRUE' for '--wasm-simd [<true|false>]'", BOOLS),
        ("--mapdir a:b", "'a:b' for '--mapdir <GUEST::HOST>'", ": must be of the form GUEST::HOST"),
        ("--fuel x", "'x' for '--fuel <N>'", ": expected a whole number"),
        ("--max-data-segments=-1", "'-1' for '--max-data-segments <N>'", ": expected a whole number"),
    ],
)
def test_bad_values_in_the_form_of_clap(line: str, option: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        options(line)
    assert str(error.value) == f"error: invalid value {option}{reason}\n\nFor more information, try '--help'."


def test_empty_output() -> None:
    with pytest.raises(UsageError, match="a value is required for '--output <OUTPUT>' but none was supplied"):
        options("--output=")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("-R path=x", "--record"),
        ("-g 1234", "--gdbstub"),
        ("--profile perfmap", "--profile"),
        ("--allow-precompiled", "--allow-precompiled"),
    ],
)
def test_what_cannot_be_honoured_is_named(line: str, name: str) -> None:
    with pytest.raises(UsageError, match=r"is not supported: \w+") as error:
        options(line)
    assert f"error: the argument '{name}" in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-r a=x -r a=y", "Duplicated function rename dst a"),
        ("--dir a::g --mapdir g::b", "two directories would be called `g` in the guest: `a`, `b`"),
    ],
)
def test_contradictions(line: str, message: str) -> None:
    with pytest.raises(OptionError) as error:
        options(line)
    assert str(error.value) == message


def test_target_is_this_machine() -> None:
    system = {"darwin": "apple-darwin", "windows": "pc-windows-msvc"}.get(
        platform.system().lower(), "unknown-linux-gnu"
    )
    options(f"--target {platform.machine().lower()}-{system}")
    for target in ("wasm32-wasi", "foo", f"mips-{system}"):
        with pytest.raises(UsageError, match="initialisation runs on this machine"):
            options(f"--target {target}")


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        (number, "1_000", 1000),
        (number, "0x1F", 31),
        (size, "65536", 65536),
        (size, "64KiB", 65536),
        (size, "0x10000", 65536),
        (size, "1G", 1 << 30),
        (size, "3 MiB", 3 << 20),
        (seconds, "2", 2.0),
        (seconds, "1.5s", 1.5),
        (seconds, "100ms", 0.1),
        (seconds, "5us", 5e-6),
        (seconds, "2m", 120.0),
    ],
)
def test_values(reader: object, text: str, value: float) -> None:
    assert callable(reader)
    assert reader(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("reader", "text"),
    [(number, t) for t in ("", "-1", "1.5", "x", "1k", "_1", "9" * 60)]
    + [(size, t) for t in ("", "KiB", "1KB", "1.5G", "-1", "1TiBs")]
    + [(seconds, t) for t in ("", "s", "1 day", "-1s", "1e3", "1S", "nan", "inf")],
)
def test_bad_values(reader: object, text: str) -> None:
    assert callable(reader)
    with pytest.raises(ValueError, match="expected"):
        reader(text)


def test_config_file_goes_before_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "wizer.toml"
    file.write_text('[wasm]\nsimd = false\nfuel = 5\ntimeout = "1s"\n[optimize]\nopt-level = [1, 2]\n')
    given = options(f"-W fuel=7 --config {shlex.quote(str(file))} -C cache=n,compiler=cranelift")
    assert [f"{section}: {key}={value}" for section, key, value in given.settings] == [
        "wasm: simd=n",
        "wasm: fuel=5",
        "wasm: timeout=1s",
        "optimize: opt-level=1",
        "optimize: opt-level=2",
        "wasm: fuel=7",
        "codegen: cache=n",
        "codegen: compiler=cranelift",
    ]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("x", "(at end of document)"),
        ("[foo]\n", "unknown field `foo`, expected one of the tables `"),
        ("wasm = 3\n", "unknown field `wasm`"),
        ("[wasm]\nsimd = 2020-01-01\n", "`wasm.simd` must be a boolean, a number or a string"),
        ("[wasm]\nbad = 3\n", "unknown option: bad"),
        ("[wasm]\nsimd = 'maybe'\n", "failed to parse option `simd=maybe`"),
        ("[wasm.simd]\nx = 1\n", "`wasm.simd` must be a boolean, a number or a string, not dict"),
        (f"x = {'[' * 100_000}", "recursion"),
        (f"x = {'9' * 10_000}", "digits"),
    ],
)
def test_bad_config_file(text: str, cause: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(OptionError) as error:
        read_config(file)
    assert error.value.message == f'failed to parse TOML config file "{file}"'
    assert cause in str(error.value)


def test_missing_config_file(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_config(tmp_path / "none.toml")
    assert str(error.value) == (
        f'failed to read config file: "{tmp_path / "none.toml"}"\n\n'
        "Caused by:\n    No such file or directory (os error 2)"
    )
