"""What stands where in a linear memory, as far as a module says: data symbols, segments, stack and heap.

The format knows no variables. Toolchains leave their addresses in exported globals, in the name section
(names of data segments), in the ``linking`` section where relocations were kept, and by the conventions of
``wasm-ld`` in the initial value of ``__stack_pointer`` and in ``__heap_base`` and ``__data_end``.

https://webassembly.github.io/spec/core/appendix/custom.html#name-section
https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from wizer.binary.module import Module
from wizer.binary.names import name_map, subsections
from wizer.binary.reader import Reader
from wizer.binary.values import Number
from wizer.core.state import State
from wizer.errors import ParseError

TYPE_NAMES, DATA_NAMES = 4, 9  # subsections of the name section
_SYMBOL_TABLE = 8  # subsection of the linking section
_DATA_SYMBOL = 1
_UNDEFINED, _ABSOLUTE, _EXPLICIT_NAME = 0x10, 0x200, 0x40
_BOUNDS = ("__heap_base", "__heap_end", "__data_end", "__stack_low", "__stack_high", "__memory_base")


class Symbols:
    """Names for the addresses of a module's memories."""

    def __init__(self, module: Module) -> None:
        self._segments = sorted(_segments(module))
        known = dict(constants(module))
        named = [
            (value, name)
            for (name, mutable), value in known.items()
            if not mutable and name not in _BOUNDS and not name.startswith("GOT.")
        ]
        self._symbols = sorted([*_linked(module, self._segments), *((v, v, name) for v, name in named)])
        bounds = {name: value for (name, _), value in known.items()}
        self._stack_top = bounds.get("__stack_high", bounds.get("__stack_pointer"))
        self._stack_pointer = stack_pointer(module)
        self._stack_low = self._lowest(module, bounds)
        ends = [end for memidx, _, end, _ in self._segments if memidx == 0]
        self._heap = bounds.get("__heap_base") or max(
            [self._stack_top or 0, bounds.get("__data_end", 0), *ends]
        )

    def _lowest(self, module: Module, bounds: Mapping[str, int]) -> int | None:
        """Return where the stack ends below, None where that is not certain."""
        if "__stack_low" in bounds:
            return bounds["__stack_low"]
        pointer = None if self._stack_pointer is None else module.globals[self._stack_pointer].init
        top = None if pointer is None or pointer.value is None else pointer.value[1]
        if top is None:
            return None
        starts = [start for memidx, start, end, _ in self._segments if memidx == 0 and end > start]
        return 0 if all(start >= top for start in starts) and starts else None

    def name(self, memidx: int, address: int) -> str:
        """Return what is at an address: ``table+0x10``, ``stack``, ``heap``; else nothing."""
        if memidx == 0 and (found := self.symbol(address)):
            return found
        for segment_memidx, start, end, name in self._segments:
            if segment_memidx == memidx and start <= address < end:
                return _offset(name, address - start)
        if memidx or self._stack_top is None:
            return ""
        if address >= self._heap:
            return "heap"
        if address < self._stack_top and not any(
            address < end <= self._stack_top for _, _, end, _ in self._segments
        ):
            return "stack"
        return "uninitialised data"

    def is_dead(self, state: State, memidx: int, end: int) -> bool:
        """Whether what stands before ``end`` is in the stack, below its pointer: no call can read it.

        That is only said where it is certain: where nothing but the stack can be there.
        """
        pointer = state.globals.get(self._stack_pointer) if self._stack_pointer is not None else None
        if memidx or not isinstance(pointer, Number) or self._stack_low is None:
            return False
        return self._stack_low < end <= pointer.bits

    def ranges(self) -> list[tuple[int, int, str]]:
        """Return start, end and name of what has a name in memory 0, ascending."""
        return self._symbols

    def symbol(self, address: int) -> str:
        """Return the name of the variable at an address of memory 0, and how far into it; else nothing."""
        at = bisect_right(self._symbols, (address, 1 << 64, "")) - 1
        if at < 0:
            return ""
        start, end, name = self._symbols[at]
        return _offset(name, address - start) if address < end or address == start else ""


def stack_pointer(module: Module) -> int | None:
    """Return the global that points at the stack, by name or as ``wasm-ld`` writes it: the first of all."""
    named = next(
        (
            i
            for (kind, i), n in module.names.items()
            if (kind, n) == ("global", "__stack_pointer") and i < len(module.globals)
        ),
        None,
    )
    if named is not None:
        return named
    first = module.globals[0] if module.globals else None
    if first is None or not first.type.mutable or first.type.valtype != "i32" or first.init is None:
        return None
    others = sum(global_.type.mutable for global_ in module.globals)
    value = first.init.value
    aligned = value is not None and value[0] == "i32" and bool(value[1]) and not (value[1] or 1) % 16
    return 0 if aligned and others == 1 else None


def _offset(name: str, offset: int) -> str:
    return f"{name}+{offset:#x}" if offset else name


def _segments(module: Module) -> Iterator[tuple[int, int, int, str]]:
    """Yield memory, start, end and name of the active data segments whose place is a constant."""
    names = dict(names_of(module, DATA_NAMES))
    for dataidx, segment in enumerate(module.data):
        start = segment.constant_offset
        if start is not None:
            end = start + segment.end - segment.start
            yield segment.memidx, start, end, names.get(dataidx, f"data segment {dataidx}")


def constants(module: Module) -> Iterator[tuple[tuple[str, bool], int]]:
    """Yield name, mutability and value of the globals that begin as an integer constant."""
    named = [(index, name) for (kind, index), name in module.names.items() if kind == "global"]
    named += [(export.index, export.name) for export in module.exports if export.kind == "global"]
    for index, name in named:
        global_ = module.globals[index] if index < len(module.globals) else None
        if global_ is not None and global_.init is not None and global_.init.integer is not None:
            yield (name, global_.type.mutable), global_.init.integer


def names_of(module: Module, wanted: int) -> Iterator[tuple[int, str]]:
    """Yield indices and names of a subsection; a malformed section yields what stands before the fault."""
    reader = next(module.custom_sections("name"), None)
    try:
        for subsection, contents in subsections(reader) if reader else ():
            if subsection == wanted:
                yield from name_map(contents)
    except ParseError:
        return


def _linked(module: Module, segments: list[tuple[int, int, int, str]]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and name of the data symbols of a linking section whose segments stay in place."""
    reader = next(module.custom_sections("linking"), None)
    starts = [segment.constant_offset for segment in module.data]
    try:
        if reader is None or not segments or reader.u32() != 2:
            return
        for subsection, contents in subsections(reader):
            if subsection == _SYMBOL_TABLE:
                for _ in range(contents.count()):
                    yield from _data_symbol(contents, starts)
    except ParseError:
        return


def _data_symbol(reader: Reader, starts: list[int | None]) -> Iterator[tuple[int, int, str]]:
    kind, flags = reader.byte(), reader.u32()
    if kind == _DATA_SYMBOL:
        name = reader.name()
        if not flags & _UNDEFINED:
            segment, offset, size = reader.u32(), reader.u32(), reader.u32()
            start = starts[segment] if not flags & _ABSOLUTE and segment < len(starts) else None
            if start is not None:
                yield start + offset, start + offset + size, name
    elif kind == 3:  # a section symbol
        reader.u32()
    else:
        reader.u32()
        if not flags & _UNDEFINED or flags & _EXPLICIT_NAME:
            reader.name()
