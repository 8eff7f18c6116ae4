"""The coverage-guided fuzzer of the binary format: any bytes into the parser and out of the rewriter.

    pip install -e ".[fuzz]"
    python fuzz/binary.py                                # until something fails
    python fuzz/binary.py -runs=100000 -max_len=4096     # options of libFuzzer
    python fuzz/binary.py crash-…                        # again what failed

The oracle: a `WizerError`; or a module, which comes back byte for byte where nothing is replaced, and which,
if the engine takes it, it also takes instrumented, and rewritten with a state in which nothing changed.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

import wasmtime

atheris = importlib.import_module("atheris")  # it has no types, and is not there for every Python

with atheris.instrument_imports(include=["wizer"]):
    import wizer
    from wizer.binary.assemble import assemble
    from wizer.binary.module import Module, parse_module
    from wizer.core.instrument import instrument
    from wizer.core.rewrite import rewrite
    from wizer.core.state import MemoryState, State, TableState
    from wizer.engine.config import EngineConfig, validation_config
    from wizer.options import MAX_DATA_SEGMENTS

_HERE = Path(__file__).parent
_ENGINE = wasmtime.Engine(validation_config(EngineConfig()))


def check(data: bytes) -> None:
    """Check one input; anything but a `WizerError` is a finding."""
    try:
        module = parse_module(data)
        if b"".join(assemble(module, {})) != data:
            raise AssertionError("the module does not come back byte for byte")
        chunks, _ = instrument(module)
    except wizer.WizerError:
        return
    if not _valid(data):
        return
    if not _valid(b"".join(chunks)):
        raise AssertionError("the instrumented module is invalid")
    try:
        snapshot = b"".join(rewrite(module, _unchanged(module), module.exports, MAX_DATA_SEGMENTS))
    except wizer.WizerError:
        return
    if not _valid(snapshot):
        raise AssertionError("the rewritten module is invalid")


def _valid(wasm: bytes) -> bool:
    try:
        wasmtime.Module.validate(_ENGINE, wasm)
    except wasmtime.WasmtimeError:
        return False
    return True


def _unchanged(module: Module) -> State:
    """Return a state in which memories are empty and all else is as it was in the beginning."""
    empty = memoryview(b"")
    return State(
        memories={
            index: MemoryState(memory.limits.minimum, empty)
            for index, memory in enumerate(module.memories)
            if not module.imported("memory", index)
        },
        tables={
            index: TableState(table.type.limits.minimum)
            for index, table in enumerate(module.tables)
            if not module.imported("table", index)
        },
    )


def main() -> None:
    """Run libFuzzer, with the modules of `seeds` and of the tests' corpus to start from."""
    corpus = Path(tempfile.mkdtemp(prefix="wizer-fuzz-"))
    for folder in (_HERE / "seeds", _HERE.parent / "tests" / "differential" / "corpus"):
        for path in folder.glob("*.wat"):
            (corpus / path.stem).write_bytes(wasmtime.wat2wasm(path.read_text("utf-8")))
    atheris.Setup(
        [*sys.argv, str(corpus)] if not sys.argv[1:] or sys.argv[-1].startswith("-") else sys.argv, check
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
