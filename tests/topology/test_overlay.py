"""Overlays: trees and tours keep their guarantees, searches only improve, times to a target are those of W."""

from itertools import pairwise, permutations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.noise import root
from p2pfl.topology import FAMILIES
from p2pfl.topology.overlays.classics import (
    find_one_way_ring,
    find_server,
    find_tour,
    make_path,
    make_ring,
    make_tree,
    over,
    pair_delays_ms,
)
from p2pfl.topology.overlays.cycle import Workload, both_ways, cycle_time_ms
from p2pfl.topology.overlays.overlay import busiest, judge, one_way_rounds, rounds_to_target
from p2pfl.topology.overlays.placed import Ground, find_shapes, lay, place, quiet_rounds
from p2pfl.topology.overlays.regular import tune_regular
from p2pfl.topology.overlays.underlay import load_underlay

WORK = Workload(model_bytes=5e6, compute_ms=25)
UNDER = load_underlay(Path(__file__).resolve().parent.parent.parent / "topology" / "hospitals.toml")
KEY = root(0)


def metric(n: int, seed: int) -> np.ndarray:
    """Distances of n random spots in the plane, in milliseconds."""
    spots = np.random.default_rng(seed).random((n, 2)) * 50
    return np.linalg.norm(spots[:, None] - spots[None, :], axis=2)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 7), st.integers(0, 2**32 - 1))
def test_a_tour_is_at_most_half_longer_than_the_shortest(n: int, seed: int) -> None:
    """Christofides 1976."""
    delays = metric(n, seed)

    def length(order: tuple[int, ...]) -> float:
        return sum(delays[a, b] for a, b in zip(order, (*order[1:], order[0]), strict=True))

    tour = find_tour(delays)
    assert sorted(tour) == list(range(n))
    assert length(tuple(tour)) <= 1.5 * min(length((0, *rest)) for rest in permutations(range(1, n))) + 1e-9


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 20), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_trees_span_within_their_degree(n: int, degree_max: int, seed: int) -> None:
    delays = metric(n, seed)
    tree = nx.Graph(make_tree(delays, degree_max))
    assert len(tree) == n
    assert nx.is_tree(tree)
    assert max(d for _, d in tree.degree) <= degree_max


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_without_a_bound_the_tree_is_the_least(n: int, seed: int) -> None:
    delays = metric(n, seed)
    complete = nx.Graph((i, j, {"weight": delays[i, j]}) for i in range(n) for j in range(i))
    expected = nx.minimum_spanning_tree(complete).size(weight="weight")
    assert sum(delays[u, v] for u, v in make_tree(delays, n)) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_a_path_through_a_tree_steps_over_two_nodes_at_most(n: int, seed: int) -> None:
    """Karaganis 1968: the cube of a tree has a Hamiltonian path."""
    tree = nx.random_labeled_tree(n, seed=seed % 2**31)
    path = make_path(list(tree.edges), n)
    assert len(path) == n - 1
    assert len({end for step in path for end in step}) == n
    assert all(b == c for (_, b), (c, _) in pairwise(path))
    steps = dict(nx.all_pairs_shortest_path_length(tree))
    assert max(steps[u][v] for u, v in path) <= 3


def test_a_server_is_there_and_back_and_shares_its_line() -> None:
    star = find_server(UNDER, WORK)
    assert (star.topology, star.rounds, star.degree) == (None, 1, 11)
    assert star.round_ms == star.target_ms > WORK.compute_ms + 2 * 11 * (5e6 * 8 / 1e3 / 10_000)


def test_a_ring_one_way_is_faster_than_both_ways_and_agrees_as_its_eigenvalues_say() -> None:
    tour = find_tour(pair_delays_ms(UNDER, WORK))
    one_way = find_one_way_ring(UNDER, WORK, tour, 1e-3)
    both = judge("ring", over(UNDER, make_ring(tour)), UNDER, WORK, 1e-3)
    assert one_way.round_ms < both.round_ms
    n = 12
    w = (np.eye(n) + np.roll(np.eye(n), 1, axis=0)) / 2
    left = np.linalg.matrix_power(w, one_way_rounds(n, 1e-3)) - 1 / n
    assert np.linalg.norm(left, 2) <= 1e-3
    before = np.linalg.matrix_power(w, one_way_rounds(n, 1e-3) - 1) - 1 / n
    assert np.linalg.norm(before, 2) > 1e-3


