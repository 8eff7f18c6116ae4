"""What a command line asks for: `RunOptions`, made from the split arguments, then the library's options.

Nothing here imports the engine; what is wrong is said before any work is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from wizer.cli.files import STDIO, read_preload
from wizer.cli.flags import LETTERS, Flags, Setting, from_settings, split
from wizer.cli.parse import Arguments, UsageError
from wizer.cli.report import Manner, remark
from wizer.cli.signals import fail
from wizer.cli.spec import BY_NAME, IDLE, ONLY, REFUSED, UNSUPPORTED
from wizer.engine.config import EngineConfig
from wizer.engine.wasi import Wasi
from wizer.errors import OptionError, WizerError
from wizer.options import DEFAULT_LIMITS, Changes, Layout, OpenHandles, Options
from wizer.records import record, replace
from wizer.units import number, seconds, size

_T = TypeVar("_T")


@record(kw_only=True)
class RunOptions:
    """A run of `wizer`.

    Attributes:
        input: a path, or ``-`` for standard input.
        input_missing: whether nothing was said, which is standard input too, unless that is a terminal.
        output: a path, or ``-`` for standard output; None if nothing was said, which is standard output too,
            unless that is a terminal.
        init_funcs: names or calls, in order; None for the default.
        keep_init_func: whether they stay exported.
        rename: the new name of a function export -> its old name.
        preload: module names -> paths.
        layout: "balanced", "small" or "instant", or None for the default.
        max_data_segments: the limit, or None for the default.
        allow_wasi: whether ``--allow-wasi`` was given; ``-S cli`` says the same.
        wasi_options: the options given that mean nothing without WASI, for a warning.
        inherit_env, inherit_stdio: None if nothing was said.
        env: variables of the guest.
        dirs: the guest's directories -> the host's.
        deterministic: whether chance and time are made up, or from which seed.
        verify: whether the output is verified before it is written.
        validate: whether it is validated.
        producers: whether its producers section says how it was made.
        precompile: the path of the compiled output, or None.
        warn_frozen: whether to say what entropy is in the output.
        timeout: seconds, or None.
        fuel: units, or None.
        max_memory: bytes, or None.
        max_output: bytes, or None for the default.
        open_handles: "reopen", "error" or "drop", or None for the default.
        keep_libc_state: whether libc keeps what it knows of this host.
        globals: the values of imported globals, by module and name.
        args: what follows the program's name in the guest's arguments.
        features: proposals switched by the ``--wasm-…`` options.
        relaxed_simd_deterministic: None if nothing was said.
        settings: the ``-W``, ``-S``, ``-C``, ``-O``, ``-D`` settings, of the TOML file first.
        config: the TOML file with settings, or None.
        depfile: the path of the rule for Make and Ninja, or None.
        report: the path of the report, or None.
        verbose: whether to say what the run did.
        warnings: what is worth saying about the command line itself.
    """

    input: str = STDIO
    input_missing: bool = False
    output: str | None = None
    init_funcs: tuple[str, ...] | None = None
    keep_init_func: bool = False
    rename: Mapping[str, str]
    preload: Mapping[str, str]
    layout: Layout | None = None
    max_data_segments: int | None = None
    allow_wasi: bool = False
    wasi_options: tuple[str, ...] = ()
    inherit_env: bool | None = None
    inherit_stdio: bool | None = None
    env: Mapping[str, str]
    dirs: Mapping[str, str]
    deterministic: bool | str = False
    verify: bool = False
    validate: bool = True
    producers: bool | None = None
    precompile: str | None = None
    warn_frozen: bool = False
    timeout: float | None = None
    fuel: int | None = None
    max_memory: int | None = None
    max_output: int | None = None
    open_handles: OpenHandles | None = None
    keep_libc_state: bool = False
    globals: Mapping[str, Mapping[str, int | float]]
    args: tuple[str, ...] = ()
    features: Mapping[str, bool]
    relaxed_simd_deterministic: bool | None = None
    settings: tuple[Setting, ...] = ()
    config: str | None = None
    depfile: str | None = None
    report: str | None = None
    verbose: bool = False
    warnings: tuple[str, ...] = ()


def run_options(arguments: Arguments, command: str = "") -> RunOptions:
    """Give the arguments of a run, or of the command "audit" or "verify", their meaning.

    Raises:
        UsageError: a value is not what its option takes, or an option cannot be honoured.
        OptionError: two renames contradict each other, or the configuration file is at fault.
    """
    for name, reason in UNSUPPORTED.items():
        if arguments.has(name):
            raise UsageError(f"the argument '{BY_NAME[name].display}' is not supported: {reason}")
    _check_command(arguments, command)
    Manner.quiet = arguments.has("quiet")
    if Manner.quiet and arguments.has("verbose"):
        raise UsageError("the argument '--quiet' cannot be used with '--verbose'")
    _check_target(arguments)
    env, warnings = _environment(arguments)
    idle = [f"--{name}" for name in IDLE.get(command, ()) if arguments.has(name)]
    if idle:
        warnings += (f"for `wizer {command}`, there is no effect of {', '.join(idle)}",)
    return RunOptions(
        input=arguments.input if arguments.input is not None else STDIO,
        input_missing=arguments.input is None,
        output=_last(arguments, "output", _path),
        init_funcs=tuple(arguments.values("init-func")) or None,
        keep_init_func=_last(arguments, "keep-init-func", _boolean) or False,
        rename=_renames(arguments),
        preload=dict(_pairs(arguments, "preload")),
        layout=_last(arguments, "layout", _layout),
        max_data_segments=_last(arguments, "max-data-segments", number),
        allow_wasi=arguments.has("allow-wasi"),
        wasi_options=tuple(
            f"--{name}" for name in ("dir", "mapdir", "env", "inherit-env") if arguments.has(name)
        )
        + ("-- ARGS",) * bool(arguments.rest),
        inherit_env=_last(arguments, "inherit-env", _boolean),
        inherit_stdio=_last(arguments, "inherit-stdio", _boolean),
        env=env,
        dirs=_directories(arguments),
        deterministic=_last(arguments, "deterministic", _seed) or False,
        verify=arguments.has("verify"),
        validate=not arguments.has("no-validate"),
        producers=_last(arguments, "producers", _boolean),
        precompile=_last(arguments, "precompile", _path),
        warn_frozen=arguments.has("warn-frozen"),
        timeout=_last(arguments, "timeout", seconds),
        fuel=_last(arguments, "fuel", number),
        max_memory=_last(arguments, "max-memory", size),
        max_output=_last(arguments, "max-output", size),
        open_handles=_last(arguments, "open-handles", _open_handles),
        keep_libc_state=arguments.has("keep-libc-state"),
        globals=_globals(arguments),
        args=arguments.rest,
        features=_features(arguments),
        relaxed_simd_deterministic=_last(arguments, "relaxed-simd-deterministic", _boolean),
        settings=tuple(_settings(arguments)),
        config=arguments.last("config"),
        depfile=_last(arguments, "depfile", _path),
        report=_last(arguments, "report", _path),
        verbose=arguments.has("verbose"),
        warnings=warnings,
    )


def _check_command(arguments: Arguments, command: str) -> None:
    """Refuse the options of other commands."""
    for name, commands in ONLY.items():
        if arguments.has(name) and command not in commands:
            belongs = " and ".join(f"`wizer {owner}`" for owner in commands)
            raise UsageError(f"unexpected argument '--{name}' found: it belongs to {belongs}")
    for name, reason in REFUSED.get(command, {}).items():
        if arguments.has(name):
            display = BY_NAME[name].display
            raise UsageError(f"the argument '{display}' cannot be used with `wizer {command}`: {reason}")


def _read(name: str, text: str, reader: Callable[[str], _T]) -> _T:
    """Read one value; what is wrong with it is said as clap says it."""
    try:
        return reader(text)
    except (ValueError, WizerError) as error:
        message = f"invalid value '{text}' for '{BY_NAME[name].display}'"
        if reader is _boolean:
            raise UsageError(f"{message}\n  [possible values: true, false]") from None
        raise UsageError(f"{message}: {error}") from None


def _last(arguments: Arguments, name: str, reader: Callable[[str], _T]) -> _T | None:
    """Read the value of an option; None if it was not given."""
    text = arguments.last(name)
    return None if text is None else _read(name, text, reader)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("expected true or false")
    return text == "true"


def _layout(text: str) -> Layout:
    known: dict[str, Layout] = {"balanced": "balanced", "small": "small", "instant": "instant"}
    if text not in known:
        raise ValueError("expected balanced, small or instant")
    return known[text]


def _open_handles(text: str) -> OpenHandles:
    known: dict[str, OpenHandles] = {"reopen": "reopen", "error": "error", "drop": "drop"}
    if text not in known:
        raise ValueError("expected reopen, error or drop")
    return known[text]


def _path(text: str) -> str:
    if not text:
        raise UsageError(f"a value is required for '{BY_NAME['output'].display}' but none was supplied")
    return text


def _seed(text: str) -> bool | str:
    """Read the value of ``--deterministic``: a seed, or whether there is one."""
    return {"true": True, "false": False}.get(text, text)


def _pair(text: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not equals:
        raise ValueError("must contain exactly one equals character ('=')")
    return left, right


def _pairs(arguments: Arguments, name: str) -> list[tuple[str, str]]:
    return [_read(name, text, _pair) for text in arguments.values(name)]


def _renames(arguments: Arguments) -> dict[str, str]:
    """Collect the renames; the messages about contradictions are those of the Rust tools."""
    renames = dict[str, str]()
    for dst, src in _pairs(arguments, "rename-func"):
        if dst in renames:
            raise OptionError(f"Duplicated function rename dst {dst}")
        renames[dst] = src
    return renames


def _globals(arguments: Arguments) -> dict[str, dict[str, int | float]]:
    """Collect the values of imported globals, by module and name."""
    found = dict[str, dict[str, int | float]]()
    for left, text in _pairs(arguments, "global"):
        module, separator, name = left.rpartition("::" if "::" in left else ".")
        if not separator:
            raise UsageError(f"invalid value '{left}={text}' for '{BY_NAME['global'].display}': {_NO_MODULE}")
        found.setdefault(module, {})[name] = _read("global", text, _literal)
    return found


_NO_MODULE = "the global's name must stand behind that of the module that it is imported from and a dot"


def _literal(text: str) -> int | float:
    """Read a number; hexadecimal digits are an integer's."""
    try:
        return int(text, 0)
    except ValueError:
        return float(text)


