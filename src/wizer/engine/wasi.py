"""What a guest sees of the host through WASI: preview 1 for modules, 0.2 for components.

Importing this module does not import the engine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from wizer.checks import SWITCH, TEXT_MAPPING, TEXTS, Kind, check, instance_kind, mapping_kind, sequence_kind
from wizer.engine.forks import PROCESS
from wizer.errors import OptionError, WizerError
from wizer.records import field, record

if TYPE_CHECKING:
    import wasmtime

    from wizer.engine.streams import Outlet, Streams

HostPath = str | os.PathLike[str]
Sink = Callable[[bytes], object]


@record(kw_only=True)
class Wasi:
    """What initialisation sees of the host. Nothing unless it is named here.

    Attributes:
        args: the guest's arguments, the program's name first.
        env: environment variables of the guest.
        inherit_env: this process's variables too; ``env`` goes before them.
        dirs: host directories that the guest sees under the same name.
        mapdirs: guest name -> host directory.
        read_only: the guest cannot change anything in those directories.
        stdin: "null", "inherit" (this process's), the input itself, or a file.
        stdout: "null", "inherit", "stderr" (this process's standard error), a file, or a function that is
            given the bytes that the guest writes, soon after it does, on a thread of its own; what it raises
            ends the run, and the rest of what that run writes is dropped. A file that is
            called like one of the words needs a ``Path`` or "./".
        stderr: the same.
        network: the host's network, for components.
        name_lookup: looking host names up, for components.
        http: outgoing HTTP requests, for components.
    """

    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    inherit_env: bool = False
    dirs: Sequence[HostPath] = ()
    mapdirs: Mapping[str, HostPath] = field(default_factory=dict)
    read_only: bool = False
    stdin: Literal["null", "inherit"] | bytes | HostPath = "null"
    stdout: Literal["null", "inherit", "stderr"] | HostPath | Sink = "inherit"
    stderr: Literal["null", "inherit", "stderr"] | HostPath | Sink = "inherit"
    network: bool = False
    name_lookup: bool = False
    http: bool = False

    def __post_init__(self) -> None:
        check(self, _KINDS)

    @property
    def directories(self) -> dict[str, HostPath]:
        """The host's directories by the names that the guest has for them, in the order of their handles."""
        return {**{os.fspath(host): host for host in self.dirs}, **self.mapdirs}

    def host_path(self, guest_path: str) -> Path | None:
        """Return the host's path of what a guest calls ``guest_path``, None where it is in no directory."""
        for guest, host in self.directories.items():
            name = guest.rstrip("/")
            if guest_path == guest or guest_path.startswith(f"{name}/"):
                return Path(host) / guest_path[len(name) + 1 :]
        return None


_PATH: Final = instance_kind("a path", str, os.PathLike)
_OUTPUT: Final = Kind(
    "'null', 'inherit', 'stderr', a path or a function",
    lambda value: isinstance(value, str | os.PathLike) or callable(value),
)

_KINDS: Final[Mapping[str, Kind]] = {
    "args": TEXTS,
    "env": TEXT_MAPPING,
    "inherit_env": SWITCH,
    "dirs": sequence_kind("a sequence of directories", _PATH),
    "mapdirs": mapping_kind("a mapping from the guest's names to directories", _PATH),
    "read_only": SWITCH,
    "stdin": instance_kind("'null', 'inherit', bytes or a path", str, bytes, os.PathLike),
    "stdout": _OUTPUT,
    "stderr": _OUTPUT,
    "network": SWITCH,
    "name_lookup": SWITCH,
    "http": SWITCH,
}


def configure(
    wasi: Wasi, store: wasmtime.Store, on_error: Callable[[BaseException], None] | None = None
) -> Streams:
    """Give the guests of ``store`` what ``wasi`` allows.

    Args:
        wasi: what is allowed.
        store: before any use.
        on_error: given what a function for stdout or stderr raised, on another thread.
            ``Watchdog.stop`` is one.

    Returns:
        The guests' output to functions: ``drain`` it after a call, ``close`` it after closing the store.

    Raises:
        OptionError: a directory or file cannot be opened, or a text cannot be passed; it is named.
    """
    import wasmtime

    from wizer.engine.streams import Streams

    check_wasi()

    out = wasmtime.WasiConfig()
    out.argv = [_text(arg, f"argument {arg!r}") for arg in wasi.args]
    out.env = _environment(wasi)
    _stdin(out, wasi.stdin)
    for host in wasi.dirs:
        _directory(out, host, os.fspath(host), read_only=wasi.read_only)
    for guest, host in wasi.mapdirs.items():
        _directory(out, host, guest, read_only=wasi.read_only)
    if wasi.network or wasi.name_lookup:
        from wizer.engine import capi_config

        capi_config.allow_network(out, addresses=wasi.network, names=wasi.name_lookup)
    outlets = [_output(out, stream, getattr(wasi, stream), on_error) for stream in ("stdout", "stderr")]
    store.set_wasi(out)
    if wasi.http:
        store.set_wasi_http()
    return Streams(tuple(outlet for outlet in outlets if outlet is not None))


def check_wasi() -> None:
    """Raise `WizerError` where WASI waits for ever; otherwise note that guests have it."""
    if PROCESS.lost_wasi:
        raise WizerError(
            "this process was forked from one whose guests had WASI, and WASI does not work here: opening "
            "files and sleeping take for ever",
            ["start processes with the method `spawn` or `forkserver`, or before anything else"],
        )
    PROCESS.uses_wasi = True


def _environment(wasi: Wasi) -> list[tuple[str, str]]:
    """Return the guest's variables, sorted: the order is part of what a guest can observe."""
    merged = {**os.environ, **wasi.env} if wasi.inherit_env else wasi.env
    for name, value in merged.items():
        if not name or "=" in name:
            raise OptionError(f"{name!r} cannot be the name of an environment variable")
        _text(name + value, f"environment variable {name!r}")
    return sorted(merged.items())


def _stdin(out: wasmtime.WasiConfig, source: bytes | HostPath) -> None:
    """Connect the guest's standard input."""
    if source == "null":
        return
    if source == "inherit":
        out.inherit_stdin()
    elif isinstance(source, bytes):
        from wizer.engine import capi_config

        capi_config.set_stdin_bytes(out, source)
    else:
        import wasmtime

        path = _path(source)
        try:
            out.stdin_file = path
        except wasmtime.WasmtimeError:
            raise OptionError(f"the file {path!r} for the guest's stdin cannot be read") from None


def _output(
    out: wasmtime.WasiConfig,
    stream: str,
    sink: HostPath | Sink,
    on_error: Callable[[BaseException], None] | None,
) -> Outlet | None:
    """Connect the guest's ``stream``, "stdout" or "stderr"."""
    if sink == "null":
        return None
    if sink == "inherit" or (sink == "stderr" and stream == "stderr"):
        getattr(out, f"inherit_{stream}")()
        return None
    if sink == "stderr":
        sink = _to_stderr
    if not callable(sink):
        _output_file(out, stream, _path(sink))
        return None
    from wizer.engine import streams

    outlet = streams.outlet(sink, on_error)
    _output_file(out, stream, str(outlet.path))
    outlet.start()
    return outlet


def _output_file(out: wasmtime.WasiConfig, stream: str, path: str) -> None:
    """Have the guest's ``stream`` written to a file."""
    import wasmtime

    try:
        setattr(out, f"{stream}_file", path)
    except wasmtime.WasmtimeError:
        raise OptionError(f"the file {path!r} for the guest's {stream} cannot be written") from None


def _to_stderr(data: bytes) -> None:
    """Write all of ``data`` to this process's standard error."""
    left = memoryview(data)
    while left:
        left = left[os.write(2, left) :]


def _directory(out: wasmtime.WasiConfig, host: HostPath, guest: str, *, read_only: bool) -> None:
    """Let the guest see the directory ``host`` as ``guest``."""
    import wasmtime

    path = _path(host)
    _text(guest, f"directory name {guest!r}")
    if not Path(path).is_dir():
        raise OptionError(
            f"the directory {path!r} for the guest "
            + ("is not a directory" if Path(path).exists() else "does not exist")
        )
    try:
        out.preopen_dir(path, guest, not read_only)
    except wasmtime.WasmtimeError:
        raise OptionError(f"the directory {path!r} for the guest cannot be opened") from None


def _path(path: HostPath) -> str:
    """Return ``path`` as the engine takes it."""
    return _text(os.fspath(path), f"path {os.fspath(path)!r}")


def _text(text: str, what: str) -> str:
    """Check that ``text`` can be passed to the engine: it takes UTF-8 without a NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise OptionError(f"{what} cannot be passed to the guest: it is not UTF-8") from None
    if "\0" in text:
        raise OptionError(f"{what} cannot be passed to the guest: it contains a NUL") from None
    return text
