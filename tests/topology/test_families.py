"""Named graphs: what they are, and what is said of impossible sizes."""

from typing import Any

import pytest

from p2pfl.core.limits import NEIGHBOURS_MAX, NODES_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology import FAMILIES, load_topology
from p2pfl.topology.graphs.numbered import numbered


def degrees(family: str, n: int, **params: Any) -> set[int]:
    topology = FAMILIES[family](n, **params)
    return {topology.degree(name) for name in topology.nodes}


@pytest.mark.parametrize(
    ("family", "n", "edges", "degree", "diameter"),
    [
        ("ring", 3, 3, {2}, 1),
        ("ring", 16, 16, {2}, 8),
        ("line", 2, 1, {1}, 1),
        ("line", 6, 5, {1, 2}, 5),
        ("star", 7, 6, {1, 6}, 2),
        ("complete", 6, 15, {5}, 1),
        ("torus", 9, 18, {4}, 2),
        ("torus", 16, 32, {4}, 4),
        ("torus", 15, 30, {4}, 3),
        ("hypercube", 2, 1, {1}, 1),
        ("hypercube", 16, 32, {4}, 4),
        ("exponential", 16, 56, {7}, 2),
        ("exponential", 10, 30, {6}, 2),
        ("one-peer-exponential", 2, 1, {1}, 1),
        ("one-peer-exponential", 16, 32, {4}, 4),
    ],
)
def test_shapes(family: str, n: int, edges: int, degree: set[int], diameter: int) -> None:
    topology = FAMILIES[family](n)
    assert topology.nodes == numbered(n)
    assert len(topology.edges) == edges
    assert degrees(family, n) == degree
    assert topology.diameter == diameter


def test_torus_by_rows() -> None:
    assert FAMILIES["torus"](24, rows=3).diameter == 5
    assert FAMILIES["torus"](24).diameter == FAMILIES["torus"](24, rows=4).diameter == 5
    assert FAMILIES["torus"](24, rows=3) != FAMILIES["torus"](24)


@pytest.mark.parametrize("family", ["random-regular", "small-world", "erdos-renyi"])
def test_random_graphs_follow_their_seed(family: str) -> None:
    build = FAMILIES[family]
    assert build(24, seed=5) == build(24, seed=5)
    assert build(24, seed=5) != build(24, seed=6)
    assert all(build(24, seed=seed).is_connected() for seed in range(10))


def test_random_parameters_are_kept() -> None:
    assert degrees("random-regular", 30, k=5) == {5}
    assert degrees("small-world", 30, k=6, p=0) == {6}
    assert len(FAMILIES["small-world"](30, k=6, p=1.0).edges) == 90
    assert degrees("erdos-renyi", 12, p=1.0) == {11}


def test_unlikely_graphs_are_drawn_until_connected() -> None:
    assert FAMILIES["random-regular"](12, k=2).diameter == 6  # one ring, though most draws are several
    with pytest.raises(ConfigError, match="none of 100 draws"):
        FAMILIES["erdos-renyi"](50, p=0.001)


@pytest.mark.parametrize(
    ("family", "n", "params", "says"),
    [
        ("ring", 2, {}, "3 to 16384 nodes, got n = 2"),
        ("ring", NODES_MAX + 1, {}, "got n = 16385"),
        ("ring", 3.5, {}, "whole number"),
        ("torus", 14, {}, "possible are 12 and 15"),
        ("torus", 8, {}, "9 to 16384"),
        ("torus", 16, {"rows": 3}, "rows to divide n = 16"),
        ("torus", 16, {"rows": 2}, "at least 3 rows"),
        ("torus", 16, {"rows": 0}, "at least 3 rows"),
        ("hypercube", 12, {}, "possible are 8 and 16"),
        ("one-peer-exponential", 12, {}, "possible are 8 and 16"),
        ("star", NEIGHBOURS_MAX + 2, {}, "at most 256 neighbours"),
        ("complete", NEIGHBOURS_MAX + 2, {}, "at most 256 neighbours"),
        ("random-regular", 7, {"k": 3}, "n x k even"),
        ("random-regular", 4, {"k": 4}, "k < n"),
        ("random-regular", 600, {"k": NEIGHBOURS_MAX + 1}, "at most 256 neighbours"),
        ("random-regular", 16, {"seed": "x"}, "seed to be a whole number"),
        ("small-world", 16, {"k": 3}, "even k"),
        ("small-world", 16, {"p": 1.5}, "p between 0 and 1"),
        ("small-world", 16, {"k": 2.0}, "k to be a whole number"),
        ("erdos-renyi", 16, {"p": "often"}, "p between 0 and 1"),
        ("erdos-renyi", 4000, {"p": 0.5}, "at most 256 neighbours"),
    ],
)
def test_impossible_graphs_say_what_is_possible(family: str, n: Any, params: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        FAMILIES[family](n, **params)
    assert "\n" not in str(caught.value)


def test_at_the_bounds() -> None:
    assert len(load_topology("ring", NODES_MAX).nodes) == NODES_MAX
    assert degrees("complete", NEIGHBOURS_MAX + 1) == {NEIGHBOURS_MAX}


def test_names_keep_the_order_of_numbers() -> None:
    for n in (2, 10, 11, 100, 101):
        assert sorted(numbered(n)) == list(numbered(n))
