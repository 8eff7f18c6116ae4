"""The options: what each is called, takes, means and is by default.

`Options` holds them. The ``TypedDict`` classes say which of them a function takes by keyword, so that a type
checker knows them (``**options: Unpack[WizerOptions]``, PEP 692); `session_options` and `wizer_options` make
`Options` of what was given. `explains` writes what they mean into the docstrings of such functions.

Importing this module does not import the engine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict, TypeVar, Unpack, get_args

from wizer.checks import (
    CALLABLE,
    COUNT,
    NAMED,
    PATH,
    SWITCH,
    TEXT_COLLECTION,
    TEXT_MAPPING,
    TEXTS,
    Kind,
    check,
    instance_kind,
    mapping_kind,
    or_none,
    refuse,
    words_kind,
)
from wizer.engine.config import EngineConfig, UnknownImports
from wizer.engine.deterministic import Deterministic, DeterministicOption, as_deterministic
from wizer.engine.limits import Limits
from wizer.engine.text import WASM, Wasm
from wizer.engine.wasi import Wasi
from wizer.errors import OptionError
from wizer.records import field_defaults, field_names, record, replace

if TYPE_CHECKING:
    from wizer.binary.module import Module
    from wizer.engine.trace import Trace

Imports: TypeAlias = Mapping[str, Any]
OpenHandles: TypeAlias = Literal["reopen", "error", "drop"]
Layout: TypeAlias = Literal["balanced", "small", "instant"]
HardExit: TypeAlias = Callable[[BaseException], None]

DEFAULT_LIMITS: Final = Limits(
    timeout=600,
    max_memory=1 << 34,
    max_table_elements=10_000_000,
    max_instances=10_000,
    max_tables=10_000,
    max_memories=10_000,
)
"""The bounds of a run that is given none: what a browser allows a module with a 64-bit memory, ten minutes,
and as many instances, tables and memories as the engine allows a store.
https://webassembly.github.io/spec/js-api/#limits"""

INIT_FUNC: Final = "wizer-initialize"
OLD_INIT_FUNC: Final = "wizer.initialize"
"""What the standalone tool called it up to version 10."""

MAX_DATA_SEGMENTS: Final = 10_000
"""Data segments of a snapshot by default, unless the original has more: fewer than any engine refuses."""

MAX_OUTPUT: Final = 1 << 30
"""Bytes of output by default. No browser loads a larger module:
https://webassembly.github.io/spec/js-api/#limits"""


class SnapshotOptions(TypedDict, total=False):
    """What `Instrumented` takes: how a snapshot is written."""

    layout: Layout
    max_data_segments: int | None
    open_handles: OpenHandles
    validate: bool
    keep_libc_state: bool
    producers: bool | str | None


class CommonOptions(SnapshotOptions, total=False):
    """What every run takes: what the guest sees, what bounds it, how it is compiled."""

    wasi: Wasi | None
    preload: Mapping[str, Wasm] | None
    unknown_imports: UnknownImports
    limits: Limits | None
    engine: EngineConfig | None
    deterministic: DeterministicOption
    max_output: int | None


class SessionOptions(CommonOptions, total=False):
    """What `Session` takes."""

    hard_exit: HardExit | None
    trace: Trace | None
    initialize: bool


class Changes(SessionOptions, total=False):
    """What `Options.changed` takes."""

    imports: Imports | None


class WizerOptions(CommonOptions, total=False):
    """What `Wizer`, `wizen`, `verify` and `audit` take."""

    init_func: str | Sequence[str] | None
    keep_init_func: bool
    rename: Mapping[str, str] | None
    verify: bool
    precompile: str | os.PathLike[str] | None
    isolate: bool


class DataOptions(TypedDict):
    """What `wizer.core.rewrite.rewrite` takes: how memory becomes data segments."""

    max_data_segments: int
    layout: Layout
    max_output: int | None
    stamp: str | None


class ExportChanges(TypedDict, total=False):
    """How the exports of a snapshot differ from the original's."""

    rename: Mapping[str, str] | None
    remove: Collection[str]
    keep: Collection[str]


