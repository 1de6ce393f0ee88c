"""The dense engine is the simulator's arithmetic over all nodes: the same keys, and the same results to rounding.

In float64 every value of every node's model agrees within 1e-6 (as measured, within 1e-15). In float32 the order of a
sum may differ in its last bit, which a quantiser turns into another level: there what a codec gives on equal input is
equal bit for bit, and final accuracies are within half a point.
"""

from dataclasses import replace
from functools import partial

import pytest
import torch

from p2pfl.compress import CODECS
from p2pfl.config import NetworkConfig
from p2pfl.core.noise import root
from p2pfl.horizontal.model.algorithm import encode_vectors, project_vectors
from p2pfl.mixing import MIXERS
from p2pfl.runs.dense import DenseRun, build_dense, dense_summary, run_dense
from p2pfl.runs.network import network_summary
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated

TOLERANCE = 1e-6
PLAIN = [rule for rule in MIXERS if rule != "cell"]  # a sum of rounded values: tests/secagg/test_exchange.py
QUICK = [(rule, "fp16") for rule in PLAIN] + [("choco", codec) for codec in CODECS if codec != "fp16"]
REST = [(rule, codec) for rule in PLAIN for codec in CODECS if (rule, codec) not in QUICK]


def network(kit, rule: str, codec: str, family: str = "ring", **sections) -> NetworkConfig:
    """Eight nodes, three rounds of a small model, and one closing exchange."""
    small = {"name": "mlp", "args": {"hidden": [6]}, "input_shape": [1, 8, 8], "num_classes": 10}
    pace = {"rounds": 3, "evaluate": 0, "closing": 1} | sections.pop("pace", {})
    config = kit.document(
        mix={"rule": rule} | sections.pop("mix", {}),
        compress={"codec": codec},
        topology={"family": "complete" if rule == "fedavg" else family},
        model=small,
        pace=pace,
        **sections,
    )
    return simulated(config, 8)


def both(config: NetworkConfig, dtype: torch.dtype, **options) -> tuple[Simulation, DenseRun]:
    simulation = build_simulation(config, World(), dtype=dtype)
    assert run_simulation(simulation).outcome == "stopped"
    dense = build_dense(config, dtype=dtype, **options)
    run_dense(dense)
    return simulation, dense


def difference(simulation: Simulation, dense: DenseRun) -> float:
    """The largest of any value of any node's model."""
    models = dense.models()
    ends = [(node.job.local.x, models[name]) for name, node in simulation.nodes.items()]
    return max(float((a - b).abs().max()) for a, b in ends)


def agree(kit, rule: str, codec: str) -> None:
    simulation, dense = both(network(kit, rule, codec), torch.float64)
    assert difference(simulation, dense) <= TOLERANCE
    states = getattr(dense.host.exchanging, "states", {})
    for number, (name, cell) in enumerate(dense.cells.items()):
        local = simulation.nodes[name].job.local
        assert cell.local.round == local.round
        assert cell.local.averages.stated() == pytest.approx(local.averages.stated())
        assert cell.traffic.body_bytes_sent == simulation.outcomes[name].traffic["body_bytes_sent"]
        assert local.rows.keys() == states.keys()
        for key, value in local.rows.items():
            assert torch.allclose(value, states[key][number], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("rule", "codec"), QUICK)
def test_the_simulator_equals_the_dense_engine(kit, rule, codec):
    agree(kit, rule, codec)


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "codec"), REST)
def test_the_simulator_equals_the_dense_engine_for_all_others(kit, rule, codec):
    agree(kit, rule, codec)


@pytest.mark.parametrize("family", ["star", "line"])
@pytest.mark.parametrize("rule", ["choco", "push_sum", "gradient_tracking"])
def test_nodes_of_different_degree(kit, rule, family):
    simulation, dense = both(network(kit, rule, "int8", family), torch.float64, chunk=3)
    assert difference(simulation, dense) <= TOLERANCE


