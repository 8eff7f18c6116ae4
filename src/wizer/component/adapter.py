"""The preview-1 adapter, which `wit-component` puts into components made from programs for WASI preview 1.

It keeps handles of the component's (to standard output, to open files) in a block of memory, and handles do
not outlive their instance: the first `printf` after the snapshot would trap, with "unknown handle index", if
there had been one before it. The adapter makes itself such a block, and asks for the handles, when it is
needed first. So it is put back to where it was before that: its stack is there, its block is not.

https://github.com/bytecodealliance/wasmtime/tree/main/crates/wasi-preview1-component-adapter
"""

from __future__ import annotations

from typing import Final

from wizer.binary.module import Module
from wizer.binary.values import Number
from wizer.core.state import State
from wizer.records import replace

_BLOCK: Final = "internal_state_ptr"
_PROGRESS: Final = "allocation_state"

# Of the adapter's `enum AllocationState`.
_STACK_ALLOCATED: Final = 2
_BLOCK_ALLOCATED: Final = 4


def without_handles(module: Module, state: State) -> State:
    """Return ``state`` as it is, or, where ``module`` is the adapter and has its block, as before that."""
    if not module.mentions(_BLOCK):
        return state
    globals_ = {
        name: index
        for (kind, index), name in module.names.items()
        if kind == "global" and name in (_BLOCK, _PROGRESS) and module.globals[index].type.valtype == "i32"
    }
    if len(globals_) != 2 or state.globals.get(globals_[_PROGRESS]) != Number("i32", _BLOCK_ALLOCATED):
        return state
    forgotten = {
        globals_[_BLOCK]: Number("i32", 0),
        globals_[_PROGRESS]: Number("i32", _STACK_ALLOCATED),
    }
    return replace(state, globals={**state.globals, **forgotten})
