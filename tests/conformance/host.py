"""The engine as the scripts know it: one configuration, the `spectest` module, calls, and what failed.

https://github.com/WebAssembly/spec/tree/main/interpreter#spectest-host-module
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import byref
from functools import lru_cache
from typing import Any

import wasmtime
from wasmtime import TrapCode
from wasmtime import _ffi as ffi

from support.engine import engine

from . import values

_SPECTEST = """
(module
  (global (export "global_i32") i32 (i32.const 666))
  (global (export "global_i64") i64 (i64.const 666))
  (global (export "global_f32") f32 (f32.const 666.6))
  (global (export "global_f64") f64 (f64.const 666.6))
  (table (export "table") 10 20 funcref)
  (table (export "table64") i64 10 20 funcref)
  (memory (export "memory") 1 2)
  (memory (export "shared_memory") 1 2 shared)
  (func (export "print"))
  (func (export "print_i32") (param i32))
  (func (export "print_i64") (param i64))
  (func (export "print_f32") (param f32))
  (func (export "print_f64") (param f64))
  (func (export "print_i32_f32") (param i32 f32))
  (func (export "print_f64_f64") (param f64 f64)))
"""

# The C API makes host objects as externrefs only; the guest turns them into anyrefs and back.
_CONVERSIONS = """
(module
  (func (export "internalize") (param externref) (result anyref) (any.convert_extern (local.get 0)))
  (func (export "externalize") (param anyref) (result externref) (extern.convert_any (local.get 0))))
