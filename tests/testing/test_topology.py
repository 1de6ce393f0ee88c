"""`check_topology` passes families and scripts that can be used, and says what is wrong with others."""

import runpy
from itertools import count
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from p2pfl.testing import check_topology
from p2pfl.topology import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
TURN = count()


@pytest.mark.parametrize("name", FAMILIES)
def test_families_pass(name: str) -> None:
    check_topology(FAMILIES[name], (16,))


def test_the_scripts_of_the_drawing_board_pass() -> None:
    scripts = [path for path in sorted((ROOT / "topology").glob("*.py")) if "def build" in path.read_text()]
    assert scripts
    for path in scripts:
        check_topology(runpy.run_path(str(path))["build"], (16,))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda n: nx.path_graph(n + 1), "to have 4 nodes, got 5"),
        (lambda n: nx.empty_graph(n), "no usable graph"),
        (lambda n: nx.path_graph(n, nx.DiGraph), "undirected"),
        (lambda n: [(0, 1)], "expected an nx.Graph"),
        (lambda n: nx.gnp_random_graph(n, 0.9, seed=next(TURN) // 2 * 2 + next(TURN)), "two graphs|no usable"),
        (lambda n: 1 // 0, "raised ZeroDivisionError"),
    ],
    ids=["another size", "in pieces", "directed", "no graph", "unseeded", "raises"],
)
def test_others_do_not(build: Any, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_topology(build)
