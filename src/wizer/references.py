"""References as constant expressions, and what only a restore function can say."""

from __future__ import annotations

from wizer.binary.expr import encode_const, encode_null, encode_ref_func
from wizer.binary.module import Module
from wizer.binary.types import RefType
from wizer.errors import StateError
from wizer.state import FuncRef, Null, Number, Ref, State


class References:
    def __init__(self, module: Module, state: State) -> None:
        self.module = module
        self.state = state
        self.appended_globals: list[bytes] = []
        self.data_segments: list[bytes] = []
        self.restore: list[bytes] = []
        self.restore_funcs: frozenset[int] = frozenset()
        self.initialiser_funcs: set[int] = set()

    def global_init(self, globalidx: int) -> bytes | None:
        value = self.state.globals.get(globalidx)
        if value is None:
            return None
        t = self.module.globals[globalidx].type.valtype
        if isinstance(value, Number):
            return encode_const(value.type, value.bits)
        return self.element(value, t)

    def element(self, ref: Ref, t: RefType) -> bytes:
        if isinstance(ref, Null):
            return encode_null(t.heap)
        if isinstance(ref, FuncRef):
            return encode_ref_func(ref.funcidx)
        raise StateError("objects: not yet")

    def element_items(self, elemidx: int) -> list[bytes]:
        return [self.element(r, self.module.elements[elemidx].reftype) for r in self.state.elements[elemidx]]
