"""Run a script of the test suite while its instances are frozen and exchanged.

Every module is instantiated in its instrumented form. At points that a seed chooses, an instance becomes a
snapshot, the snapshot an instance, and that one at once a snapshot again, which must be the same bytes. The
new instance takes the place of the old one, unless other modules have imported from it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

from wizer import Wizer
from wizer.api import Instrumented
from wizer.binary.externs import ExternKind
from wizer.binary.module import Module
from wizer.binary.types import FUNCREF
from wizer.errors import InvalidError, ParseError, StateError

from .compare import differences
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
# How often a snapshot carries the state of what its module imports.
_CHANCE_OF_CAPTURE = 0.25


Imports = list[tuple[ExternKind, int]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the module of a definition comes from.

    Attributes:
        origin: the script's module, before any snapshot.
        instrumented: what came of it, or of a snapshot; an instance of it can become a snapshot.
    """

    origin: bytes
    instrumented: Instrumented


@dataclass(slots=True)
class Account:
    """What was frozen during one run of a script.

    Attributes:
        snapshots: how many snapshots of live instances were taken.
        swaps: how many of them took their instance's place.
        refusals: messages of the refusals that are allowed.
        problems: everything else that went wrong, with its place.
    """

    snapshots: int = 0
    swaps: int = 0
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

    def __init__(self, script: Script, seed: int) -> None:
        super().__init__(script)
        self.account = Account()
        self._wizer = Wizer()
        self._random = Random(f"{seed} {script.name}")
        self._points = points(script, self._random)
        self._host_objects = False

    def define(self, wasm: bytes) -> Definition:
        """Compile the instrumented form of a module."""
        try:
            return self._instrument(wasm, origin=wasm)
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
        # Functions of the new instance would be put into a table that others go on using with the old one.
        capture = not live.shared and self._random.random() < _CHANCE_OF_CAPTURE
        imports = _imported_state(source.instrumented.module) if capture else []
        try:
            snapshot = self._snapshot(live, imports)
        except StateError as refusal:
            if not self._is_allowed(refusal, live, imports):
                raise
            self.account.refusals[str(refusal)] += 1
            return
        self.account.snapshots += 1
        if self._random.random() < _CHANCE_OF_TOOLS:
            check_with_tools(snapshot)
        if self._random.random() < _CHANCE_OF_REPETITION and self._snapshot(live, imports) != snapshot:
            raise BrokenPromiseError("a second snapshot of the same instance differs")
        thawed = self._thaw(snapshot, live)
        if different := differences(self.host, live.exports, thawed.exports):
            raise BrokenPromiseError(f"the instance of the snapshot has another state: {different}")
        again = self._snapshot(thawed, imports)
        if again != snapshot:
            sizes = f"{len(snapshot)} and {len(again)} bytes"
            raise BrokenPromiseError(f"a snapshot of the snapshot, taken at once, differs: {sizes}")
        if not live.shared:
            live.definition, live.instance, live.exports = thawed.definition, thawed.instance, thawed.exports
            self.account.swaps += 1

    def _instrument(self, wasm: bytes, origin: bytes) -> Definition:
        instrumented = self._wizer.instrument(wasm)
        assert isinstance(instrumented, Instrumented)
        return Definition(compile_module(instrumented.wasm), Source(origin, instrumented))

    def _snapshot(self, live: Live, imports: Imports) -> bytes:
        """Take a snapshot and check what it promises."""
        source: Source = live.definition.tag
        snapshot: bytes = source.instrumented.snapshot(
            self.host.store, live.instance, capture_imports=imports
        )
        check(source.origin, snapshot)
        return snapshot

    def _thaw(self, snapshot: bytes, live: Live) -> Live:
        """Instantiate a snapshot with the imports that its instance had."""
        definition = self._instrument(snapshot, live.definition.tag.origin)
        names = [(one.module, one.name or "") for one in definition.module.imports]
        instance = self.host.instantiate(definition.module, [live.imports[name] for name in names])
        return Live(live.created, definition, live.imports, instance, self.host.exports(instance))

    def _is_allowed(self, refusal: StateError, live: Live, imports: Imports) -> bool:
        """Whether no module can express what was refused.

        That is so for objects of the host, once the script brought one in, and for what another instance has
        put into a table that it shares: its functions, and objects of its types.
        """
        text = str(refusal)
        if self._host_objects and ("host externref" in text or "object of the host" in text):
            return True
        shared = live.shared or any(kind == "table" for kind, _ in imports)
        foreign = "function of another instance" in text or "a type that the module does not declare" in text
        return shared and text.startswith("table ") and foreign


def _imported_state(module: Module) -> Imports:
    """The imports whose state can move into a snapshot while others use them too.

    Objects would not do: the snapshot makes new ones, and the others would keep the old.
    """
    tables = enumerate(module.tables[: module.import_counts.get("table", 0)])
    variables = enumerate(module.globals[: module.import_counts.get("global", 0)])
    return [
        *(("memory", index) for index in range(module.import_counts.get("memory", 0))),
        *(("table", index) for index, table in tables if table.type.element == FUNCREF),
        *(
            ("global", index)
            for index, one in variables
            if one.type.mutable and isinstance(one.type.valtype, str)
        ),
    ]


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
