"""Parts, adapters, thawing layers, aligned features: one algorithm on all hosts; what stays never leaves."""

import pytest
import torch

from p2pfl.learn.part import KEPT
from p2pfl.runs.dense import build_dense, run_dense
from p2pfl.runs.shards_run import build_sharded, run_sharded
from p2pfl.runs.shards_team import LocalTeam
from p2pfl.runs.simulate import World, build_simulation, run_simulation

CNN = {"name": "cnn", "args": {"channels": [4], "hidden": 8, "norm": "batch"}}
WAYS = {
    "share": {"model": {"share": ["1.*"]}},
    "share batch norm": {"model": CNN | {"share": ["0", "1"]}},
    "freeze": {"model": {"freeze": ["1"]}},
    "adapters": {"model": {"adapters": {"rank": 2, "also": ["3"]}}},
    "adapters, own heads": {"model": {"adapters": {"rank": 2, "also": ["3"]}, "share": ["*.adapter_*"]}},
    "unfreeze": {"train": {"unfreeze": {"every": 2}, "optimizer": "momentum", "lr": 0.05}},
    "coral": {"train": {"align": {"rule": "coral"}}, "public": {"source": "digits", "rows": 40}},
    "mmd": {"train": {"align": {"rule": "mmd", "layer": "3"}}, "public": {"source": "digits", "rows": 40}},
}


def config_of(kit, name, **sections):
    return kit.document(**WAYS[name], **sections)


@pytest.mark.parametrize("name", ["share batch norm", "adapters, own heads", "unfreeze", "coral"])
def test_http_equals_the_simulator(kit, name):
    config = config_of(kit, name, compress={"codec": "deadzone"})
    simulated, entropy = kit.in_virtual_time(config)
    assert kit.over_http(config, entropy) == simulated


@pytest.mark.parametrize(("name", "rule"), [*((name, "pairwise") for name in WAYS), ("share", "average")])
def test_the_dense_engine_and_shards_agree(kit, name, rule):
    """What travels, and what each node keeps."""
    config = config_of(kit, name, mix={"rule": rule}, compress={"codec": "fp16"})
    simulation = build_simulation(config, World(), dtype=torch.float64)
    assert run_simulation(simulation).outcome == "stopped"
    dense = build_dense(config, dtype=torch.float64)
    run_dense(dense)
    run = build_sharded(config, 2, dtype=torch.float64)
    team = LocalTeam(run.orders)
    run_sharded(run, team)
    parts = {run.names[number]: torch.from_numpy(x) for shard in team.shards for number, _, x in shard.models()}
    whole = dense.whole_models()
    for node_name, node in simulation.nodes.items():
        local = node.job.local
        assert torch.allclose(dense.models()[node_name], local.x, rtol=0, atol=1e-6)
        mine = simulation.shared.whole(local.x, local.opt.slots)
        assert torch.allclose(whole[node_name], mine, rtol=0, atol=1e-6)
        assert torch.allclose(parts[node_name], mine, rtol=0, atol=1e-6)


def test_what_is_kept_differs_and_what_travels_is_all_that_travels(kit):
    config = config_of(kit, "share", pace={"closing": 2})
    simulation = build_simulation(config, World())
    run_simulation(simulation)
    kept = [node.job.local.opt.slots[KEPT] for node in simulation.nodes.values()]
    assert all(not torch.equal(kept[0], other) for other in kept[1:])
    assert simulation.shared.schema.size == 64 * 16 + 16
    assert all(node.job.local.x.numel() == simulation.shared.schema.size for node in simulation.nodes.values())


@pytest.mark.parametrize("privacy", [{"unit": "example", "noise": 1.0, "rate": 0.2}, {"unit": "node", "noise": 0.5}])
def test_privately_too(kit, privacy):
    pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")
    config = config_of(kit, "share", privacy=privacy)
    simulated, entropy = kit.in_virtual_time(config)
    assert kit.over_http(config, entropy) == simulated
