"""Run a script of the test suite, command by command.

https://github.com/WebAssembly/spec/tree/main/interpreter#scripts
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import wasmtime

from support.engine import engine

from .host import Extern, GuestFailureError, Host, LinkFailureError, compile_module, to_binary
from .scripts import Command, Script
from .values import Value, describe

ImportName = tuple[str, str]


class MismatchError(Exception):
    """A command did not do what the script says."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A module that can be instantiated.

    Attributes:
        module: the compiled module.
        tag: whatever a kind of replay wants to know about it later.
    """

    module: wasmtime.Module
    tag: Any = None


@dataclass(slots=True)
class Live:
    """An instance that a script can name; another one may take its place while the script runs.

    Attributes:
        created: the index of the command that made it.
        definition: the module it is an instance of.
        imports: what it was linked with.
        instance: the instance itself.
        exports: its exports by name.
        shared: whether another module has imported from it.
    """

    created: int
    definition: Definition
    imports: Mapping[ImportName, Extern]
    instance: wasmtime.Instance
    exports: Mapping[str, Extern]
    shared: bool = False


@dataclass(slots=True)
class Outcome:
    """What a script did.

    Attributes:
        passed: the indices of the commands that did what the script says.
        failed: the others, with the reason.
    """

    passed: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)


class Replay:
    """One run of one script, in a store of its own."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.host = Host()
        self.outcome = Outcome()
        self._definitions: dict[str | None, Definition] = {}
        # The current instance is under None, as it is in a command that names no instance.
        self._instances: dict[str | None, Live] = {}
        self._registered: dict[str, Live] = {}

    def run(self) -> Outcome:
        """Run all commands; a command that fails does not end the script."""
        for index, command in enumerate(self.script.commands):
            try:
                self._step(index, command)
            except (MismatchError, GuestFailureError, LinkFailureError, wasmtime.WasmtimeError) as error:
                reason = f"{type(error).__name__}: {error}"
                self.outcome.failed[index] = f"line {command['line']}: {command['type']}: {reason}"
            else:
                self.outcome.passed.append(index)
            self.after(index)
        return self.outcome

    def define(self, wasm: bytes) -> Definition:
        """Compile a valid module, for instances of it.

        Raises:
            wasmtime.WasmtimeError: the engine refuses it.
        """
        return Definition(compile_module(wasm))

    def reject(self, wasm: bytes, text_format: bool) -> bool:
        """Whether a module that is malformed or invalid is found to be so."""
        try:
            wasmtime.Module.validate(engine(), to_binary(wasm) if text_format else wasm)
        except wasmtime.WasmtimeError:
            return True
        return False

    def after(self, index: int) -> None:
        """Called after each command."""

    def lives(self) -> Iterable[Live]:
        """All instances that the script can still name."""
        return {
            live.created: live for live in (*self._instances.values(), *self._registered.values())
        }.values()

    def _step(self, index: int, command: Command) -> None:
        match command["type"]:
            case "module":
                self._bind(index, command.get("name"), self._definition(command))
            case "module_definition":
                self._definitions[command.get("name")] = self._definition(command)
                self._definitions[None] = self._definitions[command.get("name")]
            case "module_instance":
                self._bind(index, command["instance"], self._definitions[command["module"]])
            case "register":
                self._registered[command["as"]] = self._live(command.get("name"))
            case "action":
                self._perform(command["action"], None)
            case "assert_return":
                self._perform(command["action"], command["expected"])
            case "assert_trap" | "assert_exhaustion" | "assert_exception":
                self._expect_failure(command)
            case "assert_invalid" | "assert_malformed":
                text_format = command["module_type"] == "text"
                if not self.reject(self.script.file(command["filename"]), text_format):
                    raise MismatchError(f"not rejected: {command['text']}")
            case "assert_unlinkable" | "assert_uninstantiable":
                self._expect_no_instance(index, command)
            case unknown:
                raise ValueError(f"{self.script.name}: this harness does not know the command {unknown!r}")

    def _definition(self, command: Command) -> Definition:
        return self.define(self.script.file(command.get("binary_filename") or command["filename"]))

    def _bind(self, index: int, name: str | None, definition: Definition) -> None:
        live = self._instantiate(index, definition)
        self._instances[name] = live
        self._instances[None] = live

    def _instantiate(self, index: int, definition: Definition) -> Live:
        names: list[ImportName] = [(one.module, one.name or "") for one in definition.module.imports]
        imports = {name: self._resolve(name) for name in names}
        instance = self.host.instantiate(definition.module, [imports[name] for name in names])
        return Live(index, definition, imports, instance, self.host.exports(instance))

    def _resolve(self, name: ImportName) -> Extern:
        module, item = name
        if module == "spectest":
            exports = self.host.spectest
        elif module in self._registered:
            self._registered[module].shared = True
            exports = self._registered[module].exports
        else:
            raise LinkFailureError(f"unknown import: there is no module {module!r}")
        if item not in exports:
            raise LinkFailureError(f"unknown import: {module!r} exports no {item!r}")
        return exports[item]

    def _live(self, name: str | None) -> Live:
        if name not in self._instances:
            raise MismatchError("the instance is missing")
        return self._instances[name]

    def _perform(self, action: Command, expected: list[Command] | None) -> None:
        """Do an action and compare its results; without an expectation it must only not trap."""
        item = self._live(action.get("module")).exports.get(action["field"])
        if item is None:
            raise MismatchError(f"the instance has no export {action['field']!r}")
        if action["type"] == "get":
            self._compare(expected, [self.host.read(item)])
            return
        with self.host.call(item, action["args"]) as results:
            self._compare(expected, results)

    def _compare(self, expected: list[Command] | None, results: list[Value]) -> None:
        if expected is None:
            return
        if len(expected) != len(results) or not all(map(self.host.matches, expected, results)):
            raise MismatchError(f"expected {expected}, found {[describe(result) for result in results]}")

    def _expect_failure(self, command: Command) -> None:
        try:
            self._perform(command["action"], None)
        except GuestFailureError as failure:
            exception = command["type"] == "assert_exception"
            if failure.code is None if exception else failure.is_called(command["text"]):
                return
            raise
        raise MismatchError("no trap and no exception")

    def _expect_no_instance(self, index: int, command: Command) -> None:
        definition = self._definition(command)
        try:
            self._instantiate(index, definition)
        except GuestFailureError as failure:
            if command["type"] == "assert_uninstantiable" and failure.is_called(command["text"]):
                return
            raise
        except LinkFailureError as failure:
            if command["type"] == "assert_unlinkable" and command["text"] in str(failure):
                return
            raise
        raise MismatchError("instantiated all the same")
