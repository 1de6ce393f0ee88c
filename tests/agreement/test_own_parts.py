"""The examples of docs/your_own_parts.md, all in one network: in virtual time, over HTTP and as one tensor program."""

from pathlib import Path

import pytest
import torch

from p2pfl.config import NetworkConfig, load_network
from p2pfl.errors import ConfigError
from p2pfl.runs.dense import build_dense, run_dense
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def network(*overrides: str, rounds: int = 4) -> NetworkConfig:
    few = (f"pace.rounds={rounds}", "pace.evaluate=0", "data.args={ samples = 240 }")
    return simulated(load_network(EXAMPLES / "network.toml", (*few, *overrides)), 4)


def test_http_equals_the_simulator(kit):
    """Every node's model bit for bit: without a change to any of the parts."""
    config = network()
    in_virtual_time, entropy = kit.in_virtual_time(config)
    served = kit.over_http(config, entropy)
    assert served == in_virtual_time
    assert len({end.x for end in served.values()}) > 1  # a gossip network, not one model


@pytest.mark.parametrize("rule", [(), ("mix={}",)], ids=["own mixer", "pairwise"])
def test_the_dense_engine_agrees(rule):
    config = network(*rule)
    simulation = build_simulation(config, World(), dtype=torch.float64)
    assert run_simulation(simulation).outcome == "stopped"
    run = build_dense(config, dtype=torch.float64)
    run_dense(run)
    for name, node in simulation.nodes.items():
        assert torch.allclose(run.models()[name], node.job.local.x, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_it_learns_what_no_node_could_alone():
    config = network("pace.rounds=150", "data.args={ samples = 900 }")
    run = build_dense(config)
    run_dense(run)
    accuracies = [outcome.summary()["accuracy"] for outcome in run.outcomes.values()]
    assert min(accuracies) >= 0.9  # 0.97 in the mean; a node alone comes to about 0.5


WRONG = [
    ('compress.codec="own_mixer.py:Clipped"', "expected it to have bounds"),
    ('compress.codec="own_codec.py:LARGEST"', "expected a class or function, got float"),
    ('compress={ codec = "own_codec.py:Byte", levels = 3 }', "has no option 'levels'"),
    ('mix={ rule = "own_mixer.py:Clipped", radius = -1.0 }', "mix.radius: expected a number above 0"),
    ('mix={ rule = "own_codec.py:Byte" }', "expected it to have needs"),
    ('train.learner="own_model.py:rings_net"', "has no option 'rho'"),
    ('train.learner="own_learner.py:Shrap"', "did you mean 'Sharp'"),
    ("train.learner_args={ rho = -1.0 }", "rho: expected a number"),
    ("train.learner_args={ roh = 0.1 }", "has no option 'roh', did you mean 'rho'"),
    ('train.learner="trch"', "unknown learner 'trch', did you mean 'torch'"),
]


@pytest.mark.parametrize(("override", "sentence"), WRONG, ids=[override for override, _ in WRONG])
def test_what_does_not_fit_is_one_line(override, sentence, monkeypatch):
    monkeypatch.chdir(EXAMPLES)  # names on a command line are relative to the working folder
    with pytest.raises(ConfigError, match=sentence) as caught:
        build_simulation(network(override), World())
    assert "\n" not in str(caught.value)
