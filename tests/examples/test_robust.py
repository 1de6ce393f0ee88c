"""The default does not diverge: four graphs, learning rates over a tenfold range, unlike data. A cheap version."""

from pathlib import Path

import pytest

from p2pfl.config import load_network
from p2pfl.runs.compare import follow
from p2pfl.runs.simulate import World, simulated

TASK = Path(__file__).resolve().parents[2] / "examples" / "tasks" / "digits_mlp.toml"
LEAST = {"line": 0.35, "star": 0.2, "ring": 0.4, "torus": 0.5}
"""Mean accuracy after 40 rounds at the lowest rate; news travel slowly on a line, and a star meets one leaf a round."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", list(LEAST))
@pytest.mark.parametrize("lr", [0.05, 0.15, 0.5])
@pytest.mark.parametrize("mode", ["lockstep", "async"])
def test_whatever_the_learning_rate(family: str, lr: float, mode: str) -> None:
    changes = (
        *("seed=2", "model.args={hidden=[32]}", "pace.rounds=40", "pace.evaluate=20", f"pace.mode={mode}"),
        *(f"topology.family={family}", f"train.lr={lr}"),
    )
    config = simulated(load_network(TASK, changes), 16)
    curve = follow("", config, World(speeds=(1.0, 2.0, 4.0)) if mode == "async" else None)
    assert curve.failure is None
    assert curve.points[-1].accuracy >= LEAST[family], curve.points
