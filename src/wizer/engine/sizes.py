"""Bounding the sizes of memories and tables: of each, and of all together.

The engine has one bound for every memory of a store, and one for every table. Ten memories of a gigabyte are
ten gigabytes, though; so each gets what keeps the sum within what one may have, and the more, the less others
can use::

    bound 10 GiB    memory 0: 1 to 2 GiB    memory 1: 0 GiB and more     each may have 8 GiB, together 10

Importing this module does not import the engine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from wizer.engine.limits import Limits
from wizer.errors import LimitError
from wizer.records import replace

if TYPE_CHECKING:
    from wizer.binary.module import Module

_Range: TypeAlias = "tuple[int, int | None]"  # the least and the most that one may have


def check_sizes(module: Module, limits: Limits) -> None:
    """Check what a module says of its memories and tables, before anything is compiled.

    The engine does so too, but neither names the item nor bounds the growth of shared memories: these are
    held to their declared maximum.

    Raises:
        LimitError: a memory or table is larger than the limits allow, or a shared memory may become so.
    """
    if (bound := limits.max_memory) is not None:
        for index, memory in enumerate(module.memories):
            size = memory.limits.minimum * memory.page_size
            if size > bound:
                raise LimitError(
                    f"{module.describe('memory', index)} of {size} bytes exceeds the limit of {bound} bytes"
                )
            most = (memory.limits.maximum or 0) * memory.page_size
            if memory.limits.shared and most > bound:
                raise LimitError(
                    f"{module.describe('memory', index)} is shared and may grow to {most} bytes, "
                    f"over the limit of {bound} bytes"
                )
    if (bound := limits.max_table_elements) is not None:
        for index, table in enumerate(module.tables):
            if table.type.limits.minimum > bound:
                raise LimitError(
                    f"{module.describe('table', index)} of {table.type.limits.minimum} elements exceeds "
                    f"the limit of {bound} elements"
                )


def shared_out(modules: Sequence[Module], limits: Limits, supplied: Collection[str] = ()) -> Limits:
    """Return limits for each memory and table that keep all of ``modules`` within ``limits`` together.

    Args:
        modules: those that are instantiated, the one that is initialised first; what it imports is its own.
        limits: the bounds for all together.
        supplied: what the first one imports from modules of these names is not its own.

    Raises:
        LimitError: what the modules begin with is more than that.
    """
    if limits.max_memory is not None:
        ranges = [found for n, m in enumerate(modules) for found in _ranges(m, "memory", n == 0, supplied)]
        limits = replace(limits, max_memory=_share(limits.max_memory, ranges, "memories", "bytes"))
    if limits.max_table_elements is not None:
        ranges = [found for n, m in enumerate(modules) for found in _ranges(m, "table", n == 0, supplied)]
        share = _share(limits.max_table_elements, ranges, "tables", "elements")
        limits = replace(limits, max_table_elements=share)
    return limits


def _ranges(
    module: Module, kind: Literal["memory", "table"], first: bool, supplied: Collection[str]
) -> Iterator[_Range]:
    """Yield what each memory or table of a module may have, in bytes or elements."""
    imports = [imported.module for imported in module.imports if imported.kind == kind]
    if kind == "memory":
        types = [(memory.limits, memory.page_size) for memory in module.memories]
    else:
        types = [(table.type.limits, 1) for table in module.tables]
    for index, (limits, unit) in enumerate(types):
        if index >= len(imports) or (first and imports[index] not in supplied):
            most = None if limits.maximum is None else limits.maximum * unit
            # The engine lets a shared memory grow to what it declares.
            yield (most if limits.shared and most is not None else limits.minimum * unit), most


def _share(bound: int, ranges: Sequence[_Range], what: str, unit: str) -> int:
    """Return the most that each may have so that all of them have no more than ``bound``."""

    def together(share: int) -> int:
        return sum(max(low, share if high is None else min(high, share)) for low, high in ranges)

    if together(0) > bound:
        raise LimitError(
            f"the {len(ranges)} {what} have {together(0)} {unit} together, over the limit of {bound} {unit}"
        )
    low, high = 0, bound
    while low < high:
        share = (low + high + 1) // 2
        low, high = (share, high) if together(share) <= bound else (low, share - 1)
    return low
