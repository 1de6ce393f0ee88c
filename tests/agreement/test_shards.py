"""A network in shards is the same network: whatever the number of workers, results equal the dense engine's.

In float64 every value of every node's model agrees within 1e-6, every edge's reference bit for bit at both ends, and
all bytes are counted as if nothing were divided.
"""

from pathlib import Path

import pytest
import torch

from p2pfl.compress import CODECS
from p2pfl.config import NetworkConfig, load_network
from p2pfl.mixing import MIXERS
from p2pfl.runs.dense import DenseRun, build_dense, dense_summary, run_dense
from p2pfl.runs.shards_run import ShardedRun, build_sharded, run_sharded, sharded_summary
from p2pfl.runs.shards_team import LocalTeam
from p2pfl.runs.simulate import simulated

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TOLERANCE = 1e-6
RULES = [rule for rule in MIXERS if rule != "cell"]  # its cells are no neighbourhoods
QUICK = [(rule, "int8") for rule in RULES] + [("pairwise", "deadzone"), ("average", "fp32")]
REST = [(rule, codec) for rule in RULES for codec in CODECS if (rule, codec) not in QUICK]


def network(kit, rule: str, codec: str, family: str = "small-world", nodes: int = 9, **sections) -> NetworkConfig:
    """A small graph in which every shard of three has neighbours in the others; three rounds and a closing exchange."""
    small = {"name": "mlp", "args": {"hidden": [6]}, "input_shape": [1, 8, 8], "num_classes": 10}
    pace = {"rounds": 3, "evaluate": 2, "closing": 1} | sections.pop("pace", {})
    config = kit.document(
        mix={"rule": rule} | sections.pop("mix", {}),
        compress={"codec": codec},
        topology={"family": "complete" if rule == "fedavg" else family},
        model=small,
        pace=pace,
        **sections,
    )
    return simulated(config, nodes)


def in_shards(config: NetworkConfig, workers: int, dtype=torch.float64) -> tuple[ShardedRun, dict[str, torch.Tensor]]:
    """The run, and each node's model."""
    run = build_sharded(config, workers, dtype=dtype, engine="loop" if dtype == torch.float32 else "auto")
    team = LocalTeam(run.orders)
    run_sharded(run, team)
    models = {run.names[number]: torch.from_numpy(x) for shard in team.shards for number, _, x in shard.models()}
    return run, models


def undivided(config: NetworkConfig, dtype=torch.float64) -> DenseRun:
    run = build_dense(config, dtype=dtype, engine="loop" if dtype == torch.float32 else "auto")
    run_dense(run)
    return run


def agree(config: NetworkConfig, counts=(1, 2, 3), dtype=torch.float64, tolerance=TOLERANCE) -> None:
    whole = undivided(config, dtype)
    expected, summary = whole.models(), dense_summary(whole, None)
    for workers in counts:
        run, models = in_shards(config, workers, dtype)
        assert models.keys() == expected.keys()
        assert max(float((models[name] - x).abs().max()) for name, x in expected.items()) <= tolerance
        got = sharded_summary(run, None)
        assert got["references_agree"]
        for one, two in zip(got["per_node"], summary["per_node"], strict=True):
            for key in ("round", "rounds", "bytes_sent", "bytes_received", "bodies_sent", "body_bytes_sent"):
                assert one[key] == two[key], (workers, one["name"], key)
            assert [edge["seq"] for edge in one["edges"]] == [edge["seq"] for edge in two["edges"]]
            assert one["accuracy"] == pytest.approx(two["accuracy"])


@pytest.mark.parametrize(("rule", "codec"), QUICK)
def test_so_many_workers_are_one(kit, rule, codec):
    agree(network(kit, rule, codec), (1, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "codec"), REST)
def test_so_many_workers_are_one_for_all_others(kit, rule, codec):
    agree(network(kit, rule, codec))


@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_sizes_that_were_measured_elsewhere_count(kit, rule):
    """Above 16 nodes some are measured in turn, and their mean over all shards stands for the others."""
    agree(network(kit, rule, "deadzone", nodes=20), (3,))


