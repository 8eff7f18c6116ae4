"""Run a script of the test suite while its instances are frozen and exchanged.

Every module is instantiated in its instrumented form. At points that a seed chooses, an instance becomes a
snapshot, the snapshot an instance, and that one at once a snapshot again. The new instance takes the
place of the old one, unless other modules import from it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import Any

from wizer import Wizer
from wizer.errors import InvalidError, ParseError, StateError

from .host import compile_module
from .promises import BrokenPromiseError, check, check_with_tools
from .replay import Definition, Live, Replay
from .scripts import Script
from .values import is_host_number

# Points per instance: right after it was made, and among the commands that name it.
_CHANCE_AT_ONCE = 0.5
_LATER = 12
# How often the slower checks are made.
_CHANCE_OF_TOOLS = 0.05
_CHANCE_OF_REPETITION = 0.25


@dataclass(frozen=True, slots=True)
class Source:
    """Where the module of a definition comes from.

    Attributes:
        origin: the script's module, before any snapshot.
        instrumented: what came of it, or of a snapshot; an instance of it can become a snapshot.
    """

    origin: bytes
    instrumented: Any


@dataclass(slots=True)
class Account:
    """What was frozen during one run of a script.

    Attributes:
        snapshots: how many snapshots of live instances were taken.
        swaps: how many of them took their instance's place.
        stable: how many were byte for byte equal to the snapshot of themselves.
        refusals: messages of the refusals that are allowed.
        problems: everything else that went wrong, with its place.
    """

    snapshots: int = 0
    swaps: int = 0
    stable: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def points(script: Script, random: Random) -> dict[int, list[int]]:
    """Choose where to freeze: for the index of a command, the instances to freeze after it.

    An instance is known by the index of the command that made it.
    """
    current: dict[str | None, int] = {}
    uses: defaultdict[int, list[int]] = defaultdict(list)
    for index, command in enumerate(script.commands):
        if command["type"] in ("module", "module_instance"):
            current[None] = current[command.get("name", command.get("instance"))] = index
            uses[index] = []
        elif "action" in command:
            made = current.get(command["action"].get("module"))
            if made is not None:
                uses[made].append(index)
    chosen: defaultdict[int, list[int]] = defaultdict(list)
    for made, later in uses.items():
        if random.random() < _CHANCE_AT_ONCE:
            chosen[made].append(made)
        for index in random.sample(later, min(_LATER, len(later))):
            chosen[index].append(made)
    return chosen


class SnapshotReplay(Replay):
    """One run of one script with one choice of snapshot points."""

    def __init__(self, script: Script, seed: int, wasm_tools: str) -> None:
        super().__init__(script)
        self.account = Account()
        self._wizer = Wizer()
        self._wasm_tools = wasm_tools
        self._random = Random(f"{seed} {script.name}")
        self._points = points(script, self._random)
        self._host_objects = False

    def define(self, wasm: bytes) -> Definition:
        """Compile the instrumented form of a module."""
        try:
            instrumented = self._wizer.instrument(wasm)
            return Definition(compile_module(instrumented.wasm), Source(wasm, instrumented))
        except Exception as error:  # whatever it is, it belongs into the report
            self.account.problems.append(f"instrument: {_text(error)}")
            return super().define(wasm)

    def reject(self, wasm: bytes, text_format: bool) -> bool:
        """Whether a module that is malformed or invalid is found to be so, before or after instrumenting."""
        try:
            instrumented = self._wizer.instrument(wasm)
        except (ParseError, InvalidError):
            return True
        except Exception as error:  # whatever it is, it belongs into the report
            self.account.problems.append(f"instrument an invalid module: {_text(error)}")
            return super().reject(wasm, text_format)
        return super().reject(instrumented.wasm, text_format=False)

    def after(self, index: int) -> None:
        """Freeze what is due."""
        arguments = self.script.commands[index].get("action", {}).get("args", ())
        self._host_objects |= any(map(is_host_number, arguments))
        for made in self._points.get(index, ()):
            live = next((one for one in self.lives() if one.created == made), None)
            if live is None or live.definition.tag is None:
                continue
            try:
                self._freeze(live)
            except Exception as error:  # whatever it is, it belongs into the report
                line, origin = (self.script.commands[i]["line"] for i in (index, made))
                self.account.problems.append(
                    f"after command {index} (line {line}), instance of line {origin}: {_text(error)}"
                )

    def _freeze(self, live: Live) -> None:
        """Take a snapshot of an instance, and one of the snapshot, and swap."""
        source: Source = live.definition.tag
        try:
            snapshot = source.instrumented.snapshot(self.host.store, live.instance)
        except StateError as refusal:
            if not self._is_allowed(refusal, live):
                raise
            self.account.refusals[str(refusal)] += 1
            return
        self.account.snapshots += 1
        check(source.origin, snapshot)
        if self._random.random() < _CHANCE_OF_TOOLS:
            check_with_tools(self._wasm_tools, snapshot)
        repeated = self._random.random() < _CHANCE_OF_REPETITION
        if repeated and source.instrumented.snapshot(self.host.store, live.instance) != snapshot:
            raise BrokenPromiseError("a second snapshot of the same instance differs")
        first = self._thaw(snapshot, live)
        again = self._snapshot_of_snapshot(first, snapshot)
        second = self._thaw(again, live)
        if not live.registered:
            taken = self._random.choice((first, second))
            live.definition, live.instance, live.exports = taken.definition, taken.instance, taken.exports
            self.account.swaps += 1

    def _thaw(self, snapshot: bytes, live: Live) -> Live:
        """Instantiate a snapshot with the imports that its instance had."""
        instrumented = self._wizer.instrument(snapshot)
        definition = Definition(
            compile_module(instrumented.wasm), Source(live.definition.tag.origin, instrumented)
        )
        names = [(one.module, one.name or "") for one in definition.module.imports]
        instance = self.host.instantiate(definition.module, [live.imports[name] for name in names])
        return Live(live.created, definition, live.imports, instance, self.host.exports(instance))

    def _snapshot_of_snapshot(self, live: Live, snapshot: bytes) -> bytes:
        again: bytes = live.definition.tag.instrumented.snapshot(self.host.store, live.instance)
        check(live.definition.tag.origin, again)
        if len(again) > len(snapshot):
            raise BrokenPromiseError(
                f"a snapshot of the snapshot grew from {len(snapshot)} to {len(again)} bytes"
            )
        self.account.stable += again == snapshot
        return again

    def _is_allowed(self, refusal: StateError, live: Live) -> bool:
        """Whether no module can express what was refused.

        That is so for objects of the host, once the script brought one in, and for functions that another
        instance has put into a table that it shares.
        """
        text = str(refusal)
        if "host externref" in text or "object of the host" in text:
            return self._host_objects
        return live.registered and text.startswith("table ") and "function of another instance" in text


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
