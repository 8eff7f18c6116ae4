"""Configuration: features, settings the engine refuses, and the private symbols that it is made with."""

from __future__ import annotations

import subprocess
import sys

import pytest
import wasmtime
from wasmtime import _ffi as ffi

from wizer.engine import capi_config
from wizer.engine import config as configuration
from wizer.engine.compile import validate_features
from wizer.engine.config import (
    FEATURES,
    Compiler,
    EngineConfig,
    engine_config,
    feature_set,
    probe,
)
from wizer.engine.versions import major
from wizer.errors import InvalidError, OptionError, WizerError

# What each switch refuses when it is off.
USES = {
    "bulk-memory": "(memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
    "multi-memory": "(memory 1) (memory 1)",
    "multi-value": "(func (result i32 i32) (i32.const 0) (i32.const 1))",
    "reference-types": "(table 1 externref)",
    "simd": "(func (drop (v128.const i64x2 0 0)))",
    "relaxed-simd": "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
    "tail-call": "(func $f (return_call $f))",
    "threads": "(memory 1 1 shared)",
    "memory64": "(memory i64 1)",
    "function-references": "(type $t (func)) (func (param (ref $t)))",
    "gc": "(type (struct (field i32)))",
    "custom-page-sizes": "(memory 1 (pagesize 1))",
    "wide-arithmetic": "(func (param i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 0)))",
    "exceptions": "(tag)",
    "gc-support": "(type (struct (field i32)))",
}
# The switches that came after each version.
LATER = {48: {"compact-imports", "component-model-implements"}, 49: {"compact-imports"}, 50: set[str]()}
MVP = bytes(
    wasmtime.wat2wasm('(module (memory 1) (table 1 funcref) (func (export "f") (result i32) (i32.const 1)))')
)


@pytest.mark.parametrize("feature", USES)
def test_a_feature_that_is_off_is_refused(feature: str) -> None:
    wasm = bytes(wasmtime.wat2wasm(f"(module {USES[feature]})"))
    validate_features(wasm, EngineConfig())
    with pytest.raises(InvalidError):
        validate_features(wasm, EngineConfig(features={feature: False}))


@pytest.mark.parametrize("feature", FEATURES)
def test_the_other_features_stay(feature: str) -> None:
    config = EngineConfig(features={feature: False})
    assert config.restricts
    validate_features(MVP, config)
    assert feature_set({feature: False})[feature] is False
    assert feature_set({})[feature] is True


def test_continuations_are_refused_because_the_engine_aborts_on_them() -> None:
    wasm = bytes(wasmtime.wat2wasm("(module (type $f (func)) (type $c (cont $f)))"))
    engine = wasmtime.Engine(engine_config(EngineConfig(), "cranelift"))
    with pytest.raises(wasmtime.WasmtimeError, match="stack switching is disabled"):
        wasmtime.Module(engine, wasm)


def test_everything_off_is_still_a_configuration() -> None:
    validate_features(MVP, EngineConfig(features=dict.fromkeys(FEATURES, False)))


@pytest.mark.parametrize("compiler", ["winch", "cranelift"])
@pytest.mark.parametrize("feature", FEATURES)
def test_no_feature_switched_off_disturbs_the_run(feature: str, compiler: str) -> None:
    config = engine_config(EngineConfig(features={feature: False}), compiler)  # type: ignore[arg-type]
    store = wasmtime.Store(wasmtime.Engine(config))
    store.set_epoch_deadline(1)
    function = wasmtime.Instance(store, wasmtime.Module(store.engine, MVP), []).exports(store)["f"]
    assert isinstance(function, wasmtime.Func)
    assert function(store) == 1


def test_shared_memories_cannot_be_created_without_the_ability() -> None:
    engine = wasmtime.Engine(engine_config(EngineConfig(features={"shared-memory": False}), "cranelift"))
    store = wasmtime.Store(engine)
    module = wasmtime.Module(engine, "(module (memory 1 1 shared))")
    with pytest.raises(wasmtime.WasmtimeError, match="shared"):
        wasmtime.Instance(store, module, [])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"simdd": True}, "unknown WebAssembly feature `simdd`"),
        (
            {"relaxed-simd": True, "simd": False},
            "`relaxed-simd` is switched on and needs `simd`, which is off",
        ),
    ],
)
def test_features_that_make_no_sense(features: dict[str, bool], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        EngineConfig(features=features)


@pytest.mark.parametrize(
    "config",
    [
        EngineConfig(compiler="cranelift", cranelift_flags={"has_avx": "false"}),
        EngineConfig(compiler="cranelift", debug_info=True),
        EngineConfig(compiler="cranelift", debug_verifier=True, native_unwind_info=True),
        EngineConfig(
            compiler="cranelift", signals_based_traps=False, memory_reservation=0, memory_guard_size=0
        ),
        EngineConfig(max_wasm_stack=3 << 20, async_stack_size=8 << 20),
        EngineConfig(max_wasm_stack=3 << 20),
        EngineConfig(memory_may_move=False, memory_reservation=1 << 32, memory_reservation_for_growth=0),
        EngineConfig(pooling={"total_memories": 2, "max_memory_size": 1 << 20}),
    ],
)
def test_rare_settings_that_work(config: EngineConfig) -> None:
    compiler = "cranelift" if config.compiler == "cranelift" else "winch"
    engine = wasmtime.Engine(engine_config(config, compiler))  # type: ignore[arg-type]
    wasmtime.Module(engine, MVP)


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        (EngineConfig(cranelift_flags={"nosuch": "1"}), "nosuch"),
        (EngineConfig(cranelift_flags={"opt_level": "most"}), "Unexpected value for a setting"),
        (EngineConfig(max_wasm_stack=0), "max_wasm_stack"),
        (EngineConfig(pooling={"nosuch": 1}), "nosuch"),
    ],
)
def test_what_the_engine_would_abort_on_is_an_error(config: EngineConfig, cause: str) -> None:
    with pytest.raises(OptionError, match="the engine refuses this configuration") as caught:
        engine_config(config, "cranelift")
    assert cause in caught.value.causes[0]


