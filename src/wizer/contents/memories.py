"""The memories of a module, as records: what is where in them, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from wizer.binary.module import Module
from wizer.contents import statistics
from wizer.contents.image import Image, image_of
from wizer.contents.mapping import active, obstacle
from wizer.contents.records import Block, Memory, Provenance, Region, Symbol
from wizer.contents.regions import regions
from wizer.contents.symbols import Symbols

if TYPE_CHECKING:
    from wizer.contents.image import Ints

_BLOCKS: Final = 10

Parts = Sequence[tuple[int, int, str]]


def memories(module: Module, provenance: Provenance) -> tuple[Memory, ...]:
    """Return the memories."""
    obstacles = [obstacle(module, memidx) for memidx in range(len(module.memories))]
    return tuple(_memory(module, memidx, provenance, obstacles) for memidx in range(len(module.memories)))


def _memory(module: Module, memidx: int, provenance: Provenance, obstacles: Sequence[str | None]) -> Memory:
    memory, limits = module.memories[memidx], module.memories[memidx].limits
    image = image_of(module, memidx)
    parts = regions(module, memidx, provenance)
    symbols = Symbols(module)
    place = place_of(parts, symbols, memidx)
    bucket, density = statistics.density(image)
    counts = [statistics.histogram(image.part(start, end)) for start, end, _ in parts]
    found = [_region(image, *part, counted) for part, counted in zip(parts, counts, strict=True)]
    own = active(module, memidx)
    return Memory(
        index=memidx,
        name=module.names.get(("memory", memidx), ""),
        imported=module.imported("memory", memidx),
        pages=limits.minimum,
        page_size=memory.page_size,
        maximum=limits.maximum,
        is64=limits.is64,
        shared=limits.shared,
        nonzero=sum(region.nonzero for region in found),
        regions=tuple(found),
        bucket=bucket,
        density=density,
        blocks=tuple(Block(start, end, place(start)) for start, end in statistics.blocks(image, _BLOCKS)),
        strings=statistics.strings(image),
        symbols=tuple(Symbol(name, start, end) for start, end, name in symbols.ranges())
        if memidx == 0
        else (),
        segments=len(own),
        stored=sum(segment.end - segment.start for segment in own),
        overhead=sum(segment.start - segment.code_start for segment in own),
        compressed=sum(region.compressed for region in found),
        entropy=statistics.entropy(statistics.total(counts)),
        mapped=None if obstacles[memidx] is None else not any(obstacles),
        obstacle=(obstacles[memidx] or next(filter(None, obstacles), "")) if own else "",
    )


def _region(image: Image, start: int, end: int, name: str, counts: Ints) -> Region:
    data = image.part(start, end)
    return Region(
        name,
        start,
        end,
        nonzero=len(data) - int(counts[0]),
        stored=len(data),
        compressed=statistics.compressed_size(data.data),
        entropy=statistics.entropy(counts),
    )


def place_of(parts: Parts, symbols: Symbols, memidx: int) -> Callable[[int], str]:
    """Return what says what is at an address: a symbol or a region, and the distance from its beginning."""

    def place(address: int) -> str:
        if memidx == 0 and (found := symbols.symbol(address)):
            return found
        start, name = next(((s, n) for s, e, n in reversed(parts) if s <= address), (0, ""))
        return f"{name}+{address - start:#x}"

    return place
