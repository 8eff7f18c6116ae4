"""How a module is compiled and run: ``EngineConfig``, and the engine's configuration made from it.

The engine aborts the whole process on a configuration that it does not like, so nothing reaches it
unchecked: features are closed under what they need of each other here, and a configuration with one of
the rarer settings is first tried in a process of its own (``probe``).

Importing this module does not import the engine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from wizer.checks import COUNT, SWITCH, TEXT, Kind, check, instance_kind, mapping_kind, or_none, words_kind
from wizer.engine.forks import PROCESS
from wizer.errors import OptionError
from wizer.records import field, field_names, record

if TYPE_CHECKING:
    import wasmtime

Compiler = Literal["cranelift", "winch"]
OptLevel = Literal["none", "speed", "speed_and_size"]
RegisterAllocator = Literal["backtracking", "single-pass"]
UnknownImports: TypeAlias = Literal["trap", "error", "default"]

# The proposals by the names of `wasmtime -W help`, with the C API's name of the switch. The engine also
# implements extended-const, which has no switch: it is always on. Stack switching stays off: the Python
# package's engine compiles it, and aborts the process at the first `cont.new`.
FEATURES: Mapping[str, str] = MappingProxyType(
    {
        "bulk-memory": "wasm_bulk_memory",
        "multi-memory": "wasm_multi_memory",
        "multi-value": "wasm_multi_value",
        "reference-types": "wasm_reference_types",
        "simd": "wasm_simd",
        "relaxed-simd": "wasm_relaxed_simd",
        "tail-call": "wasm_tail_call",
        "threads": "wasm_threads",
        "shared-memory": "shared_memory",
        "memory64": "wasm_memory64",
        "function-references": "wasm_function_references",
        "gc": "wasm_gc",
        "custom-page-sizes": "wasm_custom_page_sizes",
        "wide-arithmetic": "wasm_wide_arithmetic",
        "branch-hinting": "wasm_branch_hinting",
        "compact-imports": "wasm_compact_imports",
        "exceptions": "wasm_exceptions",
        "gc-support": "gc_support",
        "concurrency-support": "concurrency_support",
        "component-model": "wasm_component_model",
        "component-model-async": "wasm_component_model_async",
        "component-model-more-async-builtins": "wasm_component_model_more_async_builtins",
        "component-model-async-stackful": "wasm_component_model_async_stackful",
        "component-model-map": "wasm_component_model_map",
        "component-model-implements": "wasm_component_model_implements",
    }
)

# A feature, and those that the engine insists on having with it.
_NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "relaxed-simd": ("simd",),
        "function-references": ("reference-types",),
        "gc": ("function-references", "gc-support"),
        "exceptions": ("reference-types", "gc-support"),
        "shared-memory": ("threads",),
        "component-model-async": ("component-model", "reference-types", "concurrency-support"),
        "component-model-more-async-builtins": ("component-model-async",),
        "component-model-async-stackful": ("component-model-async",),
        "component-model-map": ("component-model",),
        "component-model-implements": ("component-model",),
    }
)


@record(kw_only=True)
class EngineConfig:
    """How modules are compiled and run. The defaults are for initialisation: compile fast, run once.

    Attributes:
        compiler: "auto" takes Winch where it is the faster to compile and knows all the module uses.
        opt_level: Cranelift's; "auto" does not use Winch for anything but "none".
        regalloc: Cranelift's register allocator; None: the quick one where nothing else is optimised.
        cache: keep compiled code for the next run: True in the user's cache folder, a path for the engine's
            own cache with the settings of that TOML file.
        features: proposals switched on or off, by the names of `wasmtime -W help`. All that the engine
            implements are on by default. What is off is refused in the input.
        nan_canonicalization: every NaN that an instruction makes has the canonical bits. On by default: where
            it is off, the compilers differ in the bits of ``min`` and ``max`` of two NaNs.
        relaxed_simd_deterministic: relaxed instructions give the same results on every machine.
        max_wasm_stack: bytes of stack for guest code; None: 2 MiB. Where the calling thread has fewer left, a
            call runs on another, which is made for it.
        async_stack_size: bytes of stack of each stackful coroutine; 1 MiB of it is not for guest code.
        parallel_compilation: compile on all cores.
        native_unwind_info, debug_info, debug_verifier, signals_based_traps: the engine's switches.
        memory_may_move, memory_reservation, memory_reservation_for_growth, memory_guard_size: layout of
            linear memories in the host's address space, in bytes.
        memory_init_cow: map data segments copy-on-write at instantiation instead of copying them.
        pooling: settings of the pooling allocator by the C API's names; None: on-demand allocation.
        cranelift_flags: further Cranelift settings; None as the value switches a flag on.
    """

    compiler: Literal["auto"] | Compiler = "auto"
    opt_level: OptLevel = "none"
    regalloc: RegisterAllocator | None = None
    cache: bool | str = True
    features: Mapping[str, bool] = field(default_factory=dict)
    nan_canonicalization: bool = True
    relaxed_simd_deterministic: bool = False
    max_wasm_stack: int | None = None
    async_stack_size: int | None = None
    parallel_compilation: bool = True
    native_unwind_info: bool = False
    debug_info: bool = False
    debug_verifier: bool = False
    signals_based_traps: bool | None = None
    memory_may_move: bool | None = None
    memory_reservation: int | None = None
    memory_reservation_for_growth: int | None = None
    memory_guard_size: int | None = None
    memory_init_cow: bool = False
    pooling: Mapping[str, int] | None = None
    cranelift_flags: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, _KINDS)
        for name, on in self.features.items():
            if name not in FEATURES:
                raise OptionError(f"unknown WebAssembly feature `{name}`; known: {', '.join(FEATURES)}")
            if on:
                for need in _NEEDS.get(name, ()):
                    if self.features.get(need) is False:
                        raise OptionError(f"feature `{name}` is switched on and needs `{need}`, which is off")
        guest, coroutine = guest_stack(self), self.async_stack_size
        if coroutine is not None and coroutine < guest + HOST_STACK:
            raise OptionError(
                f"a coroutine's stack of {coroutine} bytes has no room for {guest} bytes of guest code and "
                f"{HOST_STACK} of the host's; set `async_stack_size` higher or `max_wasm_stack` lower"
            )

    @property
    def restricts(self) -> bool:
        """Whether the user switched a feature off, so that the input has to be checked for it."""
        return not all(self.features.values())


_KINDS: Final[Mapping[str, Kind]] = {
    "compiler": words_kind("auto", *get_args(Compiler)),
    "opt_level": words_kind(*get_args(OptLevel)),
    "regalloc": words_kind(None, *get_args(RegisterAllocator)),
    "cache": instance_kind("True, False or the path of a TOML file", bool, str),
    "features": mapping_kind("a mapping from names of features to True or False", SWITCH),
    "nan_canonicalization": SWITCH,
    "relaxed_simd_deterministic": SWITCH,
    "max_wasm_stack": or_none(COUNT),
    "async_stack_size": or_none(COUNT),
    "parallel_compilation": SWITCH,
    "native_unwind_info": SWITCH,
    "debug_info": SWITCH,
    "debug_verifier": SWITCH,
    "signals_based_traps": or_none(SWITCH),
    "memory_may_move": or_none(SWITCH),
    "memory_reservation": or_none(COUNT),
    "memory_reservation_for_growth": or_none(COUNT),
    "memory_guard_size": or_none(COUNT),
    "memory_init_cow": SWITCH,
    "pooling": or_none(mapping_kind("a mapping from names of settings to numbers", COUNT)),
    "cranelift_flags": mapping_kind("a mapping from names to strings or None", or_none(TEXT)),
}


def feature_set(switched: Mapping[str, bool]) -> dict[str, bool]:
    """All features, those in ``switched`` as they are there, those that need one that is off: off."""
    on = {name: switched.get(name, True) for name in FEATURES}
    changed = True
    while changed:
        changed = False
        for name, needs in _NEEDS.items():
            if on[name] and not all(on[n] for n in needs):
                on[name] = False
                changed = True
    return on


def engine_config(
    config: EngineConfig, compiler: Compiler, *, fuel: bool = False, concurrency: bool = True
) -> wasmtime.Config:
    """Make the engine's configuration for running modules with ``compiler``.

    Features are all on whatever the user switched off: the accessors that this package adds to a module
    use some, and the input itself is checked by ``validation_config``.

    Args:
        config: what the user asked for.
        compiler: the one to use; ``config.compiler`` is not looked at.
        fuel: compile the counting of fuel in.
        concurrency: whether components may be asynchronous.

    Raises:
        OptionError: the engine refuses a setting.
    """
    from wizer.engine.versions import check_installed

    check_installed()
    _check_asked(config)
    if _unusual(config, compiler):
        probe(config, compiler)
    return unprobed_config(config, compiler, fuel=fuel, concurrency=concurrency)


def unprobed_config(
    config: EngineConfig, compiler: Compiler, *, fuel: bool = False, concurrency: bool = True
) -> wasmtime.Config:
    """Make the engine's configuration as `engine_config`, but one that may abort the process."""
    import wasmtime

    from wizer.engine import capi_config as capi
    from wizer.engine import versions

    out = wasmtime.Config()
    capi.set_strategy(out, compiler)
    off = versions.not_in_winch(machine(), versions.major()) if compiler == "winch" else frozenset()
    for feature, on in feature_set({} if concurrency else {"concurrency-support": False}).items():
        _switch(out, feature, on and feature not in off)
    # Not about what is valid, but about what the host may create.
    out.shared_memory = config.features.get("shared-memory", True)
    out.cranelift_opt_level = config.opt_level
    capi.set_register_allocator(
        out, config.regalloc or ("single-pass" if config.opt_level == "none" else "backtracking")
    )
    out.cranelift_nan_canonicalization = config.nan_canonicalization
    out.wasm_relaxed_simd_deterministic = config.relaxed_simd_deterministic
    out.parallel_compilation = config.parallel_compilation and not PROCESS.forked
    out.consume_fuel = fuel
    out.epoch_interruption = True
    out.memory_init_cow = config.memory_init_cow
    for setting, name in _PLAIN.items():
        value = getattr(config, setting)
        if value is not None and versions.has_setting(name):
            capi.set_option(out, name, value)
    out.max_wasm_stack = guest_stack(config)
    capi.set_option(out, "async_stack_size", config.async_stack_size or guest_stack(config) + ROOM)
    if config.pooling is not None:
        capi.set_pooling(out, config.pooling)
    for flag, text in config.cranelift_flags.items():
        if text is None:
            out.cranelift_flag_enable(flag)
        else:
            out.cranelift_flag_set(flag, text)
    return out


