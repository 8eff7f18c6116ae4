from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from support.command import WIZER, Tool, environment
from wizer.binary.module import parse_module

from . import modules
from .conftest import call, exports

Write = Callable[..., Path]


def test_file_to_file(wizer: Tool, module: Write, tmp_path: Path) -> None:
    ended = wizer(module(modules.COUNTER), "-o", "out.wasm")
    assert (ended.status, ended.stdout, ended.stderr) == (0, b"", "")
    output = (tmp_path / "out.wasm").read_bytes()
    assert call(output, "get") == 42
    assert "wizer-initialize" not in exports(output)


def test_stdin_to_stdout(wizer: Tool, module: Write) -> None:
    wasm = module(modules.COUNTER).read_bytes()
    outputs = {wizer(*args, stdin=wasm).stdout for args in ([], ["-"], ["-o", "-"], ["-", "-o=-"])}
    assert len(outputs) == 1
    assert call(outputs.pop(), "get") == 42


def test_dash_is_no_file(wizer: Tool, module: Write, tmp_path: Path) -> None:
    assert wizer(module(modules.COUNTER), "-o", "-").status == 0
    assert not (tmp_path / "-").exists()


def test_text_format(wizer: Tool, tmp_path: Path) -> None:
    (tmp_path / "in.wat").write_text(modules.COUNTER)
    assert call(wizer("in.wat").stdout, "get") == 42
    assert call(wizer(stdin=modules.COUNTER.encode()).stdout, "get") == 42


def test_what_describes_a_relocatable_object_goes_and_is_named(wizer: Tool, module: Write) -> None:
    sections = ("linking", "reloc.CODE", "producers", "reloc..debug_info")
    annotations = "".join(f'(@custom "{name}" "\\02")' for name in sections)
    ended = wizer(module(modules.COUNTER.replace("(module", f"(module {annotations}", 1)))
    assert ended.stderr == (
        "note: the output lacks `linking`, `reloc.CODE`, `reloc..debug_info`: "
        "they describe the input as a relocatable object\n"
    )
    kept = {section.name for section in parse_module(ended.stdout).sections if section.id == 0}
    assert kept == {"producers", "name"}
    assert wizer("-f", "get", stdin=ended.stdout).stderr == "`get` returned 42\n"


def test_what_a_module_in_a_component_loses_is_named(wizer: Tool, module: Write) -> None:
    text = """(component
      (core module $m (@custom "linking" "\\02") (func (export "init")))
      (core instance $i (instantiate $m))
      (func (export "wizer-initialize") (canon lift (core func $i "init"))))"""
    ended = wizer(module(text))
    assert ended.stderr == (
        "note: the output lacks `linking`: they describe the input as a relocatable object\n"
    )