@record(kw_only=True)
class Options:
    """All options.

    Attributes:
        init_func: the exported function that initialises, by name or as a call (``"setup(3, 0x10)"``), or
            several, which run in this order; None: ``wizer-initialize``, or where that is not exported
            ``wizer.initialize``, as the standalone tool called it up to version 10.
        keep_init_func: whether the snapshot still exports them.
        rename: new export name to old export name.
        verify: check each snapshot against what it was made from, before it is handed out.
        precompile: a file to write the snapshot to as machine code, too, for `wizer.load`.
        isolate: run in a process of its own, which is ended where the run is beyond ``limits``, whatever it
            is doing. What is given has to be picklable: functions are those of modules, and what they change
            is changed there. Not for sessions.
        imports: for a module, by module name, either another module, which is instantiated, or a mapping
            from names to Python functions, to the values of globals (numbers, vectors as 16 bytes, any object
            for an externref, ``wasmtime`` values) and to ``wasmtime`` externs of the session's store. What an
            extern given here holds stays with its owner. A mutable global that initialisation leaves as it
            was given is the next host's to give; an immutable number has to be the same then. Memories and
            tables that nobody gives are made by Wizer, and their state is frozen. For a component, by name,
            Python functions, or for an instance a mapping of them.
        wasi: what the guest may see of the host through WASI (preview 1 for modules, 0.2 for components);
            None: nothing.
        preload: modules to instantiate first, by the name that they are imported under, to which `imports`
            may add; a component has none.
        unknown_imports: functions that nobody gives "trap" when they are called, are an "error" at once, or
            return the "default" values of their types, which globals have as well then.
        limits: bounds on time, fuel and memory; None: ten minutes, 16 GiB of memory, ten million
            elements of tables. ``Limits()`` has none.
        engine: how to compile.
        deterministic: what WASI shows of chance and time is made up, the same on every run: a seed, True for
            the default one, or a `Deterministic`; relaxed vector instructions are deterministic too.
        layout: what data segments are chosen for: "balanced" travels and compiles fast, "small" has the
            fewest bytes before compression, "instant" is balanced and so dense that engines map memory into
            each new instance, and do not copy it; a `WizerWarning` says where that is out of reach.
        max_data_segments: how many data segments a module in the snapshot may have; some platforms allow
            1,024. None: 10,000, or as many as the original has where that is more.
        max_output: how many bytes a snapshot may have; None: as many as it takes.
        open_handles: for a component, what becomes of handles (to streams, files and other resources) that
            are open when it is frozen: the snapshot asks its host for them again at its start, and where
            that cannot be it is an error ("reopen"); they always are an "error"; it does without them
            ("drop").
        validate: check in the engine that the snapshot is valid, before it is handed out.
        keep_libc_state: whether the guest's libc keeps what it knows of this host, preopened directories and
            the environment, where it has functions that forget them.
        producers: whether a module's `producers` section, where it has one, says that Wizer made the
            snapshot: by which version (this one, unless another is given), with which layout, of what
            original. None: unless the layout is "small", which has no byte to spare.
        hard_exit: ends the process when a limit is met inside a host function, where no guest code runs.
        trace: is told of every imported function that is called.
        initialize: whether ``_initialize`` runs.

    Raises:
        OptionError: an option is not of its type; the message names it.
    """

    init_func: str | Sequence[str] | None = None
    keep_init_func: bool = False
    rename: Mapping[str, str] | None = None
    verify: bool = False
    precompile: str | os.PathLike[str] | None = None
    isolate: bool = False
    imports: Imports | None = None
    wasi: Wasi | None = None
    preload: Mapping[str, Wasm] | None = None
    unknown_imports: UnknownImports = "trap"
    limits: Limits | None = None
    engine: EngineConfig | None = None
    deterministic: DeterministicOption = False
    layout: Layout = "balanced"
    max_data_segments: int | None = None
    max_output: int | None = MAX_OUTPUT
    open_handles: OpenHandles = "reopen"
    validate: bool = True
    keep_libc_state: bool = False
    producers: bool | str | None = None
    hard_exit: HardExit | None = None
    trace: Trace | None = None
    initialize: bool = True

    def __post_init__(self) -> None:
        check(self, _KINDS)

    def changed(self, **changes: Unpack[Changes]) -> Options:
        """Return options of which some are others."""
        check_names(changes, Changes)
        return replace(self, **changes)

    @property
    def init_funcs(self) -> tuple[str, ...]:
        """The initialisation functions, in order."""
        if self.init_func is None:
            return (INIT_FUNC,)
        return (self.init_func,) if isinstance(self.init_func, str) else tuple(self.init_func)

    @property
    def bounds(self) -> Limits:
        """The limits that hold."""
        return DEFAULT_LIMITS if self.limits is None else self.limits

    @property
    def cache_settings(self) -> str:
        """What machine code depends on of these options, as text."""
        return f"{self.config} {self.bounds.fuel is not None}"

    @property
    def bounds_growth(self) -> bool:
        """Whether a limit on memories or tables was asked for."""
        bounds = self.bounds
        return bounds.max_memory not in (None, DEFAULT_LIMITS.max_memory) or (
            bounds.max_table_elements not in (None, DEFAULT_LIMITS.max_table_elements)
        )

    def data_options(self, module: Module) -> DataOptions:
        """Return what `rewrite` takes besides a state, for a module."""
        most = self.max_data_segments
        return {
            "max_data_segments": max(MAX_DATA_SEGMENTS, len(module.data)) if most is None else most,
            "layout": self.layout,
            "max_output": self.max_output,
            "stamp": self._stamp(),
        }

    def _stamp(self) -> str | None:
        """Return what a snapshot says of how it was made; None: nothing.

        Only options that decide how a state is written are among it: the same state is written the same.
        """
        if not (self.layout != "small" if self.producers is None else self.producers):
            return None
        from importlib import import_module

        ours = import_module("wizer").__version__  # all of the package is above this module
        words = [self.producers if isinstance(self.producers, str) else ours, f"layout={self.layout}"]
        if self.max_data_segments is not None:
            words.append(f"segments={self.max_data_segments}")
        return " ".join(words)

    @property
    def world(self) -> Deterministic | None:
        """How chance, time and directories are made up; None: they are the host's."""
        return as_deterministic(self.deterministic)

    @property
    def config(self) -> EngineConfig:
        """How code is compiled: a deterministic run needs more of it than others."""
        config = self.engine or EngineConfig()
        if self.world is None:
            return config
        return replace(config, nan_canonicalization=True, relaxed_simd_deterministic=True)


