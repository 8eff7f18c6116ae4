"""The table of the engine's settings: what each key is called, takes, does, or why it cannot be honoured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from wizer.engine.config import FEATURES
from wizer.records import record
from wizer.units import number, seconds, size


@record
class Key:
    """One key.

    Attributes:
        name: how it is written.
        form: how its value is written, for the help: ``=N``, ``[=y|n]``.
        help: what it does; if it cannot be honoured, why.
        parse: reads the value's text, None for a key alone; ValueError says what is wrong.
        target: where the value goes: "engine", "features", "limits", "wasi", "pooling", "cache", "run", or
            "fixed" for a key that is accepted only with the value that holds anyway.
        field: the name there.
        value: of a "fixed" key.
    """

    name: str
    form: str
    help: str
    parse: Callable[[str | None], object] | None
    target: str
    field: str = ""
    value: object = None

    def read(self, text: str | None) -> object:
        """Read the value.

        Raises:
            ValueError: the text is not what the key takes.
        """
        return text if self.parse is None else self.parse(text)


def _flag(text: str | None) -> bool:
    if text in (None, "y", "yes", "true"):
        return True
    if text in ("n", "no", "false"):
        return False
    raise ValueError(f"unknown boolean flag `{text}`, only yes,no,<nothing> accepted")


def _off(text: str | None) -> bool:
    return not _flag(text)


def _number(text: str | None) -> int:
    text = _text(text)
    try:
        value = number(text)
    except ValueError:
        raise ValueError("expected a number that is whole and not negative") from None
    return _counted(value)


def _size(text: str | None) -> int:
    return _counted(size(_text(text)))


def _counted(value: int) -> int:
    if value >= 1 << 63:
        raise ValueError("number too large")
    return value


def _seconds(text: str | None) -> float:
    try:
        return seconds(_text(text))
    except ValueError:
        raise ValueError(f"failed to parse duration: {text}; write 2, 2s, 1m, 100ms, 50us or 10ns") from None


def _text(text: str | None) -> str:
    if text is None:
        raise ValueError("value must be specified with key=val syntax")
    return text


def _choice(**choices: str) -> Callable[[str | None], str]:
    """Read one of several words."""

    def read(text: str | None) -> str:
        try:
            return choices[f"_{text}".replace("-", "_")]
        except KeyError:
            names = ",".join(name[1:].replace("_", "-") for name in choices)
            raise ValueError(f"unknown value `{text}`, only {names} accepted") from None

    return read


_NO_SWITCH = "the engine's C interface has no switch for it"


def _refuse(_text: str | None) -> object:
    """Read the value of a key that is never honoured, as one that equals nothing."""
    return object()


def _table(*keys: Key) -> Mapping[str, Key]:
    return MappingProxyType({key.name: key for key in keys})


def _engine(name: str, form: str, text: str, parse: Callable[[str | None], object], field: str = "") -> Key:
    return Key(name, form, text, parse, "engine", field or name.replace("-", "_"))


def _switch(name: str, text: str, field: str = "") -> Key:
    return _engine(name, "[=y|n]", text, _flag, field)


def _fixed(name: str, value: bool, why: str = _NO_SWITCH) -> Key:
    """Make a key that holds one value whatever is said."""
    return Key(name, "[=y|n]", why, _flag, "fixed", value=value)


def _never(name: str, why: str = _NO_SWITCH) -> Key:
    return Key(name, "=…", why, _refuse, "fixed")


_CODEGEN = _table(
    _engine(
        "compiler",
        "=winch|cranelift",
        "Compiler [default: Winch where it is quicker and knows all the module uses]",
        _choice(_winch="winch", _cranelift="cranelift", _auto="auto"),
    ),
    Key("cache", "[=y|n]", "Keep compiled code for the next run [default: y]", _flag, "cache", "cache"),
    Key("cache-config", "=FILE", "Settings of the cache, TOML", _text, "cache", "config"),
    _switch("parallel-compilation", "Compile on all cores [default: y]"),
    _switch("native-unwind-info", "Add unwind information for native debuggers [default: n]"),
    _switch("cranelift-debug-verifier", "Check the compiler's own work (slow)", "debug_verifier"),
    Key("cranelift-<KEY>", "[=VAL]", "A setting of Cranelift's own", None, "cranelift_flags", ""),
    _never("collector"),
    _fixed("inlining", False),
    _never("metadata-for-internal-asserts"),
    _never("metadata-for-gc-heap-corruption"),
)

_POOLING = {
    "decommit-batch-size": "decommit_batch_size",
    "memory-keep-resident": "linear_memory_keep_resident",
    "table-keep-resident": "table_keep_resident",
    "total-core-instances": "total_core_instances",
    "total-component-instances": "total_component_instances",
    "total-memories": "total_memories",
    "total-tables": "total_tables",
    "total-stacks": "total_stacks",
    "max-memory-size": "max_memory_size",
    "table-elements": "table_elements",
    "max-core-instance-size": "max_core_instance_size",
    "max-unused-warm-slots": "max_unused_warm_slots",
    "async-stack-keep-resident": "async_stack_keep_resident",
    "max-component-instance-size": "max_component_instance_size",
    "max-core-instances-per-component": "max_core_instances_per_component",
    "max-memories-per-component": "max_memories_per_component",
    "max-tables-per-component": "max_tables_per_component",
    "max-tables-per-module": "max_tables_per_module",
    "max-memories-per-module": "max_memories_per_module",
    "total-gc-heaps": "total_gc_heaps",
}

_POOLING_BYTES = (
    "memory-keep-resident",
    "table-keep-resident",
    "max-memory-size",
    "max-core-instance-size",
    "async-stack-keep-resident",
    "max-component-instance-size",
)

_OPTIMIZE = _table(
    _engine(
        "opt-level",
        "=0|1|2|s",
        "Optimise the code that runs; more than 0 means Cranelift [default: 0]",
        _choice(_0="none", _1="speed", _2="speed", _s="speed_and_size"),
    ),
    _engine(
        "regalloc-algorithm",
        "=backtracking|single-pass",
        "Cranelift's register allocator",
        _choice(_backtracking="backtracking", _single_pass="single-pass"),
        "regalloc",
    ),
    _switch("memory-may-move", "Allow linear memories to move when they grow"),
    _engine("memory-reservation", "=SIZE", "Address space to reserve for each memory, in bytes", _size),
    _engine("memory-reservation-for-growth", "=SIZE", "The same, for a memory that moves", _size),
    _engine("memory-guard-size", "=SIZE", "Guard pages after each memory, in bytes", _size),
    _switch("memory-init-cow", "Map data segments copy-on-write [default: n]"),
    _switch("signals-based-traps", "Let the processor find traps [default: y]"),
    Key("pooling-allocator", "[=y|n]", "Allocate from a pool", _flag, "run", "pooling-allocator"),
    *(
        Key(f"pooling-{name}", form, "Setting of the pool", read, "pooling", field)
        for name, field in _POOLING.items()
        for form, read in [("=SIZE", _size) if name in _POOLING_BYTES else ("=N", _number)]
    ),
    Key("static-memory-forced", "[=y|n]", "Old name: no memory-may-move", _off, "engine", "memory_may_move"),
    _engine(
        "static-memory-maximum-size", "=SIZE", "Old name of memory-reservation", _size, "memory_reservation"
    ),
    _engine("static-memory-guard-size", "=SIZE", "Old name of memory-guard-size", _size, "memory_guard_size"),
    _engine(
        "dynamic-memory-guard-size", "=SIZE", "Old name of memory-guard-size", _size, "memory_guard_size"
    ),
    _engine(
        "dynamic-memory-reserved-for-growth",
        "=SIZE",
        "Old name of memory-reservation-for-growth",
        _size,
        "memory_reservation_for_growth",
    ),
    _fixed("guard-before-linear-memory", True),
    _fixed("table-lazy-init", True),
    _fixed("pooling-memory-protection-keys", False),
    _fixed("pooling-pagemap-scan", False),
    *(
        _never(name)
        for name in (
            "gc-heap-may-move",
            "gc-heap-reservation",
            "gc-heap-reservation-for-growth",
            "gc-heap-guard-size",
            "gc-heap-initial-size",
            "gc-zeal-alloc-counter",
            "memory-guaranteed-dense-image-size",
            "pooling-max-memory-protection-keys",
        )
    ),
)

_NOT_IMPLEMENTED = "the engine does not implement it, or not behind a switch of its C interface"

_WASM = _table(
    _switch("nan-canonicalization", "Give every NaN that is computed the canonical bits"),
    Key("fuel", "=N", "Fuel, about one unit an instruction", _number, "limits", "fuel"),
    Key("timeout", "=N|Ns|Nms|..", "Most time in guest code", _seconds, "limits", "timeout"),
    Key("max-memory-size", "=SIZE", "Most bytes in all memories", _size, "limits", "max_memory"),
    Key("max-table-elements", "=N", "Most elements in all tables", _number, "limits", "max_table_elements"),
    Key("max-instances", "=N", "Most instances", _number, "limits", "max_instances"),
    Key("max-tables", "=N", "Most tables", _number, "limits", "max_tables"),
    Key("max-memories", "=N", "Most memories", _number, "limits", "max_memories"),
    _engine("max-wasm-stack", "=SIZE", "Stack of guest code, in bytes", _size),
    _engine("async-stack-size", "=SIZE", "Stack of a coroutine, in bytes", _size),
    _switch("relaxed-simd-deterministic", "Relaxed SIMD, yet the same everywhere"),
    Key(
        "unknown-imports-trap",
        "[=y|n]",
        "Missing imports trap [default: y]",
        _flag,
        "run",
        "unknown-imports-trap",
    ),
    Key(
        "unknown-imports-default",
        "[=y|n]",
        "Missing imports return zeros",
        _flag,
        "run",
        "unknown-imports-default",
    ),
    Key("all-proposals", "[=y|n]", "Switch all of the following", _flag, "run", "all-proposals"),
    *(Key(name, "[=y|n]", "WebAssembly proposal", _flag, "features", name) for name in FEATURES),
    _fixed("stack-switching", False, "the engine aborts where a continuation is made"),
    _fixed("extended-const", True, "the engine always has it on"),
    _fixed("epoch-interruption", True, "it is what stops a run on Ctrl-C and at its time limit"),
    _fixed("unknown-exports-allow", True, "exports with any names are always allowed"),
    _fixed("async-stack-zeroing", False),
    _fixed("wmemcheck", False),
    _fixed("trap-on-grow-failure", False, f"{_NO_SWITCH}; `memory.grow` returns -1 at a limit"),
    *(
        _fixed(name, False, _NOT_IMPLEMENTED)
        for name in (
            "shared-everything-threads",
            "component-model-threading",
            "component-model-error-context",
            "component-model-gc",
            "component-model-memory64",
            "component-model-fixed-length-lists",
        )
    ),
)


def _inherit(stream: str) -> Key:
    def read(text: str | None) -> str:
        return "inherit" if _flag(text) else "null"

    return Key(f"inherit-{stream}", "[=y|n]", f"This process's {stream} for the guest", read, "wasi", stream)


_WASI = _table(
    Key("cli", "[=y|n]", "Provide WASI", _flag, "run", "wasi"),
    Key("common", "[=y|n]", "The same, by its old name", _flag, "run", "wasi"),
    Key("inherit-env", "[=y|n]", "This process's environment for the guest", _flag, "wasi", "inherit_env"),
    _inherit("stdin"),
    _inherit("stdout"),
    _inherit("stderr"),
    Key("http", "[=y|n]", "Outgoing HTTP; components only", _flag, "wasi", "http"),
    Key("inherit-network", "[=y|n]", "The host's network; components only", _flag, "wasi", "network"),
    Key("allow-ip-name-lookup", "[=y|n]", "Names of hosts; components only", _flag, "wasi", "name_lookup"),
    _fixed("preview2", True, "the engine implements preview 1 on 0.2 only"),
    _fixed("tcp", True),
    _fixed("udp", True),
    _fixed("preview0", False, "the engine's Python package has no `wasi_unstable`; use an adapter"),
    _fixed("threads", False, "the engine no longer has wasi-threads"),
    *(
        _fixed(name, False, f"{_NO_SWITCH}; provide the imports from Python or with --preload")
        for name in (
            "nn",
            "config",
            "keyvalue",
            "listenfd",
            "tls",
            "p3",
            "cli-exit-with-code",
            "network-error-code",
        )
    ),
    *(
        _never(name)
        for name in (
            "cwd",
            "nn-graph",
            "tcplisten",
            "config-var",
            "keyvalue-in-memory-data",
            "http-outgoing-body-buffer-chunks",
            "http-outgoing-body-chunk-size",
            "max-resources",
            "hostcall-fuel",
            "max-component-handles",
            "max-random-size",
            "max-http-fields-size",
        )
    ),
)

_DEBUG = _table(
    _switch("debug-info", "Make native debug information; Cranelift only"),
    _fixed("address-map", True),
    _fixed("logging", False),
    _fixed("log-to-files", False),
    _fixed("guest-debug", False),
    _fixed("inherit-stdin", False, "there is no debugger to attach"),
    _fixed("inherit-stdout", False, "there is no debugger to attach"),
    _fixed("inherit-stderr", False, "there is no debugger to attach"),
    _never("debugger", "there is no debugger to attach"),
    _never("arg", "there is no debugger to attach"),
    _never("coredump"),
    _never("max-backtrace"),
    _never("symbols", "no `*.cwasm` file is written"),
)

KEYS: Mapping[str, Mapping[str, Key]] = MappingProxyType(
    {"codegen": _CODEGEN, "optimize": _OPTIMIZE, "wasm": _WASM, "wasi": _WASI, "debug": _DEBUG}
)
