"""Two tasks in one network, on both engines: groups, matrix and picture; and that the average spoils both."""

from pathlib import Path

import pytest

from p2pfl.config import NetworkConfig, load_network
from p2pfl.runs.dense import build_dense, dense_summary, run_dense, write_dense
from p2pfl.runs.folder import RunFolder
from p2pfl.runs.network import network_summary
from p2pfl.runs.similarity import picture, similarity_report
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "clusters" / "network.toml"


def network(rule: str = "similarity", **more: object) -> NetworkConfig:
    changes = {"mix.rule": rule, "pace.rounds": 12, "pace.evaluate": 0, "data.args": "{ parts = 3 }", **more}
    text = tuple(f"{key}={value}" for key, value in changes.items())
    return simulated(load_network(EXAMPLE, ("model.args={hidden=[24]}", *text)), 6)


def judged(summary: dict) -> float:
    found = [row["evaluations"]["validation"]["accuracy"] for row in summary["per_node"]]
    return sum(found) / len(found)


def dense(config: NetworkConfig, out: Path | None = None) -> dict:
    run = build_dense(config)
    run_dense(run)
    summary = dense_summary(run, None)
    if out is not None:
        write_dense(RunFolder.open(out, resume=False), run, summary)
    return summary


def test_groups_are_the_tasks_and_the_picture_shows_them(tmp_path: Path) -> None:
    config = network()
    found, plain = dense(config, tmp_path / "run"), dense(network("average"))
    assert judged(found) > judged(plain) + 0.2
    assert plain["similarity"] is None
    report = found["similarity"]
    assert sorted(len(group) for group in report["groups"]) == [3, 3]
    for row, values in enumerate(report["matrix"]):
        for column, value in enumerate(values):
            assert (value > 0.5) if row // 3 == column // 3 else (value < -0.5)
    text = (tmp_path / "run" / "similarity.svg").read_text()
    assert text.count("<rect") == 36


@pytest.mark.parametrize("mode", ["lockstep", pytest.param("semi_sync", marks=pytest.mark.slow)])
def test_parties_find_the_same_groups(mode: str) -> None:
    config = network(**{"pace.mode": mode})
    simulation = build_simulation(config, World())
    assert run_simulation(simulation).outcome == "stopped"
    ids = {name: node.hex() for name, node in simulation.shared.ids.items()}
    stores = [simulation.host.store(node) for node in simulation.shared.ids.values()]
    summary = network_summary(simulation.outcomes.values(), None, ids, stores)
    expected = dense(network())["similarity"]
    assert summary["similarity"]["groups"] == expected["groups"]
    if mode == "lockstep":
        for one, two in zip(summary["similarity"]["matrix"], expected["matrix"], strict=True):
            assert one == pytest.approx(two, abs=1e-3)


def test_where_two_are_no_neighbours_the_matrix_says_nothing() -> None:
    ids = {"a": "01", "b": "02", "c": "03"}
    rows = [
        {"name": "a", "similarity": {"02": 0.9}},
        {"name": "b", "similarity": {"01": 0.8, "03": 0.7}},
        {"name": "c", "similarity": {"02": 0.2, "ff": 1.0}},
    ]
    report = similarity_report(rows, ids)
    assert report is not None
    assert report["groups"] == [["a", "b"], ["c"]]
    assert report["matrix"] == [[1.0, 0.9, None], [0.8, 1.0, 0.7], [None, 0.2, 1.0]]
    assert "#dddddd" in picture(report["names"], report["matrix"])
    assert similarity_report([{"name": "a", "similarity": None}], ids) is None
