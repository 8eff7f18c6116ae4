"""Memory that several instances share is restored once, by whoever comes first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
import wasmtime

import wizer
from include.test_wizer_h import compile_program
from support.engine import binary, engine
from support.guest import Guest, frozen, validate
from wizer.binary import sections as sec
from wizer.binary.module import parse_module

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not on PATH")

# What toolchains make: a start function that initialises the memory once, and says so in a flag.
FLAGGED = """(module
  (import "env" "memory" (memory 1 4 shared)) (global $tls (mut i32) (i32.const 0))
  (data $d "\\2a\\00\\00\\00\\07\\00\\00\\00")
  (start $init_memory)
  (func $init_memory
    (block $done (block $wait (block $init
      (br_table $init $wait $done
        (i32.atomic.rmw.cmpxchg (i32.const 1000) (i32.const 0) (i32.const 1))))
      (memory.init $d (i32.const 64) (i32.const 0) (i32.const 8))
      (global.set $tls (i32.const 4096))
      (i32.atomic.store (i32.const 1000) (i32.const 2))
      (drop (memory.atomic.notify (i32.const 1000) (i32.const -1))) (br $done))
      (drop (memory.atomic.wait32 (i32.const 1000) (i32.const 1) (i64.const -1))))
    (data.drop $d))
  (func (export "init") (i32.store (i32.const 68) (i32.const 100)))
  (func $lock (drop (i32.atomic.rmw.cmpxchg (i32.const 68) (i32.const 0) (i32.const 1))))
  (func (export "zero") (i32.store (i32.const 68) (i32.const 0)))
  (func (export "tls") (result i32) (global.get $tls))
  (func (export "inc") (result i32) (i32.add (i32.const 1)
    (i32.atomic.rmw.add (i32.const 64) (i32.const 1))))
  (func (export "get") (result i32) (i32.add (i32.load (i32.const 64)) (i32.load (i32.const 68)))))"""


def memory() -> wasmtime.SharedMemory:
    """A fresh shared memory."""
    return wasmtime.SharedMemory(engine(), wasmtime.MemoryType(wasmtime.Limits(1, 4), shared=True))


def test_a_second_instance_leaves_the_memory_as_it_is() -> None:
    snapshot = frozen(binary(FLAGGED))
    validate(snapshot)
    given = {"env": {"memory": memory()}}
    first = Guest(snapshot, given)
    assert (first("get"), first("inc"), first("inc"), first("get")) == (142, 43, 44, 144)
    second = Guest(snapshot, given)
    assert second("get") == 144
    first("zero")
    assert Guest(snapshot, given)("get") == 44, "a word that becomes zero is no flag"


def test_globals_are_of_the_thread_that_initialised() -> None:
    """Others start with theirs, as they do over a memory that the original has initialised."""
    snapshot = frozen(binary(FLAGGED))
    for wasm in (binary(FLAGGED), snapshot):
        given = {"env": {"memory": memory()}}
        guests = [Guest(wasm, given) for _ in range(3)]
        assert [guest("tls") for guest in guests] == [4096, 0, 0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", True),
        ('(data (i32.const 62) "abcdefgh")', False),
        ('(data (i32.const 64) "\\00\\00\\00\\00")', True),
    ],
    ids=["nothing-to-go-by", "data-left-alone", "data-of-zeros"],
)
def test_without_a_flag_of_the_program_s_own(data: str, said: bool) -> None:
    wat = f"""(module (import "env" "memory" (memory 1 4 shared)) {data}
      (func (export "init") (i32.store (i32.const 200) (i32.const 0x00050000)))
      (func (export "inc") (drop (i32.atomic.rmw.add (i32.const 200) (i32.const 1))))
      (func (export "get") (result i32) (i32.load (i32.const 200))))"""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        snapshot = frozen(binary(wat))
    assert {str(warning.message).partition(":")[0] for warning in caught} == (
        {'memory 0 ("memory") is shared, and nothing in the module tells whether it has been initialised'}
        if said
        else set()
    )
    given = {"env": {"memory": memory()}}
    first = Guest(snapshot, given)
    first("inc")
    assert Guest(snapshot, given)("get") == 0x50001


def test_memory_that_is_all_zero_needs_nothing() -> None:
    wat = '(module (import "env" "memory" (memory 1 4 shared)) (func (export "init")))'
    assert parse_module(frozen(binary(wat))).section(sec.START) is None


def test_memory_of_its_own_is_nobody_elses() -> None:
    wat = """(module (memory (export "memory") 1 4 shared) (func (export "init")
      (i32.store (i32.const 8) (i32.const 5))))"""
    module = parse_module(frozen(binary(wat)))
    assert [data.mode for data in module.data] == ["active"]
    assert module.section(sec.START) is None


def test_the_flag_is_written_last() -> None:
    """Who waits must not see it before all the rest is there: no segment has its bytes."""
    snapshot = parse_module(frozen(binary(FLAGGED)))
    assert all(data.mode == "passive" for data in snapshot.data)
    assert b"\x02\x00\x00\x00" not in [snapshot.wasm[data.start : data.end] for data in snapshot.data]


RACE = """
const { Worker, isMainThread, workerData, parentPort } = require("node:worker_threads");
const fs = require("node:fs");
const run = ({ module, memory, gate }) => {
  Atomics.add(gate, 0, 1);
  while (Atomics.load(gate, 0) < COUNT);  // all at once
  const guest = new WebAssembly.Instance(module, { env: { memory } });
  const seen = guest.exports.get();
  guest.exports.inc();
  return seen;
};
if (isMainThread) {
  (async () => {
    const module = new WebAssembly.Module(fs.readFileSync(process.argv[2]));
    const rounds = [];
    for (let round = 0; round < 20; round++) {
      const memory = new WebAssembly.Memory({ initial: PAGES, maximum: MAXIMUM, shared: true });
      const gate = new Int32Array(new SharedArrayBuffer(4));
      const seen = await Promise.all(Array.from({ length: COUNT }, () => new Promise((resolve, reject) => {
        const worker = new Worker(__filename, { workerData: { module, memory, gate } });
        worker.on("message", resolve); worker.on("error", reject);
      })));
      rounds.push([Math.min(...seen), new WebAssembly.Instance(module, { env: { memory } }).exports.get()]);
    }
    console.log(JSON.stringify(rounds));
  })();
} else {
  parentPort.postMessage(run(workerData));
}
"""


def race(wasm: bytes, folder: Path, count: int, *, pages: int = 1, maximum: int = 4) -> list[list[int]]:
    """Instantiate on several workers at once, again and again; what is the least seen first, and the last."""
    (folder / "guest.wasm").write_bytes(wasm)
    source = RACE.replace("COUNT", str(count)).replace("PAGES", str(pages)).replace("MAXIMUM", str(maximum))
    (folder / "race.cjs").write_text(source)
    assert NODE is not None
    command = [NODE, str(folder / "race.cjs"), str(folder / "guest.wasm")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    rounds: list[list[int]] = json.loads(done.stdout)
    return rounds


@needs_node
def test_workers_that_start_at_once(tmp_path: Path) -> None:
    assert race(frozen(binary(FLAGGED)), tmp_path, 4) == [[142, 146]] * 20


SHARED_C = r"""
#include <stdatomic.h>
static int table[50000]; static const char words[] = "initialised once"; static _Atomic int count = 7;
__attribute__((export_name("init"))) void init(void) {
  for (int i = 0; i < 50000; i++) table[i] = i * words[i % 16];
  count += 100;
}
__attribute__((export_name("inc"))) void inc(void) { count++; table[1]++; }
__attribute__((export_name("get"))) int get(void) {
  for (int i = 2; i < 50000; i++) if (table[i] != i * words[i % 16]) return -i;
  return count;
}
"""


@needs_node
def test_c_with_shared_memory(tmp_path: Path) -> None:
    """A program whose memory wasm-ld has initialised once, whichever thread comes first."""
    options = ["-mexec-model=reactor", "-mcpu=generic+atomics+bulk_memory", "-std=c11"]
    options += ["-Wl,--import-memory,--shared-memory,--max-memory=67108864"]
    program = compile_program(SHARED_C, tmp_path / "program.wasm", *options)
    snapshot = wizer.wizen(program, init_func="init")
    memory = next(i.type for i in parse_module(snapshot).imports if i.kind == "memory")
    pages = memory.limits.minimum  # type: ignore[union-attr]
    assert race(snapshot, tmp_path, 4, pages=pages, maximum=1024) == [[107, 111]] * 20


# npm install --force --cpu=wasm32 @oxc-parser/binding-wasm32-wasi @node-rs/argon2-wasm32-wasi
PACKAGES = os.environ.get("NAPI_PACKAGES", "")
OXC = """
const b = require("@oxc-parser/binding-wasm32-wasi");
const source = (i) => `const a${i} = ${i}; function f${i}(x) { return x * ${i} + a${i}; } export { f${i} };`;
(async () => {
  const jobs = Array.from({ length: 840 }, (_, i) => b.parse("a.js", source(i)));
  const found = (await Promise.all(jobs)).map((result) => result.program);
  const text = JSON.stringify(found.concat(b.parseSync("a.js", source(3)).program));
  process.stdout.write(text, () => process.exit(0));
})();
"""
ARGON2 = """
const b = require("@node-rs/argon2-wasm32-wasi");
const options = { memoryCost: 64, timeCost: 1, parallelism: 1, salt: Buffer.from("0123456789abcdef") };
(async () => {
  const hashes = await Promise.all(Array.from({ length: 20 }, (_, i) => b.hash(`password ${i}`, options)));
  const text = JSON.stringify(hashes.concat(b.hashSync("password 3", options)));
  process.stdout.write(text, () => process.exit(0));
})();
"""


@needs_node
@pytest.mark.skipif(not PACKAGES, reason="NAPI_PACKAGES names no folder with node_modules (see the source)")
@pytest.mark.parametrize(
    ("package", "script"), [("@oxc-parser/binding", OXC), ("@node-rs/argon2", ARGON2)], ids=["oxc", "argon2"]
)
def test_packages_of_napi_rs(package: str, script: str, tmp_path: Path) -> None:
    """Frozen after `_initialize`, and run by their own loaders, with their workers."""
    shutil.copytree(Path(PACKAGES) / "node_modules", tmp_path / "node_modules")
    (wasm,) = (tmp_path / "node_modules" / f"{package}-wasm32-wasi").glob("*.wasm32-wasi.wasm")
    original = wasm.read_bytes()
    (tmp_path / "run.cjs").write_text(script)

    def results() -> object:
        command = [str(NODE), "--no-warnings", str(tmp_path / "run.cjs")]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, cwd=tmp_path)
        return json.loads(done.stdout)

    expected = results()
    wasm.write_bytes(wizer.wizen(original, init_func="_initialize", wasi=wizer.Wasi()))
    for _ in range(3):
        assert results() == expected
