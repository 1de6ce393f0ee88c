"""Edge colourings: proper, complete, and with no more colours than the theorems promise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.topology import FAMILIES
from p2pfl.topology.graphs.colouring import Pair, colour_edges, is_bipartite


@st.composite
def graphs(draw: st.DrawFn, n_max: int = 14) -> tuple[int, list[Pair]]:
    n = draw(st.integers(1, n_max))
    possible = [(u, v) for u in range(n) for v in range(u + 1, n)]
    kept = draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []
    return n, kept


def largest_degree(n: int, pairs: list[Pair]) -> int:
    return max(sum(v in pair for pair in pairs) for v in range(n))


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_matchings_split_the_edges(graph: tuple[int, list[Pair]]) -> None:
    n, pairs = graph
    matchings = colour_edges(n, pairs)
    assert sorted(pair for m in matchings for pair in m) == sorted(pairs)
    for matching in matchings:
        ends = [end for pair in matching for end in pair]
        assert len(set(ends)) == len(ends)
    degree = largest_degree(n, pairs)
    assert len(matchings) <= (degree if is_bipartite(n, pairs) else degree + 1)
    assert colour_edges(n, list(reversed(pairs))) == matchings


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_bipartite_means_no_odd_cycle(graph: tuple[int, list[Pair]]) -> None:
    import networkx as nx

    n, pairs = graph
    other = nx.Graph(pairs)
    other.add_nodes_from(range(n))
    assert is_bipartite(n, pairs) == nx.is_bipartite(other)


@pytest.mark.parametrize(
    ("family", "n", "colours"),
    [
        ("ring", 16, 2),
        ("ring", 15, 3),
        ("line", 9, 2),
        ("star", 9, 8),
        ("torus", 16, 4),
        ("torus", 64, 4),
        ("hypercube", 32, 5),
        ("one-peer-exponential", 32, 5),
        ("complete", 8, 7),
        ("complete", 9, 9),
        ("complete", 4, 3),
        ("complete", 3, 3),
        ("complete", 2, 1),
    ],
)
def test_known_graphs_get_the_fewest_colours(family: str, n: int, colours: int) -> None:
    assert len(FAMILIES[family](n).colouring()) == colours


@pytest.mark.parametrize("n", range(1, 12))
def test_everybody_meets_everybody_once(n: int) -> None:
    pairs = [(u, v) for u in range(n) for v in range(u + 1, n)]
    steps = colour_edges(n, pairs)
    assert sorted(pair for step in steps for pair in step) == pairs
    assert all(len({end for pair in step for end in pair}) == 2 * (n // 2) for step in steps)


def test_dense_and_large_graphs_stay_within_vizing() -> None:
    for topology in (
        FAMILIES["random-regular"](200, k=7),
        FAMILIES["complete"](31),
        FAMILIES["erdos-renyi"](80, p=0.4),
    ):
        degree = max(topology.degree(name) for name in topology.nodes)
        assert degree <= len(topology.colouring()) <= degree + 1
