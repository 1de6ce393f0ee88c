"""Graphs from names, scripts and files; every mistake is one line that says what to mend."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pfl.core.limits import NEIGHBOURS_MAX, NODES_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology import Link, Place, from_networkx, load_topology, parse_params
from p2pfl.topology.files import load

ABC = ("alice", "bob", "carol")

MAP_GML = """graph [
  label "Backbone"
  node [ id 0 label "Aachen" Longitude 6.08 Latitude 50.78 ]
  node [ id 1 label "Koeln, Rhein" Longitude 6.96 Latitude 50.94 ]
  node [ id 2 label "Bonn" Longitude 7.1 Latitude 50.73 ]
  edge [ source 0 target 1 id "e1" distance 100.0 capacity 2500000000.0 ]
  edge [ source 1 target 2 id "e2" distance 0.0 ]
]
"""


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_families_over_given_names() -> None:
    topology = load_topology("line", names=ABC)
    assert topology.nodes == ABC
    assert topology.edges == {("alice", "bob"), ("bob", "carol")}
    assert load_topology("line", params={"n": 3}) == load_topology("line", 3)
    assert load_topology("random-regular", 16, {"k": 6}).degree("n00") == 6


def test_gml_with_labels_places_and_links(tmp_path: Path) -> None:
    topology = load_topology(write(tmp_path, "map.gml", MAP_GML))
    assert topology.nodes == ("Aachen", "Koeln, Rhein", "Bonn")
    assert topology.places["Bonn"] == Place(7.1, 50.73)
    assert topology.links == {
        ("Aachen", "Koeln, Rhein"): Link(pytest.approx(4.85), 2500.0),  # type: ignore[arg-type]
        ("Bonn", "Koeln, Rhein"): Link(4.0, None),
    }


def test_gml_without_labels_takes_the_names(tmp_path: Path) -> None:
    text = "graph [ node [ id 0 ] node [ id 1 ] node [ id 2 ] edge [ source 0 target 1 ] edge [ source 2 target 1 ] ]"
    path = write(tmp_path, "plain.gml", text)
    assert load_topology(path, names=ABC).edges == {("alice", "bob"), ("bob", "carol")}
    assert load_topology(path).nodes == ("n0", "n1", "n2")


def test_what_networkx_writes_is_read_again(tmp_path: Path) -> None:
    graph = nx.Graph([("alice", "bob"), ("bob", "carol")])
    nx.write_gml(graph, tmp_path / "g.gml")
    nx.write_graphml(graph, tmp_path / "g.graphml")
    numbers = nx.random_regular_graph(3, 12, seed=1)  # made in no order of its nodes
    nx.write_gml(numbers, tmp_path / "n.gml")
    nx.write_graphml(numbers, tmp_path / "n.graphml")
    for ending in ("gml", "graphml"):
        assert load_topology(str(tmp_path / f"g.{ending}"), names=ABC) == from_networkx(graph, ABC)
        assert load_topology(str(tmp_path / f"n.{ending}")) == from_networkx(numbers)
    assert from_networkx(numbers).edges == {tuple(sorted((f"n{a:02}", f"n{b:02}"))) for a, b in numbers.edges}


def test_graphml_is_named_by_its_labels_if_each_has_one(tmp_path: Path) -> None:
    graph = nx.path_graph(3)
    nx.set_node_attributes(graph, dict(enumerate(ABC)), "label")
    nx.write_graphml(graph, tmp_path / "g.graphml")
    assert load_topology(str(tmp_path / "g.graphml")).nodes == ABC
    nx.set_node_attributes(graph, "same", "label")
    nx.write_graphml(graph, tmp_path / "g.graphml")
    assert load_topology(str(tmp_path / "g.graphml")).nodes == ("n0", "n1", "n2")


def test_toml(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "net.toml",
        """
        nodes = ["alice", { name = "bob", longitude = 8, latitude = 50.5 }, "carol"]
        edges = [["carol", "bob"]]
        [[edge]]
        a = "bob"
        b = "alice"
        latency_ms = 12
        bandwidth_mbps = 100.0
        """,
    )
    topology = load_topology(path)
    assert topology.nodes == ABC
    assert topology.edges == {("alice", "bob"), ("bob", "carol")}
    assert topology.links == {("alice", "bob"): Link(12.0, 100.0)}
    assert topology.places == {"bob": Place(8.0, 50.5)}
    assert load_topology(path, names=("carol", "bob", "alice")).nodes == ("carol", "bob", "alice")
    assert load_topology(path, n=3) == topology


def test_toml_without_nodes_lists_them_as_they_come(tmp_path: Path) -> None:
    path = write(tmp_path, "net.toml", 'edges = [["b", "c"], ["a", "b"]]')
    assert load_topology(path).nodes == ("b", "c", "a")


def test_script(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "mine.py",
        "import networkx as nx\nassert __name__ != '__main__'\n"
        "def path(n): return nx.path_graph(n)\n"
        "def build(n: int, close: bool = False):\n"
        "    graph = path(n)\n    if close: graph.add_edge(0, n - 1)\n    return graph\n",
    )
    assert load_topology(path, 5) == load_topology("line", 5)
    assert load_topology(path, 5, {"close": True}) == load_topology("ring", 5)
    assert load_topology(path, names=ABC).edges == {("alice", "bob"), ("bob", "carol")}


def test_script_with_its_own_size_and_names(tmp_path: Path) -> None:
    path = write(tmp_path, "own.py", "import networkx as nx\ndef build(n=3): return nx.Graph(['ab', 'bc'])\n")
    assert load_topology(path).nodes == ("a", "b", "c")
    with pytest.raises(ConfigError, match="expected a graph of 5 nodes, got 3"):
        load_topology(path, 5)


def test_grids_keep_their_order(tmp_path: Path) -> None:
    assert from_networkx(nx.grid_2d_graph(3, 4, periodic=True)) == load_topology("torus", 12)


BAD_TOML = [
    ('edges = [["a", "b"], ["c", "d"], ["e", "c"]]', r"in 2 pieces \(3 nodes with c, 2 nodes with a\); join"),
    ('edges = [["a", "a"]]', "a is joined to itself"),
    ('edges = [["a", "b"], ["b", "a"]]', "edge b - a is listed twice"),
    ('nodes = ["alice", "bob"]\nedges = [["alice", "bbo"]]', r"unknown node 'bbo' \(did you mean bob\?\)"),
    ('nodes = ["a", "a"]\nedges = [["a", "b"]]', "node a is listed twice"),
    ('nodes = ["a", "b", "c"]\nedges = [["a", "b"]]', "in 2 pieces .*1 node with c"),
    ('nodes = ["a", 7]\nedges = [["a", "b"]]', "expected node names .* got 7"),
    ('nodes = [{ nam = "a" }]', r"unknown key 'nam' \(did you mean name\?\)"),
    ('nodes = ["a", "b"]', "got none"),
    ('edges = [["a", "b", "c"]]', "pair of names"),
    ('edges = "ab"', "expected edges to be a list"),
    ("edges = [[1, 2]]", "pair of names"),
    ('edge = ["ab"]', "tables with a and b"),
    ('[[edge]]\na = "x"', "names a and b"),
    ('[[edge]]\na = "x"\nb = "y"\nlatency = 4', "unknown key 'latency'"),
    ('[[edge]]\na = "x"\nb = "y"\nlatency_ms = -4', "latency_ms to be a number of at least 0, got -4"),
    ('[[edge]]\na = "x"\nb = "y"\nbandwidth_mbps = nan', "bandwidth_mbps to be a number"),
    ('[[edge]]\na = "x"\nb = "y"\nbandwidth_mbps = true', "bandwidth_mbps to be a number"),
    ('edegs = [["a", "b"]]', r"did you mean edges\?"),
    ('edges = [["", "b"]]', "expected node names"),
    ('edges = [["a\\n", "b"]]', "expected node names"),
    ("edges = [", "not a TOML graph"),
]


@pytest.mark.parametrize(("text", "says"), BAD_TOML)
def test_bad_toml_says_what_to_mend(tmp_path: Path, text: str, says: str) -> None:
    check_refused(write(tmp_path, "bad.toml", text), says)


BAD_SCRIPTS = [
    ("def build(n: int) -> None: return None", "expected an nx.Graph, got NoneType"),
    ("def make(n): return 1", "expected a function build"),
    ("def build(n): raise ValueError('n is\\nodd')", "build raised ValueError: n is odd"),
    ("def build(n): return 1 / 0", "build raised ZeroDivisionError"),
    ("import sys\nsys.exit(3)", "the script raised SystemExit: 3"),
    ("def build(n", "the script raised SyntaxError"),
    ("import networkx as nx\ndef build(n): return nx.path_graph(n, nx.DiGraph)", "undirected"),
    ("import networkx as nx\ndef build(n): return nx.MultiGraph([(0, 1), (1, 0), (1, 2), (2, 3)])", "listed twice"),
    ("import networkx as nx\ndef build(n): return nx.Graph([(0, 1), (2, 3)])", "in 2 pieces"),
    ("import networkx as nx\ndef build(n): return nx.Graph([(0, 0), (0, 1)])", "joined to itself"),
    ("import networkx as nx\ndef build(n): return nx.path_graph(n + 1)", "expected a graph of 4 nodes, got 5"),
    (f"import networkx as nx\ndef build(n): return nx.path_graph({NODES_MAX + 1})", "at most 16384 nodes"),
    (f"import networkx as nx\ndef build(n): return nx.star_graph({NEIGHBOURS_MAX + 1})", "at most 256 neighbours"),
    ("def build(n, k): return None", "build needs a value for k"),
]


@pytest.mark.parametrize(("text", "says"), BAD_SCRIPTS)
def test_bad_scripts_say_what_to_mend(tmp_path: Path, text: str, says: str) -> None:
    check_refused(write(tmp_path, "bad.py", text), says, n=4)


def test_neighbours_at_the_bound() -> None:
    assert from_networkx(nx.star_graph(NEIGHBOURS_MAX)).degree("n000") == NEIGHBOURS_MAX


@pytest.mark.parametrize(
    ("spec", "n", "params", "names", "says"),
    [
        ("rinng", 4, {}, None, r"did you mean ring\?"),
        ("net.yaml", 4, {}, None, "ending in .py, .gml, .graphml, .toml"),
        ("missing.toml", None, {}, None, "cannot read the topology file missing.toml: No such file"),
        ("ring", None, {}, None, "needs the number of nodes"),
        ("ring", 4, {"k": 2}, None, "unknown parameter 'k'"),
        ("small-world", 8, {"kk": 2}, None, r"did you mean k\?"),
        ("ring", 4, {"n": 5}, None, "expected one number of nodes"),
        ("ring", 4, {}, ABC, "expected one number of nodes, got 4 by n, 3 by the names"),
        ("ring", 1, {}, None, "2 to 16384 nodes"),
        ("ring", NODES_MAX + 1, {}, None, "2 to 16384 nodes"),
        ("ring", None, {"n": "many"}, None, "2 to 16384 nodes, got n = 'many'"),
        ("ring", None, {}, ("a", "b", "a"), "distinct names"),
        ("ring", None, {}, ("a", "b", "c" * 65), "1 to 64 printable characters"),
        ("erdos-renyi", 300, {"p": 0.86}, None, "at most 256 neighbours"),
    ],
)
def test_bad_names_and_sizes(
    spec: str, n: int | None, params: dict[str, Any], names: Sequence[str] | None, says: str
) -> None:
    check_refused(spec, says, n=n, params=params, names=names)


def test_files_take_no_parameters_and_only_their_own_names(tmp_path: Path) -> None:
    path = write(tmp_path, "net.toml", 'edges = [["alice", "bob"], ["bob", "carol"]]')
    check_refused(path, "takes no parameters, got k", params={"k": 3})
    check_refused(path, "expected a graph of 4 nodes, got 3", n=4)
    check_refused(path, r"unknown node 'bob' \(did you mean rob\?\)", names=("alice", "rob", "carol"))
    check_refused(path, "in 2 pieces", names=(*ABC, "dave"))
    numbers = write(tmp_path, "n.py", "import networkx as nx\ndef build(): return nx.path_graph(4)")
    check_refused(numbers, "unknown parameter 'n'", names=ABC)
    nx.write_gml(nx.path_graph(4), tmp_path / "n.gml")
    check_refused(str(tmp_path / "n.gml"), "expected 3 nodes, got a graph of 4", names=ABC)


def test_files_beyond_the_bound_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'edges = [["a", "b"]]'
    path = write(tmp_path, "net.toml", text)
    monkeypatch.setattr(load, "FILE_BYTES_MAX", len(text))
    load_topology(path)
    monkeypatch.setattr(load, "FILE_BYTES_MAX", len(text) - 1)
    check_refused(path, "at most 19 bytes")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), ending=st.sampled_from([".gml", ".graphml", ".toml"]))
def test_no_file_raises_anything_but_one_line(tmp_path: Path, data: st.DataObject, ending: str) -> None:
    nx.write_graphml(nx.path_graph(3), tmp_path / "seed.graphml")
    good = {
        ".gml": MAP_GML.encode(),
        ".graphml": (tmp_path / "seed.graphml").read_bytes(),
        ".toml": b'nodes = ["a", "b"]\n[[edge]]\na = "a"\nb = "b"\n',
    }[ending]
    cut = data.draw(st.integers(0, len(good)))
    until = data.draw(st.integers(cut, min(len(good), cut + 20)))
    path = tmp_path / f"fuzz{ending}"
    path.write_bytes(good[:cut] + data.draw(st.binary(max_size=12)) + good[until:])
    said = ""
    try:
        load_topology(str(path))
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said


def test_params() -> None:
    assert parse_params(["k=6", "p=0.1", "wide=true", "kind=odd", "n=-3"]) == {
        "k": 6,
        "p": 0.1,
        "wide": True,
        "kind": "odd",
        "n": -3,
    }
    for words in (["k"], ["=3"], ["k 3=3"], ["k=1", "k=2"]):
        with pytest.raises(ConfigError, match="parameter"):
            parse_params(words)


def check_refused(spec: str, says: str, **arguments: Any) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load_topology(spec, **arguments)
    assert "\n" not in str(caught.value)
