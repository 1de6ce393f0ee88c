"""The Topology: its invariants, measures and identity."""

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.topology import FAMILIES, Link, Place, Topology, edge

NAMES = tuple("abcdefghij")


def graph(*pairs: str, nodes: str = "") -> Topology:
    edges = frozenset(edge(a, b) for a, b in pairs)
    return Topology(tuple(nodes) or tuple(sorted({end for e in edges for end in e})), edges)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    n = draw(st.integers(2, len(NAMES)))
    possible = [(a, b) for a in NAMES[:n] for b in NAMES[:n] if a < b]
    return Topology(NAMES[:n], frozenset(draw(st.lists(st.sampled_from(possible)))))


def as_networkx(topology: Topology) -> nx.Graph:
    found = nx.Graph(topology.edge_list())
    found.add_nodes_from(topology.nodes)
    return found


@settings(max_examples=100, deadline=None)
@given(topologies())
def test_measures_agree_with_networkx(topology: Topology) -> None:
    other = as_networkx(topology)
    assert {frozenset(piece) for piece in topology.components()} == {
        frozenset(c) for c in nx.connected_components(other)
    }
    assert topology.is_connected() == nx.is_connected(other)
    if topology.is_connected():
        assert topology.diameter == nx.diameter(other)
    else:
        with pytest.raises(ValueError, match="pieces"):
            _ = topology.diameter
    for name in topology.nodes:
        assert topology.neighbours(name) == tuple(sorted(other[name]))
        assert topology.degree(name) == other.degree(name)


@pytest.mark.parametrize(
    ("nodes", "edges"),
    [
        ((), []),
        (("a", "a"), []),
        (("a", "b"), [("a", "a")]),
        (("a", "b"), [("b", "a")]),
        (("a", "b"), [("a", "c")]),
    ],
)
def test_what_is_no_simple_graph_is_refused(nodes: tuple[str, ...], edges: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Topology(nodes, frozenset(edges))


def test_edges_must_be_those_of_the_phases() -> None:
    with pytest.raises(ValueError, match="phases"):
        Topology(("a", "b"), frozenset(), (frozenset({("a", "b")}),))


def test_unknown_node_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        graph("ab").neighbours("z")


def test_a_graph_without_phases_is_the_same_in_every_round() -> None:
    topology = graph("ab", "bc")
    assert topology.at(0) is topology
    assert topology.at(7) is topology


def test_phases_take_turns() -> None:
    topology = FAMILIES["one-peer-exponential"](8)
    assert [topology.at(t).edges for t in range(6)] == [*topology.phases, *topology.phases]
    for t in range(3):
        assert {topology.at(t).degree(name) for name in topology.nodes} == {1}
    assert topology.at(0).neighbours("n5") == ("n4",)
    assert topology.at(4).neighbours("n5") == ("n7",)


def test_renamed_moves_everything_by_position() -> None:
    link, place = Link(3.0, 100.0), Place(8.0, 50.0)
    topology = Topology(("a", "b", "c"), frozenset({("a", "b"), ("b", "c")}), (), {("a", "b"): link}, {"a": place})
    other = topology.renamed(("z", "y", "x"))
    assert other.nodes == ("z", "y", "x")
    assert other.edges == {("y", "z"), ("x", "y")}
    assert other.links == {("y", "z"): link}
    assert other.places == {"z": place}
    assert other.renamed(("a", "b", "c")) == topology
    with pytest.raises(ValueError, match="zip"):
        topology.renamed(("x", "y"))


GOLDEN = {
    "ring": (4, "cff1da5582894d3ea1e7dbb3d8bebe7cc47e0c7668592d9c70d712c98482b389"),
    "hypercube": (8, "0c9f144ca69db6084553e1275da5645c05a892a3c2a38bf7ebc9b96f4c2b8087"),
    "one-peer-exponential": (8, "978e8b8e466edb01d83130cbb980c038d35d9b0101f87f1c8edee0c501042c31"),
}


@pytest.mark.parametrize("family", GOLDEN)
def test_digests_are_what_they_were(family: str) -> None:
    n, expected = GOLDEN[family]
    assert FAMILIES[family](n).digest.hex() == expected


def test_digest_is_of_nodes_edges_and_phases_alone() -> None:
    base = graph("ab", "bc")
    assert base.digest == Topology(base.nodes, base.edges, (), {("a", "b"): Link(1.0)}, {"a": Place(0.0, 0.0)}).digest
    others = [
        graph("ab", "ac"),
        graph("ab", "bc", nodes="cab"),
        Topology(base.nodes, base.edges, (frozenset({("a", "b")}), frozenset({("b", "c")}))),
        base.renamed("abd"),
    ]
    assert len({base.digest, *(other.digest for other in others)}) == 5