def machine() -> str:
    """Return the processor's name, lower case."""
    if hasattr(os, "uname"):
        return os.uname().machine.lower()
    return os.environ.get("PROCESSOR_ARCHITECTURE", "").lower()


def _switch(out: wasmtime.Config, feature: str, on: bool) -> None:
    """Switch a feature, if the engine has such a switch."""
    from wizer.engine import capi_config as capi
    from wizer.engine.versions import has_setting

    if has_setting(FEATURES[feature]):
        capi.set_option(out, FEATURES[feature], on)


def _check_asked(config: EngineConfig) -> None:
    """Raise `WizerError` where something is asked for that the installed engine does not have."""
    from wizer.engine.versions import has_setting, lacks

    for feature, on in config.features.items():
        if on and not has_setting(FEATURES[feature]):
            raise lacks(f"feature `{feature}`")
    for setting, name in _PLAIN.items():
        if getattr(config, setting) not in (None, False) and not has_setting(name):
            raise lacks(f"setting `{setting}`")


RESERVATIONS: Final = range(4 << 30, (1 << 40) + 1, 1 << 16)
"""Bytes of address space for a memory that every engine takes: from its own default on, in whole pages."""

# Settings that are None or a plain value, with the C API's name of the setter.
_PLAIN: Mapping[str, str] = MappingProxyType(
    {
        "native_unwind_info": "native_unwind_info",
        "debug_info": "debug_info",
        "debug_verifier": "cranelift_debug_verifier",
        "signals_based_traps": "signals_based_traps",
        "memory_may_move": "memory_may_move",
        "memory_reservation": "memory_reservation",
        "memory_reservation_for_growth": "memory_reservation_for_growth",
        "memory_guard_size": "memory_guard_size",
    }
)