@pytest.mark.parametrize("rule", ["average", "choco", "epidemic", "gradient_tracking", "qg"])
def test_the_sparse_product_and_the_mapped_mix_agree(kit, rule):
    ends = []
    for sparse in (False, True):
        dense = build_dense(network(kit, rule, "fp32"), dtype=torch.float64, sparse=sparse, chunk=5)
        run_dense(dense)
        ends.append(dense.host.models.x)
    assert (ends[0] - ends[1]).abs().max() <= 1e-9


@pytest.mark.parametrize("rule", ["epidemic", "push_sum"])
def test_drawn_peers_are_the_same(kit, rule):
    simulation, dense = both(network(kit, rule, "fp32", "complete", mix={"fanout": 2}), torch.float64)
    assert difference(simulation, dense) <= TOLERANCE


def test_closing_rounds_in_which_some_have_no_partner(kit):
    """A colouring with idle nodes: five colours, four neighbours."""
    config = simulated(network(kit, "pairwise", "fp32", "torus"), 9)
    simulation, dense = both(config, torch.float64)
    assert difference(simulation, dense) <= TOLERANCE


@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_models_are_judged_alike_after_the_exchange_of_their_round(kit, rule):
    """Every judgement: its round, loss and accuracy. With fp32, all neighbours and no drift all models are then one."""
    config = network(kit, rule, "fp32", "complete", pace={"rounds": 4, "evaluate": 1, "closing": 0})
    config = simulated(config, 2 if rule == "pairwise" else 4)
    told: list[dict[tuple, dict]] = []
    for build, go in ((partial(build_simulation, world=World()), run_simulation), (build_dense, run_dense)):
        judged: dict[tuple, dict] = {}

        def heard(outcome, emit, judged=judged):
            if emit.name == "evaluation" and emit.fields["split"] == "test":
                place = (outcome.name, emit.fields["round"])
                judged[place] = {key: emit.fields[key] for key in ("loss", "accuracy")}

        go(build(config, dtype=torch.float64, on_emit=heard))
        told.append(judged)
    one, two = told
    assert one.keys() == two.keys() == {(e.name, r) for e in config.nodes for r in (1, 2, 3, 4)}
    for place, values in one.items():
        assert values == pytest.approx(two[place], abs=TOLERANCE)
    losses = [[values["loss"] for (_, round_), values in one.items() if round_ == r] for r in (1, 2, 3)]
    assert all(max(at) - min(at) < 1e-5 for at in losses)  # before the exchange they differ by more than a hundredth


def test_the_pairwise_edges_end_alike(kit):
    """Every edge's epoch, position and reference, bit for bit."""
    simulation, dense = both(network(kit, "pairwise", "deadzone", pace={"rounds": 6}), torch.float32, engine="loop")
    for name, outcome in simulation.outcomes.items():
        assert outcome.edges == dense.outcomes[name].edges
        assert all(int(edge["seq"] or 0) > 0 for edge in outcome.edges)
    assert difference(simulation, dense) == 0.0


def test_a_reference_that_is_outgrown_begins_a_new_epoch_alike(kit):
    """A learning rate so large that the weights leave the reference's range."""
    train = {"optimizer": "adam", "lr": 0.3, "steps": 5}
    config = network(kit, "pairwise", "deadzone", train=train, pace={"rounds": 12})
    simulation, dense = both(config, torch.float64)
    assert difference(simulation, dense) <= TOLERANCE
    assert any(int(edge["epoch"] or 0) for outcome in dense.outcomes.values() for edge in outcome.edges)
    assert [o.edges for o in simulation.outcomes.values()] == [o.edges for o in dense.outcomes.values()]


@pytest.mark.parametrize(
    "sections",
    [
        {"pace": {"participants": 0.5, "rounds": 4}},
        {"train": {"weighting": "samples"}, "data": {"partition": {"by": "dirichlet", "alpha": 0.1, "equal": False}}},
        {"train": {"clip_norm": 0.05, "noise": 0.1}},
        {"train": {"prox_mu": 0.5, "normalise": 3}},
        {"train": {"optimizer": "momentum", "lr": 0.02}},
        {"pace": {"stop_at": 0.05, "evaluate": 1, "rounds": 20}},
    ],
    ids=["participants", "weights by samples", "clip and noise", "prox and normalise", "momentum", "early stop"],
)
@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_the_workflow_around_the_rule_is_the_same(kit, rule, sections):
    simulation, dense = both(network(kit, rule, "fp32", **sections), torch.float64)
    assert difference(simulation, dense) <= TOLERANCE
    ends = {name: node.job.local.round for name, node in simulation.nodes.items()}
    assert ends == {name: cell.local.round for name, cell in dense.cells.items()}


