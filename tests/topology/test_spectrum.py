"""Weights and spectral gaps: the laws, closed forms, and that plain averaging keeps the promise."""

from math import cos, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.topology import FAMILIES, Topology, WeightRule
from p2pfl.topology.graphs import spectrum

NAMES = tuple("abcdefghij")


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    n = draw(st.integers(1, len(NAMES)))
    possible = [(a, b) for a in NAMES[:n] for b in NAMES[:n] if a < b]
    return Topology(NAMES[:n], frozenset(draw(st.lists(st.sampled_from(possible))) if possible else ()))


@settings(max_examples=100, deadline=None)
@given(topologies(), st.sampled_from(["metropolis-hastings", "max-degree"]))
def test_weights_are_symmetric_and_sum_to_one(topology: Topology, rule: WeightRule) -> None:
    w = topology.weights(rule)
    for a in topology.nodes:
        assert set(w[a]) == {a, *topology.neighbours(a)}
        assert sum(w[a].values()) == pytest.approx(1, abs=1e-12)
        assert w[a][a] > 0
        assert all(w[a][b] == w[b][a] > 0 for b in topology.neighbours(a))
    matrix = topology.matrix(rule).toarray()
    expected = [[w[a].get(b, 0.0) for b in topology.nodes] for a in topology.nodes]
    np.testing.assert_allclose(matrix, expected, atol=1e-12)


def test_metropolis_hastings_takes_the_larger_degree() -> None:
    w = FAMILIES["star"](5).weights()
    assert w["n1"]["n0"] == pytest.approx(1 / 5)
    assert w["n1"]["n1"] == pytest.approx(4 / 5)


@settings(max_examples=60, deadline=None)
@given(topologies())
def test_gap_is_positive_exactly_when_connected(topology: Topology) -> None:
    assert (topology.spectral_gap() > 1e-6) == topology.is_connected()
    assert (topology.rounds_to_consensus() is None) == (not topology.is_connected())


@pytest.mark.parametrize(
    ("family", "n", "gap"),
    [
        ("ring", 16, 2 / 3 * (1 - cos(2 * pi / 16))),
        ("torus", 36, 2 / 5 * (1 - cos(2 * pi / 6))),
        ("hypercube", 64, 2 / 7),
        ("complete", 9, 1.0),
        ("star", 16, 1 / 16),
        ("one-peer-exponential", 16, 1.0),
    ],
)
def test_closed_forms(family: str, n: int, gap: float) -> None:
    assert FAMILIES[family](n).spectral_gap() == pytest.approx(gap, rel=1e-9)


def test_random_regular_is_an_expander() -> None:
    # Friedman 2008: the second eigenvalue of the adjacency is near 2 sqrt(k - 1).
    assert FAMILIES["random-regular"](400, k=8).spectral_gap() > 0.9 * (8 - 2 * 7**0.5) / 9


@pytest.mark.parametrize(
    ("family", "n"),
    [("ring", 200), ("torus", 100), ("random-regular", 100), ("line", 40), ("complete", 20), ("star", 20)],
)
def test_lanczos_agrees_with_all_eigenvalues(family: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = FAMILIES[family](n).spectral_gap()
    monkeypatch.setattr(spectrum, "DENSE_MAX", 1)
    assert FAMILIES[family](n).spectral_gap() == pytest.approx(dense, rel=1e-6)


def test_changing_graphs_by_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    cube = FAMILIES["hypercube"](16)
    halves = [frozenset(list(cube.edge_list())[i::2]) for i in range(2)]
    topology = Topology(cube.nodes, cube.edges, tuple(halves))
    product = topology.at(1).matrix() @ topology.at(0).matrix()
    rho = float(np.linalg.norm(product.toarray() - 1 / 16, 2))
    assert topology.contraction == pytest.approx(rho)
    assert topology.spectral_gap() == pytest.approx(1 - rho**0.5)
    monkeypatch.setattr(spectrum, "DENSE_MAX", 1)
    assert Topology(topology.nodes, topology.edges, topology.phases).contraction == pytest.approx(rho)
    assert FAMILIES["one-peer-exponential"](16).contraction == 0


def test_thousands_of_nodes() -> None:
    assert FAMILIES["ring"](4096).spectral_gap() == pytest.approx(2 / 3 * (1 - cos(2 * pi / 4096)), rel=1e-4)
    assert FAMILIES["hypercube"](2048).spectral_gap() == pytest.approx(2 / 12, rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_averaging_needs_no_more_rounds_than_predicted(family: str) -> None:
    topology = FAMILIES[family](16)
    rounds = topology.rounds_to_consensus(1e-3)
    assert rounds is not None
    x = np.random.default_rng(1).standard_normal((16, 8))
    start, mean = x - x.mean(axis=0), x.mean(axis=0)
    for t in range(rounds):
        x = topology.at(t).matrix() @ x
    np.testing.assert_allclose(x.mean(axis=0), mean, atol=1e-12)
    assert np.linalg.norm(x - mean) <= 1e-3 * np.linalg.norm(start) + 1e-12


@pytest.mark.parametrize(("contraction", "period", "rounds"), [(0.0, 4, 4), (0.5, 1, 10), (0.5, 3, 30), (1.0, 1, None)])
def test_rounds_from_the_contraction(contraction: float, period: int, rounds: int | None) -> None:
    assert spectrum.compute_rounds(contraction, period, 1e-3) == rounds