_GUEST_STACK: Final = 2 << 20  # bytes
HOST_STACK: Final = 1 << 20
"""Bytes below the guest's that are left to the host's own code: the engine's, and functions that it calls."""
ROOM: Final = 6 << 20
"""Bytes for the host's own code on a stack made by us: with the guest's it is what Linux gives a thread."""


def guest_stack(config: EngineConfig) -> int:
    """Return the bytes of stack that guest code may use.

    Unoptimised frames are up to three times as large as optimised ones, so that the engine's default of
    512 KiB would end a recursion that is well with the Rust tools. It is raised to four times that.
    """
    return _GUEST_STACK if config.max_wasm_stack is None else config.max_wasm_stack


def validation_config(config: EngineConfig) -> wasmtime.Config:
    """Make the engine's configuration that accepts exactly what the user left switched on."""
    import wasmtime

    from wizer.engine import capi_config as capi

    out = wasmtime.Config()
    capi.set_strategy(out, "cranelift")
    out.parallel_compilation = not PROCESS.forked  # validation is parallel, too
    for feature, on in feature_set(config.features).items():
        _switch(out, feature, on)
    return out


def _unusual(config: EngineConfig, compiler: Compiler) -> bool:
    """Whether ``config`` has a setting that the engine may abort on."""
    plain = EngineConfig()
    names = {"max_wasm_stack", "async_stack_size", "cranelift_flags", *_PLAIN}
    if compiler == "cranelift":
        names.remove("signals_based_traps")  # it does without them
    # A range looks for what is no number by going through all of it.
    if config.memory_reservation is not None and config.memory_reservation in RESERVATIONS:
        names.remove("memory_reservation")
    return config.pooling is not None or any(getattr(config, name) != getattr(plain, name) for name in names)


