"""``wizer.h``: C and C++ programs, compiled by a real compiler, frozen, and resumed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

import wizer

INCLUDE = Path(wizer.__file__).with_name("include")

C_SOURCE = """
#include <wizer.h>
#include <stdio.h>

static int constructors_ran, ready;
__attribute__((constructor)) static void construct(void) { constructors_ran++; }
static void init(void) { ready = constructors_ran * 10 + 1; }
INIT

#ifndef WIZER_NO_MAIN
static void at_exit(void) { puts("at exit"); }
#ifdef WITH_ARGUMENTS
int main(int argc, char **argv) {
  atexit(at_exit);
  printf("%d %d %d %s\\n", constructors_ran, ready, argc, argv[argc - 1]);
#else
int main(void) {
  atexit(at_exit);
  printf("%d %d\\n", constructors_ran, ready);
#endif
  return STATUS;
}
#endif

int answer(void);
__attribute__((export_name("answer"))) int answer(void) { return ready; }
"""

CPP_SOURCE = """
#include <wizer.h>
#include <cstdio>
#include <string>

struct Object {
  std::string text;
  Object() : text("constructed") { std::puts("constructing"); }
  ~Object() { std::puts("destroyed"); }
};
static Object object;
namespace app { static void init() { object.text += " initialised"; } }
WIZER_INIT(app::init);

#ifdef WITH_ARGUMENTS
int main(int argc, char **argv) { std::printf("%s %d %s\\n", object.text.c_str(), argc, argv[argc - 1]); }
#else
int main() { std::printf("%s\\n", object.text.c_str()); }
#endif
"""


def compile_program(source: str, output: Path, *options: str) -> Path:
    """Compile for WASI with all the warnings that people turn on, as errors."""
    language, standard = ("c++", "c++11") if "namespace" in source else ("c", "c99")
    path = output.with_suffix(".c" if language == "c" else ".cpp")
    path.write_text(source)
    compiler = "cc" if language == "c" else "c++"
    command = [sys.executable, "-m", "ziglang", compiler, "-target", "wasm32-wasi", f"-std={standard}"]
    command += ["-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fno-exceptions", "-I", str(INCLUDE)]
    command += [*options, str(path), "-o", str(output)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def run(wasm: bytes, tmp_path: Path) -> tuple[str, int]:
    """Run a command with one argument; return what it prints and its exit status."""
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["program", "argument"]
    wasi.stdout_file = str(tmp_path / "stdout")
    store.set_wasi(wasi)
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    start = linker.instantiate(store, wasmtime.Module(engine, wasm)).exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    status = 0
    try:
        start(store)
    except wasmtime.ExitTrap as exited:
        status = exited.code
    return (tmp_path / "stdout").read_text(), status


def freeze(path: Path, *, resume: bool = True) -> bytes:
    rename = {"_start": "wizer.resume"} if resume else {}
    wasi = wizer.Wasi(args=["not-this-one"], stdout="null")
    return wizer.wizen(path, rename=rename, wasi=wasi)


def exported(wasm: bytes) -> set[str]:
    return {export.name for export in wasmtime.Module(wasmtime.Engine(), wasm).exports}


@pytest.mark.parametrize("model", ["command", "reactor"])
@pytest.mark.parametrize("arguments", [True, False], ids=["arguments", "no-arguments"])
def test_c(model: str, arguments: bool, tmp_path: Path) -> None:
    options = [f"-mexec-model={model}", "-DINIT=WIZER_INIT(init)", "-DSTATUS=3"]
    options += ["-DWITH_ARGUMENTS"] if arguments else []
    program = compile_program(C_SOURCE, tmp_path / "program.wasm", *options)
    frozen = freeze(program)
    assert exported(frozen) == {"memory", "_start", "answer"}
    expected = "1 11 2 argument\n" if arguments else "1 11\n"
    assert run(frozen, tmp_path) == (expected + "at exit\n", 3)


@pytest.mark.parametrize("model", ["command", "reactor"])
@pytest.mark.parametrize("arguments", [True, False], ids=["arguments", "no-arguments"])
def test_cpp(model: str, arguments: bool, tmp_path: Path) -> None:
    options = [f"-mexec-model={model}", *(["-DWITH_ARGUMENTS"] if arguments else [])]
    frozen = freeze(compile_program(CPP_SOURCE, tmp_path / "program.wasm", *options))
    said = "constructed initialised" + (" 2 argument" if arguments else "")
    assert run(frozen, tmp_path) == (f"{said}\ndestroyed\n", 0)


def test_a_status_of_zero_returns(tmp_path: Path) -> None:
    program = compile_program(C_SOURCE, tmp_path / "program.wasm", "-DINIT=WIZER_INIT(init)", "-DSTATUS=0")
    assert run(freeze(program), tmp_path) == ("1 11\nat exit\n", 0)


def test_default_init_freezes_the_state_after_the_constructors(tmp_path: Path) -> None:
    options = ["-DINIT=WIZER_DEFAULT_INIT()", "-DSTATUS=0", "-Wno-unused-function"]
    program = compile_program(C_SOURCE, tmp_path / "program.wasm", *options)
    assert run(freeze(program), tmp_path) == ("1 0\nat exit\n", 0)


def test_the_unfrozen_program_still_runs(tmp_path: Path) -> None:
    program = compile_program(C_SOURCE, tmp_path / "program.wasm", "-DINIT=WIZER_INIT(init)", "-DSTATUS=0")
    assert run(program.read_bytes(), tmp_path) == ("1 0\nat exit\n", 0)


@pytest.mark.parametrize("macro", ["WIZER_INIT(init)", "WIZER_INIT(init);"], ids=["plain", "semicolon"])
def test_a_reactor_without_main_needs_no_wasi(macro: str, tmp_path: Path) -> None:
    options = ["-mexec-model=reactor", "-DWIZER_NO_MAIN", f"-DINIT={macro}", "-Wno-extra-semi"]
    program = compile_program(C_SOURCE, tmp_path / "program.wasm", *options)
    frozen = wizer.wizen(program)
    assert exported(frozen) == {"memory", "answer"}
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    answer = wasmtime.Instance(store, wasmtime.Module(engine, frozen), []).exports(store)["answer"]
    assert isinstance(answer, wasmtime.Func)
    assert answer(store) == 11


def test_main_in_another_file(tmp_path: Path) -> None:
    main = tmp_path / "main.c"
    main.write_text('#include <stdio.h>\nint main(void) { puts("from main"); return 0; }\n')
    init = "#include <wizer.h>\n/* no main here */\nstatic void init(void) {}\nWIZER_INIT(init)\n"
    program = compile_program(init, tmp_path / "program.wasm", str(main))
    assert run(freeze(program), tmp_path) == ("from main\n", 0)


def test_the_command_line_finds_the_header() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wizer", "--include-dir"], check=True, capture_output=True, text=True
    )
    assert (Path(done.stdout.strip()) / "wizer.h").read_bytes() == (INCLUDE / "wizer.h").read_bytes()
