"""Real programs, before and after: QuickJS, C++, Ruby, a component."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

import wizer
from contents.checking import all_of, check_accounts
from support.compiled import build, needs_adapter, needs_tools
from wizer import Inspection, OptionError, Session, Wasi
from wizer.contents.records import Memory
from wizer.demo.quickjs import QuickJS, load

needs_compiler = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="pip install ziglang")


def memory_of(inspection: Inspection) -> Memory:
    check_accounts(inspection)
    assert inspection.problems == ()
    assert inspection.module is not None
    return inspection.module.memories[0]


def check_against_the_engine(wasm: bytes, memory: Memory) -> None:
    """What `inspect` says of a memory is what an instance has: by region, and in all."""
    config = wasmtime.Config()
    config.cranelift_opt_level = "none"
    engine = wasmtime.Engine(config)
    store, module = wasmtime.Store(engine), wasmtime.Module(engine, wasm)
    linker = wasmtime.Linker(engine)
    linker.define_unknown_imports_as_traps(module)
    held = linker.instantiate(store, module).exports(store)["memory"]
    assert isinstance(held, wasmtime.Memory)
    contents = bytes(held.read(store))
    assert len(contents) == memory.size
    for region in memory.regions:
        part = contents[region.start : region.end]
        assert len(part) - part.count(0) == region.nonzero


def regions(memory: Memory) -> list[str]:
    return [region.name for region in memory.regions]


def test_quickjs() -> None:
    try:
        original = load()
    except OptionError as missing:
        pytest.skip(str(missing))
    before = memory_of(wizer.inspect(original))
    assert regions(before) == ["unused", "static data", "bss, stack", "heap"]
    with Session(original, wasi=Wasi()) as session:
        QuickJS(session).boot()
        snapshot = session.snapshot()
    found = wizer.inspect(snapshot)
    after = memory_of(found)
    check_against_the_engine(snapshot, after)
    assert found.module is not None
    made_by = found.module.provenance
    assert (made_by.snapshot, made_by.version) == (True, wizer.__version__)
    assert (made_by.options["layout"], made_by.options["size"]) == ("balanced", str(len(original)))
    assert regions(after) == regions(before)
    assert [region.end for region in after.regions[:3]] == [region.end for region in before.regions[:3]]
    more = len(snapshot) - len(original)
    added = sum(region.stored for region in after.regions) - sum(region.stored for region in before.regions)
    assert abs(more - added - (after.overhead - before.overhead)) < 300  # exports that went, and what it says

    difference = wizer.diff(original, snapshot)
    assert {change.kind for change in difference.changes} == {"export", "custom section"}
    (memory,) = difference.memories
    assert memory.differing == sum(r.differing for r in memory.regions) == sum(memory.density)
    assert [r.second_nonzero for r in memory.regions] == [r.nonzero for r in after.regions]


SEEDED = """#include <stdint.h>
#include <vector>
extern "C" int getentropy(void *, unsigned long);
extern "C" { uint32_t hash_seed; }
static std::vector<int> primes;
extern "C" __attribute__((export_name("wizer-initialize"))) void init() {
  getentropy(&hash_seed, sizeof hash_seed);
  for (int n = 2; n < 9000; n++) {
    bool prime = true;
    for (int p : primes) prime = prime && n % p;
    if (prime) primes.push_back(n);
  }
}
extern "C" __attribute__((export_name("get"))) int get(int i) { return primes[i] ^ hash_seed; }
"""


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A C++ program with a hash seed."""
    folder = tmp_path_factory.mktemp("seeded")
    (folder / "seeded.cpp").write_text(SEEDED)
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "c++",
        "-target",
        "wasm32-wasi",
        "-mexec-model=reactor",
        "-O1",
    ]
    command += ["-g0", "-fno-exceptions", "-Wl,--export=hash_seed,--export=__heap_base,--export=__data_end"]
    subprocess.run([*command, "seeded.cpp", "-o", "seeded.wasm"], cwd=folder, check=True)
    return (folder / "seeded.wasm").read_bytes()


def freeze(wasm: bytes, seed: int) -> bytes:
    return wizer.wizen(wasm, wasi=Wasi(), deterministic=seed)


@needs_compiler
def test_cpp(seeded: bytes) -> None:
    snapshot = freeze(seeded, 1)
    memory = memory_of(wizer.inspect(snapshot))
    check_against_the_engine(snapshot, memory)
    assert regions(memory) == ["stack", "static data", "bss", "heap"]
    stored = {region.name: region.stored for region in memory.regions}
    assert stored["heap"] > 1117 * 4 > stored["bss"]  # the primes are in the heap
    assert "hash_seed" in [symbol.name for symbol in memory.symbols]


@needs_compiler
def test_two_builds_that_differ_in_a_seed_differ_there_and_nowhere_else(seeded: bytes) -> None:
    difference = wizer.diff(freeze(seeded, 1), freeze(seeded, 2))
    assert difference.changes == ()
    (memory,) = difference.memories
    assert [r.place for r in memory.ranges] == ["hash_seed"]
    assert memory.ranges[0].end - memory.ranges[0].start <= 4
    assert not wizer.diff(freeze(seeded, 1), freeze(seeded, 1))


@needs_compiler
def test_layouts_of_one_state_do_not_differ(seeded: bytes) -> None:
    first = wizer.wizen(seeded, wasi=Wasi(), deterministic=1, layout="small")
    second = wizer.wizen(seeded, wasi=Wasi(), deterministic=1, max_data_segments=5, producers=False)
    assert first != second
    difference = wizer.diff(first, second)
    assert (difference.changes, difference.memories) == ((), ())
    assert [section.title for section in difference.sections] == ["data"]


RUBY = os.environ.get("RUBY_WASM", "")


@pytest.mark.skipif(not RUBY, reason="RUBY_WASM does not name a module of npm's @ruby/3.3-wasm-wasi")
def test_ruby() -> None:
    memory = memory_of(wizer.inspect(Path(RUBY)))
    check_against_the_engine(Path(RUBY).read_bytes(), memory)
    assert regions(memory)[0] == "stack"  # it is a snapshot of others: there is no more to tell apart


GUEST = """#include <stdlib.h>
static char *text;
__attribute__((export_name("wizer-initialize"))) void init(void) {
  text = malloc(5000); for (int i = 0; i < 5000; i++) text[i] = 'a' + i % 26;
}
__attribute__((export_name("get"))) int get(void) { return text[99]; }
"""


@needs_tools
@needs_adapter
@needs_compiler
def test_a_component(tmp_path: Path) -> None:
    world = "world w { export wizer-initialize: func(); export get: func() -> s32; }"
    original = build(tmp_path, GUEST, world, adapt=True)
    snapshot = wizer.wizen(original, wasi=Wasi())
    found = wizer.inspect(snapshot)
    check_accounts(found)
    assert not any(part.problems for part in all_of(found))
    texts = [m for part in all_of(found) if part.module for m in part.module.memories if m.nonzero > 5000]
    assert len(texts) == 1
    assert sum(block.end - block.start >= 5000 for block in texts[0].blocks) == 1
    difference = wizer.diff(original, snapshot)
    changed = [part for part in difference.parts if part.memories]
    assert [part.first for part in changed] == ['core module 0 ("main")']