@pytest.mark.parametrize("family", ["ring", "torus", "one-peer-exponential", "base", "random-matchings"])
def test_the_rounds_to_a_target_are_the_first_that_reach_it(family: str) -> None:
    topology = FAMILIES[family](16)
    rounds = rounds_to_target(topology, 1e-2)
    assert rounds is not None
    frames = [topology.at(t).matrix().toarray() for t in range(len(topology.phases))] or [topology.matrix().toarray()]
    left = np.eye(16) - 1 / 16
    norms = []
    for t in range(rounds):
        left = frames[t % len(frames)] @ left
        norms.append(np.linalg.norm(left, 2))
    assert norms[-1] <= 1e-2
    assert rounds == 1 or norms[-2] > 1e-2


def test_judging_counts_exchanges_in_one_round() -> None:
    changing = FAMILIES["one-peer-exponential"](16)
    assert busiest(changing) == 1
    assert changing.degree(changing.nodes[0]) == 4
    assert busiest(FAMILIES["ring"](16)) == 2


def test_tuning_keeps_degrees_and_never_slows_down() -> None:
    start = tune_regular(UNDER, WORK, 4, 0, KEY)
    tuned = tune_regular(UNDER, WORK, 4, 200, KEY)
    assert start is not None
    assert tuned is not None

    def cost(pairs: list[tuple[int, int]]) -> float:
        graph = over(UNDER, pairs)
        assert {graph.degree(name) for name in graph.nodes} == {4}
        return cycle_time_ms(graph, UNDER, WORK) / -np.log(1 - graph.spectral_gap())

    assert cost(tuned) <= cost(start)
    assert tune_regular(UNDER, WORK, 4, 200, KEY) == tuned  # of the key alone
    assert tune_regular(UNDER, WORK, 12, 10, KEY) is None  # only 11 others


def test_both_ways() -> None:
    assert both_ways([(0, 1), (2, 0)]) == [(0, 1), (1, 0), (2, 0), (0, 2)]


@pytest.mark.parametrize("n", [5, 12, 27, 40])
def test_shapes_average_exactly_and_differ_in_length(n: int) -> None:
    shapes = find_shapes(n, 8)
    assert all(1 <= k <= 8 for k in shapes)
    lengths = [len(rounds) for rounds in shapes.values()]
    assert len(set(lengths)) == len(lengths)


def test_places_are_permutations_that_never_slow_down_and_keep_the_exact_average() -> None:
    for rounds in find_shapes(12, 5).values():
        ground = Ground(rounds, UNDER, WORK)
        start = np.asarray(find_tour(pair_delays_ms(UNDER, WORK)))
        order = place(ground, start.copy(), 60, KEY)
        assert sorted(order.tolist()) == list(range(12))
        assert ground.quick_ms(order) <= ground.quick_ms(start)
        laid = lay(ground, order, quiet=2)
        assert len(laid.phases) == len(rounds) + 2
        assert laid.phases[0] == laid.phases[1] == frozenset()
        product = np.eye(12)
        for t in range(len(laid.phases)):
            product = laid.at(t).matrix().toarray() @ product
        assert np.abs(product - 1 / 12).max() < 1e-12
        assert cycle_time_ms(laid, UNDER, WORK) * len(laid.phases) == pytest.approx(
            ground.exact_ms(order) + 2 * WORK.compute_ms
        )


def test_quiet_rounds_bring_the_mean_down_and_no_further() -> None:
    assert quiet_rounds(period_ms=200, rounds=2, compute_ms=20, round_ms_max=100) == 0
    assert quiet_rounds(period_ms=300, rounds=2, compute_ms=20, round_ms_max=100) == 2  # 100 over, 80 spared by each
    assert quiet_rounds(period_ms=300, rounds=2, compute_ms=100, round_ms_max=100) is None
