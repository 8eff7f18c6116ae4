"""Chains: freeze, run, freeze, run, and so on, beside an original that did the same without a pause.

    PYTHONPATH=tests python -m differential.chains references 17 18 19

Every snapshot of a chain is valid, holds what the original holds, and is no larger than a snapshot that was
taken of the original directly, but for what `SLACK` allows. Without seeds, they are read from the standard
input, one a line.
"""

from __future__ import annotations

import json
import random
import sys
import traceback
from dataclasses import asdict, dataclass, field

import wasmtime

import wizer
from support.tools import complaint
from wizer.binary.module import parse_module
from wizer.core.heap import encode

from . import smith
from .actions import Action, Chooser
from .check import DifferenceError, imported
from .instance import Instance, changed
from .validity import refusal

ROUNDS = 5

# What a later snapshot may have more than one that was taken directly: types that an earlier one appended,
# wider indices, and places of segments that code may refer to by index.
SLACK = 60

_WASM_TOOLS = 0.2


@dataclass(slots=True)
class Report:
    """What happened with a seed.

    Attributes:
        skipped: why there was nothing to compare, if there was not.
        snapshots: how many were compared.
        restored: how many of them have a start function.
        grown: the most bytes that one of them has more than one taken directly.
    """

    skipped: str | None = None
    snapshots: int = 0
    restored: int = 0
    grown: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)


def check(profile: str, seed: int) -> Report:
    """Check the chain of a seed.

    Raises:
        DifferenceError: a snapshot of it is invalid, wrong, or has grown.
    """
    rng = random.Random(f"chain {profile} {seed}")
    # Generated modules make few objects; every other chain makes even these from data.
    encode.MIN_EXPRESSIONS = rng.choice((3, 500))
    wasm = smith.generate(profile, seed)
    if wasm is None:
        return Report("not generated")
    try:
        original = Instance(wasm)
    except (wasmtime.WasmtimeError, wasmtime.Trap, wizer.LinkError, wizer.ParseError) as error:
        return Report(f"not instantiated: {str(error).splitlines()[0]}")
    return _Chain(wasm, original, rng).report()


class _Chain:
    """One chain."""

    def __init__(self, wasm: bytes, original: Instance, rng: random.Random) -> None:
        self.wasm = wasm
        self.original = original
        self.rng = rng
        self.items = sorted(original.exports)
        self.chooser = Chooser(original.module, rng, session=False, host_objects=False)
        self.direct = wizer.Wizer().instrument(wasm)
        self.twin = Instance(self.direct.wasm)
        self.result = Report()

    def report(self) -> Report:
        snapshot = self.wasm
        for number in range(ROUNDS):
            actions = list(self.chooser.initialisation())
            for instance in (self.original, self.twin):
                instance.forget()
            made = self._round(snapshot, actions)
            if made is None:
                return self.result if number else Report("stack overflow")
            snapshot = made
            try:
                self._compare(snapshot)
            except DifferenceError as error:
                raise DifferenceError(f"round {number}: {error}") from error
        return self.result

    def _round(self, wasm: bytes, actions: list[Action]) -> bytes | None:
        """Do the actions to an instance of ``wasm`` and to the original; freeze the former."""
        instrumented = wizer.Wizer().instrument(wasm)
        instance = Instance(instrumented.wasm)
        for action in actions:
            expected = self.original.perform(action, self.items)
            if expected[:2] == ("trapped", "STACK_OVERFLOW"):
                return None
            for other, name in ((self.twin, "instrumented"), (instance, "in the chain")):
                if (found := other.perform(action, self.items)) != expected:
                    raise DifferenceError(f"{name}, {action} comes to {found} and not {expected}")
        captured = imported(self.original.module)
        return instrumented.snapshot(instance.store, instance.instance, keep=(), capture_imports=captured)

    def _compare(self, snapshot: bytes) -> None:
        if (why := refusal(self.wasm, snapshot)) is not None:
            raise DifferenceError(f"the snapshot is invalid: {why}")
        if self.rng.random() < _WASM_TOOLS and (why := complaint(snapshot)):
            raise DifferenceError(f"wasm-tools finds the snapshot invalid: {why}")
        frozen = Instance(snapshot)
        one, other = self.original.observe(self.items), frozen.observe(self.items)
        frozen.close()
        for item in changed(one, other):
            raise DifferenceError(f"{item} differs: {str(one[item])[:300]}, and {str(other[item])[:300]}")
        captured = imported(self.original.module)
        direct = self.direct.snapshot(self.twin.store, self.twin.instance, keep=(), capture_imports=captured)
        self.result.snapshots += 1
        self.result.restored += parse_module(snapshot).start is not None
        self.result.sizes.append((len(snapshot), len(direct)))
        self.result.grown = max(self.result.grown, len(snapshot) - len(direct))
        if len(snapshot) > len(direct) + SLACK:
            raise DifferenceError(f"{len(snapshot)} bytes, and {len(direct)} where it is taken directly")


def main() -> None:
    """Check the seeds."""
    profile, *seeds = sys.argv[1:]
    for seed in map(int, seeds or sys.stdin):
        try:
            line = asdict(check(profile, seed))
        except Exception:  # what is found is a difference or a bug, and the next seeds go on
            line = {"failure": traceback.format_exc()}
        print(json.dumps({"seed": seed, **line}), flush=True)


if __name__ == "__main__":
    main()
