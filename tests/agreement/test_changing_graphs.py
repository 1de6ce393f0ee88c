"""Graphs that change from round to round, and two-level ones: nodes over HTTP, nodes in virtual time, and the dense
engine give one answer; a head that is gone is routine."""

from collections import Counter

import pytest
import torch

from p2pfl.config import NetworkConfig
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.runs.dense import build_dense, run_dense
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

FAMILIES = {
    "one-peer-exponential": {},
    "base": {"k": 2},
    "random-matchings": {"phases": 5},
    "epidemic": {"k": 3, "phases": 4},
    "matcha": {"base": "exponential", "budget": 0.4, "phases": 10},
    "clusters": {"clusters": 2, "every": 1},
}


def network(kit, family: str, rule: str, num_nodes: int = 8, **sections) -> NetworkConfig:
    small = {"name": "mlp", "args": {"hidden": [6]}, "input_shape": [1, 8, 8], "num_classes": 10}
    pace = {"rounds": 5, "evaluate": 0, "closing": 1, "timeout_s": 5.0} | sections.pop("pace", {})
    config = kit.document(
        mix={"rule": rule},
        compress={"codec": "fp32"},
        topology={"family": family, "params": FAMILIES[family]},
        model=small,
        pace=pace,
        **sections,
    )
    return simulated(config, num_nodes)


@pytest.mark.parametrize("rule", ["pairwise", "average", "epidemic", "push_sum", "gradient_tracking", "qg"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_simulator_equals_the_dense_engine(kit, family, rule):
    config = network(kit, family, rule)
    simulation = build_simulation(config, World(), dtype=torch.float64)
    assert run_simulation(simulation).outcome == "stopped"
    dense = build_dense(config, dtype=torch.float64)
    run_dense(dense)
    models = dense.models()
    ends = [(node.job.local.x, models[name]) for name, node in simulation.nodes.items()]
    assert max(float((a - b).abs().max()) for a, b in ends) <= 1e-6
    for name, cell in dense.cells.items():
        assert cell.traffic.body_bytes_sent == simulation.outcomes[name].traffic["body_bytes_sent"]


@pytest.mark.parametrize(("family", "rule"), [("base", "average"), ("clusters", "pairwise"), ("matcha", "pairwise")])
def test_nodes_over_http_equal_the_simulator(kit, family, rule):
    config = network(kit, family, rule, pace={"rounds": 4})
    here, entropy = kit.in_virtual_time(config)
    assert kit.distance(here, kit.over_http(config, entropy)) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_round_does_is_what_the_graph_says(kit, family):
    """Averaging without training is the phase's matrix."""
    config = network(kit, family, "average", pace={"rounds": 3, "closing": 0})
    shared = build_simulation(config, World()).shared
    names = shared.topology.nodes
    number = {shared.ids[name]: i for i, name in enumerate(names)}
    for t in range(2 * len(shared.topology.phases)):
        expected = shared.topology.at(t).matrix().toarray()
        for i, name in enumerate(names):
            turn = shared.neighbourhood(name).turn(t, "metropolis", 0, shared.recipe.digest)
            assert {number[peer]: pytest.approx(w) for peer, w in turn.rows.items()} == {
                j: expected[i, j] for j in range(len(names)) if j != i and expected[i, j] > 0
            }
            assert turn.given == pytest.approx(1 - expected[i, i])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("weighting", "fanout"), [("uniform", 1), ("push", 1), ("push", 0)])
def test_who_is_told_expects_to_be_told_in_every_phase(kit, family, weighting, fanout):
    shared = build_simulation(network(kit, family, "average"), World()).shared
    places = {shared.ids[name]: shared.neighbourhood(name) for name in shared.topology.nodes}
    for t in range(len(shared.topology.phases)):
        turns = {me: place.turn(t, weighting, fanout, shared.recipe.digest) for me, place in places.items()}
        for me, turn in turns.items():
            assert all((other in turn.to) == (me in turns[other].rows) for other in turns)


def test_exact_averages_where_the_graph_promises_them(kit):
    """Base-(k+1) over seven nodes: a closing round for each phase makes all models one (to the codec: float32)."""
    ends = {}
    for closing in (0, 5):
        config = network(kit, "base", "average", 7, pace={"rounds": 1, "closing": closing})
        assert len(build_dense(config).shared.topology.phases) <= 5
        dense = build_dense(config, dtype=torch.float64)
        run_dense(dense)
        ends[closing] = torch.stack(list(dense.models().values()))
    assert (ends[0] - ends[0].mean(dim=0)).norm() > 1e-2
    assert (ends[5] - ends[5].mean(dim=0)).norm() < 1e-5


@pytest.mark.slow
def test_async_nodes_ask_across_as_seldom_as_the_schedule_has_it(kit):
    config = network(kit, "clusters", "pairwise", 16, pace={"mode": "async", "rounds": 120, "closing": 0})
    simulation = build_simulation(config, World())
    assert run_simulation(simulation).outcome == "stopped"
    shared = simulation.shared
    home = {shared.ids[name]: number // 8 for number, name in enumerate(shared.topology.nodes)}
    seqs = [
        (home[shared.ids[name]] != home[peer], edge.seq)
        for name, node in simulation.nodes.items()
        for peer, edge in node.job.exchange.edges.items()
    ]
    across, inside = sum(s for far, s in seqs if far), sum(s for far, s in seqs if not far)
    scheduled = [[home[shared.ids[a]] != home[shared.ids[b]] for a, b in step] for step in shared.topology.schedule()]
    share = sum(map(sum, scheduled)) / sum(map(len, scheduled))
    assert across / (across + inside) == pytest.approx(share, rel=0.5)
    assert across > 0


@pytest.mark.parametrize("mode", ["async", "lockstep"])
def test_a_dead_head_is_routine(kit, mode):
    """One that never comes back: everybody else does its rounds, and none waits for it at length again and again."""
    config = network(kit, "clusters", "pairwise", pace={"mode": mode, "rounds": 30, "timeout_s": 0.5, "closing": 0})
    dead = config.nodes[0].key
    faults = Faults(crashes=(Crash(dead, 0.5, restart_after=None),))
    rounds: Counter[str] = Counter()
    last = 0.0

    def heard(outcome, emit):
        nonlocal last
        if emit.name == "round":
            rounds[outcome.name] += 1
            last = outcome.last_s

    simulation = build_simulation(config, World(faults=faults), on_emit=heard)
    trace = run_simulation(simulation)
    assert trace.outcome == "stopped"
    assert set(trace.stopped) == {entry.key for entry in config.nodes} - {dead}
    assert all(stop.code == 0 for stop in trace.stopped.values())
    assert min(rounds[entry.name] for entry in config.nodes[1:]) >= 29
    assert last < 15  # somebody is to meet it in every other round: four time-outs for each would be 30 s


@pytest.mark.parametrize("rule", ["choco", "fedavg"])
def test_rules_that_need_a_steady_graph_say_so(kit, rule):
    with pytest.raises(ConfigError, match="needs a graph that does not change") as caught:
        build_dense(network(kit, "base", rule))
    assert "\n" not in str(caught.value)
