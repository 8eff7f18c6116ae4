"""Putting code before what a restore function does."""

from __future__ import annotations

from wizer.binary import code
from wizer.binary.appended import Function
from wizer.binary.module import Module
from wizer.binary.types import FuncType, encode_functype
from wizer.core.heap.heapcode import HeapCode
from wizer.records import replace

_NOTHING = FuncType((), ())


def before_restore(module: Module, heap: HeapCode, body: bytes) -> HeapCode:
    """Return ``heap`` with a restore function that runs ``body``, and then the one that was there, if any."""
    if heap.functions:
        body += code.call(len(module.funcs) + len(heap.functions) - 1)
    types = list(heap.types)
    typeidx = next((i for i, subtype in enumerate(module.types) if subtype.comp == _NOTHING), None)
    if typeidx is None:
        entry = encode_functype(_NOTHING)
        if entry not in types:
            types.append(entry)
        typeidx = len(module.types) + types.index(entry)
    return replace(heap, types=types, functions=[*heap.functions, Function(typeidx, (), body)])
