"""The scripts that users copy run as they are, by public calls alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMPARE, SIMULATE = ROOT / "topology" / "compare.py", ROOT / "scripts" / "simulate_topology.py"


def run(*command: str) -> list[str]:
    result = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_compare_prints_a_line_per_graph() -> None:
    lines = run(str(COMPARE), "--n", "16")
    assert lines[0].split()[0] == "graph"
    names = [line[:18].strip() for line in lines[1:]]
    assert names[:4] == ["ring", "two rings", "small world", "expander"]
    assert len(names) == 9


def test_compare_counts_seconds_on_real_links() -> None:
    lines = run(str(COMPARE), "--underlay", str(ROOT / "topology" / "hospitals.toml"))
    assert all(float(line.split()[-1]) > 0 for line in lines[1:])


@pytest.mark.slow
def test_simulate_trains_on_a_networkx_graph() -> None:
    lines = run(str(SIMULATE), "--n", "8", "--rounds", "3", "--graph", "ring of cliques", "--graph", "clusters")
    assert [line.split(" (")[0] for line in lines if not line.startswith(" ")] == ["ring of cliques", "clusters"]
    assert sum("accuracy by round" in line for line in lines) == 2


@pytest.mark.parametrize("script", [COMPARE, SIMULATE])
def test_they_use_public_names_alone(script: Path) -> None:
    imported = [node for node in ast.walk(ast.parse(script.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in imported if node.module and node.module.startswith("p2pfl")} == {"p2pfl.topology"}
