"""Modules from `wasm-tools smith`, one for each profile and seed.

The generator reads its decisions from bytes; here they come from a random generator with the seed.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import wasmtime

from support.tools import wasm_tools

from .gadgets import add_gadgets

# What a module must export, for a part of the seeds: state of every kind that the generator alone seldom
# makes, and functions through which references get in and out.
_NUMERIC_SHAPE = """
(module
  (memory (export "memory") 1 4)
  (table (export "table") 4 8 funcref)
  (global (export "a") (mut i32) (i32.const 0))
  (global (export "b") (mut i64) (i64.const 0))
  (global (export "c") (mut f32) (f32.const 0))
  (global (export "d") (mut f64) (f64.const 0))
  (func (export "f0"))
  (func (export "f1") (param i32))
  (func (export "f2") (param i32 i64) (result i32))
  (func (export "f3") (param f32 f64) (result f64))
  (func (export "f4") (result i64)  (i64.const 0))
  (func (export "f5") (param i32 f32)))
""".replace("(result i32))", "(result i32) (i32.const 0))").replace(
    "(result f64))", "(result f64) (f64.const 0))"
)

_REFERENCE_SHAPE = """
(module
  (memory (export "memory") 1 4)
  (table (export "funcs") 4 8 funcref)
  (table (export "anys") 4 8 anyref)
  (table (export "externs") 2 4 externref)
  (global (export "i32") (mut i32) (i32.const 0))
  (global (export "v128") (mut v128) (v128.const i64x2 0 0))
  (global (export "any") (mut anyref) (ref.null any))
  (global (export "eq") (mut eqref) (ref.null eq))
  (global (export "func") (mut funcref) (ref.null func))
  (global (export "array") (mut arrayref) (ref.null array))
  (tag (export "tag") (param i32))
  (func (export "any from i32") (param i32) (result anyref) unreachable)
  (func (export "struct") (result structref) unreachable)
  (func (export "array of") (param i32) (result arrayref) unreachable)
  (func (export "swap") (param anyref) (result anyref) unreachable)
  (func (export "extern") (param anyref) (result externref) unreachable)
  (func (export "exn") (result exnref) unreachable)
  (func (export "f0") unreachable)
  (func (export "f1") (param i32) unreachable)
  (func (export "f2") (param i32 i64) (result i32) unreachable))
"""

PROFILES = ("numeric", "references")

# What the Rust tools take: the numeric profile without segments that code refers to, and an initialisation
# function that does not trap.
PEERS = "peers"

_OFF = ("custom-descriptors", "compact-imports", "shared-everything-threads")
_REFERENCES = (
    "reference-types",
    "gc",
    "exceptions",
    "tail-call",
    "memory64",
    "relaxed-simd",
    "threads",
    "custom-page-sizes",
    "wide-arithmetic",
)


def generate(profile: str, seed: int) -> bytes | None:
    """Return the module of a seed, or None where the generator makes none of these bytes."""
    rng = random.Random(f"{profile} {seed}")
    flags = _flags(profile, rng)
    with_gadgets = profile == "references" and rng.random() < 0.6
    tool = wasm_tools()
    assert tool is not None
    run = subprocess.run(
        [tool, "smith", *flags, *(["--wat"] if with_gadgets else [])],
        input=rng.randbytes(8_000),
        capture_output=True,
        check=False,
        timeout=60,
    )
    if run.returncode != 0:
        return None
    return add_gadgets(run.stdout, rng) if with_gadgets else run.stdout


def _flags(profile: str, rng: random.Random) -> list[str]:
    options = dict.fromkeys((f"{feature}-enabled" for feature in _OFF), "false")
    if profile != "references":
        options |= {f"{feature}-enabled": "false" for feature in _REFERENCES}
        options |= _some(rng, "bulk-memory", "simd", "extended-const")
        options |= {"max-tables": "1", "max-memories": rng.choice(("1", "1", "3"))}
    else:
        options |= _some(rng, "threads", "memory64", "custom-page-sizes", "wide-arithmetic", "exceptions")
        options |= {"max-tables": "4", "max-memories": rng.choice(("1", "3"))}
    options |= {
        "fuel": rng.choice(("300", "3000", "8000")),
        "canonicalize-nans": "true",
        "disallow-traps": rng.choice(("true", "true", "false")),
        "limit-arrays-in-const-exprs": "true",
        "memory-max-size-required": "true",
        "table-max-size-required": "true",
        "max-memory32-bytes": "1048576",
        "max-memory64-bytes": "1048576",
        "max-table-elements": "300",
        "memory-offset-choices": rng.choice(("100,0,0", "90,9,1")),
        "min-uleb-size": rng.choice(("1", "1", "1", "5")),
        "generate-custom-sections": rng.choice(("true", "false")),
        "max-instructions": rng.choice(("30", "100", "200")),
        "max-types": "14",
        "min-types": "3",
        "min-funcs": "3",
        "max-funcs": "12",
        "max-imports": "0",
    }
    if profile == PEERS:
        options |= {"bulk-memory-enabled": "false", "disallow-traps": "true", "fuel": "100000"}
    shape = rng.random()
    if shape < 0.5 or profile == PEERS:
        options["exports"] = str(_shape(profile))
    elif shape < 0.8:
        options |= {"export-everything": "true", "min-globals": "3", "min-memories": "1", "min-tables": "1"}
    else:
        options |= {"min-exports": "4", "min-globals": "2", "min-memories": "1", "max-imports": "5"}
    return ["--ensure-termination", *(f"--{name}={value}" for name, value in options.items())]


def _some(rng: random.Random, *features: str) -> dict[str, str]:
    return {f"{feature}-enabled": rng.choice(("true", "false")) for feature in features}


@cache
def _shape(profile: str) -> Path:
    """Write the module that says what has to be exported; it is there as long as this process."""
    text = _REFERENCE_SHAPE if profile == "references" else _NUMERIC_SHAPE
    if profile == PEERS:
        text = text.replace('"f0"', '"wizer-initialize"')
    path = Path(_folder().name) / f"{profile}.wasm"
    path.write_bytes(wasmtime.wat2wasm(text))
    return path


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()
