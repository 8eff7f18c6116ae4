"""Types and functions to append to those of a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wizer.binary.code import encode_body
from wizer.binary.module import Module
from wizer.binary.types import (
    NUMBER_CODES,
    PACKED_CODES,
    ArrayType,
    FieldType,
    FuncType,
    RefType,
    ValType,
    encode_functype,
    encode_valtype,
)
from wizer.records import record

_CODES = {**NUMBER_CODES, **PACKED_CODES}


@record
class Function:
    """A function to append.

    Attributes:
        typeidx: its type.
        locals: the types of its locals, parameters not among them.
        code: its instructions, without ``end``.
    """

    typeidx: int
    locals: Sequence[ValType]
    code: bytes

    @property
    def body(self) -> bytes:
        """Its entry in the code section."""
        return encode_body(self.code, self.locals)


class AppendedTypes:
    """The types of a module, and those to append to them: only what is not there yet.

    A snapshot of a snapshot finds what the first one appended, and so does not grow.

    Attributes:
        entries: the types to append, each a recursion group of its own.
    """

    def __init__(self, module: Module) -> None:
        self.entries: list[bytes] = []
        self._types = module.types
        self._funcs: dict[FuncType, int] = {}
        for typeidx, subtype in enumerate(module.types):
            if isinstance(subtype.comp, FuncType):
                self._funcs.setdefault(subtype.comp, typeidx)
        self._arrays: dict[FieldType | str, int] = {}

    def _append(self, entry: bytes) -> int:
        self.entries.append(entry)
        return len(self._types) + len(self.entries) - 1

    def func(self, functype: FuncType) -> int:
        """Return the index of a function type."""
        found = self._funcs.get(functype)
        if found is None:
            found = self._funcs[functype] = self._append(encode_functype(functype))
        return found

    def array(self, storage: str) -> int:
        """Return the index of some type of arrays of numbers, mutable or not, like ``"i8"`` or ``"i32"``."""
        entry = bytes((0x5E, _CODES[storage], 0))
        return self._array(storage, lambda element: element.storage == storage, entry)

    def of(self, element: FieldType) -> int:
        """Return the index of the type of arrays of such elements."""
        storage = element.storage
        encoded = encode_valtype(storage) if isinstance(storage, RefType) else bytes((_CODES[storage],))
        return self._array(element, element.__eq__, b"\x5e" + encoded + bytes((element.mutable,)))

    def _array(self, key: FieldType | str, wanted: Callable[[FieldType], bool], entry: bytes) -> int:
        if key not in self._arrays:
            arrays = ((i, t.comp.element) for i, t in enumerate(self._types) if isinstance(t.comp, ArrayType))
            found = next((typeidx for typeidx, element in arrays if wanted(element)), None)
            self._arrays[key] = self._append(entry) if found is None else found
        return self._arrays[key]
