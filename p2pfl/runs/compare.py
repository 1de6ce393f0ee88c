"""One network run to its end with its curve, in either engine. Knows no terminal or picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from p2pfl.config import NetworkConfig
from p2pfl.core.party import Emit
from p2pfl.learn.data import Held, SplitName
from p2pfl.runs.baselines import compute_baselines
from p2pfl.runs.curves import Curve
from p2pfl.runs.dense import DenseRun, build_dense, dense_summary, run_dense, write_dense
from p2pfl.runs.folder import RunFolder
from p2pfl.runs.network import network_summary, write_simulation
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation

Progress = Callable[[int, int], None]
"""Hears (rounds done, rounds to do), summed over the nodes."""


class _Failed(Exception):
    """A node cannot go on: the rest of the run says nothing of the setting."""


@dataclass(eq=False)
class Followed:
    """A run that has ended."""

    config: NetworkConfig
    run: DenseRun | Simulation
    curve: Curve

    def summary(self, baselines: bool) -> dict[str, Any]:
        """What `p2pfl sim --json` prints. `baselines` trains 1 + N models more."""
        run = self.run
        compared = compute_baselines(run.shared, run.held, run.shares, self.config.data) if baselines else None
        if isinstance(run, DenseRun):
            return dense_summary(run, compared)
        ids = run.shared.ids
        stores = [run.host.store(node) for node in ids.values()]
        hexed = {name: node.hex() for name, node in ids.items()}
        return network_summary(run.outcomes.values(), compared, hexed, stores) | {"engine": "events"}

    def write(self, folder: RunFolder, summary: dict[str, Any]) -> None:
        """The run folder, as `p2pfl sim --out` leaves it."""
        if isinstance(self.run, DenseRun):
            write_dense(folder, self.run, summary)
        else:
            write_simulation(folder, self.run, summary)


@dataclass(eq=False)
class _Listener:
    """Takes what the nodes say: into the curve, and as progress."""

    curve: Curve
    rounds: int
    on_progress: Progress
    done: dict[str, int] = field(default_factory=dict)

    def heard(self, outcome: Outcome, emit: Emit) -> None:
        self.curve.take(outcome, emit)
        if emit.name == "round":
            self.done[outcome.name] = outcome.round
            self.on_progress(sum(self.done.values()), self.rounds * self.curve.num_nodes)
        if emit.name == "failed":
            self.curve.failure = f"{outcome.name}: {emit.fields['reason']}"
            raise _Failed


def follow(name: str, config: NetworkConfig, world: World | None) -> Curve:
    """The curve of `follow_run`."""
    return follow_run(name, config, world).curve


def follow_run(
    name: str, config: NetworkConfig, world: World | None, on_progress: Progress = lambda done, of: None
) -> Followed:
    """Run `config` (see `runs.simulate.simulated`) to its end, as Parties or, without a world, in the dense engine.

    A run in which a node fails ends there, and its curve says why. Raises ConfigError.
    """
    curve = Curve(name, len(config.nodes))
    listener = _Listener(curve, config.pace.rounds, on_progress)
    run: DenseRun | Simulation
    if world is None:
        run = dense = build_dense(config, on_emit=listener.heard)
    else:
        run = simulation = build_simulation(config, world, on_emit=listener.heard)
    curve.split = _judged(run.held, config)
    curve.distance = lambda: consensus_distance(_models(run))
    try:
        if world is None:
            run_dense(dense)
        else:
            run_simulation(simulation)
    except _Failed:
        pass
    return Followed(config, run, curve)


def consensus_distance(models: Sequence[Tensor]) -> float:
    """sqrt(mean_i |x_i - m|^2) with m the mean of all x_i (P,): how far the nodes are from one model."""
    mean = torch.zeros_like(models[0], dtype=torch.float64)
    for x in models:
        mean += x
    mean = (mean / len(models)).to(models[0].dtype)
    squares = [float((x - mean).square().sum()) for x in models]
    return float((sum(squares) / len(squares)) ** 0.5)


def _models(run: DenseRun | Simulation) -> list[Tensor]:
    if isinstance(run, DenseRun):
        return list(run.host.models.x)
    return [node.job.local.x for node in run.nodes.values()]


def _judged(held: Held, config: NetworkConfig) -> SplitName:
    """The common test set, or what the nodes have if there is none."""
    return "test" if len(held.test) else "validation" if config.data.validation_fraction else "train"
