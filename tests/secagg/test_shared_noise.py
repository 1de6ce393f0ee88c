"""Noise that members of a cell share out: as much as promised in the sum, and no update anywhere without it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from p2pfl.assemble.network import assemble
from p2pfl.assemble.private import promise_of, shared_noise
from p2pfl.config import NetworkConfig, parse_network
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError
from p2pfl.horizontal.records.journal import Journal
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.privacy.accounting import Event, epsilon_quick
from p2pfl.runs.dense import build_dense
from p2pfl.runs.privacy import privacy_report
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated
from p2pfl.secagg.rounding import Grid

pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")

SIZE = 650


def document(num_nodes: int = 8, **sections: dict[str, Any]) -> NetworkConfig:
    """One round of updates that are nothing beside their noise, in one cell."""
    plain: dict[str, Any] = {
        "format": 1,
        "seed": 3,
        "model": {"name": "linear", "input_shape": [1, 8, 8], "num_classes": 10},
        "pace": {"mode": "lockstep", "rounds": 1, "evaluate": 0, "timeout_s": 2.0, "closing": 1, "window": 1},
        "topology": {"family": "complete"},
        "train": {"lr": 1e-7, "batch_size": 16, "steps": 1},
        "mix": {"rule": "cell", "size": 8, "dual_gain": 0.0},
        "compress": {"codec": "fp32"},
        "data": {"source": "digits"},
        "privacy": {"unit": "node", "noise": 2.0, "clip": 0.5, "delta": 1e-2, "coalition": 2},
    }
    for name, values in sections.items():
        plain[name] = {**plain.get(name, {}), **values} if "rule" not in values else values
    return simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), num_nodes)


def run(config: NetworkConfig, faults: Faults | None = None) -> tuple[Simulation, list[tuple[str, Emit]]]:
    emitted: list[tuple[str, Emit]] = []
    world = World(faults=faults or Faults())
    simulation = build_simulation(config, world, on_emit=lambda outcome, emit: emitted.append((outcome.name, emit)))
    assert run_simulation(simulation).outcome == "stopped"
    return simulation, emitted


def moved(simulation: Simulation) -> torch.Tensor:
    start = simulation.nodes["n0"].work.learner.start()
    return torch.stack([node.job.local.x - start for node in simulation.nodes.values()])


def test_the_sum_has_the_noise_that_was_promised_once() -> None:
    """8 members, 6 of whom must stay, 2 together: parts of variance sigma^2 / 4. The closing round adds none."""
    simulation, emitted = run(document())
    by = moved(simulation)
    assert float((by - by[0]).abs().max()) < 2 * Grid(64.0, 8).unit + 1e-6
    sigma = 2.0 * (0.5 + Grid(64.0, 8).unit * SIZE**0.5)
    expected = (8 / 4) ** 0.5 * sigma / 8
    assert float(by[0].std()) == pytest.approx(expected, rel=0.12)
    told = [emit.fields for _, emit in emitted if emit.name == "privacy"]
    assert len(told) == 8
    assert {(fields["coalition"], fields["alone"], fields["releases"]) for fields in told} == {(2, 1.0, 1)}
    report = privacy_report([{"privacy": dict(fields)} for fields in told])
    assert report is not None
    assert report["epsilon"] == pytest.approx(epsilon_quick([Event(2.0, 1.0, 1)], 1e-2))
    assert report["epsilon_alone"] == pytest.approx(epsilon_quick([Event(1.0, 1.0, 1)], 1e-2))


def test_a_sum_that_fails_takes_the_update_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No update is kept, written down or carried into another sum without its noise."""
    packed: list[torch.Tensor] = []
    plain = Journal.packer

    def watched(journal: Journal, local: Any, edges: Any) -> Any:
        packed.append(local.x)
        return plain(journal, local, edges)

    monkeypatch.setattr(Journal, "packer", watched)
    config = document(
        4, mix={"size": 4}, privacy={"coalition": 1}, train={"lr": 0.5}, pace={"rounds": 3, "gather_s": 1.0}
    )
    gone = tuple(Crash(entry.key, 0.0, None) for entry in config.nodes[1:])
    emitted: list[Emit] = []
    simulation = build_simulation(config, World(faults=Faults(crashes=gone)), on_emit=lambda _, e: emitted.append(e))
    run_simulation(simulation)
    job = simulation.nodes["n0"].job
    start = job.work.learner.start()
    assert sum(emit.name == "round" for emit in emitted) == 3
    assert torch.equal(job.local.x, start)
    assert packed
    assert all(torch.equal(x, start) for x in packed)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"mix": {"rule": "push_sum"}}, "expected mix.rule 'cell'"),
        ({"compress": {"codec": "randomk"}}, "expected compress.codec 'fp32'"),
        ({"mix": {"size": 5}}, "at most 1 in cells of 5"),
        ({"privacy": {"clip": 1e-9, "noise": 0.5}}, "steps of the sum's grid"),
        ({"privacy": {"unit": "example", "rate": 0.1}}, 'expected unit = "node"'),
    ],
)
def test_what_would_not_hold_is_refused_at_once(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        plan_of(sections)
    assert "\n" not in str(caught.value)


def plan_of(sections: dict[str, Any]) -> None:
    config = document(**sections)
    assemble(config, "cpu").plan(config.nodes[0].name, {"train": 9, "validation": 0, "test": 1}, config.train)


def test_the_dense_engine_refuses_shares() -> None:
    with pytest.raises(ConfigError, match="use --engine events"):
        build_dense(document())


def test_sharing_lets_everybody_add_less_for_the_same_budget() -> None:
    config = document(privacy={"epsilon": 4.0, "delta": 1e-2}, pace={"rounds": 20})
    config = replace(config, privacy=replace(config.privacy, noise=None))
    promise = promise_of(config)
    assert promise is not None
    assert promise.alone == pytest.approx(promise.noise / 2)
    assert promise.cost([promise.event(20)]) <= 4.0
    assert epsilon_quick([promise.event(20)], 1e-2) == promise.cost([promise.event(20)])
    noise = shared_noise(config, promise)
    assert noise is not None
    assert noise.honest(8, 6) == 4
