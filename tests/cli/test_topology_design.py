"""`p2pfl topology design`: its table, its files, its pictures, and what it says of bad input."""

import json
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.topology import load_topology
from p2pfl.topology.overlays.cycle import Workload, cycle_time_ms
from p2pfl.topology.overlays.overlay import rounds_to_target
from p2pfl.topology.overlays.underlay import load_underlay

HOSPITALS = Path(__file__).resolve().parent.parent.parent / "topology" / "hospitals.toml"
ASKED = ("--model-size", "1e6", "--compute-ms", "20", "--effort", "30")


def design(*words: object) -> int:
    return main(["topology", "design", *map(str, words)])


def test_a_table_a_file_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out, plot = tmp_path / "best.toml", tmp_path / "best.svg"
    assert design("--underlay", HOSPITALS, *ASKED, "-o", out, "--plot", plot) == 0
    shown = capsys.readouterr().out
    for name in (
        "star (server)",
        "ring, one way",
        "MST",
        "delta-MBST",
        "MATCHA",
        "MATCHA+",
        "regular 4",
    ):
        assert name in shown
    assert all(f"{name} *" in shown for name in ("star (server)", "ring, one way"))
    assert max(len(line) for line in shown.split("\n\n")[0].splitlines()) <= 80
    assert f"topology: {out}" in shown
    assert f"picture: {plot}" in shown
    assert "aachen" in plot.read_text()  # by name, on the map
    assert main(["topology", "show", str(out)]) == 0


def test_json_and_file_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "best.toml"
    assert design("--underlay", HOSPITALS, *ASKED, "-o", out, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    best, work = plan["best"], Workload(1e6, 20)
    found = load_topology(str(out))
    assert best in plan["ours"] + plan["published"]
    assert best["for_nodes"]
    assert best["round_ms"] <= min(one["round_ms"] for one in plan["published"]) * (1 + 1e-9)
    assert best["round_ms"] == pytest.approx(cycle_time_ms(found, load_underlay(HOSPITALS), work))
    assert best["rounds_to_target"] == rounds_to_target(found, 1e-3)
    assert best["target_ms"] == pytest.approx(best["rounds_to_target"] * best["round_ms"])


NETWORK = """
format = 1
[model]
name = "linear"
[pace]
mode = "lockstep"
rounds = 5
evaluate = 5
[mix]
rule = "average"
[topology]
file = "best.toml"
"""


@pytest.mark.parametrize("engine", ["events", "dense"])
def test_the_file_is_a_network_s_topology_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    assert design("--underlay", HOSPITALS, *ASKED, "-o", tmp_path / "best.toml") == 0
    names = load_topology(str(tmp_path / "best.toml")).nodes
    nodes = "".join(
        f'[[nodes]]\nname = "{name}"\nkey = "{i:064x}"\nurl = "http://h{i}.invalid:1"\n' for i, name in enumerate(names)
    )
    (tmp_path / "network.toml").write_text(NETWORK + nodes)
    capsys.readouterr()
    assert main(["sim", str(tmp_path / "network.toml"), "--engine", engine, "--quiet", "--json"]) == 0
    assert '"accuracy_mean"' in capsys.readouterr().out


def written(folder: Path, text: str, name: str = "under.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


LINE = '[[edge]]\na = "a"\nb = "b"\nlatency_ms = 1\n'
TRIANGLE = LINE + LINE.replace('"a"', '"c"') + LINE.replace('"b"', '"c"')
BAD_UNDERLAYS = [
    ("", "expected edges"),
    ('edges = [["a", "b"], ["b", "c"], ["a", "c"]]', "has no latency_ms (or distance): that is no underlay"),
    (LINE, "expected 3 to 256 silos, got 2"),
    (TRIANGLE.replace("latency_ms = 1", "latency_ms = -1"), "latency_ms"),
    (TRIANGLE.replace("latency_ms = 1", "latency_ms = nan"), "latency_ms"),
    (TRIANGLE.replace("latency_ms = 1", 'latency_ms = "1"'), "latency_ms"),
    (TRIANGLE.replace("latency_ms = 1", "latency_ms = 1\nbandwidth_mbps = 0"), "bandwidth"),
    (TRIANGLE.replace("latency_ms", "latency"), "unknown key 'latency' (did you mean latency_ms?)"),
    ('nodes = ["a", "b"]\n' + TRIANGLE, "unknown node"),
    (TRIANGLE + LINE.replace('"b"', '"a"'), "a"),
    (TRIANGLE + LINE.replace('"a"', '"x"').replace('"b"', '"y"'), "pieces"),
    ("[[edge", "under.toml"),
]


@pytest.mark.parametrize(("text", "words"), BAD_UNDERLAYS)
def test_underlays_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    assert design("--underlay", written(tmp_path, text), *ASKED) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1


BAD_WORDS = [
    (["--underlay", "absent.toml", *ASKED], "absent.toml"),
    (["--underlay", "graph.py", *ASKED], "an underlay is a .toml, .gml or .graphml file, not a script"),
    (["--underlay", HOSPITALS, *ASKED, "--plot", "x.gif"], "expected a file ending in .png, .svg, .pdf"),
    (["--underlay", HOSPITALS, *ASKED, "-o", "x.gml"], "expected a file ending in .toml"),
    (["--underlay", HOSPITALS, *ASKED, "-o", "no/such/folder/x.toml"], "cannot write"),
    (["--underlay", HOSPITALS, *ASKED, "--degree-max", "1"], "expected a largest degree of 2 to 256, got 1"),
    (["--underlay", HOSPITALS, *ASKED, "--target", "1"], "expected a target above 0 and below 1, got 1"),
    (["--underlay", HOSPITALS, *ASKED, "--access-mbps", "0"], "expected bandwidths above 0"),
    (["--underlay", HOSPITALS, "--model-size", "0", "--compute-ms", "1"], "expected a model of 1 to 1e15 bytes"),
    (["--underlay", HOSPITALS, "--model-size", "1e6", "--compute-ms", "-1"], "0 to 1e9 ms of work"),
    (["--underlay", HOSPITALS, *ASKED, "--effort", "-1"], "effort"),
    (["--underlay", HOSPITALS, "--compute-ms", "1"], "--model-size"),
]


@pytest.mark.parametrize(("words", "said"), BAD_WORDS)
def test_what_cannot_be(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[object],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert design(*words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