def test_output_may_be_the_input(wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    assert wizer(path, "-o", path).status == 0
    assert call(path.read_bytes(), "get") == 42


def test_output_through_a_symbolic_link(wizer: Tool, module: Write, tmp_path: Path) -> None:
    (tmp_path / "link.wasm").symlink_to("real.wasm")
    (tmp_path / "real.wasm").write_bytes(b"old")
    assert wizer(module(modules.COUNTER), "-o", "link.wasm").status == 0
    assert (tmp_path / "link.wasm").is_symlink()
    assert call((tmp_path / "real.wasm").read_bytes(), "get") == 42


def test_output_keeps_its_permissions(wizer: Tool, module: Write, tmp_path: Path) -> None:
    old, new = tmp_path / "old.wasm", tmp_path / "new.wasm"
    old.write_bytes(b"old")
    old.chmod(0o640)
    path = module(modules.COUNTER)
    assert wizer(path, "-o", old).status == wizer(path, "-o", new).status == 0
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert stat.S_IMODE(new.stat().st_mode) == 0o666 & ~umask


def test_output_to_a_pipe_with_a_name(wizer: Tool, module: Write, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    assert wizer(module(modules.COUNTER), "-o", fifo).status == 0
    reader.join(10)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert call(received[0], "get") == 42


def test_no_binary_onto_a_terminal(wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    pty = pytest.importorskip("pty")
    controller, terminal = pty.openpty()
    with wizer.start(path, stdout=terminal) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert stderr.startswith(b"error: ")
    assert b"terminal" in stderr
    assert b"-o" in stderr
    os.close(terminal)
    os.close(controller)


def test_no_input_from_a_terminal(tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    controller, terminal = pty.openpty()
    ended = subprocess.run(
        WIZER, stdin=terminal, capture_output=True, cwd=tmp_path, env=environment(), timeout=60, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"error: the following required arguments were not provided:\n  <INPUT>\n")
    os.close(terminal)
    os.close(controller)


@pytest.mark.parametrize(
    ("shell", "status"),
    [
        ("in.wasm -o out.wasm <&- >&- 2>&-", 0),
        ("-f 'add(1, 2)' in.wasm -o out.wasm 2>&-", 0),
        ("in.wasm >&-", 4),
        ("<&- -o out.wasm", 4),
        ("--version >&-", 0),
        ("--bad 2>&-", 2),
    ],
)
def test_closed_streams(shell: str, status: int, wizer: Tool, module: Write) -> None:
    module(modules.COUNTER)
    sh = Tool(("sh", "-c", f'"$0" -m wizer {shell}'), wizer.cwd)
    ended = sh(WIZER[0])
    assert ended.status == status, ended.stderr
    assert b"returned" not in ended.stdout
    assert "Traceback" not in ended.stderr
    assert (wizer.cwd / "out.wasm").exists() is (status == 0 and "out.wasm" in shell)


def test_init_functions_run_in_order_and_report(wizer: Tool, module: Write) -> None:
    ended = wizer(module(modules.COUNTER), "-f", "set(0x10)", "-f", "double", "-f", "add(1, -3)")
    assert ended.status == 0
    assert ended.stderr == "`add` returned 30\n"
    assert call(ended.stdout, "get") == 30
    assert exports(ended.stdout) == {"memory", "wizer-initialize", "mixed", "get"}


def test_results_of_every_type(wizer: Tool, module: Write) -> None:
    ended = wizer(module(modules.COUNTER), "-f", "mixed(-1, 0.5, -inf)")
    assert ended.stderr == "`mixed` returned (-1, 0.5, -inf)\n"


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("set", "the Wasm module's `set` function export does not have type `[] -> []`"),
        ("set(1, 2)", "the function takes 1"),
        ("set(1.5)", "no integer literal"),
    ],
)
def test_calls_that_do_not_fit(function: str, says: str, wizer: Tool, module: Write) -> None:
    ended = wizer(module(modules.COUNTER), "-f", function)
    assert ended.status == 1
    assert ended.stdout == b""
    assert says in ended.first_line


def test_keep_init_func(wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    for option, kept in (("", True), ("=true", True), ("=false", False)):
        ended = wizer(f"--keep-init-func{option}", path)
        assert ended.status == 0
        assert ("wizer-initialize" in exports(ended.stdout)) is kept


def test_rename(wizer: Tool, module: Write) -> None:
    ended = wizer(module(modules.COUNTER), "-r", "read=get", "--func-rename", "set=double")
    assert exports(ended.stdout) == {"memory", "set", "add", "mixed", "read"}
    assert call(ended.stdout, "read") == 42


def test_rename_of_nothing(wizer: Tool, module: Write) -> None:
    ended = wizer(module(modules.COUNTER), "-r", "a=nope", "-r", "b=get")
    assert (ended.status, call(ended.stdout, "b")) == (0, 42)
    assert ended.stderr == "warning: nothing to rename to `a`: the module does not have a `nope` export\n"


def test_preload(wizer: Tool, module: Write, tmp_path: Path) -> None:
    (tmp_path / "seven.wat").write_text('(module (func (export "f") (result i32) (i32.const 7)))')
    path = module(
        """(module (import "seven" "f" (func $f (result i32))) (global $g (mut i32) (i32.const 0))
        (func (export "wizer-initialize") (global.set $g (call $f)))
        (func (export "get") (result i32) (global.get $g)))"""
    )
    ended = wizer(path, "--preload", "seven=seven.wat")
    assert ended.status == 0, ended.stderr
    store = wasmtime.Store()
    compiled = wasmtime.Module(store.engine, ended.stdout)
    f = wasmtime.Func(store, wasmtime.FuncType([], [wasmtime.ValType.i32()]), lambda: 0)
    get = wasmtime.Instance(store, compiled, [f]).exports(store)["get"]
    assert isinstance(get, wasmtime.Func)
    assert get(store) == 7


def test_missing_preload(wizer: Tool, module: Write) -> None:
    ended = wizer(module(modules.COUNTER), "--preload", "m=none.wasm")
    assert ended.status == 4
    assert ended.stderr == (
        "Error: failed to parse preload module\n\nCaused by:\n"
        "    0: failed to read from `none.wasm`\n    1: No such file or directory (os error 2)\n"
    )


def data(wasm: bytes) -> bytes:
    """Return the first 2 KiB of the memory that a module with WASI imports starts with."""
    store = wasmtime.Store()
    linker = wasmtime.Linker(store.engine)
    compiled = wasmtime.Module(store.engine, wasm)
    linker.define_unknown_imports_as_traps(compiled)
    memory = linker.instantiate(store, compiled).exports(store)["memory"]
    assert isinstance(memory, wasmtime.Memory)
    return bytes(memory.read(store, 0, 2048))


def test_wasi_is_off_unless_asked_for(wizer: Tool, module: Write) -> None:
    ended = wizer(module(modules.PRINTS))
    assert ended.status == 1
    assert "unknown import: `wasi_snapshot_preview1::fd_write` has not been defined" in ended.stderr


@pytest.mark.parametrize("option", ["--allow-wasi", "-Scli", "-S cli=y", "-Scommon"])
def test_wasi_on(option: str, wizer: Tool, module: Write) -> None:
    ended = wizer(*option.split(), module(modules.PRINTS), "-o", "out.wasm")
    assert (ended.status, ended.stdout, ended.stderr) == (0, b"hello\n", "")


def test_guest_does_not_write_into_the_module(wizer: Tool, module: Write) -> None:
    ended = wizer("--allow-wasi", module(modules.PRINTS))
    assert ended.status == 0
    assert ended.stdout.startswith(b"\0asm")
    assert ended.stderr == "hello\n"


@pytest.mark.parametrize("option", ["--inherit-stdio=false", "-Sinherit-stdout=n"])
def test_stdio_off(option: str, wizer: Tool, module: Write) -> None:
    ended = wizer("--allow-wasi", option, module(modules.PRINTS), "-o", "out.wasm")
    assert (ended.status, ended.stdout, ended.stderr) == (0, b"", "")


def test_environment(wizer: Tool, module: Write) -> None:
    path = module(modules.ENVIRONMENT)
    mine = {"WIZER_TEST_PASSED": "1", "WIZER_TEST_SECRET": "2"}
    ended = wizer("--allow-wasi", "--env", "A=b=c", "--env", "WIZER_TEST_PASSED", path, env=mine)
    assert b"A=b=c\0WIZER_TEST_PASSED=1\0" in data(ended.stdout)
    assert b"SECRET" not in ended.stdout
    for option in ("--inherit-env", "-Sinherit-env"):
        assert b"WIZER_TEST_SECRET=2\0" in wizer("--allow-wasi", option, path, env=mine).stdout


def test_first_argument_is_the_name_of_the_input(wizer: Tool, module: Write) -> None:
    module(modules.ARGUMENTS, "args.wasm")
    assert data(wizer("--allow-wasi", "./args.wasm").stdout)[1024:1035] == b"args.wasm\0\0"


def test_directories(wizer: Tool, module: Write, tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    ended = wizer(
        "--allow-wasi", "--dir", "one", "--dir", "two::second", "--mapdir", "third::three",
        module(modules.PREOPENS),
    )  # fmt: skip
    assert ended.status == 0, ended.stderr
    names = [data(ended.stdout)[1024 + i * 32 : 1056 + i * 32].rstrip(b"\0") for i in range(4)]
    assert names == [b"one", b"second", b"third", b""]


def test_directory_that_does_not_exist(wizer: Tool, module: Write) -> None:
    ended = wizer("--allow-wasi", "--dir", "none", module(modules.COUNTER))
    assert ended.status == 1
    assert ended.first_line.startswith("Error: ")
    assert "none" in ended.stderr


def test_wasi_options_without_wasi_are_pointed_out(wizer: Tool, module: Write) -> None:
    ended = wizer("--env", "A=b", "--inherit-env", module(modules.COUNTER))
    assert ended.status == 0
    assert ended.stderr == "warning: without --allow-wasi, there is no effect of --env, --inherit-env\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--fuel", "1000"], "fuel"),
        (["-Wfuel=1000"], "fuel"),
        (["--timeout", "100ms"], "interrupt"),
        (["-Wtimeout=100ms"], "interrupt"),
    ],
)
def test_limits_on_an_endless_loop(args: list[str], says: str, wizer: Tool, module: Write) -> None:
    ended = wizer(*args, module(modules.LOOPS), "-o", "out.wasm")
    assert ended.status == 5
    assert ended.stderr.startswith("Error: ")
    assert says in ended.stderr
    assert not (wizer.cwd / "out.wasm").exists()


