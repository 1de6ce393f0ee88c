"""`p2pfl topology show`, its pictures, and the user's drawing board: they run, quickly and without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from p2pfl.cli import main, root
from p2pfl.topology import FAMILIES, Place, Topology, load_topology
from p2pfl.topology.figures.draw import LAYOUT_MAX, compute_layout, draw

ROOT = Path(__file__).resolve().parent.parent.parent
BOARD = ROOT / "topology"
SCRIPTS = ["ring", "torus", "small_world", "expander", "exponential"]


def show(*words: str) -> str:
    result = CliRunner().invoke(root, ["topology", "show", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_show_for_people() -> None:
    lines = {line.split("  ")[0]: line for line in show("ring", "n=16").splitlines() if line}
    assert lines["nodes"].split() == ["nodes", "16"]
    assert lines["diameter"].split() == ["diameter", "8"]
    assert "0.05075" in lines["spectral gap"]
    assert lines["colours"].split()[1] == "2"
    assert lines["consensus"].split()[1] == "133"
    assert "n15" in show("ring", "n=16")
    assert "n15" not in show("complete", "n=16")  # too many edges to list


def test_show_for_machines() -> None:
    found = json.loads(show("torus", "--n", "9", "--json"))
    assert found["num_nodes"] == 9
    assert found["degree"] == {"min": 4, "mean": 4.0, "max": 4}
    assert found["digest"] == FAMILIES["torus"](9).digest.hex()
    assert found["edges"][0] == {"a": "n0", "b": "n1"}
    phased = json.loads(show("one-peer-exponential", "n=8", "--json"))
    assert phased["phases"] == 3
    assert phased["edges"][0] == {"a": "n0", "b": "n1", "phases": [0]}


def test_show_a_deployed_graph() -> None:
    text = show(str(BOARD / "hospitals.toml"))
    assert "3 to 9.5 ms" in text
    assert "100 to 1000 Mbit/s" in text


def test_mistakes_are_one_line_and_exit_two(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["rnig"], ["ring"], ["ring", "n=4", "k=3"], ["no.toml"], ["ring", "n=4", "--plot", "x.bmp"]):
        assert main(["topology", "show", *words]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1


def test_help_names_every_family() -> None:
    text = " ".join(show("--help").split())
    assert all(family in text for family in FAMILIES)


def test_topology_never_imports_torch() -> None:
    code = (
        "import sys; from p2pfl.cli import main\n"
        f"assert main(['topology', 'show', {str(BOARD / 'hospitals.toml')!r}]) == 0\n"
        "assert main(['topology', 'show', 'random-regular', 'n=32', '--json']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    run(sys.executable, "-c", code)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_print_the_edges_that_p2pfl_loads(name: str) -> None:
    printed = run(sys.executable, str(BOARD / f"{name}.py"), "--n", "12").splitlines()
    assert len(printed) == len(load_topology(str(BOARD / f"{name}.py"), 12).edges)


@pytest.mark.parametrize(("script", "family"), [("ring", "ring"), ("torus", "torus"), ("exponential", "exponential")])
def test_scripts_and_families_agree(script: str, family: str) -> None:
    for n in (9, 12, 16):
        assert load_topology(str(BOARD / f"{script}.py"), n) == load_topology(family, n)


def run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


# ---------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"ring.{ending}"
    assert str(path) in show("ring", "n=8", "--plot", str(path))
    assert path.stat().st_size > 2000


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from p2pfl.errors import ConfigError

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"p2pfl-node\[plot\]"):
        draw(FAMILIES["ring"](4), "ring")


def test_layout_uses_places_only_if_all_are_known() -> None:
    places = {"a": Place(0.0, 60.0), "b": Place(10.0, 60.0), "c": Place(0.0, 60.0)}
    edges = frozenset({("a", "b"), ("b", "c")})
    spots = compute_layout(Topology(tuple("abc"), edges, (), {}, places))
    assert spots["b"] == (pytest.approx(5.0), 60.0)  # a degree of longitude is half as long at 60 degrees north
    del places["c"]
    assert compute_layout(Topology(tuple("abc"), edges, (), {}, places))["b"] != spots["b"]


@pytest.mark.parametrize(
    ("family", "n"), [("ring", 12), ("star", 12), ("torus", 16), ("random-regular", LAYOUT_MAX + 2)]
)
def test_layouts_give_every_node_its_own_spot(family: str, n: int) -> None:
    spots = compute_layout(FAMILIES[family](n))
    assert len({(round(x, 6), round(y, 6)) for x, y in spots.values()}) == n
    assert spots == compute_layout(FAMILIES[family](n))
