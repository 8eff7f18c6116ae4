"""What wasi-libc knows of the build machine does not reach the next host: directories, variables, stdin."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import wasmtime

import wizer
from include.test_wizer_h import compile_program
from support.command import wizer as command_line
from support.compiled import build, needs_adapter, needs_tools
from support.engine import engine
from support.tools import wasm_tools
from wizer.core.libc import FORGETTING

pytestmark = needs_tools


def run(wasm: bytes, folder: Path, directory: Path, variables: Mapping[str, str], stdin: str = "") -> str:
    """Run a command on another host: a directory as /data, variables, standard input; what it prints."""
    store = wasmtime.Store(engine())
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["program"]
    wasi.env = list(variables.items())
    wasi.preopen_dir(str(directory), "/data")
    (folder / "stdin").write_text(stdin)
    wasi.stdin_file = str(folder / "stdin")
    wasi.stdout_file = str(folder / "stdout")
    store.set_wasi(wasi)
    linker = wasmtime.Linker(store.engine)
    linker.define_wasi()
    instance = linker.instantiate(store, wasmtime.Module(store.engine, wasm))
    start = instance.exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    start(store)
    return (folder / "stdout").read_text()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The next host's directory."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("the next host's x\n")
    (tmp_path / "data" / "input.txt").write_text("the next host's input\n")
    return tmp_path / "data"


@pytest.fixture
def machine(tmp_path: Path) -> wizer.Wasi:
    """The build machine, on which the same file descriptor is another directory."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "x.txt").write_text("the build machine's x\n")
    return wizer.Wasi(
        mapdirs={"/conf": tmp_path / "conf"},
        env={"MODE": "build", "API_TOKEN": "secret"},
        stdin=b"first line\n",
        stdout="null",
    )


PREOPENS = r"""
#include <stdio.h>
#include <wizer.h>
static void load(void) { FILE *f = fopen("/conf/x.txt", "r"); if (f) fclose(f); }
WIZER_INIT(load)
int main(void) {
  char line[64] = "";
  FILE *f = fopen("/conf/x.txt", "r");
  printf("%s, ", f ? "wrong" : "not found");
  f = fopen("/data/x.txt", "r");
  printf("%s", f ? fgets(line, sizeof line, f) : "not found\n");
  return 0;
}
"""

ENVIRON = r"""
#include <stdio.h>
#include <wizer.h>
static int debug;
static void load(void) { debug = getenv("DEBUG") != NULL; }
WIZER_INIT(load)
int main(void) { printf("MODE=%s\n", getenv("MODE") ? getenv("MODE") : "(null)"); return debug; }
"""

EAGER_ENVIRON = r"""
#include <stdio.h>
#include <wizer.h>
extern char **environ;
static int variables;
static void load(void) { for (char **p = environ; *p; p++) variables++; }
WIZER_INIT(load)
int main(void) {
  printf("%d,", variables);
  for (char **p = environ; *p; p++) printf(" %s", *p);
  printf(" %s\n", getenv("MODE"));
  return 0;
}
"""

CHANGED_ENVIRON = r"""
#include <stdio.h>
#include <stdlib.h>
#include <wizer.h>
static void load(void) { setenv("ADDED", "build", 1); unsetenv("MODE"); }
WIZER_INIT(load)
int main(void) { printf("MODE=%s\n", getenv("MODE") ? getenv("MODE") : "(null)"); return 0; }
"""

STDIN = r"""
#include <stdio.h>
#include <wizer.h>
static int lines;
static void load(void) {
  char line[64];
  while (fgets(line, sizeof line, stdin)) lines++;
  printf("unwritten");
}
WIZER_INIT(load)
int main(void) {
  char line[64];
  printf("%d, %s", lines, fgets(line, sizeof line, stdin) ? line : "at its end\n");
  return 0;
}
"""

STALE = r"""
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <wizer.h>
static char conf[4096]; static size_t n; static char *secret;
static void load(void) {
  FILE *f = fopen("/conf/x.txt", "r"); if (!f) { perror("conf"); exit(1); }
  n = fread(conf, 1, 4096, f);
  fclose(f);
  secret = getenv("API_TOKEN"); if (secret) secret = strdup(secret);
}
WIZER_INIT(load)
int main(void) {
  char b[100] = "";
  printf("%d %s %s; ", (int)n, secret, getenv("API_TOKEN"));
  FILE *f = fopen("/data/input.txt", "r");
  printf("%s", f ? fgets(b, 100, f) : "not found\n");
  return 0;
}
"""

