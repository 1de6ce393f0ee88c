"""`p2pfl topology compare`: what it prints, what it draws, and what it says of bad input."""

import json
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.topology import FAMILIES, study

HOSPITALS = str(Path(__file__).resolve().parent.parent.parent / "topology" / "hospitals.toml")


def compare(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["topology", "compare", *words]) == 0
    return capsys.readouterr().out


def test_graphs_side_by_side(capsys) -> None:
    out = compare(capsys, "ring", "torus", "small-world:k=6,p=0.2,seed=3", "clusters:clusters=2", "--n", "16")
    tables = out.split("\n\n")
    assert len(tables) == 3
    for rows in tables:
        assert all(name in rows for name in ("ring", "torus", "small-world:k=6,p=0.2,seed=3", "clusters:clusters=2"))
    assert "averaging with all neighbours" in tables[1]
    assert "meeting in pairs" in tables[2]


def test_json_is_the_study(capsys) -> None:
    (ring, base) = json.loads(compare(capsys, "ring", "base", "--n", "8", "--json", "--model-size", "1000"))
    expected = study(FAMILIES["ring"](8), "ring")
    assert ring["diameter"] == 4
    assert ring["average"]["predicted"] == expected.average.predicted >= expected.average.measured
    assert ring["average"]["measured"] == expected.average.measured == len(ring["average"]["curve"]) - 1
    assert ring["average"]["models_sent"] == 16 * expected.average.measured
    assert ring["average"]["bytes_sent"] == 1000 * ring["average"]["models_sent"]
    assert ring["average"]["round_ms"] is None  # no links are known
    assert base["average"]["measured"] == base["pairs"]["measured"] == 3


def test_seconds_on_the_links_of_a_file(capsys) -> None:
    words = (HOSPITALS, "ring", "--model-size", "1e6", "--compute-ms", "20", "--json")
    hospitals, ring = json.loads(compare(capsys, *words))
    assert hospitals["average"]["round_ms"] > 20  # its own links, without --underlay
    assert ring["average"]["round_ms"] is None
    (under,) = json.loads(compare(capsys, "ring", "--underlay", HOSPITALS, "--model-size", "1e6", "--json"))
    assert under["num_nodes"] == 12  # as many as the underlay has silos
    assert under["average"]["consensus_s"] == pytest.approx(
        under["average"]["round_ms"] * under["average"]["measured"] / 1e3
    )
    assert "seconds" in compare(capsys, "ring", "--underlay", HOSPITALS, "--model-size", "1e6")


@pytest.mark.parametrize("graphs", [["ring", "base"], ["ring", "line", "star", "torus", "base", "complete", "matcha"]])
def test_pictures(capsys, tmp_path: Path, graphs: list[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "curves.svg"
    assert str(path) in compare(capsys, *graphs, "--n", "9", "--plot", str(path))
    assert path.stat().st_size > 2000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnig"], "unknown topology 'rnig' (did you mean ring?)"),
        (["ring", "torus:row=3"], "unknown parameter 'row'"),
        (["torus:rows"], "expected a parameter as key=value, got 'rows'"),
        (["ring", "--underlay", HOSPITALS], "--underlay needs --model-size"),
        (["ring", "--underlay", HOSPITALS, "--model-size", "9", "--n", "5"], "expected a graph of 12 nodes, got 5"),
        (["ring", "--underlay", "none.toml", "--model-size", "9"], "cannot read the topology file none.toml"),
        (["ring", "--model-size", "-1"], "expected a model of 1 to 1e15 bytes"),
        (["ring", "--plot", "x.bmp"], "expected a file ending in"),
        (["ring"] * 65, "expected at most 64 graphs, got 65"),
    ],
)
def test_bad_input_is_one_line(capsys, words: list[str], said: str) -> None:
    assert main(["topology", "compare", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_an_edge_to_a_node_that_is_not_there(capsys, tmp_path: Path) -> None:
    path = tmp_path / "graph.toml"
    path.write_text('nodes = ["anna", "ben"]\nedges = [["anna", "bne"]]\n')
    assert main(["topology", "compare", "ring", str(path)]) == 2
    error = capsys.readouterr().err
    assert error == f"error: {path}: edge anna - bne: unknown node 'bne' (did you mean ben?)\n"


def test_an_underlay_edge_without_a_latency(capsys, tmp_path: Path) -> None:
    path = tmp_path / "graph.toml"
    path.write_text('edges = [["a", "b"], ["b", "c"], ["c", "a"]]\n')
    assert main(["topology", "compare", "ring", "--underlay", str(path), "--model-size", "9"]) == 2
    assert "has no latency_ms" in capsys.readouterr().err