"""

# What the scripts call a trap, up to details behind it, and what the engine calls it.
_TRAPS: Mapping[str, tuple[TrapCode, ...]] = {
    "call stack exhausted": (TrapCode.STACK_OVERFLOW,),
    "cast failure": (TrapCode.CAST_FAILURE,),
    "indirect call type mismatch": (TrapCode.BAD_SIGNATURE,),
    "integer divide by zero": (TrapCode.INTEGER_DIVISION_BY_ZERO,),
    "integer overflow": (TrapCode.INTEGER_OVERFLOW,),
    "invalid conversion to integer": (TrapCode.BAD_CONVERSION_TO_INTEGER,),
    "null": (TrapCode.NULL_REFERENCE, TrapCode.INDIRECT_CALL_TO_NULL),
    "out of bounds array access": (TrapCode.ARRAY_OUT_OF_BOUNDS,),
    "out of bounds memory access": (TrapCode.MEMORY_OUT_OF_BOUNDS,),
    "out of bounds table access": (TrapCode.TABLE_OUT_OF_BOUNDS,),
    "unaligned atomic": (TrapCode.HEAP_MISALIGNED,),
    "undefined element": (TrapCode.TABLE_OUT_OF_BOUNDS,),
    "uninitialized element": (TrapCode.INDIRECT_CALL_TO_NULL,),
    "unreachable": (TrapCode.UNREACHABLE,),
}


Extern = Any  # ffi.wasmtime_extern_t: a function, table, memory, global or tag, as something exports it


class GuestFailureError(Exception):
    """Guest code trapped, or threw an exception that nothing caught.

    Attributes:
        code: why it trapped; ``None`` for an exception.
    """

    def __init__(self, message: str, code: TrapCode | None) -> None:
        super().__init__(message)
        self.code = code

    def is_called(self, text: str) -> bool:
        """Whether this is the trap that a script calls ``text``."""
        return any(text.startswith(name) and self.code in codes for name, codes in _TRAPS.items())


class LinkFailureError(Exception):
    """An import is missing, or the engine refuses what is supplied for it."""


@lru_cache(maxsize=2_000)
def compile_module(wasm: bytes) -> wasmtime.Module:
    """Compile a binary module, once for all scripts, seeds and modes.

    Raises:
        wasmtime.WasmtimeError: it is malformed or invalid.
    """
    return wasmtime.Module(engine(), wasm)


def to_binary(text: bytes) -> bytes:
    """Translate a module from the text format.

    Raises:
        wasmtime.WasmtimeError: it is malformed.
    """
    return bytes(wasmtime.wat2wasm(text))


class Host:
    """A store with the `spectest` module in it.

    Attributes:
        store: all instances of a script live in it.
        spectest: the exports that scripts import.
    """

    def __init__(self) -> None:
        self.store = wasmtime.Store(engine())
        self.spectest = self._instantiate_text(_SPECTEST)
        self._conversions = self._instantiate_text(_CONVERSIONS)

    def _instantiate_text(self, text: str) -> Mapping[str, Extern]:
        return self.exports(self.instantiate(compile_module(to_binary(text.encode())), []))

    def instantiate(self, module: wasmtime.Module, imports: Sequence[Extern]) -> wasmtime.Instance:
        """Instantiate a module.

        The package's own way does not accept a shared memory that another instance exports.

        Raises:
            GuestFailureError: a segment did not fit, or the start function failed.
            LinkFailureError: the engine refuses the imports.
        """
        externs = (ffi.wasmtime_extern_t * len(imports))(*imports)
        instance = ffi.wasmtime_instance_t()
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_instance_new(
            self.store._context(), module.ptr(), externs, len(imports), byref(instance), byref(trap)
        )
        if error:
            raise LinkFailureError(str(wasmtime.WasmtimeError._from_ptr(error)))
        if trap:
            raise self._failure(wasmtime.Trap._from_ptr(trap))
        return wasmtime.Instance._from_raw(instance)

    def exports(self, instance: wasmtime.Instance) -> dict[str, Extern]:
        """All exports of an instance."""
        found: dict[str, Extern] = {}
        text, size = ctypes.POINTER(ctypes.c_char)(), ctypes.c_size_t()
        while True:
            item = ffi.wasmtime_extern_t()
            if not ffi.wasmtime_instance_export_nth(
                self.store._context(),
                byref(instance._instance),
                len(found),
                byref(text),
                byref(size),
                byref(item),
            ):
                return found
            found[ctypes.string_at(text, size.value).decode()] = item

    @contextmanager
    def call(self, func: Extern, arguments: Sequence[values.Json]) -> Iterator[list[values.Value]]:
        """Call a function with a script's arguments; the results live as long as the context.

        Raises:
            GuestFailureError: the function trapped, or threw.
        """
        encoded: list[values.Value] = []
        results: list[values.Value] = []
        try:
            encoded.extend(self._encode(argument) for argument in arguments)
            results.extend(self._call(func, encoded))
            yield results
        finally:
            for value in (*encoded, *results):
                ffi.wasmtime_val_unroot(byref(value))

    def read(self, item: Extern) -> values.Value:
        """Read a global."""
        assert item.kind == ffi.WASMTIME_EXTERN_GLOBAL.value
        value = ffi.wasmtime_val_t()
        ffi.wasmtime_global_get(self.store._context(), byref(item.of.global_), byref(value))
        return value

    def matches(self, expected: values.Json, actual: values.Value) -> bool:
        """Whether a result is what a script expects, host objects by their numbers."""
        if expected["type"] != "anyref" or not values.is_host_number(expected):
            return values.matches(self.store, expected, actual)
        if actual.kind != values.ANYREF or values.is_null(actual):
            return False
        external = self._call(self._conversions["externalize"], [actual])[0]
        return values.host_number(self.store, external) == int(expected["value"])

    def _encode(self, argument: values.Json) -> values.Value:
        if argument["type"] != "anyref" or not values.is_host_number(argument):
            return values.encode(self.store, argument)
        external = values.encode(self.store, {**argument, "type": "externref"})
        return self._call(self._conversions["internalize"], [external])[0]

    def _call(self, item: Extern, arguments: Sequence[values.Value]) -> list[values.Value]:
        assert item.kind == ffi.WASMTIME_EXTERN_FUNC.value
        func = item.of.func
        context = self.store._context()
        functype = ffi.wasmtime_func_type(context, byref(func))
        size = int(ffi.wasm_functype_results(functype).contents.size)
        ffi.wasm_functype_delete(functype)
        parameters = (ffi.wasmtime_val_t * len(arguments))(*arguments)
        results = (ffi.wasmtime_val_t * size)()
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call(
            context, byref(func), parameters, len(arguments), results, size, byref(trap)
        )
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)
        if trap:
            raise self._failure(wasmtime.Trap._from_ptr(trap))
        return list(results)

    def _failure(self, trap: wasmtime.Trap) -> GuestFailureError:
        # An exception that nobody takes stays in the store and is thrown again by the next call.
        exception = ffi.wasmtime_exnref_t()
        if ffi.wasmtime_context_take_exception(self.store._context(), byref(exception)):
            ffi.wasmtime_exnref_unroot(byref(exception))
        return GuestFailureError(trap.message, trap.trap_code)
