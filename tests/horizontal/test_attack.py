"""Whole runs with one hostile neighbour: what it may do to the others, and what it could without the protection.

Eight nodes, digits. The size check is meant to hold a neighbour that speaks too loud to what an honest one moves.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from p2pfl.config import NetworkConfig, parse_network
from p2pfl.horizontal.model.work import Encode, Encoded, GossipWork
from p2pfl.horizontal.pairs.exchange import Pairs
from p2pfl.mixing import Pairwise
from p2pfl.mixing.reference import difference
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated

OFF = {"size_check": 0.0, "clip": "off"}


def network(family: str = "complete", **mix: Any) -> NetworkConfig:
    plain: dict[str, Any] = {
        "format": 1,
        "seed": 1,
        "model": {"name": "mlp", "args": {"hidden": [32]}, "input_shape": [1, 8, 8], "num_classes": 10},
        "pace": {"rounds": 30, "evaluate": 0},
        "topology": {"family": family},
        "train": {"steps": 5},
        "data": {"source": "digits", "partition": {"by": "dirichlet", "alpha": 1.0}},
        "mix": mix,
    }
    return simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), 8)


class Loud(GossipWork):
    """Says everything a hundred times too long, and states its length as it is."""

    def encode(self, task: Encode) -> Encoded:
        assert task.reference is not None
        far = task.x + 99 * difference(task.x, task.reference, self.schema).to(task.x.dtype)
        return super().encode(replace(task, x=far))


def make_loud(simulation: Simulation, name: str) -> None:
    machine = simulation.host._machines[simulation.shared.ids[name]]
    work = machine.work
    assert isinstance(work, GossipWork)
    machine.work = Loud(work.learner, work.codec, work.mixer, work.snapshot_codec)


def make_misleading(simulation: Simulation, name: str) -> None:
    """Begins epoch after epoch with a snapshot of nothing, and takes whatever comes of it whole."""
    machine = simulation.host._machines[simulation.shared.ids[name]]
    work, make = machine.work, machine.make_party
    assert isinstance(work, GossipWork)
    begin = work.begin

    def far(x: torch.Tensor, key: Any) -> Any:
        return begin(x + 10 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1)), key)

    def party() -> Any:
        made: Any = make()
        pairs: Pairs = made.job.exchange
        request = pairs._request

        def renewing(edge: Any) -> Any:
            if edge.seq and edge.pending is None:
                yield from pairs.epochs.renew(edge, edge.epoch, None, "attack")
            else:
                yield from request(edge)

        pairs._request = renewing  # type: ignore[method-assign]
        object.__setattr__(pairs.setting, "rule", Pairwise(size_check=0.0, clip="off"))
        return made

    work.begin = far  # type: ignore[method-assign]
    machine.make_party = party


def honest_accuracy(config: NetworkConfig, attack: Any = None) -> float:
    """The mean over the nodes but the hostile one; a node that gave up counts as 0."""
    hostile = min(config.nodes, key=lambda entry: entry.key).name
    simulation = build_simulation(config, World())
    if attack is not None:
        attack(simulation, hostile)
    run_simulation(simulation)
    others = [outcome.accuracy or 0.0 for name, outcome in simulation.outcomes.items() if name != hostile]
    return sum(others) / len(others)


@pytest.fixture(scope="module")
def peaceful() -> float:
    return honest_accuracy(network())


@pytest.mark.slow
def test_a_neighbour_a_hundred_times_too_loud_stops_nobody_from_learning(peaceful: float) -> None:
    assert peaceful > 0.85
    assert honest_accuracy(network(), make_loud) >= peaceful - 0.05


@pytest.mark.slow
def test_control_without_the_protection_it_does(peaceful: float) -> None:
    assert honest_accuracy(network(**OFF), make_loud) < peaceful - 0.2


@pytest.mark.slow
def test_a_neighbour_that_begins_epochs_far_away_stops_nobody_from_learning(peaceful: float) -> None:
    assert honest_accuracy(network(), make_misleading) >= peaceful - 0.05
