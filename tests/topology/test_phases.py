"""Declared graphs that change with time, and that what is written is what is read."""

from fractions import Fraction
from pathlib import Path

import pytest

from p2pfl.errors import ConfigError
from p2pfl.topology import FAMILIES, Link, Place, Topology, dump_topology, load_topology

PHASES = """
nodes = ["c", "a", "b", "d"]
[[phase]]
edges = [["b", "a"], ["c", "d"]]
[[phase]]
edges = []
[[phase]]
edges = [["a", "c"], ["c", "b"]]
[[edge]]
a = "a"
b = "b"
latency_ms = 3
"""


def load(tmp_path: Path, text: str) -> Topology:
    path = tmp_path / "graph.toml"
    path.write_text(text)
    return load_topology(str(path))


def test_phases_are_read(tmp_path: Path) -> None:
    topology = load(tmp_path, PHASES)
    assert topology.nodes == ("c", "a", "b", "d")
    assert topology.phases == (
        frozenset({("a", "b"), ("c", "d")}),
        frozenset(),
        frozenset({("a", "c"), ("b", "c")}),
    )
    assert topology.links == {("a", "b"): Link(3.0)}
    # The last phase is no matching, so it takes two rounds of pairs.
    assert topology.schedule() == ((("a", "b"), ("c", "d")), (), (("a", "c"),), (("b", "c"),))


@pytest.mark.parametrize("family", ["ring", "base", "matcha", "clusters", "one-peer-exponential", "epidemic"])
def test_what_is_written_is_what_is_read(family: str, tmp_path: Path) -> None:
    plain = FAMILIES[family](16)
    edges = plain.edge_list()
    links = {edges[0]: Link(1.5, 100.0), edges[1]: Link(None, 10.0)}
    places = {plain.nodes[0]: Place(8.5, -50.0)}
    topology = Topology(plain.nodes, plain.edges, plain.phases, links, places, plain.shares)
    again = load(tmp_path, dump_topology(topology, "made by a test\nof two lines"))
    assert again == topology
    assert again.digest == topology.digest
    assert (again.links, again.places) == (topology.links, topology.places)


def test_a_steady_graph_with_given_weights_comes_back_as_one_phase(tmp_path: Path) -> None:
    weights = {("a", "b"): Fraction(1, 3), ("b", "c"): Fraction(3, 5)}
    steady = Topology(("a", "b", "c"), frozenset(weights), shares=(weights,))
    again = load(tmp_path, dump_topology(steady))
    assert again.phases == (steady.edges,)
    assert again.at(7).weights() == steady.weights()
    assert steady.weights()["b"] == pytest.approx({"a": 1 / 3, "c": 3 / 5, "b": 1 / 15})


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([{("a", "b"): Fraction(1, 2)}], "a share for every edge"),
        ([{("a", "b"): Fraction(0), ("b", "c"): Fraction(1, 2)}], "above 0"),
        ([{("a", "b"): Fraction(2, 3), ("b", "c"): Fraction(2, 3)}], "at most 1, got 4/3 for b"),
        ([{}, {}], "for each of 1 phases"),
    ],
)
def test_weights_that_keep_no_mean_are_a_bug(shares: list, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Topology(("a", "b", "c"), frozenset({("a", "b"), ("b", "c")}), shares=tuple(shares))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[phase]]\nedges = [["a", "b"]]\n[[edge]]\na = "a"\nb = "c"\nlatency_ms = 1', "edge a - c is in no phase"),
        ('edges = [["a", "b"]]\n[[phase]]\nedges = [["a", "b"]]', "expected edges to be listed there"),
        ('[[phase]]\nedges = [["a", "b"]]\nweights = ["1/2", "1/2"]', "expected 1 weights"),
        ('[[phase]]\nedges = [["a", "b"]]\nweights = [0.5]', 'expected a weight like "1/3"'),
        ('[[phase]]\nedges = [["a", "b"]]\nweights = ["1/0"]', 'expected a weight like "1/3"'),
        ('[[phase]]\nedges = [["a", "b"]]\nweights = ["3/2"]', "at most 1"),
        ('[[phase]]\nedges = [["a", "b"], ["b", "c"]]\nweights = ["2/3", "2/3"]', "sum to at most 1, b has more"),
        (
            '[[phase]]\nedges = [["a", "b"]]\nweights = ["1/2"]\n[[phase]]\nedges = [["a", "b"]]',
            "in all phases or in none",
        ),
        ('[[phase]]\nedges = [["a", "b"], ["b", "a"]]', "phase 0: edge b - a is listed twice"),
        ('[[phase]]\nedges = [["a", "a"]]', "joined to itself"),
        ('[[phase]]\nedge = [["a", "a"]]', "did you mean edges"),
        ('[[phase]]\nedges = [["a"]]', "a pair of names"),
        ("[[phase]]\n", "expected edges = "),
        ("phase = [1]", "expected a table"),
        ("phase = 3", "expected phase to be a list"),
        ('nodes = ["a", "b"]\n[[phase]]\nedges = [["a", "c"]]', "unknown node 'c'"),
        ('[[phase]]\nedges = [["a", "b"]]\n[[phase]]\nedges = [["c", "d"]]', "in 2 pieces"),
    ],
)
def test_bad_phases_are_one_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_phases(tmp_path: Path) -> None:
    one = '[[phase]]\nedges = [["a", "b"]]\n'
    assert len(load(tmp_path, one * 4096).phases) == 4096
    with pytest.raises(ConfigError, match="at most 4096 phases"):
        load(tmp_path, one * 4097)


def test_digest_of_given_weights_is_version_two() -> None:
    """Golden: the format is in docs/topology.md."""
    assert FAMILIES["base"](3).digest.hex() == "6b759641698144dc1d2166be41fec86b7983ce60277fc2822414043a62813d59"
    plain = FAMILIES["base"](4)
    halves = Topology(plain.nodes, plain.edges, plain.phases)
    assert plain.matrix().toarray().tolist() == halves.matrix().toarray().tolist()
    assert plain.digest != halves.digest  # given weights are part of it, even where degrees would say the same
