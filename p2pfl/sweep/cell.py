"""One cell, run here and now. Knows both engines through `runs`; knows no file or terminal."""

from math import inf
from time import monotonic

from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Faults
from p2pfl.runs.compare import Progress, follow_run
from p2pfl.runs.simulate import World, simulated
from p2pfl.sweep.document import SweepConfig, WorldConfig
from p2pfl.sweep.grid import Cell
from p2pfl.sweep.result import Result


def run_cell(sweep: SweepConfig, cell: Cell, on_progress: Progress = lambda done, of: None) -> Result:
    """Raises ConfigError, naming the cell, if it cannot be run at all; a run in which a node fails has a result."""
    begun = monotonic()
    config = simulated(cell.config, cell.resized)
    try:
        followed = follow_run(cell.title, config, world_of(sweep), on_progress)
    except ConfigError as error:
        raise ConfigError(f"{sweep.path}: {cell.title}: {error}") from None
    shared, curve = followed.run.shared, followed.curve
    return Result(
        cell.id,
        tuple(curve.points),
        curve.failure,
        monotonic() - begun,
        len(config.nodes),
        len(shared.topology.edges),
        shared.schema.size,
    )


def world_of(sweep: SweepConfig) -> World | None:
    """The world that the events engine simulates; the dense engine has none."""
    return _world(sweep.world) if sweep.engine == "events" else None


def _world(world: WorldConfig) -> World:
    faults = Faults(
        request_loss=world.loss,
        reply_loss=world.loss,
        delay_s=world.latency_ms / 1e3,
        bytes_per_s=inf if world.bytes_per_s is None else world.bytes_per_s,
    )
    return World(step_s=world.step_ms / 1e3, wire_s=world.step_ms / 1e4, speeds=world.speeds, faults=faults)
