"""What the tests of components share: making, checking and running them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wasmtime
import wasmtime.component as wc

from support.engine import engine
from support.tools import complaint, wasm_tools, wasmtime_program
from wizer import Session

INIT = "wizer-initialize"

COUNTER = """(core module $m (global $n (mut i32) (i32.const 0))
    (func (export "add") (param i32) (global.set $n (i32.add (global.get $n) (local.get 0))))
    (func (export "get") (result i32) (global.get $n)))"""

# Functions under several names and in instances, one of which goes.
MANY = f"""(component {COUNTER} (core instance $i (instantiate $m))
    (func $get (result u32) (canon lift (core func $i "get")))
    (func $init (param "n" u32) (canon lift (core func $i "add")))
    (export $one "one" (func $get))
    (export $gone "init" (func $init))
    (component $c
      (import "f" (func $f (result u32))) (import "g" (func $g (param "n" u32)))
      (export "f" (func $f)) (export "g" (func $g)))
    (export $two "two" (func $get))
    (core func $low (canon lower (func $two)))
    (core module $n (func $f (import "" "f") (result i32)) (func (export "f") (result i32) (call $f)))
    (instance $j (instantiate $c (with "f" (func $two)) (with "g" (func $gone))))
    (alias export $j "f" (func $alias))
    (instance $k (export "f" (func $alias)) (export "g" (func $gone)))
    (export "three" (func $alias))
    (export "j" (instance $j)) (export "k" (instance $k)))"""

# Instances of a component that only passes functions on.
SHIMMED = f"""(component {COUNTER} (core instance $i (instantiate $m))
    (func $init (param "n" u32) (canon lift (core func $i "add")))
    (func $get (result u32) (canon lift (core func $i "get")))
    (component $shim
      (import "import-func-boot" (func $b (param "n" u32))) (import "import-func-get" (func $g (result u32)))
      (type $r (record (field "x" u32))) (export $e "r" (type $r))
      (export "boot" (func $b)) (export "get" (func $g)))
    (instance $s (instantiate $shim
      (with "import-func-boot" (func $init)) (with "import-func-get" (func $get))))
    (export "my:pkg/setup@1.0.0" (instance $s)) %s)"""


def counter(name: str, instance: str) -> str:
    """Lift the functions of a counter."""
    return f"""(func (export "{name}-add") (param "n" u32) (canon lift (core func ${instance} "add")))
        (func (export "{name}-get") (result u32) (canon lift (core func ${instance} "get")))"""


def validate(wasm: bytes) -> None:
    """Have `wasm-tools` check a component, where it is installed, and the engine."""
    if wasm_tools() is not None:
        problem = complaint(wasm)
        assert not problem, problem
    wc.Component(engine(), wasm)


class Running:
    """A component running in the engine, without Wizer."""

    def __init__(self, wasm: bytes, imports: Mapping[str, Any] | None = None) -> None:
        of = engine()
        component = wc.Component(of, wasm)
        self.store = wasmtime.Store(of)
        linker = wc.Linker(of)
        with linker.root() as root:
            for name, function in (imports or {}).items():
                root.add_func(name, lambda _store, *args, f=function: f(*args))
        linker.define_unknown_imports_as_traps(component)
        self.instance = linker.instantiate(self.store, component)

    def __call__(self, path: str, *args: Any) -> Any:
        """Call an exported function; `/` separates an instance from its function."""
        index = None
        for name in path.split("|"):
            index = self.instance.get_export_index(self.store, name, index)
            assert index is not None, f"no export {path}"
        assert index is not None
        function = self.instance.get_func(self.store, index)
        assert function is not None
        return function(self.store, *args)

    def exports(self, name: str) -> bool:
        """Whether there is an export of this name."""
        return self.instance.get_export_index(self.store, name) is not None


def frozen(
    wasm: bytes | str,
    init: str | Sequence[str] = INIT,
    *,
    keep: bool = False,
    imports: Mapping[str, Any] | None = None,
    **options: Any,
) -> bytes:
    """Freeze a component after ``init``; check that it is valid, and that a second snapshot adds nothing."""
    names = [init] if isinstance(init, str) else list(init)
    with Session(wasm, imports=imports, **options) as session:
        for name in names:
            session.call_text(name)
        removed = [] if keep else [name.partition("(")[0] for name in names]
        snapshot = session.snapshot(remove=removed)
    validate(snapshot)
    with Session(snapshot, **options) as session:
        again = session.snapshot()
    assert again == snapshot, "a snapshot of the snapshot differs"
    return snapshot


def frozen_by_rust(wasm: bytes, folder: Path, *options: str) -> bytes | str:
    """What `wasmtime wizer` makes of a component, or its complaint."""
    program = wasmtime_program()
    assert program is not None
    source, target = folder / "rust-in.wasm", folder / "rust-out.wasm"
    source.write_bytes(wasm)
    target.unlink(missing_ok=True)
    run = subprocess.run(
        [program, "wizer", "-C", "cache=n", *options, str(source), "-o", str(target)],
        capture_output=True,
        check=False,
        env={"RUST_BACKTRACE": "0", "PATH": "/usr/bin:/bin"},
    )
    if run.returncode:
        return run.stderr.decode(errors="replace")
    return target.read_bytes()