@pytest.mark.parametrize("option", ["--max-memory=64KiB", "-Wmax-memory-size=65536"])
def test_memory_limit(option: str, wizer: Tool, module: Write) -> None:
    path = module('(module (memory 2) (func (export "wizer-initialize")))')
    ended = wizer(option, path)
    assert ended.status == 5
    assert "65536" in ended.stderr


def test_timeout_reaches_a_guest_that_sleeps_in_the_host(wizer: Tool, module: Write) -> None:
    ended = wizer("--allow-wasi", "--timeout", "0.2", module(modules.SLEEPS), "-o", "out.wasm")
    assert ended.status == 5
    assert "0.2 s" in ended.first_line
    assert not (wizer.cwd / "out.wasm").exists()


@pytest.mark.parametrize("flag", ["--wasm-multi-memory=false", "-Wmulti-memory=n"])
def test_features_off(flag: str, wizer: Tool, module: Write) -> None:
    path = module('(module (memory 1) (memory 1) (func (export "wizer-initialize")))')
    assert wizer(path).status == 0
    ended = wizer(flag, path)
    assert ended.status == 1
    assert "multiple memories" in ended.stderr


@pytest.mark.parametrize("flag", ["--wasm-simd=false", "--wasm-reference-types false", "-W all-proposals=n"])
def test_features_that_others_need_can_be_off(flag: str, wizer: Tool, module: Write) -> None:
    ended = wizer(*flag.split(), module('(module (func (export "wizer-initialize")))'))
    assert ended.status == 0, ended.stderr
    assert not exports(ended.stdout)


