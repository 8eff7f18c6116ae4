"""Looking for what of a memory is not zero, in WebAssembly: some GB/s, and nothing to import.

The module (``scanner.wat``) has a memory of its own, into which the parts of another one are copied that may
hold something, a window at a time. So it is the same for memories of all kinds, and needs nothing of whose
they are.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import wasmtime

from wizer.engine import capi, capi_config
from wizer.engine.addresses import address
from wizer.engine.stack import with_compiler_stack

# Where things are in the module's memory, in bytes.
_HEADERS: Final = 0
_PARTS: Final = 0x100
_WINDOW: Final = 0x10000
_RANGES: Final = 0x60000

_PART: Final = 16
_MOST_RANGES: Final = 1 << 24
_MOST_PARTS: Final = (0x4000 - _PARTS) // _PART
_WINDOW_SIZE: Final = 0x50000 - _WINDOW
_I32: Final = (1 << 32) - 1
_I64: Final = (1 << 64) - 1


@cache
def compiled() -> tuple[wasmtime.Engine, wasmtime.Module]:
    """Return the module, compiled once for the process, and its engine, which nothing can interrupt."""
    config = wasmtime.Config()
    config.parallel_compilation = False  # 6 ms in all, which as many threads take as well
    capi_config.set_option(config, "memory_may_move", False)
    engine, text = wasmtime.Engine(config), Path(__file__).with_name("scanner.wat").read_text("utf-8")
    return engine, with_compiler_stack(lambda: capi_config.new_module(engine, bytes(wasmtime.wat2wasm(text))))


def scanner() -> Scanner | None:
    """Return a scanner; None: there is no address space for its memory."""
    try:
        return Scanner()
    except wasmtime.WasmtimeError:
        return None


class Scanner:
    """One scan after another.

    Raises:
        wasmtime.WasmtimeError: there is no address space for its memory.
    """

    def __init__(self) -> None:
        engine, module = compiled()
        self._store = wasmtime.Store(engine)
        self._instance = capi.instantiate(self._store, module, ())
        memory = capi.export_of(self._store, self._instance, "memory")
        assert isinstance(memory, wasmtime.Memory)
        self._base = ctypes.addressof(memory.data_ptr(self._store).contents)
        self._functions = {
            name: self._function(name, slots)
            for name, slots in (
                ("clear", 1),
                ("scan", 1),
                ("finish", 1),
                ("worth", 1),
                ("limit", 1),
                ("join", 0),
                ("fill", 2),
            )
        }

    def scan(
        self,
        view: memoryview,
        parts: Iterable[tuple[int, int, int]],
        headers: tuple[Sequence[int], Sequence[int]],
        most: int,
    ) -> int | None:
        """Look through parts of a memory; return how many ranges hold something, None for too many.

        Args:
            view: the memory's bytes.
            parts: start and end in bytes, ascending and apart, and how long a gap in front of what is in the
                part is at the most if it is to be none.
            headers: the offsets from which on headers of segments have another size, and the sizes.
            most: so many ranges are not too many.
        """
        self._call("clear", min(most, _MOST_RANGES))
        self._put_headers(*headers)
        base = address(view)
        table = array("Q")
        filled = 0
        for low, end, header in parts:
            start = low
            while start < end:
                size = min(end - start, _WINDOW_SIZE - filled)
                ctypes.memmove(self._base + _WINDOW + filled, base + start, size)
                table.extend((start, header << 32 | size))
                start, filled = start + size, filled + size
                if filled == _WINDOW_SIZE or len(table) == 2 * _MOST_PARTS:
                    if not self._look(table):
                        return None
                    table, filled = array("Q"), 0
        if not self._look(table):
            return None
        count = self._call("finish") & _I32
        return None if count == _I32 else count

    def worth(self) -> int:
        """Return what splits at all gaps save together, in bytes, before length fields count."""
        return self._call("worth")

    def limit(self, most: int) -> bool:
        """Join ranges across the gaps that gain least, the last of equal ones first, until ``most`` are left.

        Return whether that was done: gaps that gain very much are not told apart. There have to be more.
        """
        return bool(self._call("limit", most) & _I32)

    def join(self) -> None:
        """Join ranges, from the first to the last, where a split gains nothing."""
        self._call("join")

    def fill(self, price: int, grown: int) -> None:
        """Fill the gaps that gain least, the last of equal ones first.

        Args:
            price: the most bytes that a gap may gain which is filled.
            grown: the most bytes that the gaps may save together, beside what all save.
        """
        self._call("fill", price, grown)

    def ranges(self) -> list[tuple[int, int]]:
        """Return the ranges, start and end in bytes."""
        count = self._call("finish") & _I32
        found = array("Q", ctypes.string_at(self._base + _RANGES, 16 * count))
        return list(zip(found[::2], found[1::2], strict=True))

    def _put_headers(self, offsets: Sequence[int], sizes: Sequence[int]) -> None:
        table = array("Q")
        for offset, size in zip((*offsets, _I64), (*sizes, 0), strict=True):
            table.extend((offset, size))
        ctypes.memmove(self._base + _HEADERS, table.tobytes(), len(table) * table.itemsize)

    def _look(self, table: array[int]) -> bool:
        """Look through the parts that are in the window; return whether there was room for what was found."""
        ctypes.memmove(self._base + _PARTS, table.tobytes(), len(table) * table.itemsize)
        return bool(self._call("scan", len(table) // 2) & _I32)

    def _call(self, name: str, *args: int) -> int:
        """Call a function; return its result, or what its place held."""
        function = self._functions[name]
        for place, arg in enumerate(args):
            function.buffer[2 * place] = arg & _I64
        function()
        return function.buffer[0]

    def _function(self, name: str, slots: int) -> capi.RawFunction:
        function = capi.export_of(self._store, self._instance, name)
        assert isinstance(function, wasmtime.Func)
        return capi.RawFunction(self._store, function, slots)
