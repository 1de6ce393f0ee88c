"""Underlays: ways of least latency, the narrowest link on each, and what is no underlay."""

from itertools import pairwise
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.graph import Link, Topology, edge
from p2pfl.topology.overlays.underlay import ACCESS_MBPS, CORE_MBPS, SILOS_MAX, load_underlay, make_underlay

HOSPITALS = Path(__file__).resolve().parent.parent.parent / "topology" / "hospitals.toml"
FOUR = {"gaia": (11, 55), "amazon_us": (22, 231), "geantdistance": (40, 61), "ebone": (87, 161)}


def network(*links: tuple[str, str, float, float | None]) -> Topology:
    nodes = tuple(sorted({end for a, b, *_ in links for end in (a, b)}))
    known = {edge(a, b): Link(latency, width) for a, b, latency, width in links}
    return Topology(nodes, frozenset(known), links=known)


def test_a_message_takes_the_way_of_least_latency_and_its_narrowest_link_counts() -> None:
    under = make_underlay(network(("a", "b", 2, 100), ("b", "c", 3, 40), ("a", "c", 9, 1000), ("c", "d", 1, None)))
    at = {name: i for i, name in enumerate(under.names)}
    assert under.latency_ms[at["a"], at["c"]] == 5  # by b, and not by the direct line
    assert under.core_mbps[at["a"], at["c"]] == 40
    assert under.latency_ms[at["a"], at["d"]] == 6
    assert under.core_mbps[at["c"], at["d"]] == CORE_MBPS
    assert (under.up_mbps == ACCESS_MBPS).all()
    assert under.link("a", "d") == Link(6, 40)


def test_of_two_ways_as_short_the_wider_is_taken() -> None:
    under = make_underlay(network(("a", "b", 1, 10), ("b", "d", 1, 10), ("a", "c", 1, 90), ("c", "d", 1, 80)))
    assert under.link("a", "d") == Link(2, 80)


def test_an_access_line_narrower_than_the_core_is_what_a_way_offers() -> None:
    assert make_underlay(network(("a", "b", 1, 500)), access_mbps=20).link("a", "b") == Link(1, 20)


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 12), st.integers(0, 10_000))
def test_latencies_are_those_of_dijkstra(n: int, seed: int) -> None:
    graph = nx.connected_watts_strogatz_graph(n, 2, 0.3, tries=1000, seed=seed)
    for k, (u, v) in enumerate(graph.edges):
        graph.edges[u, v]["ms"] = float((k * 7919 + seed) % 23 + 1)
    under = make_underlay(network(*((f"s{u:02}", f"s{v:02}", d["ms"], None) for u, v, d in graph.edges(data=True))))
    expected = dict(nx.all_pairs_dijkstra_path_length(graph, weight="ms"))
    assert under.names == tuple(f"s{i:02}" for i in range(n))
    for u in range(n):
        for v in range(n):
            assert under.latency_ms[u, v] == expected[u][v]
    assert (under.latency_ms == under.latency_ms.T).all()
    assert (under.core_mbps == under.core_mbps.T).all()


@pytest.mark.parametrize("name", FOUR)
def test_four_real_networks(data_dir: Path, name: str) -> None:
    under = load_underlay(data_dir / "underlays" / f"{name}.gml")
    silos, links = FOUR[name]
    assert (len(under.names), len(under.edges)) == (silos, links)
    assert np.isfinite(under.latency_ms).all()
    off = ~np.eye(silos, dtype=bool)
    assert (under.latency_ms[off] >= 4).all()  # 4 ms of every link, and something for the distance
    assert (under.core_mbps[off] > 0).all()
    assert (load_underlay(data_dir / "underlays" / f"{name}.gml", core_mbps=50).core_mbps[off] == 50).all()


def test_other_orders_and_other_names() -> None:
    under = make_underlay(network(("a", "b", 2, 100), ("b", "c", 3, 40)))
    turned = under.over(("c", "a", "b"))
    assert turned.names == ("c", "a", "b")
    for x in "abc":
        for y in "abc":
            assert turned.link(x, y) == under.link(x, y)
    renamed = under.over(("x", "y", "z"))
    assert renamed.link("x", "z") == under.link("a", "c")
    assert renamed.edges == {("x", "y"), ("y", "z")}
    with pytest.raises(ConfigError, match="unknown silo 'q'; 2 of 3 nodes are silos"):
        under.over(("a", "b", "q"))
    with pytest.raises(ConfigError, match="expected a graph of 3 nodes, got 2"):
        under.over(("a", "b"))


def test_what_is_no_underlay(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"edge a - b has no latency_ms \(or distance\): that is no underlay"):
        make_underlay(Topology(("a", "b"), frozenset({("a", "b")})))
    with pytest.raises(ConfigError, match="edge a - b: expected a bandwidth above 0, got 0"):
        make_underlay(network(("a", "b", 1, 0)))
    with pytest.raises(ConfigError, match="not a script"):
        load_underlay(tmp_path / "graph.py")
    for access, core in ((0.0, None), (float("nan"), None), (1.0, -5.0), (1.0, 0.0)):
        with pytest.raises(ConfigError, match="expected bandwidths above 0"):
            make_underlay(network(("a", "b", 1, 1)), core, access)


def test_silos_at_the_bound_and_one_past_it() -> None:
    def line(n: int) -> Topology:
        names = tuple(f"s{i:04}" for i in range(n))
        edges = frozenset(pairwise(names))
        return Topology(names, edges, links=dict.fromkeys(edges, Link(1.0, 10.0)))

    with pytest.raises(ConfigError, match=f"at most {SILOS_MAX} silos, got {SILOS_MAX + 1}"):
        make_underlay(line(SILOS_MAX + 1))
    assert len(make_underlay(line(60)).names) == 60


def test_the_example_file_is_an_underlay() -> None:
    under = load_underlay(HOSPITALS)
    assert len(under.names) == len(under.places) == 12
    assert under.latency_ms.max() < 50
