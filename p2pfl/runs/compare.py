"""One network under several settings, a curve of each. Knows both engines; knows no terminal or picture."""

from p2pfl.config import NetworkConfig
from p2pfl.core.party import Emit
from p2pfl.learn.data import Held, SplitName
from p2pfl.runs.curves import Curve
from p2pfl.runs.dense import build_dense, run_dense
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.simulate import World, build_simulation, run_simulation


class _Failed(Exception):
    """A node cannot go on: the rest of the run says nothing of the setting."""


def follow(name: str, config: NetworkConfig, world: World | None) -> Curve:
    """Run `config` (see `runs.simulate.simulated`) to its end, in the simulator or, without a world, the dense engine.

    A run in which a node fails ends there, and its curve says why. Raises ConfigError.
    """
    curve = Curve(name, len(config.nodes))

    def heard(outcome: Outcome, emit: Emit) -> None:
        curve.take(outcome, emit)
        if emit.name == "failed":
            curve.failure = f"{outcome.name}: {emit.fields['reason']}"
            raise _Failed

    try:
        if world is not None:
            simulation = build_simulation(config, world, on_emit=heard)
            curve.split = _judged(simulation.held, config)
            run_simulation(simulation)
        else:
            run = build_dense(config, on_emit=heard)
            curve.split = _judged(run.held, config)
            run_dense(run)
    except _Failed:
        pass
    return curve


def _judged(held: Held, config: NetworkConfig) -> SplitName:
    """The common test set, or what the nodes have if there is none."""
    return "test" if len(held.test) else "validation" if config.data.validation_fraction else "train"
