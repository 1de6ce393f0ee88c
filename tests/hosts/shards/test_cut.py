"""Nodes divided among shards: each once, sizes nearly even, and no more crossing than blocks of numbers would have."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.hosts.shards_cut import SLACK, cut_of, divide
from p2pfl.mixing import MIXERS
from p2pfl.topology import load_topology
from p2pfl.topology.graphs.graph import Topology, edge


@st.composite
def graphs(draw):
    """(nodes, pairs, workers)"""
    count = draw(st.integers(1, 40))
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).map(sorted).map(tuple)
    pairs = draw(st.sets(pair.filter(lambda p: p[0] < p[1]), max_size=80)) if count > 1 else set()
    return count, sorted(pairs), draw(st.integers(1, count))


@settings(max_examples=80)
@given(graphs())
def test_everybody_is_in_one_shard_and_none_is_empty(graph):
    count, pairs, workers = graph
    members = divide(count, pairs, workers)
    assert len(members) == workers
    assert sorted(number for numbers in members for number in numbers) == list(range(count))
    even = count / workers
    assert all(1 <= len(numbers) <= even * (1 + SLACK) + 1 for numbers in members)
    assert all(list(numbers) == sorted(numbers) for numbers in members)
    assert divide(count, pairs, workers) == members


@pytest.mark.parametrize(
    ("family", "rows"), [("ring", 8), ("complete", 3 * 60), ("line", 6)], ids=["ring", "complete", "line"]
)
def test_blocks_of_numbers_where_nothing_is_better(family, rows):
    topology = load_topology(family, 60)
    members = divided(topology, 4)
    assert members == tuple(tuple(range(15 * k, 15 * k + 15)) for k in range(4))
    assert cut_of(topology, MIXERS["average"](), 10, members).rows_per_round == rows


def test_a_ring_whose_numbers_are_shuffled_is_found():
    names = [f"{n:02}" for n in Random(3).sample(range(60), 60)]
    topology = Topology(tuple(sorted(names)), frozenset(edge(names[n], names[(n + 1) % 60]) for n in range(60)))
    assert cut_of(topology, MIXERS["average"](), 10, divided(topology, 4)).edges <= 8


def test_what_crosses_is_counted_by_the_rule():
    """A ring of 8 in two halves: two edges cross. All rows cross them every round, or each edge meets every other."""
    ring = load_topology("ring", 8)
    members = ((0, 1, 2, 3), (4, 5, 6, 7))
    average = cut_of(ring, MIXERS["average"](), 100, members)
    assert (average.edges, average.all_edges) == (2, 8)
    assert (average.rows_per_round, average.bytes_per_round) == (4.0, 1600.0)
    assert cut_of(ring, MIXERS["gradient_tracking"](), 100, members).bytes_per_round == 3200.0  # two vectors a row
    assert cut_of(ring, MIXERS["pairwise"](), 100, members).rows_per_round == 2.0
    assert cut_of(ring, MIXERS["pairwise"](), 100, (tuple(range(8)),)).rows_per_round == 0.0


def divided(topology: Topology, workers: int):
    number = {name: n for n, name in enumerate(topology.nodes)}
    return divide(len(number), [(number[a], number[b]) for a, b in topology.edge_list()], workers)
