"""The operations on columns that loops need, for columns that are lists, or arrays of numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from wizer.core.columns import Heap

if TYPE_CHECKING:
    from wizer.core.heap.vectors import Lists
    from wizer.core.heap.vectors_many import Arrays

Vectors: TypeAlias = "type[Lists] | type[Arrays]"


def operations_on(heap: Heap) -> Vectors:
    """Return the operations on the columns of a heap."""
    if heap.many:
        from wizer.core.heap.vectors_many import Arrays

        return Arrays
    from wizer.core.heap.vectors import Lists

    return Lists
