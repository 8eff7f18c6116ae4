"""The restore function: what it does piece by piece, and the functions that it is split into."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from wizer.binary import code
from wizer.binary.appended import AppendedTypes, Function
from wizer.binary.expr import encode_const
from wizer.binary.module import Module
from wizer.binary.types import FuncType
from wizer.core.heap.arrays import copy_segment
from wizer.core.heap.expressions import Expressions, Segments
from wizer.core.heap.graph import Graph
from wizer.core.heap.paths import Paths
from wizer.core.heap.placement import Placement
from wizer.core.state import Array, Ref, State
from wizer.records import record

# Engines take bodies of up to 7,654,321 bytes, and compile several smaller ones in parallel.
_MAX_BODY = 1_000_000


@record
class Single:
    """What the restore function does one by one.

    Args:
        graph: the objects.
        state: the state that they are of.
        placement: where they are made.
        paths: how to get at them.
        expressions: makes the code of the restore function.
    """

    graph: Graph
    state: State
    placement: Placement
    paths: Paths
    expressions: Expressions

    def make_late(self) -> list[bytes]:
        """Return the code that makes the objects that constant expressions cannot make."""
        return [self.paths.keep(node, self.expressions.new(node)) for node in self.placement.late]

    def large_arrays(self, completed: Collection[int] = ()) -> list[int]:
        """Return the large arrays that are filled after they were made, outer ones first."""
        found = [
            node
            for node in self.placement.homes
            if self.graph.is_large(node)
            and isinstance(array := self.graph.heap[node], Array)
            and self.graph.element_type(array).mutable
            and node not in self.placement.external
            and node not in completed
        ]
        return sorted(sorted(found), key=self.placement.depth)

    def copy_elements(self, node: int) -> bytes:
        """Return the code that fills a large array from a segment."""
        array = self.graph.heap[node]
        assert isinstance(array, Array)
        numeric = isinstance(self.graph.element_type(array).storage, str)
        segment = self.expressions.array_segment(node)
        length = self.graph.length(array)
        return self.paths.exact(node) + copy_segment(array.typeidx, segment, length, numeric)

    def set_elements(self, node: int) -> bytes:
        """Return the code that sets the elements of a large array one by one."""
        array = self.graph.heap[node]
        assert isinstance(array, Array)
        return b"".join(self.expressions.set_slot(node, index) for index in range(len(array.elements)))

    def patch(self, elements: Mapping[int, Sequence[tuple[int, Ref]]]) -> list[bytes]:
        """Return the code that sets what constant expressions and data do not.

        ``elements`` are those of tables, by position.
        """
        module, value = self.graph.module, self.expressions.value
        pieces = [self.expressions.set_slots(p.node, p.slot.index) for p in self.placement.single_patches]
        for globalidx, held in sorted(self.state.globals.items()):
            if globalidx in self.placement.patched_globals or module.imported("global", globalidx):
                code_ = value(held, module.globals[globalidx].type.valtype)
                pieces.append(code_ + code.global_set(globalidx))
        for tableidx, later in elements.items():
            tabletype = module.tables[tableidx].type
            index = tabletype.limits.address_type
            for position, ref in later:
                code_ = encode_const(index, position) + value(ref, tabletype.element)
                pieces.append(code_ + code.table_set(tableidx))
        return pieces


def drop_segments(module: Module, segments: Segments, reserved: int = 0) -> list[bytes]:
    """Return the code that drops the appended segments, ``reserved`` of data before the others."""
    first_data = len(module.data) if module.data_count is not None else 0
    pieces = [code.data_drop(first_data + i) for i in range(reserved + len(segments.data))]
    passive = [i for i, segment in enumerate(segments.elements) if segment[0] & 0b11 == _PASSIVE]
    return pieces + [code.elem_drop(len(module.elements) + i) for i in passive]


_PASSIVE = 1  # in the lowest bits of a segment's first byte; an active one is dropped by instantiation


def start_functions(types: AppendedTypes, first: int, pieces: Sequence[bytes]) -> list[Function]:
    """Return the functions that do all pieces, the one to start with last: none where there is nothing to do.

    ``first`` is the index of the first one. What is too long for one body is several functions.
    """
    parts = list(_parts(piece for piece in pieces if piece))
    if not parts:
        return []
    typeidx = types.func(FuncType((), ()))
    functions = [Function(typeidx, (), part) for part in parts]
    if len(functions) > 1:
        calls = b"".join(code.call(first + number) for number in range(len(functions)))
        functions.append(Function(typeidx, (), calls))
    return functions


def _parts(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join pieces of code to parts of about `_MAX_BODY` bytes."""
    part: list[bytes] = []
    size = 0
    for piece in pieces:
        if part and size + len(piece) > _MAX_BODY:
            yield b"".join(part)
            part, size = [], 0
        part.append(piece)
        size += len(piece)
    if part:
        yield b"".join(part)