@pytest.mark.parametrize("codec", list(CODECS))
def test_what_is_projected_is_what_is_encoded_bit_for_bit(kit, codec):
    """On the schema of a run, one and two vectors at a time."""
    dense = build_dense(network(kit, "average", codec))
    size, part = dense.shared.schema.size, dense.shared.codec
    draw = torch.Generator().manual_seed(5)
    for vectors in (1, 2):
        v = torch.randn(vectors * size, generator=draw)
        _, q = encode_vectors(part, v, dense.shared.schema, root(9), 1.0, vectors)
        projected = project_vectors(part, v, dense.shared.schema, root(9), 1.0, vectors)
        assert torch.equal(q.view(torch.int32), projected.view(torch.int32))


@pytest.mark.slow
@pytest.mark.parametrize("rule", PLAIN)
def test_final_accuracies_in_float32(kit, rule):
    config = network(kit, rule, "int8", pace={"rounds": 30}, train={"lr": 0.2, "steps": 5})
    simulation, dense = both(config, torch.float32)
    pairs = [(outcome.accuracy, dense.outcomes[name].accuracy) for name, outcome in simulation.outcomes.items()]
    means = [sum(a or 0.0 for a in side) / len(pairs) for side in zip(*pairs, strict=True)]
    assert abs(means[0] - means[1]) <= 0.005
    assert means[0] > 0.3  # they did learn


def test_the_summary_has_the_same_keys_and_bytes_near_the_wires(kit):
    simulation, dense = both(network(kit, "pairwise", "deadzone"), torch.float32)
    ids = {name: node.hex() for name, node in simulation.shared.ids.items()}
    stores = [simulation.host.store(node) for node in simulation.shared.ids.values()]
    one, two = network_summary(simulation.outcomes.values(), None, ids, stores), dense_summary(dense, None)
    assert one.keys() <= two.keys()
    assert one["references_agree"] is two["references_agree"] is True
    assert two["feeds_verified"] is None
    exchanges = sum(int(outcome.finished["exchanges"] or 0) for outcome in dense.outcomes.values())
    greetings = one["bytes_sent_per_node"] - two["bytes_sent_per_node"]  # hello and goodbye: not counted
    assert 0 < greetings < 6_000
    assert exchanges == sum(int(outcome.finished["exchanges"] or 0) for outcome in simulation.outcomes.values())


@pytest.mark.parametrize("rule", ["pairwise", "average"])
def test_a_head_is_estimated_within_a_few_bytes(kit, rule):
    """Whatever the codec's fields: what is left between simulator and estimate is the greetings', the same for all."""
    left = {}
    for codec in ("fp32", "deadzone", "randomk", "sign"):
        simulation, dense = both(network(kit, rule, codec), torch.float32)
        ends = [simulation.outcomes.values(), dense.outcomes.values()]
        sent = [sum(outcome.traffic["bytes_sent"] for outcome in outcomes) for outcomes in ends]
        bodies = sum(outcome.traffic["bodies_sent"] for outcome in dense.outcomes.values())
        left[codec] = (sent[0] - sent[1], bodies)
    plain, bodies = left["fp32"]
    assert all(abs(rest - plain) <= 3 * bodies for rest, _ in left.values()), left


def test_the_comparison_sees_a_changed_step_size(kit):
    """The control: a thousandth off would fail."""
    config = network(kit, "choco", "fp32")
    simulation = build_simulation(config, World(), dtype=torch.float64)
    run_simulation(simulation)
    dense = build_dense(replace(config, train=replace(config.train, lr=config.train.lr * 1.001)), dtype=torch.float64)
    run_dense(dense)
    assert difference(simulation, dense) > TOLERANCE