_PROBE = """
import json, sys
given = json.load(sys.stdin)
sys.path[:] = given["path"]
import wasmtime
import wizer.engine.config as c
engine = wasmtime.Engine(c.unprobed_config(c.EngineConfig(**given["config"]), given["compiler"]))
wasmtime.Module(engine, b"\\0asm\\1\\0\\0\\0")
"""


def probe(config: EngineConfig, compiler: Compiler) -> None:
    """Make an engine of ``config`` in a process of its own, because a refusal is an abort there.

    Raises:
        OptionError: the engine refuses it; the cause is what the engine said.
    """
    import json
    import subprocess

    if not sys.executable:  # embedded: no interpreter to start
        return
    settings = {name: getattr(config, name) for name in field_names(EngineConfig)} | {"cache": False}
    given = {"path": sys.path, "config": settings, "compiler": compiler}
    tried = subprocess.run(
        [sys.executable, "-c", _PROBE],
        input=json.dumps(given, default=dict),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RUST_BACKTRACE": "0"},
    )
    if tried.returncode:
        raise OptionError("the engine refuses this configuration", [_reason(tried.stderr)])


def _reason(stderr: str) -> str:
    """Pick the sentence that explains a refusal out of an abort's output or a Python traceback."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for line in lines:
        if "on an `Err` value:" in line:
            return line.partition("on an `Err` value:")[2].strip()
    return lines[-1] if lines else "the engine aborted without a word"
