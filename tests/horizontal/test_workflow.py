"""FedAvg's workflow without a server: lots, weights, common end, closing exchanges, clipped and noised updates."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.config import NetworkConfig, load_network
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, gaussian, root
from p2pfl.errors import ConfigError
from p2pfl.horizontal.terms.workflow import WEIGHT_MAX, StopRule, trains, weight_of
from p2pfl.privacy import ClipAndNoise
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated

TASK = '''
import numpy as np
from torch import nn

SIZES = (16, 32, 64, 128)

def samples():
    """Least squares whose optimum differs from shard to shard, so that the weights of the shards matter."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(sum(SIZES), 3)).astype(np.float32)
    shard = np.repeat(np.arange(len(SIZES)), SIZES)
    slopes = rng.normal(size=(len(SIZES), 3))
    y = (x * slopes[shard]).sum(1).astype(np.float32)
    return x, y

def unequal(data, num_nodes, rng):
    cuts = np.cumsum((0, *SIZES))
    return [np.arange(a, b) for a, b in zip(cuts, cuts[1:])]

def model(input_shape, num_classes):
    return nn.Sequential(nn.Linear(3, 1, bias=False), nn.Flatten(0))
'''

NETWORK = """
format = 1
[model]
name = "task.py:model"
input_shape = [3]
num_classes = 1
[pace]
mode = "{mode}"
rounds = {rounds}
evaluate = 2
[topology]
family = "ring"
[train]
lr = 0.1
batch_size = 1000
steps = 1
weighting = "{weighting}"
schedule = {{ kind = "constant" }}
[data]
source = "task.py:samples"
partition = {{ by = "task.py:unequal" }}
test_fraction = 0.0
validation_fraction = 0.0
"""


def network(folder: Path, **changes: object) -> NetworkConfig:
    values = {"mode": "async", "rounds": 300, "weighting": "uniform"} | changes
    (folder / "task.py").write_text(TASK)
    (folder / "network.toml").write_text(NETWORK.format(**values))
    return load_network(folder / "network.toml")


def digits(folder: Path, *overrides: str) -> NetworkConfig:
    (folder / "digits.toml").write_text("format = 1\n[model]\nname = 'linear'\n")
    return load_network(folder / "digits.toml", overrides)


def run(config: NetworkConfig, num_nodes: int) -> Simulation:
    simulation = build_simulation(simulated(config, num_nodes), World())
    trace = run_simulation(simulation)
    assert trace.outcome == "stopped"
    return simulation


def models(simulation: Simulation) -> torch.Tensor:
    return torch.stack([node.job.local.x for node in simulation.nodes.values()])


def pooled_optimum(simulation: Simulation) -> torch.Tensor:
    x = simulation.held.train.x.numpy()
    y = simulation.held.train.y.numpy()
    return torch.from_numpy(np.linalg.lstsq(x, y, rcond=None)[0])


@pytest.mark.parametrize("mode", [pytest.param("async", marks=pytest.mark.slow), "lockstep"])
def test_weighting_by_samples_reaches_the_pooled_optimum(tmp_path: Path, mode: str) -> None:
    simulation = run(network(tmp_path, weighting="samples", mode=mode), 4)
    assert (models(simulation) - pooled_optimum(simulation)).abs().max() < 1e-3


@pytest.mark.slow
def test_weighting_uniformly_does_not(tmp_path: Path) -> None:
    simulation = run(network(tmp_path), 4)
    found = models(simulation)
    assert (found - found.mean(0)).abs().max() < 1e-2  # they do agree
    assert (found - pooled_optimum(simulation)).abs().max() > 0.05


@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e9))
def test_a_claimed_count_weighs_within_bounds(own: float, mean: float) -> None:
    assert 1 / WEIGHT_MAX <= weight_of(own, mean) <= WEIGHT_MAX


@given(st.integers(1, 20), st.floats(0.05, 1.0), st.integers(0, 50))
def test_as_many_take_part_as_are_asked_for(count: int, share: float, round_: int) -> None:
    members = [NodeId(bytes([i]) * 32) for i in range(count)]
    chosen = [m for m in members if trains(m, members, round_, share, root(1))]
    assert len(chosen) == (count if share >= 1 else max(1, int(np.ceil(share * count - 1e-9))))


def test_lots_change_from_round_to_round_and_hang_on_the_seed() -> None:
    members = [NodeId(bytes([i]) * 32) for i in range(10)]

    def drawn(round_: int, seed: Key) -> list[bool]:
        return [trains(m, members, round_, 0.5, seed) for m in members]

    assert len({tuple(drawn(r, root(1))) for r in range(20)}) > 10
    assert drawn(3, root(1)) != drawn(3, root(2))


def test_who_is_not_drawn_does_not_train_but_takes_part(tmp_path: Path) -> None:
    config = digits(tmp_path, "pace.mode=lockstep", "pace.rounds=12", "pace.participants=0.5", "topology.family=ring")
    simulation = run(config, 4)
    phases = [node.job.local.opt.steps // 5 for node in simulation.nodes.values()]
    assert sum(phases) == 12 * 2
    assert all(edge.exchanges for node in simulation.nodes.values() for edge in node.job.exchange.edges.values())


def test_participants_need_lockstep(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pace\.participants"):
        run(digits(tmp_path, "pace.participants=0.5"), 4)


@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_all_stop_in_the_same_round(tmp_path: Path, rule: str) -> None:
    config = digits(
        tmp_path,
        f"mix.rule={rule}",
        "pace.mode=lockstep",
        "pace.rounds=200",
        "pace.evaluate=2",
        "pace.stop_at=0.5",
        "topology.family=ring",
        "train.lr=0.5",
    )
    simulation = run(config, 5)
    ends = {node.job.local.last_round for node in simulation.nodes.values()}
    assert len(ends) == 1
    assert ends.pop() < 200
    assert len({node.job.local.round for node in simulation.nodes.values()}) == 1


def test_a_stop_rule_looks_up_or_down() -> None:
    assert StopRule("accuracy", 0.9, 3).reached(0.9)
    assert not StopRule("accuracy", 0.9, 3).reached(0.89)
    assert StopRule("loss", 0.1, 3).reached(0.1)
    assert not StopRule("loss", 0.1, 3).reached(0.0)  # nothing has been judged yet


@pytest.mark.parametrize("mode", ["async", "lockstep"])
def test_closing_exchanges_bring_the_models_together(tmp_path: Path, mode: str) -> None:
    def spread(closing: int) -> float:
        config = digits(tmp_path, f"pace.mode={mode}", "pace.rounds=10", f"pace.closing={closing}", "train.lr=1.0")
        x = models(run(config, 5))
        return float((x - x.mean(0)).norm() / x.mean(0).norm())

    assert spread(4) < 0.6 * spread(0)


def test_updates_are_clipped_then_noised() -> None:
    delta = torch.ones(10_000)
    key = root(5)
    clipped = ClipAndNoise(2.0).apply(delta, key)
    assert abs(float(clipped.norm()) - 2.0) < 1e-4
    assert torch.equal(ClipAndNoise(1000.0).apply(delta, key), delta)
    noised = ClipAndNoise(2.0, 0.5).apply(delta, key) - clipped
    assert abs(float(noised.std()) - 1.0) < 0.03
    assert abs(float(noised.mean())) < 0.04


def test_noise_is_normal_and_hangs_on_the_key() -> None:
    one, two = gaussian(root(1), 100_001), gaussian(root(2), 100_001)
    assert len(one) == 100_001
    assert np.array_equal(one, gaussian(root(1), 100_001))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.02
    share = [(np.abs(one) < k).mean() for k in (1, 2, 3)]
    assert np.allclose(share, [0.6827, 0.9545, 0.9973], atol=0.005)


def test_a_network_with_noise_still_learns_and_without_clip_is_refused(tmp_path: Path) -> None:
    base = digits(tmp_path, "pace.rounds=20", "train.clip_norm=0.5", "train.noise=0.001", "train.lr=0.5")
    simulation = run(base, 3)
    accuracies = [outcome.accuracy for outcome in simulation.outcomes.values()]
    assert min(a for a in accuracies if a is not None) > 0.5
    with pytest.raises(ConfigError, match="clip_norm"):
        run(replace(base, train=replace(base.train, clip_norm=None)), 3)
