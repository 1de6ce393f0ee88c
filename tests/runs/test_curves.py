"""A curve has a point whenever all nodes have judged their models anew, and says when a target was met."""

from math import isnan
from pathlib import Path

import pytest

from p2pfl.config import load_network
from p2pfl.core.party import Emit, Scalar
from p2pfl.errors import HostError
from p2pfl.runs.compare import follow
from p2pfl.runs.curves import COLUMNS, Curve, write_csv
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import World, simulated

NETWORK = """
format = 1
seed = 3
[model]
name = "linear"
[pace]
mode = "lockstep"
rounds = 6
evaluate = 2
[train]
lr = 0.5
steps = 2
"""


def say(curve: Curve, outcome: Outcome, seconds: float, name: str, **fields: Scalar) -> None:
    emit = Emit(name, fields)
    outcome.take(seconds, emit)
    curve.take(outcome, emit)


def test_points_and_targets() -> None:
    curve, a, b = Curve("x", 2), Outcome("a", 10), Outcome("b", 10)
    for outcome, sent in ((a, 100), (b, 300)):
        say(curve, outcome, 1.0, "round", round=2, rounds=6, loss=1.0, bytes_sent=sent)
    say(curve, a, 1.5, "evaluation", split="validation", round=2, loss=1.0, accuracy=0.1)
    say(curve, a, 1.5, "evaluation", split="test", round=2, loss=1.0, accuracy=0.5)
    assert curve.points == []
    assert curve.best is None
    say(curve, b, 2.0, "evaluation", split="test", round=3, loss=3.0, accuracy=0.7)
    assert [point[:6] for point in curve.points] == [(2.5, 2.0, 200.0, 0.6, 0.5, 2.0)]
    for outcome in (a, b):
        say(curve, outcome, 3.0, "evaluation", split="validation", round=4, loss=0.0, accuracy=1.0)
        say(curve, outcome, 3.0, "evaluation", split="test", round=4, loss=0.0, accuracy=0.9)
    assert [point.accuracy for point in curve.points] == [0.6, 0.9]
    assert curve.best == 0.9
    assert curve.reached(0.6) is curve.points[0] is curve.at(0.7)
    assert curve.reached(0.8) is curve.points[1] is curve.at(1.0)
    assert curve.reached(0.95) is None
    assert curve.at(0.1) is None


def test_numbers_instead_of_classes() -> None:
    curve, node = Curve("x", 1, "train"), Outcome("a", 10)
    say(curve, node, 1.0, "evaluation", split="train", round=1, loss=2.0)
    assert isnan(curve.points[0].accuracy)
    assert curve.points[0].loss == 2.0


def test_both_engines_draw_the_same_curve(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(NETWORK)
    config = simulated(load_network(tmp_path / "network.toml"), 4)
    parties, dense = follow("parties", config, World()), follow("dense", config, None)
    assert [point.round for point in parties.points] == [2, 4, 6]
    assert [point.accuracy for point in dense.points] == pytest.approx([p.accuracy for p in parties.points], abs=0.01)
    assert parties.points[-1].seconds > parties.points[0].seconds > 0
    assert parties.points[-1].bytes_per_node > parties.points[0].bytes_per_node > 0
    assert [p.consensus for p in dense.points] == pytest.approx([p.consensus for p in parties.points], rel=0.05)
    assert all(p.consensus > 0 for p in dense.points)
    write_csv(tmp_path / "curves.csv", [parties, dense])
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert [line.split(",")[0] for line in lines[1:]] == ["parties"] * 3 + ["dense"] * 3
    with pytest.raises(HostError, match="cannot write"):
        write_csv(tmp_path / "nowhere" / "curves.csv", [parties])


HUGE = """
import numpy as np

def data():
    return np.full((60, 1, 8, 8), 3e38, np.float32), np.arange(60) % 10
"""


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "huge.py").write_text(HUGE)
    (tmp_path / "network.toml").write_text(NETWORK + '[data]\nsource = "huge.py:data"\npartition = { by = "iid" }\n')
    config = simulated(load_network(tmp_path / "network.toml"), 4)
    for world in (World(), None):
        curve = follow("wild", config, world)
        assert curve.failure is not None
        assert "loss" in curve.failure
        assert curve.points == []
