"""Between a component and the engine's WASI 0.2: making up what it sees, noting what it asks for.

A function defined in an instance that the engine has defined, under the very name, takes the place of the
engine's; the other functions of that instance stay. `VERSION` is the one that the engine uses, and that
components of all versions 0.2 are given. What a function here needs of the engine, a relay asks for.

Resources are our own where something is to be known of them, or there are none: pollables and listings of
directories in a made-up world, terminals where that has some, and descriptors where somebody wants to hear
what is opened and closed. Every function that has one of them in its type is ours, too.

https://github.com/WebAssembly/WASI/tree/main/wasip2
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import wasmtime
import wasmtime.component as wc
from wasmtime.component import Record, ResourceAny

from wizer.engine.component_host import define_function, define_resource
from wizer.engine.deterministic import World
from wizer.engine.relay import Function, Key, Relay, Resources, can_relay, function_handles
from wizer.engine.trace import Trace
from wizer.engine.versions import component_item
from wizer.records import record

if TYPE_CHECKING:
    from wasmtime._store import Storelike

VERSION: Final = "0.2.12"
"""The version of the engine's interfaces.

``tests/engine/test_deterministic_components.py`` fails where it moves.
"""

Handler: TypeAlias = "Callable[..., Any]"  # takes the store and the arguments

_SECOND: Final = 10**9
_U64: Final = (1 << 64) - 1
_MOST_RANDOM: Final = 1 << 22  # bytes in one answer; the engine has such a bound, too
_PACKAGES = ("wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/")

_STREAMS, _FILES, _POLL = "wasi:io/streams", "wasi:filesystem/types", "wasi:io/poll"
_POLLABLE: Key = (_POLL, "pollable")
_LISTING: Key = (_FILES, "directory-entry-stream")
_DESCRIPTOR: Key = (_FILES, "descriptor")
_TERMINALS: Final[Sequence[Key]] = tuple(
    (f"wasi:cli/terminal-{kind}", f"terminal-{kind}") for kind in ("input", "output")
)
_NUMBERS: Final = {  # of our types
    key: 0x57495A00 + number for number, key in enumerate((_POLLABLE, _LISTING, _DESCRIPTOR, *_TERMINALS))
}

_BLOCK: Key = (_POLL, "[method]pollable.block")
_READ_DIRECTORY: Key = (_FILES, "[method]descriptor.read-directory")
_READ_ENTRY: Key = (_FILES, "[method]directory-entry-stream.read-directory-entry")
_OPEN: Key = (_FILES, "[method]descriptor.open-at")
_READLINK: Key = (_FILES, "[method]descriptor.readlink-at")
_READ: Key = (_FILES, "[method]descriptor.read")
_READS: Final = (_READ, (_FILES, "[method]descriptor.read-via-stream"))
_LOOKS: Final = (
    _OPEN,
    _READLINK,
    _READ_DIRECTORY,
    (_FILES, "[method]descriptor.stat-at"),
    (_FILES, "[method]descriptor.metadata-hash-at"),
)
_READ_STREAM: Final = (
    (_STREAMS, "[method]input-stream.read"),
    (_STREAMS, "[method]input-stream.blocking-read"),
)
_PREOPENS: Key = ("wasi:filesystem/preopens", "get-directories")
_STDIN: Key = ("wasi:cli/stdin", "get-stdin")

# What depends on whether the host is ready, and the pollable that says when it is.
_SUBSCRIBE: Final = {
    (_STREAMS, "[method]input-stream.read"): "input-stream",
    (_STREAMS, "[method]input-stream.skip"): "input-stream",
    (_STREAMS, "[method]output-stream.check-write"): "output-stream",
}

# Calls of these are not noted: one ends the guest, and the others the engine has for who asks for them only.
_UNOBSERVED: Final = ("wasi:cli/exit", "wasi:clocks/timezone")


@record
class _Until:
    """A pollable that is ready at a time, in nanoseconds since the run began."""

    time: int


_Listing: TypeAlias = "Iterator[Any]"  # the entries of a directory


class Preview2:
    """What one component imports of WASI.

    Args:
        store: the store; its WASI is configured.
        engine: its engine.
        component: the component.
        world: makes chance, time and directories up; None: they are the host's.
        trace: is told of every call; None: nobody is.
        http: whether the engine's HTTP is there.
    """

    def __init__(
        self,
        store: wasmtime.Store,
        engine: wasmtime.Engine,
        component: wc.Component,
        world: World | None,
        trace: Trace | None,
        *,
        http: bool,
    ) -> None:
        self._world = world
        self._trace = trace
        self._resources = Resources()
        self._held: dict[int, ResourceAny | _Until | _Listing] = {}
        self._count = 0
        self._ours = [
            *([_POLLABLE, _LISTING] if world is not None else []),
            *(_TERMINALS if world is not None and world.terminal else []),
            *([_DESCRIPTOR] if trace is not None else []),
        ]
        self._answers = {} if world is None else self._made_up(world)
        packages = (*_PACKAGES, "wasi:http/") if http else _PACKAGES
        self._functions = [f for f in self._imported(engine, component, packages) if self._is_ours(f)]
        self._relay = Relay(store, engine, [*self._relayed()], self._resources, VERSION, http=http)
        self._theirs = {key: found for key in self._ours if (found := self._relay.type(key)) is not None}

    def _imported(
        self, engine: wasmtime.Engine, component: wc.Component, packages: tuple[str, ...]
    ) -> Iterator[Function]:
        """Yield the functions of WASI that a component imports; note the types of resources."""
        seen: set[Key] = set()
        for name, imported in component.type.imports(engine).items():
            interface, instance = name.partition("@")[0], component_item(imported)
            if not interface.startswith(packages) or not isinstance(instance, wc.ComponentInstanceType):
                continue
            for item, extern in instance.exports(engine).items():
                found, key = component_item(extern), (interface, item)
                if isinstance(found, wc.ResourceType):
                    self._resources.define(found, key)
                elif isinstance(found, wc.FuncType) and key not in seen:
                    seen.add(key)
                    yield Function(key, tuple(found.params), found.result)

    def _is_ours(self, function: Function) -> bool:
        """Whether a function takes the place of the engine's."""
        if function.key in self._answers or any(
            self._resources.key(handle.ty) in self._ours for handle in function_handles(function)
        ):
            return True
        if self._trace is None:
            return False
        if function.key[0] in _UNOBSERVED or not can_relay(function):
            self._trace.unobserved.append((f"{function.key[0]}@{VERSION}", function.key[1]))
            return False
        return True

    def _relayed(self) -> Iterator[Function]:
        """Yield the functions that the engine is asked for."""
        yield from self._functions
        if self._world is None:
            return
        keys = {function.key for function in self._functions}
        pollable = self._resources.type(_POLLABLE)
        streams = dict.fromkeys(stream for key, stream in _SUBSCRIBE.items() if key in keys)
        for stream in streams:
            key = (_STREAMS, f"[method]{stream}.subscribe")
            if key not in keys:
                own = self._resources.type((_STREAMS, stream))
                yield Function(key, (("self", wc.BorrowType(own)),), wc.OwnType(pollable))
        if _BLOCK not in keys:
            yield Function(_BLOCK, (("self", wc.BorrowType(pollable)),), None)

    def define(self, store: wasmtime.Store, root: wc.LinkerInstance) -> None:
        """Put the functions and resources before the engine's."""
        interfaces = dict.fromkeys([key[0] for key in self._ours] + [f.key[0] for f in self._functions])
        for interface in interfaces:
            with root.add_instance(f"{interface}@{VERSION}") as instance:
                for key in self._ours:
                    if key[0] == interface:
                        define_resource(store, instance, key[1], self._type(key), self._dropped)
                for function in self._functions:
                    if function.key[0] == interface:
                        define_function(store, instance, function.key[1], self._function(function.key))

    def _function(self, key: Key) -> Handler:
        """Return what answers the calls of a function."""
        answer = self._answers.get(key)

        def call(store: Storelike, *args: Any) -> Any:
            if self._trace is not None:
                self._trace.called(f"{key[0]}@{VERSION}", key[1])
            given = [self._unwrapped(store, arg) for arg in args]
            held = [self._held_for(value) for value in given]
            result = self._ask(store, key, *held) if answer is None else answer(store, *held)
            wrapped = self._wrapped(result)
            self._note(key, wrapped, given)
            for value in given:
                _give_back(store, value)
            return wrapped

        return call

    def _note(self, key: Key, result: Any, given: Sequence[Any]) -> None:
        """Tell the trace what a call says of files."""
        trace = self._trace
        if trace is None:
            return
        if key in _LOOKS:
            path = next((arg for arg in given[1:] if isinstance(arg, str)), "")
            trace.looked_at(given[0].rep, path)
        if isinstance(result, str):
            return
        if key == _OPEN:
            trace.opened(result.rep, given[0].rep, given[2])
        elif key == _PREOPENS:
            trace.preopens.update((descriptor.rep, name) for descriptor, name in result)
        elif key in _READS:
            trace.has_read(given[0].rep)
        elif key == _READLINK and getattr(result, "tag", "ok") == "ok":
            trace.followed(given[0].rep, given[1])
        elif key == _STDIN:
            trace.stdin = True

    def _ask(self, store: Storelike, key: Key, *args: Any) -> Any:
        """Call the engine's function."""
        return self._relay.call(store, key, *args)

    # Resources of our own.

    def _type(self, key: Key) -> wc.ResourceType:
        return wc.ResourceType.host(_NUMBERS[key])

    def _hold(self, key: Key, value: ResourceAny | _Until | _Listing) -> wc.ResourceHost:
        self._count += 1
        self._held[self._count] = value
        return wc.ResourceHost.own(self._count, _NUMBERS[key])

    def _wrapped(self, value: Any) -> Any:
        """Return a value of the engine's with resources of our own."""
        match value:
            case ResourceAny():
                key = next((key for key, theirs in self._theirs.items() if value.type == theirs), None)
                return value if key is None else self._hold(key, value)
            case _Until():
                return self._hold(_POLLABLE, value)
            case list() | tuple():
                return type(value)(map(self._wrapped, value))
            case Iterator():
                return self._hold(_LISTING, value)
        return value

    def _unwrapped(self, store: Storelike, value: Any) -> Any:
        """Return a value of the guest's with resources of our own as what they are; that gives them back."""
        if isinstance(value, list):
            return [self._unwrapped(store, part) for part in value]
        if isinstance(value, ResourceAny) and any(value.type == self._type(key) for key in self._ours):
            return value.to_host(store)
        return value

    def _held_for(self, value: Any) -> Any:
        """Return what is behind resources of our own."""
        if isinstance(value, list):
            return [self._held_for(part) for part in value]
        return self._held[value.rep] if isinstance(value, wc.ResourceHost) else value

    def _dropped(self, store: Storelike, rep: int) -> None:
        value = self._held.pop(rep)
        if isinstance(value, ResourceAny):
            value.drop(store)
        if self._trace is not None:
            self._trace.closed(rep)

    # What a made-up world answers.

    def _made_up(self, world: World) -> dict[Key, Handler]:
        """Return what answers instead of the engine."""

        def number(_: object) -> int:
            return int.from_bytes(world.random(8), "little")

        def bytes_(_: object, length: int) -> bytes:
            if length > _MOST_RANDOM:
                raise wasmtime.WasmtimeError(f"{length} random bytes at once are more than {_MOST_RANDOM}")
            return world.random(length)

        answers: dict[Key, Handler] = {
            ("wasi:random/random", "get-random-bytes"): bytes_,
            ("wasi:random/random", "get-random-u64"): number,
            ("wasi:random/insecure", "get-insecure-random-bytes"): bytes_,
            ("wasi:random/insecure", "get-insecure-random-u64"): number,
            ("wasi:random/insecure-seed", "insecure-seed"): lambda _: (number(_), number(_)),
            ("wasi:clocks/wall-clock", "now"): lambda _: _datetime(world.time()),
            ("wasi:clocks/wall-clock", "resolution"): lambda _: _datetime(world.resolution),
            ("wasi:clocks/monotonic-clock", "now"): lambda _: world.monotonic() & _U64,
            ("wasi:clocks/monotonic-clock", "resolution"): lambda _: world.resolution,
            ("wasi:clocks/monotonic-clock", "subscribe-instant"): lambda _, time: _Until(time - world.uptime),
            ("wasi:clocks/monotonic-clock", "subscribe-duration"): lambda _, length: _Until(
                world.elapsed() + length
            ),
            (_POLL, "poll"): lambda store, pollables: self._poll(store, world, pollables),
            (_POLL, "[method]pollable.ready"): lambda store, pollable: self._ready(store, world, pollable),
            _BLOCK: lambda store, pollable: self._block(store, world, pollable),
            _READ_DIRECTORY: lambda store, descriptor: self._listing(store, world, descriptor),
            _READ_ENTRY: lambda _, listing: next(listing, None),
            **{
                (f"wasi:cli/terminal-{stream}", f"get-terminal-{stream}"): self._terminal(world, kind)
                for stream, kind in (("stdin", 0), ("stdout", 1), ("stderr", 1))
            },
        }
        for key in _SUBSCRIBE:
            answers[key] = self._waiting(key)
        for name, change in (("stat", _made_up_stat), ("metadata-hash", _made_up_hash)):
            for method in (name, f"{name}-at"):
                key = (_FILES, f"[method]descriptor.{method}")
                answers[key] = self._changed(key, change, world)
        if world.changes_contents:
            for key in (*_READ_STREAM, _READ, _READLINK):
                answers[key] = self._disguised(key, answers.get(key), world)
        return answers

    def _terminal(self, world: World, kind: int) -> Handler:
        """Return what hands out a terminal, where there is one."""
        return lambda _: self._hold(_TERMINALS[kind], iter(())) if world.terminal else None

    def _disguised(self, key: Key, answer: Handler | None, world: World) -> Handler:
        """Return what hands out other contents than are there."""

        def ask(store: Storelike, *args: Any) -> Any:
            result = self._ask(store, key, *args) if answer is None else answer(store, *args)
            match result:
                case bytes():
                    return world.contents(result)
                case (bytes() as data, bool() as at_end):
                    return world.contents(data), at_end
                case wc.Variant(tag="ok", payload=str() as path):
                    return wc.Variant("ok", world.contents(path.encode()).decode(errors="replace"))
            return result

        return ask

    def _poll(self, store: Storelike, world: World, pollables: Sequence[Any]) -> list[int]:
        """Wait for everything that is no clock; where there are only clocks, it is the time of the first."""
        ready = [at for at, pollable in enumerate(pollables) if not isinstance(pollable, _Until)]
        for at in ready:
            self._ask(store, _BLOCK, pollables[at])
        if ready or not pollables:
            return ready
        first = min(pollable.time for pollable in pollables)
        world.sleep(first)
        return [at for at, pollable in enumerate(pollables) if pollable.time <= first]

    def _ready(self, store: Storelike, world: World, pollable: Any) -> bool:
        if isinstance(pollable, _Until):
            return world.elapsed() >= pollable.time
        self._ask(store, _BLOCK, pollable)
        return True

    def _block(self, store: Storelike, world: World, pollable: Any) -> None:
        if isinstance(pollable, _Until):
            world.sleep(pollable.time)
        else:
            self._ask(store, _BLOCK, pollable)

    def _waiting(self, key: Key) -> Handler:
        """Return what waits until a stream is ready, and asks the engine then."""
        subscribe = (_STREAMS, f"[method]{_SUBSCRIBE[key]}.subscribe")

        def wait(store: Storelike, stream: ResourceAny, *args: Any) -> Any:
            pollable = self._ask(store, subscribe, stream)
            self._ask(store, _BLOCK, pollable)
            pollable.drop(store)
            return self._ask(store, key, stream, *args)

        return wait

    def _listing(self, store: Storelike, world: World, descriptor: ResourceAny) -> Any:
        """Return the entries of a directory in their order, or an error."""
        stream = self._ask(store, _READ_DIRECTORY, descriptor)
        if isinstance(stream, str):
            return stream
        found: dict[bytes, Record] = {}
        while isinstance(entry := self._ask(store, _READ_ENTRY, stream), Record):
            found[entry.__dict__["name"].encode()] = entry
        stream.drop(store)
        return entry if isinstance(entry, str) else iter([found[name] for name in world.listed(found)])

    def _changed(self, key: Key, change: Callable[[World, Record], None], world: World) -> Handler:
        """Return what asks the engine, and makes up what is the host's affair."""

        def ask(store: Storelike, *args: Any) -> Any:
            result = self._ask(store, key, *args)
            if isinstance(result, Record):
                change(world, result)
            return result

        return ask


def _made_up_stat(world: World, stat: Record) -> None:
    time = _datetime(world.start)
    names = ("data-access-timestamp", "data-modification-timestamp", "status-change-timestamp")
    stat.__dict__.update({"link-count": 1, **dict.fromkeys(names, time)})
    if stat.__dict__["type"] == "directory":
        stat.__dict__["size"] = 0


def _made_up_hash(world: World, found: Record) -> None:
    number = world.file(found.__dict__["lower"] << 64 | found.__dict__["upper"])
    found.__dict__.update({"lower": number, "upper": 0})


def _give_back(store: Storelike, value: Any) -> None:
    """Give back the handles that were lent for a call."""
    if isinstance(value, list):
        for part in value:
            _give_back(store, part)
    elif isinstance(value, ResourceAny) and not value.owned:
        value.drop(store)


def _datetime(nanoseconds: int) -> Record:
    datetime = Record()
    datetime.__dict__ = {"seconds": nanoseconds // _SECOND, "nanoseconds": nanoseconds % _SECOND}
    return datetime
