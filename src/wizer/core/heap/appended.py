"""Types and functions that the restore function needs besides those of the module."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wizer.binary.code import encode_body
from wizer.binary.module import Module
from wizer.binary.types import (
    NUMBER_CODES,
    PACKED_CODES,
    ArrayType,
    CompType,
    FieldType,
    FuncType,
    RefType,
    ValType,
    encode_functype,
    encode_valtype,
)
from wizer.records import record


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
        self._module = module
        self._found: dict[FuncType | FieldType | str, int] = {}

    def func(self, functype: FuncType) -> int:
        """Return the index of a function type."""
        return self._index(functype, lambda comp: comp == functype, encode_functype(functype))

    def array(self, storage: str) -> int:
        """Return the index of some type of arrays of numbers, mutable or not, like ``"i8"`` or ``"i32"``."""
        code = {**NUMBER_CODES, **PACKED_CODES}[storage]

        def is_array(comp: CompType) -> bool:
            return isinstance(comp, ArrayType) and comp.element.storage == storage

        return self._index(storage, is_array, bytes((0x5E, code, 0)))

    def refs(self, element: FieldType) -> int:
        """Return the index of the type of arrays of references."""

        def is_array(comp: CompType) -> bool:
            return isinstance(comp, ArrayType) and comp.element == element

        assert isinstance(element.storage, RefType)
        entry = b"\x5e" + encode_valtype(element.storage) + bytes((element.mutable,))
        return self._index(element, is_array, entry)

    def _index(
        self, key: FuncType | FieldType | str, wanted: Callable[[CompType], bool], entry: bytes
    ) -> int:
        if key not in self._found:
            types = self._module.types
            index = next((i for i, t in enumerate(types) if wanted(t.comp)), None)
            if index is None:
                index = len(types) + len(self.entries)
                self.entries.append(entry)
            self._found[key] = index
        return self._found[key]
