"""Random object graphs survive: sharing, cycles, every type of field, from every kind of root.

`WIZER_RANDOM_GRAPHS` is how many are tried.
"""

from __future__ import annotations

import os

import pytest

from core.heap.graphs import Graph, random_graph
from core.heap.isomorphism import Roots, difference, run_and_capture
from support.engine import binary
from wizer.core.rewrite import rewrite
from wizer.options import MAX_DATA_SEGMENTS

GRAPHS = int(os.environ.get("WIZER_RANDOM_GRAPHS", "240"))
CHUNK = 8


@pytest.mark.parametrize("first", range(0, GRAPHS, CHUNK))
def test_a_random_graph_survives(first: int) -> None:
    for seed in range(first, first + CHUNK):
        check(random_graph(seed))


@pytest.mark.parametrize("seed", [1332, 2667])
def test_a_checksum_of_another_length_is_no_growth(seed: int) -> None:
    check(random_graph(seed))  # the checksums of the two snapshots' code are small and large


def check(graph: Graph) -> None:
    """Build the graph, freeze it, walk the snapshot's and compare, and freeze that."""
    live = run_and_capture(binary(graph.wat), "init")
    built = Roots(graph.globals, graph.tables, graph.elements, graph.heap)
    assert difference(built, live.roots) is None, graph.wat
    snapshot = b"".join(rewrite(live.module, live.state, live.module.exports, MAX_DATA_SEGMENTS))
    thawed = run_and_capture(snapshot, None)
    assert difference(live.roots, thawed.roots) is None, graph.wat
    again = b"".join(rewrite(thawed.module, thawed.state, thawed.module.exports, MAX_DATA_SEGMENTS))
    assert len(again) == len(snapshot), graph.wat
