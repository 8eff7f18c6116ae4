"""Address space for memories that may grow beyond what the engine reserves, and whether one may move then.

The engine reserves 4 GiB for each memory. A 64-bit memory that outgrows that is copied to another place, and
whoever has a view of the old one reads what is not there any more. So what the limits let a memory have is
reserved from the start, where that can be done; see `Shell.run` for where it cannot.

Importing this module does not import the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wizer.binary.externs import MemoryType
from wizer.binary.module import Module
from wizer.engine.config import RESERVATIONS, EngineConfig
from wizer.records import replace

_RESERVED: Final = RESERVATIONS.start  # bytes for each memory, by default
_MOST: Final = 1 << 40  # bytes of address space to take for all memories together: of 128 TiB that there are


def with_room(
    config: EngineConfig, modules: Sequence[Module], bound: int | None
) -> tuple[EngineConfig, bool]:
    """Return ``config`` with address space for the memories of some modules, and whether one may still move.

    Args:
        config: how the engine is set up.
        modules: the modules that are instantiated.
        bound: the most bytes that each memory may have, None where there is no bound.
    """
    memories = [memory for module in modules for memory in module.memories]
    most = max((_most(memory, bound) for memory in memories), default=0)
    fixed = config.pooling is not None or config.memory_may_move is False
    reserved = _RESERVED if config.memory_reservation is None else config.memory_reservation
    if fixed or most <= reserved:
        return config, False
    if config.memory_reservation is None and most * len(memories) <= _MOST and not _scarce():
        return replace(config, memory_reservation=-(-most // _PAGE) * _PAGE), False
    return config, True


_PAGE: Final = RESERVATIONS.step


def _most(memory: MemoryType, bound: int | None) -> int:
    """Return the most bytes that a memory may have."""
    declared = memory.limits.maximum
    size = memory.limits.address_mask + 1 if declared is None else declared * memory.page_size
    return size if bound is None else min(size, bound)


def _scarce() -> bool:
    """Whether this process may not have all the address space that there is."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
