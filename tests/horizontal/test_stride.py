"""Phases of a time budget: as many steps as a machine does in it, and no pull of the mean towards the fast ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.config import load_network
from p2pfl.errors import ConfigError
from p2pfl.horizontal.pace.sizes import KEPT
from p2pfl.horizontal.pace.stride import CHANGE_MAX, Stride
from p2pfl.runs.dense import build_dense
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated

SPEEDS = (1.0, 2.0, 4.0, 8.0)
STEP_S = 0.01

TASK = '''
import numpy as np
from torch import nn

def samples():
    """Least squares whose optimum differs from shard to shard: whose pulls count more shows in the common model."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4 * 64, 3)).astype(np.float32)
    slopes = np.repeat(rng.normal(size=(4, 3)), 64, axis=0)
    return x, (x * slopes).sum(1).astype(np.float32)

def in_turn(data, num_nodes, rng):
    return np.split(np.arange(len(data)), num_nodes)

def model(input_shape, num_classes):
    return nn.Sequential(nn.Linear(3, 1, bias=False), nn.Flatten(0))
'''

NETWORK = """
format = 1
[model]
name = "task.py:model"
input_shape = [3]
num_classes = 1
[mix]
rule = "{rule}"
[compress]
codec = "fp32"
[pace]
rounds = {rounds}
evaluate = 0
[topology]
family = "complete"
[train]
lr = {lr}
batch_size = 1000
steps = 4
schedule = {{ kind = "constant" }}
{more}
[data]
source = "task.py:samples"
partition = {{ by = "task.py:in_turn" }}
test_fraction = 0.0
validation_fraction = 0.0
"""


@given(st.floats(1e-4, 10.0), st.floats(1e-3, 100.0))
def test_at_a_steady_speed_the_phase_fills_the_budget(step_s: float, seconds: float) -> None:
    stride = Stride(seconds, 5)
    for _ in range(40):
        stride.took(stride.steps * step_s, stride.steps)
    wanted = max(round(min(seconds / step_s, 2**20)), 1)
    assert abs(stride.steps - wanted) <= 1


@given(st.lists(st.floats(0.0, 1e6), max_size=20))
def test_a_phase_is_never_empty_and_changes_by_bounded_factors(durations: list[float]) -> None:
    stride = Stride(1.0, 5)
    for seconds in durations:
        before = stride.steps
        stride.took(seconds, before)
        assert 1 <= stride.steps <= before * CHANGE_MAX
        assert stride.steps >= int(before / CHANGE_MAX)


def test_one_phase_that_was_held_up_changes_nothing() -> None:
    stride = Stride(1.0, 5)
    for _ in range(KEPT + 4):
        stride.took(0.01 * stride.steps, stride.steps)
    stride.took(50.0, 100)
    assert stride.steps == 100


def run(folder: Path, rule: str, more: str = "", rounds: int = 100, lr: float = 0.05) -> Simulation:
    (folder / "task.py").write_text(TASK)
    (folder / "network.toml").write_text(NETWORK.format(rule=rule, more=more, rounds=rounds, lr=lr))
    config = simulated(load_network(folder / "network.toml"), 4)
    simulation = build_simulation(config, World(step_s=STEP_S, wire_s=STEP_S / 10, speeds=SPEEDS))
    assert run_simulation(simulation).outcome == "stopped"
    return simulation


def bias(simulation: Simulation) -> float:
    """How far the nodes' mean model is from the optimum in which all shards, of one size, count alike; relative to how
    far the fastest node's own optimum is from it."""
    train, shares = simulation.held.train, simulation.shares

    def optimum(rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.linalg.lstsq(train.x[rows].numpy(), train.y[rows].numpy(), rcond=None)[0])

    every = optimum(torch.cat(list(shares)))
    mean = torch.stack([node.job.local.x for node in simulation.nodes.values()]).mean(0)
    return float((mean - every).norm() / (optimum(shares[3]) - every).norm())


@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_a_phase_takes_as_many_steps_as_the_machine_does_in_the_time(tmp_path: Path, rule: str) -> None:
    simulation = run(tmp_path, rule, f"seconds = {8 * STEP_S}", rounds=20)
    steps = [node.job.local.steps for node in simulation.nodes.values()]
    for speed, count in zip(SPEEDS, steps, strict=True):
        assert count / steps[0] == pytest.approx(speed, rel=0.35)
    for speed, node in zip(SPEEDS, simulation.nodes.values(), strict=True):
        assert node.job.stride is not None
        assert node.job.stride.steps == 8 * speed


@pytest.mark.slow
def test_the_pairwise_rule_ends_where_all_pulls_cancel(tmp_path: Path) -> None:
    assert bias(run(tmp_path, "pairwise", f"seconds = {8 * STEP_S}")) < 0.03
    assert bias(run(tmp_path, "pairwise")) < 0.03


@pytest.mark.slow
def test_averaging_rules_count_every_phase_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = bias(run(tmp_path, "average", f"seconds = {4 * STEP_S}", lr=0.01))
    monkeypatch.setattr("p2pfl.assemble.network.alike", lambda train, network, mixer: train)
    plain = bias(run(tmp_path, "average", f"seconds = {4 * STEP_S}", lr=0.01))
    assert alike < 0.1
    assert plain > 0.3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("train.epochs=1.0", "expected steps or epochs"),
        ("privacy={unit='example', epsilon=4.0, clip=1.0}", "train.seconds: with .privacy., give train.steps alone"),
    ],
)
def test_what_time_must_not_decide(tmp_path: Path, more: str, said: str) -> None:
    (tmp_path / "network.toml").write_text("format = 1\n[model]\nname = 'linear'\n[train]\nsteps = 5\nseconds = 1.0\n")
    with pytest.raises(ConfigError, match=said):
        build_simulation(simulated(load_network(tmp_path / "network.toml", (more,)), 4), World())


def test_seconds_or_epochs(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text("format = 1\n[train]\nepochs = 1.0\nseconds = 1.0\n")
    with pytest.raises(ConfigError, match=r"expected seconds or epochs, got both \(1 and 1\)"):
        load_network(tmp_path / "network.toml")


def test_the_dense_engine_has_no_time(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text("format = 1\n[pace]\nmode = 'lockstep'\n[train]\nseconds = 1.0\n")
    with pytest.raises(ConfigError, match=r"train.seconds: this engine knows no time; use --engine events"):
        build_dense(simulated(load_network(tmp_path / "network.toml"), 4))
