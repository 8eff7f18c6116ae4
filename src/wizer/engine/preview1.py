"""Between a guest and the engine's WASI preview 1: making up what the guest sees, noting what it asks for.

The engine's functions look for the ``memory`` export of the instance that calls them, so Python cannot call
them on a guest's behalf. A *relay* can: a module that imports the guest's memory, exports it again, and has a
function that calls the engine's for each of them. It is made when the guest calls for the first time: before,
there is no memory.

https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import wasmtime

from wizer.engine import capi
from wizer.engine.deterministic import World
from wizer.engine.trace import Trace
from wizer.kept import kept

MODULE: Final = "wasi_snapshot_preview1"

Memory: TypeAlias = "wasmtime.Memory | wasmtime.SharedMemory"
Handler: TypeAlias = "Callable[[capi.Caller, tuple[int, ...]], int]"

_SUCCESS, _BADF = 0, 8
_STDIN = 0
_REALTIME, _MONOTONIC = 0, 1
_UNKNOWN, _CHARACTER_DEVICE, _DIRECTORY = 0, 2, 3  # filetype
_SEEK_TELL: Final = 1 << 2 | 1 << 5  # rights that no terminal has
_CLOCK, _ABSOLUTE = 0, 1  # tag of a subscription; its flag
_DIRENT, _SUBSCRIPTION, _EVENT = 24, 48, 32  # sizes in bytes
_LISTING: Final = 1 << 16  # bytes of the relay's own memory for directory entries


class Preview1:
    """The engine's WASI functions of one store, with ``world`` and ``trace`` in front of them.

    Args:
        store: the store; its WASI is configured.
        linker: has the engine's functions.
        world: makes chance, time and directories up; None: they are the host's.
        trace: is told of every call; None: nobody is.
    """

    def __init__(
        self, store: wasmtime.Store, linker: wasmtime.Linker, world: World | None, trace: Trace | None
    ) -> None:
        self.store = store
        self.world = world
        self.trace = trace
        self._linker = linker

    def guest(self) -> Guest:
        """Return the functions for one module."""
        return Guest(self)

    def engine_function(self, module: str, name: str) -> wasmtime.Func | None:
        """Return the engine's function of this name."""
        try:
            found = self._linker.get(self.store, module, name)
        except wasmtime.WasmtimeError:
            return None
        return found if isinstance(found, wasmtime.Func) else None

    def functype(self, module: str, name: str) -> wasmtime.FuncType | None:
        """Return the type of the engine's function of this name; a worker has asked for it before."""

        def found() -> wasmtime.FuncType | None:
            function = self.engine_function(module, name)
            return None if function is None else function.type(self.store)

        return kept(("type", self._linker, module, name), found)