def test_unknown_imports(wizer: Tool, module: Write) -> None:
    path = module(modules.CALLS_IMPORT)
    message = "unknown import: `env::f` has not been defined"
    assert message in wizer(path).stderr
    assert message in wizer("-Wunknown-imports-trap=n", path).stderr
    assert wizer("-Wunknown-imports-default", path).status == 0


def test_config_file(wizer: Tool, module: Write, tmp_path: Path) -> None:
    (tmp_path / "wizer.toml").write_text("[wasm]\nunknown-imports-default = true\n[codegen]\ncache = false\n")
    path = module(modules.CALLS_IMPORT)
    assert wizer("--config", "wizer.toml", path).status == 0
    assert wizer("--config", "wizer.toml", "-Wunknown-imports-default=n", path).status == 1


@pytest.mark.parametrize("letter", "WSCO")
def test_key_lists(letter: str, wizer: Tool) -> None:
    ended = wizer(f"-{letter}", "help")
    assert ended.status == 0
    keys = ended.stdout.decode().splitlines()
    assert len(keys) > 5
    assert max(map(len, keys)) <= 120


@pytest.mark.parametrize(
    "settings",
    [
        ["-Ccompiler=cranelift", "-Oopt-level=2"],
        ["-Ccompiler=winch", "-Ccache=n"],
        ["-O", "opt-level=0,regalloc-algorithm=single-pass,memory-init-cow=n"],
        ["-Cparallel-compilation=n", "-Wnan-canonicalization"],
        ["--relaxed-simd-deterministic", "--wasm-relaxed-simd"],
        ["-Ddebug-info=n"],
    ],
)
def test_settings_that_change_nothing_in_the_output(settings: list[str], wizer: Tool, module: Write) -> None:
    path = module(modules.COUNTER)
    ended = wizer(*settings, path)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout == wizer(path).stdout


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("-Wbad=1", "failed to parse -W / --wasm option: unknown option: bad"),
        ("-Sbad", "failed to parse -S / --wasi option: unknown option: bad"),
        ("-Wsimd=maybe", "failed to parse -W / --wasm option: failed to parse option `simd=maybe`"),
        ("-Wfuel=x", "failed to parse -W / --wasm option: failed to parse option `fuel=x`"),
        ("-Wfuel", "failed to parse -W / --wasm option: failed to parse option `fuel`"),
        ("-Wtimeout=zz", "failed to parse -W / --wasm option: failed to parse option `timeout=zz`"),
        ("-Ccompiler=foo", "failed to parse -C / --codegen option: failed to parse option `compiler=foo`"),
        ("-Oopt-level=7", "failed to parse -O / --optimize option: failed to parse option `opt-level=7`"),
        ("-Wwmemcheck", "wmemcheck"),
        ("-Snn", "nn"),
        ("-Dcoredump=x", "coredump"),
        ("-Ccollector=drc", "collector"),
    ],
)
def test_settings_that_cannot_be_honoured(setting: str, says: str, wizer: Tool, module: Write) -> None:
    ended = wizer(setting, module(modules.COUNTER))
    assert (ended.status, ended.stdout) == (2, b"")
    assert ended.first_line.startswith("error: ")
    assert says in ended.first_line


