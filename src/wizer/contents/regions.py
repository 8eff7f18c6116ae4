"""The parts of a linear memory: static data, bss, stack, heap, as far as a module says where they are.

Linkers lay memory out in one of two orders::

    unused | static data | bss | stack | heap         wasm-ld, Emscripten
    stack | static data | bss | heap                  wasm-ld --stack-first: Rust, Zig, TinyGo

Where one part ends is known from globals that are exported or named (``__data_end``, ``__heap_base``,
``__stack_low``, ``__stack_high``; Emscripten's ``__stack_end`` and ``__stack_base``; AssemblyScript's, which
begin with ``~lib/memory/``), from the initial value of ``__stack_pointer``, and from where data segments are.
Those of a snapshot are all over memory; where its original had some, it says itself (see
`wizer.contents.provenance`). Parts whose boundary is not known are one region: ``"bss, stack"``.

https://github.com/WebAssembly/tool-conventions/blob/main/DynamicLinking.md
"""

from __future__ import annotations

from collections.abc import Sequence

from wizer.binary.module import Module
from wizer.contents.records import Provenance
from wizer.contents.symbols import constants, stack_pointer
from wizer.core.producers import placed_data
from wizer.records import record

_PAGE = 1 << 16
_OUTSIDE = "outside"
_DIGITS = 20  # of an address
_ALIGNED = 16  # bytes: where a stack begins
_LINKING = frozenset(("clang", "rustc", "zig", "TinyGo"))


@record
class Facts:
    """Addresses in memory 0; None where they are not known.

    Attributes:
        data_start, data_end: the contents of static data, bss not among it.
        bss_end: where zero-initialised data ends.
        stack_low, stack_high: the stack.
        heap_start: where the allocator begins.
        grown: where memory that the original did not have begins.
        stack_first: whether the stack is below the data.
    """

    data_start: int | None
    data_end: int | None
    bss_end: int | None
    stack_low: int | None
    stack_high: int | None
    heap_start: int | None
    grown: int | None
    stack_first: bool


def regions(module: Module, memidx: int, provenance: Provenance) -> list[tuple[int, int, str]]:
    """Return start, end and name of the regions of a memory: all of it, and what of segments is outside."""
    memory = module.memories[memidx]
    size = memory.limits.minimum * memory.page_size
    parts = _parts(facts(module, provenance), size) if memidx == 0 else [(0, "contents")]
    ends = [min(start, size) for start, _ in parts[1:]] + [size]
    found = [(start, end, name) for (start, name), end in zip(parts, ends, strict=True) if start < end]
    last = max((end for mem, _, end in placed_data(module) if mem == memidx), default=0)
    return [*found, (size, last, _OUTSIDE)] if last > size else found


def facts(module: Module, provenance: Provenance) -> Facts:
    """Return what a module says of its memory 0."""
    named = {name.removeprefix("~lib/memory/"): value for (name, _), value in constants(module)}

    def first(*names: str) -> int | None:
        return next((named[name] for name in names if named.get(name)), None)

    high = first("__stack_high", "__stack_base", "__stack_pointer") or _pointer(module, provenance)
    heap, bss_end = first("__heap_base"), first("__data_end")
    if provenance.snapshot:
        start, end = _pair(provenance.options.get("data", ""))
    else:
        start, end = _data(module, high, heap)
    pages = _number(provenance.options.get("pages", "")) if provenance.snapshot else None
    return Facts(
        data_start=start,
        data_end=end,
        bss_end=bss_end,
        stack_low=first("__stack_low", "__stack_end"),
        stack_high=high,
        heap_start=heap,
        grown=None if pages is None else pages * _PAGE,
        stack_first=high is not None and _is_stack_first(high, start, bss_end, heap),
    )


def _pair(text: str) -> tuple[int | None, int | None]:
    low, _, high = text.partition("..")
    return _number(low), _number(high)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= _DIGITS else None


def _data(module: Module, high: int | None, heap: int | None) -> tuple[int | None, int | None]:
    """Return where static data begins and ends; None where segments are in the stack or heap: a snapshot."""
    own = [(start, end) for memidx, start, end in placed_data(module) if memidx == 0]
    if not own:
        return None, None
    start, end = min(own)[0], max(end for _, end in own)
    if heap is not None and end > heap:
        return None, None
    return (None, None) if high is not None and start < high < end else (start, end)


def _pointer(module: Module, provenance: Provenance) -> int | None:
    """Return where the stack begins, from the global that points at it; None where it begins nowhere yet.

    What ``wasm-ld`` links has that global first, also where names were stripped and there are others, which
    begin as zero.
    """
    globalidx = stack_pointer(module)
    if globalidx is None and _is_linked(module, provenance):
        own = [index for index, global_ in enumerate(module.globals) if global_.init is not None]
        begins = [index for index in own if module.globals[index].type.mutable and _initial(module, index)]
        globalidx = own[0] if own and begins == own[:1] and _initial(module, own[0]) % _ALIGNED == 0 else None
    return None if globalidx is None else _initial(module, globalidx) or None


def _initial(module: Module, globalidx: int) -> int:
    """Return what a global begins as; 0 where that is no integer constant."""
    init = module.globals[globalidx].init
    return 0 if init is None else init.integer or 0


def _is_linked(module: Module, provenance: Provenance) -> bool:
    """Whether a module is made by a compiler that links with ``wasm-ld``."""
    tools = provenance.producers.get("processed-by", {})
    return not _LINKING.isdisjoint(tools) or any(i.module.startswith("wasi_") for i in module.imports)


def _is_stack_first(high: int, data: int | None, bss_end: int | None, heap: int | None) -> bool:
    """Whether the stack is below the data; where nothing says so, its size alone is a round number."""
    if data is not None:
        return data >= high
    if bss_end is not None:
        return bss_end > high
    return high % _PAGE == 0 and (heap is None or heap > high)


def _parts(known: Facts, size: int) -> list[tuple[int, str]]:
    """Return where each region begins, ascending, the first at 0."""
    if known.stack_high is None and known.heap_start is None and known.bss_end is None:
        return [(0, "contents")]
    if known.stack_first:
        names = ["unused", "stack", "unused", "static data", "bss", "heap", "heap"]
        heap = known.heap_start or known.bss_end
        bounds = [
            known.stack_low or 0,
            known.stack_high,
            known.data_start or known.stack_high,
            known.data_end,
            heap,
            known.grown or size if heap is None else size,
        ]
    else:
        names = ["unused", "static data", "bss", "stack", "heap"]
        bounds = [
            known.data_start,
            known.data_end,
            known.bss_end or known.stack_low,
            known.heap_start or known.stack_high,
        ]
    return _joined(names, bounds)


def _joined(names: Sequence[str], bounds: Sequence[int | None]) -> list[tuple[int, str]]:
    """Join names between which no boundary is known, and leave out what is empty."""
    parts = [(0, names[0])]
    for name, bound in zip(names[1:], bounds, strict=True):
        start, before = parts[-1]
        if bound is None:
            both = dict.fromkeys(part for part in (before, name) if part != "unused")
            parts[-1] = start, ", ".join(both)
        elif bound > start:
            parts.append((bound, name))
        else:
            parts[-1] = start, name
    return parts