LEFT_OPEN = r"""
#include <stdio.h>
#include <wizer.h>
static FILE *left;
static void load(void) { left = fopen("/conf/x.txt", "r"); }
WIZER_INIT(load)
int main(void) {
  char line[64] = "";
  rewind(left);
  printf("%s, ", fgets(line, sizeof line, left) ? line : "closed");
  FILE *f = fopen("/data/x.txt", "r");
  printf("%s", f ? fgets(line, sizeof line, f) : "not found\n");
  return 0;
}
"""


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        pytest.param(PREOPENS, "not found, the next host's x\n", id="preopens"),
        pytest.param(ENVIRON, "MODE=run\n", id="environ"),
        pytest.param(EAGER_ENVIRON, "2, MODE=run API_TOKEN=other run\n", id="environ-eager"),
        pytest.param(CHANGED_ENVIRON, "MODE=run\n", id="environ-changed"),
        pytest.param(LEFT_OPEN, "closed, the next host's x\n", id="left-open"),
        pytest.param(STDIN, "1, second host\n", id="stdin"),
        pytest.param(STALE, "22 secret other; the next host's input\n", id="stale"),
    ],
)
def test_wizer_h(source: str, printed: str, host: Path, machine: wizer.Wasi, tmp_path: Path) -> None:
    program = compile_program(source, tmp_path / "program.wasm", "-std=gnu99")
    frozen = wizer.wizen(program, wasi=machine, rename={"_start": "wizer.resume"})
    variables = {"MODE": "run", "API_TOKEN": "other"}
    assert run(frozen, tmp_path, host, variables, "second host\n") == printed


def test_wizer_h_forgets_an_empty_environment(host: Path, tmp_path: Path) -> None:
    program = compile_program(ENVIRON, tmp_path / "program.wasm")
    frozen = wizer.wizen(program, wasi=wizer.Wasi(), rename={"_start": "wizer.resume"})
    assert run(frozen, tmp_path, host, {"MODE": "run"}) == "MODE=run\n"


def test_wizer_h_that_keeps_it(host: Path, machine: wizer.Wasi, tmp_path: Path) -> None:
    program = compile_program(ENVIRON, tmp_path / "program.wasm", "-DWIZER_KEEP_LIBC_STATE")
    frozen = wizer.wizen(program, wasi=machine, rename={"_start": "wizer.resume"})
    assert run(frozen, tmp_path, host, {"MODE": "run"}) == "MODE=build\n"


def test_wizer_h_takes_in_nothing_that_was_not_there(tmp_path: Path) -> None:
    source = "#include <wizer.h>\nstatic void f(void) {}\nWIZER_INIT(f)\nint main(void) { return 0; }\n"
    program = compile_program(source, tmp_path / "program.wasm")
    module = wasmtime.Module.from_file(wasmtime.Engine(), str(program))
    assert {imported.name for imported in module.imports} <= {"proc_exit", "fd_close", "fd_write", "fd_seek"}


def test_a_program_that_calls_the_functions_itself(tmp_path: Path) -> None:
    """A weak reference in wizer.h does not weaken the program's own."""
    source = (
        "#include <wizer.h>\nvoid __wasilibc_reset_preopens();\n"
        "static void f(void) { __wasilibc_reset_preopens(); }\nWIZER_INIT(f)\nint main(void) { return 0; }\n"
    )
    program = compile_program(source, tmp_path / "program.wasm", "-Wno-strict-prototypes")
    assert wizer.wizen(program, wasi=wizer.Wasi(), rename={"_start": "wizer.resume"})


REACTOR = r"""
#include <stdio.h>
#include <stdlib.h>
#ifdef __cplusplus
extern "C"
#endif
__attribute__((export_name("setup"))) void setup(void) {
  FILE *f = fopen("/conf/x.txt", "r"); if (f) fclose(f);
  getenv("MODE");
}
#ifdef __cplusplus
extern "C"
#endif
__attribute__((export_name("_start"))) void start(void) {
  char line[64] = "";
  FILE *f = fopen("/data/x.txt", "r");
  printf("%s ", getenv("MODE"));
  printf("%s", f ? fgets(line, sizeof line, f) : "not found\n");
  fflush(stdout);
}
"""
EXPORTED = [f"-Wl,--export={name}" for name in FORGETTING.values()]