def test_include_dir(wizer: Tool) -> None:
    folder = Path(wizer("--include-dir").stdout.decode().removesuffix("\n"))
    assert "WIZER_INIT" in (folder / "wizer.h").read_text()


def test_max_data_segments(wizer: Tool, module: Write) -> None:
    path = module(
        """(module (memory (export "memory") 1) (func (export "wizer-initialize") (local $i i32)
          (loop $next
            (i32.store8 (local.get $i) (i32.const 1))
            (local.set $i (i32.add (local.get $i) (i32.const 64)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 6400))))))"""
    )
    sizes = [len(wizer("--max-data-segments", str(n), path).stdout) for n in (1, 10, 100)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


def test_layout(wizer: Tool, module: Write) -> None:
    wat = """(module (memory (export "memory") 512%s) (func (export "wizer-initialize")
      (memory.fill (i32.const 20) (i32.const 1) (i32.const 400))))"""
    path = module(wat % "")
    made = [wizer("--layout", layout, path) for layout in ("small", "balanced", "instant")]
    assert made[0].stdout == made[1].stdout == made[2].stdout
    assert not any(each.stderr for each in made)
    instant = wizer("--layout", "instant", module(wat % " (pagesize 1)"))
    assert instant.stdout
    assert instant.stderr.startswith("warning: layout `instant`: memory 0 has pages of 1 byte")