def _is_version(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9][0-9A-Za-z.+!]{0,30}", value) is not None


_KINDS: Final[Mapping[str, Kind]] = {
    "init_func": or_none(
        Kind(
            "the name of a function, a call or a sequence of them",
            lambda value: isinstance(value, str) or TEXTS.holds(value),
        )
    ),
    "keep_init_func": SWITCH,
    "rename": or_none(TEXT_MAPPING),
    "verify": SWITCH,
    "precompile": or_none(PATH),
    "isolate": SWITCH,
    "imports": or_none(NAMED),
    "wasi": or_none(instance_kind("a `Wasi`", Wasi)),
    "preload": or_none(mapping_kind("a mapping from names to modules", WASM)),
    "unknown_imports": words_kind(*get_args(UnknownImports)),
    "limits": or_none(instance_kind("a `Limits`", Limits)),
    "engine": or_none(instance_kind("an `EngineConfig`", EngineConfig)),
    "deterministic": or_none(
        instance_kind(
            "True, False, a seed (a number or a string), a `Deterministic`", int, str, Deterministic
        )
    ),
    "layout": words_kind(*get_args(Layout)),
    "max_data_segments": or_none(COUNT),
    "max_output": or_none(COUNT),
    "open_handles": words_kind(*get_args(OpenHandles)),
    "validate": SWITCH,
    "keep_libc_state": SWITCH,
    "producers": or_none(
        Kind("True, False or a version", lambda value: isinstance(value, bool) or _is_version(value))
    ),
    "hard_exit": or_none(CALLABLE),
    "trace": or_none(Kind("a `Trace`", lambda value: hasattr(value, "unobserved"))),
    "initialize": SWITCH,
}


