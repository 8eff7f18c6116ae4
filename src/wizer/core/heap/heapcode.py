"""What references of a state are in a module: the one result of `wizer.core.heap.encode`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wizer.binary.appended import Function
from wizer.records import field, record


@record
class HeapCode:
    """All that the references and objects of a state add to a module, and where.

    Expressions are without ``end``.

    Attributes:
        initialisers: the expressions of globals of the original module; those that are not here keep theirs.
        elements: by table and position, the expressions of elements that are neither null nor functions.
        restored_tables: the tables whose elements the restore function writes, but for those that are null.
        items: the expressions of passive element segments, by their index.
        types: the types to append to those of the original module.
        globals: the globals to append: of shared objects, and those that serve the restore function only.
        tables: the tables to append; they serve the restore function only.
        functions: the functions to append; the last one is the restore function, to be the start function.
        passive_elements, passive_data: the segments to append, for the restore function only.
        declared: the functions that expressions refer to, which declares them for ``ref.func``.
        undeclared: the functions that the restore function refers to, which must be declared somewhere.
    """

    initialisers: Mapping[int, bytes]
    elements: Mapping[int, Mapping[int, bytes]] = field(default_factory=dict)
    restored_tables: frozenset[int] = frozenset()
    items: Mapping[int, Sequence[bytes]] = field(default_factory=dict)
    types: Sequence[bytes] = ()
    globals: Sequence[bytes] = ()
    tables: Sequence[bytes] = ()
    functions: Sequence[Function] = ()
    passive_elements: Sequence[bytes] = ()
    passive_data: Sequence[bytes] = ()
    declared: frozenset[int] = frozenset()
    undeclared: frozenset[int] = frozenset()