def _directories(arguments: Arguments) -> dict[str, str]:
    """Collect the guest's directories, of ``--dir`` and ``--mapdir`` alike."""
    directories = dict[str, str]()
    for option, text in arguments.given:
        if option.name == "dir" and text is not None:
            host, _, guest = text.partition("::")
            guest = guest or host
        elif option.name == "mapdir" and text is not None:
            guest, host = _read("mapdir", text, _mapping)
        else:
            continue
        if guest in directories:
            raise OptionError(
                f"two directories would be called `{guest}` in the guest: `{directories[guest]}`, `{host}`"
            )
        directories[guest] = host
    return directories


def _mapping(text: str) -> tuple[str, str]:
    guest, colons, host = text.partition("::")
    if not colons:
        raise ValueError("must be of the form GUEST::HOST")
    return guest, host


def _environment(arguments: Arguments) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables of ``--env``, and a warning for each that was to be passed on and is not set."""
    variables, warnings = dict[str, str](), list[str]()
    for text in arguments.values("env"):
        name, equals, value = text.partition("=")
        if equals:
            variables[name] = value
        elif name in os.environ:
            variables[name] = os.environ[name]
        else:
            warnings.append(f"the environment variable `{name}` of --env is not set")
    return variables, tuple(warnings)


def _features(arguments: Arguments) -> dict[str, bool]:
    names = ("multi-memory", "multi-value", "bulk-memory", "simd", "relaxed-simd", "reference-types")
    given = {name: _last(arguments, f"wasm-{name}", _boolean) for name in names}
    return {name: on for name, on in given.items() if on is not None}


def _settings(arguments: Arguments) -> list[Setting]:
    """Return all settings, those of the TOML file first: a later one takes precedence."""
    settings = list[Setting]()
    if (file := arguments.last("config")) is not None:
        from wizer.cli.settings import read_config

        settings += read_config(Path(file))
    for option, value in arguments.given:
        if option.name in LETTERS and value is not None:
            settings += split(option.name, [value])
    return settings


_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_SYSTEMS = {"linux": "linux", "darwin": "darwin", "macos": "darwin", "windows": "windows"}


def _check_target(arguments: Arguments) -> None:
    """Refuse every target but this machine: the engine runs what it compiles."""
    target = arguments.last("target")
    if target is None:
        return
    import platform

    machine = platform.machine().lower()
    machine, system = _MACHINES.get(machine, machine), platform.system().lower()
    parts = target.lower().split("-")
    same_machine = _MACHINES.get(parts[0], parts[0]) == machine
    if target != "host" and not (same_machine and any(_SYSTEMS.get(part) == system for part in parts[1:])):
        raise UsageError(
            f"invalid value '{target}' for '{BY_NAME['target'].display}': initialisation runs on this "
            f"machine, which is {machine}-{system}; the output runs on every machine"
        )


_PROGRAM: Final = "main.wasm"
"""The guest's name of itself where nothing may depend on the machine."""


