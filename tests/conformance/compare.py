"""Compare two instances of a module by what they export, without asking the package under test."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import byref

import wasmtime
from wasmtime import _ffi as ffi

from . import values
from .host import Extern, Host

# So many elements of a table are looked at.
_ELEMENTS = 1000


def differences(host: Host, one: Mapping[str, Extern], other: Mapping[str, Extern]) -> list[str]:
    """Compare memories byte by byte, tables by size and null elements, globals by value or by being null.

    Returns:
        The names of the exports that differ.
    """
    common = sorted(one.keys() & other.keys())
    return [name for name in common if _state(host, one[name]) != _state(host, other[name])]


def _state(host: Host, item: Extern) -> object:
    """What can be compared of an exported item; ``None`` for functions and tags."""
    context = host.store._context()
    if item.kind == ffi.WASMTIME_EXTERN_GLOBAL.value:
        value = host.read(item)
        described = values.describe(value)
        ffi.wasmtime_val_unroot(byref(value))
        return described
    if item.kind == ffi.WASMTIME_EXTERN_TABLE.value:
        size = int(ffi.wasmtime_table_size(context, byref(item.of.table)))
        return size, [_is_null(host, item, index) for index in range(min(size, _ELEMENTS))]
    if item.kind == ffi.WASMTIME_EXTERN_MEMORY.value:
        size = ffi.wasmtime_memory_data_size(context, byref(item.of.memory))
        data = ffi.wasmtime_memory_data(context, byref(item.of.memory))
        return ctypes.string_at(data, size) if size else b""
    if item.kind == ffi.WASMTIME_EXTERN_SHAREDMEMORY.value:
        size = ffi.wasmtime_sharedmemory_data_size(item.of.sharedmemory)
        return ctypes.string_at(ffi.wasmtime_sharedmemory_data(item.of.sharedmemory), size)
    return None


def _is_null(host: Host, table: Extern, index: int) -> bool:
    value = ffi.wasmtime_val_t()
    if not ffi.wasmtime_table_get(host.store._context(), byref(table.of.table), index, byref(value)):
        raise wasmtime.WasmtimeError(f"the table has no element {index}")
    null = values.is_null(value)
    ffi.wasmtime_val_unroot(byref(value))
    return null
