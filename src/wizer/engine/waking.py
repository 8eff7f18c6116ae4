"""Waking a guest that waits for another thread, so that it comes to where it is stopped.

``memory.atomic.wait32`` and ``wait64`` wait in the engine, where no epoch ends. Whoever shares the memory can
wake who waits, though, and so can an instance that imports it in a store of its own::

    (import "" "" (memory 1 1 shared))
    (func (export "wake") (param $at i32) (param $end i32)
      (loop $next
        (drop (memory.atomic.notify (local.get $at) (i32.const -1)))
        (br_if $next (i32.ne (local.tee $at (i32.add (local.get $at) (i32.const 4))) (local.get $end)))))

at every address: nobody knows at which one the guest waits. That takes a second for some 100 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import wasmtime

from wizer.binary.externs import MemoryType
from wizer.engine import capi, capi_values

_PIECE: Final = 1 << 24  # bytes whose addresses are gone through in one call
_FOR_EVER: Final = 1 << 62  # epochs, and fuel


def wakes(
    engine: wasmtime.Engine, memories: Sequence[tuple[MemoryType, wasmtime.SharedMemory]], *, fuel: bool
) -> Callable[[Callable[[], bool]], None]:
    """Return what wakes whoever waits in some memories of an engine, until a function says that it is enough.

    Args:
        engine: the engine.
        memories: shared memories, and the types with which they were made.
        fuel: whether code of the engine takes fuel.
    """

    def wake(enough: Callable[[], bool]) -> None:
        for memorytype, memory in memories:
            store = wasmtime.Store(engine)
            store.set_epoch_deadline(_FOR_EVER)
            if fuel:
                store.set_fuel(_FOR_EVER)
            module = wasmtime.Module(engine, _text(memorytype))
            function = capi.export_of(store, capi.instantiate(store, module, [memory]), "wake")
            assert isinstance(function, wasmtime.Func)
            kind = capi_values.value_kind(memorytype.limits.address_type, ())
            bits = 64 if memorytype.limits.is64 else 32
            size = memory.data_len() & ~3
            for start in range(0, size, _PIECE):
                if enough():
                    return
                ends = (start, min(start + _PIECE, size))
                arguments = [end - (end >> bits - 1 << bits) for end in ends]
                capi.call_function(store, function, (kind, kind), arguments, 0)

    return wake


def _text(memorytype: MemoryType) -> str:
    limits, address = memorytype.limits, memorytype.limits.address_type
    page = "" if memorytype.page_size == 1 << 16 else f" (pagesize {memorytype.page_size:#x})"
    return f"""(module
      (import "" "" (memory {address} {limits.minimum} {limits.maximum} shared{page}))
      (func (export "wake") (param $at {address}) (param $end {address})
        (loop $next
          (drop (memory.atomic.notify (local.get $at) (i32.const -1)))
          (br_if $next ({address}.ne
            (local.tee $at ({address}.add (local.get $at) ({address}.const 4)))
            (local.get $end))))))"""
