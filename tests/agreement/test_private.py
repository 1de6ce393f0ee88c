"""Private training on all hosts: over HTTP, in virtual time and as one tensor program it gives the same models."""

import pytest
import torch

from p2pfl.errors import ConfigError
from p2pfl.runs.dense import build_dense, run_dense
from p2pfl.runs.simulate import World, build_simulation, run_simulation

pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")

EXAMPLE = {"unit": "example", "noise": 1.1, "rate": 0.2, "delta": 1e-4}
NODE = {"unit": "node", "noise": 0.5, "clip": 0.3, "delta": 1e-2}
PROMISES = {"example": EXAMPLE, "groups": EXAMPLE | {"group": 3}, "node": NODE}


@pytest.mark.parametrize("name", PROMISES)
@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_http_equals_the_simulator(kit, rule, name):
    config = kit.document(mix={"rule": rule}, compress={"codec": "deadzone"}, privacy=PROMISES[name])
    simulated, entropy = kit.in_virtual_time(config)
    assert kit.over_http(config, entropy) == simulated


@pytest.mark.parametrize("name", PROMISES)
@pytest.mark.parametrize("rule", ["pairwise", "average", "choco"])
def test_the_dense_engine_agrees(kit, rule, name):
    config = kit.document(mix={"rule": rule}, compress={"codec": "fp16"}, privacy=PROMISES[name])
    simulation = build_simulation(config, World(), dtype=torch.float64)
    assert run_simulation(simulation).outcome == "stopped"
    dense = build_dense(config, dtype=torch.float64)
    run_dense(dense)
    for node, (model, cell) in zip(
        simulation.nodes.values(), zip(dense.models().values(), dense.cells.values(), strict=True), strict=True
    ):
        assert torch.allclose(model, node.job.local.x, rtol=0, atol=1e-6)
        assert cell.local.averages.stated() == pytest.approx(node.job.local.averages.stated())


def test_noise_and_draws_come_from_the_nodes_own_entropy(kit):
    """The control: other entropy gives other models, and no two nodes draw alike."""
    config = kit.document(privacy=EXAMPLE)
    simulated, entropy = kit.in_virtual_time(config)
    other = {node: bytes(reversed(key)) for node, key in entropy.items()}
    assert len(set(entropy.values())) == len(entropy)
    assert kit.distance(kit.over_http(config, other), simulated) > 1e-3


def test_the_dense_engine_says_which_engine_it_cannot_use(kit):
    with pytest.raises(ConfigError, match="trains node by node"):
        build_dense(kit.document(privacy=EXAMPLE), engine="matmul")