@pytest.mark.parametrize("how", ["exported", "named"])
def test_programs_without_wizer_h(how: str, host: Path, machine: wizer.Wasi, tmp_path: Path) -> None:
    """Rust's, Ruby's, C with exports of its own: libc's functions are found by export or by name."""
    program = compile_program(REACTOR, tmp_path / "program.wasm", "-mexec-model=reactor", *EXPORTED)
    wasm = program.read_bytes()
    if how == "named":
        wasm = without_exports(wasm, tmp_path)
    frozen = wizer.wizen(wasm, init_func="setup", wasi=machine)
    assert run(frozen, tmp_path, host, {"MODE": "run"}) == "run the next host's x\n"
    with wizer.Session(wasm, wasi=machine) as session:
        session.call("setup")
        assert session.snapshot() == session.snapshot()
    kept = wizer.wizen(wasm, init_func="setup", wasi=machine, keep_libc_state=True)
    assert run(kept, tmp_path, host, {"MODE": "run"}) == "build not found\n"
    wizer.verify(wasm, frozen, init_func="setup", wasi=machine)


@pytest.mark.parametrize("exported", [(), tuple(FORGETTING)[:1], tuple(FORGETTING)], ids=len)
def test_what_is_not_forgotten_is_named(
    exported: tuple[str, ...], host: Path, machine: wizer.Wasi, tmp_path: Path
) -> None:
    """Without libc's functions the next host is not asked: that is said, and what to do."""
    options = [f"-Wl,--export={FORGETTING[what]}" for what in exported]
    program = compile_program(REACTOR, tmp_path / "program.wasm", "-mexec-model=reactor", *options)
    kept = {what: name for what, name in FORGETTING.items() if what not in exported}
    assert wizer.audit(program, init_func="setup", wasi=machine).remembered == kept
    frozen = wizer.wizen(program, init_func="setup", wasi=machine)
    said = run(frozen, tmp_path, host, {"MODE": "run"})
    assert ("build" in said, "not found" in said) == ("environment" in kept, "preopens" in kept)
    line: list[str | Path] = ["--allow-wasi", "--env=MODE=build", "-f", "setup", program]
    ways = [f"was found to forget them: {WAY} -Wl,--export={name}\n" for name in kept.values()]
    for command in (["audit"], ["--warn-frozen", "-o", str(tmp_path / "out.wasm")]):
        ended = command_line(*command, *line)
        text = (ended.stdout + ended.stderr).decode()
        assert text.count("was found to forget them") == len(ways), text
        assert all(way in text for way in ways)
    document = json.loads(command_line("audit", "--json", *line).stdout)
    assert document["remembered"] == kept
    assert wizer.audit(program, init_func="setup", wasi=machine, keep_libc_state=True).remembered == {}


WAY = "a program that has kept them will not ask the next host; include wizer.h, or link with"


def test_only_what_was_asked_for_is_named(machine: wizer.Wasi, tmp_path: Path) -> None:
    """libc looks for directories in ``_initialize`` already, for variables when one is first used."""
    source = REACTOR.replace('getenv("MODE");\n}', "}", 1)
    assert source.count("getenv") == 1
    program = compile_program(source, tmp_path / "program.wasm", "-mexec-model=reactor")
    found = wizer.audit(program, init_func="setup", wasi=machine).remembered
    assert found == {"preopens": FORGETTING["preopens"]}


ARGUMENTS = r"""
#include <wasi/api.h>
__attribute__((export_name("setup"))) void setup(void) {
  size_t argc, size;
  if (__wasi_args_sizes_get(&argc, &size)) __builtin_trap();
}
"""


def test_arguments_that_were_asked_for_are_named(tmp_path: Path) -> None:
    """None were given: nothing of them is in the snapshot, and it may still never ask again."""
    program = compile_program(ARGUMENTS, tmp_path / "program.wasm", "-mexec-model=reactor")
    assert wizer.audit(program, init_func="setup", wasi=wizer.Wasi()).remembered == {"arguments": ""}
    for command in (["audit"], ["--warn-frozen", "-o", str(tmp_path / "out.wasm")]):
        ended = command_line(*command, "--allow-wasi", "-f", "setup", program)
        assert b"initialisation asked for arguments: a program that has kept them" in (
            ended.stdout + ended.stderr
        )


def test_an_empty_environment_that_is_kept_is_named(tmp_path: Path) -> None:
    program = compile_program(REACTOR, tmp_path / "program.wasm", "-mexec-model=reactor")
    assert "environment" in wizer.audit(program, init_func="setup", wasi=wizer.Wasi()).remembered


def without_exports(wasm: bytes, folder: Path) -> bytes:
    """The same program with libc's functions in its name section only."""
    (folder / "with.wasm").write_bytes(wasm)
    tool = wasm_tools()
    assert tool is not None
    text = subprocess.run(
        [tool, "print", str(folder / "with.wasm")], capture_output=True, check=True, text=True
    ).stdout
    lines = [line for line in text.splitlines() if '(export "__wasilibc' not in line]
    assert len(lines) == len(text.splitlines()) - 2
    (folder / "without.wat").write_text("\n".join(lines))
    command = [tool, "parse", str(folder / "without.wat"), "-o", str(folder / "without.wasm")]
    subprocess.run(command, check=True)
    return (folder / "without.wasm").read_bytes()


