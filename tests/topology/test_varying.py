"""Graphs that change from round to round: every phase keeps the mean, and each family does what it is for."""

from fractions import Fraction
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.topology import FAMILIES, Topology
from p2pfl.topology.families.base_graph import compute_base_graph
from p2pfl.topology.families.clusters import compute_clusters
from p2pfl.topology.families.matcha import compute_activity, compute_counts, compute_shares, project

CHANGING = ["one-peer-exponential", "base", "random-matchings", "epidemic", "matcha", "clusters"]


def matrices(topology: Topology) -> list[np.ndarray]:
    return [topology.at(t).matrix().toarray() for t in range(len(topology.phases))]


@pytest.mark.parametrize("family", CHANGING)
@pytest.mark.parametrize("n", [16, 64])
def test_every_phase_is_doubly_stochastic(family: str, n: int) -> None:
    topology = FAMILIES[family](n)
    assert len(topology.phases) > 1
    for w in matrices(topology):
        assert np.allclose(w, w.T)
        assert np.allclose(w.sum(axis=0), 1)
        assert w.min() >= -1e-12
    assert topology.contraction < 1 - 1e-6


@pytest.mark.parametrize("family", CHANGING)
def test_a_family_depends_on_its_parameters_alone(family: str) -> None:
    assert FAMILIES[family](16).digest == FAMILIES[family](16).digest
    if "seed" in FAMILIES[family].__annotations__:
        assert FAMILIES[family](16, seed=1).phases != FAMILIES[family](16, seed=2).phases


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 80), st.integers(1, 5))
def test_base_graphs_average_exactly_in_few_rounds_of_at_most_k_peers(n: int, k: int) -> None:
    """Theorem 1 of Takezawa et al. 2023, in exact arithmetic."""
    k = min(k, n - 1)
    rounds = compute_base_graph(n, k)
    assert len(rounds) <= 2 * log(n) / log(k + 1) + 2
    x = [Fraction((i * 7919) % 101) for i in range(n)]
    mean = sum(x) / n
    for pairs in rounds:
        moved, kept = list(x), [Fraction(1)] * n
        degree = [0] * n
        for u, v, w in pairs:
            moved[u] += w * (x[v] - x[u])
            moved[v] += w * (x[u] - x[v])
            for end in (u, v):
                kept[end] -= w
                degree[end] += 1
        assert max(degree) <= k
        assert min(kept) >= 0
        x = moved
    assert x == [mean] * n


@pytest.mark.parametrize(("n", "k", "rounds"), [(5, 1, 5), (6, 1, 4), (6, 2, 2), (25, 1, 9), (8, 1, 3), (27, 2, 3)])
def test_base_graphs_have_known_lengths(n: int, k: int, rounds: int) -> None:
    assert len(compute_base_graph(n, k)) == rounds


def test_base_averages_as_a_topology_too() -> None:
    topology = FAMILIES["base"](50, k=2)
    assert topology.contraction == 0
    assert topology.rounds_to_consensus() == len(topology.phases)


@settings(max_examples=15, deadline=None)
@given(st.integers(4, 40), st.integers(3, 12), st.integers(0, 99))
def test_random_matchings_leave_at_most_one_out(n: int, phases: int, seed: int) -> None:
    topology = FAMILIES["random-matchings"](n, phases=max(phases, n // 2 if n < 8 else 5), seed=seed)
    for phase in topology.phases:
        ends = [end for pair in phase for end in pair]
        assert len(ends) == len(set(ends)) == n - n % 2
    assert topology.schedule() == tuple(tuple(sorted(phase)) for phase in topology.phases)


def test_epidemic_graphs_are_regular_and_new_every_time() -> None:
    topology = FAMILIES["epidemic"](20, k=3, phases=6)
    assert len(set(topology.phases)) == 6
    assert all({topology.at(t).degree(name) for name in topology.nodes} == {3} for t in range(6))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["ring", "torus", "random-regular", "star", "small-world"]),
    st.integers(9, 30).filter(lambda n: all(n % d for d in (11, 13, 17, 19, 23, 29)) and n not in (10, 14, 22, 26)),
    st.floats(0.1, 1.0),
    st.integers(10, 40),
)
def test_matcha_keeps_its_budget_and_every_link(base: str, n: int, budget: float, phases: int) -> None:
    topology = FAMILIES["matcha"](n, base=base, budget=budget, phases=phases)
    matchings = topology.colouring()
    assert topology.edges == FAMILIES[base](n).edges
    active = sum(matching[0] in phase for phase in topology.phases for matching in matchings)
    assert active <= budget * len(matchings) * phases + 1e-6
    for phase in topology.phases:
        assert all(set(matching) <= phase or not set(matching) & phase for matching in matchings)


@pytest.mark.parametrize(("base", "budget"), [("ring", 0.5), ("ring", 0.2), ("complete", 0.2)])
def test_matcha_of_four_nodes(base: str, budget: float) -> None:
    """A power step leaves nothing of the vector that the step before ended with."""
    assert FAMILIES["matcha"](4, base=base, budget=budget).contraction < 1


def test_matcha_spends_more_on_the_links_that_hold_the_graph_together() -> None:
    """Two complete graphs and one bridge: the bridge's matching is used most."""
    pairs = [(i, j) for side in (0, 5) for i in range(side, side + 5) for j in range(i + 1, side + 5)]
    matchings = [[(0, 5)], *([pair] for pair in pairs)]
    shares = compute_shares(10, matchings, 0.2)
    assert sum(shares) == pytest.approx(0.2 * len(matchings), abs=1e-6)
    assert shares[0] == max(shares) > 0.9
    assert max(shares[1:]) < 0.5


