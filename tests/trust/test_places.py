"""Places: ranges of memory in arrays say what ranges one by one do."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wizer.binary.module import parse_module
from wizer.core.state import MemoryState, State
from wizer.engine.text import to_binary
from wizer.trust.audit import Places
from wizer.trust.differences import Difference, differing_ranges, joined

SIZE = 64
MODULE = parse_module(to_binary("(module (memory 1))"))
CONTENTS = st.binary(min_size=SIZE, max_size=SIZE).map(lambda data: bytes(byte & 1 for byte in data))
SPANS = st.tuples(st.integers(0, SIZE - 1), st.integers(1, 12)).map(lambda span: (span[0], sum(span)))


def state(contents: bytes) -> State:
    return State(memories={0: MemoryState(pages=1, view=memoryview(contents))})


def places(first: bytes, *others: bytes) -> Places:
    found = Places()
    for other in others:
        found.add(0, (MODULE, state(first)), (MODULE, state(other)))
    return found


def unequal(first: bytes, *others: bytes) -> set[int]:
    return {at for at in range(SIZE) if any(other[at] != first[at] for other in others)}


def difference(span: tuple[int, int]) -> Difference:
    return Difference("memory", 0, "", "", "", span)


@given(st.lists(st.lists(SPANS, min_size=1), min_size=1), st.integers(0, 5))
def test_ranges_are_joined_over_gaps(lists: list[list[tuple[int, int]]], gap: int) -> None:
    ranges = joined([np.array(spans) for spans in lists], gap).tolist()
    inside = {at for spans in lists for low, high in spans for at in range(low, high)}
    assert all(low < high for low, high in ranges)
    assert all(low - high > gap for (_, high), (low, _) in itertools.pairwise(ranges))
    assert inside <= {at for low, high in ranges for at in range(low, high)}
    assert {low for low, _ in ranges} <= inside
    assert {high - 1 for _, high in ranges} <= inside


@given(CONTENTS, CONTENTS, CONTENTS, SPANS)
def test_places_hold_what_differs_in_any_run(
    first: bytes, second: bytes, third: bytes, span: tuple[int, int]
) -> None:
    found = places(first, second, third)
    inside = unequal(first, second, third)
    assert found.size == len(inside)
    assert ((0, difference(span)) in found) == inside.issuperset(range(*span))
    assert found.covers(places(first, second))
    assert places(first, second).covers(found) == (inside == unequal(first, second))


@given(CONTENTS, CONTENTS, SPANS)
def test_a_word_that_differs_explains_all_its_bytes_before(
    first: bytes, second: bytes, span: tuple[int, int]
) -> None:
    position, end = span
    for low, high in differing_ranges(state(first).memories[0], state(second).memories[0]).tolist():
        if low & -8 <= position < high:
            position = -(-high // 8) * 8
    assert places(first, second).explains(0, difference(span)) == (position >= end)