def test_a_snapshot_of_a_snapshot_is_the_same(machine: wizer.Wasi, tmp_path: Path) -> None:
    program = compile_program(REACTOR, tmp_path / "program.wasm", "-mexec-model=reactor", *EXPORTED)
    frozen = wizer.wizen(program, init_func="setup", keep_init_func=True, wasi=machine)
    with wizer.Session(frozen, initialize=False) as session:
        assert session.snapshot() == frozen


def test_an_instance_of_ones_own_engine(host: Path, tmp_path: Path) -> None:
    program = compile_program(REACTOR, tmp_path / "program.wasm", "-mexec-model=reactor", *EXPORTED)
    prepared = wizer.Wizer().instrument(program)
    store = wasmtime.Store(engine())
    wasi = wasmtime.WasiConfig()
    wasi.env = [("MODE", "build")]
    store.set_wasi(wasi)
    linker = wasmtime.Linker(store.engine)
    linker.define_wasi()
    instance = linker.instantiate(store, wasmtime.Module(store.engine, prepared.wasm))
    for name in ("_initialize", "setup"):
        function = instance.exports(store)[name]
        assert isinstance(function, wasmtime.Func)
        function(store)
    frozen = prepared.snapshot(store, instance)
    assert run(frozen, tmp_path, host, {"MODE": "run"}) == "run the next host's x\n"


COMPONENT = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
__attribute__((export_name("setup"))) void setup(void) {
  FILE *f = fopen("/conf/x.txt", "r"); if (f) fclose(f);
  getenv("MODE");
}
__attribute__((export_name("answer"))) int answer(void) {
  const char *mode = getenv("MODE");
  return (fopen("/data/x.txt", "r") != NULL) + 10 * (mode && strcmp(mode, "run") == 0);
}
__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, size_t n, size_t align, size_t size) {
  (void)n; (void)align; return realloc(old, size);
}
"""


@needs_adapter
@pytest.mark.parametrize("keep", [False, True], ids=["forgotten", "kept"])
def test_component(keep: bool, host: Path, machine: wizer.Wasi, tmp_path: Path) -> None:
    """The libc inside a core module of a component."""
    world = "world w { export setup: func(); export answer: func() -> s32; }"
    component = build(tmp_path, COMPONENT, world, adapt=True, options=EXPORTED)
    frozen = wizer.wizen(component, init_func="setup", wasi=machine, keep_libc_state=keep)
    with wizer.Session(frozen, wasi=wizer.Wasi(mapdirs={"/data": host}, env={"MODE": "run"})) as session:
        assert session.call("answer") == (0 if keep else 11)


@needs_adapter
@pytest.mark.parametrize("exported", [False, True], ids=["missing", "exported"])
def test_what_a_component_does_not_forget_is_named(
    exported: bool, machine: wizer.Wasi, tmp_path: Path
) -> None:
    """The adapter asks the host, too, and is put back to before that: the program's libc counts."""
    world = "world w { export setup: func(); export answer: func() -> s32; }"
    options = EXPORTED if exported else []
    component = build(tmp_path, COMPONENT, world, adapt=True, options=options)
    found = wizer.audit(component, init_func="setup", wasi=machine)
    assert ("wasi:cli/environment", "get-environment") in {
        (module.partition("@")[0], name) for module, name in found.calls
    }
    assert found.remembered == ({} if exported else FORGETTING)


@pytest.mark.parametrize("shared", [True, False])
def test_a_shared_libc_keeps_what_others_may_read_without_it(shared: bool) -> None:
    """Its functions are all exported; a program that reads `environ` would find nothing there."""
    base = '(import "env" "__memory_base" (global i32))' if shared else ""
    wat = f"""(module {base} (global $known (export "known") (mut i32) (i32.const 0))
      (func $__wasilibc_initialize_environ_eagerly)
      (func (export "__wasilibc_deinitialize_environ") (global.set $known (i32.const -1)))
      (func (export "wizer-initialize") (global.set $known (i32.const 7))))"""
    imports = {"env": {"__memory_base": 1024}} if shared else {}
    with wizer.Session(wat, imports=imports) as session:
        session.call("wizer-initialize")
        session.snapshot()
        assert session.globals["known"] == (7 if shared else -1)
