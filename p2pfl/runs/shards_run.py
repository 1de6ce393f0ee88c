"""A whole network in shards: who leads the workers through the rounds, and what comes of it. Knows no terminal.

The driver sees what nodes emit, and whether all have finished; models and boxes go past it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from p2pfl.assemble.network import Shared, assemble
from p2pfl.config import NetworkConfig
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError, HostError
from p2pfl.hosts.shards_cut import Cut, Members, cut_of, divide
from p2pfl.hosts.shards_pairs import ShardPairs
from p2pfl.hosts.shards_rows import ShardRows
from p2pfl.learn.stacked import EngineName
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.runs.baselines import Baselines
from p2pfl.runs.folder import METRICS, RunFolder
from p2pfl.runs.network import references_agree, summarise
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.shards import ShardOrder, Told
from p2pfl.runs.shards_checkpoint import Checkpoints, Found, Position
from p2pfl.runs.shards_team import Team, WorkerDied, ask_all, go_round
from p2pfl.runs.similarity import write_picture


@dataclass(eq=False)
class ShardedRun:
    """A network divided among workers, before and after it has run. `rounds` counts those that are over."""

    shared: Shared
    members: Members
    orders: list[ShardOrder]
    cut: Cut
    outcomes: dict[str, Outcome]
    on_emit: Callable[[Outcome, Emit], None]
    rounds: int = 0
    closed: int = 0
    closing_rounds: int = 0
    finished: bool = False
    failed: bool = False
    engines: tuple[str, ...] = ()
    box_bytes: int = 0
    resumed: int | None = None
    """The round at which a checkpoint was taken up."""
    checkpoint: int | None = None
    """The round of the newest one that is complete."""
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = [entry.name for entry in self.shared.config.nodes]

    @property
    def sends(self) -> int:
        return ShardPairs.sends if isinstance(self.shared.mixer, Pairwise) else ShardRows.sends

    def hear(self, tolds: Sequence[Told]) -> None:
        """What all workers tell."""
        for told in tolds:
            for number, emit in told.emits:
                outcome = self.outcomes[self.names[number]]
                outcome.take(0.0, emit)
                self.on_emit(outcome, emit)
        self.rounds, self.closing_rounds = tolds[0].rounds, tolds[0].closing_rounds
        self.finished = all(told.finished for told in tolds)
        self.failed = any(told.failed for told in tolds)
        self.engines = tuple(told.engine for told in tolds)
        self.box_bytes += sum(told.box_bytes for told in tolds)


def build_sharded(
    config: NetworkConfig,
    workers: int,
    *,
    on_emit: Callable[[Outcome, Emit], None] = lambda outcome, emit: None,
    dtype: torch.dtype = torch.float32,
    chunk: int | None = None,
    engine: EngineName = "auto",
    found: Found | None = None,
) -> ShardedRun:
    """All nodes of `config` divided among workers, as they were in the checkpoint `found`. Raises ConfigError."""
    if config.pace.mode != "lockstep":
        raise ConfigError('the dense engine is lockstep: set pace.mode = "lockstep", or use --engine events')
    if not 1 <= workers <= len(config.nodes):
        raise ConfigError(f"--workers: expected at most one worker a node, {len(config.nodes)} here, got {workers}")
    if found is not None and len(found.members) != workers:
        raise ConfigError(f"--workers: the checkpoint was written by {len(found.members)} workers, got {workers}")
    shared = assemble(config, device="cpu", dtype=dtype)
    if getattr(shared.mixer, "weighting", None) == "cell":
        raise ConfigError('mix.rule "cell": cells cross any division of the nodes; leave out --workers')
    members = found.members if found is not None else _divided(shared, workers)
    cut = cut_of(shared.topology, shared.mixer, shared.schema.size, members)
    orders = [ShardOrder(config, shard, members, engine, dtype, chunk) for shard in range(workers)]
    outcomes = {entry.name: Outcome(entry.name, shared.schema.size) for entry in config.nodes}
    if found is not None:
        outcomes |= found.outcomes
    return ShardedRun(shared, members, orders, cut, outcomes, on_emit)


def _divided(shared: Shared, workers: int) -> Members:
    number = {name: n for n, name in enumerate(shared.topology.nodes)}
    pairs = [(number[a], number[b]) for a, b in shared.topology.edge_list()]
    return divide(len(number), pairs, workers)


def run_sharded(
    run: ShardedRun,
    team: Team,
    checkpoints: Checkpoints | None = None,
    every: int = 10,
    found: Found | None = None,
) -> None:
    """All rounds, from the start or from `found`; writes a checkpoint after every so many.

    Raises HostError if a worker dies: says which, in which round, and how to go on.
    """
    try:
        _take_up(run, team, found)
        while not run.failed and (not run.finished or run.closed < run.closing_rounds):
            closing = run.finished
            run.hear(go_round(team, run.sends, closing))
            run.closed += closing
            if checkpoints is not None and not run.failed and run.rounds % every == 0:
                _save(run, team, checkpoints)
        if not run.failed:
            run.hear(ask_all(team, "end"))
    except WorkerDied as death:
        raise HostError(f"{death} in round {run.rounds + 1}; {_way_on(run, checkpoints)}") from None


def _take_up(run: ShardedRun, team: Team, found: Found | None) -> None:
    if found is None:
        run.hear(ask_all(team, "told"))
        return
    run.hear(ask_all(team, "load", found.files, found.digests, found.position.engines))
    run.closed = found.position.closed
    run.resumed = run.checkpoint = run.rounds


def _save(run: ShardedRun, team: Team, checkpoints: Checkpoints) -> None:
    digests = ask_all(team, "save", checkpoints.files(run.rounds, team.count))
    position = Position(run.rounds, run.closed, run.engines)
    checkpoints.complete(position, run.members, digests, run.outcomes)
    run.checkpoint = run.rounds


def _way_on(run: ShardedRun, checkpoints: Checkpoints | None) -> str:
    if checkpoints is None:
        return "there is no checkpoint: run with --checkpoint DIR to be able to go on after this"
    if run.checkpoint is None:
        return "there is no checkpoint yet: start again"
    return f"go on from round {run.checkpoint} with: --checkpoint {checkpoints.folder} --resume"


def write_sharded(folder: RunFolder, run: ShardedRun, team: Team, summary: dict[str, Any]) -> None:
    """The run folder, as the dense engine leaves it. Models come from one worker after another."""
    folder.write_config(run.shared.config)
    for worker in range(team.count):
        (models,) = team.wait([team.ask(worker, "models")])
        for number, round_, x in models:
            name = run.names[number]
            own = RunFolder.open(folder / name, resume=True)
            own.write_model(run.shared.model.tensors(torch.tensor(x)), run.shared.recipe.digest, round_)
            own.write_config(run.shared.config)
            own.write_summary(run.outcomes[name].summary())
    rows = [json.dumps(row) + "\n" for row in summary["per_node"]]
    (folder / METRICS).write_text("".join(rows))
    write_picture(folder, summary["similarity"])
    folder.write_summary(summary)


def sharded_summary(run: ShardedRun, compared: Baselines | None) -> dict[str, Any]:
    """The dense engine's summary, and how the network was divided."""
    rows = [outcome.summary() for outcome in run.outcomes.values()]
    ids = {name: node.hex() for name, node in run.shared.ids.items()}
    return summarise(rows, compared, references_agree(rows, ids), None, ids) | {
        "seconds_per_round": None,
        "engine": "ray",
        "train_engine": "+".join(sorted(set(run.engines))),
        "workers": len(run.members),
        "cut": run.cut._asdict() | {"bytes_sent": run.box_bytes},
        "resumed_at": run.resumed,
    }
