"""Values of the engine: what they look like from outside, so that those of two stores can be compared.

Values cross as the C API's structures, since the package's own classes abort the process on some types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ctypes import byref, c_uint32
from functools import lru_cache
from typing import Any, TypeAlias

import wasmtime
from wasmtime import _ffi as ffi

from wizer.engine import capi

Value = Any  # ffi.wasmtime_val_t; its fields are not what their annotations say

# A value as plain data: its kind and bits, or the shape of what it refers to.
Described: TypeAlias = "tuple[Any, ...]"

# wasmtime/val.h; the Python package names only the first seven.
I32, I64, F32, F64, V128, FUNC, EXTERN, ANY, EXN = range(9)
NAMES = ("i32", "i64", "f32", "f64", "v128", "func", "extern", "any", "exn")
BITS = {I32: 32, I64: 64, F32: 32, F64: 64}

# The C API makes host objects as externrefs only; the guest turns them into anyrefs and back.
_CONVERSIONS = """
(module
  (func (export "internalize") (param externref) (result anyref) (any.convert_extern (local.get 0)))
  (func (export "externalize") (param anyref) (result externref) (extern.convert_any (local.get 0))))
"""


def is_null(value: Value) -> bool:
    """Whether a reference is null: all references of the C API begin with the store's number."""
    return bool(value.of.anyref.store_id == 0)


class Describer:
    """Describes values of one store.

    Functions are described by their index where they are exported, tags too. Objects are numbered in the
    order in which they are met, and described where they are met first: two sequences of descriptions are
    equal exactly where the graphs of objects are.
    """

    def __init__(
        self,
        store: wasmtime.Store,
        functions: Mapping[tuple[int, int], int],
        tags: Sequence[tuple[int, wasmtime.Tag]],
    ) -> None:
        self._store = store
        self._context = store._context()
        self._functions = functions
        self._tags = tags
        self._numbers: dict[int, int] = {}
        self._rooted: list[Value] = []

    @property
    def objects(self) -> int:
        """How many objects were met."""
        return len(self._numbers)

    def close(self) -> None:
        """Let the objects go; while they are held, none has the place of another."""
        for value in self._rooted:
            ffi.wasmtime_val_unroot(byref(value))

    def describe(self, value: Value) -> Described:
        """Describe a value, which becomes the describer's."""
        kind = value.kind
        if kind in BITS:
            return (NAMES[kind], value.of.i64 & (1 << BITS[kind]) - 1)
        if kind == V128:
            return ("v128", bytes(value.of.v128).hex())
        if is_null(value):
            return (NAMES[kind], None)
        self._rooted.append(value)
        match kind:
            case 5:
                return ("func", self._function(value))
            case 6:
                return ("extern", *self._extern(value))
            case 7:
                return ("any", *self._object(value))
        return ("exn", *self._exception(value))

    def _function(self, value: Value) -> int | str:
        return self._functions.get(function_identity(self._store, value.of.funcref), "of no export")

    def _extern(self, value: Value) -> Described:
        number = host_number(self._store, value)
        if number is not None:
            return ("host", number)
        return self.describe(convert(self._store, "internalize", value))

    def _object(self, value: Value) -> Described:
        any_ = byref(value.of.anyref)
        place = ffi.wasmtime_anyref_to_raw(self._context, any_)
        if place & 1:  # an i31; the engine's `wasmtime_anyref_is_i31` says so of objects, too
            return ("i31", place >> 1)
        if place in self._numbers:
            return ("same as", self._numbers[place])
        self._numbers[place] = number = len(self._numbers)
        if ffi.wasmtime_anyref_is_struct(self._context, any_):
            return ("struct", number, *self._fields(any_))
        if ffi.wasmtime_anyref_is_array(self._context, any_):
            return ("array", number, *self._elements(any_))
        return ("converted", *self._extern(convert(self._store, "externalize", value)))

    def _fields(self, any_: Any) -> Iterator[Described]:
        struct = ffi.wasmtime_structref_t()
        ffi.wasmtime_anyref_as_struct(self._context, any_, byref(struct))
        type_ = ffi.wasmtime_structref_type(self._context, byref(struct))
        count = ffi.wasmtime_struct_type_num_fields(type_)
        ffi.wasmtime_struct_type_delete(type_)
        for i in range(count):
            field = ffi.wasmtime_val_t()
            _check(ffi.wasmtime_structref_field(self._context, byref(struct), i, byref(field)))
            yield self.describe(field)
        ffi.wasmtime_structref_unroot(byref(struct))

    def _elements(self, any_: Any) -> Iterator[Described]:
        array = ffi.wasmtime_arrayref_t()
        ffi.wasmtime_anyref_as_array(self._context, any_, byref(array))
        length = c_uint32()
        _check(ffi.wasmtime_arrayref_len(self._context, byref(array), byref(length)))
        for i in range(length.value):
            element = ffi.wasmtime_val_t()
            _check(ffi.wasmtime_arrayref_get(self._context, byref(array), i, byref(element)))
            yield self.describe(element)
        ffi.wasmtime_arrayref_unroot(byref(array))

    def _exception(self, value: Value) -> Iterator[Any]:
        exception = byref(value.of.exnref)
        place = -1 - ffi.wasmtime_exnref_to_raw(self._context, exception)
        if place in self._numbers:
            yield from ("same as", self._numbers[place])
            return
        self._numbers[place] = len(self._numbers)
        tag = ffi.wasmtime_tag_t()
        _check(ffi.wasmtime_exnref_tag(self._context, exception, byref(tag)))
        yield next(
            (
                i
                for i, known in self._tags
                if ffi.wasmtime_tag_eq(self._context, byref(tag), byref(known._tag))
            ),
            "of no export",
        )
        for i in range(ffi.wasmtime_exnref_field_count(self._context, exception)):
            field = ffi.wasmtime_val_t()
            _check(ffi.wasmtime_exnref_field(self._context, exception, i, byref(field)))
            yield self.describe(field)


@contextmanager
def describing(
    store: wasmtime.Store, functions: Mapping[tuple[int, int], int], tags: Sequence[tuple[int, wasmtime.Tag]]
) -> Iterator[Describer]:
    """A describer for as long as its values have to be told apart."""
    describer = Describer(store, functions, tags)
    try:
        yield describer
    finally:
        describer.close()


def function_identity(store: wasmtime.Store, function: Any) -> tuple[int, int]:
    """What all references to one function have in common."""
    address: Any = ffi.wasmtime_func_to_raw(store._context(), byref(function))
    (identity,) = capi.function_identities((address,))
    return identity


def _check(error: Any) -> None:
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)


def host_number(store: wasmtime.Store, value: Value) -> int | None:
    """The number of the host object in a non-null externref, or None where a guest made it."""
    data = ffi.wasmtime_externref_data(store._context(), byref(value.of.externref))
    return None if data is None else int(data) - 1


@lru_cache(maxsize=8)
def _conversions(engine: wasmtime.Engine) -> wasmtime.Module:
    return wasmtime.Module(engine, _CONVERSIONS)


def convert(store: wasmtime.Store, name: str, value: Value) -> Value:
    """Return the other side of an externref ("internalize") or of an anyref ("externalize")."""
    instance = wasmtime.Instance(store, _conversions(store.engine), [])
    function = capi.export_of(store, instance, name)
    assert isinstance(function, wasmtime.Func)
    arguments, results = (ffi.wasmtime_val_t * 1)(value), (ffi.wasmtime_val_t * 1)()
    _check(ffi.wasmtime_func_call(store._context(), byref(function._func), arguments, 1, results, 1, None))
    return results[0]
