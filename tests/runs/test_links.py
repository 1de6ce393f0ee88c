"""Links that a topology's file describes are the simulator's lines."""

from pathlib import Path

import pytest
import tomli_w

from p2pfl.config import parse_network
from p2pfl.core.ids import NodeId
from p2pfl.hosts.faults import Faults, Line, between
from p2pfl.runs.simulate import World, build_simulation, lines_of, run_simulation, simulated
from p2pfl.topology import Link, Topology


def test_what_a_link_does_not_say_is_as_everywhere() -> None:
    ids = {name: NodeId(name.encode() * 32) for name in "abc"}
    links = {("a", "b"): Link(25.0, 8.0), ("b", "c"): Link(None, 80.0), ("a", "c"): Link(5.0)}
    graph = Topology(("c", "b", "a"), frozenset(links), links=links)
    lines = lines_of(graph, ids, Faults(delay_s=0.5, bytes_per_s=100.0))
    assert lines == {
        between(ids["b"], ids["a"]): Line(0.025, 1e6),
        between(ids["b"], ids["c"]): Line(0.5, 1e7),
        between(ids["a"], ids["c"]): Line(0.005, 100.0),
    }


@pytest.mark.parametrize(("latency_ms", "told"), [(1.0, None), (400.0, None), (400.0, Line(0.001))])
def test_a_slow_link_makes_a_slow_network(tmp_path: Path, latency_ms: float, told: Line | None) -> None:
    """Three lockstep exchanges over one link; lines that the caller sets come before the file's."""
    edge = {"a": "n0", "b": "n1", "latency_ms": latency_ms, "bandwidth_mbps": 100.0}
    (tmp_path / "graph.toml").write_text(tomli_w.dumps({"nodes": ["n0", "n1"], "edge": [edge]}))
    plain = {
        "format": 1,
        "model": {"name": "mlp", "args": {"hidden": [4]}, "input_shape": [1, 8, 8], "num_classes": 10},
        "pace": {"mode": "lockstep", "rounds": 3, "evaluate": 0, "closing": 0},
        "topology": {"file": "graph.toml"},
        "train": {"steps": 1, "batch_size": 8},
        "data": {"source": "digits"},
    }
    config = simulated(parse_network(tomli_w.dumps(plain), tmp_path / "network.toml"), 2)
    lines = {} if told is None else {between(config.nodes[0].key, config.nodes[1].key): told}
    simulation = build_simulation(config, World(faults=Faults(lines=lines)))
    assert run_simulation(simulation).outcome == "stopped"
    last = max(outcome.summary()["seconds"] for outcome in simulation.outcomes.values())
    assert (last > 3 * 0.4) == (latency_ms == 400.0 and told is None)
