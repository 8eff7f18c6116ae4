"""Typed reads and writes of a linear memory, which is little-endian whatever the host is.

https://webassembly.github.io/spec/core/exec/runtime.html#memory-instances
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from struct import Struct, error
from typing import TYPE_CHECKING, Any, TypeAlias

from wizer.checks import shown
from wizer.errors import OptionError
from wizer.records import record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Elements: TypeAlias = "npt.NDArray[Any]"
ElementType: TypeAlias = "npt.DTypeLike"


@record
class TypedMemory:
    """The bytes of a memory, and what to call it in a message."""

    view: memoryview
    name: str

    def part(self, address: int, count: int, width: int = 1) -> memoryview:
        """Return a writable view of ``count`` elements of ``width`` bytes each.

        Raises:
            OptionError: the memory has no such bytes.
        """
        try:
            start, length = index(address), index(count) * width
        except TypeError:
            raise OptionError(
                f"an address and a size are whole numbers, not {shown(address)} and {shown(count)}"
            ) from None
        if start < 0 or length < 0 or start + length > len(self.view):
            raise OptionError(
                f"{self.name} has {len(self.view)} bytes (up to {len(self.view):#x}): there are none from "
                f"{start:#x} to {start + length:#x}"
            )
        return self.view[start : start + length]

    def read_string(self, address: int, size: int | None, encoding: str) -> str:
        """Return text of ``size`` bytes; None: up to the first byte that is zero."""
        if size is None:
            self.part(address, 0)
            rest, size = self.view[address:], 0
            while True:  # in steps: the rest may be gigabytes
                step = bytes(rest[size : size + 4096])
                if not step:
                    raise OptionError(f"no byte of {self.name} from {address:#x} on is zero: give a size")
                if (found := step.find(0)) >= 0:
                    size += found
                    break
                size += len(step)
        try:
            return bytes(self.part(address, size)).decode(encoding)
        except UnicodeDecodeError as failure:
            raise OptionError(
                f"{self.name} holds no {encoding} text from {address:#x} to {address + size:#x}",
                [str(failure)],
            ) from None
        except LookupError:
            raise OptionError(f"Python knows no encoding {encoding!r}") from None

    def unpack(self, format: str, address: int) -> tuple[Any, ...]:
        """Return the values that stand at an address, as `struct.unpack` does."""
        packing = _packing(format)
        return packing.unpack(self.part(address, packing.size))

    def pack(self, format: str, address: int, values: Sequence[object]) -> None:
        """Write values to an address, as `struct.pack` does."""
        packing = _packing(format)
        part = self.part(address, packing.size)
        try:
            part[:] = packing.pack(*values)
        except (error, TypeError, OverflowError) as failure:
            raise OptionError(f"the values do not fit the format {format!r}", [str(failure)]) from None

    def array(self, dtype: ElementType, address: int, count: int) -> Elements:
        """Return a writable array on ``count`` elements, little-endian unless their type says otherwise."""
        import numpy as np

        try:
            element: np.dtype[Any] = np.dtype(dtype)
        except TypeError:
            raise OptionError(f"{shown(dtype)} is no type of NumPy's") from None
        if element.hasobject or element.itemsize == 0:
            raise OptionError(f"memory holds no elements of type {element}")
        if element.byteorder == "=":
            element = element.newbyteorder("<")
        part = self.part(address, count, element.itemsize)
        return np.frombuffer(part, element)


def _packing(format: str) -> Struct:
    """Return what reads a format; without a byte order it is little-endian, without gaps."""
    if not isinstance(format, str) or format[:1] in ("@", "=", "!", ">"):
        raise OptionError(f"memory is little-endian: a format is like '<IHH', or 'IHH', not {shown(format)}")
    try:
        return Struct(format if format[:1] == "<" else f"<{format}")
    except (error, UnicodeError) as failure:
        raise OptionError(f"{format!r} is no format of the `struct` module", [str(failure)]) from None
