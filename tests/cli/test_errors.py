"""What a failed run says, which programs parse: the same first line and the same chain as the Rust tools."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Tool, environment
from wizer.cli.flags import LETTERS, from_settings
from wizer.errors import OptionError

from . import modules
from .conftest import exports

Write = Callable[..., Path]

TRAPPED = "Error: the `wizer-initialize` function trapped"

# what is wrong: the module, the options, and the first line of the standalone `wizer` 11
SAME_AS_WIZER_11 = {
    "trap": (modules.TRAPS, [], TRAPPED),
    "stack overflow": (modules.RECURSES, [], TRAPPED),
    "unknown import": (modules.CALLS_IMPORT, [], TRAPPED),
    "exit": (modules.EXITS, ["--allow-wasi"], TRAPPED),
    "no wasi": (modules.EXITS, [], TRAPPED),
    "no init function": (
        modules.NO_INIT,
        [],
        "Error: the Wasm module does not have a `wizer-initialize` export",
    ),
    "no such function": (
        modules.COUNTER,
        ["-f", "nope"],
        "Error: the Wasm module does not have a `nope` export",
    ),
    "not a function": (
        modules.NOT_A_FUNCTION,
        [],
        "Error: the Wasm module's `wizer-initialize` export is not a function",
    ),
    "rename twice to": (
        modules.COUNTER,
        ["-r", "a=get", "-r", "a=set"],
        "Error: Duplicated function rename dst a",
    ),
    "bad output folder": (modules.COUNTER, ["-o", "none/out.wasm"], "Error: failed to create output file"),
    "output is a folder": (modules.COUNTER, ["-o", "."], "Error: failed to create output file"),
    "missing preload": (
        modules.COUNTER,
        ["--preload", "m=none.wasm"],
        "Error: failed to parse preload module",
    ),
}


@pytest.mark.parametrize("case", SAME_AS_WIZER_11)
def test_first_line(case: str, wizer: Tool, module: Write) -> None:
    text, options, first_line = SAME_AS_WIZER_11[case]
    ended = wizer(module(text), *options)
    assert (ended.status, ended.stdout) == (4 if "preload" in case or "output" in case else 1, b"")
    assert ended.first_line == first_line


@pytest.mark.parametrize("case", SAME_AS_WIZER_11)
def test_first_line_beside_wizer_11(case: str, wizer_rust: Tool, module: Write) -> None:
    text, options, first_line = SAME_AS_WIZER_11[case]
    ended = wizer_rust(module(text), *options)
    assert ended.status == 1
    assert ended.first_line == first_line


def normal(stderr: str) -> str:
    """Leave out what is each tool's own: the backtrace's code offsets and the blanks before its frames."""
    lines = (re.sub(r"0x[0-9a-f]+", "0x", line) for line in stderr.splitlines())
    return "\n".join(re.sub(r"^\s+(\d+:)", r"\1", line) for line in lines).strip()


def without_frames(stderr: str) -> str:
    """Leave out the frames of a backtrace."""
    return "\n".join(
        line for line in normal(stderr).splitlines() if "0x - " not in line and "<unknown>!" not in line
    )


@pytest.mark.parametrize("case", ["trap", "unknown import", "exit"])
def test_chain_beside_wizer_11(case: str, wizer: Tool, wizer_rust: Tool, module: Write) -> None:
    text, options, _ = SAME_AS_WIZER_11[case]
    path = module(text)
    ours, theirs = wizer(path, *options).stderr, wizer_rust(path, *options).stderr
    assert without_frames(ours) == without_frames(theirs)
    assert len(ours.splitlines()) >= len(theirs.splitlines())


def test_chain_of_a_trap(wizer: Tool, module: Write) -> None:
    stderr = wizer(module(modules.TRAPS)).stderr
    assert re.fullmatch(
        r"Error: the `wizer-initialize` function trapped\n"
        r"\n"
        r"Caused by:\n"
        r"    0: error while executing at wasm backtrace:\n"
        r" +0: +0x[0-9a-f]+ - <unknown>!inner\n"
        r" +1: +0x[0-9a-f]+ - <unknown>!init\n"
        r"    1: wasm trap: wasm `unreachable` instruction executed\n",
        stderr,
    ), stderr


def test_exit_of_the_guest(wizer: Tool, module: Write) -> None:
    ended = wizer("--allow-wasi", module(modules.EXITS))
    assert ended.status == 1
    assert "\n    1: Exited with i32 exit status 3\n" in ended.stderr


@pytest.mark.parametrize("text", [modules.START_TRAPS, modules.REACTOR_TRAPS], ids=["start", "_initialize"])
def test_start_function_traps(text: str, wizer: Tool, module: Write) -> None:
    ended = wizer(module(text))
    assert ended.status == 1
    assert ended.first_line.startswith("Error: ")
    assert "wasm trap: wasm `unreachable` instruction executed" in ended.stderr


def test_input_that_is_not_there(wizer: Tool, wasmtime_wizer: Tool) -> None:
    ended = wizer("none.wasm")
    assert ended.status == 4
    missing = "none.wasm: No such file or directory (os error 2)"
    assert ended.stderr == f"Error: failed to open input file\n\nCaused by:\n    {missing}\n"
    cause = "Caused by:\n    No such file or directory (os error 2)"
    assert cause in wasmtime_wizer("none.wasm").stderr
    folder = "Error: failed to read input Wasm module\n\nCaused by:\n    Is a directory (os error 21)"
    assert wizer(".").stderr.strip().replace(".: ", "") == wasmtime_wizer(".").stderr.strip() == folder


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_files_that_may_not_be_used(wizer: Tool, module: Write, tmp_path: Path) -> None:
    path = module(modules.COUNTER)
    path.chmod(0)
    assert "Permission denied (os error 13)" in wizer(path).stderr
    path.chmod(0o600)
    (tmp_path / "closed").mkdir(0o500)
    assert "Permission denied" in wizer(path, "-o", "closed/out.wasm").stderr


@pytest.mark.parametrize(
    ("wasm", "says"),
    [
        (b"", "0x0"),
        (b"\0asm\2\0\0\0", "0x4"),
        (b"\0asm\1\0\0\0\1\5", "0x"),
        (b"\xff\xfe\xfd\xfc\0\0\0\0", "magic"),
        (b"\0asm", "0x"),
        (b"(module (func i32.cons 1))", "unknown operator or unexpected token"),
        (b"hello", "expected `(`"),
    ],
)
def test_input_that_is_no_module(wasm: bytes, says: str, wizer: Tool) -> None:
    ended = wizer(stdin=wasm)
    assert (ended.status, ended.stdout) == (1, b"")
    assert ended.stderr.startswith("Error: ")
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_output_that_cannot_be_written_is_said_before_the_run(wizer: Tool, module: Write) -> None:
    ended = wizer(module(modules.TRAPS), "-o", "none/out.wasm")
    assert ended.stderr == (
        "Error: failed to create output file\n\n"
        "Caused by:\n    none/out.wasm: No such file or directory (os error 2)\n"
    )


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("file/x", errno.ENOTDIR),
        ("none/x", errno.ENOENT),
        (".", errno.EISDIR),
        ("a" * 300, errno.ENAMETOOLONG),
    ],
)
def test_outputs_that_cannot_be(output: str, code: int, wizer: Tool, module: Write, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = wizer(module(modules.COUNTER), "-o", output)
    assert (ended.status, ended.first_line) == (4, "Error: failed to create output file")
    assert f"(os error {code})" in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_full_disk(wizer: Tool, module: Write) -> None:
    ended = wizer(module(modules.COUNTER), "-o", "/dev/full")
    assert ended.status == 4
    assert ended.stderr.startswith("Error: ")
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_full_disk_behind_stdout(wizer: Tool, module: Write) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is Linux's")
    path = module(modules.COUNTER)
    with Path("/dev/full").open("wb") as full, wizer.start(path, stdout=full.fileno()) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 4
    assert stderr.startswith(b"Error: ")
    assert b"No space left on device" in stderr
    assert b"Traceback" not in stderr


USAGE_ERRORS = {
    "unknown option": ["--bad", "in.wasm"],
    "unknown letter": ["-x", "in.wasm"],
    "second input": ["in.wasm", "extra"],
    "no value": ["in.wasm", "--output"],
    "no function": ["in.wasm", "-f"],
    "no bool": ["in.wasm", "--keep-init-func=yes"],
    "two outputs": ["in.wasm", "-o", "a", "-o", "b"],
    "misspelt": ["in.wasm", "--init-fun", "x"],
    "no rename": ["in.wasm", "-r", "foo"],
    "no setting": ["in.wasm", "-W"],
    "unknown setting": ["in.wasm", "-Wbad=1"],
    "bad bool setting": ["in.wasm", "-Wsimd=maybe"],
    "setting without value": ["in.wasm", "-Wfuel"],
    "bad number": ["in.wasm", "-Wfuel=x"],
    "bad time": ["in.wasm", "-Wtimeout=zz"],
    "bad compiler": ["in.wasm", "-Ccompiler=foo"],
    "bad level": ["in.wasm", "-Oopt-level=7"],
    "unknown wasi": ["in.wasm", "-Sfoo"],
}


@pytest.mark.parametrize("case", USAGE_ERRORS)
def test_usage_errors_beside_wasmtime(case: str, wizer: Tool, wasmtime_wizer: Tool, module: Write) -> None:
    module(modules.COUNTER)
    ours, theirs = wizer(*USAGE_ERRORS[case]), wasmtime_wizer(*USAGE_ERRORS[case])
    assert ours.status == theirs.status == 2
    assert ours.first_line == theirs.first_line
    last = "For more information, try '--help'."
    assert (last in ours.stderr) is (last in theirs.stderr)


ACCEPTED_BY_WASMTIME = [
    "-o=out.wasm", "-oout.wasm", "--output=out.wasm", "--output out.wasm",
    "-fdouble", "-f=double", "--init-func=double", "--init-func double",
    "-r a=get", "-ra=get", "--rename-func=a=get", "--func-rename a=get", "-r a=b=c", "-r a=nope",
    "--keep-init-func", "--keep-init-func=true", "--keep-init-func=false",
    "--env A", "--env A=B", "--env=A=B", "--dir .", "--dir .::g", "--dir=.",
    "-Wsimd", "-W simd=y", "-W=simd=true", "--wasm simd=yes", "--wasm=fuel=100000,timeout=5s",
    "-Wtimeout=1s", "-Wfuel=0x10000", "-Wsimd=n,relaxed-simd=n",
    "-Scli", "-S cli=n", "-S inherit-env=y,inherit-stdin=n", "-Ccache=n", "-C compiler=winch",
    "-O opt-level=s", "-Oopt-level=0", "-Ddebug-info=n",
]  # fmt: skip

ACCEPTED_BY_WIZER_11 = [
    "-o=out.wasm", "-oout.wasm", "-o out.wasm",
    "-fdouble", "-f=double", "--init-func=double",
    "-r a=get", "--func-rename=a=get", "--rename-func a=get", "-r a=nope",
    "--keep-init-func", "--keep-init-func=true", "--keep-init-func=false",
    "--allow-wasi", "--allow-wasi --dir . --mapdir g::.", "--dir .",
    "--inherit-env", "--inherit-env=true", "--inherit-env false",
    "--inherit-stdio", "--inherit-stdio=true", "--inherit-stdio false",
    "--wasm-multi-memory", "--wasm-multi-memory=true", "--wasm-multi-memory false",
    "--wasm-multi-value true", "--wasm-bulk-memory=true", "--wasm-reference-types true",
    "--wasm-simd", "--wasm-relaxed-simd", "--wasm-simd=false --wasm-relaxed-simd=false",
    "--relaxed-simd-deterministic", "--relaxed-simd-deterministic=false",
]  # fmt: skip


@pytest.mark.parametrize("options", ACCEPTED_BY_WASMTIME)
def test_spellings_beside_wasmtime(options: str, wizer: Tool, wasmtime_wizer: Tool, module: Write) -> None:
    same_outcome(options, wizer, wasmtime_wizer, module)


def test_names_in_messages_are_no_commands_to_the_terminal(wizer: Tool, module: Write) -> None:
    names = (r"reloc.\1b[2J\e2\80\ae", r"\1b]0;title\07")
    text = f"""(module (@custom "{names[0]}" "") (func $f (@name "{names[1]}") unreachable)
        (func (export "wizer-initialize") (call $f)))"""
    trapped = wizer(module(text))
    assert r"\x1b]0;title\x07" in trapped.stderr
    done = wizer(module(text.replace("(call $f)", "")))
    assert r"`reloc.\x1b[2J\u202e`" in done.stderr
    assert not any(character < " " for character in (trapped.stderr + done.stderr).replace("\n", ""))


def test_names_in_messages_are_no_lines_of_ours(wizer: Tool, module: Write) -> None:
    name = r"f\0a\0aError: all is well"
    text = f"""(module (memory (export "{name}") 1) (data (i32.const 0) "x") (func (export "{name}2"))
        (func (export "{"x" * 10_000}")))"""
    path = module(text)
    missing, inspected = wizer(path), wizer("inspect", path).stdout.decode()
    assert r"`f\n\nError: all is well2`" in missing.stderr
    assert max(map(len, missing.stderr.splitlines())) < 1000
    assert r'memory 0 ("f\n\nError: all is well")' in inspected
    assert r"  f\n\nError: all is well2" in inspected


@pytest.mark.parametrize("options", ACCEPTED_BY_WIZER_11)
def test_spellings_beside_wizer_11(options: str, wizer: Tool, wizer_rust: Tool, module: Write) -> None:
    same_outcome(options, wizer, wizer_rust, module)


def same_outcome(options: str, ours: Tool, theirs: Tool, module: Write) -> None:
    """Both take the options, and write to the same place modules with the same exports."""
    path, written = module(modules.COUNTER), ours.cwd / "out.wasm"
    outputs = []
    for tool in (ours, theirs):
        ended = tool(path, *options.split())  # not before it: `--wasm-simd FILE` is an error of wizer 11
        assert ended.status == 0, ended.stderr
        outputs.append(written.read_bytes() if written.exists() else ended.stdout)
        written.unlink(missing_ok=True)
    assert exports(outputs[0]) == exports(outputs[1])
    assert len(outputs[0]) <= len(outputs[1])


@pytest.mark.parametrize("section", LETTERS)
def test_every_key_of_wasmtime_is_known(section: str, wasmtime_wizer: Tool) -> None:
    """It is honoured, or refused with a reason; its name is never an unknown one."""
    letter = LETTERS[section]
    listed = wasmtime_wizer(f"-{letter}", "help").stdout.decode()
    keys = re.findall(rf"^ +-{letter} +([a-z0-9-]+)", listed, re.MULTILINE)
    assert len(keys) > 10
    unknown = []
    for key in keys:
        try:
            from_settings([(section, key, "")])
        except OptionError as error:
            unknown += [key] * ("unknown option" in error.message)
    assert not unknown


def test_a_folder_to_be_is_no_file(wizer: Tool, wasmtime_wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    ended = wizer(path, "-o", "new/")
    assert ended.status == 4
    assert ended.stderr == (
        "Error: failed to create output file\n\nCaused by:\n    new/: Is a directory (os error 21)\n"
    )
    assert "Is a directory (os error 21)" in wasmtime_wizer(path, "-o", "new/").stderr
    assert [p.name for p in wizer.cwd.iterdir()] == ["in.wasm"]


def test_standard_output_by_its_name(wizer: Tool, module: Write) -> None:
    """Who has the file open finds the output in it."""
    path = module(modules.COUNTER)
    expected = wizer(path).stdout
    with (wizer.cwd / "out.wasm").open("w+b") as file:
        file.write(b"old")
        file.flush()
        command = [*wizer.command, str(path), "-o", "/dev/stdout"]
        subprocess.run(command, stdout=file, env=environment(), check=True, timeout=60)
        file.seek(0)
        assert file.read() == expected


@pytest.mark.parametrize(
    "args",
    [
        [b"-f", b"a\xff"],
        [b"-r", b"a\xff=wizer-initialize"],
        [b"-r", b"a=\xff"],
        [b"--allow-wasi", b"--env", b"a=\xff"],
        [b"--allow-wasi", b"--dir", b"/tmp/\xff"],
        [b"--preload", b"a=\xff"],
        [b"--config", b"\xff"],
        [b"--timeout", b"\xff"],
        [b"-W", b"\xff"],
        [b"-C", b"cache-config=\xff"],
    ],
)
def test_arguments_that_are_not_unicode(args: list[bytes], wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    command = [*map(os.fsencode, wizer.command), *args, os.fsencode(path), b"-o", b"out.wasm"]
    run = subprocess.run(command, cwd=wizer.cwd, env=environment(), capture_output=True, check=False)
    assert run.returncode in (0, 1, 2, 4)
    assert b"Traceback" not in run.stderr
    assert run.returncode == 0 or run.stderr.lower().startswith(b"error: ")
    assert (wizer.cwd / "out.wasm").exists() == (run.returncode == 0)
