"""A module running in the engine: actions are done to it, and what it exports is looked at."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import byref
from functools import lru_cache
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi

from support.engine import engine
from wizer.binary.module import Module, parse_module
from wizer.binary.types import RefType
from wizer.engine import capi
from wizer.engine.link import Linker

from . import values
from .actions import (
    Action,
    Argument,
    Bits,
    Call,
    Earlier,
    Function,
    Grow,
    Host,
    Item,
    Null,
    Scalar,
    SetElement,
    SetGlobal,
    Write,
)
from .values import Described, Describer, Value, describing

# Where `Instance.observe` counts objects.
HEAP: Item = ("heap", 0)  # type: ignore[assignment]

# Bytes of memory that are looked at in one piece; those that are all zero are left out.
BLOCK = 1 << 16

_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(0)


def _engine() -> wasmtime.Engine:
    """The one engine of originals and snapshots; the processes that check seeds are parallel themselves."""
    return engine(canonical_nans=True, parallel=False)


@lru_cache(maxsize=4)
def compile_module(wasm: bytes) -> wasmtime.Module:
    """Compile a module; the last few are remembered.

    Raises:
        wasmtime.WasmtimeError: it is invalid.
    """
    return wasmtime.Module(_engine(), wasm)


class Instance:
    """An instance in a store of its own.

    Args:
        wasm: the module.
        module: the module whose indices actions use; its own unless it is a snapshot or instrumented.

    Raises:
        wasmtime.WasmtimeError, wasmtime.Trap: it cannot be compiled, linked or started.
        wizer.LinkError: it imports something that has no default value.
    """

    def __init__(self, wasm: bytes) -> None:
        self.module: Module = parse_module(wasm)
        self.store = wasmtime.Store(_engine())
        compiled = compile_module(wasm)
        externs: Sequence[capi.Extern] = ()
        if self.module.imports:
            externs = Linker(self.store, unknown="default").link(self.module, compiled).externs
        self.instance = capi.instantiate(self.store, compiled, externs)
        self._context = self.store._context()
        self.exports: dict[Item, capi.Extern] = {}
        for export in self.module.exports:
            extern = capi.export_of(self.store, self.instance, export.name)
            assert extern is not None
            self.exports.setdefault((export.kind, export.index), extern)
        self._earlier: list[tuple[int, str | int, Value]] = []

    def close(self) -> None:
        """Let the store go."""
        for _, _, value in self._earlier:
            ffi.wasmtime_val_unroot(byref(value))
        self.store.close()

    def forget(self) -> None:
        """Let no further action use what earlier calls returned."""
        self._earlier.clear()

    def describer(self, items: Sequence[Item]) -> Any:
        """A describer that knows the functions and tags among ``items``."""
        functions: dict[tuple[int, int], int] = {}
        tags: list[tuple[int, wasmtime.Tag]] = []
        for kind, index in items:
            extern = self.exports[kind, index]
            if isinstance(extern, wasmtime.Func):
                functions.setdefault(values.function_identity(self.store, extern._func), index)
            elif isinstance(extern, wasmtime.Tag):
                tags.append((index, extern))
        return describing(self.store, functions, tags)

    def observe(self, items: Sequence[Item]) -> dict[Item, Described]:
        """Describe the state of every exported memory, global and table among ``items``.

        Under ("heap", 0) is how many objects there are in it.
        """
        with self.describer(items) as describer:
            states = {item: self._state(item, describer) for item in items if item[0] not in ("func", "tag")}
            return states | {HEAP: (describer.objects,)}

    def _state(self, item: Item, describer: Describer) -> Described:
        extern = self.exports[item]
        if isinstance(extern, wasmtime.Global):
            value = ffi.wasmtime_val_t()
            ffi.wasmtime_global_get(self._context, byref(extern._global), byref(value))
            return describer.describe(value)
        if isinstance(extern, wasmtime.Table):
            return tuple(describer.describe(self._element(extern, i)) for i in range(extern.size(self.store)))
        assert isinstance(extern, wasmtime.Memory | wasmtime.SharedMemory)
        view = capi.memory_view(self.store, extern)
        blocks = ((at, bytes(view[at : at + BLOCK])) for at in range(0, len(view), BLOCK))
        return (len(view), *((at, block) for at, block in blocks if block.count(0) < len(block)))

    def _element(self, table: wasmtime.Table, index: int) -> Value:
        value = ffi.wasmtime_val_t()
        assert ffi.wasmtime_table_get(self._context, byref(table._table), index, byref(value))
        return value

    def perform(self, action: Action, items: Sequence[Item]) -> Described:
        """Do an action; return what came of it: results, a trap, an exception, or the engine's refusal."""
        try:
            match action:
                case Call(index, arguments):
                    return self._call(index, arguments, items)
                case Write(index, offset, data):
                    view = self.memory(index)
                    if len(view) >= len(data):
                        offset %= len(view) - len(data) + 1
                        view[offset : offset + len(data)] = data
                    return ("written",)
                case SetGlobal(index, value):
                    return self._set_global(index, value)
                case SetElement(index, element, value):
                    return self._set_element(index, element, value)
                case Grow(kind, index, delta, value):
                    return self._grow(kind, index, delta, value)
        except _Refused as refused:
            return ("refused", str(refused))

    def memory(self, index: int) -> memoryview:
        """A view on an exported memory."""
        memory = self.exports["memory", index]
        assert isinstance(memory, wasmtime.Memory | wasmtime.SharedMemory)
        return capi.memory_view(self.store, memory)

    def _call(self, index: int, arguments: Sequence[Argument], items: Sequence[Item]) -> Described:
        function = self.exports["func", index]
        assert isinstance(function, wasmtime.Func)
        functype = self.module.functype(index)
        given = (ffi.wasmtime_val_t * len(arguments))(*map(self._value, arguments))
        results = (ffi.wasmtime_val_t * len(functype.results))()
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call(
            self._context, byref(function._func), given, len(given), results, len(results), byref(trap)
        )
        _check(error)
        if trap:
            return self._failure(wasmtime.Trap._from_ptr(trap), items)
        for valtype, value in zip(functype.results, results, strict=True):
            if isinstance(valtype, RefType) and not values.is_null(value):
                self._earlier.append((value.kind, valtype.heap, _clone(value)))
        with self.describer(items) as describer:
            return ("returned", *(describer.describe(_clone(value)) for value in results))

    def _failure(self, trap: wasmtime.Trap, items: Sequence[Item]) -> Described:
        # An exception that nobody takes stays in the store and is thrown again by the next call.
        thrown = ffi.wasmtime_val_t(kind=values.EXN)
        if ffi.wasmtime_context_take_exception(self._context, byref(thrown.of.exnref)):
            with self.describer(items) as describer:
                return ("threw", describer.describe(thrown))
        code = trap.trap_code
        return ("trapped", code.name if code is not None else trap.message.splitlines()[0])

    def _set_global(self, index: int, argument: Argument) -> Described:
        global_ = self.exports["global", index]
        assert isinstance(global_, wasmtime.Global)
        value = self._value(argument)
        _check(ffi.wasmtime_global_set(self._context, byref(global_._global), byref(value)))
        return ("set",)

    def _set_element(self, index: int, element: int, argument: Argument) -> Described:
        table = self.exports["table", index]
        assert isinstance(table, wasmtime.Table)
        size = table.size(self.store)
        if size:
            value = self._value(argument)
            _check(ffi.wasmtime_table_set(self._context, byref(table._table), element % size, byref(value)))
        return ("set",)

    def _grow(self, kind: str, index: int, delta: int, argument: Argument) -> Described:
        before = ctypes.c_uint64()
        if kind == "table":
            table = self.exports["table", index]
            assert isinstance(table, wasmtime.Table)
            value = self._value(argument)
            _check(
                ffi.wasmtime_table_grow(
                    self._context, byref(table._table), delta, byref(value), byref(before)
                )
            )
            return ("grown", before.value)
        memory = self.exports["memory", index]
        try:
            if isinstance(memory, wasmtime.SharedMemory):
                return ("grown", memory.grow(delta))
            assert isinstance(memory, wasmtime.Memory)
            return ("grown", memory.grow(self.store, delta))
        except wasmtime.WasmtimeError as error:
            raise _Refused(str(error).splitlines()[0]) from None

    def _value(self, argument: Argument) -> Value:
        """Make the value of an argument. Roots live as long as the store."""
        value: Value = ffi.wasmtime_val_t()
        match argument:
            case Bits(kind, bits):
                value.kind = kind
                ctypes.memmove(byref(value.of), bits.to_bytes(16, "little"), 16)
            case Null(kind):
                value.kind = kind
            case Scalar(bits):
                value.kind = values.ANY
                ffi.wasmtime_anyref_from_i31(self._context, bits, byref(value.of.anyref))
            case Host(number):
                value.kind = values.EXTERN
                # A null pointer as the host's data would read as a null reference.
                data = ctypes.c_void_p(number + 1)
                assert ffi.wasmtime_externref_new(
                    self._context, data, _NO_FINALIZER, byref(value.of.externref)
                )
            case Function(index):
                function = self.exports["func", index]
                assert isinstance(function, wasmtime.Func)
                value.kind = values.FUNC
                value.of.funcref = function._func
            case Earlier(kind, heaps, number):
                found = [v for k, heap, v in self._earlier if k == kind and heap in heaps]
                if found:
                    return _clone(found[number % len(found)])
                value.kind = kind
        return value


class _Refused(Exception):  # noqa: N818  it is what a wrong argument is met with
    """The engine does not take a value, or does not grow."""


def _check(error: Any) -> None:
    if error:
        raise _Refused(str(wasmtime.WasmtimeError._from_ptr(error)).splitlines()[0])


def _clone(value: Value) -> Value:
    copy = ffi.wasmtime_val_t()
    ffi.wasmtime_val_clone(byref(value), byref(copy))
    return copy


def changed(before: Mapping[Item, Described], after: Mapping[Item, Described]) -> list[Item]:
    """The items whose states differ."""
    return [item for item, state in before.items() if state != after[item]]