def make_flags(options: RunOptions) -> Flags:
    """Join the options and the settings, which go before them."""
    try:
        engine = EngineConfig(
            features=options.features,
            relaxed_simd_deterministic=bool(options.relaxed_simd_deterministic),
        )
        given = {"timeout": options.timeout, "fuel": options.fuel, "max_memory": options.max_memory}
        limits = replace(
            DEFAULT_LIMITS, **{name: bound for name, bound in given.items() if bound is not None}
        )
        inherited = "null" if options.inherit_stdio is False else "inherit"
        wasi = Wasi(
            # What the file is called is the machine's affair.
            args=(Path(options.input).name if options.deterministic is False else _PROGRAM, *options.args),
            env=options.env,
            inherit_env=bool(options.inherit_env),
            mapdirs=options.dirs,
            stdin=inherited,
            stdout=inherited,
            stderr=inherited,
        )
        return from_settings(options.settings, engine=engine, limits=limits, wasi=wasi)
    except OptionError as error:
        raise UsageError(str(error), trailer=False) from None


def make_wasi(options: RunOptions, flags: Flags) -> Wasi | None:
    """Return what the guest sees of the host, None for nothing; point out what then has no effect."""
    for warning in options.warnings:
        remark(f"warning: {warning}")
    if not (options.allow_wasi or flags.use_wasi):
        idle = [*options.wasi_options]
        idle += [f"-S {key}" for section, key, _ in options.settings if section == "wasi"]
        idle = [option for option in idle if option not in ("-S cli", "-S common")]
        if idle:
            remark(f"warning: without --allow-wasi, there is no effect of {', '.join(idle)}")
        return None
    wasi = flags.wasi
    if options.input == STDIO and wasi.stdin == "inherit":
        wasi = replace(wasi, stdin="null")  # the module was all there was
    if options.output in (None, STDIO) and wasi.stdout == "inherit":
        wasi = replace(wasi, stdout="stderr")  # what the guest prints is no part of the module
    return wasi


def make_options(options: RunOptions, flags: Flags, wasi: Wasi | None) -> Options:
    """Return the library's options for what a command line asks for."""
    rest: Changes = {}
    if options.layout is not None:
        rest["layout"] = options.layout
    if options.max_data_segments is not None:
        rest["max_data_segments"] = options.max_data_segments
    if options.max_output is not None:
        rest["max_output"] = options.max_output
    if options.open_handles is not None:
        rest["open_handles"] = options.open_handles
    if flags.unknown_imports is not None:
        rest["unknown_imports"] = flags.unknown_imports
    return Options(
        init_func=options.init_funcs,
        keep_init_func=options.keep_init_func,
        rename=options.rename,
        preload={name: read_preload(path) for name, path in options.preload.items()},
        wasi=wasi,
        limits=flags.limits,
        engine=flags.engine,
        deterministic=options.deterministic,
        imports=options.globals,
        keep_libc_state=options.keep_libc_state,
        verify=options.verify,
        validate=options.validate,
        producers=options.producers,
        precompile=options.precompile,
        hard_exit=fail,
    ).changed(**rest)