class Guest:
    """What one module imports of WASI."""

    def __init__(self, wasi: Preview1) -> None:
        self._wasi = wasi
        self._store = wasi.store
        self._relayed: dict[str, None] = {}  # in order; a module may import one function twice
        self._relay: wasmtime.Instance | None = None
        self._lister: wasmtime.Instance | None = None
        self._listings: dict[int, list[tuple[bytes, bytes]]] = {}

    def find(self, module: str, name: str) -> wasmtime.Func | None:
        """Return the function for an import, None where WASI has none of this name."""
        trace = self._wasi.trace
        functype = self._wasi.functype(module, name) if module == MODULE else None
        if functype is None:
            return self._wasi.engine_function(module, name)
        handler = self._handler(name)
        if handler is None:
            if trace is None:
                return self._wasi.engine_function(module, name)
            handler = self._forwarder(name)
        handle = handler

        def called(caller: capi.Caller, *args: int) -> int | None:
            if trace is None:
                return handle(caller, args)
            trace.called(module, name)
            result = handle(caller, args)
            self._note_look(trace, caller, name, args)
            if result == _SUCCESS:
                self._note(trace, caller, name, args)
            return None if name == "proc_exit" else result

        results = tuple(_KINDS[str(result)] for result in functype.results)
        return capi.new_function(self._store, functype.ptr(), results, called, wants_caller=True)

    def _handler(self, name: str) -> Handler | None:
        """Return what answers a call in a made-up world; None: the engine does."""
        if self._wasi.world is None:
            return None
        handlers: dict[str, Handler] = {
            "random_get": self._random_get,
            "clock_time_get": self._clock_time_get,
            "clock_res_get": self._clock_res_get,
            "poll_oneoff": self._poll_oneoff,
            "fd_readdir": self._fd_readdir,
        }
        makers: dict[str, Callable[[str], Handler]] = {
            "fd_fdstat_get": self._fdstat_get,
            "fd_filestat_get": self._filestat_get,
            "path_filestat_get": self._filestat_get,
        }
        if self._wasi.world.changes_contents:
            makers |= {"fd_read": self._read, "fd_pread": self._read, "path_readlink": self._readlink}
        return makers[name](name) if name in makers else handlers.get(name)

    # The relay.

    def _forwarder(self, name: str) -> Handler:
        """Return what calls the engine's function through the relay."""
        self._relayed[name] = None
        functype = self._wasi.functype(MODULE, name)
        assert functype is not None
        kinds = [_KINDS[str(param)] for param in functype.params]
        results = len(functype.results)

        def forward(caller: capi.Caller, args: tuple[int, ...]) -> int:
            if self._relay is None:
                self._relay = self._make_relay(_memory(caller))
            relayed = capi.export_of(self._store, self._relay, name)
            assert isinstance(relayed, wasmtime.Func)
            result = capi.call_function(self._store, relayed, kinds, args, results)
            return int(result[0]) if result else 0  # type: ignore[call-overload]

        return forward

    def _make_relay(self, memory: Memory) -> wasmtime.Instance:
        """Instantiate the relay between a guest's memory and the functions it uses."""
        memorytype = memory.type() if isinstance(memory, wasmtime.SharedMemory) else memory.type(self._store)
        declared = "i64 " * memorytype.is_64 + "0"
        if isinstance(memory, wasmtime.SharedMemory):
            declared += f" {memorytype.limits.max} shared"
        return self._instantiate(list(self._relayed), f'(import "" "memory" (memory {declared}))', [memory])

    def _instantiate(
        self, names: Sequence[str], memory: str, externs: Sequence[capi.Extern]
    ) -> wasmtime.Instance:
        functions = []
        for name in names:
            function = self._wasi.engine_function(MODULE, name)
            assert function is not None
            functions.append((name, function))
        engine = self._store.engine

        def relay() -> wasmtime.Module:
            return wasmtime.Module(engine, "".join(_relay_text(self._store, functions, memory)))

        module = kept(("relay", engine, tuple(names), memory), relay)  # a name has one type
        return capi.instantiate(self._store, module, [*externs, *(function for _, function in functions)])

    # What a made-up world answers.

    def _bytes(self, caller: capi.Caller, address: int, length: int) -> memoryview:
        """Return a view of a guest's bytes; trap, as the engine does, where there are none."""
        view = capi.memory_view(self._store, _memory(caller))
        address, length = address & 0xFFFF_FFFF, length & 0xFFFF_FFFF
        if address + length > len(view):
            raise wasmtime.Trap(f"WASI: pointer out of bounds: {length} bytes at {address:#x}")
        return view[address : address + length]

    @property
    def _world(self) -> World:
        assert self._wasi.world is not None
        return self._wasi.world

    def _random_get(self, caller: capi.Caller, args: tuple[int, ...]) -> int:
        view = self._bytes(caller, *args)
        for start in range(0, len(view), _LISTING):
            part = view[start : start + _LISTING]
            part[:] = self._world.random(len(part))
        return _SUCCESS

    def _clock_time_get(self, caller: capi.Caller, args: tuple[int, ...]) -> int:
        clock, _precision, out = args
        if clock not in (_REALTIME, _MONOTONIC):
            return _BADF
        now = self._world.time() if clock == _REALTIME else self._world.monotonic()
        self._bytes(caller, out, 8)[:] = struct.pack("<Q", now & 0xFFFF_FFFF_FFFF_FFFF)
        return _SUCCESS

    def _clock_res_get(self, caller: capi.Caller, args: tuple[int, ...]) -> int:
        clock, out = args
        if clock not in (_REALTIME, _MONOTONIC):
            return _BADF
        self._bytes(caller, out, 8)[:] = struct.pack("<Q", self._world.resolution)
        return _SUCCESS

    def _poll_oneoff(self, caller: capi.Caller, args: tuple[int, ...]) -> int:
        """Answer at once: files are always ready, and where only clocks are waited for, it is that time."""
        subscriptions, events, count, out = args
        raw = self._bytes(caller, subscriptions, count * _SUBSCRIPTION)
        waited = list(struct.iter_unpack("<QB7xIxxxxQQHxxxxxx", raw))
        ready = [(userdata, tag) for userdata, tag, *_ in waited if tag != _CLOCK]
        if not ready and waited:
            clocks = [(self._until(*clock), userdata) for userdata, _, *clock in waited]
            first = min(clocks)[0]
            self._world.sleep(first)
            ready = [(userdata, _CLOCK) for until, userdata in clocks if until <= first]
        packed = b"".join(
            struct.pack("<QHBxxxxxQHxxxxxx", userdata, 0, tag, tag != _CLOCK, 0) for userdata, tag in ready
        )
        self._bytes(caller, events, len(packed))[:] = packed
        self._bytes(caller, out, 4)[:] = struct.pack("<I", len(ready))
        return _SUCCESS

    def _until(self, clock: int, timeout: int, _precision: int, flags: int) -> int:
        """Return when a clock subscription is due, in nanoseconds since the run began."""
        if not flags & _ABSOLUTE:
            return self._world.elapsed() + timeout
        return timeout - (self._world.start if clock == _REALTIME else self._world.uptime)

    def _fdstat_get(self, name: str) -> Handler:
        """Return what asks the engine about an open file; no run knows that it has a terminal."""
        forward = self._forwarder(name)

        def fdstat_get(caller: capi.Caller, args: tuple[int, ...]) -> int:
            errno = forward(caller, args)
            if errno == _SUCCESS:
                view = self._bytes(caller, args[-1], 24)
                view[0] = _UNKNOWN if view[0] == _CHARACTER_DEVICE else view[0]
                if self._world.terminal and args[0] in (0, 1, 2):
                    view[0] = _CHARACTER_DEVICE
                    view[8:16] = struct.pack("<Q", struct.unpack("<Q", view[8:16])[0] & ~_SEEK_TELL)
            return errno

        return fdstat_get

    def _filestat_get(self, name: str) -> Handler:
        """Return what asks the engine about a file, and makes up what is the host's affair."""
        forward = self._forwarder(name)

        def filestat_get(caller: capi.Caller, args: tuple[int, ...]) -> int:
            errno = forward(caller, args)
            if errno == _SUCCESS:
                view = self._bytes(caller, args[-1], 64)
                _, inode, filetype, _, size, *_ = struct.unpack("<QQBxxxxxxxQQQQQ", view)
                time = self._world.start
                size = 0 if filetype == _DIRECTORY else size
                filetype = _UNKNOWN if filetype == _CHARACTER_DEVICE else filetype
                inode = self._world.file(inode)
                view[:] = struct.pack("<QQBxxxxxxxQQQQQ", 1, inode, filetype, 1, size, time, time, time)
            return errno

        return filestat_get

    def _read(self, name: str) -> Handler:
        """Return what asks the engine for contents, and hands out others."""
        forward = self._forwarder(name)

        def read(caller: capi.Caller, args: tuple[int, ...]) -> int:
            errno = forward(caller, args)
            if errno == _SUCCESS and args[0] != _STDIN:
                (left,) = struct.unpack("<I", self._bytes(caller, args[-1], 4))
                for address, length in struct.iter_unpack("<II", self._bytes(caller, args[1], args[2] * 8)):
                    part = self._bytes(caller, address, min(length, left))
                    part[:] = self._world.contents(bytes(part))
                    left -= len(part)
            return errno

        return read

    def _readlink(self, name: str) -> Handler:
        """Return what asks the engine where a link leads, and says another place."""
        forward = self._forwarder(name)

        def readlink(caller: capi.Caller, args: tuple[int, ...]) -> int:
            errno = forward(caller, args)
            if errno == _SUCCESS:
                (used,) = struct.unpack("<I", self._bytes(caller, args[-1], 4))
                part = self._bytes(caller, args[3], used)
                part[:] = self._world.contents(bytes(part))
            return errno

        return readlink

    def _fd_readdir(self, caller: capi.Caller, args: tuple[int, ...]) -> int:
        """Write the entries of a directory from a cookie on; the last one is cut where the buffer ends."""
        fd, buffer, length, cookie, used = args
        if cookie == 0 or fd not in self._listings:
            errno, entries = self._list(fd)
            if errno != _SUCCESS:
                return errno
            self._listings[fd] = entries
        view = self._bytes(caller, buffer, length)
        at = 0
        entries = self._listings[fd]
        for number in range(cookie & 0xFFFF_FFFF_FFFF_FFFF, len(entries)):
            header, name = entries[number]
            part = (struct.pack("<Q", number + 1) + header + name)[: len(view) - at]
            view[at : at + len(part)] = part
            at += len(part)
            if at == len(view):
                break
        self._bytes(caller, used, 4)[:] = struct.pack("<I", at)
        return _SUCCESS

    def _list(self, fd: int) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Return an error number, and what follows the cookie in the entries of a directory, in order."""
        if self._lister is None:
            own = f"(memory {_LISTING // 65536 + 1})"
            self._lister = self._instantiate(["fd_readdir"], own, [])
        function = capi.export_of(self._store, self._lister, "fd_readdir")
        memory = capi.export_of(self._store, self._lister, "memory")
        assert isinstance(function, wasmtime.Func)
        assert isinstance(memory, wasmtime.Memory)
        found: dict[bytes, tuple[int, int]] = {}
        cookie = 0
        while True:
            args = (fd, 0, _LISTING, cookie, _LISTING)
            (errno,) = capi.call_function(self._store, function, (0, 0, 0, 1, 0), args, 1)
            view = capi.memory_view(self._store, memory)
            (used,) = struct.unpack_from("<I", view, _LISTING)
            if errno != _SUCCESS:
                return int(errno), []  # type: ignore[call-overload]
            part = list(_entries(view[:used]))
            found.update({name: (inode, filetype) for _, inode, name, filetype in part})
            if used < _LISTING or not part:
                break
            cookie = part[-1][0]
        entries = []
        for name in self._world.listed(found):
            inode, filetype = found[name]
            entries.append((struct.pack("<QIBxxx", self._world.file(inode), len(name), filetype), name))
        return _SUCCESS, entries

    # What a trace is told.

    def _note_look(self, trace: Trace, caller: capi.Caller, name: str, args: tuple[int, ...]) -> None:
        """Note the path that a call asked about, whatever the answer was."""
        if name in _PATHS:
            at = _PATHS[name]
            path = bytes(self._bytes(caller, args[at], args[at + 1])).decode(errors="replace")
            trace.looked_at(args[0], path)
        elif name == "fd_readdir":
            trace.looked_at(args[0])

    def _note(self, trace: Trace, caller: capi.Caller, name: str, args: tuple[int, ...]) -> None:
        """Note what a successful call says of files."""
        if name == "path_open":
            path = bytes(self._bytes(caller, args[2], args[3])).decode(errors="replace")
            (fd,) = struct.unpack("<I", self._bytes(caller, args[8], 4))
            trace.opened(fd, args[0], path)
        elif name in ("fd_read", "fd_pread"):
            trace.has_read(args[0])
        elif name == "path_readlink":
            path = bytes(self._bytes(caller, args[1], args[2])).decode(errors="replace")
            trace.followed(args[0], path)
        elif name == "fd_close":
            trace.closed(args[0])
        elif name == "fd_renumber":
            trace.renumbered(args[0], args[1])


_PATHS: Final = {"path_open": 2, "path_filestat_get": 2, "path_readlink": 1}
"""Functions that look at a path below a directory, and which of their arguments is its address."""

_KINDS: Final = {"i32": 0, "i64": 1, "f32": 2, "f64": 3}


def _memory(caller: capi.Caller) -> Memory:
    memory = caller.export("memory")
    if not isinstance(memory, wasmtime.Memory | wasmtime.SharedMemory):
        raise wasmtime.Trap("WASI: the module does not export its memory as `memory`")
    return memory


def _relay_text(
    store: wasmtime.Store, functions: Sequence[tuple[str, wasmtime.Func]], memory: str
) -> Iterator[str]:
    """Yield the text of a relay: imports, memory, and a function for each of the engine's."""
    yield f"(module {memory}" if "import" in memory else "(module "
    for number, (name, function) in enumerate(functions):
        params, results = _types(store, function)
        yield f'(import "{MODULE}" "{name}" (func $engine{number} {params} {results}))'
    if "import" not in memory:
        yield memory
    for number, (name, function) in enumerate(functions):
        params, results = _types(store, function)
        args = "".join(f"(local.get {i})" for i in range(len(function.type(store).params)))
        yield f'(func (export "{name}") {params} {results} {args} (call $engine{number}))'
    yield '(export "memory" (memory 0)))'


def _types(store: wasmtime.Store, function: wasmtime.Func) -> tuple[str, str]:
    functype = function.type(store)
    params = " ".join(map(str, functype.params))
    results = " ".join(map(str, functype.results))
    return f"(param {params})", f"(result {results})" if results else ""


def _entries(raw: memoryview) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield cookie, inode, name and file type of the whole entries in a listing."""
    at = 0
    while at + _DIRENT <= len(raw):
        cookie, inode, length, filetype = struct.unpack_from("<QQIBxxx", raw, at)
        if at + _DIRENT + length > len(raw):
            return
        yield cookie, inode, bytes(raw[at + _DIRENT : at + _DIRENT + length]), filetype
        at += _DIRENT + length