@settings(max_examples=50)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=12), st.floats(0.05, 1))
def test_projection_is_the_nearest_point(values: list[float], budget: float) -> None:
    total = budget * len(values)
    point = project(np.asarray(values), total)
    assert point.sum() == pytest.approx(total, abs=1e-6)
    assert 0 <= point.min() <= point.max() <= 1
    moved = [v - p for v, p in zip(values, point, strict=True) if 1e-9 < p < 1 - 1e-9]
    assert max(moved, default=0) - min(moved, default=0) < 1e-6  # those not cut off are moved alike


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=10), st.integers(10, 60))
def test_activity_is_spread_evenly(shares: list[float], period: int) -> None:
    total = max(len(shares), int(sum(shares) * period))
    counts = compute_counts(shares, period, total)
    assert sum(counts) <= total
    assert min(counts) >= 1
    rounds = compute_activity(counts, period, root(1))
    for j, count in enumerate(counts):
        at = [t for t, active in enumerate(rounds) if j in active]
        assert len(at) == count
        gaps = [b - a for a, b in zip(at, [*at[1:], at[0] + period], strict=True)]
        assert max(gaps) - min(gaps) <= 1


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(2, 30), st.one_of(st.none(), st.integers(1, 6)), st.integers(0, 4))
def test_clusters_meet_inside_often_and_across_by_rotating_heads(
    count: int, extra: int, every: int | None, heads: int
) -> None:
    n = 2 * count + extra
    topology = FAMILIES["clusters"](n, clusters=count, every=every, heads=min(heads, n // count) or None)
    assert topology.is_connected()
    numbers = {name: i for i, name in enumerate(topology.nodes)}
    small, larger = divmod(n, count)
    home = [c for c in range(count) for _ in range(small + (c < larger))]
    heads: set[int] = set()
    for phase in topology.phases:
        ends = [numbers[end] for pair in phase for end in pair]
        assert len(ends) == len(set(ends))
        crossing = {home[numbers[a]] != home[numbers[b]] for a, b in phase}
        assert len(crossing) <= 1  # a round is inside or across, never both
        if crossing == {True}:
            heads |= set(ends)
    met = {frozenset((home[numbers[a]], home[numbers[b]])) for a, b in topology.edges} - {
        frozenset((c,)) for c in range(count)
    }
    assert len(met) == count * (count - 1) // 2
    assert count % 2 or heads == set(range(n)) or small != n / count


def test_clusters_have_their_exact_means_before_heads_meet() -> None:
    rounds = list(compute_clusters([8, 8, 6], None, 3))
    x = np.arange(22.0)
    for pairs in rounds[:4]:  # 6 nodes need 4 rounds, 8 nodes 3
        for u, v, w in pairs:
            x[u], x[v] = x[u] + float(w) * (x[v] - x[u]), x[v] + float(w) * (x[u] - x[v])
    assert np.allclose(x, [3.5] * 8 + [11.5] * 8 + [18.5] * 6)


@pytest.mark.parametrize(
    ("family", "params", "said"),
    [
        ("base", {"k": 16}, "expected k from 1 to 15, got 16"),
        ("base", {"k": 1.5}, "expected k to be a whole number"),
        ("random-matchings", {"phases": 1}, "expected phases from 2"),
        ("epidemic", {"k": 16}, "expected 1 <= k < n"),
        ("matcha", {"budget": 0}, "expected a budget above 0"),
        ("matcha", {"budget": 0.1, "phases": 5}, "expected budget x phases of at least 1"),
        ("matcha", {"base": "tours"}, "did you mean torus"),
        ("matcha", {"base": "matcha"}, "unknown base"),
        ("matcha", {"base": "ring", "k": 4}, "unknown parameter 'k'"),
        ("clusters", {"clusters": 9}, "expected clusters from 2 to 8, got 9"),
        ("clusters", {"every": 0}, "expected every from 1"),
        ("clusters", {"heads": 5}, "expected heads from 1 to 4"),
    ],
)
def test_impossible_parameters_are_one_line(family: str, params: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        FAMILIES[family](16, **params)
    assert "\n" not in str(caught.value)


def test_too_long_a_period_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected at most 4096 phases"):
        FAMILIES["clusters"](4096, clusters=2, every=4096)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([*CHANGING, "ring", "torus"]), st.booleans(), st.integers(0, 50))
def test_news_are_everywhere_in_time(family: str, pairs: bool, begin: int) -> None:
    """Followed edge by edge from any round of the period."""
    topology = FAMILIES[family](16)
    rounds = topology.schedule() if pairs else [topology.at(t).edge_list() for t in range(max(1, len(topology.phases)))]
    known = {name: {name} for name in topology.nodes}
    bound = topology.news_rounds(pairs)
    for t in range(begin, begin + bound):
        before = {name: set(found) for name, found in known.items()}
        for a, b in rounds[t % len(rounds)]:
            known[a] |= before[b]
            known[b] |= before[a]
    assert all(len(found) == 16 for found in known.values())


def test_news_never_cross_a_gap() -> None:
    apart = Topology(tuple("abcd"), frozenset({("a", "b"), ("c", "d")}))
    with pytest.raises(ValueError, match="never reaches"):
        apart.news_rounds(pairs=True)
