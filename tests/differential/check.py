"""One seed: generate, initialise, freeze, and compare the snapshot with an original that did the same.

The snapshot is made in one of two ways: by a `wizer.Session`, which has its own engine and, where it can, a
quicker compiler; or with `Wizer.instrument` in this test's engine. What is compared is always an instance of
the untouched original and one of the snapshot, in the same engine.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import wasmtime

import wizer
from support.tools import complaint
from wizer.binary import sections as sec
from wizer.binary.externs import ExternKind
from wizer.binary.module import Module, parse_module
from wizer.binary.types import RefType, hierarchy
from wizer.binary.values import Number
from wizer.trust.verify import verify_session

from . import smith, values
from .actions import Action, Argument, Bits, Call, Chooser, Earlier, Item, SetGlobal, Write
from .instance import HEAP, Instance, changed
from .validity import refusal

# The most probes of one module.
_PROBES = 60

# The part of the snapshots that are frozen again, and of those that wasm-tools validates.
_AGAIN = 0.5
_WASM_TOOLS = 0.05


class DifferenceError(Exception):
    """A snapshot is not what the original is after its initialisation."""


@dataclass(slots=True)
class Report:
    """What happened with a seed.

    Attributes:
        skipped: why there was nothing to compare, if there was not.
        changed: the kinds of state that initialisation changed, as far as exports show it.
        restored: whether the snapshot has a start function.
        original, snapshot: sizes in bytes.
        outcomes: how many actions of each outcome were compared.
    """

    skipped: str | None = None
    changed: set[str] = field(default_factory=set)
    restored: bool = False
    original: int = 0
    snapshot: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


def check(profile: str, seed: int) -> Report:
    """Check the module of a seed.

    Raises:
        DifferenceError: the snapshot is wrong.
        Exception: wizer fails in a way that it must not.
    """
    rng = random.Random(f"check {profile} {seed}")
    wasm = smith.generate(profile, seed)
    return Report("not generated") if wasm is None else check_module(wasm, rng)


def check_module(wasm: bytes, rng: random.Random) -> Report:
    """Check a module; all that is done to it is chosen by ``rng``."""
    try:
        original = Instance(wasm)
    except (wasmtime.WasmtimeError, wasmtime.Trap, wizer.LinkError, wizer.ParseError) as error:
        return Report(f"not instantiated: {_first_line(error)}")
    run = _Check(wasm, original, rng)
    try:
        return run.report()
    finally:
        original.close()


class _Check:
    """One module."""

    def __init__(self, wasm: bytes, original: Instance, rng: random.Random) -> None:
        self.wasm = wasm
        self.original = original
        self.module = original.module
        self.rng = rng
        self.session = rng.random() < 0.4
        self.chooser = Chooser(self.module, rng, session=self.session, host_objects=False)
        self.items = sorted(original.exports)

    def report(self) -> Report:
        """Do it."""
        before = self.original.observe(self.items)
        done: list[tuple[Action, values.Described]] = []
        for action in self.chooser.initialisation():
            outcome = self.original.perform(action, self.items)
            if outcome[:2] == ("trapped", "STACK_OVERFLOW"):
                return Report("stack overflow")
            done.append((action, outcome))
        after = self.original.observe(self.items)
        changes = self._export_changes(done)
        freeze = self._freeze_session if self.session else self._freeze_instance
        try:
            snapshot = freeze(done, changes)
        except _StackOverflow:
            return Report("stack overflow")
        report = Report(original=len(self.wasm), snapshot=len(snapshot))
        report.changed = {_kind(self.module, item) for item in changed(before, after)}
        report.restored = parse_module(snapshot).start is not None
        self._check_bytes(snapshot)
        self._compare(snapshot, changes, report)
        return report

    def _export_changes(self, done: Sequence[tuple[Action, object]]) -> dict[str, Any]:
        """Choose exports to remove and to rename; functions that were called are likely to go."""
        called = {action.index for action, _ in done if isinstance(action, Call)}
        remove: list[str] = []
        rename: dict[str, str] = {}
        for export in self.module.exports:
            chance = 0.4 if export.kind == "func" and export.index in called else 0.1
            if self.rng.random() < chance:
                remove.append(export.name)
            elif self.rng.random() < 0.1:
                rename[f"renamed {len(rename)}"] = export.name
        return {"remove": remove, "rename": rename}

    def _freeze_session(
        self, done: Sequence[tuple[Action, values.Described]], changes: Mapping[str, Any]
    ) -> bytes:
        config = wizer.EngineConfig(
            cache=False,
            parallel_compilation=False,  # the processes that check seeds are parallel
            compiler=self.rng.choice(("auto", "auto", "cranelift")),
        )
        with wizer.Session(self.wasm, unknown_imports="default", engine=config) as session:
            driver = _SessionDriver(session)
            for action, outcome in done:
                driver.perform(action, outcome)
            snapshot = session.snapshot(**changes)
            if session.snapshot(**changes) != snapshot:
                raise DifferenceError("two snapshots of a session differ")
            verify_session(session, snapshot, **changes)
        return snapshot

    def _freeze_instance(
        self, done: Sequence[tuple[Action, values.Described]], changes: Mapping[str, Any]
    ) -> bytes:
        instrumented = wizer.Wizer().instrument(self.wasm)
        snapshots = set()
        for _ in range(2):
            instance = Instance(instrumented.wasm)
            for action, outcome in done:
                if (found := instance.perform(action, self.items)) != outcome:
                    raise DifferenceError(f"instrumented, {action} comes to {found} and not {outcome}")
            snapshots.add(
                instrumented.snapshot(
                    instance.store,
                    instance.instance,
                    keep=(),
                    capture_imports=imported(self.module),
                    **changes,
                )
            )
            instance.close()
        if len(snapshots) > 1:
            raise DifferenceError("two runs make two different snapshots")
        return snapshots.pop()

    def _check_bytes(self, snapshot: bytes) -> None:
        """What can be seen of the bytes: validity, features, unchanged bodies."""
        if (why := refusal(self.wasm, snapshot)) is not None:
            raise DifferenceError(f"the snapshot is invalid: {why}")
        if self.rng.random() < _WASM_TOOLS and (why := complaint(snapshot)):
            raise DifferenceError(f"wasm-tools finds the snapshot invalid: {why}")
        before, after = (_bodies(parse_module(wasm)) for wasm in (self.wasm, snapshot))
        if not after.startswith(before):
            raise DifferenceError("bodies of functions changed")

    def _compare(self, snapshot: bytes, changes: Mapping[str, Any], report: Report) -> None:
        frozen = Instance(snapshot)
        try:
            expected = _surviving(self.module, changes)
            if (names := [export.name for export in frozen.module.exports]) != expected:
                raise DifferenceError(f"the snapshot exports {names}, not {expected}")
            self.items = sorted(set(self.items) & set(frozen.exports))
            self.original.forget()
            self._compare_states(frozen, "at once")
            if self.rng.random() < _AGAIN:
                self._check_again(snapshot, frozen)
            probes = list(self.chooser.probes(self.items))[:_PROBES]
            for number, action in enumerate(probes):
                one, other = (i.perform(action, self.items) for i in (self.original, frozen))
                if one != other:
                    raise DifferenceError(f"probe {number}, {action}: {one}, and {other} in the snapshot")
                outcome = one[0] if one[0] != "trapped" else f"trapped: {one[1]}"
                report.outcomes[outcome] = report.outcomes.get(outcome, 0) + 1
                if number == len(probes) // 2:
                    self._compare_states(frozen, f"after probe {number}")
            self._compare_states(frozen, "after all probes")
        finally:
            frozen.close()

    def _compare_states(self, frozen: Instance, when: str) -> None:
        one, other = self.original.observe(self.items), frozen.observe(self.items)
        for item in changed(one, other):
            raise DifferenceError(f"{when}, {item} is {_differing(one[item], other[item])}")

    def _again_of_session(self, snapshot: bytes) -> bytes:
        """Freeze a snapshot of a session, which leaves imported globals alone that kept their value."""
        keep = tuple(parse_module(snapshot).exports_by_name)
        with wizer.Session(snapshot, unknown_imports="default", initialize=False) as session:
            return session.snapshot(keep=keep)

    def _again_of_instance(self, snapshot: bytes) -> bytes:
        """Freeze a snapshot of an instance, with all that is captured of its imports."""
        instrumented = wizer.Wizer().instrument(snapshot)
        instance = Instance(instrumented.wasm)
        again = instrumented.snapshot(
            instance.store, instance.instance, capture_imports=imported(self.module)
        )
        instance.close()
        return again

    def _check_again(self, snapshot: bytes, frozen: Instance) -> None:
        """A snapshot of the snapshot does not grow, and holds the same."""
        again = self._again_of_session(snapshot) if self.session else self._again_of_instance(snapshot)
        if len(again) > len(snapshot):
            raise DifferenceError(f"the snapshot has {len(snapshot)} bytes, one of it {len(again)}")
        if again != snapshot:
            second = Instance(again)
            one, other = frozen.observe(self.items), second.observe(self.items)
            second.close()
            for item in changed(one, other):
                raise DifferenceError(
                    f"in a snapshot of the snapshot, {item} is {_differing(one[item], other[item])}"
                )


class _StackOverflow(Exception):  # noqa: N818  there is nothing wrong with it
    """A recursion ended where the stack did: how deep that is depends on the compiler."""


class _SessionDriver:
    """Does actions to a session."""

    def __init__(self, session: wizer.Session) -> None:
        self._session = session
        self._names = {(export.kind, export.index): export.name for export in session.module.exports}
        self._earlier: list[tuple[int, str | int, object]] = []

    def perform(self, action: Action, outcome: values.Described) -> None:
        """Do an action that came to ``outcome`` elsewhere."""
        match action:
            case Call(index, arguments):
                self._call(index, list(map(self._value, arguments)), outcome)
            case Write(index, offset, data):
                view = self._session.memory(self._names["memory", index])
                if len(view) >= len(data):
                    offset %= len(view) - len(data) + 1
                    view[offset : offset + len(data)] = data
            case SetGlobal(index, value):
                try:
                    self._session.globals[self._names["global", index]] = self._value(value)
                except wizer.OptionError:
                    if outcome[0] != "refused":
                        raise

    def _call(self, index: int, arguments: Sequence[object], outcome: values.Described) -> None:
        functype = self._session.module.functype(index)
        try:
            results = self._session.call(self._names["func", index], *arguments)
        except wizer.WizerError as error:
            if any("call stack exhausted" in cause for cause in error.causes):
                raise _StackOverflow from None
            if outcome[0] == "returned":
                raise DifferenceError(f"in a session, function {index} fails: {error}") from error
            return
        if outcome[0] != "returned":
            raise DifferenceError(f"in a session, function {index} returns and does not end in {outcome}")
        if len(functype.results) == 1:
            results = (results,)
        for valtype, result in zip(functype.results, results or (), strict=True):
            if isinstance(valtype, RefType) and result is not None:
                kind = _kind_of_value(valtype, self._session.module)
                self._earlier.append((kind, valtype.heap, result))

    def _value(self, argument: Argument) -> object:
        match argument:
            case Bits(values.F32, bits):
                return Number("f32", bits)
            case Bits(values.F64, bits):
                return Number("f64", bits)
            case Bits(values.V128, bits):
                return bits.to_bytes(16, "little")
            case Bits(_, bits):
                return bits
            case Earlier(kind, heaps, number):
                found = [v for k, heap, v in self._earlier if k == kind and heap in heaps]
                return found[number % len(found)] if found else None
        return None


def _kind_of_value(valtype: RefType, module: Module) -> int:
    return values.NAMES.index(hierarchy(valtype.heap, module.types))


def imported(module: Module) -> list[Item]:
    """The imports that have state: here, Wizer or the test made them all."""
    kinds: tuple[ExternKind, ...] = ("memory", "table", "global")
    return [(kind, index) for kind in kinds for index in range(module.import_counts.get(kind, 0))]


def _bodies(module: Module) -> bytes:
    """The contents of the code section behind the count."""
    section = module.section(sec.CODE)
    if section is None:
        return b""
    reader = section.reader(module.wasm)
    reader.u32()
    return module.wasm[reader.pos : section.end]


def _surviving(module: Module, changes: Mapping[str, Any]) -> list[str]:
    new = {old: new for new, old in changes["rename"].items()}
    return [
        new.get(export.name, export.name) for export in module.exports if export.name not in changes["remove"]
    ]


def _kind(module: Module, item: Item) -> str:
    """What kind of state an item is, in the report."""
    kind, index = item
    if item == HEAP:
        return "heap"
    if kind == "global" and isinstance(module.globals[index].type.valtype, RefType):
        return "reference global"
    return kind


def _differing(one: values.Described, other: values.Described) -> str:
    """Where two states differ, in a message."""
    if isinstance(one[0], int) and one[0] == other[0]:
        blocks, others = dict(one[1:]), dict(other[1:])
        start = min(at for at in blocks | others if blocks.get(at) != others.get(at))
        zeros = bytes(len((blocks | others)[start]))
        block, other_block = blocks.get(start, zeros), others.get(start, zeros)
        at = next(i for i, (a, b) in enumerate(zip(block, other_block, strict=True)) if a != b)
        here, there = (one_.hex() for one_ in (block[at : at + 16], other_block[at : at + 16]))
        return f"{here} at {start + at:#x}, and {there} in the snapshot"
    return f"{one}, and {other} in the snapshot"


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
