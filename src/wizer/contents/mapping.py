"""Whether an engine maps a memory into its instances, or copies it: see :mod:`wizer.core.segments.dense`."""

from __future__ import annotations

from wizer.binary.module import Module
from wizer.binary.segments import DataSegment
from wizer.core.data import unmappable
from wizer.core.segments.dense import is_dense


def active(module: Module, memidx: int) -> list[DataSegment]:
    """Return the active segments of a memory that hold something."""
    return [s for s in module.data if s.mode == "active" and s.memidx == memidx and s.end > s.start]


def obstacle(module: Module, memidx: int) -> str | None:
    """Return why an engine copies a memory, empty where nothing stands in the way; None: it is empty."""
    own = active(module, memidx)
    if not own:
        return None
    if found := unmappable(module, memidx):
        return found
    memory = module.memories[memidx]
    size = memory.limits.minimum * memory.page_size
    placed = []
    for segment in own:
        start = segment.constant_offset
        if start is None:
            return f"where data goes in memory {memidx} is only known when it is instantiated"
        placed.append((start, start + segment.end - segment.start))
    if max(end for _, end in placed) > size:
        return f"data is outside memory {memidx}: instantiation traps"
    return "" if is_dense(sorted(placed)) else f"memory {memidx} is too sparse; see `--layout instant`"