def session_options(given: SessionOptions, imports: Imports | None = None) -> Options:
    """Return what was given to `Session`, and defaults.

    Raises:
        OptionError: it takes no such option, or one is not of its type.
    """
    check_names(given, SessionOptions)
    return Options(imports=imports, **given)


def wizer_options(given: WizerOptions, imports: Imports | None = None) -> Options:
    """Return what was given to `Wizer`, and defaults.

    Raises:
        OptionError: it takes no such option, or one is not of its type.
    """
    check_names(given, WizerOptions)
    return Options(imports=imports, **given)


def snapshot_options(given: SnapshotOptions, rename: Mapping[str, str] | None = None) -> Options:
    """Return what was given to `Instrumented`, and defaults.

    Raises:
        OptionError: it takes no such option, or one is not of its type.
    """
    check_names(given, SnapshotOptions)
    return Options(rename=rename, **given)


def check_changes(changes: ExportChanges) -> None:
    """Check what was given to `Session.snapshot`.

    Raises:
        OptionError: it takes no such option, or one is not of its type.
    """
    check_names(changes, ExportChanges)
    for option, names in changes.items():
        kind = _KINDS["rename"] if option == "rename" else TEXT_COLLECTION
        if not kind.holds(names):
            refuse(option, names, kind.expected)


def check_names(given: Mapping[str, object], kind: type) -> None:
    """Check that what was given by keyword are options of ``kind``, one of the ``TypedDict`` classes.

    Raises:
        OptionError: one is not; what may have been meant is named.
    """
    known = _names(kind)
    for name in given:
        if name not in known:
            raise OptionError(f"there is no option `{name}` here{_advice(name, known)}")


def _names(kind: type) -> tuple[str, ...]:
    """Return the options of a ``TypedDict`` class."""
    return tuple(kind.__annotations__)


_PARTS: Final = {"limits": Limits, "wasi": Wasi, "engine": EngineConfig}


def _advice(name: str, known: Sequence[str]) -> str:
    """Say what may have been meant by an option that is not known: another one, or a field of one."""
    from difflib import get_close_matches

    meant = {option: option for option in known}
    for option, part in _PARTS.items():
        if option in known:
            for inner in field_names(part):
                meant.setdefault(inner, f"{option}={part.__name__}({inner}=…)")
    close = get_close_matches(name, meant, n=1)
    if close:
        return f"; did you mean `{meant[close[0]]}`?"
    return f"; known are {', '.join(known)}"


_Documented = TypeVar("_Documented", bound=Callable[..., object])


def explains(kind: type) -> Callable[[_Documented], _Documented]:
    """Return a decorator that adds to a docstring what the options of ``kind`` mean."""

    def explain(documented: _Documented) -> _Documented:
        doc = documented.__doc__
        if doc is not None:  # python -OO has none
            margin = doc[doc.rindex("\n", 0, doc.index("Args:")) : doc.index("Args:")]
            taken = _names(kind)
            lines = [line for name, about in _meanings() if name in taken for line in about]
            documented.__doc__ = (
                f"{doc.rstrip()}\n{margin}Options:{''.join(margin + line for line in lines)}\n"
            )
        return documented

    return explain


def _meanings() -> Iterator[tuple[str, list[str]]]:
    """Yield the options, each with the lines about it: the entries of `Options`' docstring, and defaults."""
    entries = (Options.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    margin = " " * (len(entries) - len(entries.lstrip()))
    defaults = field_defaults(Options)
    for entry in f"\n{entries}".replace(f"\n{margin} ", "\0 ").split(f"\n{margin}")[1:]:
        name, _, about = entry.partition(": ")
        first, *others = about.split("\0")
        yield name, [f"    {name} = {defaults[name]!r}: {first}", *(f"    {line}" for line in others)]