@pytest.mark.parametrize(("rule", "codec"), [("pairwise", "deadzone"), ("average", "int8"), ("average", "fp32")])
def test_in_float32_with_the_nodes_own_loop_every_bit_is_the_same(kit, rule, codec):
    agree(network(kit, rule, codec, nodes=12), (2, 5, 12), torch.float32, tolerance=0.0)


@pytest.mark.parametrize("family", ["one-peer-exponential", "matcha", "star"])
@pytest.mark.parametrize("rule", ["pairwise", "push_sum", "gradient_tracking"])
def test_graphs_that_change_and_nodes_of_different_degree(kit, rule, family):
    nodes = 8 if family == "one-peer-exponential" else 9
    agree(network(kit, rule, "int8", family, nodes, pace={"rounds": 4}), (3,))


@pytest.mark.parametrize("rule", ["epidemic", "push_sum"])
def test_drawn_peers(kit, rule):
    agree(network(kit, rule, "fp32", "complete", mix={"fanout": 2}), (2,))


@pytest.mark.parametrize(
    "sections",
    [
        {"pace": {"participants": 0.5, "rounds": 4}},
        {"train": {"weighting": "samples"}, "data": {"partition": {"by": "dirichlet", "alpha": 0.1, "equal": False}}},
        {"train": {"clip_norm": 0.05, "noise": 0.1}, "data": {"validation_fraction": 0.2}},
        {"train": {"optimizer": "adam", "lr": 0.3, "steps": 5}, "pace": {"rounds": 12}},
        {"pace": {"stop_at": 0.05, "evaluate": 1, "rounds": 20}},
    ],
    ids=["participants", "weights by samples", "clip, noise, validation", "outgrown references", "early stop"],
)
@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_the_workflow_around_the_rule_is_the_same(kit, rule, sections):
    agree(network(kit, rule, "fp32", **sections), (3,))


def test_new_epochs_pass_between_shards(kit):
    """The control of "outgrown references": there are some."""
    train = {"optimizer": "adam", "lr": 0.3, "steps": 5}
    config = network(kit, "pairwise", "deadzone", train=train, pace={"rounds": 12})
    whole, (run, _) = undivided(config), in_shards(config, 3)
    assert any(int(edge["epoch"] or 0) for outcome in run.outcomes.values() for edge in outcome.edges)
    assert [o.edges for o in run.outcomes.values()] == [o.edges for o in whole.outcomes.values()]


@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_a_node_that_cannot_train_on_ends_the_run_everywhere(kit, rule):
    run = build_sharded(network(kit, rule, "fp32", pace={"rounds": 9}), 3, engine="loop")
    team = LocalTeam(run.orders)
    sick = run.names[run.members[1][0]]
    team.shards[1].host.models.x[0] = float("inf")
    run_sharded(run, team)
    assert run.failed
    assert [name for name, outcome in run.outcomes.items() if outcome.failure] == [sick]
    assert [shard.host.index for shard in team.shards] == [0, 0, 0]


@pytest.mark.parametrize("rule", [(), ("mix={}",)], ids=["own mixer", "pairwise"])
def test_parts_of_ones_own(rule):
    """The examples' learner, codec, rule and data: one learner a node instead of a crew."""
    few = ("pace.rounds=3", "pace.evaluate=0", "data.args={ samples = 240 }", *rule)
    agree(simulated(load_network(EXAMPLES / "network.toml", few), 5), (2,))


def test_the_comparison_sees_a_row_that_does_not_cross(kit, monkeypatch):
    """The control: if what other shards say were lost, results would differ by far."""
    config = network(kit, "average", "fp32")
    _, expected = in_shards(config, 1)
    monkeypatch.setattr("p2pfl.hosts.shards_rows.ShardRows._heard", lambda self, index: _deaf(self))
    _, models = in_shards(config, 3)
    assert max(float((models[name] - x).abs().max()) for name, x in expected.items()) > 1000 * TOLERANCE


def _deaf(rows):
    words, count = rows.words, len(rows.elsewhere)
    notes = torch.cat([words.notes, torch.zeros((count, words.notes.shape[1]), dtype=torch.float64)])
    return words._replace(notes=notes, stated=words.stated + words.stated[:1] * count, sizes=words.sizes + [1] * count)