def test_a_compiler_s_own_refusals_are_errors_too() -> None:
    with pytest.raises(OptionError) as caught:
        engine_config(EngineConfig(debug_info=True), "winch")
    assert "Winch does not currently support generating native debug information" in caught.value.causes[0]


def test_a_coroutine_s_stack_has_room_for_the_host() -> None:
    EngineConfig(async_stack_size=3 << 20)
    with pytest.raises(OptionError, match="3145727 bytes has no room for 2097152 bytes of guest code"):
        EngineConfig(async_stack_size=(3 << 20) - 1)
    with pytest.raises(OptionError, match="no room"):
        EngineConfig(max_wasm_stack=3 << 20, async_stack_size=3 << 20)


def test_deep_recursion_has_at_least_the_room_of_an_optimising_compiler() -> None:
    wasm = wasmtime.wat2wasm(
        """(module (func $f (export "f") (param i32) (result i32) (local i32 i32 i32 i32 i64 i64 f64 f64)
        (if (result i32) (local.get 0)
          (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
          (else (i32.const 0)))))"""
    )
    store = wasmtime.Store(wasmtime.Engine(engine_config(EngineConfig(), "winch")))
    store.set_epoch_deadline(1)
    function = wasmtime.Instance(store, wasmtime.Module(store.engine, bytes(wasm)), []).exports(store)["f"]
    assert isinstance(function, wasmtime.Func)
    assert function(store, 10_000) == 10_000


def test_private_symbols_are_where_they_were() -> None:
    """An upgrade of the engine's package that fails here has moved what `engine/capi_config.py` uses."""
    needed = [
        "wasmtime_module_new",
        "wasmtime_module_validate",
        "wasmtime_pooling_allocation_config_new",
        "wasmtime_pooling_allocation_config_delete",
        "wasmtime_pooling_allocation_strategy_set",
        "wasm_byte_vec_new",
        "wasi_config_set_stdin_bytes",
        "wasi_config_inherit_network",
        "wasi_config_allow_ip_name_lookup",
        "wasmtime_config_async_stack_size_set",
        *(f"wasmtime_config_{name}_set" for name in ("strategy", "cranelift_regalloc_algorithm")),
        *(f"wasmtime_config_{switch}_set" for name, switch in FEATURES.items() if name not in LATER[major()]),
    ]
    assert [name for name in needed if not hasattr(ffi, name)] == []
    assert (
        ffi.wasmtime_strategy_enum.WASMTIME_STRATEGY_CRANELIFT.value - 1
        == capi_config.STRATEGIES["cranelift"]
    )
    assert ffi.wasmtime_strategy_enum.WASMTIME_STRATEGY_WINCH.value - 1 == capi_config.STRATEGIES["winch"]
    with pytest.raises(WizerError, match="has no setting `no_such_option`"):
        capi_config.set_option(wasmtime.Config(), "no_such_option", value=True)


def test_probing_accepts_the_defaults() -> None:
    probe(EngineConfig(features={"gc": False}), "winch")


def test_describing_a_run_does_not_import_the_engine() -> None:
    code = "import sys, wizer.cli.flags; sys.exit('wasmtime' in sys.modules)"
    env = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0


@pytest.mark.parametrize("size", [4 << 30, (5 << 30) + 65536, 1 << 36, 1 << 40])
def test_reservations_that_need_no_probe(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked for wherever a memory is 64-bit; a probe takes longer than such a run."""
    monkeypatch.setattr(configuration, "probe", None)
    compilers: tuple[Compiler, ...] = ("cranelift", "winch")
    for compiler in compilers:
        made = engine_config(EngineConfig(memory_reservation=size), compiler)
        wasmtime.Module(wasmtime.Engine(made), b"\0asm\1\0\0\0")


def test_reservations_are_only_asked_about_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    class Range:
        def __contains__(self, value: object) -> bool:
            asked.append(value)
            return True

    monkeypatch.setattr(configuration, "RESERVATIONS", Range())
    engine_config(EngineConfig(), "cranelift")
    engine_config(EngineConfig(memory_reservation=8 << 30), "cranelift")
    assert asked == [8 << 30]  # a range goes through all its numbers for what is none
